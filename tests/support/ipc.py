# SPDX-License-Identifier: Apache-2.0
"""
Speaks the IPC between Wormhole's processes from Python, so that tests can play the supervisor or a worker against
real executables. Everything is read from common/messages.def and the C headers, so a new message needs no change
here. It must not know what a message means, and must not be lenient: what C refuses, this refuses.

    pair = ipc.pair()                                     # (upper, lower) Channel ends
    up.send("APPROVAL_ANSWER", connection=1, fingerprint=fp, verdict=ipc.E.VERDICT_APPROVED)
    message = up.expect("CONNECTION_OPEN", timeout=5)     # message.fingerprint, message.fd
    worker = ipc.Worker([BIN + "/wormhole-crypto"])       # real process with the channel on its fd 3
"""
import array
import errno
import os
import re
import select
import signal
import socket
import struct
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
MESSAGE_MAX = 16384
WORKER_FD = 3


class IpcError(Exception):
    """A packet or a field that breaks the rules of common/messages.def."""


class Timeout(IpcError):
    pass


class Closed(IpcError):
    """The other end closed the channel."""


def _strip_comments(text):
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.S)


class Field:
    def __init__(self, kind, name, size):
        self.kind, self.name, self.size = kind, name, size

    _INTEGERS = {"U8": "<B", "U16": "<H", "U32": "<I", "U64": "<Q"}

    def default(self):
        if self.kind in self._INTEGERS:
            return 0
        if self.kind in ("STR", "SECRETSTR"):
            return ""
        return b"" if self.kind == "BYTES" else bytes(self.size)

    def encode(self, value):
        if self.kind in self._INTEGERS:
            return struct.pack(self._INTEGERS[self.kind], int(value))
        data = value.encode() if isinstance(value, str) else bytes(value)
        if self.kind in ("FIXED", "SECRET"):
            if len(data) != self.size:
                raise IpcError(f"{self.name}: {len(data)} bytes, must be {self.size}")
            return data
        if len(data) > self.size:
            raise IpcError(f"{self.name}: {len(data)} bytes, at most {self.size}")
        return struct.pack("<H", len(data)) + data

    def decode(self, packet, at):
        if self.kind in self._INTEGERS:
            size = struct.calcsize(self._INTEGERS[self.kind])
            if at + size > len(packet):
                raise IpcError(f"{self.name}: packet too short")
            return struct.unpack_from(self._INTEGERS[self.kind], packet, at)[0], at + size
        if self.kind in ("FIXED", "SECRET"):
            size = self.size
        else:
            if at + 2 > len(packet):
                raise IpcError(f"{self.name}: packet too short")
            size = struct.unpack_from("<H", packet, at)[0]
            at += 2
            if size > self.size:
                raise IpcError(f"{self.name}: {size} bytes, at most {self.size}")
        if at + size > len(packet):
            raise IpcError(f"{self.name}: packet too short")
        data = packet[at:at + size]
        if self.kind in ("STR", "SECRETSTR"):
            if b"\0" in data:
                raise IpcError(f"{self.name}: NUL inside text")
            return data.decode("utf-8", "surrogateescape"), at + size
        return data, at + size


class MessageType:
    def __init__(self, name, number, channels, direction, states, times, descriptors, fields):
        self.name, self.number, self.fields = name, number, fields
        self.channels, self.direction, self.states = channels, direction, states
        self.once, self.descriptors = times == "ONCE", descriptors


def _split_arguments(text):
    """Splits a macro's arguments at the commas of the outer level."""
    parts, depth, current = [], 0, ""
    for c in text:
        depth += (c == "(") - (c == ")")
        if c == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += c
    return parts + [current.strip()]


def _macro_calls(text, name):
    for match in re.finditer(r"\b" + name + r"\(", text):
        depth, at = 1, match.end()
        while depth > 0:
            depth += (text[at] == "(") - (text[at] == ")")
            at += 1
        yield text[match.end():at - 1]


