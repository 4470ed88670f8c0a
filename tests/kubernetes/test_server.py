# SPDX-License-Identifier: Apache-2.0
"""
Server side against a real API server, with exactly the rights that the chart gives: what a mirrored Service looks
like, who owns a name, what is adopted, repaired, swept, and that nothing of anybody else is ever touched.
"""
import pytest

import k8sworker
from cluster import ApiError, Cluster, missing, wait_for

REASON = missing("KUBE_APISERVER", "ETCD", "HELM", "KUBECTL")
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))
PREFIX = "wormhole.glothriel.github.com/"


class Home:
    """A namespace as the chart leaves it: accounts, roles, the server's own Service."""

    def __init__(self, cluster, namespace, release="hub", policies=False):
        self.cluster, self.namespace, self.policies = cluster, namespace, policies
        cluster.namespace(namespace)
        values = ["server.enabled=true"] + (["networkPolicies.enabled=true"] if policies else [])
        self.account = cluster.chart_rbac(release, namespace, *values)
        self.owner = f"wormhole-{release}-server"
        cluster.service(namespace, self.owner, ports=((8080, "tunnel"),))
        self.labels = f"application=wormhole-{release}-server"
        self.config = cluster.write_kubeconfig(f"{namespace}.yaml", cluster.token(namespace, self.account))

    def worker(self, **setup):
        fields = dict(namespace=self.namespace, labels=self.labels, owner_name=self.owner,
                      network_policies=int(self.policies))
        fields.update(setup)
        return k8sworker.server(self.config, **fields)

    def services(self):
        """{name: Service} of what is mirrored here."""
        found = self.cluster.items(f"/api/v1/namespaces/{self.namespace}/services")
        return {s["metadata"]["name"]: s for s in found if s["metadata"]["name"] != self.owner}

    def policy_names(self):
        found = self.cluster.items(f"/apis/networking.k8s.io/v1/namespaces/{self.namespace}/networkpolicies")
        return {p["metadata"]["name"] for p in found}

    def wait_services(self, *names):
        wait_for(lambda: f"Services {names}; have {sorted(self.services())}",
                 lambda: set(self.services()) == set(names))
        return self.services()


@pytest.fixture(scope="module")
def cluster():
    c = Cluster()
    yield c
    c.stop()


@pytest.fixture
def home(cluster, request):
    return Home(cluster, "s" + str(abs(hash(request.node.name)))[:8])


@pytest.fixture
def policed(cluster, request):
    return Home(cluster, "p" + str(abs(hash(request.node.name)))[:8], policies=True)


def test_what_a_mirrored_service_looks_like(home):
    with home.worker() as w:
        w.mirror("edge1", "default-web", 80, 30007, "http")
        m = w.wait_mirrored("edge1", "default-web")
        assert m.endpoint == f"edge1-default-web.{home.namespace}:80"
        service = home.wait_services("edge1-default-web")["edge1-default-web"]
        w.wait_state(lambda s: s.objects == 1 and s.ready)
    meta, spec = service["metadata"], service["spec"]
    assert meta["labels"]["app.kubernetes.io/managed-by"] == "wormhole"
    assert len(meta["labels"][PREFIX + "instance"]) == 16
    assert len(meta["labels"][PREFIX + "peer"]) == len(meta["labels"][PREFIX + "app"]) == 16
    assert meta["annotations"] == {PREFIX + "peer-name": "edge1", PREFIX + "app-name": "default-web"}
    port, = spec["ports"]
    assert port == {"name": "tcp", "protocol": "TCP", "port": 80, "targetPort": 30007, "appProtocol": "http"}
    assert spec["selector"] == {"application": "wormhole-hub-server"}
    assert spec["type"] == "ClusterIP" and spec["publishNotReadyAddresses"] is True
    owner, = meta["ownerReferences"]
    real = home.cluster.request("GET", f"/api/v1/namespaces/{home.namespace}/services/{home.owner}")
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Service", home.owner, real["metadata"]["uid"])


