# SPDX-License-Identifier: Apache-2.0
"""
The HTTP admin API on real processes: every route, who may use it, web pages that must not, and clients that do not
behave. What the database does under it is test_audit's business.
"""
import http.client
import os
import re
import signal
import socket
import subprocess

import pytest

import tunnel
from adminapi import METRICS, call, metrics_port, raw, scrape
from tunnel import echo, http_get, http_hello, wait, works

UNKNOWN = "SHA256:" + "A" * 43
TOKEN = "a-token-of-more-than-16"


def token_file(hosts, text=TOKEN + "\n", mode=0o600):
    path = os.path.join(hosts.dir, "token")
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def refuses(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=tunnel.PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def test_the_whole_way(hosts):
    """Request, approval, app, revocation, as a script with curl would do it."""
    server = hosts.server()
    port = server.admin_port
    assert call(port, "GET", "/v1/apps").json == []
    assert call(port, "GET", "/v1/requests").json == []
    web = hosts.backend(http_hello)
    client = hosts.client(server, apps={"web": web.port})
    fingerprint = client.fingerprint
    wait(lambda: call(port, "GET", "/v1/requests").json == [fingerprint], "the request")
    request = call(port, "GET", "/v2/requests").json[0]
    assert request["fingerprint"] == fingerprint
    assert request["name"] == "edge1"
    assert request["remote"].startswith("127.0.0.1:")
    assert 0 < request["first_seen"] <= request["last_seen"]
    assert request["waiting"] is True and request["bits"] == 2048
    assert request["pairing_code"] in client.log()

    answer = call(port, "POST", "/v1/requests/" + fingerprint.replace(":", "%3a"))
    assert answer.status == 204 and answer.body == b""
    client.wait_connected()
    app = wait(lambda: call(port, "GET", "/v1/apps").json, "the app")[0]
    app_port = server.app_port("edge1", "web")
    assert list(app)[:3] == ["app", "endpoint", "peer"]
    assert (app["app"], app["endpoint"], app["peer"]) == ("web", f"127.0.0.1:{app_port}", "edge1")
    assert http_get(app_port)[0] == 200
    assert call(port, "GET", "/v1/apps?peer=edge1").json[0]["port"] == app_port
    assert call(port, "GET", "/v1/apps?peer=edge2").json == []
    assert call(port, "GET", "/v1/requests").json == []

    again = call(port, "POST", "/v1/requests/" + fingerprint)
    assert again.status == 409 and "already" in again.json["error"]
    declined = call(port, "DELETE", "/v1/requests/" + fingerprint)
    assert declined.status == 409 and "approved" in declined.json["error"]
    peer = call(port, "GET", "/v2/peers").json[0]
    assert (peer["name"], peer["status"], peer["connections"], peer["apps"]) == ("edge1", "approved", 1, 1)

    assert call(port, "DELETE", "/v2/peers/edge1").status == 204
    wait(lambda: call(port, "GET", "/v1/apps").json == [], "the end of the app")
    assert call(port, "GET", "/v2/peers").json[0]["status"] == "revoked"
    wait(lambda: refuses(app_port), "the end of the port")

    rows = call(port, "GET", "/v2/audit").json
    done = [(r["action"], r["actor_kind"]) for r in rows if r["fingerprint"] == fingerprint]
    assert [d for d in done if d[0] in ("request", "accept", "revoke")] == [
        ("request", "peer"), ("accept", "admin"), ("revoke", "admin")]
    accept = next(r for r in rows if r["action"] == "accept")
    assert accept["remote"].startswith("127.0.0.1:") and accept["actor"] == "no token is set"
    assert server.json("audit", "list")[-1]["seq"] >= rows[-1]["seq"]


def test_decline(hosts):
    server = hosts.server()
    port = server.admin_port
    client = hosts.client(server)
    fingerprint = client.fingerprint
    wait(lambda: call(port, "GET", "/v1/requests").json, "the request")
    assert call(port, "DELETE", "/v1/requests/" + fingerprint).status == 204
    assert call(port, "GET", "/v1/requests").json == []
    client.wait_log(r"(?i)declined")
    # A second thought is possible.
    assert call(port, "POST", "/v1/requests/" + fingerprint).status == 204


def test_unknown_and_wrong(hosts):
    server = hosts.server()
    port = server.admin_port
    for method, path, status in [
            ("POST", "/v1/requests/" + UNKNOWN, 404), ("DELETE", "/v1/requests/" + UNKNOWN, 404),
            ("POST", "/v1/requests/SHA256:AAAAAAAAAAAA", 404), ("POST", "/v1/requests/x%2fy", 404),
            ("DELETE", "/v2/peers/nobody", 404), ("GET", "/", 404), ("GET", "/v1", 404), ("GET", "/v1/apps/", 404),
            ("GET", "/v3/apps", 404), ("GET", "/metrics", 404), ("GET", "/v1/apps/../requests", 404),
            ("GET", "/v2/audit?after=x", 400), ("GET", "/v2/audit?after=-1", 400), ("GET", "/v2/audit?limit=0", 400),
            ("GET", "/v2/audit?limit=10001", 400), ("GET", "/v2/audit?after=1&after=2", 400), ("GET", "/%zz", 400)]:
        answer = call(port, method, path)
        assert (path, answer.status) == (path, status)
        assert set(answer.json) == {"error"} and answer.json["error"]
    for method, path, allow in [
            ("POST", "/v1/apps", "GET, HEAD"), ("PUT", "/v1/requests", "GET, HEAD"), ("DELETE", "/v2/status", "GET, HEAD"),
            ("GET", "/v1/requests/" + UNKNOWN, "POST, DELETE"), ("PATCH", "/v2/peers/x", "DELETE"),
            ("OPTIONS", "/v1/apps", "GET, HEAD")]:
        answer = call(port, method, path)
        assert (path, answer.status, answer.headers["Allow"]) == (path, 405, allow)
    for path in ["/v1/apps", "/v2/audit", "/v2/status"]:
        answer = call(port, "HEAD", path)
        assert answer.status == 200 and answer.body == b""
    assert [a["name"] for a in server.peers()] == []


def test_token(hosts):
    server = hosts.server("--admin-token-file", token_file(hosts), global_flags=METRICS)
    port = server.admin_port
    client = hosts.client(server)
    wait(lambda: call(port, "GET", "/v1/requests").json, "the request")  # reading needs none on loopback
    path = "/v1/requests/" + client.fingerprint
    for token in [None, "wrong", TOKEN + "x", TOKEN[:-1], "x" * 256]:
        answer = call(port, "POST", path, token=token)
        assert answer.status == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
    assert call(port, "POST", path, headers={"Authorization": "Basic " + TOKEN}).status == 401
    assert call(port, "POST", path, token="x" * 300).status == 401
    assert call(port, "DELETE", "/v2/peers/edge1").status == 401
    assert call(port, "GET", "/v1/requests").json == [client.fingerprint]
    denied = scrape(metrics_port(server)).get("wormhole_admin_denied_total")
    assert denied == 6  # what was malformed never got as far as a question
    assert call(port, "POST", path, token=TOKEN).status == 204
    client.wait_connected()
    accept = next(r for r in call(port, "GET", "/v2/audit").json if r["action"] == "accept")
    assert (accept["actor_kind"], accept["actor"]) == ("admin", "token")
    # The token is nowhere to be read.
    assert TOKEN not in server.log()
    for process in server.processes():
        with open(f"/proc/{process['pid']}/cmdline", "rb") as f:
            assert TOKEN.encode() not in f.read()


def memory_has(pid, text):
    """Is the text anywhere in the writable memory of this process?"""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line)
            start, end = int(match[1], 16), int(match[2], 16)
            if "w" not in match[3] or "[v" in line or end - start > 1 << 28:  # a sanitizer's shadow is terabytes
                continue
            memory.seek(start)
            try:
                if text in memory.read(end - start):
                    return True
            except OSError:
                continue
    return False


