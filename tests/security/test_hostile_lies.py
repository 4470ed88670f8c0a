# SPDX-License-Identifier: Apache-2.0
"""
What is well-formed and permitted and still a lie: a taken-over crypto, admin, Kubernetes or dialer process, and whoever
reaches the control socket. Nobody is approved by it, nothing is stored, nobody else is harmed.
"""
import os
import socket
import subprocess

import pytest

import hostile
import ipc
import tally
import tunnel
from ipc import E

pytestmark = pytest.mark.skipif(not tunnel.AS_ROOT, reason="reads /proc of other uids' processes")
BROKE = r"killed, it broke the rules of IPC"
KEY = bytes(range(32))


@pytest.fixture(autouse=True)
def counted():
    yield
    tally.add(hostile=1)


def ask(connection, fingerprint=KEY, name="edge1", **fields):
    return "APPROVAL_ASK", dict(connection=connection, fingerprint=fingerprint, name=name, public_key=b"k", bits=2048,
                                suite=1, pairing_code="AAAA-BBBB-CCCC-DDDD", **fields)


# ---- crypto ----

@pytest.fixture
def crypto(hosts):
    """A server whose crypto process is the test, with one real session that waits for its hello."""
    bridge = hostile.Bridge(hosts, "crypto")
    server = hosts.server(ready=False, binaries=bridge.directory)
    worker = bridge.next("crypto").ready()
    worker.channel.send("CRYPTO_IDENTITY", kind="ed25519", bits=256, fingerprint=bytes(32))
    server.wait_ready()
    peer = socket.create_connection(("127.0.0.1", server.port))
    session = worker.channel.expect("CRYPTO_SESSION")
    tunnel.wait(lambda: server.processes("session"), "a session")
    yield server, worker, session
    peer.close()
    os.close(session.fd)
    worker.close()


CRYPTO_LIES = {
    "a connection that never was": lambda n: [ask(n + 1000)],
    "connection 0": lambda n: [ask(0)],
    "open without asking": lambda n: [("CONNECTION_OPEN", dict(connection=n, fingerprint=KEY, suite=1))],
    "open while pending": lambda n: [ask(n), ("CONNECTION_OPEN", dict(connection=n, fingerprint=KEY, suite=1))],
    "open with another key": lambda n: [ask(n), ("CONNECTION_OPEN", dict(connection=n, fingerprint=bytes(32), suite=1))],
    "another key while pending": lambda n: [ask(n), ask(n, fingerprint=bytes(32))],
    "open a connection that never was": lambda n: [("CONNECTION_OPEN", dict(connection=1 << 63, fingerprint=KEY))],
    "the client's message": lambda n: [("CLIENT_PAIRING", dict(connection=n, verdict=E.VERDICT_APPROVED))],
    "failed, never was": lambda n: [("HANDSHAKE_FAILED", dict(connection=n + 7, code=1))],
    "violation of nobody": lambda n: [("WORKER_VIOLATION", dict(connection=n + 7, text="x")), ask(n + 7)],
}


@pytest.mark.parametrize("lie", CRYPTO_LIES)
def test_crypto_lies(crypto, lie):
    server, worker, session = crypto
    for name, fields in CRYPTO_LIES[lie](session.connection):
        worker.channel.send(name, **fields)
    worker.wait_killed(lie)
    tunnel.wait(lambda: server.count(BROKE) == 1, "the violation in the log")
    assert not [p for p in server.json("peers", "list") if p["status"] == "approved"] and server.apps() == []
    assert server.process.poll() is None


def test_crypto_claims_impossible_things(crypto):
    """An impossible name is declined, numbers out of range are not believed, text is not trusted."""
    server, worker, session = crypto
    name, fields = ask(session.connection, name="../../x")
    worker.channel.send(name, **fields)
    answer = worker.channel.expect("APPROVAL_ANSWER")
    assert answer.verdict == E.VERDICT_DECLINED and answer.code == E.REFUSAL_BAD_NAME
    worker.channel.send("CRYPTO_IDENTITY", kind="\x1b[31mx", bits=9, fingerprint=KEY, path="/etc/\r\nshadow")
    worker.channel.send("HANDSHAKE_FAILED", connection=session.connection, code=65535, text="\x1b[2Jforged\nline")
    tunnel.wait(lambda: not server.processes("session"), "the end of the session")
    assert "\x1b" not in server.log() and "\nline" not in server.log()
    assert server.json("requests", "list") == []