def test_change_repair_and_withdrawal(home):
    with home.worker() as w:
        w.mirror("edge1", "web", 80, 30007)
        w.wait_mirrored("edge1", "web")
        before = home.services()["edge1-web"]
        w.mirror("edge1", "web", 8080, 30008)  # another port: the old one must not stay beside it
        wait_for(lambda: str(home.services()["edge1-web"]["spec"]), lambda: [
            (p["port"], p["targetPort"]) for p in home.services()["edge1-web"]["spec"]["ports"]] == [(8080, 30008)])
        wait_for("the new endpoint is told", lambda: w.mirrored["edge1", "web"].endpoint.endswith(":8080"))
        after = home.services()["edge1-web"]
        assert after["metadata"]["uid"] == before["metadata"]["uid"], "changed in place: the address stays"
        assert after["spec"]["clusterIP"] == before["spec"]["clusterIP"]
        # Somebody edits it, somebody deletes it: it comes back as it was.
        home.cluster.request("PATCH", f"/api/v1/namespaces/{home.namespace}/services/edge1-web",
                             {"spec": {"selector": {"application": None, "evil": "pod"}},
                              "metadata": {"labels": {"someone": "else"}}},
                             content_type="application/merge-patch+json")
        wait_for(lambda: str(home.services()), lambda: home.services()["edge1-web"]["spec"]["selector"] == {
            "application": "wormhole-hub-server"})
        assert home.services()["edge1-web"]["metadata"]["labels"]["someone"] == "else"
        home.cluster.delete_service(home.namespace, "edge1-web")
        wait_for("it is made again", lambda: "edge1-web" in home.services())
        w.unmirror("edge1", "web")
        home.wait_services()


def test_one_api_call_per_change(home):
    with home.worker() as w:
        w.wait_synced()
        calls = w.state.api_calls
        for i in range(10):
            w.mirror("edge1", f"app{i}", 80, 30000 + i)
        for i in range(10):
            w.wait_mirrored("edge1", f"app{i}")
        w.wait_state(lambda s: s.objects == 10)
        assert w.state.api_calls == calls + 10
        w.unmirror("edge1", "app3")
        home.wait_services(*[f"edge1-app{i}" for i in range(10) if i != 3])
        w.wait_state(lambda s: s.api_calls > calls + 10)
        assert w.state.api_calls == calls + 11


def test_two_peers_with_the_same_app(home):
    with home.worker() as w:
        w.mirror("edge1", "web", 80, 30001)
        w.mirror("edge2", "web", 80, 30002)
        home.wait_services("edge1-web", "edge2-web")
        w.unmirror("edge1", "web")
        home.wait_services("edge2-web")


def test_names_that_collide(home):
    """a-b + c and a + b-c are one plain name: the first owner keeps it, over restarts too."""
    with home.worker() as w:
        w.mirror("a-b", "c", 80, 30001)
        assert w.wait_mirrored("a-b", "c").endpoint == f"a-b-c.{home.namespace}:80"
        w.mirror("a", "b-c", 80, 30002)
        second = w.wait_mirrored("a", "b-c").endpoint
        assert second.startswith("a-b-c-") and len(second.split(".")[0]) == len("a-b-c-") + 8
        names = set(home.services())
        uids = {n: s["metadata"]["uid"] for n, s in home.services().items()}
    with home.worker() as w:  # the other way round, after a restart
        w.mirror("a", "b-c", 80, 30002)
        assert w.wait_mirrored("a", "b-c").endpoint == second
        w.mirror("a-b", "c", 80, 30001)
        assert w.wait_mirrored("a-b", "c").endpoint == f"a-b-c.{home.namespace}:80"
        w.sweep()
        assert {n: s["metadata"]["uid"] for n, s in home.wait_services(*names).items()} == uids


def test_long_and_odd_names(home):
    with home.worker() as w:
        w.mirror("e" * 40, "a" * 40, 80, 30001)
        w.mirror("1edge", "web", 80, 30002)
        long_name = w.wait_mirrored("e" * 40, "a" * 40).endpoint.split(".")[0]
        odd_name = w.wait_mirrored("1edge", "web").endpoint.split(".")[0]
        assert len(long_name) == 63 and long_name.startswith("e" * 40 + "-a")
        assert odd_name.startswith("w-1edge-web-")
        service = home.wait_services(long_name, odd_name)[long_name]
        assert service["metadata"]["annotations"][PREFIX + "app-name"] == "a" * 40
        w.mirror("Edge_1", "web", 80, 30003)
        assert "cannot be mirrored" in w.wait_mirrored("Edge_1", "web", done=False).text
        w.mirror("edge1", "fine", 80, 30004)
        w.wait_mirrored("edge1", "fine")


