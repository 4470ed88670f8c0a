# SPDX-License-Identifier: Apache-2.0
"""
The commands as people and scripts use them, against a real server: tables on a terminal, tabs in a pipe, JSON,
shortened fingerprints with a question, exit codes, and what stands on standard output and what does not.
"""
import csv
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

import tunnel

BIN = os.environ["WORMHOLE_BIN"] + "/wormhole"


def run(*words, env=None, **more):
    return subprocess.run([BIN, *map(str, words)], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, env=dict(os.environ, **(env or {})), **more)


class Terminal:
    """A command on a terminal of its own; what it prints, and answers to what it asks."""

    def __init__(self, *words, env=None, width=0):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
            os.environ.update({"TERM": "xterm", **(env or {})})
            os.execv(BIN, [BIN, *map(str, words)])
        self.text = ""

    def read_until(self, pattern, timeout=30):
        deadline = time.monotonic() + timeout
        while not re.search(pattern, self.text):
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no {pattern!r} in {self.text!r}"
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                data = b""
            assert data, f"no {pattern!r} in {self.text!r}"
            self.text += data.decode()
        return self.text

    def say(self, line):
        os.write(self.fd, line.encode() + b"\n")

    def end(self):
        while True:
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                break
            if not data:
                break
            self.text += data.decode()
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def sockets(server):
    return ["--control-socket", server.control]


@pytest.fixture
def waiting(hosts):
    """A server, and a client that waits for approval."""
    server = hosts.server()
    client = hosts.client(server, apps={"echo": hosts.backend(tunnel.echo).port})
    client.wait_waiting()
    return server, client


def test_requests_in_every_shape(waiting):
    server, client = waiting
    piped = run(*sockets(server), "requests", "list")
    fields = piped.stdout.rstrip("\n").split("\t")
    assert piped.returncode == 0 and piped.stderr == "" and len(piped.stdout.splitlines()) == 1, "no header in a pipe"
    assert fields[0] == client.fingerprint and fields[1] == "edge1" and fields[5] == "yes"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", fields[3])
    row, = json.loads(run(*sockets(server), "requests", "list", "--output", "json").stdout)
    assert row["fingerprint"] == client.fingerprint and row["bits"] == 2048 and row["waiting"] is True
    assert row["pairing_code"] == fields[6] and abs(row["first_seen"] - time.time()) < 600
    terminal = Terminal(*sockets(server), "requests", "list")
    assert terminal.end() == 0
    lines = terminal.text.splitlines()
    assert "FINGERPRINT" in lines[0] and "PAIRING CODE" in lines[0] and "\033[" in lines[0]
    assert client.fingerprint in lines[1] and "requests accept" in terminal.text
    plain = Terminal(*sockets(server), "requests", "list", env={"NO_COLOR": "1"})
    assert plain.end() == 0 and "\033" not in plain.text
    header, line = (part for part in plain.text.splitlines()[:2])
    assert header.index("NAME") == line.index("edge1"), "aligned"


def test_a_shortened_fingerprint_is_confirmed(waiting):
    server, client = waiting
    prefix = client.fingerprint[:19]
    scripted = run(*sockets(server), "requests", "accept", prefix)
    assert scripted.returncode == 64 and "whole fingerprint" in scripted.stderr
    short = Terminal(*sockets(server), "requests", "accept", prefix[:15])
    assert short.end() == 64
    no = Terminal(*sockets(server), "requests", "accept", prefix)
    text = no.read_until(r"\[y/N\] ")
    assert client.fingerprint in text and "edge1" in text and "pairing code" in text and "known for" in text
    no.say("n")
    assert no.end() == 1 and "nothing was changed" in no.text
    assert run(*sockets(server), "requests", "list").stdout != ""
    yes = Terminal(*sockets(server), "requests", "accept", prefix)
    yes.read_until(r"\[y/N\] ")
    yes.say("y")
    assert yes.end() == 0
    client.wait_connected()
    none = Terminal(*sockets(server), "requests", "accept", "SHA256:AAAAAAAAAAAA")
    assert none.end() == 1 and "no key's fingerprint begins with" in none.text


