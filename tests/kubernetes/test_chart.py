# SPDX-License-Identifier: Apache-2.0
"""
The chart: every install line of the documentation passes lint, strict validation by a real API server and the
"restricted" Pod Security standard; the keys and defaults that users of the original chart know are there; and what the
Deployment would run in a pod is run for real, as that user, with an in-cluster configuration.
"""
import http.client
import json
import os
import re
import shlex
import subprocess

import pytest
import yaml

import tunnel
from cluster import CHART, ROOT, Cluster, free_port, missing, wait_for

REASON = missing("KUBE_APISERVER", "ETCD", "HELM", "KUBECTL")
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))
FINGERPRINT = "SHA256:" + "A" * 43

# Of the original chart, as its README lists them; image and version are this project's own.
ORIGINAL = {
    "client.affinity": None, "client.containerSecurityContext.allowPrivilegeEscalation": False,
    "client.containerSecurityContext.privileged": False, "client.containerSecurityContext.readOnlyRootFilesystem": True,
    "client.enabled": False, "client.name": "", "client.nodeSelector": None, "client.priorityClassName": "",
    "client.pullPolicy": "Always", "client.pvc.enabled": False, "client.pvc.storage": "1Gi",
    "client.pvc.storageClassName": "", "client.resources.limits.cpu": 0, "client.resources.limits.memory": "128Mi",
    "client.resources.requests.cpu": 0, "client.resources.requests.memory": "128Mi",
    "client.securityContext.fsGroup": 1337, "client.securityContext.runAsGroup": 1337,
    "client.securityContext.runAsNonRoot": True, "client.securityContext.runAsUser": 1337,
    "client.serverDsn": "ws://wormhole-server:8080/wh/tunnel", "client.tolerations": None,
    "docker.registry": "ghcr.io",
    "server.acceptor": "server", "server.affinity": None,
    "server.containerSecurityContext.allowPrivilegeEscalation": False,
    "server.containerSecurityContext.privileged": False, "server.containerSecurityContext.readOnlyRootFilesystem": True,
    "server.enabled": False, "server.nodeSelector": None, "server.path": "", "server.priorityClassName": "",
    "server.pullPolicy": "Always", "server.pvc.enabled": False, "server.pvc.storage": "1Gi",
    "server.pvc.storageClassName": "", "server.resources.limits.cpu": 0, "server.resources.limits.memory": "128Mi",
    "server.resources.requests.cpu": 0, "server.resources.requests.memory": "128Mi",
    "server.securityContext.fsGroup": 1337, "server.securityContext.runAsGroup": 1337,
    "server.securityContext.runAsNonRoot": True, "server.securityContext.runAsUser": 1337,
    "server.service.type": "ClusterIP", "server.tolerations": None,
}


def documented_installs():
    """Every `helm install` of README.md and docs/kubernetes.md, as its arguments after the chart."""
    lines = set()
    for file in ("README.md", "docs/kubernetes.md"):
        text = (ROOT / file).read_text().replace("\\\n", " ")
        for command in re.findall(r"^\s*(?:\$ )?(helm install .*)$", text, flags=re.M):
            lines.add(" ".join(command.split("  #")[0].split()))
    return sorted(lines)


