# SPDX-License-Identifier: Apache-2.0
"""
Nobody ever has to reconnect by hand: server restarts, client restarts, every worker killed in turn, links that die
without a word, connections that arrive meanwhile. It must not test first pairing or refusals: other files do.
"""
import os
import signal
import socket
import subprocess

import pytest

import network
import tunnel
from tunnel import Talk, Wire, connect, echo, http_get, http_hello, receive_all, wait, works

QUICK = ["--ping-interval", "250ms", "--dead-after", "1500ms"]


@pytest.fixture
def wire(hosts):
    wires = []

    def make(port):
        wires.append(Wire(port))
        hosts.cleanups.append(wires[-1].close)
        return wires[-1]
    return make


def test_the_server_is_restarted(hosts):
    server, client = hosts.pair({"echo": hosts.backend(echo).port})
    port = server.app_port("edge1", "echo")
    server.restart()
    assert server.app_port("edge1", "echo") == port
    assert works(port)
    client.wait_connected(times=2)
    assert client.count(r"waiting for approval on the server") == 1  # nobody was asked again


def test_the_server_is_killed(hosts):
    server, client = hosts.pair({"echo": hosts.backend(echo).port})
    port = server.app_port("edge1", "echo")
    for number in (2, 3):
        server.argv[server.argv.index("--port") + 1] = str(server.port)
        workers = [p["pid"] for p in server.processes() if p["role"] != "supervisor"]
        server.kill()
        # No worker outlives its supervisor.
        wait(lambda pids=workers: not any(tunnel.alive(pid) for pid in pids), "the end of all workers")
        server.start()
        server.wait_ready()
        client.wait_connected(times=number)
        assert server.app_port("edge1", "echo") == port
        assert works(port)
    server.cli("audit", "verify")


def test_the_client_is_restarted(hosts):
    server, client = hosts.pair({"echo": hosts.backend(echo).port})
    port = server.app_port("edge1", "echo")
    client.stop()
    client.start()
    wait(lambda: works(port), "the app after the restart")
    client.kill()
    client.start()
    wait(lambda: works(port), "the app after the kill")
    assert server.app_port("edge1", "echo") == port


def test_new_connections_wait_while_the_client_is_away(hosts):
    server, client = hosts.pair({"web": hosts.backend(http_hello).port}, server_flags=["--grace", "10m"])
    port = server.app_port("edge1", "web")
    client.stop()
    wait(lambda: not server.app("edge1", "web")["connected"], "the client to be gone")
    early = [connect(port) for _ in range(20)]  # accepted by nobody yet
    for number, user in enumerate(early):
        user.sendall(b"GET /%d HTTP/1.0\r\n\r\n" % number)
    assert "waiting for the client" in server.app("edge1", "web")["state"]
    client.start()
    for number, user in enumerate(early):
        assert receive_all(user).endswith(b"hello from /%d\n" % number)
        user.close()


def test_after_the_grace_period_the_port_is_closed_and_kept(hosts):
    server, client = hosts.pair({"web": hosts.backend(http_hello).port}, server_flags=["--grace", "200ms"])
    port = server.app_port("edge1", "web")
    client.stop()
    server.wait_log("did not come back in time")

    def refused():
        with pytest.raises(ConnectionRefusedError):
            connect(port).close()
        return True
    wait(refused, "a refused connection")
    assert server.apps() == []
    # Nobody else gets the port meanwhile.
    other = hosts.client(server, name="edge2", apps={"web": hosts.backend(http_hello).port})
    server.accept(other)
    assert server.app_port("edge2", "web") != port
    client.start()
    assert server.app_port("edge1", "web") == port
    assert http_get(port)[0] == 200


@pytest.mark.parametrize("side", ["server", "client"])
def test_a_session_is_killed(hosts, side):
    server, client = hosts.pair({"echo": hosts.backend(echo).port})
    port = server.app_port("edge1", "echo")
    talk = Talk(port)
    (server if side == "server" else client).kill_worker("session")
    talk.wait_end()  # never a clean end that looks like a whole answer, and never a hang
    client.wait_connected(times=2)
    assert works(port)
    assert server.app_port("edge1", "echo") == port


