# SPDX-License-Identifier: Apache-2.0
"""
A supervisor whose workers have been taken over, one role at a time: whatever such a worker sends, in whatever state,
only that worker dies; the supervisor and its other workers go on, nobody is approved, and nothing is stored.
"""
import concurrent.futures
import os
import socket
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

import handshake as hs
import hostile
import ipc
import tally
import tunnel

pytestmark = pytest.mark.skipif(not tunnel.AS_ROOT, reason="reads /proc of other uids' processes")
BROKE = r"killed, it broke the rules of IPC"
BATCH = 3  # crimes per supervisor for the roles that come back after a growing pause


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(65537, 2048)


def many_at_once(function, items, threads=6):
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return [r for r in pool.map(function, items) if r is not None]


def in_batches(items, size):
    items = list(items)
    return [items[i:i + size] for i in range(0, len(items), size)]


def nothing_happened(supervisor, rows_before=None):
    """No peer, no request, no app; and the audit has what it had."""
    assert supervisor.json("peers", "list") == [] and supervisor.json("requests", "list") == []
    assert supervisor.apps() == []
    if rows_before is not None:
        assert len(supervisor.json("audit", "list")) == rows_before


# ---- sessions: one connection each, so that one supervisor sees all the crimes ----

class Crowd:
    """A server whose sessions are the test; every connection comes from an address of its own."""

    def __init__(self, hosts, *flags):
        self.bridge = hostile.Bridge(hosts, "session")
        self.server = hosts.server("--max-startups", "1000:1:1000", "--max-sessions", "1000", *flags,
                                   binaries=self.bridge.directory)
        self.sources = (f"127.1.{a}.{b}" for a in range(1, 250) for b in range(1, 250))

    def session(self):
        """(worker, the peer's socket)."""
        peer = socket.create_connection(("127.0.0.1", self.server.port), source_address=(next(self.sources), 0))
        return self.bridge.next("session").boot(), peer

    def opened(self, key):
        """A session whose client is approved and whose handshake is finished, without a byte on the network."""
        worker, peer = self.session()
        worker.channel.send("WORKER_READY", layers=0xffff, landlock_abi=7)
        handshake = ipc.Channel(socket.socket(fileno=worker.told("SESSION_HANDSHAKE_CHANNEL").fd))
        worker.told("SESSION_HANDSHAKE_CHANNEL").fd = None
        client = hs.Client(key, instance=os.urandom(16))
        handshake.send("HS_START", connection=worker.told("SESSION_START").connection)
        while not client.done:
            for answer in client.receive(handshake.expect("HS_SEND", skip=("HS_WAIT",)).data):
                handshake.send("HS_RECEIVED", data=answer)
        worker.channel.expect("SESSION_PEER")
        worker.handshake = handshake
        return worker, peer


def judge_session(crowd, make, name, packets):
    worker, peer = make()
    with peer:
        hostile.commit(worker.channel, packets)
        worker.wait_killed(name)
    if hasattr(worker, "handshake"):
        worker.handshake.close()


@pytest.mark.parametrize("state", ["IN_BOOT", "IN_HELLO"])
def test_session_before_approval(hosts, state):
    crowd = Crowd(hosts)
    rows = len(crowd.server.json("audit", "list"))
    pid = crowd.server.pid

    def make():
        worker, peer = crowd.session()
        if state == "IN_HELLO":
            worker.channel.send("WORKER_READY", layers=0xffff, landlock_abi=7)
        return worker, peer
    worker, peer = make()
    worker.close()
    peer.close()
    before = hostile.settle(pid)
    crimes = hostile.crimes("CH_SESSION", "UP", state)
    for name, packets in crimes:
        judge_session(crowd, make, name, packets)
    assert crowd.server.count(BROKE) == len(crimes)
    nothing_happened(crowd.server, rows)
    tunnel.wait(lambda: not crowd.server.processes("session"), "the end of all sessions")
    after = hostile.settle(pid)
    assert after[1] <= before[1] and after[0] < before[0] + 1024, f"{before} became {after}"
    tally.add(hostile=len(crimes))


def test_session_after_approval(hosts, key):
    fingerprint = hs.fingerprint_text(hs.sha256(hs.spki_of(key)))
    crowd = Crowd(hosts, "--preapproved", fingerprint + "=edge1")
    rows = len(crowd.server.json("audit", "list"))
    crimes = hostile.crimes("CH_SESSION", "UP", "IN_OPEN")
    for name, packets in crimes:
        judge_session(crowd, lambda: crowd.opened(key), name, packets)
    assert crowd.server.count(BROKE) == len(crimes)
    assert [p["name"] for p in crowd.server.peers()] == ["edge1"] and crowd.server.apps() == []
    assert len(crowd.server.json("audit", "list")) == rows
    tally.add(hostile=len(crimes))


