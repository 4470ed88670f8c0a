# SPDX-License-Identifier: Apache-2.0
"""
The whole path on real processes: a Service is annotated on API server A, appears on API server B, and a request to
its address there comes back from the service behind A. Then everything that may come between: unexposing, a client
that leaves, a revoked one, crashes of servers and workers, names that are taken. The accounts have exactly the
chart's rights. Only kube-proxy is played here: cluster addresses are real loopback addresses, and a forwarder does
what the Service's own specification says.
"""
import http.client
import json
import os
import select
import signal
import socket
import threading
import time

import pytest

import tunnel
from cluster import Cluster, missing, wait_for

REASON = missing("KUBE_APISERVER", "ETCD", "HELM", "KUBECTL")
if os.geteuid() != 0 and REASON is None:
    REASON = "needs root to listen on cluster addresses at port 80"
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))
NAMESPACE = "wormhole-server"
POD = {"application": "wormhole-whserver-server"}


class KubeProxy:
    """For one Service: listens on its cluster address and port, forwards to the target port of the pods it selects."""

    def __init__(self, service, pods):
        spec = service["spec"]
        assert spec["selector"].items() <= pods.items(), "the selector must match the server's pod"
        self.address = (spec["clusterIP"], spec["ports"][0]["port"])
        self.target = ("127.0.0.1", spec["ports"][0]["targetPort"])
        self.socket = socket.create_server(self.address)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                user, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.forward, args=(user,), daemon=True).start()

    def forward(self, user):
        try:
            with user, socket.create_connection(self.target) as pod:
                open_ends = {user: pod, pod: user}
                while open_ends:
                    for end in select.select(list(open_ends), [], [], 30)[0]:
                        data = end.recv(65536)
                        if data:
                            open_ends[end].sendall(data)
                        else:
                            open_ends.pop(end).shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.socket.close()


@pytest.fixture(scope="module")
def edge():
    c = Cluster("127.96.0.0/16")
    c.namespace("wormhole-client")
    account = c.chart_rbac("whclient", "wormhole-client", "client.enabled=true", "client.name=edge1")
    c.config = c.write_kubeconfig("client.yaml", c.token("wormhole-client", account))
    yield c
    c.stop()


@pytest.fixture(scope="module")
def hub():
    c = Cluster("127.97.0.0/16")
    c.namespace(NAMESPACE)
    account = c.chart_rbac("whserver", NAMESPACE, "server.enabled=true", "networkPolicies.enabled=true")
    c.service(NAMESPACE, "wormhole-whserver-server", ports=((8080, "tunnel"),))
    c.config = c.write_kubeconfig("server.yaml", c.token(NAMESPACE, account))
    yield c
    c.stop()


class World:
    """One server in front of `hub`, one client in `edge`, a namespace there with a real HTTP service."""

    def __init__(self, edge, hub, namespace):
        self.edge, self.hub, self.namespace = edge, hub, namespace
        self.hosts = tunnel.Hosts()
        self.proxies = []
        edge.namespace(namespace)

    def start_server(self, *flags, grace="2s"):
        self.server = self.hosts.server(
            "--kubernetes", "--kubeconfig", str(self.hub.config), "--kubernetes-namespace", NAMESPACE,
            "--kubernetes-labels", "application=wormhole-whserver-server",
            "--kubernetes-owner", "wormhole-whserver-server", "--network-policies", "--grace", grace, *flags)
        return self.server

    def start_client(self, *flags, name="edge1", accept=True, **options):
        client = self.hosts.client(self.server, "--kubernetes", "--kubeconfig", str(self.edge.config),
                                   "--kubernetes-namespaces", self.namespace, *flags, name=name, **options)
        if accept:
            self.server.accept(client)
            client.wait_connected()
        return client

    def web(self, name, port=80):
        """A Service in the edge cluster with somebody who really answers at its address."""
        service = self.edge.service(self.namespace, name, ports=((port, "http"),))
        backend = tunnel.Backend(tunnel.http_hello, host=service["spec"]["clusterIP"], port=port)
        self.hosts.backends.append(backend)
        return service

    def expose(self, service, /, **annotations):
        words = [f"wormhole.glothriel.github.com/{k}={v}" for k, v in {"exposed": "yes", **annotations}.items()]
        self.edge.kubectl("annotate", "--overwrite", "service", "-n", self.namespace, service, *words)

    def unexpose(self, name):
        self.edge.kubectl("annotate", "service", "-n", self.namespace, name, "wormhole.glothriel.github.com/exposed-")

    def mirrored(self):
        return {s["metadata"]["name"]: s for s in self.hub.items(f"/api/v1/namespaces/{NAMESPACE}/services")
                if s["metadata"]["name"].startswith("edge")}

    def wait_mirrored(self, *names, timeout=30):
        wait_for(lambda: f"Services {names}; have {sorted(self.mirrored())}\n{self.hosts.report()[-6000:]}",
                 lambda: set(self.mirrored()) == set(names), timeout)
        return self.mirrored()

    def get(self, service, path="/"):
        """An HTTP request to the Service's own address in the hub cluster."""
        proxy = KubeProxy(service, POD)
        try:
            connection = http.client.HTTPConnection(*proxy.address, timeout=20)
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            proxy.close()

    def works(self, service, path="/again"):
        def answered():
            try:
                return self.get(service, path) == b"hello from " + path.encode() + b"\n"
            except (OSError, http.client.HTTPException):
                return False
        wait_for(lambda: f"an answer through {service['metadata']['name']}\n{self.hosts.report()[-6000:]}", answered, 30)

    def close(self):
        self.hosts.close()
        self.hosts.remove()
        for service in self.edge.items(f"/api/v1/namespaces/{self.namespace}/services"):
            self.edge.delete_service(self.namespace, service["metadata"]["name"])
        for name in self.mirrored():
            self.hub.delete_service(NAMESPACE, name)