@pytest.mark.parametrize("side", ["server", "client"])
def test_crypto_is_killed_and_live_streams_go_on(hosts, side):
    server, client = hosts.pair({"echo": hosts.backend(echo).port})
    host = server if side == "server" else client
    port = server.app_port("edge1", "echo")
    talk = Talk(port)
    session = host.pid_of("session")
    old = host.kill_worker("crypto")
    wait(lambda: host.pid_of("crypto") != old, "a new crypto worker")
    assert talk.say()
    assert works(port)
    assert host.pid_of("session") == session
    # And the new one works: a fresh connection is shaken hands with.
    wait(lambda: host.fact("ready") == "yes", "readiness")
    client.kill_worker("session")
    client.wait_connected(times=2)
    assert works(port)


def test_the_dialer_is_killed_and_live_streams_go_on(hosts):
    server, client = hosts.pair({"echo": hosts.backend(echo).port})
    port = server.app_port("edge1", "echo")
    talk = Talk(port)
    for _ in range(3):
        old = client.kill_worker("dialer")
        wait(lambda pid=old: client.pid_of("dialer") != pid, "a new dialer")
        wait(lambda: works(port), "new streams")
        assert talk.say()
    assert client.count("connected to 127") == 1


def test_the_admin_worker_is_killed(hosts):
    server, _ = hosts.pair({"web": hosts.backend(http_hello).port})
    admin = server.admin_port
    assert http_get(admin, "/v1/requests")[0] == 200
    old = server.kill_worker("admin")
    wait(lambda: server.pid_of("admin") != old, "a new admin worker")
    wait(lambda: http_get(admin, "/v1/requests")[0] == 200, "the API on the same port")
    assert http_get(server.app_port("edge1", "web"))[0] == 200
    assert [p["restarts"] for p in server.processes("admin")] == [1]


def test_a_stuck_worker_is_noticed_by_the_other_end(hosts):
    """SIGSTOP is a hang: nothing is closed, nothing answers."""
    server, client = hosts.pair({"echo": hosts.backend(echo).port}, server_flags=QUICK, client_flags=QUICK)
    port = server.app_port("edge1", "echo")
    stuck = server.kill_worker("session", signal.SIGSTOP)
    client.wait_connected(times=2)
    wait(lambda: works(port), "the app on the new connection")
    wait(lambda: not tunnel.alive(stuck), "the end of the stuck session")


def test_a_link_dies_without_a_word(hosts, wire):
    server = hosts.server(*QUICK, "--grace", "10m")
    cable = wire(server.port)
    client = hosts.client(server, *QUICK, url=f"ws://127.0.0.1:{cable.port}/wh/tunnel",
                          apps={"echo": hosts.backend(echo).port})
    server.accept(client)
    client.wait_connected()
    port = server.app_port("edge1", "echo")
    talk = Talk(port)
    cable.cut()
    talk.wait_end()
    waiting = connect(port)
    waiting.sendall(b"patience")
    wait(lambda: client.fact("connection") != "connected", "the client to notice")
    cable.mend()
    client.wait_connected(times=2)
    waiting.shutdown(socket.SHUT_WR)
    assert receive_all(waiting) == b"patience"
    assert works(port)


def test_packets_vanish_in_the_network(hosts):
    """The same with a real network in between: a namespace whose packets are dropped."""
    far = network.FarNetwork(hosts)
    server = hosts.server(*QUICK, "--grace", "10m", "--host", far.address)
    backend = hosts.spawn("backend", [*far.prefix, tunnel.BIN + "/wormhole", "testserver", "--host",
                                      "127.0.0.1", "--port", "1234", "--response", "from the edge"])
    client = hosts.client(server, *QUICK, url=f"ws://{far.address}:{server.port}/wh/tunnel",
                          apps={"web": "127.0.0.1:1234"}, prefix=far.prefix)
    server.accept(client)
    client.wait_connected()
    port = server.app_port("edge1", "web")
    wait(lambda: b"from the edge" in http_get(port)[1], "the app in the namespace")
    # The cable is pulled: the interface goes down on the far side, and no end hears of it.
    far.ip("link", "set", "eth0", "down")
    wait(lambda: not server.app("edge1", "web")["connected"], "the server to notice")
    wait(lambda: client.fact("connection") != "connected", "the client to notice")
    far.ip("link", "set", "eth0", "up")
    client.wait_connected(times=2)
    assert b"from the edge" in http_get(port)[1]
    assert backend.process.poll() is None