def test_the_life_of_a_peer(waiting):
    server, client = waiting
    fingerprint = client.fingerprint
    accepted = run(*sockets(server), "requests", "accept", fingerprint)
    assert accepted.returncode == 0 and accepted.stdout == "" and "edge1" in accepted.stderr
    client.wait_connected()
    fields = tunnel.wait(lambda: run(*sockets(server), "apps").stdout.rstrip("\n").split("\t")[2:], "the app")
    port = int(fields[-1])
    assert tunnel.exchange(port, b"hello") == b"hello"
    assert run(*sockets(server), "apps", "--peer", "nobody").stdout == ""
    shown = json.loads(run(*sockets(server), "peers", "show", "edge1", "--output", "json").stdout)
    assert shown["status"] == "approved" and shown["connections"] == 1 and "uid=" in shown["decided_by"]
    again = run(*sockets(server), "requests", "accept", fingerprint)
    assert again.returncode == 1 and "already" in again.stderr
    missing = run(*sockets(server), "peers", "show", "nobody")
    assert missing.returncode == 1 and "peers list" in missing.stderr and missing.stdout == ""
    revoked = run(*sockets(server), "peers", "revoke", "edge1")
    assert revoked.returncode == 0
    tunnel.wait(lambda: "revoked" in run(*sockets(server), "peers", "list").stdout, "revoked")
    assert run(*sockets(server), "peers", "preapprove", fingerprint).returncode == 64, "a name is needed"
    assert run(*sockets(server), "peers", "preapprove", fingerprint[:30], "--name", "x").returncode == 64
    assert run(*sockets(server), "peers", "preapprove", fingerprint, "--name", "edge1").returncode == 0