@pytest.fixture
def world(edge, hub, request):
    w = World(edge, hub, "w" + str(abs(hash(request.node.name)))[:8])
    yield w
    w.close()


def test_annotate_use_unexpose(world):
    """The main job."""
    world.web("web")
    server = world.start_server()
    client = world.start_client()
    name = f"edge1-{world.namespace}-web"
    assert world.mirrored() == {}
    world.expose("web")
    began = time.monotonic()
    service = world.wait_mirrored(name)[name]
    took = time.monotonic() - began
    assert world.get(service, "/hello") == b"hello from /hello\n"
    print(f"\n=== SHOW ===\nKubernetes, end to end\n  annotated on one cluster until mirrored on the other  {took * 1000:.0f} ms\n"
          "=== END SHOW ===")

    # Operators see it under the address that it has in the cluster.
    endpoint = f"{name}.{NAMESPACE}:80"
    row = wait_for("the endpoint in wormhole apps",
                   lambda: next((a for a in server.apps() if a["endpoint"] == endpoint), None))
    assert (row["peer"], row["app"]) == ("edge1", f"{world.namespace}-web")
    connection = http.client.HTTPConnection("127.0.0.1", server.admin_port, timeout=20)
    connection.request("GET", "/v1/apps")
    listed = json.loads(connection.getresponse().read())
    assert {k: listed[0][k] for k in ("app", "endpoint", "peer")} == {
        "app": f"{world.namespace}-web", "endpoint": endpoint, "peer": "edge1"}
    policies = world.hub.items(f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies")
    assert name in {p["metadata"]["name"] for p in policies}

    wait_for("a line in the server's status", lambda: server.fact("kubernetes").startswith("in step, 1 mirrored"))
    wait_for("a line in the client's status", lambda: client.fact("kubernetes").startswith("in step, 1 exposed"))

    world.unexpose("web")
    world.wait_mirrored()
    wait_for("nothing is listed", lambda: server.apps() == [])
    wait_for("no policy is left", lambda: not [
        p for p in world.hub.items(f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies")
        if p["metadata"]["name"] == name])


def test_change_of_name_and_port(world):
    world.web("web")
    world.start_server()
    world.start_client()
    world.expose("web", name="shop")
    world.works(world.wait_mirrored("edge1-shop")["edge1-shop"])
    world.expose("web", name="store")
    world.works(world.wait_mirrored("edge1-store")["edge1-store"])
    world.edge.delete_service(world.namespace, "web")
    world.wait_mirrored()


def test_client_leaves_and_comes_back(world):
    world.web("web")
    world.expose("web")
    world.start_server(grace="1s")
    client = world.start_client()
    name = f"edge1-{world.namespace}-web"
    world.works(world.wait_mirrored(name)[name])
    client.kill()
    world.wait_mirrored()  # after the grace period
    client.start()
    world.works(world.wait_mirrored(name)[name])


def test_revoked_client_loses_its_services_at_once(world):
    world.web("web")
    world.expose("web")
    server = world.start_server(grace="10m")
    world.start_client()
    name = f"edge1-{world.namespace}-web"
    world.wait_mirrored(name)
    server.cli("peers", "revoke", "edge1")
    world.wait_mirrored(timeout=20)


def test_two_clients_with_the_same_app(world):
    world.web("web")
    world.expose("web", name="shop")
    world.start_server()
    world.start_client()
    world.start_client(name="edge2")
    services = world.wait_mirrored("edge1-shop", "edge2-shop")
    for service in services.values():
        world.works(service)


def test_server_crash_adopts_and_sweeps(world):
    """kill -9 of the server and of everything it started; meanwhile one Service is unexposed."""
    world.web("web")
    world.web("old")
    world.expose("web")
    world.expose("old")
    server = world.start_server(grace="4s")
    world.start_client()
    keep, gone = f"edge1-{world.namespace}-web", f"edge1-{world.namespace}-old"
    before = world.wait_mirrored(keep, gone)
    port = server.port
    server.kill()
    world.unexpose("old")
    server.argv[server.argv.index("--port") + 1] = str(port)
    server.start()
    after = world.wait_mirrored(keep)
    assert after[keep]["metadata"]["uid"] == before[keep]["metadata"]["uid"], "adopted, not made anew"
    assert after[keep]["spec"]["clusterIP"] == before[keep]["spec"]["clusterIP"]
    world.works(after[keep])


@pytest.mark.parametrize("side", ["server", "client"])
def test_kubernetes_worker_dies(world, side):
    world.web("web")
    world.web("next")
    world.expose("web")
    server = world.start_server()
    client = world.start_client()
    name = f"edge1-{world.namespace}-web"
    before = world.wait_mirrored(name)
    {"server": server, "client": client}[side].kill_worker("k8s", signal.SIGKILL)
    world.works(before[name])
    world.expose("next")
    after = world.wait_mirrored(name, f"edge1-{world.namespace}-next")
    assert after[name]["metadata"]["uid"] == before[name]["metadata"]["uid"]
    world.works(after[f"edge1-{world.namespace}-next"])
    # What changed while nobody watched is found by the new worker's list.
    victim = {"server": server, "client": client}[side]
    pid = tunnel.wait(lambda: victim.pid_of("k8s"), "the new worker")
    os.kill(pid, signal.SIGSTOP)
    world.unexpose("web")
    os.kill(pid, signal.SIGKILL)
    world.wait_mirrored(f"edge1-{world.namespace}-next")


def test_name_of_the_clients_own_configuration_wins(world):
    world.web("web")
    world.start_server()
    backend = world.hosts.backend(tunnel.http_hello)
    client = world.start_client(apps={"shop": backend.port})
    world.wait_mirrored("edge1-shop")
    world.expose("web", name="shop")
    event = wait_for("an Event", lambda: world.edge.events(world.namespace, "web", "NameTaken"))[0]
    assert "own configuration" in event["message"]
    world.expose("web", name="shop2")
    world.works(world.wait_mirrored("edge1-shop", "edge1-shop2")["edge1-shop2"])
    assert client.fact("kubernetes")


def test_refused_by_the_server_is_an_event(world):
    world.web("one")
    world.web("two")
    world.start_server("--max-apps-per-peer", "1")
    world.start_client()
    world.expose("one")
    world.wait_mirrored(f"edge1-{world.namespace}-one")
    world.expose("two")
    event = wait_for("an Event", lambda: world.edge.events(world.namespace, "two", "RefusedByServer"))[0]
    assert "too many apps" in event["message"]


def test_users_own_service_is_left_alone(world):
    world.web("web")
    mine = world.hub.service(NAMESPACE, "edge1-shop", ports=((1234, "mine"),))
    server = world.start_server()
    world.start_client()
    world.expose("web", name="shop")
    row = wait_for("the endpoint", lambda: next((a for a in server.apps() if "edge1-shop-" in a["endpoint"]), None))
    name = row["endpoint"].split(".")[0]
    world.works(world.wait_mirrored("edge1-shop", name)[name])
    now = world.mirrored()["edge1-shop"]
    assert now["metadata"]["resourceVersion"] == mine["metadata"]["resourceVersion"]


def test_bad_configuration_ends_with_a_clear_line(world):
    """Outside of a cluster and without a kubeconfig; with one that asks for a plugin."""
    for flags, text in (
            ([], "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set"),
            (["--kubeconfig", "/nonexistent/config"], "/nonexistent/config"),
            (["--kubeconfig", str(world.edge.config), "--kubernetes-context", "moon"], 'no entry "moon"')):
        env = {"KUBERNETES_SERVICE_HOST": "", "KUBERNETES_SERVICE_PORT": ""}
        server = world.hosts.server("--kubernetes", *flags, ready=False, env=env, name=f"bad{len(flags)}")
        assert server.wait_exit() == 78
        assert text in server.log()
