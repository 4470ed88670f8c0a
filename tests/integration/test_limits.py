# SPDX-License-Identifier: Apache-2.0
"""
What a server lets strangers cost it (start limit, sources, deadlines, pending requests, crashes), and what wormhole
says when it cannot run at all: one clear line, and the documented exit code. It must not test approved traffic.
"""
import ctypes
import os
import shutil
import signal
import socket
import sqlite3
import subprocess

import pytest

import tunnel
from tunnel import BIN, connect, echo, http_get, wait, works

OPEN_DOOR = ["--max-startups", "1000:100:1000", "--max-half-open-per-source", "1000"]


def is_closed(connection):
    """Did the other end close, without having said anything?"""
    connection.setblocking(False)
    try:
        return connection.recv(10) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def metric(server, name, **labels):
    """The value of a sample, or 0; a label that is not given may have any value (the sum is taken)."""
    port = int(server.fact("metrics").rsplit(":", 1)[1])
    total = 0.0
    for line in http_get(port, "/metrics")[1].decode().splitlines():
        if line.startswith("#") or not line.startswith(name):
            continue
        sample, value = line.rsplit(" ", 1)
        if sample.split("{")[0] == name and all(f'{k}="{v}"' in sample for k, v in labels.items()):
            total += float(value)
    return total


# ---- strangers -------------------------------------------------------------------------------------------------------

def test_half_open_connections_are_bounded_in_all(hosts):
    server = hosts.server("--max-startups", "5:100:5", "--max-half-open-per-source", "1000", "--handshake-timeout", "5m",
                          global_flags=["--metrics", "--metrics-port", "0", "--metrics-host", "127.0.0.1"])
    strangers = [connect(server.port) for _ in range(12)]
    wait(lambda: sum(is_closed(c) for c in strangers) == 7, "seven of twelve to be turned away")
    assert len(server.processes("session")) == 5
    assert metric(server, "wormhole_connections_refused_total", reason="startups") == 7
    for stranger in strangers:
        stranger.close()
    wait(lambda: not server.processes("session"), "the end of their sessions")


def test_one_source_gets_only_so_many(hosts):
    server = hosts.server("--max-half-open-per-source", "2", "--handshake-timeout", "5m")
    strangers = [connect(server.port) for _ in range(6)]
    wait(lambda: sum(is_closed(c) for c in strangers) == 4, "four of six to be turned away")
    # Another address of the same machine is another source.
    with socket.socket() as other:
        other.bind(("127.0.0.77", 0))
        other.connect(("127.0.0.1", server.port))
        wait(lambda: len(server.processes("session")) == 3, "its session")
        assert not is_closed(other)
    for stranger in strangers:
        stranger.close()


def test_approved_clients_do_not_count(hosts):
    """A flood of strangers does not touch who is in."""
    server, client = hosts.pair({"echo": hosts.backend(echo).port}, server_flags=["--handshake-timeout", "5m"])
    port = server.app_port("edge1", "echo")
    strangers = [connect(server.port) for _ in range(100)]
    for _ in range(20):
        assert works(port)
    assert client.count("connected to 127") == 1
    for stranger in strangers:
        stranger.close()


def test_silence_has_a_deadline(hosts):
    server = hosts.server("--handshake-timeout", "500ms")
    with connect(server.port) as silent:
        wait(lambda: is_closed(silent), "the end")
    with connect(server.port) as slow:
        slow.sendall(b"GET /wh/tunnel HTTP/1.1\r\nHost: x\r\n")
        wait(lambda: slow.recv(1000) == b"" or is_closed(slow), "the end")
    wait(lambda: not server.processes("session"), "no session left")


def test_pending_requests_are_bounded(hosts):
    server = hosts.server(*OPEN_DOOR, "--max-pending", "2", "--max-pending-per-source", "2")
    clients = [hosts.client(server, name=f"edge{i}", apps={"echo": 1}) for i in range(3)]
    wait(lambda: len(server.requests()) == 2, "two requests")
    wait(lambda: any("too many others wait for a decision" in c.log() for c in clients), "the third to be told so")
    busy = [c for c in clients if "too many others" in c.log()]
    assert len(busy) == 1
    assert busy[0].fingerprint not in [r["fingerprint"] for r in server.requests()]
    # The database holds what the operator sees, and nothing more.
    with sqlite3.connect(f"file:{server.state}/wormhole.db?mode=ro", uri=True) as db:
        assert db.execute("SELECT count(*) FROM peers").fetchone() == (2,)


