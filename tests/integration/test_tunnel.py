# SPDX-License-Identifier: Apache-2.0
"""
The main job on real processes: pair, approve, traffic, and TCP's own manners (half-close, reset, refusal,
back-pressure) through the tunnel. It must not test reconnects, limits or proxies: other files do.
"""
import json
import os
import re
import shutil
import socket
import threading

import pytest

import tunnel
from tunnel import connect, echo, exchange, http_get, http_hello, pump, receive_all, reset, wait, works


def test_pair_approve_and_curl(hosts):
    """The walk-through of the README, with what both operators read."""
    server = hosts.server()
    web = hosts.backend(http_hello)
    client = hosts.client(server, apps={"web": web.port})
    client.wait_waiting()

    request = wait(server.requests, "the request")[0]
    assert request["fingerprint"] == client.fingerprint
    assert request["name"] == "edge1"
    assert request["waiting"]
    # Both screens show the same short code.
    code = request["pairing_code"]
    assert re.fullmatch(r"([A-Z2-7]{4}-){3}[A-Z2-7]{4}", code)
    assert code in client.log()
    assert f"wormhole requests accept {client.fingerprint}" in client.log()
    assert server.fact("fingerprint") in client.log()
    assert server.apps() == []

    server.cli("requests", "accept", client.fingerprint)
    client.wait_connected()
    port = server.app_port("edge1", "web")
    assert server.range[0] <= port <= server.range[1]
    assert http_get(port, "/x") == (200, b"hello from /x\n")
    assert server.requests() == []
    row = server.app("edge1", "web")
    assert row["endpoint"] == f"127.0.0.1:{port}"
    client.wait_log(rf"app web\s+127\.0\.0\.1:{web.port}\s+->\s+127\.0\.0\.1:{port} on the server")

    # Who decided is in the audit, and the chain of it is whole.
    rows = server.json("audit", "list")
    accepted = [r for r in rows if r["action"] == "accept"]
    assert len(accepted) == 1 and accepted[0]["fingerprint"] == client.fingerprint
    assert f"uid={os.geteuid()}" in accepted[0]["actor"]
    server.cli("audit", "verify")

    assert client.stop() == 0
    assert server.stop() == 0


@pytest.mark.skipif(tunnel.SANITIZED, reason="a sanitizer build has no seccomp filters")
def test_every_process_is_in_its_cage(hosts):
    if not tunnel.AS_ROOT:
        pytest.skip("uids and chroot need root")
    server, client = hosts.pair({"web": hosts.backend(http_hello).port})
    for host in (server, client):
        rows = host.processes()
        assert {r["role"] for r in rows} >= {"supervisor", "crypto", "session"}
        for row in rows:
            assert row["no_new_privs"] and row["seccomp"].startswith("filter"), row
            if row["role"] == "supervisor":
                continue
            assert row["uid"] != 0, row
            assert row["capabilities"] == "none" and row["capabilities_bounding"] == "none", row


def test_traffic_both_ways_unchanged(hosts):
    server, _ = hosts.pair({"echo": hosts.backend(echo).port})
    port = server.app_port("edge1", "echo")
    pump(port, 48 << 20)
    for size in (0, 1, 7, 4096, 32767, 32768, 32769, 300001):
        data = os.urandom(size)
        assert exchange(port, data) == data
    wait(lambda: server.app("edge1", "echo")["bytes_in"] >= 48 << 20 and
         server.app("edge1", "echo")["bytes_out"] >= 48 << 20, "the figures of the app")


def test_half_close_by_the_user(hosts):
    seen = []

    def answer_after_end(connection):
        seen.append(receive_all(connection))
        connection.sendall(b"answer " * 1000)
        connection.shutdown(socket.SHUT_WR)

    server, _ = hosts.pair({"app": hosts.backend(answer_after_end).port})
    assert exchange(server.app_port("edge1", "app"), b"question " * 5000) == b"answer " * 1000
    assert seen == [b"question " * 5000]


def test_half_close_by_the_app(hosts):
    done = threading.Event()
    seen = []

    def speak_then_listen(connection):
        connection.sendall(b"first words")
        connection.shutdown(socket.SHUT_WR)
        seen.append(receive_all(connection))
        done.set()

    server, _ = hosts.pair({"app": hosts.backend(speak_then_listen).port})
    with connect(server.app_port("edge1", "app")) as user:
        assert receive_all(user) == b"first words"
        # The app's direction is over; ours is not.
        user.sendall(b"x" * 700000)
        user.shutdown(socket.SHUT_WR)
        assert done.wait(tunnel.PATIENCE)
    assert seen == [b"x" * 700000]


