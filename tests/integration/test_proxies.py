# SPDX-License-Identifier: Apache-2.0
"""
What stands between a client and a server in the real world: nginx and HAProxy in front, with and without TLS, and HTTP
CONNECT proxies on the way out. And what answers there when it is no wormhole.
"""
import os
import re

import pytest

import proxies
import tunnel
from proxies import Authority, Front, Tinyproxy
from tunnel import Talk, echo, exchange, pump, wait, works

FRONTS = [pytest.param(kind, marks=pytest.mark.skipif(not proxies.program(kind), reason=f"{kind} is not installed"))
          for kind in ("nginx", "haproxy")]
needs_tinyproxy = pytest.mark.skipif(not proxies.program("tinyproxy"), reason="tinyproxy is not installed")


def connected(hosts, server, client):
    server.accept(client)
    client.wait_connected()
    return server.app_port("edge1", "echo")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("kind", FRONTS)
def test_behind_a_reverse_proxy(hosts, kind, tls):
    server = hosts.server()
    authority = Authority(hosts.directory("ca"))
    front = Front(hosts, kind, server.port, tls=authority.certificate(["IP:127.0.0.1"]) if tls else None)
    flags = ["--ca-file", authority.ca] if tls else []
    client = hosts.client(server, *flags, apps={"echo": hosts.backend(echo).port},
                          url=f"{'wss' if tls else 'ws'}://127.0.0.1:{front.port}/wh/tunnel")
    port = connected(hosts, server, client)
    pump(port, 16 << 20)
    data = os.urandom(100000)
    assert exchange(port, data) == data  # half-close inside the tunnel is none of the proxy's business
    front.restart()
    client.wait_connected(times=2)
    assert works(port)


@pytest.mark.parametrize("kind", FRONTS)
def test_a_proxy_that_cuts_idle_connections(hosts, kind):
    server = hosts.server()
    front = Front(hosts, kind, server.port, idle="1s")
    url = f"ws://127.0.0.1:{front.port}/wh/tunnel"
    # Pings keep the connection alive…
    client = hosts.client(server, "--ping-interval", "200ms", url=url, apps={"echo": hosts.backend(echo).port})
    port = connected(hosts, server, client)
    talk = Talk(port)
    session = client.pid_of("session")
    before = client.processes("session")[0]["uptime_ms"]
    wait(lambda: client.processes("session")[0]["uptime_ms"] > before + 3000, "three times the proxy's patience")
    assert talk.say()
    assert client.pid_of("session") == session
    talk.close()
    client.stop()
    # …and a client that does not ping comes back each time.
    lazy = hosts.client(server, "--ping-interval", "30m", "--dead-after", "1h", url=url, state=client.state,
                        apps={"echo": hosts.backend(echo).port})
    lazy.wait_connected(times=3)
    wait(lambda: works(port), "the app")


@pytest.mark.parametrize("kind", FRONTS)
def test_the_real_address_of_a_client_is_shown(hosts, kind):
    server = hosts.server("--trusted-proxies", "127.0.0.1", "--max-half-open-per-source", "1",
                          "--max-pending-per-source", "8")
    front = Front(hosts, kind, server.port)
    url = f"ws://127.0.0.1:{front.port}/wh/tunnel"
    backend = hosts.backend(echo).port
    clients = [hosts.client(server, url=url, name=f"edge{i}", apps={"echo": backend}) for i in range(3)]
    for client in clients:
        client.wait_waiting()
    rows = wait(lambda: len(server.requests()) == 3 and server.requests(), "three requests through one proxy")
    # The address that the proxy reports, without the proxy's own port.
    assert {r["remote"] for r in rows} == {"127.0.0.1"}
    direct = hosts.server(name="untrusting")
    front = Front(hosts, kind, direct.port)
    other = hosts.client(direct, url=f"ws://127.0.0.1:{front.port}/wh/tunnel", name="edge9", apps={"echo": backend})
    other.wait_waiting()
    assert re.fullmatch(r"127\.0\.0\.1:\d+", wait(direct.requests, "the request")[0]["remote"])


@pytest.mark.skipif(not proxies.program("nginx"), reason="nginx is not installed")
@pytest.mark.parametrize("case", ["unknown-ca", "system-store", "wrong-name", "expired", "no-tls"])
def test_a_wrong_certificate_is_refused(hosts, case):
    server = hosts.server()
    authority = Authority(hosts.directory("ca"))
    other = Authority(hosts.directory("other"), name="Other CA")
    names = ["DNS:elsewhere.test"] if case == "wrong-name" else ["IP:127.0.0.1"]
    certificate = authority.certificate(names, days=-1 if case == "expired" else 30)
    front = Front(hosts, "nginx", server.port, tls=None if case == "no-tls" else certificate)
    flags = {"unknown-ca": ["--ca-file", other.ca], "system-store": []}.get(case, ["--ca-file", authority.ca])
    client = hosts.client(server, *flags, apps={"echo": 1}, url=f"wss://127.0.0.1:{front.port}/wh/tunnel")
    # One clear line each time, and it keeps trying: the certificate may be replaced.
    client.wait_log(r"did not get in after \d+ s: TLS failed: \S+", times=2)
    assert server.requests() == []
    assert client.process.poll() is None