def test_crypto_restart_keeps_the_port(crypto):
    """When the liar is gone, the next crypto process serves the next client."""
    server, worker, session = crypto
    worker.channel.send("CONNECTION_OPEN", connection=session.connection, fingerprint=KEY)
    worker.wait_killed("a lie")
    tunnel.wait(lambda: not server.processes("session"), "the end of the half-open session")
    assert server.status()["facts"]


# ---- admin ----

@pytest.fixture
def admin(hosts):
    """A server whose admin process is the test; a token is set, and one request waits for a decision."""
    bridge = hostile.Bridge(hosts, "admin")
    token = os.path.join(hosts.dir, "token")
    with open(token, "w") as f:
        f.write("correct-horse-battery-staple\n")
    os.chmod(token, 0o600)
    server = hosts.server("--admin-token-file", token, ready=False, binaries=bridge.directory)
    worker = bridge.next("admin").ready()
    server.wait_ready()
    client = hosts.client(server)
    client.wait_waiting()
    tunnel.wait(server.requests, "the request")
    yield server, worker, client
    worker.close()


@pytest.mark.parametrize("token", ["", "wrong", "correct-horse-battery-stapl", "correct-horse-battery-staple ", "x" * 256])
def test_admin_decides_without_the_token(admin, token):
    server, worker, client = admin
    for action in (E.DECISION_ACCEPT, E.DECISION_DECLINE, E.DECISION_REVOKE, E.DECISION_PREAPPROVE):
        worker.channel.send("DECIDE", request=action, action=action, subject=client.fingerprint, name="evil", token=token,
                            remote="127.0.0.1:1")
        assert worker.channel.expect("RESULT").outcome == E.OUTCOME_DENIED
    assert [r["fingerprint"] for r in server.requests()] == [client.fingerprint]
    assert not [p for p in server.peers() if p["status"] == "approved"]


def test_admin_talks_nonsense(admin):
    """Unknown questions, unknown actions, subjects that are code: an answer that says so, and nothing changes."""
    server, worker, client = admin
    rows = server.json("audit", "list")
    token = "correct-horse-battery-staple"
    for what in (0, 9, 255):
        worker.channel.send("QUERY", request=what, what=what, after=(1 << 64) - 1, filter="%s%n' OR 1=1 --", token=token)
        assert worker.channel.expect("RESULT").outcome != E.OUTCOME_DONE
    for action in (0, E.DECISION_ROTATE_KEY, 99, 255):
        worker.channel.send("DECIDE", request=action, action=action, subject=client.fingerprint, token=token)
        assert worker.channel.expect("RESULT").outcome != E.OUTCOME_DONE
    for subject in ("' OR 1=1 --", "SHA256:", client.fingerprint[:20], client.fingerprint.lower(), "*", "%", ""):
        worker.channel.send("DECIDE", request=1, action=E.DECISION_ACCEPT, subject=subject, token=token)
        assert worker.channel.expect("RESULT").outcome != E.OUTCOME_DONE
    assert server.json("audit", "list") == rows
    assert [r["fingerprint"] for r in server.requests()] == [client.fingerprint]


def test_admin_asks_without_listening(admin):
    """Questions without end whose answers nobody takes: it is killed, the supervisor's memory stays."""
    server, worker, client = admin
    before = hostile.settle(server.pid)
    worker.channel.sock.settimeout(10)
    try:
        for n in range(100_000):
            worker.channel.send("QUERY", request=n, what=E.QUERY_STATUS)
    except (ipc.Closed, OSError):
        pass
    worker.wait_killed("questions without end")
    after = hostile.settle(server.pid)
    assert after[0] < before[0] + 8192, f"{before} became {after}"
    server.cli("requests", "accept", client.fingerprint)
    client.wait_connected()


# ---- Kubernetes ----

