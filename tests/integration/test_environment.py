# SPDX-License-Identifier: Apache-2.0
"""
The surroundings of a supervisor: users, kernels with less Landlock, service managers, full disks, few descriptors, logs.
It must not test what is the same in all of them.
"""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest

import tunnel
from tunnel import Talk, connect, echo, wait, works

as_root = pytest.mark.skipif(not tunnel.AS_ROOT, reason="needs root")
NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


def pair(hosts, server_options, client_options):
    server = hosts.server(**server_options)
    client = hosts.client(server, apps={"echo": hosts.backend(echo).port}, **client_options)
    server.accept(client)
    client.wait_connected()
    return server, client


def filtered(row):
    return row["seccomp"].startswith("filter") or tunnel.SANITIZED


# ---- users and kernels -----------------------------------------------------------------------------------------------

@as_root
def test_without_root(hosts):
    """One uid, no chroot, everything else as with root."""
    states = [hosts.directory("server-of-nobody"), hosts.directory("client-of-nobody")]
    for state in states:
        os.chown(state, 65534, 65534)
    # The operator is who runs it; root may ask, too.
    server, client = pair(hosts, {"prefix": NOBODY, "state": states[0]}, {"prefix": NOBODY, "state": states[1]})
    assert works(server.app_port("edge1", "echo"))
    for row in server.processes() + client.processes():
        assert row["uid"] == 65534
        assert row["no_new_privs"] and filtered(row)
        assert row["capabilities"] == "none"
    done = subprocess.run([*NOBODY, tunnel.BIN + "/wormhole", "--control-socket", server.control, "peers", "list"],
                          capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0 and "edge1" in done.stdout
    stranger = subprocess.run(["setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups", tunnel.BIN +
                               "/wormhole", "--control-socket", server.control, "peers", "list"],
                              capture_output=True, text=True, check=False, timeout=30)
    assert stranger.returncode == 77, stranger.stderr


@as_root
@pytest.mark.skipif(not tunnel.SANITIZED, reason="only a sanitizer build counts its memory")
def test_nothing_leaks(hosts):
    """Without chroot and Landlock a worker has the /proc that its leak check needs."""
    states = [hosts.directory("server-of-nobody"), hosts.directory("client-of-nobody")]
    for state in states:
        os.chown(state, 65534, 65534)
    loose = {"prefix": NOBODY, "global_flags": ["--landlock-max", "0"]}
    server, client = pair(hosts, {"state": states[0], **loose}, {"state": states[1], **loose})
    port = server.app_port("edge1", "echo")
    tunnel.pump(port, 1 << 20)
    talks = [Talk(port) for _ in range(5)]
    client.kill_worker("session")
    client.wait_connected(times=2)
    assert works(port)
    for talk in talks:
        talk.close()
    assert client.stop() == 0
    assert server.stop() == 0
    assert "LeakSanitizer has" not in server.log() + client.log()


@as_root
def test_root_with_a_single_uid(hosts):
    flags = {"global_flags": ["--single-uid"]}
    server, client = pair(hosts, flags, flags)
    assert works(server.app_port("edge1", "echo"))
    for row in server.processes() + client.processes():
        assert row["uid"] == 0
        if row["role"] != "supervisor":
            assert row["capabilities"] == "none" and row["capabilities_bounding"] == "none", row


@pytest.mark.parametrize("abi", [0, 1, 2])
def test_kernels_with_less_landlock(hosts, abi):
    flags = {"global_flags": ["--landlock-max", str(abi)]}
    server, client = pair(hosts, flags, flags)
    assert works(server.app_port("edge1", "echo"))
    for row in server.processes() + client.processes():
        assert row["landlock_abi"] <= abi
        assert filtered(row)


@as_root
def test_keys_change_hands_with_the_user(hosts):
    """A state directory that was used with one uid serves with several, and the key stays the same."""
    state = hosts.directory("state")
    server = hosts.server(state=state, global_flags=["--single-uid"])
    fingerprint = server.fact("fingerprint")
    server.stop()
    again = hosts.server(state=state, name="again")
    assert again.fact("fingerprint") == fingerprint
    assert os.stat(os.path.join(state, "identity")).st_uid == again.processes("crypto")[0]["uid"]


# ---- service managers ------------------------------------------------------------------------------------------------

class Manager:
    """The receiving end of sd_notify()."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        os.chmod(path, 0o777)
        self.heard = []

    def listen(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard.append(self.socket.recv(4096, socket.MSG_DONTWAIT).decode())
        return self.heard

    def count(self, text):
        return sum(text in message.splitlines() for message in self.listen())


def test_the_service_manager_is_told(hosts):
    manager = Manager(os.path.join(hosts.dir, "notify"))
    server = hosts.server(env={"NOTIFY_SOCKET": os.path.join(hosts.dir, "notify"), "WATCHDOG_USEC": "2000000"})
    wait(lambda: manager.count("READY=1") == 1, "READY=1")
    assert manager.heard[0] == "READY=1"  # nothing before, least of all a sign of life
    wait(lambda: manager.count("WATCHDOG=1") >= 3, "signs of life")
    wait(lambda: any(m.startswith("STATUS=0 tunnel connections") for m in manager.listen()), "a status")
    server.send_signal(signal.SIGHUP)
    wait(lambda: any(m.startswith("RELOADING=1\nMONOTONIC_USEC=") for m in manager.listen()), "RELOADING=1")
    wait(lambda: manager.count("READY=1") == 2, "READY=1 after the reload")
    server.send_signal(signal.SIGTERM)
    wait(lambda: manager.count("STOPPING=1") == 1, "STOPPING=1")
    assert server.wait_exit() == 0


def test_a_hanging_worker_silences_the_watchdog_and_is_replaced(hosts):
    manager = Manager(os.path.join(hosts.dir, "notify"))
    server, _ = pair(hosts, {"env": {"NOTIFY_SOCKET": os.path.join(hosts.dir, "notify"), "WATCHDOG_USEC": "2000000"}},
                     {})
    port = server.app_port("edge1", "echo")
    talk = Talk(port)
    before, started = manager.count("WATCHDOG=1"), time.monotonic()
    old = server.kill_worker("crypto", signal.SIGSTOP)
    server.wait_log("killed, it is stuck: no answer to a ping", timeout=90)
    # One sign of life a second is usual; for the last part of that time there was none, and the manager would have
    # restarted us in the end. (A slow machine only makes them fewer.)
    signs = manager.count("WATCHDOG=1")
    assert signs - before < time.monotonic() - started - 10
    wait(lambda: server.pid_of("crypto") != old, "another crypto worker")
    wait(lambda: manager.count("WATCHDOG=1") > signs, "signs of life again")
    assert talk.say()
    assert works(port)


def test_socket_activation(hosts):
    wrapper = os.path.join(hosts.dir, "activate.py")
    with open(wrapper, "w", encoding="utf-8") as f:
        f.write(f'''
import os, socket, sys
s = socket.create_server(("127.0.0.1", 0))
with open({os.path.join(hosts.dir, "port")!r}, "w") as f:
    f.write(str(s.getsockname()[1]))
if s.fileno() != 3:
    os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="tunnel")
os.execv(sys.argv[1], sys.argv[1:])
''')
    server = hosts.server(prefix=["/usr/bin/python3", "-B", wrapper])
    with open(os.path.join(hosts.dir, "port"), encoding="ascii") as f:
        assert server.port == int(f.read())
    client = hosts.client(server, apps={"echo": hosts.backend(echo).port})
    server.accept(client)
    assert works(server.app_port("edge1", "echo"))


# ---- scarcity --------------------------------------------------------------------------------------------------------

@as_root
def test_a_full_disk_is_said_and_survived(hosts):
    state = hosts.directory("small")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=711", "tmpfs", state], check=False,
                      capture_output=True).returncode != 0:
        pytest.skip("this machine cannot mount a tmpfs")
    hosts.cleanups.append(lambda: subprocess.run(["umount", "-l", state], check=False))
    server = hosts.server(state=state)
    client = hosts.client(server, apps={"echo": hosts.backend(echo).port})
    wait(server.requests, "the request")
    ballast = os.path.join(state, "ballast")
    with open(ballast, "wb") as f, contextlib.suppress(OSError):
        for size in (65536, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(f.fileno(), b"x" * size)
    done = server.cli("requests", "accept", client.fingerprint, check=False)
    assert done.returncode == 1
    assert re.search(r"full|space", done.stderr), done.stderr
    assert client.count("connected to 127") == 0
    assert [r["fingerprint"] for r in server.requests()] == [client.fingerprint]
    os.unlink(ballast)
    server.cli("requests", "accept", client.fingerprint)
    client.wait_connected()
    assert works(server.app_port("edge1", "echo"))
    server.cli("audit", "verify")


def test_a_decision_that_was_answered_survives_kill_9(hosts):
    server = hosts.server()
    for number in range(3):
        client = hosts.client(server, name=f"edge{number}", apps={"echo": 1})
        wait(lambda c=client: c.fingerprint in [r["fingerprint"] for r in server.requests()], "the request")
        server.cli("requests", "accept", client.fingerprint)
        server.kill()
        client.stop()
        server.start()
        server.wait_ready()
        assert [p["status"] for p in server.peers() if p["fingerprint"] == client.fingerprint] == ["approved"]
    server.cli("audit", "verify")


@as_root
def test_few_descriptors(hosts):
    server, client = pair(hosts, {"prefix": ["prlimit", "--nofile=64:64"]}, {})
    port = server.app_port("edge1", "echo")
    users = []
    with contextlib.suppress(OSError):
        for _ in range(100):
            users.append(connect(port))
    for user in users:
        user.close()
    wait(lambda: works(port), "the app, when descriptors are free again")
    assert client.count("connected to 127") == 1
    assert server.process.poll() is None


def test_a_worker_that_dies_again_and_again(hosts):
    server, _ = pair(hosts, {}, {})
    port = server.app_port("edge1", "echo")
    talk = Talk(port)
    for _ in range(5):
        old = server.kill_worker("crypto")
        wait(lambda pid=old: server.pid_of("crypto") != pid, "another crypto worker")
    assert talk.say()
    assert works(port)
    wait(lambda: server.fact("ready") == "yes", "readiness")


# ---- logs ------------------------------------------------------------------------------------------------------------

def test_json_logs(hosts):
    flags = {"global_flags": ["--log-format", "json", "--log-level", "debug"]}
    server = hosts.server(ready=False, **flags)
    wait(lambda: '"message":"ready"' in server.log(), "readiness")
    for line in server.log().splitlines():
        row = json.loads(line)
        assert {"time", "level", "role", "pid", "message"} <= set(row)


def log_lines(host):
    """What it logged; a sanitizer's own words (==pid==…) are no log lines."""
    return [line for line in host.log().splitlines() if not line.startswith("==")]


def test_json_lines_name_peer_and_connection(hosts):
    """Each line that is about a peer says so in a field, from its request to its end."""
    server = hosts.server(ready=False, global_flags=["--log-format", "json"])
    wait(lambda: '"message":"ready"' in server.log(), "readiness")
    client = hosts.client(server, apps={"echo": hosts.backend(echo).port})
    server.accept(client)
    assert works(server.app_port("edge1", "echo"))
    assert client.stop() == 0
    wait(lambda: "disconnected after" in server.log(), "the end of the connection")
    lines = [json.loads(line) for line in log_lines(server)]
    for text, connection in ((" is connected, key ", True), ('app "echo" of edge1 listens on', False), ("disconnected after", True),
                             ("has no connection any more", False)):
        row = next(line for line in lines if text in line["message"])
        assert row["peer"] == "edge1" and row["role"] == "supervisor" and ("connection" in row) == connection, row


def test_traffic_is_no_news(hosts):
    """At the default level a day's work adds no line on either side: an operator's journal holds decisions and changes."""
    server, client = pair(hosts, {}, {})
    port = server.app_port("edge1", "echo")
    assert works(port)
    client.wait_log(r"supervisor\[\d+\]: ready")
    client.wait_log("is on the server at")
    before = log_lines(server), log_lines(client)
    for _ in range(200):
        assert works(port)
    tunnel.pump(port, 4 << 20)
    server.cli("status")
    server.cli("apps")
    for _ in range(3):  # a load balancer that looks whether the port is open
        with socket.create_connection(("127.0.0.1", server.port)):
            wait(lambda: len(server.processes("session")) == 2, "its session")
        wait(lambda: len(server.processes("session")) == 1, "the end of its session")
    assert (log_lines(server), log_lines(client)) == before, server.log() + client.log()
    lines = [sum(bool(re.match(r"\d{4}-", line)) for line in host.log().splitlines()) for host in (server, client)]
    assert max(lines) <= 10, "a start and a pairing are a handful of lines"


def test_trace_shows_messages_and_no_secret(hosts):
    server, client = pair(hosts, {}, {"global_flags": ["--trace"], "env": {}})
    assert works(server.app_port("edge1", "echo"))
    text = client.log()
    assert "SESSION_START" in text and "APP_EXPOSE" in text
    keys = [line for line in text.splitlines() if "HS_KEYS" in line]
    assert keys and all("key=(secret)" in line and "iv=(secret)" in line for line in keys), keys


def test_lines_of_strangers_are_escaped(hosts):
    """What a peer chooses cannot forge a log line or paint a terminal."""
    server = hosts.server()
    with connect(server.port) as stranger:
        stranger.sendall(b"GET /\x1b[2J\r\nX: \x1b]0;x\x07\xff HTTP/1.1\r\n\r\n")
        tunnel.receive_all(stranger)
    server.wait_log("did not get in")
    assert "\x1b" not in server.log() and "\x07" not in server.log()