# What the documentation describes in words only: each value of the table that is not in an install line.
FURTHER = [
    "helm install -n w r helm/ --set server.enabled=true,server.acceptor=dummy,server.path=/other",
    "helm install -n w r helm/ --set server.enabled=true,server.service.type=NodePort "
    "--set server.service.annotations.a=b --set rbac.create=false,serviceAccount.create=false "
    "--set serviceAccount.serverName=given",
    "helm install -n w r helm/ --set server.enabled=true,docker.registry=,docker.digest=sha256:" + "0" * 64 +
    " --set 'imagePullSecrets[0].name=pull' --set podAnnotations.a=b,podLabels.c=d "
    "--set 'extraEnv[0].name=TZ' --set 'extraEnv[0].value=UTC' --set 'extraArgs={--log-level,debug}' "
    "--set 'server.extraArgs={--grace,1m}' --set serviceAccount.annotations.x=y",
    "helm install -n w r helm/ --set client.enabled=true,client.name=edge1,networkPolicies.enabled=true "
    "--set client.pvc.enabled=true,client.pvc.storageClassName=fast,client.priorityClassName=high "
    "--set 'client.tolerations[0].operator=Exists' --set client.nodeSelector.disk=ssd "
    "--set 'extraVolumes[0].name=more' --set 'extraVolumes[0].emptyDir.medium=Memory' "
    "--set 'extraVolumeMounts[0].name=more' --set 'extraVolumeMounts[0].mountPath=/more' "
    "--set 'topologySpreadConstraints[0].maxSkew=1' --set 'topologySpreadConstraints[0].topologyKey=zone' "
    "--set 'topologySpreadConstraints[0].whenUnsatisfiable=ScheduleAnyway'",
    "helm install -n w r helm/ --set server.enabled=true,client.enabled=true,client.name=edge1 "
    "--set networkPolicies.enabled=true,podDisruptionBudget.enabled=true,serviceMonitor.enabled=true "
    "--set serviceMonitor.labels.release=prometheus",
]
INSTALLS = documented_installs() + FURTHER


def arguments(command):
    """(release, namespace, the value arguments) of a `helm install` line."""
    words = shlex.split(command)[2:]
    release, namespace, values = None, "default", []
    while words:
        word = words.pop(0)
        if word in ("-n", "--namespace"):
            namespace = words.pop(0)
        elif word in ("--set", "--set-string", "-f"):
            values += [word, words.pop(0)]
        elif word.startswith("--"):
            assert word == "--create-namespace", f"{word} in {command}"
        elif release is None:
            release = word
        else:
            assert word.rstrip("/") == "helm", f"{word} in {command}"
    return release, namespace, values


@pytest.fixture(scope="module")
def cluster():
    c = Cluster()
    for name in ("wormhole-server", "wormhole-client", "w"):
        c.namespace(name, {"pod-security.kubernetes.io/enforce": "restricted",
                           "pod-security.kubernetes.io/enforce-version": "latest"})
    for name in ("shop",):
        c.namespace(name)
    c.request("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "high"}, "value": 1000})
    # The Prometheus operator's definition, as far as a server needs one to validate against.
    c.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
        "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
        "spec": {"group": "monitoring.coreos.com", "scope": "Namespaced",
                 "names": {"plural": "servicemonitors", "singular": "servicemonitor", "kind": "ServiceMonitor"},
                 "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                     "type": "object", "properties": {"spec": {"type": "object", "required": ["selector", "endpoints"],
                         "properties": {"selector": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                        "endpoints": {"type": "array", "items": {"type": "object", "properties": {
                                            "port": {"type": "string"}, "path": {"type": "string"},
                                            "interval": {"type": "string"}}}}}}}}}}]}})
    wait_for("the ServiceMonitor resource", lambda: c.exists("/apis/monitoring.coreos.com/v1/servicemonitors"), 30)
    yield c
    c.stop()


def render(cluster, command):
    release, namespace, values = arguments(command)
    text = cluster.helm("template", release, CHART, "-n", namespace, *values).stdout
    return namespace, text, [d for d in yaml.safe_load_all(text) if d]


def test_the_documentation_has_install_lines():
    commands = documented_installs()
    assert len(commands) >= 7, commands
    assert any("server.enabled=true" in c for c in commands) and any("client.enabled=true" in c for c in commands)


@pytest.mark.parametrize("command", INSTALLS, ids=range(len(INSTALLS)))
def test_install_line_is_valid_to_the_letter(cluster, command):
    _, _, values = arguments(command)
    cluster.helm("lint", "--strict", CHART, *values)
    namespace, text, objects = render(cluster, command)
    done = cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert "Warning" not in done.stderr, done.stderr
    pods = 0
    for o in objects:
        if o["kind"] == "Pod":
            pods += 1  # the helm test's own; the namespace enforces "restricted" on it above
        if o["kind"] == "Deployment":
            pods += 1
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": namespace,
                   "labels": o["spec"]["template"]["metadata"]["labels"]}, "spec": o["spec"]["template"]["spec"]}
            cluster.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Strict", pod)
    assert pods >= 2


