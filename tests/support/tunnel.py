# SPDX-License-Identifier: Apache-2.0
"""
Real `wormhole listen` and `wormhole join` processes for the integration tests: own state directories, ports that
the kernel chooses, waiting on conditions only, logs kept for the report of a failed test, and nothing left behind.
It must not check anything by itself but that what a test asked for became true in time.
"""
import contextlib
import ctypes
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

BUILD = os.environ.get("WORMHOLE_BUILD")
BIN = os.environ.get("WORMHOLE_BIN") or (BUILD + "/bin" if BUILD else os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "../../build/release/bin"))
AS_ROOT = os.geteuid() == 0
LIBC = ctypes.CDLL(None, use_errno=True)
# An instrumented build has no seccomp filters, and answers a crash with a report instead of a signal.
SANITIZED = "sanitizers" in subprocess.run([BIN + "/wormhole", "version"], capture_output=True, text=True,
                                           check=False).stdout
# How long something may take before the test gives up: a bound for broken builds, never a measurement.
PATIENCE = float(os.environ.get("WORMHOLE_TEST_PATIENCE", "60"))


class GaveUp(AssertionError):
    """A condition did not become true in time."""


def wait(condition, what, timeout=PATIENCE, pause=0.02):
    """The first true value of condition(); it may raise AssertionError, OSError or LookupError meanwhile."""
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
        except (AssertionError, OSError, LookupError, subprocess.SubprocessError, http.client.HTTPException) as error:
            if isinstance(error, GaveUp):
                raise
            last = error
        if time.monotonic() > deadline:
            raise GaveUp(f"gave up waiting for {what}" + (f" ({last!r})" if last else ""))
        time.sleep(pause)


def free_port(host="127.0.0.1", kind=socket.SOCK_STREAM):
    """A port that nothing uses now. For what must be known before its owner starts, or must refuse."""
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind((host, 0))
        return s.getsockname()[1]


def alive(pid):
    """Does the process run (a zombie does not)?"""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def die_with_the_tests():
    """In the child: SIGKILL when the test program ends without having cleaned up (a timeout of ctest's kills it)."""
    LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Process:
    """A child with its output in a file; always ended by stop()."""

    def __init__(self, hosts, name, argv, env=None, cwd="/", prefix=()):
        self.name, self.argv = name, [*prefix, *argv]
        self.log_path = os.path.join(hosts.dir, f"{len(hosts.processes)}-{name}.log")
        self.env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        self.env.update(env or {})
        self.cwd = cwd
        self.process = None
        self.start()
        hosts.processes.append(self)

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env,
                                            cwd=self.cwd, start_new_session=True, preexec_fn=die_with_the_tests)

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def count(self, pattern):
        return len(re.findall(pattern, self.log()))

    def wait_log(self, pattern, times=1, timeout=PATIENCE):
        """The last match of `pattern` once there are at least `times` of them."""
        def found():
            matches = list(re.finditer(pattern, self.log()))
            if len(matches) >= times:
                return matches[-1]
            assert self.process.poll() is None, f"{self.name} ended with code {self.process.returncode}"
            return None
        return wait(found, f"'{pattern}' in the log of {self.name}", timeout)

    def send_signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, timeout=PATIENCE):
        return self.process.wait(timeout)

    def stop(self, number=signal.SIGTERM, timeout=PATIENCE):
        """Ends it and gives its exit code."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
                self.process.send_signal(number)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise GaveUp(f"{self.name} did not end after signal {number}") from None
        return self.process.returncode

    def kill(self):
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    def end(self):
        """At the end of a test: with everything that a wrapper (strace, a shell) started in the session we made."""
        if self.process.poll() is None:  # not reaped, so the number is still its own
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Supervisor(Process):
    """What a server and a client have in common: state, control socket, the command line that asks them."""

    def __init__(self, hosts, name, command, flags, state=None, env=None, prefix=(), global_flags=(), binaries=None):
        self.binaries = str(binaries or BIN)
        self.state = state or hosts.directory(f"{name}-{len(hosts.processes)}")
        self.control = os.path.join(self.state, command + ".sock")
        argv = [self.binaries + "/wormhole", "--state-dir", self.state, "--control-socket", self.control,
                *global_flags, command, *flags]
        super().__init__(hosts, name, argv, env=env, prefix=prefix)

    def wait_ready(self, timeout=PATIENCE):
        self.wait_log(r"supervisor\[\d+\]: ready", self.starts, timeout)

    starts = 0

    def start(self):
        self.starts += 1
        super().start()

    def cli(self, *args, check=True, timeout=PATIENCE):
        """Runs a command of the operator's against this supervisor; gives its standard output."""
        done = subprocess.run([self.binaries + "/wormhole", "--control-socket", self.control, *args], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout, check=False)
        if check:
            assert done.returncode == 0, f"wormhole {' '.join(args)}: {done.returncode}: {done.stderr}"
            return done.stdout
        return done

    def json(self, *args):
        return json.loads(self.cli(*args, "--output", "json"))

    def status(self):
        return self.json("status")

    def processes(self, role=None):
        return [p for p in self.status()["processes"] if role is None or p["role"] == role]

    def pid_of(self, role):
        """The pid of the one living worker of this role."""
        pids = [p["pid"] for p in self.processes(role)]
        assert len(pids) == 1, f"{role}: {pids}"
        return pids[0]

    def fact(self, name):
        return self.status()["facts"][name]

    def kill_worker(self, role, number=signal.SIGKILL):
        pid = wait(lambda: self.pid_of(role), f"a {role} worker of {self.name}")
        os.kill(pid, number)
        return pid