def test_a_request_lives_as_long_as_its_client(hosts):
    server = hosts.server("--pending-time", "1s")
    client = hosts.client(server, apps={"echo": hosts.backend(echo).port})
    first = wait(server.requests, "the request")[0]
    # The client is there: it renews its request without anybody noticing.
    wait(lambda: server.requests()[0]["last_seen"] != first["last_seen"] and server.requests()[0]["waiting"],
         "the renewed request")
    client.stop()
    server.wait_log("the request of SHA256:.* is dropped, its client did not come back")
    assert server.requests() == []
    assert [r["action"] for r in server.json("audit", "list") if r["fingerprint"]] == ["request", "expire"]
    # It may ask again, and be let in.
    client.start()
    server.accept(client)
    client.wait_connected()


@pytest.mark.skipif(tunnel.SANITIZED, reason="a sanitizer build reports crashes instead of dying of them")
def test_a_crash_costs_its_source_time(hosts):
    server, client = hosts.pair({"echo": hosts.backend(echo).port})
    port = server.app_port("edge1", "echo")
    server.kill_worker("session", signal.SIGSEGV)
    server.wait_log(r"error session\[\d+\] #1 edge1: crashed: killed by signal 11")
    server.wait_log("connections from 127.0.0.1:\\d+ are turned away for 2 s")
    client.wait_connected(times=2)  # it comes back by itself when the time is over
    assert works(port)
    server.kill_worker("session", signal.SIGABRT)
    server.wait_log("are turned away for 4 s")
    client.wait_connected(times=3)
    assert works(port)


# ---- what cannot start -----------------------------------------------------------------------------------------------

def refuses(hosts, command, *flags, state=None, binary=BIN + "/wormhole", prefix=(), global_flags=()):
    """Runs it to its end; gives (exit code, what it said)."""
    state = state or hosts.directory("state-of-a-refused-one")
    done = subprocess.run([*prefix, binary, "--state-dir", state, "--control-socket", os.path.join(state, "c.sock"),
                           *global_flags, command, *flags], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=tunnel.PATIENCE)
    lines = [line for line in done.stderr.splitlines() if " error " in line or line.startswith("wormhole: ")]
    assert len(lines) >= 1, done.stderr
    return done.returncode, lines[-1]


LISTEN = ["--host", "127.0.0.1", "--port", "0", "--admin-port", "0"]


def test_a_port_in_use(hosts):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, text = refuses(hosts, "listen", "--host", "127.0.0.1", "--port", str(port), "--admin-port", "0")
        assert code == 69
        assert f"127.0.0.1:{port}" in text and "--port" in text
        code, text = refuses(hosts, "listen", *LISTEN[:4], "--admin-port", str(port))
        assert code == 69
        assert f"127.0.0.1:{port}" in text and "--admin-port" in text


def test_an_address_that_this_host_does_not_have(hosts):
    code, text = refuses(hosts, "listen", "--host", "203.0.113.5", "--port", "0", "--admin-port", "0")
    assert code == 78
    assert "203.0.113.5" in text


