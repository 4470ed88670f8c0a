# SPDX-License-Identifier: Apache-2.0
"""
Names of clients and apps: who may carry one, what a second claimant meets, and which port belongs to whom. It must not
test the pairing itself.
"""
import subprocess

from tunnel import BIN, connect, http_get, receive_all, wait


def says(text):
    return lambda connection: connection.sendall(text)


def read(port):
    with connect(port) as user:
        return receive_all(user)


def test_a_second_key_never_takes_over_a_name(hosts):
    server, first = hosts.pair({"web": hosts.backend(says(b"first")).port})
    port = server.app_port("edge1", "web")
    second = hosts.client(server, apps={"web": hosts.backend(says(b"second")).port}, name="edge1")
    second.wait_waiting()
    request = wait(server.requests, "the second request")[0]
    assert request["fingerprint"] == second.fingerprint
    assert "belongs to another approved key" in request["warning"]
    assert first.fingerprint in request["warning"]
    server.wait_log("WARNING: the name \"edge1\" belongs to another approved key")

    refused = server.cli("requests", "accept", second.fingerprint, check=False)
    assert refused.returncode == 1
    assert "edge1" in refused.stderr
    assert read(port) == b"first"
    assert [p["fingerprint"] for p in server.peers() if p["status"] == "approved"] == [first.fingerprint]

    # The operator decides: the old key goes, the new one may carry the name, on a port of its own.
    server.cli("peers", "revoke", first.fingerprint)
    server.cli("requests", "accept", second.fingerprint)
    second.wait_connected()
    other = server.app_port("edge1", "web")
    assert other != port
    assert read(other) == b"second"


def test_a_client_that_changes_its_name_keeps_the_approved_one(hosts):
    server, client = hosts.pair({"web": hosts.backend(says(b"x")).port})
    port = server.app_port("edge1", "web")
    client.stop()
    client.argv[client.argv.index("--name") + 1] = "other"
    client.start()
    client.wait_connected(times=2)
    server.wait_log('calls itself "other" now; it stays "edge1"')
    assert server.app_port("edge1", "web") == port
    assert read(port) == b"x"


def test_two_apps_of_one_name_are_refused(hosts):
    done = subprocess.run([BIN + "/wormhole", "join", "--expose", "name=web,address=127.0.0.1:1", "--expose",
                           "name=web,address=127.0.0.1:2"], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode in (64, 78)
    assert "web" in done.stderr


def test_names_that_are_not_labels_are_refused(hosts):
    for name in ("Edge", "a.b", "-a", "x" * 64, "a b", "ä"):
        done = subprocess.run([BIN + "/wormhole", "join", "--name", name], capture_output=True, text=True, check=False,
                              timeout=30)
        assert done.returncode == 64, name
        assert "--name" in done.stderr
        assert len(done.stderr.strip().splitlines()) <= 2


def test_the_same_app_name_of_two_clients(hosts):
    server = hosts.server()
    clients = {}
    for name in ("edge1", "edge2"):
        clients[name] = hosts.client(server, name=name, apps={"web": hosts.backend(says(name.encode())).port})
        server.accept(clients[name])
    ports = {name: server.app_port(name, "web") for name in clients}
    assert len(set(ports.values())) == 2
    # Both leave and come back in the other order: each gets its own port.
    for client in clients.values():
        client.stop()
    server.restart()
    for name in ("edge2", "edge1"):
        clients[name].start()
        clients[name].wait_connected(times=2)
    for name, port in ports.items():
        assert server.app_port(name, "web") == port
        assert read(port) == name.encode()


def test_a_range_that_is_full_says_so_to_both(hosts):
    server = hosts.server()
    low = server.range[0]
    server.stop()
    server.argv[server.argv.index("--port-range-max") + 1] = str(low + 1)
    server.start()
    server.wait_ready()
    backend = hosts.backend(says(b"x")).port
    client = hosts.client(server, apps={"a": backend, "b": backend, "c": backend})
    server.accept(client)
    client.wait_log("the server refuses app \"c\": the server has no port for it")
    server.wait_log(f"no free port in {low}-{low + 1}")
    assert read(server.app_port("edge1", "a")) == b"x"
    assert read(server.app_port("edge1", "b")) == b"x"


def test_too_many_apps(hosts):
    server = hosts.server("--max-apps-per-peer", "2")
    backend = hosts.backend(says(b"x")).port
    client = hosts.client(server, apps={"a": backend, "b": backend, "c": backend})
    server.accept(client)
    client.wait_log("the server refuses app \"c\": too many apps")
    assert {a["app"] for a in server.apps()} == {"a", "b"}


def test_the_admin_api_shows_the_documented_fields(hosts):
    server, _ = hosts.pair({"web": hosts.backend(says(b"x")).port})
    port = server.app_port("edge1", "web")
    status, body = http_get(server.admin_port, "/v1/apps")
    assert status == 200
    assert b'"app":"web"' in body.replace(b" ", b"")
    assert f'"endpoint":"127.0.0.1:{port}"'.encode() in body.replace(b" ", b"")
    assert b'"peer":"edge1"' in body.replace(b" ", b"")
