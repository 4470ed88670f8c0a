# SPDX-License-Identifier: Apache-2.0
"""
Hostile ends on the network: strangers that are slow or many, an approved client that lies to the server, a server that
lies to a client. Each breach ends that connection and nothing else; what is no breach costs bounded memory and, once it
is over, no CPU. What strangers meet in HTTP and websocket is in tests/integration/test_tunnel_port.py, the handshake in
test_crypto_server.py, broken records in test_protocol_peer.py.
"""
import contextlib
import os
import socket
import sqlite3
import struct
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

import handshake as hs
import hostile
import tally
import tunnel
import tunnel_end as peer
import websocket

pytestmark = pytest.mark.skipif(not tunnel.AS_ROOT, reason="reads /proc of other uids' processes")
HUGE = (1 << 64) - 1
ODD, EVEN = 1, 2


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(65537, 2048)


def open_server(hosts, key):
    """A server that knows the key; its limits are not what is tested."""
    text = hs.fingerprint_text(hs.sha256(hs.spki_of(key)))
    return hosts.server("--preapproved", text + "=edge1", "--max-half-open-per-source", "1000", "--max-startups",
                        "1000:1:1000")


@pytest.fixture(scope="module")
def server_and_key(key):
    """One server for all the breaches of clients."""
    hosts = tunnel.Hosts()
    yield open_server(hosts, key), key
    hosts.close()
    hosts.remove()


def connected(server, key, **arguments):
    client = peer.PeerClient(server.port, key, **arguments)
    client.greet()
    client.finish()
    return client


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_calm(pid, may_end=False):
    """It stops using CPU: what a peer that has fallen silent costs. Waits, because the last of it may be under way."""
    def calm():
        try:
            before = cpu_s(pid)
            time.sleep(0.25)  # the length of the measurement, not a wait for something
            return cpu_s(pid) - before <= 0.05
        except FileNotFoundError:
            assert may_end, "the process ended"
            return True
    return tunnel.wait(calm, f"process {pid} to be calm", timeout=20)


def ends(records):
    """The peer ends the connection; returns the frames that still came."""
    frames = []
    with contextlib.suppress(websocket.Closed, ConnectionError, AssertionError):
        while True:
            frames += records.receive()
            if any(f[0] == peer.CLOSE_NOTIFY for f in frames):
                break
    return frames


# ---- strangers ----

def test_slow_strangers_do_not_hold_the_door(hosts):
    """
    Sixty addresses that send their upgrade a byte at a time, and as many that finish it and then say nothing: an
    approved client still works, a new one still gets in, each stranger is ended by its deadline, and memory is what
    so many sessions take.
    """
    server, client = hosts.pair({"echo": hosts.backend(tunnel.echo).port},
                                server_flags=("--handshake-timeout", "3s", "--max-startups", "200:30:300"))
    port = server.app_port("edge1", "echo")
    head = (b"GET /wh/tunnel HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
            b"AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: wormhole.v1\r\n\r\n")
    slow = [socket.create_connection(("127.0.0.1", server.port), source_address=(f"127.2.{n}.1", 0)) for n in range(60)]
    mute = [socket.create_connection(("127.0.0.1", server.port), source_address=(f"127.3.{n}.1", 0)) for n in range(60)]
    for s in mute:
        s.sendall(head)
    stop = threading.Event()

    def dribble():
        at = 0
        while not stop.is_set() and at < len(head) - 1:
            for s in slow:
                with contextlib.suppress(OSError):
                    s.send(head[at:at + 1])
            at += 1
            stop.wait(0.05)
    thread = threading.Thread(target=dribble)
    thread.start()
    try:
        assert tunnel.works(port)
        other = hosts.client(server, name="edge2", apps={"echo": hosts.backend(tunnel.echo).port})
        server.accept(other)
        other.wait_connected()
        tunnel.wait(lambda: len(server.processes("session")) >= 100, "the strangers' sessions", timeout=2.5)
        sessions = [p["pid"] for p in server.processes("session")]
        heaviest = max(hostile.memory_kib(pid) for pid in sessions if os.path.exists(f"/proc/{pid}"))
        assert heaviest < 6 * 1024, f"a session that waits takes {heaviest} KiB"
        tunnel.wait(lambda: len(server.processes("session")) == 2, "the end of the strangers")
        assert tunnel.works(port)
    finally:
        stop.set()
        thread.join()
        for s in slow + mute:
            s.close()
    tally.add(hostile=120)


