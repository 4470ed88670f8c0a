# SPDX-License-Identifier: Apache-2.0
"""
Every row of the error table of list and watch, against a real API server with a proxy in between that makes the
faults, or with the server itself killed, stopped, or set back in time. Two things hold in each of them: nothing that
is exposed is withdrawn because of a fault, and afterwards changes are seen again without anybody's help.
"""
import json
import os
import signal
import shutil
import time

import pytest

import k8sworker
from cluster import Cluster, missing, wait_for
from faultproxy import FaultProxy, make_certificate, query

REASON = missing("KUBE_APISERVER", "ETCD", "HELM", "KUBECTL")
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))
EXPOSED = {"wormhole.glothriel.github.com/exposed": "yes"}
LIST, WATCH = r"^GET /api/v1/services\?limit", r"^GET /api/v1/services\?watch=1"


@pytest.fixture(scope="module")
def cluster():
    c = Cluster()
    c.namespace("wh-client")
    c.account = c.chart_rbac("edge", "wh-client", "client.enabled=true", "client.name=edge1")
    yield c
    c.stop()


class Setting:
    """A worker behind a proxy, with two exposed Services that have to survive."""

    def __init__(self, cluster, namespace, **setup):
        self.cluster, self.namespace = cluster, namespace
        cluster.namespace(namespace)
        self.proxy = FaultProxy(cluster.dir, cluster.port, name=f"proxy-{namespace}")
        self.token = cluster.token("wh-client", cluster.account)
        self.config = cluster.write_kubeconfig(f"{namespace}.yaml", self.token, url=self.proxy.url,
                                               ca=self.proxy.certificate)
        self.names = []
        self.expose("one")
        self.expose("two")
        self.setup = setup
        self.worker = None

    def start(self):
        self.worker = k8sworker.client(self.config, **self.setup)
        self.worker.wait_names(self.names)
        self.worker.wait_synced()
        self.wait_watch()
        return self.worker

    def wait_watch(self):
        return wait_for(lambda: f"an open watch\n{self.worker.tail()}", lambda: self.proxy.watches(), 20)[0]

    def expose(self, service):
        self.cluster.service(self.namespace, service, annotations=EXPOSED)
        self.names.append(f"{self.namespace}-{service}")

    def unexpose(self, service):
        self.cluster.delete_service(self.namespace, service)
        self.names.remove(f"{self.namespace}-{service}")

    def check(self, marker, timeout=30):
        """All is well again: what was there is there, and was all along, and news arrive."""
        self.expose(marker)
        self.worker.wait_names(self.names, timeout)
        assert self.worker.lost == 0, "something was withdrawn because of a fault"

    def close(self):
        if self.worker is not None:
            self.worker.stop()
        self.proxy.close()
        for service in self.cluster.items(f"/api/v1/namespaces/{self.namespace}/services"):
            self.cluster.delete_service(self.namespace, service["metadata"]["name"])


@pytest.fixture
def setting(cluster, request):
    marker = request.node.get_closest_marker("setup")
    s = Setting(cluster, "f" + str(abs(hash(request.node.name)))[:8], **(marker.kwargs if marker else {}))
    yield s
    s.close()


def versions(proxy):
    return [query(e)["resourceVersion"] for e in proxy.seen(WATCH)]


def test_requests_are_what_they_should_be(setting):
    setting.start()
    first, watch = setting.proxy.seen(LIST)[0], setting.proxy.seen(WATCH)[0]
    assert query(first) == {"limit": "500"}
    asked = query(watch)
    assert asked["allowWatchBookmarks"] == "true" and "sendInitialEvents" not in asked
    assert 300 <= int(asked["timeoutSeconds"]) <= 600
    assert watch["headers"]["User-Agent"].startswith("wormhole-k8s/")
    assert len(setting.proxy.seen(LIST)) == 1


def test_clean_end_watches_again_at_once_from_the_same_version(setting):
    setting.start()
    setting.check("event")  # an event, whose version the next watch must begin with
    seen = json.dumps(setting.cluster.request(
        "GET", f"/api/v1/namespaces/{setting.namespace}/services/event")["metadata"]["resourceVersion"])
    setting.wait_watch().end()
    wait_for("a second watch", lambda: len(setting.proxy.seen(WATCH)) == 2)
    assert versions(setting.proxy)[1] == json.loads(seen)
    assert len(setting.proxy.seen(LIST)) == 1
    setting.check("marker")