LIES = {
    "a pong to no ping": ("WORKER_PONG", dict(nonce=7)),
    "a second READY": ("WORKER_READY", dict()),
    "a log level that is none": ("WORKER_LOG", dict(level=9, text="x")),
    "a proxy's word without a proxy": ("SESSION_FORWARDED", dict(address="192.0.2.1")),
    "the client's message": ("APP_STATUS", dict(app=1)),
}


@pytest.mark.parametrize("lie", LIES)
def test_session_lies(hosts, key, lie):
    """Permitted and well-formed, and yet it cannot be true: the same end."""
    fingerprint = hs.fingerprint_text(hs.sha256(hs.spki_of(key)))
    crowd = Crowd(hosts, "--preapproved", fingerprint + "=edge1")
    name, fields = LIES[lie]
    if lie == "a proxy's word without a proxy":
        worker, peer = crowd.session()
        worker.channel.send("WORKER_READY", layers=0, landlock_abi=0)
    else:
        worker, peer = crowd.opened(key)
    with peer:
        worker.channel.send(name, **fields)
        worker.wait_killed(lie)
    assert crowd.server.count(BROKE) == 1
    tally.add(hostile=1)


def test_session_says_twice_that_it_ends(hosts, key):
    crowd = Crowd(hosts)
    worker, peer = crowd.session()
    worker.channel.send("WORKER_READY", layers=0, landlock_abi=0)
    with peer:
        worker.channel.send("SESSION_END", code=60000, text="\x1b[31mred\nforged line")
        worker.channel.send("SESSION_END", code=1, text="again")
        worker.wait_killed("SESSION_END twice")
    assert "\x1b" not in crowd.server.log()
    tally.add(hostile=1)


def test_session_floods_the_log(hosts):
    """Its lines are escaped, cut and counted, and the log stays small."""
    crowd = Crowd(hosts)
    worker, peer = crowd.session()
    worker.channel.send("WORKER_READY", layers=0, landlock_abi=0)
    before = len(crowd.server.log())
    with peer:
        for n in range(5000):
            worker.channel.send("WORKER_LOG", level=0, text=f"{n} \r\n\x1b[2J2026-01-01 error supervisor[1]: forged " * 8)
        worker.channel.send("SESSION_END", code=0, text="done")
        worker.channel.close()
        tunnel.wait(lambda: crowd.server.count("lines of log were left out|suppressed") > 0 or worker.is_dead(), "an end")
    grown = len(crowd.server.log()) - before
    assert grown < 200_000, f"5,000 lines became {grown} bytes of log"
    assert "\x1b" not in crowd.server.log() and "\r" not in crowd.server.log()
    assert not any(line.startswith("2026-01-01 error") for line in crowd.server.log().splitlines())
    tally.add(hostile=1)


def test_session_floods_apps(hosts, key):
    """Announces without end, with names that are none, and never takes a listener: bounded, then killed."""
    fingerprint = hs.fingerprint_text(hs.sha256(hs.spki_of(key)))
    crowd = Crowd(hosts, "--preapproved", fingerprint + "=edge1", "--max-apps-per-peer", "20")
    worker, peer = crowd.opened(key)
    with peer:
        for n, name in enumerate(["", "UPPER", "-x", "x-", "a.b", "a" * 63, "../../etc", "a\nb", "é", "x y"], 1):
            worker.channel.send("APP_ANNOUNCED", app=n, name=name, service_port=80)
        answers = [worker.channel.expect("APP_LISTENER", "APP_REFUSED") for _ in range(10)]
        assert [m.type for m in answers].count("APP_LISTENER") == 1
        for m in answers:
            if m.fd is not None:
                os.close(m.fd)
        before = hostile.settle(crowd.server.pid)
        sent = 0
        worker.channel.sock.settimeout(10)
        try:
            for sent in range(11, 60_000):
                worker.channel.send("APP_ANNOUNCED", app=sent, name=f"app-{sent}", service_port=80)
        except (ipc.Closed, OSError):
            pass
        worker.wait_killed("announcements without end")
        assert sent > 100
    tunnel.wait(lambda: not crowd.server.processes("session"), "the session's end")
    assert len(crowd.server.apps()) <= 20
    after = hostile.settle(crowd.server.pid)
    assert after[0] < before[0] + 8192, f"{before} became {after}"
    tally.add(hostile=1)