def test_the_same_client_on_a_new_connection_replaces_the_old(hosts):
    """The old process hangs with its connection open; its successor must not wait for any timeout."""
    server, client = hosts.pair({"echo": hosts.backend(echo).port}, server_flags=["--dead-after", "1h"])
    port = server.app_port("edge1", "echo")
    frozen = [p["pid"] for p in client.processes()]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    copy = hosts.directory("copy")  # the same key on another machine, as after a failover
    subprocess.run(["cp", "-a", os.path.join(client.state, "keys"), copy], check=True)
    again = hosts.client(server, apps={"echo": hosts.backend(echo).port}, state=copy)
    again.wait_connected()
    assert works(port)
    server.wait_log("edge1 came back on connection 2, which replaces 1")
    wait(lambda: server.peers()[0]["connections"] == 1, "one connection")
    for pid in frozen:
        os.kill(pid, signal.SIGKILL)


def test_one_of_several_connections_ends(hosts):
    server, client = hosts.pair({"echo": hosts.backend(echo).port}, client_flags=["--connections", "3"])
    wait(lambda: server.peers()[0]["connections"] == 3, "three connections")
    port = server.app_port("edge1", "echo")
    victim = server.processes("session")[0]["pid"]
    os.kill(victim, signal.SIGTERM)  # workers do not listen to it
    assert works(port)
    os.kill(victim, signal.SIGKILL)
    for _ in range(50):
        assert works(port)
    client.wait_connected(times=4)
    wait(lambda: server.peers()[0]["connections"] == 3, "three connections again")


def test_the_server_moves_to_another_address(hosts):
    """Changed DNS: the name is looked up again for every connection."""
    if not tunnel.AS_ROOT:
        pytest.skip("mount namespaces need root")
    names = os.path.join(hosts.dir, "hosts")

    def point(address):
        with open(names, "w", encoding="ascii") as f:
            f.write(f"127.0.0.1 localhost\n{address} hub.test\n")
    point("127.0.0.1")
    prefix = ["unshare", "-m", "sh", "-c", f'mount --bind {names} /etc/hosts && exec "$@"', "sh"]
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine cannot make mount namespaces")
    server = hosts.server("--host", "127.0.0.1")
    port = server.port
    client = hosts.client(server, url=f"ws://hub.test:{port}/wh/tunnel", apps={"echo": hosts.backend(echo).port},
                          prefix=prefix)
    server.accept(client)
    client.wait_connected()
    app = server.app_port("edge1", "echo")
    server.stop()
    point("127.0.0.3")
    moved = hosts.server("--host", "127.0.0.3", port=port, state=server.state, ranges=server.range[0], name="moved")
    client.wait_connected(times=2)
    assert moved.app_port("edge1", "echo") == app
    assert works(app)


def test_a_drain_lets_running_streams_finish(hosts):
    server, client = hosts.pair({"echo": hosts.backend(echo).port}, client_flags=["--drain-time", "10m"])
    port = server.app_port("edge1", "echo")
    talk = Talk(port)
    client.send_signal(signal.SIGTERM)
    client.wait_log("ending, running streams have")
    for _ in range(5):
        assert talk.say()
    assert client.process.poll() is None
    talk.close()
    assert client.wait_exit() == 0


def test_a_second_signal_ends_at_once(hosts):
    server, client = hosts.pair({"echo": hosts.backend(echo).port}, client_flags=["--drain-time", "10m"])
    talk = Talk(server.app_port("edge1", "echo"))
    client.send_signal(signal.SIGTERM)
    client.wait_log("ending, running streams have")
    client.send_signal(signal.SIGTERM)
    assert client.wait_exit() == 0
    talk.wait_end()


def test_a_server_drain_too(hosts):
    server, client = hosts.pair({"echo": hosts.backend(echo).port}, server_flags=["--drain-time", "10m"])
    talk = Talk(server.app_port("edge1", "echo"))
    server.send_signal(signal.SIGTERM)
    server.wait_log("ending, running streams have")
    for _ in range(5):
        assert talk.say()
    talk.close()
    assert server.wait_exit() == 0
    assert client.process.poll() is None


def test_clients_wait_longer_each_time(hosts):
    """Back-off: against a server that is away the pauses grow to the maximum, and never end."""
    port = tunnel.free_port()
    server = hosts.server(port=port)
    client = hosts.client(server, "--reconnect-min", "50ms", "--reconnect-max", "400ms",
                          apps={"echo": hosts.backend(echo).port})
    server.accept(client)
    client.wait_connected()
    server.stop()
    client.wait_log(r"connecting again in", times=6)
    server.start()
    server.wait_ready()
    client.wait_connected(times=2)
