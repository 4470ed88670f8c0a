# SPDX-License-Identifier: Apache-2.0
"""
What the tests of faults and outages share: a worker behind a fault-making proxy, with Services that have to survive.
"""
import k8sworker
from cluster import wait_for
from faultproxy import FaultProxy, query

EXPOSED = {"wormhole.glothriel.github.com/exposed": "yes"}
LIST, WATCH = r"^GET /api/v1/services\?limit", r"^GET /api/v1/services\?watch=1"


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


def versions(proxy):
    return [query(e)["resourceVersion"] for e in proxy.seen(WATCH)]