def test_requests_without_end(hosts):
    """
    Proven keys by the dozen, from one address and from many, each coming again and again: so many wait as the limits say,
    the database holds no more, the others are told to come later, and who is in notices nothing.
    """
    server, client = hosts.pair({"echo": hosts.backend(tunnel.echo).port}, server_flags=(
        "--max-pending", "6", "--max-pending-per-source", "4", "--max-half-open-per-source", "1000", "--max-startups",
        "1000:1:1000"))
    port = server.app_port("edge1", "echo")
    before, before_crypto = hostile.settle(server.pid), hostile.settle(server.pid_of("crypto"))
    keys = [rsa.generate_private_key(65537, 2048) for _ in range(24)]
    peers, declined = [], 0
    for turn in range(3):
        for n, key in enumerate(keys):
            stranger = peer.PeerClient(server.port, key, name=f"other{n}",
                                       source="127.0.0.1" if n % 2 else f"127.4.{n}.1")
            peers.append(stranger)
            stranger.greet()
            try:
                stranger.step()
            except hs.WasDeclined:
                declined += 1
                stranger.close()
        assert len(server.requests()) == 6 and tunnel.works(port)
    assert declined == 3 * (24 - 6)
    with sqlite3.connect(f"file:{server.state}/wormhole.db?mode=ro", uri=True) as db:
        assert db.execute("SELECT count(*) FROM peers WHERE status='pending'").fetchone() == (6,)
    db.close()
    assert hostile.memory_kib(server.pid) < before[0] + 2048
    for stranger in peers:
        with contextlib.suppress(OSError):
            stranger.close()
    tunnel.wait(lambda: len(server.processes("session")) == 1, "the strangers' end")
    after, after_crypto = hostile.settle(server.pid), hostile.settle(server.pid_of("crypto"))
    assert after[1] <= before[1] and after_crypto[1] <= before_crypto[1] and after_crypto[0] < before_crypto[0] + 2048
    is_calm(server.pid)
    tally.add(hostile=72)


def test_strangers_come_and_go(hosts):
    """A thousand connections that are dropped at once, some reset: nothing is left of them."""
    server = hosts.server("--max-half-open-per-source", "10000", "--max-startups", "10000:1:10000")
    tunnel.wait(lambda: server.processes("crypto"), "crypto")
    crypto = server.pid_of("crypto")

    def wave(count):
        for n in range(count):
            s = socket.create_connection(("127.0.0.1", server.port))
            if n % 3 == 0:
                s.sendall(b"GET / HTTP/1.1\r\n")
            if n % 2:
                tunnel.reset(s)
            else:
                s.close()
            if n % 50 == 49:
                tunnel.wait(lambda: len(server.processes("session")) < 25, "sessions to end")
        tunnel.wait(lambda: not server.processes("session"), "the end of all")
    wave(250)
    before = [hostile.settle(pid) for pid in (server.pid, crypto)]
    wave(750)
    after = [hostile.settle(pid) for pid in (server.pid, crypto)]
    for (memory, descriptors), (memory_then, descriptors_then) in zip(after, before):
        assert descriptors <= descriptors_then and memory < memory_then + 512, f"{before} became {after}"
    tally.add(hostile=1000)


def test_approved_ones_come_and_go(hosts, key):
    """Ten thousand whole tunnels of one peer, with apps under changing names, ended in every way: nothing is left of them."""
    server = open_server(hosts, key)
    tunnel.wait(lambda: server.processes("crypto"), "crypto")
    lasting = (server.pid, server.pid_of("crypto"))

    def wave(count):
        for n in range(count):
            client = connected(server, key)
            code, _ = client.expose(1, b"app%d" % (n % 7))
            assert code == 0
            if n % 3 == 0:
                client.records.send(peer.frame(peer.CLOSE_NOTIFY))
            if n % 3 == 2:
                tunnel.reset(client.ws.sock)
            else:
                client.close()
        tunnel.wait(lambda: not server.processes("session"), "the end of all")
    wave(500)
    before = [hostile.settle(pid) for pid in lasting]
    wave(9_500)
    after = [hostile.settle(pid) for pid in lasting]
    for (memory, descriptors), (memory_then, descriptors_then) in zip(after, before):
        assert descriptors <= descriptors_then and memory < memory_then + 512, f"{before} became {after}"
    assert server.count("crashed") == 0 and server.count("is connected, key") == 10_000
    tally.add(hostile=10_000)