def test_kubernetes_on_the_server_lies(hosts):
    bridge = hostile.Bridge(hosts, "k8s")
    server = hosts.server("--kubernetes", ready=False, binaries=bridge.directory)
    worker = bridge.next("k8s").ready()
    tunnel.wait(lambda: server.processes("k8s"), "the worker")
    for n in range(2000):
        worker.channel.send("K8S_MIRRORED", peer=f"nobody{n}", app="web", done=1, endpoint="evil:1", text="\x1b[31m")
    worker.channel.send("K8S_STATE", synced=1, ready=1, objects=1 << 31, text="\x1b]0;owned\x07")
    worker.channel.send("K8S_APP_FOUND", key="k", name="web", host="127.0.0.1", port=1, service_port=1)
    worker.wait_killed("the client's message")
    tunnel.wait(lambda: server.count(BROKE) == 1, "the violation in the log")
    assert server.apps() == [] and server.json("peers", "list") == []
    assert "\x1b" not in server.log() and "\x1b" not in server.cli("status")


KUBERNETES_LIES = {
    "no key": dict(key="", name="web", host="h", port=1, service_port=1),
    "an impossible name": dict(key="k", name="Web!", host="h", port=1, service_port=1),
    "no host": dict(key="k", name="web", host="", port=1, service_port=1),
    "port 0": dict(key="k", name="web", host="h", port=0, service_port=1),
    "service port 0": dict(key="k", name="web", host="h", port=1, service_port=0),
}


@pytest.fixture
def kubernetes_client(hosts):
    bridge = hostile.Bridge(hosts, "k8s")
    client = hosts.client(None, "--kubernetes", url="ws://127.0.0.1:1/", apps={"web": 1}, binaries=bridge.directory)
    worker = bridge.next("k8s").ready()
    assert client.fingerprint
    yield client, worker
    worker.close()


@pytest.mark.parametrize("lie", KUBERNETES_LIES)
def test_kubernetes_on_the_client_lies(kubernetes_client, lie):
    client, worker = kubernetes_client
    worker.channel.send("K8S_APP_FOUND", **KUBERNETES_LIES[lie])
    worker.wait_killed(lie)
    tunnel.wait(lambda: client.count(BROKE) == 1, "the violation in the log")
    assert client.process.poll() is None


def test_kubernetes_takes_no_name_of_the_configuration(kubernetes_client):
    client, worker = kubernetes_client
    worker.channel.send("K8S_APP_FOUND", key="evil", name="web", host="192.0.2.1", port=80, service_port=80)
    assert worker.channel.expect("K8S_COMPLAIN").reason == "NameTaken"


def test_kubernetes_finds_without_end(kubernetes_client):
    """The table of found apps is bounded, and so is what the supervisor keeps for a worker that does not listen."""
    client, worker = kubernetes_client
    worker.channel.sock.settimeout(20)
    try:
        for n in range(20_000):
            worker.channel.send("K8S_APP_FOUND", key=f"key-{n}", name=f"app-{n}", host="h" * 255, port=1, service_port=1)
    except (ipc.Closed, OSError):
        pass
    assert client.process.poll() is None
    memory, _ = hostile.settle(client.pid)
    assert memory < 120_000, f"{memory} KiB"
    client.status()


# ---- the dialer ----

@pytest.fixture
def dialer(hosts):
    """A client whose dialer is the test, and a server that it will not reach."""
    bridge = hostile.Bridge(hosts, "dialer")
    server = hosts.server()
    client = hosts.client(server, binaries=bridge.directory, apps={"web": 1})
    worker = bridge.next("dialer").ready()
    session = worker.channel.expect("DIALER_SESSION", skip=("DIALER_APP",))
    channel = ipc.Channel(socket.socket(fileno=session.fd))
    request = channel.expect("DIAL_SERVER").request
    yield server, client, worker, channel, request
    channel.close()
    worker.close()