def test_restricted_is_really_enforced(cluster):
    """The check above must be able to fail."""
    from cluster import ApiError
    pod = {"metadata": {"name": "bad"}, "spec": {"containers": [{"name": "c", "image": "i", "securityContext": {
        "privileged": True}}]}}
    with pytest.raises(ApiError) as e:
        cluster.request("POST", "/api/v1/namespaces/w/pods?dryRun=All", pod)
    assert e.value.status == 403 and "restricted" in e.value.body


def test_original_keys_and_defaults():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    for key, default in ORIGINAL.items():
        value, part = values, schema
        for word in key.split("."):
            assert word in value, f"{key} is missing in values.yaml"
            value, part = value[word], part["properties"][word]
        assert value == default and type(value) is type(default), f"{key}: {value!r}, must be {default!r}"
        assert part["description"]
    for word in ("image", "registry", "version"):
        assert values["docker"][word]
    assert values["client"]["containerSecurityContext"]["capabilities"]["drop"] == ["ALL"]


def test_schema_defaults_and_the_table_are_the_values(cluster):
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    documentation = (ROOT / "docs/kubernetes.md").read_text()

    def walk(part, value, path):
        for name, inner in part["properties"].items():
            at = path + [name]
            if at == ["global"]:
                continue
            if inner.get("properties"):
                walk(inner, value[name], at)
            elif at[-1] != "capabilities":
                assert inner["default"] == value[name], at
                assert f"| `{'.'.join(at)}` |" in documentation, f"{'.'.join(at)} is not documented"
    walk(schema, values, [])


@pytest.mark.parametrize("setting, text", [
    ("server.acceptor=anybody", "acceptor"), ("server.enabeld=true", "enabeld"), ("client.name=Edge_1", "name"),
    ("client.serverDsn=http://x", "serverDsn"), ("client.serverFingerprint=abc", "serverFingerprint"),
    ("server.approvedFingerprints={abc}", "approvedFingerprints"), ("docker.digest=latest", "digest"),
    ("server.securityContext.runAsUser=0", "runAsUser"), ("server.service.type=Magic", "type"),
])
def test_bad_values_are_refused_by_name(cluster, setting, text):
    done = cluster.helm("template", "r", CHART, "--set", "server.enabled=true", "--set", setting, check=False)
    assert done.returncode != 0 and text in done.stderr, done.stderr


def test_what_is_required_is_asked_for(cluster):
    for values, text in ((["client.enabled=true"], "Please set client.name"),
                         (["client.enabled=true", "client.name=x", "client.serverDsn="], "Please set client.serverDsn"),
                         (["server.enabled=true", "server.ingress.enabled=true"], "Please set server.ingress.hosts"),
                         (["server.enabled=true", "serviceAccount.create=false"], "serviceAccount.serverName")):
        args = [word for value in values for word in ("--set", value)]
        done = cluster.helm("template", "r", CHART, *args, check=False)
        assert done.returncode != 0 and text in done.stderr, done.stderr


def test_install_notes_upgrade_uninstall(cluster):
    """The two install lines of the README, for real; the notes name what was really made."""
    commands = [c for c in documented_installs() if "--create-namespace" in c or "testclient" in c]
    release, namespace, values = arguments(next(c for c in commands if "server.enabled" in c))
    notes = cluster.helm("install", release, CHART, "-n", namespace, *values).stdout
    names = {d["metadata"]["name"] for d in cluster.items(f"/apis/apps/v1/namespaces/{namespace}/deployments")}
    assert names == {"wormhole-whserver-server"}
    assert f"deployment/{next(iter(names))} -- wormhole requests accept" in notes
    assert "ws://wormhole-whserver-server.wormhole-server:8080/wh/tunnel" in notes
    services = {s["metadata"]["name"] for s in cluster.items(f"/api/v1/namespaces/{namespace}/services")}
    assert "wormhole-whserver-server" in services and not any(s.endswith("-admin") for s in services)

    release, namespace, values = arguments(next(c for c in commands if "client.enabled" in c))
    notes = cluster.helm("install", release, CHART, "-n", namespace, *values).stdout
    assert "wormhole-whclient-client" in notes and "annotate" in notes
    cluster.helm("upgrade", release, CHART, "-n", namespace, *values, "--set", "networkPolicies.enabled=true")
    cluster.helm("uninstall", release, "-n", namespace)
    cluster.helm("uninstall", "whserver", "-n", "wormhole-server")
    for kind in ("clusterroles", "clusterrolebindings"):
        left = [r["metadata"]["name"] for r in cluster.items(f"/apis/rbac.authorization.k8s.io/v1/{kind}")
                if "wormhole" in r["metadata"]["name"]]
        assert left == []


