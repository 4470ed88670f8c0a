# SPDX-License-Identifier: Apache-2.0
"""
The real wormhole-crypto process with this program as its supervisor and as its sessions: what a test needs to let
the Python peer talk to the C state machines without a network. It must not check anything by itself.
"""
import os
import shutil
import tempfile

import ipc
from ipc import E

BIN = os.environ.get("WORMHOLE_BIN", str(ipc.ROOT / "build/release/bin"))
AS_ROOT = os.geteuid() == 0
UID = 64101 if AS_ROOT else 0


def key_dir():
    """An empty 0700 directory that the crypto worker's uid owns."""
    path = tempfile.mkdtemp(prefix="wormhole-keys-")
    os.chmod(path, 0o700)
    if AS_ROOT:
        os.chown(path, UID, UID)
    return path


class Session:
    """A session's end of a handshake channel."""

    def __init__(self, crypto, connection, channel):
        self.crypto, self.connection, self.channel = crypto, connection, channel

    def start(self):
        self.channel.send("HS_START", connection=self.connection)

    def feed(self, message):
        """A binary websocket message came from the peer."""
        self.channel.send("HS_RECEIVED", data=message)

    def message(self, timeout=10):
        """The next message that is to go to the peer."""
        return self.channel.expect("HS_SEND", timeout=timeout, skip=("HS_WAIT",)).data

    def keys(self, timeout=10):
        """{direction: HS_KEYS}, both."""
        both = [self.channel.expect("HS_KEYS", timeout=timeout) for _ in range(2)]
        return {k.direction: k for k in both}

    def failure(self, timeout=10):
        return self.channel.expect("HS_FAIL", timeout=timeout, skip=("HS_SEND", "HS_WAIT"))

    def close(self):
        self.channel.close()


class Crypto:
    """One wormhole-crypto process, side SIDE_SERVER or SIDE_CLIENT."""

    def __init__(self, side, directory=None, handshake_ms=0, heartbeat_ms=0, instance=bytes(16), wait_ready=True, **setup):
        self.side, self.owned = side, directory is None
        self.directory = directory or key_dir()
        self.instance, self.last = instance, 0
        self.sessions = []
        self.worker = ipc.Worker([BIN + "/wormhole-crypto"])
        fields = dict(key_dir=self.directory, rsa_bits=2048, name="edge1", owner_uid=UID, max_record=32768,
                      handshake_ms=handshake_ms, heartbeat_ms=heartbeat_ms)
        fields.update(setup)
        self.worker.setup(E.ROLE_CRYPTO, side, [("CRYPTO_SETUP", fields)], uid=UID, gid=UID)
        if wait_ready:
            self.ready, _ = self.worker.ready()
            self.identity = self.up.expect("CRYPTO_IDENTITY")

    @property
    def up(self):
        return self.worker.channel

    def session(self, slot=0, start=True):
        self.last += 1
        ours, theirs = ipc.pair()
        self.up.send("CRYPTO_SESSION", fd=theirs, connection=self.last, remote="127.0.0.1:1", slot=slot,
                     instance=self.instance)
        theirs.close()
        session = Session(self, self.last, ours)
        self.sessions.append(session)
        if start:
            session.start()
        return session

    def answer(self, ask, verdict, code=0, ttl_s=600, retry_after_s=0):
        self.up.send("APPROVAL_ANSWER", connection=ask.connection, fingerprint=ask.fingerprint, verdict=verdict,
                     code=code, ttl_s=ttl_s, retry_after_s=retry_after_s)

    def synchronise(self):
        """Everything that was sent to the process on its own channel before has been handled."""
        self.up.send("WORKER_PING", nonce=1)
        self.up.expect("WORKER_PONG", skip=("HANDSHAKE_FAILED", "WORKER_VIOLATION"))

    def close(self):
        for session in self.sessions:
            session.close()
        status = self.worker.stop()
        if self.owned:
            shutil.rmtree(self.directory, ignore_errors=True)
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