def test_cut_stream_watches_again_from_the_same_version(setting):
    setting.start()
    setting.wait_watch().cut()
    wait_for("a second watch", lambda: len(setting.proxy.seen(WATCH)) == 2)
    assert versions(setting.proxy)[0] == versions(setting.proxy)[1]
    assert len(setting.proxy.seen(LIST)) == 1, "no list for a cut stream"
    setting.check("marker")


def test_refused_and_reset_connections_back_off(setting):
    setting.start()
    rule = setting.proxy.add(r"watch=1", times=2, drop=True)
    setting.wait_watch().cut()
    wait_for("two resets", lambda: rule.hits == 2, 20)
    setting.check("marker")
    gaps = [b["time"] - a["time"] for a, b in zip(setting.proxy.seen(WATCH)[1:], setting.proxy.seen(WATCH)[2:])]
    assert all(gap >= 0.75 for gap in gaps), f"it must not hammer: {gaps}"
    assert gaps[-1] > gaps[0], f"and wait longer each time: {gaps}"
    assert len(setting.proxy.seen(LIST)) == 1


def test_bookmarks_move_the_version_and_unknown_events_are_skipped(setting):
    setting.start()
    setting.expose("more")
    setting.worker.wait_names(setting.names)
    version = setting.cluster.request("GET", "/api/v1/services?limit=1")["metadata"]["resourceVersion"]
    stream = setting.wait_watch()
    stream.inject(b'{"type":"SOMETHING","object":{"kind":"Service","metadata":{"name":"x"}}}\n')
    stream.inject(b'{"type":"BOOKMARK","object":{"kind":"Service","metadata":{"resourceVersion":"%s"}}}\n'
                  % version.encode())
    stream.end()
    wait_for("a second watch", lambda: len(setting.proxy.seen(WATCH)) == 2)
    assert versions(setting.proxy)[1] == version
    assert len(setting.proxy.seen(LIST)) == 1
    setting.check("marker")


def test_410_as_a_status(setting):
    setting.start()
    setting.proxy.add(r"watch=1", status=410, body=b'{"kind":"Status","code":410,"reason":"Expired","message":"old"}')
    setting.wait_watch().end()
    wait_for("a second list", lambda: len(setting.proxy.seen(LIST)) == 2)
    setting.check("marker")


def test_410_as_an_error_event(setting):
    setting.start()
    setting.wait_watch().inject(b'{"type":"ERROR","object":{"kind":"Status","status":"Failure","code":410,'
                                b'"reason":"Expired","message":"too old resource version: 1 (2)"}}\n')
    wait_for("a second list", lambda: len(setting.proxy.seen(LIST)) == 2)
    setting.check("marker")


def test_410_in_the_middle_of_a_list_starts_over(setting):
    cluster = setting.cluster
    for i in range(3):
        setting.expose(f"s{i}")

    def paged(text):  # pretend that there is more: what the server says when a page is full
        answer = json.loads(text)
        answer["metadata"]["continue"] = "opaque/token=="
        answer["items"] = answer["items"][:1]
        return json.dumps(answer).encode()
    setting.proxy.add(LIST + "=500$", mangle=paged)
    setting.proxy.add(r"continue=", status=410, body=b'{"kind":"Status","code":410,"reason":"Expired"}')
    setting.start()
    lists = setting.proxy.seen(LIST)
    assert query(lists[1])["continue"] == "opaque/token==" and "resourceVersion" not in query(lists[1])
    assert query(lists[2]) == {"limit": "500"}
    setting.check("marker")
    assert cluster is setting.cluster


def test_real_410_after_compaction_and_restart(setting):
    """The real server's own 410: written to while we were cut off, compacted, restarted."""
    cluster = setting.cluster
    setting.start()
    rule = setting.proxy.add(r"/api/v1/services", times=1000, drop=True)
    setting.wait_watch().cut()
    setting.unexpose("two")
    for i in range(30):
        cluster.annotate("default", "kubernetes", touched=str(i))
    revision = int(cluster.request("GET", "/api/v1/services?limit=1")["metadata"]["resourceVersion"])
    import urllib.request
    body = json.dumps({"revision": revision, "physical": True}).encode()
    urllib.request.urlopen(f"http://127.0.0.1:{cluster.etcd_port}/v3/kv/compaction", data=body, timeout=10).read()
    cluster.kill_api()
    cluster.start_api()
    cluster.wait_ready()
    rule.times = rule.hits
    setting.worker.wait_names(setting.names, 40)
    assert setting.worker.lost == 1, "only what was really removed is withdrawn"
    setting.expose("marker")
    setting.worker.wait_names(setting.names)
    assert len(setting.proxy.seen(LIST)) >= 2


