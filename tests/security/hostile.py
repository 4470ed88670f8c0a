# SPDX-License-Identifier: Apache-2.0
"""
Puts the test in the place of a worker of a real supervisor: a directory with copies of the executables where the chosen
roles are tests/security/hostile.c, which hands its channel over. Also every wrong packet that a worker could send.
"""
import os
import shutil
import socket
import struct
import time
from pathlib import Path

import ipc
import tunnel

WORKERS = ("wormhole-net", "wormhole-crypto", "wormhole-k8s")


class Bridge:
    """A directory of executables; workers of the hostile roles arrive with next()."""

    def __init__(self, hosts, *roles, like=None, name=None):
        self.directory = Path(hosts.directory(name or "hostile-" + "-".join(roles)))
        if like is not None:
            for entry in like.directory.iterdir():
                if entry.name != "bridge":
                    os.link(entry, self.directory / entry.name)
        else:
            self._fill(Path(tunnel.BIN), roles)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(str(self.directory / "bridge"))
        os.chmod(self.directory / "bridge", 0o777)
        self.socket.listen(256)
        hosts.cleanups.append(self.socket.close)

    def _fill(self, real, roles):
        shutil.copy(real / "wormhole", self.directory)
        for name in WORKERS:
            shutil.copy(real / name, self.directory / ("real-" + name))
            shutil.copy(real.parent / "probes/hostile", self.directory / name)
        for role in roles:
            (self.directory / ("hostile-" + role)).touch()

    def next(self, role=None, timeout=tunnel.PATIENCE):
        """The next hostile worker, as the one whose channel the test now has."""
        self.socket.settimeout(timeout)
        connection, _ = self.socket.accept()
        with connection:
            connection.settimeout(timeout)
            text, ancillary, _, _ = connection.recvmsg(64, socket.CMSG_SPACE(4))
        name, pid = text.decode().split()
        assert role is None or name == role, f"a {name} worker came, not a {role} worker"
        fd = struct.unpack("i", ancillary[0][2])[0]
        return HostileWorker(name, int(pid), ipc.Channel(socket.socket(fileno=fd)))


class HostileWorker:
    def __init__(self, role, pid, channel):
        self.role, self.pid, self.channel = role, pid, channel
        self.setup = []

    def boot(self):
        """Hears out what a worker is told before WORKER_BEGIN."""
        while True:
            message = self.channel.recv()
            self.setup.append(message)
            if message.type == "WORKER_BEGIN":
                return self

    def told(self, name):
        return next(m for m in self.setup if m.type == name)

    def ready(self):
        self.boot()
        self.channel.send("WORKER_READY", layers=0xffff, landlock_abi=7)
        return self

    def is_dead(self):
        """Killed, or a zombie that is about to be reaped."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    def wait_killed(self, what):
        tunnel.wait(self.is_dead, f"the death of a {self.role} worker that sent {what}", timeout=10, pause=0.001)
        self.close()

    def close(self):
        self.channel.close()
        for message in self.setup:
            if message.fd is not None:
                try:
                    os.close(message.fd)
                except OSError:
                    pass
                message.fd = None


def permitted(message, kind, direction, state):
    channels = {c for c in message.channels if c != "WORKERS"}
    if "WORKERS" in message.channels:
        channels |= {"CH_SESSION", "CH_CRYPTO", "CH_DIALER", "CH_ADMIN", "CH_K8S"}
    return kind in channels and message.direction == direction and (
        "ANY" in message.states or state in message.states)


def crimes(kind, direction, state):
    """
    Every way to break the rules of a channel in a state, as (what it is, [(packet, descriptors)…]): each message that is
    not permitted, each that is with one byte less, one more, a descriptor too many or missing, and what is no message.
    """
    found = [("a packet of one byte", [(b"\1", 0)]), ("number 0", [(b"\0\0", 0)]),
             ("an unknown number", [(struct.pack("<H", 254), 0)]), ("a huge number", [(b"\xff\xff" * 8, 0)]),
             ("a packet over the limit", [(struct.pack("<H", 3) + bytes(ipc.MESSAGE_MAX), 0)]),
             ("the largest packet of nothing", [(bytes(ipc.MESSAGE_MAX), 0)])]
    for message in ipc.BY_NUMBER.values():
        whole = ipc.encode(message.name)
        if not permitted(message, kind, direction, state):
            found.append((message.name, [(whole, message.descriptors)]))
            continue
        if len(whole) > 2:
            found.append((message.name + " cut short", [(whole[:-1], message.descriptors)]))
        found.append((message.name + " with a byte too many", [(whole + b"\0", message.descriptors)]))
        for field in message.fields:
            if field.kind in ("STR", "SECRETSTR", "BYTES"):
                found.append((f"{message.name} with a long {field.name}", [(oversized(message, field), 0)]))
            if field.kind in ("STR", "SECRETSTR"):
                found.append((f"{message.name} with a NUL in {field.name}", [(with_nul(message, field), 0)]))
        found.append((message.name + " with a descriptor more", [(whole, message.descriptors + 1)]))
        found.append((message.name + " with many descriptors", [(whole, 12)]))
        if message.descriptors:
            found.append((message.name + " without its descriptor", [(whole, 0)]))
    return found


def oversized(message, field):
    """The message with this field one byte over its maximum, all lengths told truly."""
    parts = [struct.pack("<H", message.number)]
    for f in message.fields:
        if f is field:
            parts.append(struct.pack("<H", f.size + 1) + b"x" * (f.size + 1))
        else:
            parts.append(f.encode(f.default()))
    return b"".join(parts)


def with_nul(message, field):
    parts = [struct.pack("<H", message.number)]
    for f in message.fields:
        parts.append(struct.pack("<H", 3) + b"a\0b" if f is field else f.encode(f.default()))
    return b"".join(parts)


def commit(channel, packets):
    """Sends the packets of a crime; a channel that is closed in the middle is what the crime is for."""
    null = os.open("/dev/null", os.O_RDONLY)
    try:
        for packet, descriptors in packets:
            channel.send_packet(packet, [null] * descriptors)
    except (ipc.Closed, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (32, 90, 104):
            raise
    finally:
        os.close(null)


def memory_kib(pid):
    """Private memory of a process."""
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean", "Private_Dirty")):
            total += int(line.split()[1])
    return total


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def settle(pid, timeout=5):
    """Waits until a process's memory and descriptors stand still; returns (KiB, descriptors)."""
    last, since = None, time.monotonic()
    deadline = since + timeout
    while time.monotonic() < deadline:
        now = (memory_kib(pid), descriptors(pid))
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > 0.2:
            break
        time.sleep(0.02)
    return last