def test_two_releases_do_not_collide(cluster):
    """Cluster-scoped names carry the namespace, so one release name may be used in two of them."""
    values = "--set client.enabled=true,client.name=edge1"
    names = []
    for namespace in ("one", "two"):
        _, _, objects = render(cluster, f"helm install -n {namespace} same helm/ {values}")
        names.append({o["metadata"]["name"] for o in objects if o["kind"].startswith("Cluster")})
    assert names[0] and names[1] and not names[0] & names[1]


def test_long_release_name(cluster):
    _, _, objects = render(cluster, f"helm install -n w {'r' * 53} helm/ --set server.enabled=true,"
                           "server.adminToken.existingSecret=s")
    for o in objects:
        if o["kind"] != "Pod":
            assert len(o["metadata"]["name"]) <= 63, o["metadata"]["name"]
        for value in o["metadata"].get("labels", {}).values():
            assert len(value) <= 63


def pod_of(objects):
    deployment, = (o for o in objects if o["kind"] == "Deployment")
    return deployment["spec"]["template"]["spec"]


class Pod:
    """
    A rendered Deployment's pod on this machine: its command lines, environment and user, no capabilities, its volumes
    mounted where they say. Only the image's root file system is this machine's own, under an overlay.
    """

    def __init__(self, cluster, directory, objects, name, secrets=None):
        spec = pod_of(objects)
        container, = spec["containers"]
        deployment = next(o for o in objects if o["kind"] == "Deployment")
        self.directory, self.secrets = directory, secrets or {}
        self.uid = spec["securityContext"]["runAsUser"]
        token = cluster.token(deployment["metadata"]["namespace"], spec["serviceAccountName"])
        self.volumes = {}
        for volume in spec["volumes"]:
            self.volumes[volume["name"]] = self.make_volume(cluster, volume, token, deployment["metadata"]["namespace"])
        self.prefix = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "--no-new-privs",
                       "--bounding-set=-all", "--inh-caps=-all"]
        self.log_path = directory / f"{name}.log"
        for init in spec.get("initContainers", []):
            assert init["command"][0] == "/usr/bin/wormhole"
            words = [tunnel.BIN + "/wormhole", *init["command"][1:]]
            done = subprocess.run(self.argv(init, words), capture_output=True, text=True, timeout=30,
                                  check=False)
            assert done.returncode == 0, done.stderr
        self.words = [tunnel.BIN + "/wormhole", *container["command"][1:]]
        self.env = {"PATH": os.environ["PATH"], "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                    "KUBERNETES_SERVICE_PORT": str(cluster.port)}
        self.env.update({v["name"]: v["value"] for v in container["env"]})
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.argv(container, self.words), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self.env)

    def make_volume(self, cluster, volume, token, namespace):
        """The directory that stands for a volume, with the owners and modes that a kubelet gives (fsGroup)."""
        path = self.directory / volume["name"]
        path.mkdir(exist_ok=True)
        files = {}
        if volume["name"] == "api-access":
            files = {"token": token.encode(), "ca.crt": cluster.ca.read_bytes(), "namespace": namespace.encode()}
        elif "secret" in volume:
            files = self.secrets[volume["secret"]["secretName"]]
        if not files:  # an emptyDir: root's, and writable for the group
            os.chown(path, 0, self.uid)
            os.chmod(path, 0o2777)
            return path
        data = path / "..2026_01_01"
        data.mkdir()
        for file, content in files.items():
            (data / file).write_bytes(content)
            os.chown(data / file, 0, self.uid)
            os.chmod(data / file, 0o440)
            (path / file).symlink_to(f"..data/{file}")
        (path / "..data").symlink_to(data.name)
        return path

    def argv(self, container, words):
        """The container's mounts in a namespace of its own, then the words as the pod's user."""
        lines = ["set -e", "cd /", "upper=$(mktemp -d)", "mount -t tmpfs tmpfs $upper",
                 "mkdir $upper/up $upper/work $upper/root", "root=$upper/root",
                 "mount -t overlay -o lowerdir=/,upperdir=$upper/up,workdir=$upper/work overlay $root",
                 "mount --rbind /proc $root/proc", "mount --rbind /dev $root/dev", "mount --bind /tmp $root/tmp",
                 "mount -t tmpfs -o mode=755 tmpfs $root/run"]
        for mount in container["volumeMounts"]:
            target = mount["mountPath"].replace("/var/run", "/run")
            if target != "/tmp":  # where this test's own files are
                lines += [f"mkdir -p $root{target}", f"mount --bind {self.volumes[mount['name']]} $root{target}"]
        lines.append('exec chroot $root "$@"')
        return ["unshare", "--mount", "bash", "-c", "\n".join(lines), "pod", *self.prefix, *words]

    def exec(self, *words):
        """kubectl exec: the same namespace, user and environment."""
        return subprocess.run(["nsenter", f"--target={self.process.pid}", "--mount", "--root", "--wd", *self.prefix,
                               tunnel.BIN + "/wormhole", *words], env=self.env, capture_output=True, text=True,
                              timeout=30, check=False)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def stop(self):
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for the pod's user and mounts")
def test_the_pods_run_as_rendered(cluster):
    """Server and client as the chart starts them: in-cluster configuration, uid 1337, approval by `kubectl exec`."""
    directory = cluster.dir / "pods"
    for side in ("server", "client"):
        (directory / side).mkdir(parents=True)
        os.chmod(directory / side, 0o755)
    os.chmod(directory, 0o755)
    metrics = free_port()
    server_values = ("--set server.enabled=true,networkPolicies.enabled=true "
                     "--set 'server.extraArgs={--host,127.0.0.1,--port,0,--admin-port,0}' "
                     f"--set 'extraArgs={{--metrics-host,127.0.0.1,--metrics-port,{metrics}}}'")
    namespace, text, objects = render(cluster, f"helm install -n wormhole-server pods helm/ {server_values}")
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=yaml.safe_dump_all(
        [o for o in objects if o["kind"] in ("ServiceAccount", "Role", "RoleBinding", "Service")]))
    server = Pod(cluster, directory / "server", objects, "server")
    client = None
    try:
        wait_for(lambda: f"the server is ready\n{server.log()}", lambda: "ready" in server.log() and
                 server.exec("status").returncode == 0, 40)
        port = int(re.search(r"tunnel port \S+:(\d+), path", server.log())[1])

        client_values = (f"--set client.enabled=true,client.name=edge1,client.serverDsn=ws://127.0.0.1:{port}/wh/tunnel "
                         "--set 'extraArgs={--metrics-host,127.0.0.1,--metrics-port,0}'")
        namespace, text, objects = render(cluster, f"helm install -n wormhole-client pods helm/ {client_values}")
        cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=yaml.safe_dump_all(
            [o for o in objects if o["kind"] in ("ServiceAccount", "ClusterRole", "ClusterRoleBinding")]))
        client = Pod(cluster, directory / "client", objects, "client")
        fingerprint = wait_for(lambda: f"a fingerprint\n{client.log()}",
                               lambda: re.search(r"SHA256:[\w-]{43}", client.log()), 40)[0]
        wait_for(lambda: server.exec("requests", "list").stdout + server.log(),
                 lambda: fingerprint in server.exec("requests", "list").stdout, 40)
        accepted = server.exec("requests", "accept", fingerprint)
        assert accepted.returncode == 0, accepted.stderr
        cluster.service("shop", "web", annotations={"wormhole.glothriel.github.com/exposed": "yes"})
        wait_for(lambda: f"the mirrored Service\n{server.log()}\n{client.log()}",
                 lambda: cluster.exists("/api/v1/namespaces/wormhole-server/services/edge1-shop-web"), 40)
        policy = "/apis/networking.k8s.io/v1/namespaces/wormhole-server/networkpolicies/edge1-shop-web"
        assert cluster.exists(policy)
        service = cluster.request("GET", "/api/v1/namespaces/wormhole-server/services/edge1-shop-web")
        assert service["spec"]["selector"] == {"application": "wormhole-pods-server"}
        assert service["metadata"]["ownerReferences"][0]["name"] == "wormhole-pods-server"
        for pod in (server, client):
            status = pod.exec("status", *(["--client"] if pod is client else []))
            assert "in step" in status.stdout, status.stdout + status.stderr

        # What `helm test` runs, against this server, as the pod's user.
        _, _, objects = render(cluster, f"helm install -n wormhole-server pods helm/ {server_values}")
        test, = (o for o in objects if o["kind"] == "Pod")
        container, = test["spec"]["containers"]
        assert container["command"][0] == "/usr/bin/wormhole"
        words = [w.replace("//wormhole-pods-server:8080", f"//127.0.0.1:{port}") for w in container["command"][1:]]
        assert words != container["command"][1:]
        good = server.exec(*words)
        assert good.returncode == 0, good.stdout + good.stderr
        bad = server.exec(*[w.replace("/wh/tunnel", "/wrong") for w in words])
        assert bad.returncode == 69 and "404" in bad.stdout + bad.stderr, "it must be able to fail"
    finally:
        codes = [pod.stop() for pod in (client, server) if pod is not None]
    assert codes == [0, 0], f"{codes}\n{server.log()}\n{client.log()}"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for the pod's user and mounts")
