# SPDX-License-Identifier: Apache-2.0
"""
/metrics, /healthz and /readyz of real servers and clients: every family of the table, figures that are true, and the
dashboard and alert rules that stand on them.
"""
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

import tunnel
from adminapi import METRICS, call, metrics_port, scrape
from tunnel import echo, exchange, wait

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "packaging/monitoring/dashboard.json"
RULES = ROOT / "packaging/monitoring/alerts.yaml"


def families():
    """name → (type, help) of common/metrics.def; and all series names."""
    text = (ROOT / "common/metrics.def").read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    table, series = {}, set()
    for name, suffix, kind, words in re.findall(r'METRIC\(\w+, "(\w+)", "(\w*)", (\w+), "([^"]*)"\)', text):
        table.setdefault(name, (kind.lower(), words))
        series.add(name + suffix)
    assert len(series) == text.count("METRIC(")
    return table, series


def test_table_is_sound():
    table, series = families()
    for name, (kind, words) in table.items():
        assert name.startswith("wormhole_") and words.endswith(".")
        assert name.endswith("_total") == (kind == "counter"), name
        assert (name + "_bucket" in series) == (kind == "histogram")


def test_documented(hosts):
    """The page is made from the table, and its labels are those of running processes."""
    subprocess.run([ROOT / "docs/update-metrics", "--check"], check=True)
    page = dict(re.findall(r"^\| `(\w+)` \| \w+ \| ([\w, ]*) \|", (ROOT / "docs/metrics.md").read_text("utf-8"), flags=re.M))
    backend = hosts.backend(echo)
    server, client = start_pair(hosts, backend)
    checked = set()
    for host in (server, client):
        for name, labels in scrape(metrics_port(host)).values:
            name = re.sub(r"_(bucket|sum|count)$", "", name)
            names = {label for label, _ in labels}
            documented = set(filter(None, page[name].split(", ")))
            assert names == documented or names < documented and ("peer" in documented or "le" in documented), name
            checked.add(name)
    assert checked == set(page)


def test_every_family_is_there(hosts):
    table, _ = families()
    backend = hosts.backend(echo)
    server, client = start_pair(hosts, backend)
    of_server, of_client = scrape(metrics_port(server)), scrape(metrics_port(client))
    for metrics in (of_server, of_client):
        for name, kind in metrics.types.items():
            assert (kind, metrics.help[name]) == table[name]
        assert not [n for n in metrics.types if not [1 for (name, _) in metrics.values if name.startswith(n)]]
    assert set(of_server.types) | set(of_client.types) == set(table)
    only_server = {n for n in table if re.match(r"wormhole_(peers|requests|decisions|connections|sources|database|audit)", n)}
    assert set(of_server.types) - set(of_client.types) == only_server
    assert set(of_client.types) - set(of_server.types) == {n for n in table if n.startswith("wormhole_client_")}


def start_pair(hosts, backend, *server_flags):
    server = hosts.server(*server_flags, global_flags=METRICS)
    client = hosts.client(server, apps={"echo": backend.port}, global_flags=METRICS)
    server.accept(client)
    client.wait_connected()
    server.app_port("edge1", "echo")
    return server, client


def test_figures_are_true(hosts):
    backend = hosts.backend(echo)
    server, client = start_pair(hosts, backend)
    port, of_client = metrics_port(server), metrics_port(client)
    app = server.app_port("edge1", "echo")
    before = scrape(port)
    assert before.get("wormhole_peers", status="approved") == 1
    assert before.get("wormhole_peers_connected") == 1
    assert before.get("wormhole_requests_pending") == 0
    assert before.get("wormhole_decisions_total", decision="accept") == 1
    assert before.get("wormhole_sessions", state="open") == 1
    assert before.get("wormhole_handshakes_total", result="ok") == 1
    assert before.get("wormhole_app_connected", peer="edge1", app="echo") == 1
    assert before.get("wormhole_ready") == 1
    assert before.get("wormhole_build_info", version=server.fact("version"), side="server") == 1

    data = os.urandom(300000)
    for _ in range(3):
        assert exchange(app, data) == data
    size = 3 * len(data)

    def counted():
        now, there = scrape(port), scrape(of_client)
        assert now.get("wormhole_app_streams_total", peer="edge1", app="echo") == 3
        assert now.get("wormhole_app_streams", peer="edge1", app="echo") == 0
        for direction in ("in", "out"):
            assert now.get("wormhole_app_bytes_total", peer="edge1", app="echo", direction=direction) == size
            assert now.get("wormhole_bytes_total", direction=direction) == size
            assert now.get("wormhole_wire_bytes_total", direction=direction) > size
            assert there.get("wormhole_app_bytes_total", app="echo", direction=direction) == size
        return now
    after = wait(counted, "all bytes in the figures")
    for (name, labels), value in before.values.items():
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        if before.types.get(name, before.types.get(base)) in ("counter", "histogram"):
            assert after.values[name, labels] >= value, (name, labels)

    with tunnel.connect(app) as held:
        held.sendall(b"x")
        assert held.recv(1) == b"x"
        wait(lambda: scrape(port).get("wormhole_app_streams", peer="edge1", app="echo") == 1, "an open stream")
    # An app that is down is refused, and that is counted.
    backend.close()

    def refused():
        with pytest.raises(OSError):
            assert exchange(app, b"x")
            raise ConnectionError("closed without an answer")
        return scrape(port).get("wormhole_app_streams_refused_total", peer="edge1", app="echo") >= 1
    wait(refused, "a refused stream")


