# SPDX-License-Identifier: Apache-2.0
"""Flags, --help, manuals, YAML reference, completion, chart and the operations guide say the same: all of them are held
against the option table that the program was built from (table.json)."""
import ast
import json
import os
import re
import shutil

import pytest
import yaml

from support import CACHE, DOCS, ROOT, run, wormhole

TABLE = json.loads((DOCS / "table.json").read_text(encoding="utf-8"))
OPTIONS = {o["flag"]: o for o in TABLE["options"]}
COMMANDS = {c["name"]: c for c in TABLE["commands"]}
PLACES = {"listen": "server", "join": "client"}


def flags_of(place):
    return {flag for flag, o in OPTIONS.items() if place in o["where"]}


def man(name):
    """A manual page as people read it, without hyphenation."""
    page = next((DOCS / "man").glob(f"{name}.[158]"))
    text = run("man", "--nj", "--nh", "-l", page, env=dict(os.environ, MANWIDTH="1000", LC_ALL="C.UTF-8")).stdout
    return re.sub(r".\x08", "", text)


def listed_flags(text):
    """Flags that begin a line, as in lists of options."""
    return set(re.findall(r"^\s+--([a-z][a-z0-9-]*)\b", text, re.M))


def test_the_table_is_this_program():
    assert wormhole("--version").stdout.split()[1] == TABLE["version"]
    assert TABLE["version"] in (ROOT / "packaging/debian/changelog").read_text().splitlines()[0]
    listed = re.findall(r"^  ([a-z-]+) {2,}\S", wormhole("--help").stdout.split("Commands:")[1].split("\n\n")[0], re.M)
    assert listed == list(COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_help_and_manual_have_every_option(name):
    command = COMMANDS[name]
    own = {o["flag"] for o in command["options"]}
    want = own | (flags_of(command["takes"]) if command["takes"] in ("server", "client") else set())
    help_text = wormhole(name, "--help").stdout
    assert listed_flags(help_text) == want
    if name == "help":
        return
    page = man(f"wormhole-{name}")
    assert listed_flags(page.split("OPTIONS")[1].split("EXAMPLES")[0]) == want
    for verb in command["verbs"]:
        assert re.search(rf"^\s+{verb}\b", help_text, re.M) and re.search(rf"^\s+{verb}\b", page, re.M)


def test_global_options():
    want = flags_of("global") | {"config", "help", "version"}
    assert listed_flags(wormhole("--help").stdout) == want
    assert listed_flags(man("wormhole").split("OPTIONS")[1]) == want


def test_every_command_and_manual_is_in_the_first_manual():
    page = man("wormhole")
    for name, command in COMMANDS.items():
        assert re.search(rf"^\s+{name}\b", page, re.M), name
        if name != "help":
            assert f"wormhole-{name}({command['section']})" in page


def test_manuals_are_clean():
    for page in sorted((DOCS / "man").iterdir()):
        said = run("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page, check=False,
                   env=dict(os.environ, LC_ALL="C.UTF-8", MANROFFSEQ="")).stderr
        assert said.strip() == "", f"{page.name}: {said}"


def test_see_also_names_pages_that_exist():
    pages = {page.name for page in (DOCS / "man").iterdir()}
    for page in sorted((DOCS / "man").iterdir()):
        for name, section in re.findall(r"\\fB([^\\]*(?:\\-[^\\]*)*)\\fR\(([158])\)", page.read_text()):
            assert f"{name.replace(chr(92) + '-', '-')}.{section}" in pages, f"{page.name} names {name}({section})"


def test_yaml_reference_has_every_key_and_default():
    page = man("wormhole.yaml")
    sections = {"global": page.split("KEYS OF BOTH FILES")[1].split("KEYS OF SERVER")[0],
                "server": page.split("KEYS OF SERVER.YAML")[1].split("KEYS OF CLIENT")[0],
                "client": page.split("KEYS OF CLIENT.YAML")[1].split("EXAMPLES")[0]}
    kinds = r"(?:true or false|number|time|size|text|word|list|list of apps)$"
    for place, text in sections.items():
        keys = re.findall(rf"^\s+([a-z][a-z0-9-]*): {kinds}", text, re.M)
        assert set(keys) == flags_of(place), place
        blocks = dict(zip(keys, re.split(rf"^\s+[a-z][a-z0-9-]*: {kinds}", text, flags=re.M)[1:]))
        for flag in keys:
            option = OPTIONS[flag]
            if option["default"]:
                assert f"Default: {option['default']}" in blocks[flag], flag
            assert ("A reload changes it" in blocks[flag]) == option["live"], flag


def test_the_examples_of_the_yaml_reference_load(tmp_path):
    text = man("wormhole.yaml").split("EXAMPLES")[1].split("SEE ALSO")[0]
    blocks = re.split(r"^ *A (?:server|client):\n", text, flags=re.M)[1:]
    assert len(blocks) == 2
    for side, block in zip(("listen", "join"), blocks):
        lines = [line for line in block.splitlines() if line.strip()]
        indent = min(len(line) - len(line.lstrip()) for line in lines)
        file = tmp_path / f"{side}.yaml"
        file.write_text("\n".join(line[indent:] for line in lines) + "\n")
        wormhole("check-config", side, "--config", file, "--quiet")


@pytest.mark.parametrize("side", ["listen", "join"])
def test_check_config_prints_every_option_and_can_be_read_again(side, tmp_path):
    printed = wormhole("check-config", side, "--config", "/dev/null").stdout
    keys = set(re.findall(r"^(?:# )?([a-z][a-z0-9-]*): ", printed, re.M))
    keys |= set(re.findall(r"^([a-z][a-z0-9-]*):$", printed, re.M))
    assert keys == flags_of("global") | flags_of(PLACES[side])
    file = tmp_path / "again.yaml"
    file.write_text(printed)
    again = wormhole("check-config", side, "--config", file, "--output", "json").stdout
    first = wormhole("check-config", side, "--config", "/dev/null", "--output", "json").stdout
    assert json.loads(again) == json.loads(first)
    defaults = json.loads(first)
    for flag in keys:
        option = OPTIONS[flag]
        if option["type"] in ("int", "enum", "bool") and option["default"]:
            assert str(defaults[flag]).lower() == option["default"], flag


@pytest.mark.parametrize("shell", ["wormhole.bash", "_wormhole", "wormhole.fish"])
def test_completion_knows_every_flag(shell):
    text = (DOCS / "completion" / shell).read_text(encoding="utf-8")
    for flag in set(OPTIONS) | {o["flag"] for c in COMMANDS.values() for o in c["options"]}:
        assert re.search(rf"(?:--|-l ){flag}(?![a-z0-9-])", text), flag
    for name in COMMANDS:
        assert re.search(rf"\b{name}\b", text), name


def test_packaged_configuration_names_only_real_keys(tmp_path):
    for side, name in (("listen", "server"), ("join", "client")):
        text = (ROOT / f"packaging/config/{name}.yaml").read_text()
        keys = set(re.findall(r"^#?([a-z][a-z0-9-]*):", text, re.M))
        assert keys <= flags_of("global") | flags_of(name), keys
        assert {"state-dir", "control-socket", "control-group"} <= keys
        wormhole("check-config", side, "--config", ROOT / f"packaging/config/{name}.yaml", "--quiet")


def test_the_chart_passes_only_real_flags():
    for side, role in (("listen", "server"), ("join", "client")):
        text = (ROOT / f"helm/templates/{role}-deployment.yaml").read_text()
        block = text.split("command:")[1].split("ports:")[0]
        assert re.search(rf"^ *- {side}$", block, re.M)
        assert block.split()[1] == "/usr/bin/wormhole", "the image has it there"
        used = set(re.findall(r"^ *- --([a-z0-9-]+)", block, re.M))
        assert used <= flags_of("global") | flags_of(role), used - flags_of("global") - flags_of(role)


def test_the_chart_agrees_on_ports_and_defaults():
    values = yaml.safe_load((ROOT / "helm/values.yaml").read_text())
    server = values["server"]
    assert server["acceptor"] in OPTIONS["acceptor"]["words"].split("|")
    text = (ROOT / "helm/templates/server-deployment.yaml").read_text()
    for name, flag in (("tunnel", "port"), ("admin", "admin-port"), ("metrics", "metrics-port")):
        assert f"{{name: {name}, containerPort: {OPTIONS[flag]['default']}}}" in text
    assert values["docker"]["version"] == TABLE["version"]
    helpers = (ROOT / "helm/templates/_helpers.tpl").read_text()
    assert OPTIONS["path"]["default"] in helpers.split('define "wormhole.path"')[1].split("end }}")[0]


def chart_config(role):
    schema = json.loads((ROOT / "helm/values.schema.json").read_text(encoding="utf-8"))
    return schema["definitions"][f"{role}Config"]["properties"]


def not_config():
    """What packaging/update-chart-schema leaves out, with the reasons."""
    text = (ROOT / "packaging/update-chart-schema").read_text(encoding="utf-8")
    return ast.literal_eval(re.search(r"^NOT_CONFIG = (\{.*?^\})", text, re.M | re.S).group(1))


def test_the_charts_schema_is_of_this_option_table():
    run("/usr/bin/python3", "-B", ROOT / "packaging/update-chart-schema", "--check")


@pytest.mark.parametrize("role", ["server", "client"])
def test_every_option_that_makes_sense_in_a_pod_can_be_set_by_a_value(role):
    """Each option is in server.config or client.config; or the chart's own, with a reason, and then not in there."""
    config, reasons = chart_config(role), not_config()
    everything = flags_of("global") | flags_of(role)
    assert set(config) | (set(reasons) & everything) == everything and not set(config) & set(reasons)
    assert all(reasons.values()) and set(reasons) <= set(OPTIONS)
    for flag, property in config.items():
        option = OPTIONS[flag]
        assert property["description"]
        if option["type"] == "enum":
            assert property["enum"] == option["words"].split("|"), flag
        else:
            assert {"bool": "boolean", "int": "integer", "list": "array", "apps": "array"}.get(option["type"], "string") \
                in (property["type"] if isinstance(property["type"], list) else [property["type"]]), flag
    # a reason that names a value means a value that there is, and one that the template turns into the flag
    template = (ROOT / f"helm/templates/{role}-deployment.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load((ROOT / "helm/values.yaml").read_text(encoding="utf-8"))
    for flag, reason in reasons.items():
        if flag in everything and re.fullmatch(r"[a-zA-Z]+\.[a-zA-Z.]+", reason):
            value = values
            for word in reason.split("."):
                value = value[word]
            assert f"--{flag}" in template and (reason in template or flag == "path"), flag


# One value of each kind; what is special about an option stands below.
SAMPLES = {"bool": [True, False], "int": None, "ms": ["90s"], "size": ["64k", 131072], "str": ["x"], "list": [["x", "y"]], "apps": None}
SPECIAL = {"expose": [["name=db,address=127.0.0.1:5432"]], "trusted-proxies": [["10.0.0.0/8", "::1"]], "max-startups": ["1:20:30"],
           "proxy": ["http://127.0.0.1:3128"], "max-record": ["16k", 16384], "rsa-bits": [3072], "port-range-min": [30001], "dead-after": ["120s"],
           "port-range-max": [30400], "suites": ["x25519"], "stream-window": ["64k", 131072], "kubernetes-watch-time": ["90s"]}


def helm_program():
    """The real helm, where the tests of Kubernetes have put it."""
    found = shutil.which("helm")
    parts = CACHE / "parts.env"
    if found is None and parts.exists():
        found = dict(line.split("=", 1) for line in parts.read_text().splitlines() if line.startswith("HELM=")).get("HELM")
    return found


@pytest.mark.parametrize("role, side", [("server", "listen"), ("client", "join")])
def test_the_program_takes_every_value_as_helm_hands_it_over(role, side, tmp_path):
    """Each key of `config` in a file of values, through the real helm, and its arguments through the real parser."""
    helm = helm_program()
    if helm is None:
        pytest.skip("no helm: tests/kubernetes/setup gets one")
    rounds = [{}, {}]
    for flag, property in chart_config(role).items():
        option = OPTIONS[flag]
        values = SPECIAL.get(flag) or SAMPLES.get(option["type"]) or (
            property["enum"] if option["type"] == "enum" else [property["minimum"] if flag == "fallback-uid" else int(option["default"])])
        for number, one in enumerate(rounds):
            one[flag] = values[min(number, len(values) - 1)]
    rounds[1] = {flag: value for flag, value in rounds[1].items() if flag not in ("ca-file", "proxy-credentials-file")}
    for config in rounds:
        values = tmp_path / "values.yaml"
        values.write_text(yaml.safe_dump({role: {"enabled": True, "config": config, **({"name": "edge1"} if role == "client" else {})}}))
        rendered = run(helm, "template", "r", ROOT / "helm", "-f", values).stdout
        pod = next(d for d in yaml.safe_load_all(rendered) if d and d["kind"] == "Deployment")["spec"]["template"]["spec"]
        words = pod["containers"][0]["command"]
        assert words[0] == "/usr/bin/wormhole" and words.count(side) == 1
        given = words[words.index(side) + 1:]
        shown = json.loads(wormhole(*words[1:words.index(side)], "check-config", side, "--output", "json", *given, check=True).stdout)
        for flag, value in config.items():
            assert shown[flag] == value or str(shown[flag]) != OPTIONS[flag]["default"] or str(value) == OPTIONS[flag]["default"], flag
    for bad in ("prot=1", "log-level=loud", "grace=soon"):
        refused = run(helm, "template", "r", ROOT / "helm", "--set", f"{role}.enabled=true,{role}.config.{bad}", check=False)
        if bad.split("=")[0] in chart_config(role) or bad == "prot=1":
            assert refused.returncode != 0 and bad.split("=")[0] in refused.stderr


def test_documents_name_only_real_flags():
    """Every --flag of a wormhole command line in the documents exists."""
    known = set(OPTIONS) | {o["flag"] for c in COMMANDS.values() for o in c["options"]} | {"config", "help", "version"}
    known |= {f"no-{flag}" for flag, o in OPTIONS.items() if o["type"] == "bool"}
    for document in ("README.md", "docs/operations.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for line in re.findall(r"\bwormhole (?:[a-z-]+ )?[^\n`]*", text):
            for flag in re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)", line.split("|")[0].split("#")[0]):
                assert flag in known, f"{document}: --{flag}"