def load_messages(path=ROOT / "common/messages.def"):
    by_name, by_number = {}, {}
    for call in _macro_calls(_strip_comments(Path(path).read_text()), "MESSAGE"):
        name, _, number, channels, direction, states, times, descriptors, rest = _split_arguments(call)[:9]
        fields = []
        for kind, arguments in re.findall(r"F_(\w+)\(([^)]*)\)", rest):
            parts = [p.strip() for p in arguments.split(",")]
            fields.append(Field(kind, parts[0], int(parts[1], 0) if len(parts) > 1 else 0))
        split = lambda text: [p.strip() for p in text.split("|")]
        m = MessageType(name, int(number), split(channels), direction, split(states), times, int(descriptors), fields)
        if name in by_name or m.number in by_number:
            raise IpcError(f"{name} ({number}) is defined twice")
        by_name[name], by_number[m.number] = m, m
    return by_name, by_number


def load_constants(*headers):
    """Enumerators and integer #defines of headers, as attributes."""
    values = {}

    def evaluate(expression):
        expression = re.sub(r"\b(0[xX][0-9a-fA-F]+|\d+)[uUlL]+\b", r"\1", expression)
        return int(eval(expression, {"__builtins__": {}}, values))  # noqa: S307: our own headers

    for header in headers:
        text = _strip_comments((ROOT / header).read_text())
        for body in re.findall(r"enum(?:\s+\w+)?\s*\{([^}]*)\}", text):
            following = 0
            for entry in filter(None, (e.strip() for e in body.split(","))):
                match = re.fullmatch(r"(\w+)(?:\s*=\s*(.+))?", entry, flags=re.S)
                if match is None:
                    break  # made by a macro
                try:
                    following = evaluate(match[2]) if match[2] else following
                except Exception:
                    break
                values[match[1]] = following
                following += 1
        for name, expression in re.findall(r"^#define\s+(\w+)[ \t]+([^\n]+)$", text, flags=re.M):
            try:
                values[name] = evaluate(expression)
            except Exception:
                continue
    return SimpleNamespace(**values)


BY_NAME, BY_NUMBER = load_messages()
E = load_constants("common/ipc_types.h", "common/protocol.h", "common/ipc.h")


class Message:
    """One received message: .type (its name), .fd (or None), .fields; a field also as an attribute, m.connection."""

    def __init__(self, type_name, fields, fd):
        self.type, self.fields, self.fd = type_name, fields, fd

    def __getattr__(self, key):
        try:
            return self.__dict__["fields"][key]
        except KeyError:
            raise AttributeError(key) from None

    def __repr__(self):
        return f"{self.type}({self.fields})"


def encode(name, /, **fields):
    """The packet of one message; fields that are not given are zero or empty."""
    m = BY_NAME[name]
    unknown = set(fields) - {f.name for f in m.fields}
    if unknown:
        raise IpcError(f"{name} has no field {', '.join(sorted(unknown))}")
    return struct.pack("<H", m.number) + b"".join(f.encode(fields.get(f.name, f.default())) for f in m.fields)


def decode(packet):
    """(type name, fields) of one packet; IpcError unless it is exactly one well-formed message."""
    if len(packet) < 2:
        raise IpcError("packet too short")
    number = struct.unpack_from("<H", packet)[0]
    if number not in BY_NUMBER:
        raise IpcError(f"unknown message {number}")
    m, at, fields = BY_NUMBER[number], 2, {}
    for f in m.fields:
        fields[f.name], at = f.decode(packet, at)
    if at != len(packet):
        raise IpcError(f"{m.name}: {len(packet) - at} bytes too many")
    return m.name, fields


