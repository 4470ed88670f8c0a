# SPDX-License-Identifier: Apache-2.0
"""
The error table of list and watch, against a real API server with a proxy in between that makes the faults. Two things
hold in each of them: nothing that is exposed is withdrawn because of a fault, and afterwards changes are seen again
without anybody's help. What happens to the server itself is in test_outages.py.
"""
import base64
import json
import os
import shutil
import subprocess
import time

import pytest

import k8sworker
from cluster import Cluster, missing, wait_for
from faultproxy import make_certificate, query
from faultsetting import LIST, WATCH, Setting, versions

REASON = missing("KUBE_APISERVER", "ETCD", "HELM", "KUBECTL")
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@pytest.fixture(scope="module")
def cluster():
    c = Cluster()
    c.namespace("wh-client")
    c.account = c.chart_rbac("edge", "wh-client", "client.enabled=true", "client.name=edge1")
    yield c
    c.stop()


@pytest.fixture
def setting(cluster, request):
    marker = request.node.get_closest_marker("setup")
    s = Setting(cluster, "f" + str(abs(hash(request.node.name)))[:8], **(marker.kwargs if marker else {}))
    yield s
    s.close()


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


def expiring(cluster, setting):
    """Gives the worker a token file whose token the API server refuses in a few seconds; the file's directory."""
    directory = cluster.dir / f"token-{setting.namespace}"
    rotate(directory, short_token(cluster, setting, lives=4))
    setting.config = cluster.write_kubeconfig(f"{setting.namespace}-file.yaml", url=setting.proxy.url,
                                              ca=setting.proxy.certificate, token_file=directory / "token")
    setting.setup.update(watch_s=2)
    setting.start()
    return directory


def test_expired_and_rotated_token(cluster, setting):
    """
    The API server's own 401. One worker's file holds a new token by then, which is read once and used; the other's
    does not until much later.
    """
    late = Setting(cluster, setting.namespace + "-late")
    setting.names += late.names
    late.names = setting.names  # both see all Services
    try:
        rotate(expiring(cluster, setting), setting.token)
        late_directory = expiring(cluster, late)
        refused = wait_for("the server refuses the old token",
                           lambda: [e for e in setting.proxy.seen("services") if e["status"] == 401], 60)
        setting.check("marker")
        good = [e for e in setting.proxy.seen("services") if e["headers"]["Authorization"].endswith(setting.token)]
        assert good and len(refused) == 1, "one refusal, then the new token"
        assert all(s.ready for s in setting.worker.states if s.synced), "nobody had to notice"

        late.worker.wait_state(lambda s: not s.ready and "401" in s.text, 60)
        (late_directory / "..data" / "token").unlink()  # half a rotation: the old token stays
        rotate(late_directory, late.token)
        late.worker.wait_synced(45)
        late.check("marker2")
    finally:
        late.close()


def short_token(cluster, setting, lives):
    """
    A service account token, signed with the cluster's own key, that the API server takes for `lives` seconds: it
    allows a minute past the expiry, so the expiry is put into the past.
    """
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


@pytest.mark.setup(relist_s=1)
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


@pytest.mark.setup(relist_s=1)
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