@pytest.mark.skipif(not tunnel.AS_ROOT, reason="reading a process's memory needs root")
def test_token_is_not_kept(hosts):
    """Neither the process that knows the token nor the one that passes it on still has it afterwards."""
    server = hosts.server("--admin-token-file", token_file(hosts))
    port = server.admin_port
    assert call(port, "POST", "/v1/requests/" + UNKNOWN, token=TOKEN).status == 404
    assert call(port, "GET", "/v1/requests", token=TOKEN).status == 200
    assert call(port, "GET", "/v1/requests").status == 200
    for role in ("supervisor", "admin"):
        pid = server.pid_of(role)
        assert memory_has(pid, b"wormhole")  # the search itself works
        assert not memory_has(pid, TOKEN.encode()), role


def test_not_on_loopback(hosts):
    """Anywhere else a token is a must, and then also for reading; web names are fine there."""
    refused = hosts.server("--admin-host", "0.0.0.0", ready=False)
    assert refused.wait_exit() in (64, 78)
    assert "admin-token-file" in refused.log()
    server = hosts.server("--admin-host", "0.0.0.0", "--admin-token-file", token_file(hosts), name="open",
                          global_flags=METRICS)
    port = server.admin_port
    for path in ["/v1/apps", "/v1/requests", "/v2/requests", "/v2/peers", "/v2/audit", "/v2/status"]:
        assert call(port, "GET", path).status == 401
        assert call(port, "GET", path, token="wrong").status == 401
        answer = call(port, "GET", path, token=TOKEN, headers={"Host": "admin.example.org"})
        assert answer.status == 200 and answer.json is not None
    # What a probe or a scraper asks is no secret.
    assert call(metrics_port(server), "GET", "/readyz").status == 200