def test_504_version_too_large_drops_the_version(setting):
    setting.start()
    setting.proxy.add(r"watch=1", status=504, body=json.dumps({
        "kind": "Status", "code": 504, "reason": "Timeout", "message": "Too large resource version: 99, current: 1",
        "details": {"causes": [{"reason": "ResourceVersionTooLarge"}], "retryAfterSeconds": 1}}).encode(),
        headers={"Retry-After": "1"})
    setting.wait_watch().end()
    wait_for("a second list", lambda: len(setting.proxy.seen(LIST)) == 2)
    setting.check("marker")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_server_with_a_plain_text_body(setting, status):
    setting.start()
    setting.proxy.add(r"watch=1", status=status, body=b"Too many requests, please try again later.\n",
                      headers={"Retry-After": "1", "Content-Type": "text/plain"})
    setting.wait_watch().end()
    wait_for("a third watch", lambda: len(setting.proxy.seen(WATCH)) == 3)
    times = [e["time"] for e in setting.proxy.seen(WATCH)]
    assert times[2] - times[1] >= 1.0, "Retry-After is honoured"
    assert len(setting.proxy.seen(LIST)) == 1
    setting.check("marker")


def test_busy_server_at_the_first_list(setting):
    setting.proxy.add(LIST, times=2, status=429, body=b"Too many requests\n", headers={"Retry-After": "1"})
    setting.start()
    assert len(setting.proxy.seen(LIST)) == 3
    setting.check("marker")


def test_expired_and_rotated_token(setting):
    """The API server's own 401: the file holds a new token by then, which is read once and used."""
    cluster = setting.cluster
    directory = cluster.dir / f"token-{setting.namespace}"
    rotate(directory, short_token(cluster, setting, lives=4))
    setting.config = cluster.write_kubeconfig(f"{setting.namespace}-file.yaml", url=setting.proxy.url,
                                              ca=setting.proxy.certificate, token_file=directory / "token")
    setting.setup.update(watch_s=2)
    setting.start()
    rotate(directory, setting.token)
    refused = wait_for("the server refuses the old token",
                       lambda: [e for e in setting.proxy.seen("services") if e["status"] == 401], 60)
    assert "Bearer" in refused[0]["headers"]["Authorization"]
    setting.check("marker")
    good = [e for e in setting.proxy.seen("services") if e["headers"]["Authorization"].endswith(setting.token)]
    assert good and len(refused) == 1, "one refusal, then the new token"
    assert all(s.ready for s in setting.worker.states if s.synced), "nobody had to notice"


def test_expired_token_that_nobody_renews(setting):
    cluster = setting.cluster
    directory = cluster.dir / f"stale-{setting.namespace}"
    rotate(directory, short_token(cluster, setting, lives=4))
    setting.config = cluster.write_kubeconfig(f"{setting.namespace}-file.yaml", url=setting.proxy.url,
                                              ca=setting.proxy.certificate, token_file=directory / "token")
    setting.setup.update(watch_s=2)
    setting.start()
    setting.worker.wait_state(lambda s: not s.ready and "401" in s.text, 60)
    (directory / "..data" / "token").unlink()  # half a rotation: the old token stays
    rotate(directory, setting.token)
    setting.worker.wait_synced(30)
    setting.check("marker")


def short_token(cluster, setting, lives):
    """
    A service account token, signed with the cluster's own key, that the API server takes for `lives` seconds: it
    allows a minute past the expiry, so the expiry is put into the past.
    """
    import base64
    import subprocess

    def b64(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    account = cluster.request("GET", f"/api/v1/namespaces/wh-client/serviceaccounts/{cluster.account}")
    header, payload = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in setting.token.split(".")[:2])
    now = int(time.time())
    payload.update(iat=now - 600, nbf=now - 600, exp=now - 60 + lives, jti=f"short-{setting.namespace}")
    assert payload["kubernetes.io"]["serviceaccount"]["uid"] == account["metadata"]["uid"]
    signed = b64(json.dumps(header).encode()) + b"." + b64(json.dumps(payload).encode())
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", cluster.dir / "sa.key"], input=signed,
                               check=True, capture_output=True).stdout
    return (signed + b"." + b64(signature)).decode()