def wrong_descriptors():
    listening = socket.create_server(("127.0.0.1", 0))
    pipe = os.pipe()
    pair = socket.socketpair()
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    return {"a pipe": pipe[0], "a file": os.open("/etc/hostname", os.O_RDONLY), "a listener": listening.detach(),
            "a local socket": pair[0].detach(), "a datagram socket": datagram.detach(),
            "a directory": os.open("/", os.O_RDONLY)}


@pytest.mark.parametrize("kind", ["a pipe", "a file", "a listener", "a local socket", "a datagram socket", "a directory"])
def test_dialer_hands_over_something_else(dialer, kind):
    """The session that gets it ends by itself (no crash), and the client goes on."""
    server, client, worker, channel, request = dialer
    every = wrong_descriptors()
    (pid,) = [p["pid"] for p in client.processes("session")]
    channel.send("DIAL_CONNECTED", request=request, address="127.0.0.1:1", fd=every[kind])
    for fd in every.values():
        os.close(fd)
    tunnel.wait(lambda: pid not in [p["pid"] for p in client.processes("session")], "the end of that session", timeout=25)
    assert client.count("crashed") == 0 and client.process.poll() is None


@pytest.mark.parametrize("answer", [
    ("DIAL_FAILED", dict(request=None, code=65535, text="\x1b[31m\n")), ("DIAL_SERVER", dict(request=1)),
    ("DIAL_APP", dict(request=1, app=1)), ("DIALER_APP", dict(app=1, host="h", port=1))])
def test_dialer_answers_wrongly(dialer, answer):
    """The session ends; the client comes back with another, and nothing of the text reaches a terminal."""
    server, client, worker, channel, request = dialer
    name, fields = answer
    if "request" in fields and fields["request"] is None:
        fields = {**fields, "request": request}
    channel.send(name, **fields)
    channel.expect_closed(timeout=25)
    assert client.count("crashed") == 0 and client.process.poll() is None
    assert "\x1b" not in client.log()


def test_dialer_answers_what_nobody_asked(dialer):
    """It may be an answer that came too late; the descriptors that come with it are closed, and nothing else happens."""
    server, client, worker, channel, request = dialer
    (pid,) = [p["pid"] for p in client.processes("session")]
    before = hostile.descriptors(pid)
    null = os.open("/dev/null", os.O_RDONLY)
    for n in range(500):
        channel.send("DIAL_CONNECTED", request=(1 << 60) + n, address="x", fd=null)
        channel.send("DIAL_FAILED", request=(1 << 61) + n, code=E.DIAL_REFUSED, text="x")
    os.close(null)
    tunnel.wait(lambda: hostile.descriptors(pid) <= before, "the descriptors to be closed")
    assert [p["pid"] for p in client.processes("session")] == [pid]


def test_dialer_drops_a_session(dialer):
    """
    It goes on living, so nobody starts another, and this session's users would wait for ever: the session notices, and a
    fresh one with a channel of its own takes its place.
    """
    server, client, worker, channel, request = dialer
    with socket.create_connection(("127.0.0.1", server.port)) as real:
        channel.send("DIAL_CONNECTED", request=request, address="127.0.0.1:1", fd=real.fileno())
    server.accept(client)
    client.wait_connected()
    (pid,) = [p["pid"] for p in client.processes("session")]
    channel.close()
    while True:
        message = worker.channel.recv(tunnel.PATIENCE)
        if message.type == "WORKER_PING":
            worker.channel.send("WORKER_PONG", nonce=message.nonce)
        elif message.type == "DIALER_SESSION":
            break
    fresh = ipc.Channel(socket.socket(fileno=message.fd))
    fresh.expect("DIAL_SERVER")
    fresh.close()
    assert pid not in [p["pid"] for p in client.processes("session")] and client.count("crashed") == 0
    client.wait_log("the dialer went away and no other came")
    tally.add(hostile=1)


def test_dialer_accuses_others(dialer):
    """It may end a session by accusing it, no more; connections that are not there are nobody's."""
    server, client, worker, channel, request = dialer
    for connection in (0, 1 << 63, 12345):
        worker.channel.send("WORKER_VIOLATION", connection=connection, text="\x1b[31mit did it\n")
    worker.channel.send("WORKER_PONG", nonce=1)
    worker.wait_killed("a pong to no ping")
    assert client.process.poll() is None and "\x1b" not in client.log()


