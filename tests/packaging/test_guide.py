# SPDX-License-Identifier: Apache-2.0
"""The operations guide's own text, run: the reverse proxies' configurations with the real programs in front of a real tunnel,
the backup of a running server, the export for a SIEM. Only ports, paths and names are replaced."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

from support import BIN, ROOT, open_folder, run, until, wormhole

GUIDE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")


def block(name):
    match = re.search(rf"<!-- test: {name} -->\n```\w*\n(.*?)```", GUIDE, re.S)
    assert match, f"the guide has no block for {name}"
    return match.group(1)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Host:
    """A server with a folder of its own; clients, proxies and whatever else is started end with it."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.control = folder / "control.sock"
        self.start(BIN / "wormhole", "listen", "--state-dir", folder / "server", "--control-socket", self.control,
                   "--host", "127.0.0.1", "--port", 0, "--admin-port", 0, "--app-host", "127.0.0.1",
                   "--no-port-use-range", "--trusted-proxies", "127.0.0.1")
        status = until(lambda: self.ask("status"), "the server")
        facts = {row[1]: row[2] for row in (line.split("\t") for line in status.splitlines()) if row[0] == "fact"}
        self.port, self.admin = facts["tunnel"].rsplit(":", 1)[1], facts["admin"]

    def start(self, *words):
        log = open(self.folder / f"{len(self.processes)}.log", "wb")
        self.processes.append(subprocess.Popen([str(w) for w in words], stdin=subprocess.DEVNULL, stdout=log,
                                               stderr=log, cwd=self.folder))
        return self.processes[-1]

    def ask(self, *words, check=False):
        return wormhole("--control-socket", self.control, *words, check=check).stdout

    def pair(self, url, *more):
        """A client at this URL, approved; the first page through its app."""
        self.start(BIN / "wormhole", "join", "--state-dir", self.folder / "client", "--control-socket",
                   self.folder / "client.sock", "--name", "edge1", "--server", url, "--expose",
                   f"name=admin,address={self.admin}", "--reconnect-min", "100ms", *more)
        fingerprint = until(lambda: self.ask("requests", "list").split("\t")[0], f"the request through {url}")
        row = self.ask("requests", "list").rstrip("\n").split("\t")
        self.ask("requests", "accept", fingerprint, check=True)
        endpoint = until(lambda: (self.ask("apps").split("\t") + [""] * 3)[2], "the app")
        page = run("curl", "-sS", "--max-time", 10, f"http://{endpoint}/v1/apps").stdout
        assert json.loads(page)[0]["app"] == "admin"
        return row

    def end(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(timeout=60)


@pytest.fixture
def host():
    with open_folder() as folder:
        one = Host(folder)
        try:
            yield one
        finally:
            one.end()


def certificate(folder):
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
        "subjectAltName=DNS:localhost", "-keyout", folder / "hub.key", "-out", folder / "hub.crt")
    (folder / "hub.pem").write_text((folder / "hub.crt").read_text() + (folder / "hub.key").read_text())
    return folder / "hub.crt"


