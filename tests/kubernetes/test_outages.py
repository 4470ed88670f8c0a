# SPDX-License-Identifier: Apache-2.0
"""
What may happen to an API server itself: killed, stopped, ended, written to and compacted while we were cut off, set
back to an older state. Nothing is withdrawn that was not really removed, and afterwards changes are seen again.
"""
import json
import shutil
import signal
import urllib.request

import pytest

from cluster import Cluster, missing, wait_for
from faultsetting import LIST, Setting

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
