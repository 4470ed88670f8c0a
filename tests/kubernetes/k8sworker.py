# SPDX-License-Identifier: Apache-2.0
"""
A real wormhole-k8s process, in its real sandbox, with the test as its supervisor. Keeps what the worker reports as
plain dictionaries that tests wait on. It must not be kinder than the supervisor: an unexpected message fails the test.
"""
import os
import socket
import threading
import time

import ipc
from cluster import wait_for
from ipc import E

BIN = os.environ.get("WORMHOLE_BIN", str(ipc.ROOT / "build/release/bin"))
AS_ROOT = os.geteuid() == 0
WORKER_UID = 64105 if AS_ROOT else 0


class K8sWorker:
    def __init__(self, side, kubeconfig, env=None, uid=WORKER_UID, **setup):
        fields = dict(kubeconfig=str(kubeconfig), watch_s=300, relist_s=600)
        if side == E.SIDE_SERVER:
            fields.update(namespace="wormhole", labels="application=wormhole-server", grace_ms=1000)
        fields.update(setup)
        self.worker = ipc.Worker([BIN + "/wormhole-k8s"], env=env)
        self.apps, self.mirrored, self.states, self.logs = {}, {}, [], []
        self.found, self.lost = 0, 0  # messages, in all
        self.problem = None
        self.lock = threading.Lock()
        self.worker.setup(E.ROLE_K8S, side, [("K8S_SETUP", fields)], uid=uid, gid=uid, log_level=E.LEVEL_DEBUG)
        self.is_ready, _ = self.worker.ready()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        channel = self.worker.channel
        while True:
            try:
                message = channel.recv(timeout=3600, logs=True)
            except (ipc.IpcError, OSError, ValueError) as e:
                if not isinstance(e, ipc.Closed):
                    self.problem = e
                return
            with self.lock:
                self._take(message)

    def _take(self, m):
        if m.type == "WORKER_LOG":
            self.logs.append((m.level, m.text))
        elif m.type == "K8S_APP_FOUND":
            assert m.key not in self.apps, f"{m.key} was found twice without being lost"
            self.found += 1
            self.apps[m.key] = m
        elif m.type == "K8S_APP_LOST":
            self.lost += 1
            del self.apps[m.key]
        elif m.type == "K8S_MIRRORED":
            self.mirrored[(m.peer, m.app)] = m
        elif m.type == "K8S_STATE":
            self.states.append(m)
        elif m.type != "WORKER_PONG":
            raise AssertionError(f"unexpected {m}")

    @property
    def state(self):
        return self.states[-1] if self.states else None

    def names(self):
        """{app name: "host:port"}"""
        with self.lock:
            return {m.name: f"{m.host}:{m.port}" for m in self.apps.values()}

    def wait_names(self, expected, timeout=15.0):
        wait_for(lambda: f"apps {sorted(expected)}; have {sorted(self.names())}\n{self.tail()}",
                 lambda: set(self.names()) == set(expected), timeout)
        return self.names()

    def wait_synced(self, timeout=15.0):
        wait_for(lambda: f"synced and ready; {self.state}\n{self.tail()}",
                 lambda: self.state is not None and self.state.synced and self.state.ready, timeout)

    def wait_state(self, condition, timeout=15.0):
        return wait_for(lambda: f"a state; last is {self.state}\n{self.tail()}",
                        lambda: self.state is not None and condition(self.state) and self.state, timeout)

    def wait_log(self, text, timeout=15.0, since=0):
        return wait_for(lambda: f"log line with \"{text}\"\n{self.tail()}",
                        lambda: next((line for _, line in list(self.logs)[since:] if text in line), None), timeout)

    def tail(self):
        return "\n".join(f"  {level} {text}" for level, text in list(self.logs)[-15:])

    def mirror(self, peer, app, port=80, target_port=30007, app_protocol=""):
        self.worker.channel.send("K8S_MIRROR", peer=peer, app=app, port=port, target_port=target_port,
                                 app_protocol=app_protocol)

    def unmirror(self, peer, app):
        self.worker.channel.send("K8S_UNMIRROR", peer=peer, app=app)

    def sweep(self):
        self.worker.channel.send("K8S_SWEEP", now=1)

    def wait_mirrored(self, peer, app, done=True, timeout=15.0):
        key = (peer, app)
        return wait_for(lambda: f"{key} mirrored={done}; {self.mirrored.get(key)}\n{self.tail()}",
                        lambda: key in self.mirrored and bool(self.mirrored[key].done) == done and self.mirrored[key],
                        timeout)

    def synchronise(self):
        """Everything that was sent to the worker before has been taken."""
        self.worker.channel.send("WORKER_PING", nonce=time.monotonic_ns())

    def status(self, *keys):
        """Fields of /proc/PID/status; sizes in KiB."""
        out = {}
        with open(f"/proc/{self.worker.pid}/status", encoding="ascii") as f:
            for line in f:
                name, _, value = line.partition(":")
                if name in keys:
                    out[name] = int(value.split()[0])
        return out

    def cpu_seconds(self):
        with open(f"/proc/{self.worker.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        try:
            self.worker.channel.sock.shutdown(socket.SHUT_RDWR)  # close() would leave it open for the reading thread
        except OSError:
            pass
        self.thread.join(5)
        code = self.worker.stop()
        assert self.problem is None, self.problem
        return code

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        alive = self.worker.alive()
        code = self.stop()
        if kind is None:
            assert alive, f"the worker ended by itself with {code}\n{self.tail()}"
            assert code == 0, f"exit code {code}\n{self.tail()}"


def client(kubeconfig, **setup):
    return K8sWorker(E.SIDE_CLIENT, kubeconfig, **setup)


def server(kubeconfig, **setup):
    return K8sWorker(E.SIDE_SERVER, kubeconfig, **setup)