def test_reset_by_the_user_reaches_the_app(hosts):
    seen = []
    ready = threading.Event()

    def listen(connection):
        connection.sendall(b"ready")
        try:
            while connection.recv(4096):
                ready.set()
            seen.append("end")
        except ConnectionResetError:
            seen.append("reset")

    server, _ = hosts.pair({"app": hosts.backend(listen).port})
    user = connect(server.app_port("edge1", "app"))
    assert user.recv(100) == b"ready"
    user.sendall(b"something")
    assert ready.wait(tunnel.PATIENCE)
    reset(user)
    wait(lambda: seen, "the end at the app")
    assert seen == ["reset"]


def test_reset_by_the_app_reaches_the_user(hosts):
    def rude(connection):
        connection.recv(100)
        reset(connection)

    server, _ = hosts.pair({"app": hosts.backend(rude).port})
    with connect(server.app_port("edge1", "app")) as user:
        user.sendall(b"hello")
        with pytest.raises(ConnectionResetError):
            receive_all(user)


def test_an_app_that_is_down_refuses_at_once(hosts):
    closed = tunnel.free_port()
    server, _ = hosts.pair({"down": closed, "up": hosts.backend(echo).port})
    port = server.app_port("edge1", "down")
    for _ in range(5):
        with pytest.raises(ConnectionResetError), connect(port) as user:
            user.recv(1)
    wait(lambda: server.app("edge1", "down")["refused"] >= 5, "the count of refusals")
    assert works(server.app_port("edge1", "up"))
    # The app comes up: the very next connection works, nobody has to reconnect.
    hosts.backend(echo, port=closed)
    assert works(port)


def test_a_slow_reader_beside_others(hosts):
    """A stream that nobody reads holds its window and no more; the others do not feel it."""
    stop = threading.Event()

    def flood(connection):
        block = b"z" * 65536
        while not stop.is_set():
            connection.sendall(block)

    server, client = hosts.pair({"flood": hosts.backend(flood).port, "echo": hosts.backend(echo).port})
    port = server.app_port("edge1", "echo")
    stuck = [connect(server.app_port("edge1", "flood")) for _ in range(4)]
    try:
        for user in stuck:
            assert user.recv(1000)  # it flows, and then nobody reads any more
        pump(port, 24 << 20)
        for _ in range(20):
            assert works(port)
        for host in (server, client):
            for row in host.processes("session"):
                assert row["rss_kib"] < 128 << 10, row  # four windows of 8 MiB at most, and the rest
    finally:
        stop.set()
        for user in stuck:
            reset(user)
    assert works(port)


def test_many_parallel_streams(hosts):
    server, _ = hosts.pair({"echo": hosts.backend(echo).port})
    port = server.app_port("edge1", "echo")
    users = [connect(port) for _ in range(500)]
    try:
        for number, user in enumerate(users):
            user.sendall(b"%d:" % number + b"q" * (number * 13))
        wait(lambda: server.app("edge1", "echo")["streams"] == 500, "500 open streams")
        for number, user in enumerate(users):
            user.shutdown(socket.SHUT_WR)
        for number, user in enumerate(users):
            assert receive_all(user) == b"%d:" % number + b"q" * (number * 13)
    finally:
        for user in users:
            user.close()
    wait(lambda: server.app("edge1", "echo")["streams"] == 0, "no stream left")
    assert server.app("edge1", "echo")["streams_total"] >= 500


def test_an_app_on_ipv6(hosts):
    if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6") or not os.path.getsize("/proc/net/if_inet6"):
        pytest.skip("no IPv6 on this machine")
    backend = hosts.backend(echo, host="::1")
    server, _ = hosts.pair({"six": f"[::1]:{backend.port}"})
    assert works(server.app_port("edge1", "six"))


def test_several_connections_share_the_listeners(hosts):
    server, client = hosts.pair({"echo": hosts.backend(echo).port}, client_flags=["--connections", "3"])
    wait(lambda: len(client.processes("session")) == 3, "three sessions")
    port = server.app_port("edge1", "echo")
    wait(lambda: server.peers()[0]["connections"] == 3, "three connections at the server")
    users = [connect(port) for _ in range(60)]
    for user in users:
        user.sendall(b"hello")
    for user in users:
        assert user.recv(10) == b"hello"
        user.close()
    assert len([a for a in server.apps() if a["app"] == "echo"]) == 1