class Server(Supervisor):
    def __init__(self, hosts, *flags, name="server", port=0, prefix=(), env=None, state=None, ranges=None,
                 global_flags=(), binaries=None):
        low = ranges or hosts.port_range()
        self.range = (low, low + 99)
        self.wanted_port = port
        base = ["--host", "127.0.0.1", "--port", str(port), "--admin-port", "0", "--app-host", "127.0.0.1",
                "--port-range-min", str(low), "--port-range-max", str(low + 99)]
        super().__init__(hosts, name, "listen", [*base, *flags], state=state, env=env, prefix=prefix,
                         global_flags=global_flags, binaries=binaries)

    @property
    def port(self):
        return int(self.wait_log(r"tunnel port \S+:(\d+), path", self.starts).group(1))

    @property
    def admin_port(self):
        return int(self.wait_log(r"admin API on \S+:(\d+)", self.starts).group(1))

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}/wh/tunnel"

    def requests(self):
        return self.json("requests", "list")

    def apps(self):
        return self.json("apps")

    def peers(self):
        return self.json("peers", "list")

    def accept(self, client):
        fingerprint = client.fingerprint
        wait(lambda: fingerprint in [r["fingerprint"] for r in self.requests()], f"the request of {client.name}")
        self.cli("requests", "accept", fingerprint)

    def app(self, peer, name):
        rows = [a for a in self.apps() if a["peer"] == peer and a["app"] == name]
        assert rows, f"no app {peer}/{name}: {self.apps()}"
        return rows[0]

    def app_port(self, peer, name):
        """The port of an app that is offered right now."""
        def found():
            row = self.app(peer, name)
            return row["port"] if row["connected"] else None
        return wait(found, f"app {name} of {peer}")

    def restart(self):
        """The same server again, on the port that it had."""
        if self.wanted_port == 0:
            at = self.argv.index("--port") + 1
            self.wanted_port = self.port
            self.argv[at] = str(self.wanted_port)
        self.stop()
        self.start()
        self.wait_ready()


class Client(Supervisor):
    def __init__(self, hosts, server, *flags, name="edge1", apps=None, url=None, state=None, env=None, prefix=(),
                 global_flags=(), binaries=None):
        expose = []
        for app, address in (apps or {}).items():
            address = address if isinstance(address, str) else f"127.0.0.1:{address}"
            expose += ["--expose", f"name={app},address={address}"]
        base = ["--name", name, "--server", url or server.url, "--reconnect-min", "100ms", "--reconnect-max", "1s"]
        super().__init__(hosts, name, "join", [*base, *expose, *flags], state=state, env=env, prefix=prefix,
                         global_flags=global_flags, binaries=binaries)

    @property
    def fingerprint(self):
        return self.wait_log(r"client key fingerprint\s+(SHA256:[\w-]{43})").group(1)

    def wait_connected(self, times=1, timeout=PATIENCE):
        self.wait_log(r"supervisor\[\d+\]: connected to ", times, timeout)

    def wait_waiting(self):
        self.wait_log(r"waiting for approval on the server")