# ---- a client's session ----

def test_client_session_cannot_scan_the_edge(hosts):
    """
    A taken-over client session has a dialer and nothing else: of all numbers only the exposed app answers, nothing else
    that listens here is ever connected to, and the server's address is given once.
    """
    exposed, hidden = hosts.backend(tunnel.echo), [hosts.backend(tunnel.echo) for _ in range(3)]
    bridge = hostile.Bridge(hosts, "session")
    server = hosts.server()
    client = hosts.client(server, binaries=bridge.directory, apps={"web": exposed.port})
    worker = bridge.next("session").ready()
    dial = ipc.Channel(socket.socket(fileno=worker.told("SESSION_DIAL_CHANNEL").fd))
    worker.told("SESSION_DIAL_CHANNEL").fd = None
    connected = []
    for number in [*range(0, 3000), *(b.port for b in hidden), 1 << 31, (1 << 32) - 1]:
        dial.send("DIAL_APP", request=number, app=number)
        answer = dial.expect("DIAL_CONNECTED", "DIAL_FAILED")
        if answer.type == "DIAL_CONNECTED":
            connected.append((number, answer.address))
            os.close(answer.fd)
        else:
            assert answer.code == E.DIAL_UNKNOWN_APP
    assert len(connected) == 1 and connected[0][1] == f"127.0.0.1:{exposed.port}"
    assert [b.accepted for b in hidden] == [0, 0, 0]
    dial.send("DIAL_SERVER", request=1)
    answer = dial.expect("DIAL_CONNECTED")
    assert answer.address == f"127.0.0.1:{server.port}"
    os.close(answer.fd)
    dial.send("DIAL_SERVER", request=2)
    worker.wait_killed("a second DIAL_SERVER")
    dial.close()
    assert client.process.poll() is None
    tally.add(walls=3000, breaches=0)


# ---- the control socket ----

def control(server):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(server.control)
    return ipc.Channel(s)


def test_control_socket_crimes(hosts):
    """Every wrong packet closes that connection, and only that."""
    server = hosts.server()
    rows = server.json("audit", "list")
    before = hostile.settle(server.pid)
    crimes = hostile.crimes("CH_CONTROL", "UP", "IN_RUN")
    for name, packets in crimes:
        channel = control(server)
        hostile.commit(channel, packets)
        assert channel.expect_closed(timeout=10) == [], name
        channel.close()
    tunnel.wait(lambda: server.count("broke the rules") == len(crimes), "every crime in the log")
    assert server.json("audit", "list") == rows
    after = hostile.settle(server.pid)
    assert after[1] <= before[1] and after[0] < before[0] + 1024, f"{before} became {after}"
    tally.add(hostile=len(crimes))


def test_control_socket_is_not_for_others(hosts):
    """Another user is told why not, and nothing that he asks or decides is done."""
    server = hosts.server()
    client = hosts.client(server)
    client.wait_waiting()
    os.chmod(server.control, 0o777)  # even if somebody opened the file's mode
    done = subprocess.run([server.binaries + "/wormhole", "--control-socket", server.control, "requests", "accept",
                           client.fingerprint], user=65534, group=65534, extra_groups=[], capture_output=True, text=True)
    assert done.returncode == 77 and "may not use" in done.stderr
    assert [r["fingerprint"] for r in server.requests()] == [client.fingerprint]


def test_control_socket_floods(hosts):
    """Connections that hold and say nothing do not lock operators out; answers that nobody takes end the connection."""
    server = hosts.server()
    idle = [control(server) for _ in range(200)]
    assert server.status()["facts"]
    greedy = control(server)
    greedy.sock.settimeout(10)
    before = hostile.settle(server.pid)
    with pytest.raises((ipc.Closed, OSError)):
        for n in range(1_000_000):
            greedy.send("QUERY", request=n, what=E.QUERY_STATUS)
    after = hostile.settle(server.pid)
    assert after[0] < before[0] + 8192, f"{before} became {after}"
    assert server.status()["facts"]
    for channel in [*idle, greedy]:
        channel.close()
