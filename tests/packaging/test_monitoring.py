# SPDX-License-Identifier: Apache-2.0
"""Alert rules and dashboard: what Prometheus itself says of them, and that every metric and label in them is one that the
program exports."""
import json
import re
import shutil

import pytest
import yaml

from support import ROOT, run

MONITORING = ROOT / "packaging/monitoring"


def exported():
    text = (ROOT / "common/metrics.def").read_text()
    return {name + suffix for name, suffix in re.findall(r'^METRIC\(\w+, "([a-z_]+)", "([a-z_]*)",', text, re.M)}


def expressions():
    found = []
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]:
        found += [(rule["alert"], rule["expr"]) for rule in group["rules"]]
    for panel in json.loads((MONITORING / "dashboard.json").read_text())["panels"]:
        found += [(panel["title"], target["expr"]) for target in panel["targets"]]
    return found


def test_the_rules_are_good():
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    assert "SUCCESS" in run("promtool", "check", "rules", MONITORING / "alerts.yaml").stdout


def test_every_metric_exists():
    known = exported()
    assert len(known) > 40
    used = set()
    for where, text in expressions():
        names = set(re.findall(r"\bwormhole_[a-z_]+\b", text))
        assert names <= known, f"{where}: {names - known}"
        used |= names
    assert len(used) > 25


def test_every_expression_parses(tmp_path):
    """Grafana's variables are replaced by what they stand for; promtool parses the rest as rules."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    rules = []
    for i, (_, text) in enumerate(expressions()):
        text = text.replace("$__rate_interval", "5m").replace("$instance", ".*")
        rules.append({"record": f"check:{i}", "expr": text})
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "check", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run("promtool", "check", "rules", file).stdout


def test_alerts_say_what_to_do():
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("info", "warning", "critical")
            assert len(rule["annotations"]["summary"]) > 20 and len(rule["annotations"]["description"]) > 20


def test_the_dashboard_is_one():
    board = json.loads((MONITORING / "dashboard.json").read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) > 15
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24 and panel["targets"]