# ---- an approved client that lies to the server ----

def open_frame(number, app=1, window=65536):
    return peer.frame(peer.OPEN, number, struct.pack(">IQ", app, window) + bytes(16) + struct.pack(">H", 80))


def u64(value):
    return struct.pack(">Q", value)


CLIENT_BREACHES = {
    "a stream of its own": open_frame(ODD),
    "a stream of the server's": open_frame(EVEN),
    "OPEN_OK of nothing": peer.frame(peer.OPEN_OK, EVEN, u64(1)),
    "OPEN_FAIL of nothing": peer.frame(peer.OPEN_FAIL, EVEN, b"\0\2no"),
    "DATA of nothing": peer.frame(peer.DATA, EVEN, b"x"),
    "DATA on an odd stream": peer.frame(peer.DATA, ODD, b"x"),
    "DATA on stream 0": peer.frame(peer.DATA, 0, b"x"),
    "DATA on the last stream": peer.frame(peer.DATA, 0xffffffff, b"x"),
    "RESET of nothing": peer.frame(peer.RESET, EVEN, b"\0\1"),
    "RESET without a code": peer.frame(peer.RESET, EVEN),
    "STOP_SENDING of nothing": peer.frame(peer.STOP_SENDING, EVEN, b"\0\1"),
    "MAX_DATA of nothing": peer.frame(peer.MAX_DATA, EVEN, u64(1)),
    "MAX_DATA beyond bounds": peer.frame(peer.MAX_DATA, 0, u64(HUGE)),
    "MAX_DATA cut": peer.frame(peer.MAX_DATA, 0, b"\0" * 7),
    "BLOCKED of nothing": peer.frame(peer.BLOCKED, EVEN, u64(1)),
    "PING too short": peer.frame(peer.PING, 0, b"1234567"),
    "PING too long": peer.frame(peer.PING, 0, b"123456789"),
    "PING on a stream": peer.frame(peer.PING, EVEN, u64(1)),
    "PONG on a stream": peer.frame(peer.PONG, EVEN, u64(1)),
    "GOAWAY cut": peer.frame(peer.GOAWAY, 0, b"\0" * 5),
    "SETTINGS twice": peer.settings(),
    "SETTINGS odd": peer.frame(peer.SETTINGS, 0, b"\0" * 11),
    "CLOSE_NOTIFY with text": peer.frame(peer.CLOSE_NOTIFY, 0, b"x"),
    "something after CLOSE_NOTIFY": peer.frame(peer.CLOSE_NOTIFY) + peer.frame(peer.PING, 0, u64(1)),
    "APP_ADD cut": peer.frame(peer.APP_ADD, 0, b"\0\0\0\1\0\x50\x05web"),
    "APP_ADD with a NUL": peer.frame(peer.APP_ADD, 0, struct.pack(">IH", 1, 80) + b"\3w\0b\0"),
    "APP_ADD too long": peer.frame(peer.APP_ADD, 0, struct.pack(">IH", 1, 80) + b"\3web\0" + b"x"),
    "APP_ADD on a stream": peer.frame(peer.APP_ADD, EVEN, struct.pack(">IH", 1, 80) + b"\3web\0"),
    "APP_ACK, the server's": peer.frame(peer.APP_ACK, 0, struct.pack(">IH", 1, 0) + b"\0\0"),
    "unknown flags": peer.frame(peer.PING, 0, u64(1), flags=0x80),
    "FIN on RESET": peer.frame(peer.RESET, EVEN, b"\0\1", flags=1),
    "REKEY, reserved": peer.frame(0x30, 0, b""),
    "KEY_SWITCH, reserved": peer.frame(0x33, 0, b""),
    "ROTATE, reserved": peer.frame(0x38, 0, b""),
    "an unknown type": peer.frame(0x7f, 0, b"x"),
    "the last type": peer.frame(0xff, 0, b"x"),
    "a cut head": b"\x10\0\0",
    "a frame longer than its record": struct.pack(">BBHI", peer.PADDING, 0, 0xffff, 0),
    "a good frame, then a bad one": peer.frame(peer.PING, 0, u64(1)) + b"\x7f",
}


