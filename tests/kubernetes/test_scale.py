# SPDX-License-Identifier: Apache-2.0
"""
Thousands of Services on both sides: pages, memory, wake-ups, API calls. Counts and sizes are asserted, times are only
shown. The server's side makes 1,000 here, since each one costs a real API server much; tests/bench/kubernetes_figures
runs this file with 3,000 for its table.
"""
import http.client
import json
import os
import ssl
import threading
import time

import pytest

import k8sworker
from cluster import Cluster, missing, wait_for
from faultproxy import FaultProxy

REASON = missing("KUBE_APISERVER", "ETCD", "HELM", "KUBECTL")
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))
COUNT = 3000
MIRRORED = int(os.environ.get("WORMHOLE_FIGURES_MIRRORED", "1000"))
MEMORY_KIB = 32 * 1024
IDLE_S = 5.0
rows = []


@pytest.fixture(scope="module")
def cluster():
    c = Cluster()
    yield c
    c.stop()


@pytest.fixture(scope="module", autouse=True)
def table():
    yield
    if rows:
        width = max(len(name) for name, _ in rows)
        print(f"\n=== SHOW ===\nwormhole-k8s: a client with {COUNT} exposed Services, a server with {MIRRORED} mirrored ones")
        for name, value in rows:
            print(f"  {name:<{width}}  {value}")
        print("=== END SHOW ===")


def create_services(cluster, namespace, count):
    """Exposed Services with the size that real ones have, over a few connections."""
    context = ssl._create_unverified_context()  # noqa: S323: loopback, our own process
    failures = []

    def work(numbers):
        connection = http.client.HTTPSConnection("127.0.0.1", cluster.port, context=context, timeout=60)
        for i in numbers:
            body = json.dumps({
                "metadata": {"name": f"service-{i:04}", "labels": {"app": f"app-{i}", "team": "payments"},
                             "annotations": {"wormhole.glothriel.github.com/exposed": "yes", "note": "x" * 600}},
                "spec": {"selector": {"app": f"app-{i}"}, "clusterIP": "None" if i % 10 else None, "ports": [
                    {"name": "http", "port": 80, "targetPort": 8080, "appProtocol": "http"}]}})
            connection.request("POST", f"/api/v1/namespaces/{namespace}/services", body, {
                "Authorization": "Bearer admintoken", "Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 201:
                failures.append(answer.status)
        connection.close()

    threads = [threading.Thread(target=work, args=(range(k, count, 4),)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[:5]


def measure_idle(worker):
    """(CPU seconds, wake-ups) of the process over a quiet stretch."""
    def wakeups():
        return sum(worker.status("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches").values())
    cpu, woken, began = worker.cpu_seconds(), wakeups(), time.monotonic()
    wait_for("a quiet stretch", lambda: time.monotonic() - began >= IDLE_S, IDLE_S + 5, 0.5)
    return worker.cpu_seconds() - cpu, wakeups() - woken


def check_and_show(side, worker, took):
    memory = worker.status("VmHWM", "RssAnon")
    cpu, wakeups = measure_idle(worker)
    rows.append((f"{side}: peak memory (VmHWM) / private (RssAnon)",
                 f"{memory['VmHWM'] / 1024:.1f} MiB / {memory['RssAnon'] / 1024:.1f} MiB"))
    rows.append((f"{side}: until all were known", f"{took:.1f} s, {worker.cpu_seconds():.2f} s of CPU"))
    rows.append((f"{side}: idle watch, {IDLE_S:.0f} s", f"{cpu * 1000:.0f} ms of CPU, {wakeups} wake-ups"))
    assert memory["VmHWM"] < MEMORY_KIB
    assert wakeups <= 10 and cpu <= 0.02, "an idle watch sleeps"


def test_client_with_3000_services(cluster):
    cluster.namespace("wh-client")
    cluster.namespace("many")
    account = cluster.chart_rbac("edge", "wh-client", "client.enabled=true", "client.name=edge1")
    create_services(cluster, "many", COUNT)
    proxy = FaultProxy(cluster.dir, cluster.port)
    config = cluster.write_kubeconfig("many.yaml", cluster.token("wh-client", account), url=proxy.url,
                                      ca=proxy.certificate)
    began = time.monotonic()
    with k8sworker.client(config, relist_s=3600) as w:
        wait_for(lambda: f"all apps; {len(w.apps)}\n{w.tail()}", lambda: len(w.apps) == COUNT, 60)
        took = time.monotonic() - began
        w.wait_synced()
        pages = proxy.seen(r"limit=500")
        assert len(pages) == 7, "3,001 Services in pages of 500"
        assert all("resourceVersion" not in p["path"] for p in pages)
        assert len({m.name for m in w.apps.values()}) == COUNT
        w.wait_state(lambda s: s.objects == COUNT)
        check_and_show("client", w, took)

        # One change: no call at all, the watch brings it.
        calls = proxy.count()
        cluster.annotate("many", "service-0007", exposed="no")
        wait_for("it is withdrawn", lambda: len(w.apps) == COUNT - 1)
        cluster.annotate("many", "service-0007", exposed="yes")
        wait_for("it is back", lambda: len(w.apps) == COUNT)
        assert proxy.count() == calls
        rows.append(("client: API calls per change", "0"))
        rows.append(("client: API calls for everything so far", str(proxy.count())))
        assert (w.found, w.lost) == (COUNT + 1, 1)
    proxy.close()


def test_server_with_many_mirrored_services(cluster):
    cluster.namespace("hub")
    account = cluster.chart_rbac("hub", "hub", "server.enabled=true")
    config = cluster.write_kubeconfig("hub.yaml", cluster.token("hub", account))

    def ask_for_all(w):
        for i in range(MIRRORED):
            w.mirror(f"edge{i % 10}", f"many-service-{i:04}", 80, 20000 + i, "http")

    began = time.monotonic()
    with k8sworker.server(config, namespace="hub", relist_s=3600) as w:
        w.wait_synced()
        before = w.state.api_calls
        ask_for_all(w)
        wait_for(lambda: f"all Services; {len(w.mirrored)}\n{w.tail()}", lambda: len(w.mirrored) == MIRRORED, 120)
        took = time.monotonic() - began
        assert all(m.done for m in w.mirrored.values())
        state = w.wait_state(lambda s: s.objects == MIRRORED)
        # A watch that the API server ended meanwhile is opened again, which is a call or two of its own.
        assert MIRRORED <= state.api_calls - before <= MIRRORED + 4, "one call per change"
        check_and_show("server", w, took)
        rows.append(("server: API calls per change", f"{(state.api_calls - before) / MIRRORED:.2f}"))

    # The next life adopts them all without changing one.
    with k8sworker.server(config, namespace="hub", relist_s=3600) as w:
        ask_for_all(w)
        wait_for(lambda: f"all adopted; {len(w.mirrored)}\n{w.tail()}", lambda: len(w.mirrored) == MIRRORED, 60)
        state = w.wait_state(lambda s: s.objects == MIRRORED)
        assert state.api_calls <= MIRRORED // 500 + 3, "a list in pages and a watch"
        rows.append(("server: API calls to adopt all after a restart", str(state.api_calls)))
        assert w.status("VmHWM")["VmHWM"] < MEMORY_KIB