def test_a_users_service_is_left_alone(home):
    mine = home.cluster.service(home.namespace, "edge1-web", ports=((1234, "mine"),))
    with home.worker() as w:
        w.mirror("edge1", "web", 80, 30001)
        endpoint = w.wait_mirrored("edge1", "web").endpoint
        assert endpoint.startswith("edge1-web-")
        name = endpoint.split(".")[0]
        home.wait_services("edge1-web", name)
        text = wait_for("an Event on the user's Service",
                        lambda: home.cluster.events(home.namespace, "edge1-web", "NameTaken"))[0]["message"]
        assert "left alone" in text
        w.unmirror("edge1", "web")
        home.wait_services("edge1-web")
        w.sweep()
        w.mirror("edge1", "marker", 80, 30002)
        w.wait_mirrored("edge1", "marker")
    now = home.services()["edge1-web"]
    assert now["metadata"]["resourceVersion"] == mine["metadata"]["resourceVersion"], "untouched, to the letter"


def test_labels_alone_do_not_make_it_ours(home):
    """Another wormhole's Service (other instance) in the same namespace is somebody else's."""
    with home.worker(instance="blue") as blue:
        blue.mirror("edge1", "web", 80, 30001)
        blue.wait_mirrored("edge1", "web")
        with home.worker(instance="green") as green:
            green.sweep()
            green.mirror("edge1", "web", 80, 30002)
            assert green.wait_mirrored("edge1", "web").endpoint.startswith("edge1-web-")
        assert home.services()["edge1-web"]["spec"]["ports"][0]["targetPort"] == 30001


def test_left_overs_of_a_crash(home):
    """kill -9: what was mirrored is adopted by the next life; what nobody wants any more goes, but not before the sweep."""
    with home.worker() as w:
        for i in range(4):
            w.mirror("edge1", f"app{i}", 80, 30000 + i)
        for i in range(4):
            w.wait_mirrored("edge1", f"app{i}")
    before = home.wait_services("edge1-app0", "edge1-app1", "edge1-app2", "edge1-app3")
    with home.worker() as w:
        w.mirror("edge1", "app0", 80, 30000)
        w.mirror("edge1", "app1", 80, 31111)
        w.wait_mirrored("edge1", "app0")
        w.wait_mirrored("edge1", "app1")
        assert len(home.services()) == 4, "the others' peers may still come back"
        w.sweep()
        after = home.wait_services("edge1-app0", "edge1-app1")
    for name in after:
        assert after[name]["metadata"]["uid"] == before[name]["metadata"]["uid"]
    assert after["edge1-app1"]["spec"]["ports"][0]["targetPort"] == 31111


def test_a_new_owner_is_taken_up(home):
    """Uninstalled and installed again: the Services must not go down with the owner of an earlier life."""
    with home.worker() as w:
        w.mirror("edge1", "web", 80, 30001)
        w.wait_mirrored("edge1", "web")
    home.cluster.delete_service(home.namespace, home.owner)
    fresh = home.cluster.service(home.namespace, home.owner, ports=((8080, "tunnel"),))
    with home.worker() as w:
        w.mirror("edge1", "web", 80, 30001)
        w.wait_mirrored("edge1", "web")
    owners = home.services()["edge1-web"]["metadata"]["ownerReferences"]
    assert [o["uid"] for o in owners] == [fresh["metadata"]["uid"]]


def test_without_its_owner_it_works_too(home):
    with home.worker(owner_name="wormhole-gone-server") as w:
        w.wait_log("will not go away with it")
        w.mirror("edge1", "web", 80, 30001)
        w.wait_mirrored("edge1", "web")
    assert "ownerReferences" not in home.services()["edge1-web"]["metadata"]