def test_client_breaches(server_and_key):
    """Each ends its own connection; the server's other processes do not notice."""
    server, key = server_and_key
    crypto = server.pid_of("crypto")
    for name, plain in CLIENT_BREACHES.items():
        client = connected(server, key)
        client.records.send(plain)
        ends(client.records)
        client.close()
        tunnel.wait(lambda: not server.processes("session"), f"the end of the session after {name}")
    assert server.pid_of("crypto") == crypto and server.count("crashed") == 0 and server.count("broke the rules") == 0
    tally.add(hostile=len(CLIENT_BREACHES))


def test_client_begins_without_settings(server_and_key):
    server, key = server_and_key
    client = peer.PeerClient(server.port, key)
    client.greet()
    while not client.hs.done:
        client.step()
    client.records.send(peer.frame(peer.PING, 0, u64(1)))
    ends(client.records)
    client.close()
    tunnel.wait(lambda: not server.processes("session"), "the session's end")


STREAM_BREACHES = {
    "data before OPEN_OK": lambda n: [peer.frame(peer.DATA, n, b"early")],
    "OPEN_OK twice": lambda n: [peer.frame(peer.OPEN_OK, n, u64(9)), peer.frame(peer.OPEN_OK, n, u64(9))],
    "OPEN_OK beyond bounds": lambda n: [peer.frame(peer.OPEN_OK, n, u64(HUGE))],
    "OPEN_FAIL after OPEN_OK": lambda n: [peer.frame(peer.OPEN_OK, n, u64(9)), peer.frame(peer.OPEN_FAIL, n, b"\0\2")],
    "data after FIN": lambda n: [peer.frame(peer.OPEN_OK, n, u64(9)), peer.frame(peer.DATA, n, b"x", 1),
                                 peer.frame(peer.DATA, n, b"x")],
    "FIN twice": lambda n: [peer.frame(peer.OPEN_OK, n, u64(9)), peer.frame(peer.DATA, n, b"", 1),
                            peer.frame(peer.DATA, n, b"", 1)],
    "more than the stream's window": lambda n: [peer.frame(peer.OPEN_OK, n, u64(9))] + [
        peer.frame(peer.DATA, n, bytes(30000))] * 200,
    "a stream that comes next": lambda n: [peer.frame(peer.DATA, n + 2, b"x")],
    "MAX_DATA beyond bounds": lambda n: [peer.frame(peer.OPEN_OK, n, u64(9)), peer.frame(peer.MAX_DATA, n, u64(HUGE))],
}


@pytest.mark.parametrize("breach", STREAM_BREACHES)
def test_client_breaches_on_a_stream(server_and_key, breach):
    """On a stream that a user opened: his connection is reset, not closed cleanly, and the tunnel's ends."""
    server, key = server_and_key
    client = connected(server, key)
    code, endpoint = client.expose(1, b"web")
    assert code == 0
    with tunnel.connect(int(endpoint.rsplit(":", 1)[1])) as user:
        user.sendall(b"hello")
        _, _, number, _ = client.records.next(peer.OPEN)
        with contextlib.suppress(OSError):
            for frame in STREAM_BREACHES[breach](number):
                client.records.send(frame)
        ends(client.records)
        user.settimeout(20)
        if breach in ("data after FIN", "FIN twice"):  # the app's direction had ended before
            assert user.recv(65536) in (b"", b"x")
        else:
            with pytest.raises(ConnectionResetError):
                while user.recv(65536):
                    pass
                raise AssertionError("the user was told that all had come")
    client.close()
    tunnel.wait(lambda: not server.processes("session"), "the session's end")
    tally.add(hostile=1)


FLOODS = {
    "PING": [peer.frame(peer.PING, 0, u64(7))] * 1500,
    "PONG": [peer.frame(peer.PONG, 0, u64(7))] * 1500,
    "PADDING": [peer.frame(peer.PADDING, 0, bytes(30000))],
    "empty PADDING": [peer.frame(peer.PADDING)] * 3000,
    "MAX_DATA": [peer.frame(peer.MAX_DATA, 0, u64(n)) for n in range(1500)],
    "BLOCKED": [peer.frame(peer.BLOCKED, 0, u64(n)) for n in range(1500)],
    "APP_ADD and APP_WITHDRAW": [f for n in range(400) for f in (
        peer.app_add(n, b"app%d" % (n % 5)), peer.frame(peer.APP_WITHDRAW, 0, struct.pack(">I", n)))],
    "APP_ADD": [peer.app_add(n, b"x" * 60) for n in range(300)],
    "APP_WITHDRAW of nothing": [peer.frame(peer.APP_WITHDRAW, 0, struct.pack(">I", n)) for n in range(2000)],
    "GOAWAY": [peer.frame(peer.GOAWAY, 0, bytes(6))] * 2000,
}