def test_bad_token_files(hosts):
    for number, (text, mode, words) in enumerate([
            ("short\n", 0o600, "at least 16"), (TOKEN, 0o644, "everybody may read"), (TOKEN + " x", 0o600, "blank")]):
        server = hosts.server("--admin-token-file", token_file(hosts, text, mode), name=f"bad{number}", ready=False)
        assert server.wait_exit() == 78
        assert words in server.log()
        assert TOKEN not in server.log()


def test_web_pages(hosts):
    """A page in a browser on the operator's machine can neither change nor read anything."""
    server = hosts.server()
    port = server.admin_port
    client = hosts.client(server)
    wait(lambda: call(port, "GET", "/v1/requests").json, "the request")
    path = "/v1/requests/" + client.fingerprint
    for headers in [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": f"http://localhost:{port}"},
                    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}]:
        answer = call(port, "POST", path, headers=headers)
        assert answer.status == 403 and "Origin" in answer.json["error"]
    for name in ["evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "0.0.0.0", "localhost.evil", "192.0.2.1"]:
        assert call(port, "GET", "/v1/requests", headers={"Host": name}).status == 421
        assert call(port, "POST", path, headers={"Host": name}).status == 421
    assert raw(port, f"GET http://evil.example/v1/apps HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
               .encode()).startswith(b"HTTP/1.1 421 ")
    for name in ["localhost", "LOCALHOST:1", "127.0.0.1", "127.1.2.3:99", "[::1]", "[::1]:8081"]:
        assert call(port, "GET", "/v1/requests", headers={"Host": name}).status == 200
    preflight = call(port, "OPTIONS", path, headers={"Origin": "http://evil.example",
                                                     "Access-Control-Request-Method": "POST"})
    assert preflight.status == 405
    assert not [h for h in preflight.headers if h.lower().startswith("access-control")]
    assert call(port, "GET", "/v1/requests").json == [client.fingerprint]


def test_hostile_bytes(hosts):
    server = hosts.server()
    port = server.admin_port
    for data, status in [
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400), (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400), (b"GET / HTTP/9\r\nHost: a\r\n\r\n", 505),
            (b"POST /v1/apps HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n\r\n", 413),
            (b"POST /v1/apps HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 9000, 431),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 80 + b"\r\n", 431)]:
        answer = raw(port, data)
        assert answer.startswith(b"HTTP/1.1 %d " % status), (data[:60], answer[:60])
        assert answer.count(b"HTTP/1.1 ") == 1 or b"spoken here" in answer
    # A body that hides a second request is a body.
    smuggled = b"POST /v1/requests/" + UNKNOWN.encode() + b" HTTP/1.1\r\nHost: a"
    answer = raw(port, b"POST /v1/apps HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
                 % len(smuggled) + smuggled)
    assert answer.count(b"HTTP/1.1 ") == 1 and answer.startswith(b"HTTP/1.1 405 ")
    assert call(port, "GET", "/v1/apps").json == []
    assert len(server.processes("admin")) == 1 and server.processes("admin")[0]["restarts"] == 0


def test_connections_are_bounded_and_shared(hosts):
    """Hundreds of silent connections do not keep an operator out, and cost no memory to speak of."""
    server = hosts.server()
    port = server.admin_port
    assert call(port, "GET", "/v1/apps").status == 200
    before = server.processes("admin")[0]
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
    for connection in silent[::2]:
        connection.sendall(b"GET /v1/apps HTTP/1.1\r\nHo")
    for _ in range(5):
        assert call(port, "GET", "/v1/apps").status == 200
    during = server.processes("admin")[0]
    assert during["descriptors"] < 100
    assert during["rss_kib"] - before["rss_kib"] < 8192
    for connection in silent:
        connection.close()
    wait(lambda: server.processes("admin")[0]["descriptors"] <= before["descriptors"] + 1, "the end of the silent ones")


def test_keep_alive_and_pipelining(hosts):
    server = hosts.server()
    port = server.admin_port
    connection = http.client.HTTPConnection("localhost", port, timeout=tunnel.PATIENCE)
    local = None
    for path in ["/v1/apps", "/nothing", "/v2/status", "/v1/requests"]:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == (404 if path == "/nothing" else 200)
        assert local in (None, connection.sock.getsockname())
        local = connection.sock.getsockname()
    connection.close()
    one = b"GET /v2/audit HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = raw(port, one * 50 + b"GET /v1/apps HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 51
    assert answer.endswith(b"0\r\n\r\n")
    # Old clients get an answer that ends with the connection.
    answer = raw(port, b"GET /v1/apps HTTP/1.0\r\n\r\n")
    assert b"chunked" not in answer and answer.endswith(b"\r\n\r\n[]\n")


def test_admin_worker_is_killed(hosts):
    """Its port stays, a request that comes meanwhile waits, and nothing else notices."""
    backend = hosts.backend(echo)
    server, _ = hosts.pair({"echo": backend.port})
    app_port = server.app_port("edge1", "echo")
    port = server.admin_port
    for number in (signal.SIGKILL, signal.SIGSEGV):
        old = server.pid_of("admin")
        with tunnel.connect(app_port) as held:
            held.sendall(b"before")
            assert held.recv(6) == b"before"
            os.kill(old, number)
            assert [a["app"] for a in call(port, "GET", "/v1/apps").json] == ["echo"]
            assert server.pid_of("admin") != old
            held.sendall(b"after")
            assert held.recv(5) == b"after"
    assert server.processes("admin")[0]["restarts"] == 2


def test_stopped_supervisor(hosts):
    """A supervisor that does not answer gives an honest error, not a hang."""
    server = hosts.server(global_flags=METRICS)
    port, probe = server.admin_port, metrics_port(server)
    assert call(port, "GET", "/v1/apps").status == 200
    server.send_signal(signal.SIGSTOP)
    try:
        answer = call(probe, "GET", "/healthz")
        assert answer.status == 503 and "in time" in answer.json["error"]
    finally:
        server.send_signal(signal.SIGCONT)
    assert wait(lambda: call(probe, "GET", "/healthz").status == 200, "health")
    assert call(port, "GET", "/v1/apps").json == []


def test_many_apps_are_paged(hosts):
    """More apps than a page of questions holds: none is missing, none comes twice, in the list and in the metrics."""
    count = 300
    backend = hosts.backend(echo)
    server = hosts.server("--port-use-range=false", "--max-apps-per-peer", "400", global_flags=METRICS)
    client = hosts.client(server, apps={f"app{i:03}": backend.port for i in range(count)})
    server.accept(client)
    port = server.admin_port
    apps = wait(lambda: (a := call(port, "GET", "/v1/apps").json) and len(a) == count and a, "all apps")
    assert sorted(a["app"] for a in apps) == [f"app{i:03}" for i in range(count)]
    assert len({a["port"] for a in apps}) == count
    assert works(apps[-1]["port"])
    metrics = scrape(metrics_port(server))
    assert metrics.get("wormhole_apps") == count
    for name in ["wormhole_app_connected", "wormhole_app_streams", "wormhole_app_streams_total",
                 "wormhole_app_streams_refused_total"]:
        assert len(metrics.series(name)) == count
    assert len(metrics.series("wormhole_app_bytes_total")) == 2 * count
    assert len(server.apps()) == count


def test_curl(hosts):
    """The documented commands, word for word."""
    server = hosts.server("--admin-token-file", token_file(hosts))
    client = hosts.client(server)
    base = f"http://localhost:{server.admin_port}"
    wait(lambda: call(server.admin_port, "GET", "/v1/requests").json, "the request")

    def curl(*args):
        return subprocess.run(["curl", "-sS", "--max-time", "20", *args], capture_output=True, text=True, check=True,
                              env={k: v for k, v in os.environ.items() if "proxy" not in k.lower()}).stdout
    assert curl(f"{base}/v1/requests") == f'["{client.fingerprint}"]\n'
    code = curl("-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", "-H", f"Authorization: Bearer {TOKEN}",
                f"{base}/v1/requests/{client.fingerprint}")
    assert code == "204"
    client.wait_connected()