def rotate(directory, token):
    """As the kubelet does it: a new directory, and one symbolic link that changes in one step."""
    directory.mkdir(exist_ok=True)
    fresh = directory / f"..{time.monotonic_ns()}"
    fresh.mkdir()
    (fresh / "token").write_text(token + "\n")
    temporary = directory / "..data_tmp"
    temporary.symlink_to(fresh.name)
    os.rename(temporary, directory / "..data")
    if not (directory / "token").is_symlink():
        (directory / "token").symlink_to("..data/token")


@pytest.mark.setup(watch_s=20)
def test_denied_rbac_keeps_the_state(setting):
    cluster = setting.cluster
    setting.start()
    binding = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/wh-client-wormhole-edge-client"
    saved = cluster.request("GET", binding)
    for key in ("uid", "resourceVersion", "managedFields", "creationTimestamp"):
        saved["metadata"].pop(key, None)
    cluster.request("DELETE", binding)
    try:
        def denied():
            for stream in setting.proxy.watches():
                stream.end()
            return any(e["status"] == 403 for e in setting.proxy.seen("services"))
        wait_for("the server denies", denied, 30, 0.3)
        state = setting.worker.wait_state(lambda s: not s.ready)
        assert "forbidden" in state.text
        setting.worker.wait_names(setting.names)
    finally:
        cluster.request("POST", binding.rsplit("/", 1)[0], saved)
    setting.worker.wait_synced(30)
    setting.check("marker")


@pytest.mark.setup(watch_s=2)
def test_half_open_connection(setting):
    """The stream freezes and nobody hangs up: the client-side deadline notices."""
    setting.start()
    setting.wait_watch().freeze()
    frozen = len(setting.proxy.seen(WATCH))
    wait_for("another watch", lambda: len(setting.proxy.seen(WATCH)) > frozen, 30)
    setting.check("marker")


@pytest.mark.setup(watch_s=2)
def test_server_that_does_not_answer(setting):
    setting.start()
    rule = setting.proxy.add(r"watch=1", times=1, hang=True)
    setting.wait_watch().end()
    wait_for("a request that hangs", lambda: rule.hits == 1)
    setting.check("marker")


def test_killed_and_restarted_server(setting):
    setting.start()
    setting.cluster.kill_api()
    setting.worker.wait_log("watch /api/v1/services")
    setting.cluster.start_api()
    setting.cluster.wait_ready()
    setting.check("marker", 45)


@pytest.mark.setup(watch_s=2)
def test_stopped_server(setting):
    """SIGSTOP: connections stay open, and new ones are accepted by the kernel, but nothing ever comes."""
    setting.start()
    logs = len(setting.worker.logs)
    setting.cluster.api.send_signal(signal.SIGSTOP)
    try:
        setting.worker.wait_log("watch /api/v1/services", 30, since=logs)
        assert set(setting.worker.names()) == set(setting.names)
    finally:
        setting.cluster.api.send_signal(signal.SIGCONT)
    setting.check("marker", 45)


def test_terminated_server(setting):
    """SIGTERM: the server ends its watches in an orderly way before it goes."""
    setting.start()
    setting.cluster.kill_api(signal.SIGTERM)
    setting.cluster.start_api()
    setting.cluster.wait_ready()
    setting.check("marker", 45)


@pytest.mark.setup(watch_s=20)
def test_line_that_is_too_long(setting):
    setting.start()
    stream = setting.wait_watch()
    stream.inject(b'{"type":"ADDED","object":{"kind":"Service","metadata":{"name":"big","annotations":{"a":"')
    for _ in range(10):
        stream.inject(b"x" * (512 << 10))
    stream.inject(b'"}}}}\n')
    setting.worker.wait_log("was skipped")
    setting.check("after")  # the same stream goes on
    assert len(setting.proxy.seen(LIST)) == 1
    wait_for("a list makes up for the line", lambda: len(setting.proxy.seen(LIST)) == 2, 20)
    setting.check("marker")


