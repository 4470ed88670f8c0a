# SPDX-License-Identifier: Apache-2.0
"""
A real, small Kubernetes control plane for tests: etcd and kube-apiserver (and, on request, the garbage collector of
kube-controller-manager) as plain processes on loopback, with kubectl and helm to talk to it. It must not imitate
anything: where a part is missing the tests are skipped with that reason.
"""
import base64
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm"


def cache_dir():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME", "/tmp"), ".cache")
    return Path(os.environ.get("WORMHOLE_TEST_CACHE") or os.path.join(base, "wormhole-tests"))


def parts():
    """Where the real parts are: what tests/kubernetes/setup wrote down, and the environment, which wins."""
    found = {}
    try:
        for line in (cache_dir() / "parts.env").read_text().splitlines():
            name, _, value = line.partition("=")
            if value and os.access(value, os.X_OK):
                found[name] = value
    except OSError:
        pass
    for name, program in (("KUBE_APISERVER", "kube-apiserver"), ("KUBE_CONTROLLER_MANAGER", "kube-controller-manager"),
                          ("KUBECTL", "kubectl"), ("HELM", "helm"), ("ETCD", "etcd")):
        if os.environ.get(name):
            found[name] = os.environ[name]
        elif name not in found and shutil.which(program):
            found[name] = shutil.which(program)
    return found


def missing(*names):
    """A reason to skip, or None."""
    have = parts()
    lacking = [n for n in names if n not in have]
    return f"{', '.join(lacking)} not there: run tests/kubernetes/setup" if lacking else None