def test_histogram(hosts):
    backend = hosts.backend(echo)
    server, _ = start_pair(hosts, backend, "--ping-interval", "200ms")
    port = metrics_port(server)

    def measured():
        metrics = scrape(port)
        return metrics if metrics.get("wormhole_rtt_seconds_count") >= 3 else None
    metrics = wait(measured, "three round trips")
    buckets = sorted((float(dict(labels)["le"].replace("+Inf", "inf")), value)
                     for labels, value in metrics.series("wormhole_rtt_seconds_bucket").items())
    assert buckets[-1][0] == float("inf") and buckets[-1][1] == metrics.get("wormhole_rtt_seconds_count")
    assert [v for _, v in buckets] == sorted(v for _, v in buckets)
    assert 0 < metrics.get("wormhole_rtt_seconds_sum") < 60


def test_deaths_are_counted(hosts):
    backend = hosts.backend(echo)
    server, client = start_pair(hosts, backend)
    port = metrics_port(server)
    server.kill_worker("session", signal.SIGSEGV)
    client.wait_connected(2)
    wait(lambda: scrape(port).get("wormhole_worker_exits_total", role="session", reason="crash") == 1, "a crash")
    server.kill_worker("crypto")
    wait(lambda: scrape(port).get("wormhole_worker_restarts_total", role="crypto") == 1, "a restart")
    assert scrape(port).get("wormhole_worker_exits_total", role="crypto", reason="crash") == 1
    wait(lambda: scrape(port).get("wormhole_worker_starts_total", role="crypto") == 2, "the new one")
    # The one that prints the figures loses none of them when it is replaced.
    before = scrape(port).values
    server.kill_worker("admin")
    wait(lambda: scrape(port).get("wormhole_worker_restarts_total", role="admin") == 1, "another restart")
    after = scrape(port)
    assert after.get("wormhole_app_streams_total", peer="edge1", app="echo") == before[
        "wormhole_app_streams_total", (("app", "echo"), ("peer", "edge1"))]


def test_probes(hosts):
    server = hosts.server(global_flags=METRICS)
    port = metrics_port(server)
    for path, body in [("/healthz", b"ok\n"), ("/readyz", b"ready\n")]:
        answer = call(port, "GET", path, headers={"Host": "10.9.8.7:8090"})
        assert (answer.status, answer.body) == (200, body)
    assert call(port, "GET", "/v1/apps").status == 404
    assert call(port, "POST", "/metrics").status == 405

    # A client without its server is alive, but not ready, and says why.
    nowhere = tunnel.free_port()
    client = hosts.client(server, url=f"ws://127.0.0.1:{nowhere}/wh/tunnel", global_flags=METRICS)
    probe = metrics_port(client)
    answer = wait(lambda: (a := call(probe, "GET", "/readyz")).status == 503 and a, "an honest answer")
    assert answer.body.startswith(b"not ready: ") and len(answer.body) > 15
    assert call(probe, "GET", "/healthz").status == 200
    assert scrape(probe).get("wormhole_ready") == 0
    assert scrape(probe).get("wormhole_client_connections", phase="open") == 0


promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian package prometheus) is not here")


@promtool
def test_promtool_likes_it(hosts):
    backend = hosts.backend(echo)
    for host in start_pair(hosts, backend):
        text = call(metrics_port(host), "GET", "/metrics").body
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
        assert done.returncode == 0 and not done.stderr.strip(), done.stderr.decode()


@promtool
def test_alert_rules():
    for command in (["check", "rules", RULES.name], ["test", "rules", "alerts.test.yaml"]):
        done = subprocess.run(["promtool", *command], cwd=RULES.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def alerts():
    return [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def test_every_alert_has_an_example():
    examples = (RULES.parent / "alerts.test.yaml").read_text(encoding="utf-8")
    for rule in alerts():
        assert f'alertname="{rule["alert"]}"' in examples
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]


def used_series(text):
    return set(re.findall(r"\bwormhole_\w+", text))


def test_dashboard_and_rules_use_what_exists():
    """And the dashboard shows every family: a figure that nobody looks at is not worth counting."""
    table, series = families()
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    expressions = [t["expr"] for p in dashboard["panels"] for t in p.get("targets", [])]
    queries = [v["query"]["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    queries += [a["expr"] for a in dashboard["annotations"]["list"]]
    shown = used_series(" ".join(expressions + queries))
    assert shown <= series
    assert {n for n in table if not any(s.startswith(n) for s in shown)} == set()
    assert used_series(" ".join(rule["expr"] for rule in alerts())) <= series
    ids = [p["id"] for p in dashboard["panels"]]
    assert len(ids) == len(set(ids)) and len(expressions) > 30
    for panel in dashboard["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def test_labels_that_rules_name_exist(hosts):
    """A selector with a label value that never comes would be an alert that never fires."""
    backend = hosts.backend(echo)
    there = {}
    for host in start_pair(hosts, backend):
        for (name, labels) in scrape(metrics_port(host)).values:
            for label, value in labels:
                there.setdefault((name, label), set()).add(value)
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    texts = [rule["expr"] for rule in alerts()] + [t["expr"] for p in dashboard["panels"] for t in p.get("targets", [])]
    checked = 0
    for text in texts:
        for name, selector in re.findall(r"(wormhole_\w+)\{([^}]*)\}", text):
            for label, operator, values in re.findall(r'(\w+)(=~|=)"([^"]*)"', selector):
                if values.startswith("$") or label in ("job", "instance"):
                    continue
                for value in values.split("|") if operator == "=~" else [values]:
                    assert value in there[name, label], (name, label, value)
                    checked += 1
    assert checked > 10