def listening(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def nginx_config(host, port):
    text = block("nginx").replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    text = text.replace("/etc/ssl/hub.pem", str(host.folder / "hub.crt")).replace("/etc/ssl", str(host.folder))
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{host.port}").replace("hub.example.org", "localhost")
    paths = "\n".join(f"{kind}_temp_path {host.folder}/{kind};" for kind in
                      ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return f"daemon off;\npid {host.folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}\n" \
           f"{text}\n}}\n"


def haproxy_config(host, port):
    text = block("haproxy").replace("bind :443", f"bind 127.0.0.1:{port}")
    text = text.replace("/etc/ssl", str(host.folder)).replace("127.0.0.1:8080", f"127.0.0.1:{host.port}")
    return text


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_the_reverse_proxy_as_written(host, kind):
    if shutil.which(kind) is None:
        pytest.skip(f"{kind} is not installed")
    authority, port = certificate(host.folder), free_port()
    config = host.folder / f"{kind}.conf"
    if kind == "nginx":
        config.write_text(nginx_config(host, port))
        run("nginx", "-t", "-c", config, "-p", host.folder)
        host.start("nginx", "-c", config, "-p", host.folder)
    else:
        config.write_text(haproxy_config(host, port))
        run("haproxy", "-c", "-f", config)
        host.start("haproxy", "-db", "-f", config)
    until(lambda: listening(port), kind)
    url = f"wss://localhost:{port}/wh/tunnel"
    steps = wormhole("probe", url, "--ca-file", authority).stdout
    assert [line.split("\t")[:2] for line in steps.splitlines()] == [
        ["dns", "ok"], ["tcp", "ok"], ["tls", "ok"], ["upgrade", "ok"], ["hello", "ok"]]
    row = host.pair(url, "--ca-file", authority)
    assert row[2].startswith("127.0.0.1"), "the forwarded address is shown"


@pytest.mark.parametrize("breakage, step", [("no upgrade", "upgrade"), ("wrong path", "upgrade"), ("no server", "tcp"),
                                            ("no name", "dns"), ("other server", "hello")])
def test_probe_names_the_step_as_the_guide_says(host, breakage, step):
    url, more = f"ws://127.0.0.1:{host.port}/wh/tunnel", []
    if breakage == "no upgrade":
        url = f"ws://{host.admin}/wh/tunnel"
    elif breakage == "wrong path":
        url = f"ws://127.0.0.1:{host.port}/other"
    elif breakage == "no server":
        url = f"ws://127.0.0.1:{free_port()}/wh/tunnel"
    elif breakage == "no name":
        url = "ws://no-such-host.invalid/wh/tunnel"
    else:
        more = ["--server-fingerprint", "SHA256:" + "A" * 43]
    result = wormhole("probe", url, *more, check=False)
    assert result.returncode == 69
    last = result.stdout.splitlines()[-1].split("\t")
    assert last[:2] == [step, "failed"], result.stdout
    assert f'the step "{step}" failed' in result.stderr
    assert re.search(rf"^ +\| {step} \|", GUIDE, re.M)


def test_the_backup_of_a_running_server(host):
    if shutil.which("sqlite3") is None:
        pytest.skip("sqlite3 is not installed")
    host.pair(f"ws://127.0.0.1:{host.port}/wh/tunnel")
    backup = host.folder / "backup"
    backup.mkdir()
    script = block("backup").replace("/var/lib/wormhole/server", str(host.folder / "server"))
    script = script.replace("/backup", str(backup))
    env = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}")
    assert "intact\tyes" in run("sh", "-euc", script, env=env).stdout
    assert (backup / "identity/server_ed25519.pem").exists()
    kept = wormhole("audit", "list", "--db", backup / "wormhole.db").stdout
    assert "\taccept\tedge1\t" in kept
    host.end()
    host.processes.clear()
    # restored as the guide says
    state = host.folder / "server"
    for name in ("wormhole.db", "wormhole.db-wal", "wormhole.db-shm"):
        (state / name).unlink(missing_ok=True)
    shutil.copy(backup / "wormhole.db", state / "wormhole.db")
    again = Host(host.folder)
    host.processes = again.processes
    assert "edge1\tapproved" in again.ask("peers", "list")
    assert "intact\tyes" in again.ask("audit", "verify")


def test_the_export_for_a_siem(host):
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    (host.folder / "siem").mkdir()
    script = block("siem").replace("/var/lib/siem", str(host.folder / "siem"))
    script = script.replace("/var/log", str(host.folder)).replace("wormhole audit", f"wormhole --control-socket {host.control} audit")
    env = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}")
    run("sh", "-euc", script, env=env)
    host.pair(f"ws://127.0.0.1:{host.port}/wh/tunnel")
    run("sh", "-euc", script, env=env)
    rows = [json.loads(line) for line in (host.folder / "wormhole-audit.jsonl").read_text().splitlines()]
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1)), "each row once, none missing"
    assert all(b["previous"] == a["hash"] for a, b in zip(rows, rows[1:]))
    fields = re.search(r"Each line has (.*?);", GUIDE, re.S).group(1)
    assert set(rows[0]) == set(re.findall(r"`(\w+)`", fields))


def test_prometheus_takes_the_configuration(tmp_path):
    if shutil.which("promtool") is None:
        pytest.skip("promtool (Debian package prometheus) is not installed")
    text = block("prometheus").replace("/usr/share/wormhole", str(ROOT / "packaging/monitoring"))
    (tmp_path / "prometheus.yml").write_text(text)
    said = run("promtool", "check", "config", tmp_path / "prometheus.yml").stdout
    assert "SUCCESS" in said and "alerts.yaml" in said or "rule files found" in said


def test_the_fields_of_a_line_are_those_of_the_table(tmp_path):
    table = GUIDE.split("## Logs")[1].split("## Upgrade")[0]
    fields = [name for cell in re.findall(r"^\| (`.*?`) \| ", table, re.M) for name in re.findall(r"`(\w+)`", cell)]
    with open_folder() as folder:
        process = subprocess.Popen([str(w) for w in (
            BIN / "wormhole", "--log-format", "json", "listen", "--state-dir", folder / "s", "--control-socket", folder / "c.sock",
            "--host", "127.0.0.1", "--port", 0, "--admin-port", 0)], stdin=subprocess.DEVNULL, stderr=open(folder / "log", "wb"))
        try:
            until(lambda: '"message":"ready"' in (folder / "log").read_text(), "readiness", 120)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=120)
        for line in (folder / "log").read_text().splitlines():
            row = json.loads(line)
            assert list(row) == [field for field in fields if field in row], "these, and in this order"
            assert {"time", "level", "role", "pid", "message"} <= set(row)


def test_the_table_of_exposure_is_todays():
    """The figures of the guide add up to what systemd-analyze says today."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = run("systemd-analyze", "security", "--offline=true", "--no-pager",
               ROOT / "packaging/systemd/wormhole-server.service").stdout
    found = sum(float(m) for m in re.findall(r"^✗ .* ([0-9.]+) *$", text, re.M))
    table = GUIDE.split("## How the services are confined")[1]
    written = sum(float(m) for m in re.findall(r"^\|[^|]+\| ([0-9.]+) \|", table, re.M))
    assert abs(found - written) < 0.25, (found, written)
    total = re.search(r"exposure level for \S+: ([0-9.]+)", text).group(1)
    assert f"is {total} with a user for each worker" in re.sub(r"\s+", " ", table)