def test_network_policies(policed):
    own = {"wormhole-hub-server"}
    with policed.worker() as w:
        w.mirror("edge1", "default-web", 80, 30007)
        w.wait_mirrored("edge1", "default-web")
        policy = policed.cluster.request(
            "GET", f"/apis/networking.k8s.io/v1/namespaces/{policed.namespace}/networkpolicies/edge1-default-web")
        rule, = policy["spec"]["ingress"]
        assert policy["spec"]["podSelector"]["matchLabels"] == {"application": "wormhole-hub-server"}
        assert rule["ports"] == [{"protocol": "TCP", "port": 30007}]
        peer, = rule["from"]
        assert peer == {"namespaceSelector": {}, "podSelector": {"matchLabels": {
            PREFIX + "network-policy-consumes-app": "default-web"}}}
        w.mirror("edge1", "default-web", 80, 30009)
        wait_for("the policy follows the port", lambda: policed.cluster.request(
            "GET", f"/apis/networking.k8s.io/v1/namespaces/{policed.namespace}/networkpolicies/edge1-default-web"
        )["spec"]["ingress"][0]["ports"][0]["port"] == 30009)
        w.unmirror("edge1", "default-web")
        policed.wait_services()
        wait_for("the policy goes, too", lambda: not policed.policy_names() - own)


def test_policies_and_services_of_a_crash(policed):
    with policed.worker() as w:
        w.mirror("edge1", "web", 80, 30007)
        w.mirror("edge1", "shop", 80, 30008)
        w.wait_mirrored("edge1", "web")
        w.wait_mirrored("edge1", "shop")
    with policed.worker() as w:
        w.mirror("edge1", "shop", 80, 30008)
        w.wait_mirrored("edge1", "shop")
        w.sweep()
        policed.wait_services("edge1-shop")
        wait_for("the policy goes, too", lambda: "edge1-web" not in policed.policy_names())
        assert "edge1-shop" in policed.policy_names()


def test_rights_that_are_missing(home):
    """Without the right to create: reported, retried later, everything else goes on."""
    cluster = home.cluster
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{home.namespace}/roles/{home.owner}"
    rules = cluster.request("GET", role)["rules"]
    with home.worker() as w:
        w.mirror("edge1", "first", 80, 30001)
        w.wait_mirrored("edge1", "first")
        without = [{**r, "verbs": [v for v in r["verbs"] if v != "create"]} for r in rules if r["verbs"] != ["create"]]
        cluster.request("PATCH", role, {"rules": without}, content_type="application/merge-patch+json")

        def denied():
            try:
                cluster.request("POST", f"/api/v1/namespaces/{home.namespace}/services", {"metadata": {"name": "x"}},
                                token=cluster.token(home.namespace, home.account))
            except ApiError as e:
                return e.status == 403
        wait_for("the API server has learnt it", denied)
        w.mirror("edge1", "second", 80, 30002)
        assert "forbidden" in w.wait_mirrored("edge1", "second", done=False).text
        w.unmirror("edge1", "first")  # deleting is still allowed
        home.wait_services()


def test_the_chart_gives_no_verb_too_much(home, policed):
    for where, policies in ((home, False), (policed, True)):
        def can(verb, resource, namespace=where.namespace, config=where.config):
            answer = where.cluster.kubectl("auth", "can-i", verb, resource, "-n", namespace, check=False,
                                           kubeconfig=config)
            return answer.stdout.strip() == "yes"
        assert all(can(v, "services") for v in ("get", "list", "watch", "create", "patch", "delete"))
        assert not any(can(v, "services") for v in ("update", "deletecollection"))
        assert can("create", "events") and not can("list", "events")
        assert can("create", "networkpolicies") == policies
        assert not any(can(v, r) for v, r in (("get", "secrets"), ("list", "pods"), ("get", "deployments"),
                                              ("list", "endpoints"), ("create", "pods")))
        assert not can("list", "services", "default") and not can("create", "services", "kube-system")


@pytest.mark.skipif(missing("KUBE_CONTROLLER_MANAGER") is not None, reason=str(missing("KUBE_CONTROLLER_MANAGER")))
def test_uninstall_takes_them_along(cluster, policed):
    """The real garbage collector, after the owner (the chart's Service) is gone."""
    with policed.worker() as w:
        for i in range(3):
            w.mirror("edge1", f"app{i}", 80, 30000 + i)
        for i in range(3):
            w.wait_mirrored("edge1", f"app{i}")
    policed.wait_services("edge1-app0", "edge1-app1", "edge1-app2")
    cluster.start_garbage_collector()
    cluster.delete_service(policed.namespace, policed.owner)
    wait_for(lambda: f"nothing is left: {sorted(policed.services())}", lambda: not policed.services(), timeout=60)
    wait_for("no policy is left", lambda: not {n for n in policed.policy_names() if n.startswith("edge1-")}, 60)
