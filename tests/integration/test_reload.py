# SPDX-License-Identifier: Apache-2.0
"""
SIGHUP: what can change while running changes, and anything else leaves the old configuration in force with a message
that says what is wrong and where. It must not test the configuration reader itself: the unit tests do.
"""
import os
import re
import signal

import pytest

import tunnel
from tunnel import Talk, connect, echo, http_get, http_hello, wait, works


def write(path, text):
    """As an editor does: a new file in the place of the old one."""
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(path + ".new", path)


def reload(host, times=1):
    host.send_signal(signal.SIGHUP)
    host.wait_log("the configuration was read again", times)


@pytest.fixture
def configured(hosts):
    """A connected pair whose files can be changed: (server, server's file, client, client's file)."""
    directory = hosts.directory("etc")
    server_file, client_file = directory + "/server.yaml", directory + "/client.yaml"

    def make(server_text="{}\n", client_text="expose: []\n"):
        write(server_file, server_text)
        write(client_file, client_text)
        server = hosts.server("--config", server_file)
        client = hosts.client(server, "--config", client_file)
        server.accept(client)
        client.wait_connected()
        return server, server_file, client, client_file
    return make


def apps_yaml(**apps):
    return "expose:\n" + "".join(f"  - name: {name}\n    address: 127.0.0.1:{port}\n" for name, port in apps.items())


def test_apps_come_go_and_move(hosts, configured):
    one, two = hosts.backend(echo).port, hosts.backend(http_hello).port
    server, _, client, file = configured(client_text=apps_yaml(echo=one))
    port = server.app_port("edge1", "echo")
    talk = Talk(port)

    write(file, apps_yaml(echo=one, web=two))
    reload(client)
    assert http_get(server.app_port("edge1", "web"))[0] == 200
    assert talk.say()

    write(file, apps_yaml(web=two))
    reload(client, 2)
    wait(lambda: [a["app"] for a in server.apps()] == ["web"], "the end of echo")

    def refused():
        with pytest.raises(ConnectionRefusedError):
            connect(port).close()
        return True
    wait(refused, "a refused connection")
    assert talk.say()  # what runs, runs on

    # It comes back at another address, and has its port again.
    three = hosts.backend(echo).port
    write(file, apps_yaml(web=two, echo=three))
    reload(client, 3)
    assert server.app_port("edge1", "echo") == port
    assert works(port)
    four = hosts.backend(lambda c: c.sendall(b"moved")).port
    write(file, apps_yaml(web=two, echo=four))
    reload(client, 4)

    def moved():
        with connect(port) as user:
            return user.recv(10) == b"moved"
    wait(moved, "the moved app")
    assert server.app_port("edge1", "echo") == port
    assert client.count("connected to 127") == 1


def test_what_cannot_change_is_refused_as_a_whole(hosts, configured):
    backend = hosts.backend(echo).port
    server, file, client, client_file = configured(server_text="grace: 5s\n", client_text=apps_yaml(echo=backend))
    write(file, "grace: 7s\npath: /other\n")
    server.send_signal(signal.SIGHUP)
    server.wait_log(r"the configuration stays as it was: .*path")
    assert works(server.app_port("edge1", "echo"))
    # The client's side: the app list in the same file is not taken either.
    write(client_file, "connections: 3\n" + apps_yaml(echo=backend, more=backend))
    client.send_signal(signal.SIGHUP)
    client.wait_log(r"the configuration stays as it was: .*connections")
    assert [a["app"] for a in server.apps()] == ["echo"]


def test_errors_name_line_and_column(configured):
    server, file, _, _ = configured(server_text="grace: 5s\n")
    write(file, "grace: 5s\nport-range-min: 31000\nmax-pending: many\n")
    server.send_signal(signal.SIGHUP)
    server.wait_log(rf"the configuration stays as it was: {re.escape(file)}:3:\d+: max-pending")
    write(file, "grace: 5s\n  broken: [\n")
    server.send_signal(signal.SIGHUP)
    server.wait_log(rf"the configuration stays as it was: {re.escape(file)}:\d+:\d+: ", times=2)
    os.unlink(file)
    server.send_signal(signal.SIGHUP)
    server.wait_log("the configuration stays as it was: ", times=3)
    write(file, "grace: 9s\n")
    reload(server)


def test_the_log_level_reaches_every_worker(hosts, configured):
    closed = tunnel.free_port()
    server, file, _, _ = configured(client_text=apps_yaml(down=closed))
    port = server.app_port("edge1", "down")

    def refused():
        with pytest.raises(ConnectionResetError), connect(port) as user:
            user.recv(1)
        return True
    assert refused()
    write(file, "log-level: debug\n")
    reload(server)
    assert refused()
    server.wait_log(r"debug session\[\d+\].*: stream \d+ was refused by the other side")
    write(file, "log-level: error\n")
    server.send_signal(signal.SIGHUP)
    wait(lambda: server.fact("ready") == "yes", "the server")
    lines = server.log().count("\n")
    assert refused()
    assert http_get(server.admin_port, "/v1/requests")[0] == 200
    assert server.log().count("\n") == lines


def test_preapproved_keys_are_let_in(hosts, configured):
    server, file, _, _ = configured()
    backend = hosts.backend(http_hello).port
    newcomer = hosts.client(server, name="edge9", apps={"web": backend})
    newcomer.wait_waiting()
    wait(server.requests, "the request")
    write(file, f'preapproved: ["{newcomer.fingerprint}=edge9"]\n')
    reload(server)
    newcomer.wait_connected()
    assert http_get(server.app_port("edge9", "web"))[0] == 200


def test_the_port_range_holds_for_new_apps_only(hosts, configured):
    backend = hosts.backend(echo).port
    server, file, client, client_file = configured(client_text=apps_yaml(echo=backend))
    old = server.app_port("edge1", "echo")
    # The flags outweigh the file: take them out of the way as a restart would.
    server.stop()
    for flag in ("--port-range-min", "--port-range-max"):
        at = server.argv.index(flag)
        del server.argv[at:at + 2]
    low = server.range[0]
    at = server.argv.index("--port") + 1
    server.argv[at] = re.search(r"127\.0\.0\.1:(\d+), path", server.log()).group(1)
    write(file, f"port-range-min: {low}\nport-range-max: {low + 9}\n")
    server.start()
    server.wait_ready()
    client.wait_connected(times=2)
    assert server.app_port("edge1", "echo") == old
    write(file, f"port-range-min: {low + 50}\nport-range-max: {low + 59}\n")
    reload(server)
    write(client_file, apps_yaml(echo=backend, late=backend))
    reload(client)
    assert low + 50 <= server.app_port("edge1", "late") <= low + 59
    assert server.app_port("edge1", "echo") == old
    assert works(old)