@pytest.mark.parametrize("flood", FLOODS)
def test_client_floods(server_and_key, flood):
    """Without end, and without reading an answer: bounded memory, an end or a calm session; others go on."""
    server, key = server_and_key
    client = connected(server, key)
    (session,) = [p["pid"] for p in server.processes("session")]
    before = hostile.settle(server.pid)
    client.ws.sock.settimeout(5)
    plain = b"".join(FLOODS[flood])
    assert len(plain) <= 32768
    with contextlib.suppress(OSError):
        for _ in range(150):
            client.records.send(plain)
    memory = 0
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it may have ended the connection, and itself
        memory = hostile.memory_kib(session)
    assert memory < 12 * 1024, f"the session took {memory} KiB"
    after = hostile.settle(server.pid)
    assert after[0] < before[0] + 8192, f"the supervisor: {before} became {after}"
    is_calm(session, may_end=True)
    is_calm(server.pid)
    client.close()
    tunnel.wait(lambda: not server.processes("session"), "the session's end")
    tally.add(hostile=1)


def test_user_floods_and_a_client_that_never_answers(server_and_key):
    """
    Windows of nothing, no OPEN_OK, no reading: a thousand users' connections wait without memory growing, and are
    reset when the tunnel ends.
    """
    server, key = server_and_key
    client = connected(server, key)
    code, endpoint = client.expose(1, b"web")
    assert code == 0
    (session,) = [p["pid"] for p in server.processes("session")]
    port = int(endpoint.rsplit(":", 1)[1])
    users = []
    for _ in range(300):
        user = tunnel.connect(port)
        user.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(64):
                user.send(bytes(65536))
        users.append(user)
    assert hostile.memory_kib(session) < 12 * 1024, f"{hostile.memory_kib(session)} KiB"
    is_calm(session)
    client.close()
    tunnel.wait(lambda: not server.processes("session"), "the session's end")
    tally.add(hostile=1)


# ---- a server that lies to a client ----

class Trap:
    """A real client with one app (echo) and a server that is the test."""

    def __init__(self, hosts):
        self.server = peer.PeerServer()
        hosts.cleanups.append(self.server.close)
        self.backend = hosts.backend(tunnel.echo)
        self.client = hosts.client(None, url=self.server.url, apps={"web": self.backend.port})
        self.machine = hs.Server()
        self.identity = self.machine.identity

    def connected(self):
        """(end, the app's number) of the client's next connection."""
        end = self.server.accept(hs.Server(self.identity))
        end.greet()
        end.grant()
        _, _, _, payload = end.records.next(peer.APP_ADD)
        return end, struct.unpack_from(">I", payload)[0]


@pytest.fixture
def trap(hosts):
    return Trap(hosts)


SERVER_BREACHES = {
    "an app that is not there, for ever": lambda app: [open_frame(n, app + 1000) for n in range(2, 60_000, 2)],
    "an odd stream": lambda app: [open_frame(ODD, app)],
    "stream 0": lambda app: [open_frame(0, app)],
    "one stream twice": lambda app: [open_frame(2, app), open_frame(2, app)],
    "an older stream": lambda app: [open_frame(8, app), open_frame(4, app)],
    "a window beyond bounds": lambda app: [open_frame(2, app, HUGE)],
    "OPEN cut": lambda app: [peer.frame(peer.OPEN, 2, struct.pack(">IQ", app, 1))],
    "data of nothing": lambda app: [peer.frame(peer.DATA, 2, b"x")],
    "OPEN_OK": lambda app: [open_frame(2, app), peer.frame(peer.OPEN_OK, 2, u64(1))],
    "OPEN_FAIL": lambda app: [open_frame(2, app), peer.frame(peer.OPEN_FAIL, 2, b"\0\2")],
    "APP_ADD": lambda app: [peer.app_add(9, b"evil")],
    "APP_WITHDRAW": lambda app: [peer.frame(peer.APP_WITHDRAW, 0, struct.pack(">I", app))],
    "SETTINGS twice": lambda app: [peer.settings()],
    "more than the window": lambda app: [open_frame(2, app)] + [peer.frame(peer.DATA, 2, bytes(30000))] * 400,
    "data after FIN": lambda app: [open_frame(2, app), peer.frame(peer.DATA, 2, b"x", 1), peer.frame(peer.DATA, 2, b"x")],
    "an unknown type": lambda app: [peer.frame(0x66, 0, b"")],
}