def test_declined_and_let_in_later(hosts):
    server = hosts.server()
    client = hosts.client(server, apps={"web": hosts.backend(http_hello).port})
    client.wait_waiting()
    wait(server.requests, "the request")
    server.cli("requests", "decline", client.fingerprint)
    client.wait_log(r"declined this key: an operator declined it")
    assert server.requests() == []
    # It keeps asking, seldom; a restart asks now, and is still refused without bothering anybody.
    client.stop()
    client.start()
    client.wait_log(r"declined this key: an operator declined it", times=2)
    assert server.requests() == []
    server.cli("peers", "preapprove", client.fingerprint, "--name", "edge1")
    client.stop()
    client.start()
    client.wait_connected()
    assert http_get(server.app_port("edge1", "web"))[0] == 200


def test_revoking_ends_everything_at_once(hosts):
    server, client = hosts.pair({"echo": hosts.backend(echo).port})
    port = server.app_port("edge1", "echo")
    with connect(port) as user:
        user.sendall(b"hello")
        assert user.recv(10) == b"hello"
        server.cli("peers", "revoke", "edge1")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while user.recv(100):
                pass
            raise ConnectionResetError("a clean end would look like a complete answer")
    assert server.apps() == []
    with pytest.raises(ConnectionRefusedError):
        connect(port)
    client.wait_log("its approval was revoked")
    assert [p["status"] for p in server.peers()] == ["revoked"]


def test_the_dummy_acceptor_is_loud(hosts):
    server = hosts.server("--acceptor", "dummy")
    server.wait_log("EVERY CLIENT IS APPROVED WITHOUT ASKING")
    client = hosts.client(server, apps={"web": hosts.backend(http_hello).port})
    client.wait_connected()
    assert http_get(server.app_port("edge1", "web"))[0] == 200
    accepted = [r for r in server.json("audit", "list") if r["action"] == "accept"]
    assert [r["actor_kind"] for r in accepted] == ["dummy"]


def test_preapproved_by_configuration(hosts):
    server = hosts.server()
    probe = hosts.client(server, apps={"web": hosts.backend(http_hello).port}, name="edge7")
    fingerprint = probe.fingerprint
    probe.stop()
    server.stop()
    other = hosts.server("--preapproved", f"{fingerprint}=edge7", name="other")
    client = hosts.client(other, name="edge7", apps={"web": hosts.backend(http_hello).port}, state=probe.state)
    client.wait_connected()
    assert http_get(other.app_port("edge7", "web"))[0] == 200
    assert other.requests() == []


def test_another_server_identity_is_refused(hosts):
    """The key of the server changes: the client that knows it does not talk to the new one, and says why."""
    server, client = hosts.pair({"web": hosts.backend(http_hello).port})
    port = server.port
    server.stop()
    shutil.rmtree(os.path.join(server.state, "identity"))
    server.argv[server.argv.index("--port") + 1] = str(port)
    server.start()
    server.wait_ready()
    client.wait_log("is NOT the one that this client knows")
    assert "known_server" in client.log()
    assert client.process.poll() is None
    assert server.fact("connections_open") in (0, "0")


def test_a_pinned_server(hosts):
    server = hosts.server()
    right = server.fact("fingerprint")
    wrong = "SHA256:" + "A" * 43
    backend = hosts.backend(http_hello)
    bad = hosts.client(server, "--server-fingerprint", wrong, name="bad", apps={"web": backend.port})
    bad.wait_log("is NOT the one that this client knows")
    assert server.requests() == []  # the name and key were not even shown to it
    good = hosts.client(server, "--server-fingerprint", right, name="good", apps={"web": backend.port})
    server.accept(good)
    good.wait_connected()


def test_two_clients_do_not_meet(hosts):
    server = hosts.server()
    one = hosts.client(server, name="one", apps={"web": hosts.backend(lambda c: c.sendall(b"one")).port})
    two = hosts.client(server, name="two", apps={"web": hosts.backend(lambda c: c.sendall(b"two")).port})
    for client in (one, two):
        server.accept(client)
        client.wait_connected()
    ports = {name: server.app_port(name, "web") for name in ("one", "two")}
    assert len(set(ports.values())) == 2
    for name, port in ports.items():
        with connect(port) as user:
            assert receive_all(user) == name.encode()
    assert json.loads(server.cli("apps", "--peer", "one", "--output", "json"))[0]["peer"] == "one"