def test_the_audit_log_in_every_shape(waiting):
    server, client = waiting
    run(*sockets(server), "requests", "accept", client.fingerprint)
    client.wait_connected()
    everything = json.loads(run(*sockets(server), "audit", "export").stdout)
    lines = run(*sockets(server), "audit", "export", "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == everything[:len(lines)]
    table = list(csv.DictReader(io.StringIO(run(*sockets(server), "audit", "export", "--format", "csv").stdout)))
    assert [row["hash"] for row in table] == [row["hash"] for row in everything][:len(table)]
    accept = next(row for row in everything if row["action"] == "accept")
    assert accept["name"] == "edge1" and accept["actor_kind"] == "control" and f"uid={os.getuid()}" in accept["actor"]
    later = run(*sockets(server), "audit", "list", "--after", accept["seq"]).stdout
    assert all(int(line.split("\t")[0]) > accept["seq"] for line in later.splitlines())
    assert run(*sockets(server), "audit", "list", "--after", "x").returncode == 64
    verified = run(*sockets(server), "audit", "verify", "--output", "json")
    assert verified.returncode == 0 and json.loads(verified.stdout)["intact"] is True


def test_a_copied_log_that_was_changed_is_found(waiting, tmp_path):
    """A row of a copy is changed behind sqlite's triggers; verify names it and fails."""
    server, client = waiting
    run(*sockets(server), "requests", "accept", client.fingerprint)
    copy = tmp_path / "copy.db"
    import sqlite3
    source = sqlite3.connect(f"file:{server.state}/wormhole.db?mode=ro", uri=True)
    target = sqlite3.connect(copy)
    source.backup(target)
    target.close()
    assert run("audit", "verify", "--db", copy).returncode == 0
    data = copy.read_bytes()
    name = client.fingerprint.encode()
    assert data.count(name) >= 2
    copy.write_bytes(data.replace(name, name[:-1] + (b"E" if name.endswith(b"A") else b"A")))
    result = run("audit", "verify", "--db", copy)
    assert result.returncode == 1 and ("tampered" in result.stderr or "damaged" in result.stderr), result.stderr


def test_status_is_what_the_kernel_says(waiting):
    server, client = waiting
    shown = json.loads(run(*sockets(server), "status", "--output", "json").stdout)
    assert shown["facts"]["side"] == "server" and shown["facts"]["ready"] == "yes"
    roles = {row["role"] for row in shown["processes"]}
    assert {"supervisor", "crypto", "admin", "session"} <= roles
    for row in shown["processes"]:
        with open(f"/proc/{row['pid']}/status", encoding="ascii") as file:
            facts = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        assert int(facts["Uid"].split()[0]) == row["uid"]
        assert (facts["NoNewPrivs"] == "1") == row["no_new_privs"]
    lines = run(*sockets(server), "status").stdout.splitlines()
    assert {line.split("\t")[0] for line in lines} == {"fact", "process"}
    ours = run("--control-socket", client.control, "status", "--client").stdout
    assert "fact\tside\tclient" in ours
    assert run("--control-socket", client.control, "requests", "list").returncode in (0, 1)


def shown_on(width, server, *words):
    """What a command prints on a terminal of this width, without colours; not one line is wider."""
    terminal = Terminal(*sockets(server), *words, env={"NO_COLOR": "1"}, width=width)
    assert terminal.end() == 0
    lines = terminal.text.splitlines()
    said = [line for line in lines if not line.startswith(("(No room for", "Compare the"))]
    assert max(map(len, said)) <= width, terminal.text
    return terminal.text


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_the_terminal(waiting, width):
    """Columns that can be spared give way, and that is said; what an operator must compare never does."""
    server, client = waiting
    requests = shown_on(width, server, "requests", "list")
    assert client.fingerprint in requests and "PAIRING CODE" in requests and "edge1" in requests
    run(*sockets(server), "requests", "accept", client.fingerprint)
    client.wait_connected()
    status = shown_on(width, server, "status")
    for role in ("supervisor", "crypto", "session", "admin"):
        assert re.search(rf"^{role} ", status, re.M) and len(re.findall(rf"^Layers of .*\b{role}\b", status, re.M)) == 1
    assert len(status.split("Layers of ")) <= 4, "processes that are confined alike are shown once"
    for layer in ("rlimits", "no-new-privs", "seccomp", "capabilities:"):
        assert layer in status.split("Layers of ")[1]
    peers = shown_on(width, server, "peers", "list")
    assert "edge1" in peers and "approved" in peers
    assert ("FINGERPRINT" in peers.splitlines()[0]) == (width == 120)
    for title in ("ADDRESS", *(("FINGERPRINT",) if width == 80 else ())):
        assert title in peers.splitlines()[0] or re.search(rf"^\(No room for .*\b{title}\b", peers, re.M), peers
    apps = shown_on(width, server, "apps")
    assert re.search(r"^edge1 +echo +127\.0\.0\.1:\d+ +connected", apps, re.M), apps
    audit = shown_on(width, server, "audit", "list")
    assert re.search(r"\baccept\b.*\bedge1\b", audit), audit


def test_a_narrow_terminal_gets_a_block_of_lines_for_each(waiting):
    server, client = waiting
    text = shown_on(72, server, "requests", "list")
    assert re.search(rf"^FINGERPRINT +{client.fingerprint}$", text.replace("\r", ""), re.M), text
    assert re.search(r"^PAIRING CODE +[A-Z2-7]{4}(-[A-Z2-7]{4}){3}$", text.replace("\r", ""), re.M), text


def test_lines_for_scripts_do_not_depend_on_the_terminal(waiting):
    server, _ = waiting
    terminal = Terminal(*sockets(server), "status", "--output", "tsv", width=40)
    assert terminal.end() == 0
    rows = [line.split("\t") for line in terminal.text.splitlines() if line.startswith("process\t")]
    assert len(rows) >= 4 and {len(row) for row in rows} == {19}
    assert all("seccomp" in row[17] for row in rows), "the layers are the 17th column as ever"


def test_exit_codes_and_what_to_do_next(hosts, tmp_path):
    nobody = run("--control-socket", tmp_path / "none.sock", "status")
    assert nobody.returncode == 69 and str(tmp_path / "none.sock") in nobody.stderr
    assert "--control-socket PATH" in nobody.stderr and nobody.stdout == ""
    stale = tmp_path / "stale.sock"
    import socket
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.bind(str(stale))
    dead = run("--control-socket", stale, "status")
    assert dead.returncode == 69 and "nobody answers" in dead.stderr
    bad = tmp_path / "bad.yaml"
    bad.write_text("port: 80\nprot: 81\n")
    config = run("check-config", "listen", "--config", bad)
    assert config.returncode == 78 and f"{bad}:2:1: unknown key \"prot\"; did you mean \"port\"?" in config.stderr
    assert run("listen", "--config", bad).returncode == 78
    assert run("listen", "--port", "x").returncode == 64
    assert run("frobnicate").returncode == 64 and run().returncode == 64
    assert run("--help").returncode == 0 and run("--version").stdout.startswith("wormhole ")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_who_may_not_is_told_so(waiting):
    server, _ = waiting
    os.chmod(os.path.dirname(server.control), 0o755)
    result = run(*sockets(server), "requests", "list", preexec_fn=lambda: (os.setgroups([]), os.setgid(65534),
                                                                            os.setuid(65534)))
    assert result.returncode == 77 and "may not use the control socket" in result.stderr, result.stderr


def test_output_that_cannot_be_written_is_a_failure(waiting):
    server, _ = waiting
    with open("/dev/full", "wb") as full:
        result = subprocess.run([BIN, *map(str, sockets(server)), "status"], stdout=full, stderr=subprocess.PIPE,
                                text=True, timeout=60, check=False)
    assert result.returncode == 1 and "cannot write" in result.stderr


def test_a_server_that_hangs_is_not_waited_for_forever(waiting):
    server, _ = waiting
    os.kill(server.pid, signal.SIGSTOP)
    try:
        result = run(*sockets(server), "requests", "list")
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert result.returncode == 69 and "taking too long" in result.stderr


def test_the_testserver():
    process = subprocess.Popen([BIN, "testserver", "--port", "0", "--response", "häll\"o"], stderr=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    try:
        line = process.stderr.readline()
        port = int(re.search(r":(\d+)/", line).group(1))
        for _ in range(3):
            assert tunnel.http_get(port) == (200, "häll\"o\n".encode())
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0
    assert run("testserver", "--port", "99999").returncode == 64
    assert run("testserver", "--host", "example.org").returncode == 64
