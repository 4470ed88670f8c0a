# SPDX-License-Identifier: Apache-2.0
"""
The channels between workers, and each worker's own ear: a session that is lied to by crypto or the dialer, crypto and
the dialer lied to by a session. Who is lied to ends the channel or itself in an orderly way; nobody crashes, and whoever
serves several goes on serving the others.
"""
import os
import socket

import pytest

import hostile
import ipc
import tally
import workers
from ipc import E

BIN = os.environ.get("WORMHOLE_BIN", str(ipc.ROOT / "build/release/bin"))


@pytest.fixture(scope="module")
def den():
    with workers.den() as d:
        yield d


def peers_of(worker, role):
    """{kind of channel: the test's end} of a session."""
    first, handshake = worker.peers
    named = {"CH_HANDSHAKE": ipc.Channel(handshake), "CH_SESSION": worker.channel}
    if role == "client-session":
        named["CH_DIAL"] = ipc.Channel(first)
    return named


SESSION_EARS = [("server-session", "CH_SESSION"), ("client-session", "CH_SESSION"), ("server-session", "CH_HANDSHAKE"),
                ("client-session", "CH_HANDSHAKE"), ("client-session", "CH_DIAL")]


@pytest.mark.parametrize("role,kind", SESSION_EARS)
def test_session_hears_a_crime(den, role, kind):
    """It ends, with an exit code and not by a signal, whoever breaks the rules towards it."""
    state = "IN_RUN" if kind == "CH_DIAL" else "IN_HELLO"
    crimes = hostile.crimes(kind, "DOWN", state)
    for name, packets in crimes:
        worker = workers.start(role, den, BIN)
        try:
            worker.ready()
            hostile.commit(peers_of(worker, role)[kind], packets)
            if role == "server-session":
                worker.peers[0].close()  # the network's end: no last words to wait for
            status = worker.wait(timeout=20)
            assert status >= 0, f"{name} on {kind}: ended by signal {-status}"
        finally:
            worker.stop()
            for peer in worker.peers:
                peer.close()
    tally.add(hostile=len(crimes))


NONSENSE = {
    "keys out of order": [("HS_KEYS", dict(direction=0, sequence=5)), ("HS_KEYS", dict(direction=0, sequence=1))],
    "keys for no direction": [("HS_KEYS", dict(direction=7, sequence=1))],
    "keys of another epoch": [("HS_KEYS", dict(direction=0, epoch=9, sequence=1)),
                              ("HS_KEYS", dict(direction=1, epoch=9, sequence=1))],
    "records without end": [("HS_KEYS", dict(direction=0, sequence=(1 << 64) - 1, max_record=1 << 31)),
                            ("HS_KEYS", dict(direction=1, sequence=(1 << 64) - 1, max_record=1 << 31))],
    "records of no size": [("HS_KEYS", dict(direction=d, sequence=1, max_record=0)) for d in (0, 1)],
    "an empty message": [("HS_SEND", dict(data=b""))],
    "a failure that is none": [("HS_FAIL", dict(code=65535, close_code=0, text="\x1b[31m"))],
    "a close code that none may send": [("HS_FAIL", dict(code=1, close_code=1005, text="x" * 123))],
    "waiting for ever": [("HS_WAIT", dict(ttl_s=(1 << 32) - 1))] * 50 + [("HS_FAIL", dict(code=1, close_code=4400))],
    "data without end": [("HS_SEND", dict(data=b"x" * 8192))] * 200,
}


UPGRADE = (b"GET /wh/tunnel HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Protocol: wormhole.v1\r\n\r\n")