class Hosts:
    """Everything that a test starts."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="wormhole-test-")
        os.chmod(self.dir, 0o711)  # workers have other uids
        self.processes = []
        self.backends = []
        self.cleanups = []
        self.ranges = None

    def directory(self, name):
        path = os.path.join(self.dir, name)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0o711)
        return path

    def port_range(self):
        """A hundred ports that another test beside this one does not have."""
        if self.ranges is None:
            self.ranges = iter(range(20000 + (os.getpid() * 700) % 9000, 32000, 100))
        return next(self.ranges)

    def server(self, *flags, ready=True, **options):
        server = Server(self, *flags, **options)
        if ready:
            server.wait_ready()
        return server

    def client(self, server, *flags, **options):
        return Client(self, server, *flags, **options)

    def pair(self, apps, server_flags=(), client_flags=(), name="edge1"):
        """A server and an accepted, connected client."""
        server = self.server(*server_flags)
        client = self.client(server, *client_flags, apps=apps, name=name)
        server.accept(client)
        client.wait_connected()
        return server, client

    def backend(self, handler, **options):
        backend = Backend(handler, **options)
        self.backends.append(backend)
        return backend

    def spawn(self, name, argv, **options):
        return Process(self, name, argv, **options)

    def close(self):
        for process in reversed(self.processes):
            process.end()
        for backend in self.backends:
            backend.close()
        for cleanup in reversed(self.cleanups):
            cleanup()

    def report(self):
        parts = []
        for process in self.processes:
            text = process.log() if os.path.exists(process.log_path) else ""
            if len(text) > 20000:
                text = text[:4000] + "\n[…]\n" + text[-16000:]
            parts.append(f"---- {process.name} (pid {process.pid}, {' '.join(process.argv)})\n{text}")
        return "\n".join(parts)

    def sanitizer_complaints(self):
        """
        What the sanitizers of an instrumented build wrote into the logs. (A leak check that cannot run is none: in its
        cage a worker has no /proc.)
        """
        found = []
        for process in self.processes:
            for match in re.finditer(r"(ERROR: \w+Sanitizer|runtime error:)", process.log()):
                found.append(process.log()[match.start():match.start() + 3000])
        return "\n".join(found)

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class Backend:
    """A TCP server in a thread: handler(connection) runs in a thread of its own for each connection."""

    def __init__(self, handler, host="127.0.0.1", port=0, backlog=1024):
        self.handler = handler
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, port))
        self.socket.listen(backlog)
        self.port = self.socket.getsockname()[1]
        self.connections = []
        self.errors = []
        self.accepted = 0
        self.lock = threading.Lock()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with self.lock:
                self.connections.append(connection)
                self.accepted += 1
            threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection):
        try:
            self.handler(connection)
        except OSError as error:
            self.errors.append(error)
        finally:
            with self.lock:
                if connection in self.connections:
                    self.connections.remove(connection)
            connection.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        with self.lock:
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


# ---- handlers of backends ----------------------------------------------------------------------------------------

def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def http_hello(connection):
    """One HTTP/1.0 answer that names the request's path."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(4096)
        if not data:
            return
        head += data
    path = head.split(b" ")[1]
    body = b"hello from " + path + b"\n"
    connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
    connection.shutdown(socket.SHUT_WR)


# ---- the user's side ---------------------------------------------------------------------------------------------

def connect(port, timeout=PATIENCE, host="127.0.0.1"):
    return socket.create_connection((host, port), timeout=timeout)


def receive_all(connection):
    data = bytearray()
    while chunk := connection.recv(1 << 16):
        data += chunk
    return bytes(data)


def exchange(port, data):
    """Sends, half-closes, and gives everything that comes back."""
    with connect(port) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return receive_all(connection)


def http_get(port, path="/", timeout=PATIENCE):
    """(status, body)."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


def works(port):
    """Does the echo app behind this port answer?"""
    text = os.urandom(12).hex().encode()
    assert exchange(port, text) == text
    return True


def pump(port, size, seed=b"", timeout=4 * PATIENCE):
    """Sends `size` random bytes through an echo app while reading; the SHA-256 of both directions must be equal."""
    sent, received = hashlib.sha256(), hashlib.sha256()
    block = random.Random(seed).randbytes(1 << 20)
    with connect(port, timeout) as connection:
        def send():
            left = size
            while left:
                part = block[:min(left, len(block))]
                connection.sendall(part)
                sent.update(part)
                left -= len(part)
            connection.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send)
        sender.start()
        got = 0
        while data := connection.recv(1 << 18):
            received.update(data)
            got += len(data)
        sender.join()
    assert got == size
    assert sent.digest() == received.digest()


def reset(connection):
    """Closes with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Wire:
    """
    A TCP relay between a client and a server whose cable can be pulled: cut() lets nothing through in either
    direction and tells nobody (no FIN, no RST); mend() lets new connections through again, the old ones stay dead.
    """

    def __init__(self, port):
        self.target = port
        self.dead = False
        self.pairs = []
        self.backend = Backend(self._carry)
        self.port = self.backend.port

    def _carry(self, near):
        if self.dead:
            return
        far = socket.create_connection(("127.0.0.1", self.target))
        pair = {"alive": True, "sockets": (near, far)}
        self.pairs.append(pair)

        def copy(source, sink):
            try:
                while True:
                    data = source.recv(1 << 16)
                    if not pair["alive"]:
                        wait(lambda: pair.get("closed"), "the test's end", timeout=600)
                        return
                    if not data:
                        sink.shutdown(socket.SHUT_WR)
                        return
                    sink.sendall(data)
            except OSError:
                with contextlib.suppress(OSError):
                    sink.shutdown(socket.SHUT_RDWR)
        other = threading.Thread(target=copy, args=(far, near), daemon=True)
        other.start()
        copy(near, far)
        other.join()
        far.close()

    def cut(self):
        self.dead = True
        for pair in self.pairs:
            pair["alive"] = False

    def mend(self):
        self.dead = False

    def close(self):
        for pair in self.pairs:
            pair["closed"] = True
            for end in pair["sockets"]:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self.backend.close()


class Talk:
    """One long-lived connection to an echo app, to see whether it goes on."""

    def __init__(self, port):
        self.socket = connect(port)
        self.say()

    def say(self):
        text = os.urandom(16)
        self.socket.sendall(text)
        got = b""
        while len(got) < len(text):
            data = self.socket.recv(len(text) - len(got))
            assert data, "the connection ended"
            got += data
        assert got == text
        return True

    def wait_end(self):
        """The connection ends, by RST or FIN, without anything else coming."""
        with contextlib.suppress(ConnectionError):
            assert self.socket.recv(100) == b""

    def close(self):
        self.socket.close()