@pytest.mark.parametrize("breach", SERVER_BREACHES)
def test_server_breaches(trap, breach):
    """The session ends, the client comes back with a fresh one, and the edge was reached by nothing but the app."""
    end, app = trap.connected()
    (first,) = [p["pid"] for p in trap.client.processes("session")]
    frames = SERVER_BREACHES[breach](app)
    end.ws.sock.settimeout(10)
    with contextlib.suppress(OSError):
        for at in range(0, len(frames), 300):
            batch, size = [], 0
            for frame in frames[at:at + 300]:
                if size + len(frame) > 32000:
                    end.records.send(*batch)
                    batch, size = [], 0
                batch.append(frame)
                size += len(frame)
            end.records.send(*batch)
    ends(end.records)
    end.close()
    again, same = trap.connected()
    assert same == app
    (second,) = [p["pid"] for p in trap.client.processes("session")]
    assert second != first and trap.client.count("crashed") == 0 and trap.client.count("broke the rules") == 0
    again.close()
    tally.add(hostile=1)


@pytest.mark.parametrize("what", ["drop", "repeat", "reorder", "reflect", "flip", "cut", "plain", "handshake again"])
def test_server_breaks_records(trap, what):
    end, _ = trap.connected()
    r, ping = end.records, peer.frame(peer.PING, 0, u64(1))
    r.send(ping)
    r.next(peer.PONG)
    if what == "drop":
        r.sequence[hs.S2C] += 1
        r.send(ping)
    elif what == "repeat":
        record = r.seal(ping)
        end.ws.send(record)
        end.ws.send(record)
    elif what == "reorder":
        end.ws.send(r.seal(ping, r.sequence[hs.S2C] + 1))
    elif what == "reflect":
        end.ws.send(hs.RECORD0 + r.session.traffic[hs.C2S].seal(1, hs.record_aad(hs.C2S, 0, hs.RECORD0), ping))
    elif what == "flip":
        record = bytearray(r.seal(ping))
        record[-1] ^= 1
        end.ws.send(bytes(record))
    elif what == "cut":
        end.ws.send(r.seal(ping)[:-1])
    elif what == "plain":
        end.ws.send(ping)
    else:
        end.ws.send(hs.Server(trap.identity).start())
    with pytest.raises((websocket.Closed, ConnectionError)):
        while True:
            end.ws.receive()
    again, _ = trap.connected()
    again.close()
    end.close()
    assert trap.client.count("crashed") == 0
    tally.add(hostile=1)


def test_server_asks_for_everything_but_the_app(trap):
    """A thousand app numbers: only the one that is exposed is ever connected to."""
    end, app = trap.connected()
    others = [n for n in [*range(0, 40), 1 << 31, (1 << 32) - 1] if n != app]
    number = 2
    for other in others:
        end.records.send(open_frame(number, other))
        kind, _, stream, payload = end.records.next(peer.OPEN_OK, peer.OPEN_FAIL)
        assert (kind, stream) == (peer.OPEN_FAIL, number), f"app {other} was opened"
        number += 2
    assert trap.backend.accepted == 0
    end.records.send(open_frame(number, app))
    assert end.records.next(peer.OPEN_OK, peer.OPEN_FAIL)[0] == peer.OPEN_OK
    tunnel.wait(lambda: trap.backend.accepted == 1, "the connection to the app")
    end.close()
    tally.add(walls=len(others), breaches=0)


BATCH = 600     # of OPEN and RESET fit into one record


def answered(records, number):
    """A PING is answered: everything sent before it was taken."""
    records.send(peer.frame(peer.PING, 0, u64(number)))
    while records.next(peer.PONG)[3] != u64(number):
        pass