@pytest.mark.parametrize("role", ["server-session", "client-session", "upgraded"])
@pytest.mark.parametrize("case", NONSENSE)
def test_session_hears_nonsense_from_crypto(den, role, case):
    """Permitted messages with values that cannot be: it may end or go on, but not by a signal."""
    upgraded, role = role == "upgraded", role.replace("upgraded", "server-session")
    worker = workers.start(role, den, BIN)
    try:
        worker.ready()
        channel = peers_of(worker, role)["CH_HANDSHAKE"]
        channel.sock.settimeout(5)
        if upgraded:
            worker.peers[0].sendall(UPGRADE)
            channel.expect("HS_START")
        try:
            for name, fields in NONSENSE[case]:
                channel.send(name, **fields)
        except (ipc.Closed, OSError):
            pass
        channel.close()  # crypto is gone: the session has nothing to wait for
        status = worker.wait(timeout=30)
        assert status >= 0, f"ended by signal {-status}"
    finally:
        worker.stop()
        for peer in worker.peers:
            peer.close()
    tally.add(hostile=1)


def test_crypto_hears_every_crime_from_sessions(den):
    """One crypto process, a channel for each crime: that channel ends and is reported, the process goes on."""
    worker = workers.start("crypto", den, BIN)
    with worker:
        worker.ready()
        worker.channel.expect("CRYPTO_IDENTITY")
        crimes = hostile.crimes("CH_HANDSHAKE", "UP", "IN_HELLO")
        before = None
        for number, (name, packets) in enumerate(crimes, 1):
            ours, theirs = ipc.pair()
            worker.channel.send("CRYPTO_SESSION", fd=theirs, connection=number, remote="127.0.0.1:1", instance=bytes(16))
            theirs.close()
            hostile.commit(ours, packets)
            ours.expect_closed()
            report = worker.channel.expect("WORKER_VIOLATION", skip=("HANDSHAKE_FAILED",))
            assert report.connection == number and report.text, name
            ours.close()
            if number == 10 and workers.AS_ROOT:
                before = hostile.settle(worker.pid)
        worker.channel.send("WORKER_PING", nonce=1)
        worker.channel.expect("WORKER_PONG", skip=("HANDSHAKE_FAILED", "WORKER_VIOLATION"))
        if before:
            after = hostile.settle(worker.pid)
            assert after[1] <= before[1] and after[0] < before[0] + 256, f"{before} became {after}"
    tally.add(hostile=len(crimes))


def test_dialer_hears_every_crime_from_sessions(den):
    worker = workers.start("dialer", den, BIN)
    listener = socket.create_server(("127.0.0.1", 0))
    with worker, listener:
        worker.ready()
        worker.channel.send("DIALER_APP", app=1, host="127.0.0.1", port=listener.getsockname()[1])
        crimes = hostile.crimes("CH_DIAL", "UP", "IN_RUN")
        for number, (name, packets) in enumerate(crimes, 1):
            ours, theirs = ipc.pair()
            worker.channel.send("DIALER_SESSION", fd=theirs, connection=number)
            theirs.close()
            hostile.commit(ours, packets)
            ours.expect_closed()
            report = worker.channel.expect("WORKER_VIOLATION")
            assert report.connection == number, name
            ours.close()
        ours, theirs = ipc.pair()
        worker.channel.send("DIALER_SESSION", fd=theirs, connection=9999)
        theirs.close()
        ours.send("DIAL_APP", request=1, app=1)
        answer = ours.expect("DIAL_CONNECTED")
        os.close(answer.fd)
        ours.close()
    tally.add(hostile=len(crimes))


SUPERVISOR_EARS = {"crypto": "CH_CRYPTO", "dialer": "CH_DIALER", "admin": "CH_ADMIN", "k8s": "CH_K8S"}


@pytest.mark.parametrize("role", SUPERVISOR_EARS)
def test_worker_hears_a_crime_from_above(den, role):
    """The supervisor is trusted, and judged all the same: a worker that hears nonsense ends, and not by a signal."""
    crimes = hostile.crimes(SUPERVISOR_EARS[role], "DOWN", "IN_RUN")
    for name, packets in crimes:
        worker = workers.start(role, den, BIN)
        try:
            worker.ready()
            hostile.commit(worker.channel, packets)
            status = worker.wait(timeout=20)
            assert status >= 0, f"{name}: ended by signal {-status}"
        finally:
            worker.stop()
    tally.add(hostile=len(crimes))