@pytest.mark.setup(relist_s=2)
def test_list_item_that_is_too_long(setting):
    """A list with a hole is no proof that anything is gone."""
    setting.start()

    def hole(text):
        answer = json.loads(text)
        answer["items"] = [i for i in answer["items"] if i["metadata"]["name"] != "two"]
        answer["items"].insert(0, {"metadata": {"name": "big", "annotations": {"a": "x" * (5 << 20)}}})
        return json.dumps(answer).encode()
    setting.proxy.add(LIST, times=1, mangle=hole)
    setting.worker.wait_log("nothing is withdrawn", 30)
    assert set(setting.worker.names()) == set(setting.names)
    setting.check("marker")


def test_broken_json_in_a_watch(setting):
    setting.start()
    setting.wait_watch().inject(b'{"type":"ADDED","object":{"kind":"Service",]}\n')
    wait_for("a second list", lambda: len(setting.proxy.seen(LIST)) == 2)
    setting.check("marker")


@pytest.mark.setup(relist_s=2)
@pytest.mark.parametrize("how", ["cut", "garbage", "empty", "shape", "html"])
def test_broken_list_withdraws_nothing(setting, how):
    setting.start()
    fault = {
        "cut": dict(truncate=700),
        "garbage": dict(mangle=lambda text: text.replace(b'"spec"', b'"spec', 1)),
        "empty": dict(mangle=lambda text: b""),
        "shape": dict(mangle=lambda text: b'{"kind":"Status","apiVersion":"v1","metadata":{}}'),
        "html": dict(mangle=lambda text: b"<html><body>captive portal</body></html>"),
    }[how]
    rule = setting.proxy.add(LIST, times=1, **fault)
    wait_for("a broken list", lambda: rule.hits == 1, 20)
    setting.check("marker")


@pytest.mark.setup(relist_s=1)
def test_full_list_from_time_to_time(setting):
    """What a watch never said is found by the next full list."""
    setting.start()
    wait_for("lists", lambda: len(setting.proxy.seen(LIST)) >= 3, 30)
    setting.check("marker")


def test_new_certificate_authority(setting):
    """The CA file was renewed together with the server's certificate: it is read again on a TLS failure."""
    cluster = setting.cluster
    ca = cluster.dir / f"ca-{setting.namespace}.crt"
    shutil.copy(setting.proxy.certificate, ca)
    path = cluster.write_kubeconfig(f"{setting.namespace}-ca.yaml", setting.token, url=setting.proxy.url,
                                    ca=setting.proxy.certificate)
    config = json.loads(path.read_text())
    del config["clusters"][0]["cluster"]["certificate-authority-data"]
    config["clusters"][0]["cluster"]["certificate-authority"] = ca.name  # relative to the file
    path.write_text(json.dumps(config))
    setting.config = path
    setting.start()
    setting.proxy.renew_certificate(cluster.dir, f"renewed-{setting.namespace}")
    setting.wait_watch().cut()
    setting.worker.wait_log("certificate", 20)
    shutil.copy(setting.proxy.certificate, ca)
    setting.check("marker")


def test_somebody_elses_certificate_is_refused(setting):
    """No list, no watch, no token to a server that cannot prove who it is."""
    stranger, _ = make_certificate(setting.cluster.dir, f"stranger-{setting.namespace}")
    config = setting.cluster.write_kubeconfig("stranger.yaml", setting.token, url=setting.proxy.url, ca=stranger)
    with k8sworker.client(config) as w:
        w.wait_log("certificate")
        assert not w.names() and not setting.proxy.requests


def test_restored_etcd(cluster):
    """etcd is set back to an older state: versions run backwards, and what was made since is gone."""
    setting = Setting(cluster, "restored")
    try:
        setting.start()
        cluster.kill_api()
        cluster.kill_etcd()
        backup = cluster.dir / "etcd-backup"
        shutil.copytree(cluster.etcd_data, backup)
        cluster.start_etcd()
        cluster.start_api()
        cluster.wait_ready()
        setting.expose("later")
        setting.worker.wait_names(setting.names, 45)
        for i in range(300):  # so that the restored server is behind for a while
            cluster.annotate("default", "kubernetes", touched=f"r{i}")
        setting.wait_watch()
        cluster.kill_api()
        cluster.kill_etcd()
        cluster.start_etcd(data=backup)
        cluster.start_api()
        cluster.wait_ready()
        setting.names.remove("restored-later")
        setting.worker.wait_names(setting.names, 60)
        setting.expose("marker")
        setting.worker.wait_names(setting.names, 30)
        assert setting.worker.lost == 1
    finally:
        setting.close()