def test_session_announces_and_withdraws_without_end(hosts, key):
    """Each app takes a port of the range, and gives it back: neither ports nor descriptors nor memory run out."""
    fingerprint = hs.fingerprint_text(hs.sha256(hs.spki_of(key)))
    crowd = Crowd(hosts, "--preapproved", fingerprint + "=edge1")
    worker, peer = crowd.opened(key)
    with peer:
        before = None
        for n in range(1, 1500):
            worker.channel.send("APP_ANNOUNCED", app=n, name=f"app-{n % 7}", service_port=80)
            m = worker.channel.expect("APP_LISTENER")
            os.close(m.fd)
            worker.channel.send("APP_REMOVED", app=n)
            if n == 100:
                before = hostile.settle(crowd.server.pid)
        assert crowd.server.status()["facts"]
        after = hostile.settle(crowd.server.pid)
        assert after[1] <= before[1] + 1 and after[0] < before[0] + 1024, f"{before} became {after}"
        worker.close()
    tally.add(hostile=1)


def test_session_gets_only_its_own(hosts, key):
    """Two peers with an app of one name: each session hears of its own only, and can touch only its own."""
    other = rsa.generate_private_key(65537, 2048)
    names = [hs.fingerprint_text(hs.sha256(hs.spki_of(k))) for k in (key, other)]
    crowd = Crowd(hosts, "--preapproved", names[0] + "=good", "--preapproved", names[1] + "=evil")
    good, good_peer = crowd.opened(key)
    evil, evil_peer = crowd.opened(other)
    with good_peer, evil_peer:
        good.channel.send("APP_ANNOUNCED", app=1, name="web", service_port=80)
        mine = good.channel.expect("APP_LISTENER")
        evil.channel.send("APP_ANNOUNCED", app=1, name="web", service_port=80)
        theirs = evil.channel.expect("APP_LISTENER")
        assert mine.port != theirs.port
        evil.channel.send("APP_STATS", app=1, streams=1000, bytes_in=1 << 60)
        evil.channel.send("APP_REMOVED", app=1)
        evil.channel.send("APP_ANNOUNCED", app=2, name="web", service_port=80)
        os.close(evil.channel.expect("APP_LISTENER").fd)
        rows = {a["peer"]: a for a in crowd.server.apps()}
        assert rows["good"]["port"] == mine.port and rows["good"]["connected"] and rows["good"]["streams"] == 0
        os.close(mine.fd)
        os.close(theirs.fd)
        evil.close()
        good.close()
    tally.add(hostile=1)


# ---- the workers that there is one of: they come back after a pause, so each supervisor sees a few crimes ----

class Lone:
    """Supervisors with one hostile role; each is started for a few crimes."""

    def __init__(self, hosts, role, kind):
        self.hosts, self.role, self.kind = hosts, role, kind
        self.source = hostile.Bridge(hosts, role)
        if role == "dialer":  # a client's key takes long to make: all use copies of one
            client = hosts.client(None, url="ws://127.0.0.1:1/", apps={"web": 1}, name="template")
            client.wait_ready()
            client.stop()
            self.template = client.state

    def supervise(self, number):
        """(supervisor, bridge); nobody has waited for the hostile worker yet."""
        bridge = hostile.Bridge(self.hosts, like=self.source, name=f"hostile-{number}")
        if self.role != "dialer":
            flags = ["--kubernetes"] if self.role == "k8s" else []
            return self.hosts.server(*flags, ready=False, name=f"victim{number}", ranges=20000,
                                     binaries=bridge.directory), bridge
        state = os.path.join(self.hosts.dir, f"state-{number}")
        subprocess.run(["cp", "-a", self.template, state], check=True)
        return self.hosts.client(None, url="ws://127.0.0.1:1/", apps={"web": 1}, state=state, name=f"victim{number}",
                                 binaries=bridge.directory), bridge


LONE = {"crypto": "CH_CRYPTO", "admin": "CH_ADMIN", "k8s": "CH_K8S", "dialer": "CH_DIALER"}


@pytest.mark.parametrize("role", LONE)
def test_lone_worker(hosts, role):
    lone = Lone(hosts, role, LONE[role])
    crimes = [(state, *crime) for state in ("IN_BOOT", "IN_RUN") for crime in hostile.crimes(lone.kind, "UP", state)]

    def judge(numbered):
        number, batch = numbered
        supervisor, bridge = lone.supervise(number)
        try:
            for state, name, packets in batch:
                worker = bridge.next(role)
                if state == "IN_RUN":
                    worker.ready()
                else:
                    worker.boot()
                hostile.commit(worker.channel, packets)
                worker.wait_killed(f"{name} in {state}")
            tunnel.wait(lambda: supervisor.count(BROKE) == len(batch), f"{len(batch)} violations in the log")
            assert supervisor.process.poll() is None
            supervisor.status()
            if role != "dialer":
                nothing_happened(supervisor)
            return None
        except AssertionError as error:
            return f"{[name for _, name, _ in batch]}: {error}\n{supervisor.log()[-1500:]}"
        finally:
            supervisor.kill()
            bridge.socket.close()

    failures = many_at_once(judge, enumerate(in_batches(crimes, BATCH)))
    assert not failures, "\n".join(failures[:5])
    tally.add(hostile=len(crimes))