def wait_for(what, condition, timeout=20.0, every=0.02):
    """Waits until condition() is true and returns its value; what: for the failure's message."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:.0f} s: {what() if callable(what) else what}")
        time.sleep(every)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class ApiError(Exception):
    def __init__(self, status, body):
        super().__init__(f"HTTP {status}: {body[:300]}")
        self.status, self.body = status, body


class Cluster:
    """etcd + kube-apiserver. service_range inside 127.0.0.0/8 makes cluster addresses real loopback addresses."""

    def __init__(self, service_range="127.96.0.0/16", extra=()):
        self.parts = parts()
        self.dir = Path(tempfile.mkdtemp(prefix="wormhole-k8s-"))
        os.chmod(self.dir, 0o755)  # workers with another uid read token files below it
        self.service_range, self.extra = service_range, list(extra)
        self.port, self.etcd_port, self.etcd_peer = free_port(), free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.etcd = self.api = self.manager = None
        self.etcd_data = self.dir / "etcd"
        subprocess.run(["openssl", "genrsa", "-out", self.dir / "sa.key", "2048"], check=True, capture_output=True)
        subprocess.run(["openssl", "rsa", "-in", self.dir / "sa.key", "-pubout", "-out", self.dir / "sa.pub"],
                       check=True, capture_output=True)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", "-subj", "/CN=clients", "-keyout", self.dir / "clients.key", "-out",
                        self.dir / "clients.crt"], check=True, capture_output=True)
        (self.dir / "tokens.csv").write_text('admintoken,admin,admin,"system:masters"\n')
        try:
            self.start_etcd()
            self.start_api()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        self.ca = self.dir / "certs" / "apiserver.crt"
        os.chmod(self.dir / "certs", 0o755)
        self.kubeconfig = self.write_kubeconfig("admin.yaml", "admintoken")

    # ---- processes ----

    def _spawn(self, name, argv):
        with open(self.dir / f"{name}.log", "ab") as log:
            return subprocess.Popen([str(a) for a in argv], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                    cwd=self.dir)

    def start_etcd(self, data=None):
        if data is not None:
            self.etcd_data = data
        client, peer = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{self.etcd_peer}"
        self.etcd = self._spawn("etcd", [
            self.parts["ETCD"], "--data-dir", self.etcd_data, "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"default={peer}", "--log-level", "error", "--unsafe-no-fsync"])

    def start_api(self):
        self.api = self._spawn("apiserver", [
            self.parts["KUBE_APISERVER"], f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            f"--cert-dir={self.dir}/certs", "--bind-address=127.0.0.1", f"--secure-port={self.port}",
            f"--service-cluster-ip-range={self.service_range}", "--authorization-mode=RBAC",
            f"--client-ca-file={self.dir}/clients.crt", f"--token-auth-file={self.dir}/tokens.csv",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.dir}/sa.pub",
            f"--service-account-signing-key-file={self.dir}/sa.key",
            "--disable-admission-plugins=ServiceAccount", "--allow-privileged=true",
            "--service-account-extend-token-expiration=false", "--shutdown-delay-duration=0s",
            "--shutdown-watch-termination-grace-period=1s",
            *self.extra])

    def start_garbage_collector(self):
        self.manager = self._spawn("manager", [
            self.parts["KUBE_CONTROLLER_MANAGER"], f"--kubeconfig={self.kubeconfig}", "--leader-elect=false",
            "--controllers=garbage-collector-controller", "--bind-address=127.0.0.1", "--secure-port=0",
            f"--cert-dir={self.dir}/manager-certs"])

    @staticmethod
    def _end(process, how=signal.SIGTERM, timeout=15):
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill_api(self, how=signal.SIGKILL):
        self._end(self.api, how)

    def kill_etcd(self):
        self._end(self.etcd, signal.SIGKILL)

    def stop(self):
        for process in (self.manager, self.api, self.etcd):
            self._end(process, signal.SIGKILL)
        if not os.environ.get("WORMHOLE_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def wait_ready(self, timeout=90):
        def ready():
            if self.api.poll() is not None:
                tail = (self.dir / "apiserver.log").read_text(errors="replace")[-2000:]
                raise AssertionError(f"kube-apiserver ended with {self.api.returncode}: {tail}")
            try:
                return self.request("GET", "/readyz", raw=True) == b"ok"
            except (ApiError, OSError):
                return False
        wait_for("kube-apiserver is ready", ready, timeout, 0.1)
        # The default namespace is made by a controller of the server's own, a moment later.
        wait_for("namespace default", lambda: self.exists("/api/v1/namespaces/default"), 30, 0.1)

    # ---- talking to it ----

    def request(self, method, path, body=None, token="admintoken", content_type="application/json", raw=False):
        context = ssl._create_unverified_context()  # noqa: S323: loopback, our own process
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method, headers={
            "Authorization": f"Bearer {token}", "Content-Type": content_type, "Accept": "application/json"})
        try:
            with urllib.request.urlopen(request, context=context, timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as e:
            raise ApiError(e.code, e.read().decode(errors="replace")) from None
        return text if raw else json.loads(text)

    def exists(self, path):
        try:
            self.request("GET", path)
            return True
        except ApiError as e:
            if e.status != 404:
                raise
            return False

    def items(self, path):
        return self.request("GET", path)["items"]

    def kubectl(self, *args, stdin=None, check=True, kubeconfig=None):
        done = subprocess.run([self.parts["KUBECTL"], f"--kubeconfig={kubeconfig or self.kubeconfig}", *map(str, args)],
                              input=stdin, capture_output=True, text=True, timeout=60,
                              env={**os.environ, "HOME": str(self.dir)})
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(map(str, args))}: {done.stderr}")
        return done

    def helm(self, *args, check=True):
        done = subprocess.run([self.parts["HELM"], f"--kubeconfig={self.kubeconfig}", *map(str, args)],
                              capture_output=True, text=True, timeout=60,
                              env={**os.environ, "HOME": str(self.dir)})
        if check and done.returncode != 0:
            raise AssertionError(f"helm {' '.join(map(str, args))}: {done.stderr}{done.stdout}")
        return done

    def namespace(self, name, labels=None):
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels or {}}})

    def service(self, namespace, name, ports=((80, "http"),), annotations=None, **spec):
        """Creates a Service; ports: (number, name[, protocol[, targetPort]])."""
        return self.request("POST", f"/api/v1/namespaces/{namespace}/services", {
            "metadata": {"name": name, "annotations": annotations or {}},
            "spec": {"ports": [{"port": p[0], "name": p[1], "protocol": p[2] if len(p) > 2 else "TCP",
                                "targetPort": p[3] if len(p) > 3 else p[0]} for p in ports], **spec}})

    def annotate(self, namespace, service, /, **annotations):
        """exposed='yes', name=…, ports=…; None removes."""
        return self.request("PATCH", f"/api/v1/namespaces/{namespace}/services/{service}", {
            "metadata": {"annotations": {f"wormhole.glothriel.github.com/{k}": v for k, v in annotations.items()}}},
            content_type="application/merge-patch+json")

    def delete_service(self, namespace, name):
        self.request("DELETE", f"/api/v1/namespaces/{namespace}/services/{name}")

    def events(self, namespace, name, reason=None):
        return [e for e in self.items(f"/api/v1/namespaces/{namespace}/events")
                if e["involvedObject"].get("name") == name and reason in (None, e["reason"])]

    # ---- identities ----

    def chart_rbac(self, release, namespace, *values):
        """Renders the chart and applies its service accounts and roles, and nothing else."""
        args = ["template", release, CHART, "-n", namespace, "--show-only", "templates/serviceaccount.yaml"]
        for value in values:
            args += ["--set", value]
        role = "server" if any(v.startswith("server.") for v in values) else "client"
        text = self.helm(*args, "--show-only", f"templates/{role}-rbac.yaml").stdout
        self.kubectl("apply", "-f", "-", stdin=text)
        return f"wormhole-{release}-{role}"

    def token(self, namespace, account, seconds=3600):
        body = {"spec": {"expirationSeconds": seconds}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return self.request("POST", path, body)["status"]["token"]

    def client_certificate(self, user, group):
        """(certificate, key) paths of somebody whom the server knows by certificate."""
        key, request, certificate = (self.dir / f"{user}.{kind}" for kind in ("key", "csr", "crt"))
        subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                        f"/O={group}/CN={user}", "-keyout", key, "-out", request], check=True, capture_output=True)
        subprocess.run(["openssl", "x509", "-req", "-in", request, "-CA", self.dir / "clients.crt", "-CAkey",
                        self.dir / "clients.key", "-CAcreateserial", "-days", "2", "-out", certificate], check=True,
                       capture_output=True)
        return certificate, key

    def write_kubeconfig(self, file, token=None, url=None, token_file=None, ca=None, namespace=None, extra=None):
        user = {"tokenFile": str(token_file)} if token_file else {"token": token}
        cluster = {"server": url or self.url,
                   "certificate-authority-data": base64.b64encode(Path(ca or self.ca).read_bytes()).decode()}
        cluster.update(extra or {})
        context = {"cluster": "test", "user": "test"}
        if namespace:
            context["namespace"] = namespace
        path = self.dir / file
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": context}],
            "clusters": [{"name": "test", "cluster": cluster}], "users": [{"name": "test", "user": user}]}))
        return path