@pytest.mark.skipif(not proxies.program("nginx"), reason="nginx is not installed")
def test_what_answers_is_no_wormhole(hosts):
    server = hosts.server()
    front = Front(hosts, "nginx", server.port)
    base = f"ws://127.0.0.1:{front.port}"
    wrong = hosts.client(server, url=base + "/wh/other", name="wrong", apps={"echo": 1})
    wrong.wait_log(r"did not get in after \d+ s: the websocket upgrade failed: .*404")
    forbidden = hosts.client(server, url=base + "/forbidden/", name="forbidden", apps={"echo": 1})
    forbidden.wait_log(r"the websocket upgrade failed: .*403")
    no_http = hosts.backend(lambda c: c.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 50))
    ssh = hosts.client(server, url=f"ws://127.0.0.1:{no_http.port}/", name="ssh", apps={"echo": 1})
    ssh.wait_log(r"did not get in after \d+ s: the websocket upgrade failed")
    silent = hosts.backend(lambda c: c.recv(1) and tunnel.receive_all(c))
    mute = hosts.client(server, "--handshake-timeout", "600ms", url=f"ws://127.0.0.1:{silent.port}/", name="mute",
                        apps={"echo": 1})
    mute.wait_log(r"did not get in after \d+ s: the other end does not answer")
    for client in (wrong, forbidden, ssh, mute):
        assert client.process.poll() is None


@needs_tinyproxy
@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_out_through_a_connect_proxy(hosts, tls):
    server = hosts.server()
    authority = Authority(hosts.directory("ca"))
    target = server.port
    if tls:
        if not proxies.program("nginx"):
            pytest.skip("nginx is not installed")
        target = Front(hosts, "nginx", server.port, tls=authority.certificate(["IP:127.0.0.1"])).port
    proxy = Tinyproxy(hosts, credentials=("edge", "secret_word"))
    flags = ["--ca-file", authority.ca] if tls else []
    client = hosts.client(server, *flags, "--proxy", f"http://edge:secret%5Fword@127.0.0.1:{proxy.port}",
                          url=f"{'wss' if tls else 'ws'}://127.0.0.1:{target}/wh/tunnel",
                          apps={"echo": hosts.backend(echo).port})
    port = connected(hosts, server, client)
    pump(port, 8 << 20)
    assert proxy.tunnels() >= 1
    with open(f"/proc/{client.pid}/cmdline", "rb") as f:
        assert b"secret" in f.read()  # that is why there is a file for it
    assert "secret" not in client.log()


@needs_tinyproxy
def test_credentials_from_a_file_and_the_environment(hosts):
    server = hosts.server()
    proxy = Tinyproxy(hosts, credentials=("edge", "secret"))
    path = os.path.join(hosts.dir, "credentials")
    with open(path, "w", encoding="ascii") as f:
        f.write("edge:secret\n")
    # Loopback never takes the environment's proxy, so the server needs another name here.
    url = f"ws://{os.uname().nodename}:{server.port}/wh/tunnel"
    client = hosts.client(server, "--proxy-credentials-file", path, url=url, apps={"echo": hosts.backend(echo).port},
                          env={"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"})
    client.wait_log(r"(waiting for approval on the server|did not get in)")
    wait(lambda: proxy.tunnels() >= 1, "the proxy to be used")
    client.stop()
    excluded = hosts.client(server, "--proxy-credentials-file", path, url=url, name="direct",
                            apps={"echo": hosts.backend(echo).port}, env={
                                "HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": os.uname().nodename})
    before = proxy.tunnels()
    excluded.wait_log(r"(waiting for approval on the server|did not get in)")
    assert proxy.tunnels() == before


@needs_tinyproxy
def test_proxies_that_refuse(hosts):
    server = hosts.server()
    apps = {"echo": 1}
    closed = Tinyproxy(hosts, allowed_port=1)  # CONNECT to other ports: 403
    forbidden = hosts.client(server, "--proxy", f"http://127.0.0.1:{closed.port}", name="forbidden", apps=apps)
    forbidden.wait_log(r"did not get in after \d+ s: the proxy refused: .*403", times=2)
    asks = Tinyproxy(hosts, credentials=("edge", "secret"))
    nobody = hosts.client(server, "--proxy", f"http://127.0.0.1:{asks.port}", name="nobody", apps=apps)
    nobody.wait_log(r"did not get in after \d+ s: the proxy refused: .*40[17]")
    wrong = hosts.client(server, "--proxy", f"http://edge:wrong@127.0.0.1:{asks.port}", name="wrong", apps=apps)
    wrong.wait_log(r"did not get in after \d+ s: the proxy refused: .*40[17]")
    away = hosts.client(server, "--proxy", f"http://127.0.0.1:{tunnel.free_port()}", name="away", apps=apps)
    away.wait_log(r"did not get in after \d+ s: cannot connect: .*refused", times=2)
    for client in (forbidden, nobody, wrong, away):
        assert client.process.poll() is None
        assert "wrong@" not in client.log()
    assert server.requests() == []