class Channel:
    """One end of a SEQPACKET channel. Blocking with deadlines; keeps every log line that a worker sends."""

    def __init__(self, sock):
        self.sock = sock
        self.logs = []

    def fileno(self):
        return self.sock.fileno()

    def close(self):
        self.sock.close()

    def send_packet(self, packet, fds=()):
        ancillary = []
        if fds:
            numbers = array.array("i", [f if isinstance(f, int) else f.fileno() for f in fds])
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)]
        try:
            self.sock.sendmsg([packet], ancillary, socket.MSG_NOSIGNAL)
        except OSError as e:
            if e.errno in (errno.EPIPE, errno.ECONNRESET):
                raise Closed("the other end is gone") from e
            raise

    def send(self, message, /, fd=None, **fields):
        self.send_packet(encode(message, **fields), () if fd is None else (fd,))

    def recv_packet(self, timeout=10.0):
        """(packet, descriptors). Timeout, Closed."""
        if not select.select([self.sock], [], [], max(0.0, timeout))[0]:
            raise Timeout(f"nothing came within {timeout:.1f} s")
        try:
            packet, ancillary, flags, _ = self.sock.recvmsg(MESSAGE_MAX + 1, socket.CMSG_SPACE(16 * 4))
        except ConnectionResetError as e:
            raise Closed("the other end is gone") from e
        fds = []
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(data[:len(data) - len(data) % numbers.itemsize])
                fds += list(numbers)
        if not packet:
            raise Closed("the other end closed the channel")
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise IpcError("truncated packet")
        return packet, fds

    def recv(self, timeout=10.0, logs=False):
        """The next message. WORKER_LOG goes to self.logs unless logs=True."""
        deadline = time.monotonic() + timeout
        while True:
            packet, fds = self.recv_packet(deadline - time.monotonic())
            name, fields = decode(packet)
            if len(fds) != BY_NAME[name].descriptors:
                raise IpcError(f"{name} came with {len(fds)} descriptors")
            if name == "WORKER_LOG" and not logs:
                self.logs.append((fields["level"], fields["text"]))
                continue
            return Message(name, fields, fds[0] if fds else None)

    def expect(self, *names, timeout=10.0, skip=()):
        """The next message, which must be one of names; those in skip are passed over."""
        deadline = time.monotonic() + timeout
        while True:
            message = self.recv(max(0.0, deadline - time.monotonic()))
            if message.type in names:
                return message
            if message.type not in skip:
                raise IpcError(f"{message} came instead of {' or '.join(names)}")

    def expect_closed(self, timeout=10.0):
        """Waits for the other end to close; returns the messages that still came."""
        rest, deadline = [], time.monotonic() + timeout
        while True:
            try:
                rest.append(self.recv(max(0.0, deadline - time.monotonic())))
            except Closed:
                return rest


def pair():
    """Two connected ends: (upper, lower)."""
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(a), Channel(b)


class Worker:
    """A real worker process with this program as its supervisor: .channel is the upper end, .stderr a path."""

    def __init__(self, argv, env=None, stderr=None):
        self.channel, lower = pair()
        self.argv = [str(a) for a in argv]
        self.status = None
        actions = [(os.POSIX_SPAWN_DUP2, lower.fileno(), WORKER_FD)]
        if lower.fileno() != WORKER_FD:
            actions.append((os.POSIX_SPAWN_CLOSE, lower.fileno()))
        if stderr is not None:
            actions.append((os.POSIX_SPAWN_OPEN, 2, str(stderr), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        self.pid = os.posix_spawn(self.argv[0], self.argv, dict(os.environ if env is None else env),
                                  file_actions=actions)
        lower.close()

    def setup(self, role, side, messages=(), instance=1, sandbox=None, uid=0, gid=0, landlock_max=255,
              log_level=None, test_probe=0, chroot_dir=""):
        """WORKER_SETUP, the role's messages [(name, fields[, fd])…], WORKER_BEGIN; then waits for WORKER_READY."""
        self.channel.send("WORKER_SETUP", role=role, side=side,
                          sandbox_mode=E.SANDBOX_REQUIRED if sandbox is None else sandbox,
                          landlock_max=landlock_max, log_level=E.LEVEL_DEBUG if log_level is None else log_level,
                          test_probe=test_probe, uid=uid, gid=gid, chroot_dir=chroot_dir)
        for name, fields, *fd in messages:
            self.channel.send(name, fd=fd[0] if fd else None, **fields)
        self.channel.send("WORKER_BEGIN", instance=instance)

    def ready(self, timeout=20.0):
        """Waits for WORKER_READY; returns (it, the messages that came before)."""
        before, deadline = [], time.monotonic() + timeout
        while True:
            message = self.channel.recv(max(0.0, deadline - time.monotonic()))
            if message.type == "WORKER_READY":
                return message, before
            before.append(message)

    def wait(self, timeout=10.0):
        """The exit code (negative: the signal). Timeout when it still runs."""
        deadline = time.monotonic() + timeout
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid == self.pid:
                self.status = os.waitstatus_to_exitcode(status)
                break
            if time.monotonic() > deadline:
                raise Timeout(f"{self.argv[0]} still runs after {timeout:.1f} s")
            time.sleep(0.005)
        return self.status

    def alive(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid == self.pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def stop(self):
        """Ends it, however it is; safe to call twice."""
        self.channel.close()
        if self.alive():
            try:
                return self.wait(3.0)
            except Timeout:
                os.kill(self.pid, signal.SIGKILL)
                return self.wait(5.0)
        return self.status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