def test_identity_and_admin_token_from_secrets(cluster):
    """The identity of one server's volume, put into a Secret, is another server's; the admin API asks for the token."""
    directory = cluster.dir / "secrets"
    identities, secrets = [], {"wormhole-admin": {"token": b"sesame-" + b"x" * 32 + b"\n"}}
    base = ("--set server.enabled=true --set 'server.extraArgs={--host,127.0.0.1,--port,0,--admin-host,127.0.0.1,"
            "--admin-port,0}' --set 'extraArgs={--metrics-host,127.0.0.1,--metrics-port,0}'")
    for i, more in enumerate(("", "--set server.existingSecret=wormhole-identity "
                                  "--set server.adminToken.existingSecret=wormhole-admin")):
        (directory / str(i)).mkdir(parents=True)
        namespace, text, objects = render(cluster, f"helm install -n wormhole-server kept helm/ {base} {more}")
        cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(
            [o for o in objects if o["kind"] in ("ServiceAccount", "Role", "RoleBinding", "Service")]))
        server = Pod(cluster, directory / str(i), objects, "server", secrets)
        try:
            shown = wait_for(lambda: f"the server answers\n{server.log()}",
                             lambda: (lambda done: done.stdout if done.returncode == 0 else None)(
                                 server.exec("keys", "show")), 40)
            identities.append(re.search(r"SHA256:[\w-]{43}", shown)[0])
            if i == 1:
                port = int(wait_for("the admin API", lambda: re.search(r"admin API on \S+:(\d+)", server.log()))[1])
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                for token, status in ((None, 401), ("wrong", 401), ("sesame-" + "x" * 32, 404)):
                    headers = {"Authorization": f"Bearer {token}"} if token else {}
                    connection.request("POST", f"/v1/requests/{FINGERPRINT}", headers=headers)
                    answer = connection.getresponse()
                    answer.read()
                    assert answer.status == status, f"{token}: {answer.status}"
        finally:
            assert server.stop() == 0, server.log()
        made = directory / str(i) / "storage" / "wormhole" / "identity"
        if i == 0:
            secrets["wormhole-identity"] = {f.name: f.read_bytes() for f in made.iterdir() if f.is_file()}
            assert secrets["wormhole-identity"]
    assert identities[0] == identities[1]