def test_no_permission_for_the_state_directory(hosts):
    if not tunnel.AS_ROOT:
        pytest.skip("needs root to become somebody else")
    state = hosts.directory("roots")
    prefix = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    done = subprocess.run([*prefix, BIN + "/wormhole", "--state-dir", state, "--control-socket", "/tmp/none.sock",
                           "listen", *LISTEN], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 77, done.stderr
    assert state in done.stderr and "--state-dir" in done.stderr


def test_two_servers_do_not_share_a_state_directory(hosts):
    server = hosts.server()
    done = subprocess.run([BIN + "/wormhole", "--state-dir", server.state, "--control-socket",
                           os.path.join(server.state, "other.sock"), "listen", *LISTEN],
                          capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1, done.stderr
    assert f"another wormhole (pid {server.pid}) uses the state directory {server.state}" in done.stderr
    assert server.fact("ready") == "yes"
    # A lock of one that was killed is no lock.
    server.kill()
    server.start()
    server.wait_ready()


def test_a_foreign_or_damaged_database(hosts):
    state = hosts.directory("state")
    path = os.path.join(state, "wormhole.db")
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE holidays (day TEXT)")
    before = open(path, "rb").read()
    code, text = refuses(hosts, "listen", *LISTEN, state=state)
    assert code == 78
    assert path in text
    assert open(path, "rb").read() == before  # nothing of somebody else's is touched
    with open(path, "wb") as f:
        f.write(b"SQLite format 3\0" + os.urandom(8000))
    code, text = refuses(hosts, "listen", *LISTEN, state=state)
    assert code == 78
    assert path in text


def test_missing_worker_executables(hosts):
    directory = hosts.directory("bin")
    alone = shutil.copy(BIN + "/wormhole", directory + "/wormhole")
    code, text = refuses(hosts, "listen", *LISTEN, binary=alone)
    assert code == 69
    assert "wormhole-net" in text and directory in text


def test_a_key_that_others_can_read(hosts):
    state = hosts.directory("state")
    first = hosts.server(state=state)
    first.stop()
    identity = os.path.join(state, "identity")
    for name in os.listdir(identity):
        os.chmod(os.path.join(identity, name), 0o644)
    code, text = refuses(hosts, "listen", *LISTEN, state=state)
    assert code == 78, text
    done = subprocess.run([BIN + "/wormhole", "--state-dir", state, "--control-socket", state + "/c.sock", "listen",
                           *LISTEN], capture_output=True, text=True, check=False, timeout=30)
    assert "server_ed25519.pem" in done.stderr and "0644" in done.stderr


def test_a_key_that_is_no_key(hosts):
    server = hosts.server()
    state = hosts.directory("state")
    client = hosts.client(server, state=state, apps={"echo": 1})
    client.wait_waiting()
    client.stop()
    path = os.path.join(state, "keys", "client_rsa.pem")
    with open(path, "r+", encoding="ascii") as f:
        f.write("-----BEGIN NONSENSE-----\n")
    done = subprocess.run(client.argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 78, done.stderr
    assert "client_rsa.pem" in done.stderr


def test_a_token_file_that_is_none(hosts):
    path = os.path.join(hosts.dir, "token")
    code, text = refuses(hosts, "listen", *LISTEN, "--admin-token-file", path)
    assert (code, path in text) == (78, True)
    with open(path, "w", encoding="ascii") as f:
        f.write("short\n")
    os.chmod(path, 0o600)
    code, text = refuses(hosts, "listen", *LISTEN, "--admin-token-file", path)
    assert (code, path in text) == (78, True)


@pytest.mark.skipif(tunnel.SANITIZED, reason="a sanitizer build has no seccomp filter to miss")
def test_a_kernel_without_seccomp(hosts):
    """A filter of our own in front makes the kernel look as if it had none."""
    wrapper = os.path.join(hosts.dir, "noseccomp.py")
    with open(wrapper, "w", encoding="utf-8") as f:
        f.write('''
import ctypes, os, sys
lib = ctypes.CDLL("libseccomp.so.2")
lib.seccomp_init.restype = ctypes.c_void_p
class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]
context = ctypes.c_void_p(lib.seccomp_init(ctypes.c_uint32(0x7fff0000)))
enosys, einval = ctypes.c_uint32(0x00050000 | 38), ctypes.c_uint32(0x00050000 | 22)
name = lib.seccomp_syscall_resolve_name
assert lib.seccomp_rule_add_array(context, enosys, name(b"seccomp"), 0, None) == 0
compare = (Compare * 1)(Compare(0, 4, 22, 0))  # prctl(PR_SET_SECCOMP)
assert lib.seccomp_rule_add_array(context, einval, name(b"prctl"), 1, compare) == 0
assert lib.seccomp_load(context) == 0
os.execv(sys.argv[1], sys.argv[1:])
''')
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("libseccomp.so.2 is not there")
    prefix = ["/usr/bin/python3", "-B", wrapper]
    code, text = refuses(hosts, "listen", *LISTEN, prefix=prefix)
    assert code == 77, text
    assert "seccomp" in text and "--sandbox best-effort" in text
    server = hosts.server(prefix=prefix, global_flags=["--sandbox", "best-effort"])
    for row in server.processes():
        assert "seccomp" in row["missing"], row


def test_nonsense_in_flags(hosts):
    for flags in (["listen", "--prot", "80"], ["listen", "--port", "80a"], ["join", "--server", "http://x"],
                  ["join", "--server", "ws://"], ["listen", "--max-startups", "1:2"], ["nonsense"]):
        done = subprocess.run([BIN + "/wormhole", *flags], capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 64, (flags, done.stderr)
        assert done.stdout == ""
        assert done.stderr.strip()
