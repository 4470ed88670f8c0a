# SPDX-License-Identifier: Apache-2.0
"""
Starts each role's real executable, alone, in the sandbox that it has in service, with this program as its supervisor.
Knows what each role wants to be told at its start; whoever uses it needs to know nothing of that.
"""
import contextlib
import json
import os
import socket
import subprocess
import tempfile
from pathlib import Path

import ipc
from ipc import E

AS_ROOT = os.geteuid() == 0
UID_BASE = 64700

# name in tests and tables: (role, side, executable, argument)
ROLES = {
    "crypto": (E.ROLE_CRYPTO, E.SIDE_SERVER, "wormhole-crypto", None),
    "server-session": (E.ROLE_SESSION, E.SIDE_SERVER, "wormhole-net", "session"),
    "client-session": (E.ROLE_SESSION, E.SIDE_CLIENT, "wormhole-net", "session"),
    "dialer": (E.ROLE_DIALER, E.SIDE_CLIENT, "wormhole-net", "dialer"),
    "admin": (E.ROLE_ADMIN, E.SIDE_SERVER, "wormhole-net", "admin"),
    "k8s": (E.ROLE_K8S, E.SIDE_SERVER, "wormhole-k8s", None),
}

SESSION_START = dict(connection=1, remote="127.0.0.1:1", path="/wh/tunnel", max_record=32768, handshake_ms=10000,
                     ping_ms=22500, dead_ms=60000, stream_window=262144, stream_window_max=8388608,
                     connection_window=1048576, connection_window_max=33554432, max_streams=20000,
                     half_closed_idle_s=3600, rekey_hard_bytes=1 << 36, rekey_hard_records=1 << 24)


class Den:
    """A directory with what the roles need: an empty root, keys, a kubeconfig, and things to be kept away from."""

    def __init__(self, directory):
        self.path = Path(directory)
        os.chmod(self.path, 0o755)
        self.empty = self._directory("empty", 0, 0o755)
        self.keys = self._directory("keys", self.uid("crypto"), 0o700)
        self.database = self.path / "wormhole.db"
        self.database.write_text("not for workers")
        os.chmod(self.database, 0o600)
        self.secret = self.path / "secret"
        self.secret.write_text("readable by all, in no worker's list")
        self.scratch = self._directory("scratch", 0, 0o1777)
        self.kubeconfig = self.path / "kubeconfig"
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:1"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}]}))

    def _directory(self, name, uid, mode):
        path = self.path / name
        path.mkdir()
        os.chmod(path, mode)
        if AS_ROOT:
            os.chown(path, uid, uid)
        return path

    @staticmethod
    def uid(role):
        return UID_BASE + list(ROLES).index(role) if AS_ROOT else 0


@contextlib.contextmanager
def den():
    with tempfile.TemporaryDirectory(prefix="wormhole-walls-") as directory:
        yield Den(directory)


def messages(role, den, keep, session_socket=None):
    """What the supervisor says to this role between WORKER_SETUP and WORKER_BEGIN."""
    if role == "crypto":
        return [("CRYPTO_SETUP", dict(key_dir=str(den.keys), rsa_bits=2048, name="edge1", suites=1, max_record=32768,
                                      owner_uid=den.uid("crypto")))]
    if role == "dialer":
        return [("DIALER_SETUP", dict(host="127.0.0.1", port=9, connect_ms=1000))]
    if role == "admin":
        return [("ADMIN_SETUP", dict(api_is_loopback=1, token_required=0, max_connections=64))]
    if role == "k8s":
        return [("K8S_SETUP", dict(kubeconfig=str(den.kubeconfig), namespace="default", instance="x",
                                   labels="application=wormhole-server", grace_ms=1000, watch_s=300, relist_s=300))]
    def other_end(kind=socket.SOCK_SEQPACKET):
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        keep.append(ours)
        return theirs

    start = [("SESSION_START", SESSION_START)]
    if role == "client-session":
        start.append(("SESSION_TARGET", dict(host="127.0.0.1", port=9)))
        start.append(("SESSION_DIAL_CHANNEL", dict(connection=1), other_end()))
    else:
        start.append(("SESSION_SOCKET", dict(connection=1), session_socket or other_end(socket.SOCK_STREAM)))
    return start + [("SESSION_HANDSHAKE_CHANNEL", dict(connection=1), other_end())]


def start(role, den, binaries, landlock=255, probe=0, environment=None, session_socket=None, chroot=True,
          single_uid=False):
    """The process, set up and told to begin; the caller waits for WORKER_READY."""
    number, side, executable, argument = ROLES[role]
    worker = ipc.Worker([str(Path(binaries) / executable)] + ([argument] if argument else []),
                        env={**os.environ, **(environment or {})})
    worker.peers = []  # our ends of its other channels live as long as it does
    uid = 0 if single_uid else den.uid(role)
    told = messages(role, den, worker.peers, session_socket)
    with contextlib.suppress(ipc.Closed):  # it may have ended before it was told all: whoever waits for READY learns it
        worker.setup(number, side, messages=told, uid=uid, gid=uid,
                     landlock_max=landlock, test_probe=probe,
                     chroot_dir=str(den.empty) if AS_ROOT and chroot else "")
    for _, _, *descriptor in told:
        if descriptor and descriptor[0] is not session_socket:
            descriptor[0].close()
    return worker


@contextlib.contextmanager
def sibling(uid):
    """A process with the same uid as a worker, for it to be kept away from."""
    extra = dict(user=uid, group=uid, extra_groups=[]) if AS_ROOT and uid else {}
    process = subprocess.Popen(["/bin/sleep", "1000"], **extra)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