@pytest.mark.parametrize("how,streams", [("in one record", 30_000), ("when they are being dialled", 3_000)])
def test_rapid_reset_by_a_server(trap, how, streams):
    """
    Streams that are opened and reset at once, as fast as the wire carries them: the client's session goes on, what it
    takes is bounded, nothing is left over, and the next stream works.
    """
    end, app = trap.connected()
    (session,) = [p["pid"] for p in trap.client.processes("session")]
    dialer = trap.client.pid_of("dialer")
    used = {pid: hostile.descriptors(pid) for pid in (session, dialer)}
    rst, highest = struct.pack(">H", 1), 0
    for first in range(2, 2 + 2 * streams, 2 * BATCH):
        highest = first + 2 * BATCH
        numbers = range(first, highest, 2)
        if how == "in one record":
            end.records.send(*[open_frame(n, app) + peer.frame(peer.RESET, n, rst) for n in numbers])
        else:
            end.records.send(*[open_frame(n, app) for n in numbers])
            answered(end.records, first + 1)
            end.records.send(*[peer.frame(peer.RESET, n, rst) for n in numbers])
        answered(end.records, first)
        assert hostile.memory_kib(session) < 12 * 1024, f"{hostile.memory_kib(session)} KiB after {first // 2} streams"
    for pid in (session, dialer):
        tunnel.wait(lambda pid=pid: hostile.descriptors(pid) <= used[pid], "the descriptors of what was reset to be closed")
        is_calm(pid)
    assert hostile.memory_kib(session) < 12 * 1024 and hostile.memory_kib(dialer) < 12 * 1024
    end.records.send(open_frame(highest, app), peer.frame(peer.DATA, highest, b"still here", peer.FIN))
    assert end.records.next(peer.OPEN_OK, peer.OPEN_FAIL)[0] == peer.OPEN_OK
    assert end.records.stream_data(highest) == b"still here"
    assert [p["pid"] for p in trap.client.processes("session")] == [session] and trap.client.pid_of("dialer") == dialer
    end.close()
    tally.add(hostile=1)


def test_rapid_reset_by_a_client(hosts, key):
    """A client cannot open streams; it can reset each that users open, and go on resetting what is long gone."""
    server = open_server(hosts, key)  # of its own: no user of another test may wait at the app's port
    client = connected(server, key)
    code, endpoint = client.expose(1, b"web")
    assert code == 0
    (session,) = [p["pid"] for p in server.processes("session")]
    used, port = hostile.descriptors(session), int(endpoint.rsplit(":", 1)[1])
    rst = struct.pack(">H", 1)
    for round_number in range(20):
        users = [tunnel.connect(port) for _ in range(50)]
        numbers = [client.records.next(peer.OPEN)[2] for _ in users]
        client.records.send(*[peer.frame(peer.OPEN_OK, n, u64(65536)) * (n % 4 == 0) + peer.frame(peer.RESET, n, rst)
                              for n in numbers])
        for user in users:
            with pytest.raises(ConnectionResetError):
                user.recv(1)
            user.close()
        client.records.send(*[peer.frame(peer.RESET, n, rst) + peer.frame(peer.STOP_SENDING, n, rst)
                              for n in numbers * 30])
        answered(client.records, round_number)
        assert hostile.memory_kib(session) < 12 * 1024, f"{hostile.memory_kib(session)} KiB"
    tunnel.wait(lambda: hostile.descriptors(session) <= used, "the users' descriptors to be closed")
    is_calm(session)
    with tunnel.connect(port) as user:
        user.sendall(b"still here")
        number = client.records.next(peer.OPEN)[2]
        client.records.send(peer.frame(peer.OPEN_OK, number, u64(65536)))
        kind, _, stream, payload = client.records.next(peer.DATA)
        assert (kind, stream, payload) == (peer.DATA, number, b"still here")
    assert [p["pid"] for p in server.processes("session")] == [session]
    client.close()
    tunnel.wait(lambda: not server.processes("session"), "the session's end")
    tally.add(hostile=1)


def test_server_never_reads(trap):
    """The app answers more and more, the server takes nothing: the client's memory is bounded, and it stays calm."""
    end, app = trap.connected()
    (session,) = [p["pid"] for p in trap.client.processes("session")]
    end.ws.sock.settimeout(3)
    number = 2
    with contextlib.suppress(OSError):
        for _ in range(400):
            end.records.send(open_frame(number, app, 1 << 40), peer.frame(peer.MAX_DATA, 0, u64(1 << 50)),
                             peer.frame(peer.DATA, number, bytes(16000)))
            number += 2
    assert hostile.memory_kib(session) < 40 * 1024, f"{hostile.memory_kib(session)} KiB"
    is_calm(session)
    is_calm(trap.client.pid)
    end.close()
    tally.add(hostile=1)
