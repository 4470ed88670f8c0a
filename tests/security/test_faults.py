# SPDX-License-Identifier: Apache-2.0
"""
What the world does to a running tunnel: processes killed in turn under load, a full and a read-only disk, no
descriptors, no memory, clocks that jump, a peer that is stopped, a network that loses packets, ten thousand connections.
Nothing approved is lost, nothing crashes, nothing hangs for longer than its deadline, nothing grows.
"""
import contextlib
import ctypes
import mmap
import os
import queue
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

import hostile
import network
import tally
import tunnel
from tunnel import PATIENCE, connect, wait, works

pytestmark = pytest.mark.skipif(not tunnel.AS_ROOT, reason="mounts, namespaces and /proc of other uids need root")


def counts(text):
    return text.count("crashed:") + text.count("killed by signal")


@pytest.fixture(autouse=True)
def counted(request):
    """A fault that a test has brought about; a loss when the test did not find everything as it should be."""
    yield
    report = getattr(request.node, "report_call", None)
    if report is not None and not report.skipped:
        tally.add(faults=1, losses=int(report.failed))


# ---- kill -9, under load ----

class Load:
    """Users that go on making connections and sending; a broken one begins anew, an answer that is wrong is remembered."""

    def __init__(self, port, users=4):
        self.port, self.wrong, self.good, self.stopped = port, [], 0, False
        self.threads = [threading.Thread(target=self._run) for _ in range(users)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        while not self.stopped:
            with contextlib.suppress(OSError):
                with connect(self.port, timeout=20) as user:
                    data = os.urandom(20_000)
                    got = b""
                    user.sendall(data)
                    while len(got) < len(data):
                        part = user.recv(65536)
                        if not part:
                            break
                        got += part
                    if data[:len(got)] != got:
                        self.wrong.append(len(got))
                    elif len(got) == len(data):
                        self.good += 1

    def wait_good(self, more=20):
        target = self.good + more
        wait(lambda: self.good >= target, f"{more} more good answers")

    def stop(self):
        self.stopped = True
        for thread in self.threads:
            thread.join()


def test_every_process_is_killed_in_turn(hosts):
    server, client = hosts.pair({"echo": hosts.backend(tunnel.echo).port},
                                client_flags=("--connections", "2"))
    port = server.app_port("edge1", "echo")
    load = Load(port)
    try:
        load.wait_good()
        for host, role in [(server, "session"), (client, "session"), (server, "crypto"), (client, "crypto"),
                           (client, "dialer"), (server, "admin"), (server, "supervisor"), (client, "supervisor")]:
            if role == "supervisor":
                host.kill()
                if host is server:  # the same port again, as a service manager would start it
                    at = server.argv.index("--port") + 1
                    server.argv[at] = str(server.port)
                host.start()
                host.wait_ready()
            else:
                pid = wait(lambda: host.processes(role)[0]["pid"], f"a {role}")
                os.kill(pid, signal.SIGKILL)
            load.wait_good()
            assert server.app_port("edge1", "echo") == port, f"the port changed after {role} was killed"
    finally:
        load.stop()
    assert not load.wrong, "bytes were changed"
    assert [p["status"] for p in server.peers()] == ["approved"]
    assert "OK" in server.cli("audit", "verify") or server.cli("audit", "verify", check=False).returncode == 0
    tally.add(faults=7)  # and one more that the fixture counts


# ---- disks ----

@pytest.fixture
def small_disk(hosts):
    """A file system of one megabyte."""
    path = hosts.directory("disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=711", "tmpfs", path], check=False).returncode != 0:
        pytest.skip("this machine cannot mount a tmpfs")
    hosts.cleanups.insert(0, lambda: subprocess.run(["umount", "-l", path], check=False))
    return path


def fill(directory):
    with contextlib.suppress(OSError), open(os.path.join(directory, "filler"), "wb", buffering=0) as f:
        while f.write(b"x" * 4096):
            pass


def test_full_disk(hosts, small_disk):
    """A decision that cannot be stored is refused with the reason, and leaves nothing; afterwards it works."""
    server = hosts.server("--acceptor-storage-file-path", small_disk + "/wormhole.db")
    client = hosts.client(server, apps={"echo": hosts.backend(tunnel.echo).port})
    wait(lambda: server.requests(), "the request")
    fill(small_disk)
    refused = server.cli("requests", "accept", client.fingerprint, check=False)
    assert refused.returncode == 1 and "full" in refused.stderr, refused.stderr
    assert [r["fingerprint"] for r in server.requests()] == [client.fingerprint]
    assert server.process.poll() is None
    second = hosts.client(server, name="edge2", apps={"web": 1})  # its request cannot be stored either
    second.wait_log("declined this key|trying again|waiting for approval|database")
    os.remove(small_disk + "/filler")
    server.cli("requests", "accept", client.fingerprint)
    client.wait_connected()
    assert works(server.app_port("edge1", "echo"))
    assert server.cli("audit", "verify", check=False).returncode == 0


def test_revoking_does_not_need_a_disk(hosts, small_disk):
    """
    The disk is full when an approval is taken back: the peer is out at once and stays out, the operator hears that it is
    not stored, and it is stored when there is room again. What would let somebody in is refused meanwhile, as ever.
    """
    server = hosts.server("--acceptor-storage-file-path", small_disk + "/wormhole.db", "--pending-time", "5m")
    client = hosts.client(server, apps={"echo": hosts.backend(tunnel.echo).port})
    server.accept(client)
    client.wait_connected()
    talk = tunnel.Talk(server.app_port("edge1", "echo"))
    waiting = hosts.client(server, name="edge2", apps={"web": 1})
    wait(server.requests, "the request of another")
    fill(small_disk)
    done = server.cli("peers", "revoke", "edge1", check=False)
    assert done.returncode == 1, done.stderr
    for words in (client.fingerprint, "cut off and blocked", "COULD NOT BE STORED", "restart", "full"):
        assert words in done.stderr, done.stderr
    talk.wait_end()
    assert server.count(f" error .*{client.fingerprint} was cut off by control .*COULD NOT BE STORED.*full") == 1
    client.wait_log("its approval was revoked")  # it came back, and was not let in
    assert server.count("edge1 .* is connected, key") == 1 and server.apps() == []
    assert [p["status"] for p in server.peers() if p["name"] == "edge1"] == ["revoked"]
    for argv in (["requests", "accept", client.fingerprint], ["requests", "accept", waiting.fingerprint],
                 ["peers", "preapprove", client.fingerprint, "--name", "edge1"],
                 ["peers", "preapprove", "SHA256:" + "A" * 43, "--name", "edge3"]):
        assert server.cli(*argv, check=False).returncode == 1, argv
    assert server.count("is connected, key") == 1
    again = server.cli("peers", "revoke", client.fingerprint, check=False)
    assert again.returncode == 1 and "COULD NOT BE STORED" in again.stderr
    os.remove(small_disk + "/filler")
    server.wait_log(f"the revocation of {client.fingerprint} is stored now")
    server.restart()
    assert [(p["name"], p["status"]) for p in server.peers()] == [("edge1", "revoked")]
    (row,) = [r for r in server.json("audit", "list") if r["action"] == "revoke"]
    assert row["fingerprint"] == client.fingerprint and row["actor"].startswith("uid=0")
    assert server.cli("audit", "verify", check=False).returncode == 0
    server.cli("requests", "accept", waiting.fingerprint)


@pytest.fixture
def failing_disk(hosts):
    """(directory, function that makes its file system read-only under those who have it open, as an error of the disk does)."""
    image, path = os.path.join(hosts.dir, "disk.img"), hosts.directory("ext4")
    with open(image, "wb") as f:
        f.truncate(16 << 20)
    for argv in (["mkfs.ext4", "-q", "-F", image], ["mount", "-o", "loop", image, path]):
        if shutil.which(argv[0]) is None or subprocess.run(argv, check=False, capture_output=True).returncode != 0:
            pytest.skip("this machine cannot make and mount an ext4 image")
    hosts.cleanups.insert(0, lambda: subprocess.run(["umount", "-l", path], check=False))
    os.chmod(path, 0o711)

    def fail():
        subprocess.run(["mount", "-o", "remount,abort", path], check=False, capture_output=True)
        with pytest.raises(OSError):
            open(path + "/probe", "wb").close()
    return path, fail


def test_revoking_on_a_disk_that_fails(hosts, failing_disk):
    """Read-only all of a sudden: the same, and a server that ends without having stored it says so."""
    path, fail = failing_disk
    server = hosts.server("--acceptor-storage-file-path", path + "/wormhole.db")
    client = hosts.client(server, apps={"echo": hosts.backend(tunnel.echo).port})
    server.accept(client)
    client.wait_connected()
    talk = tunnel.Talk(server.app_port("edge1", "echo"))
    fail()
    done = server.cli("peers", "revoke", client.fingerprint, check=False)
    assert done.returncode == 1 and "COULD NOT BE STORED" in done.stderr, done.stderr
    talk.wait_end()
    client.wait_log("its approval was revoked")
    assert server.count("is connected, key") == 1
    server.stop()
    assert server.count(f"error .*revocation of {client.fingerprint} was NEVER STORED") == 1


def test_read_only_disk(hosts, small_disk):
    """A server says so and does not start; the history can be read all the same."""
    database = small_disk + "/wormhole.db"
    server = hosts.server("--acceptor-storage-file-path", database)
    client = hosts.client(server, apps={"echo": hosts.backend(tunnel.echo).port})
    server.accept(client)
    server.stop()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    try:
        server.start()
        assert server.wait_exit() in (1, 77, 78)
        assert "read-only" in server.log().lower()
        done = subprocess.run([tunnel.BIN + "/wormhole", "audit", "verify", "--db", database], capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0, done.stderr
    finally:
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    server.start()
    assert wait(lambda: [p["status"] for p in server.peers()], "the peers") == ["approved"]


def test_database_is_replaced_under_the_server(hosts):
    """Another file in its place: nothing is decided into a file that nobody would find, who is in stays in, a revocation counts."""
    server, client = hosts.pair({"echo": hosts.backend(tunnel.echo).port})
    port, path = server.app_port("edge1", "echo"), os.path.join(server.state, "wormhole.db")
    waiting = hosts.client(server, name="edge2", apps={"web": 1})
    wait(server.requests, "the request of another")
    talk = tunnel.Talk(port)
    os.rename(path, path + ".aside")
    shutil.copy(path + ".aside", path)
    done = server.cli("requests", "accept", waiting.fingerprint, check=False)
    assert done.returncode == 1 and "removed or replaced" in done.stderr, done.stderr
    assert talk.say() and works(port)
    done = server.cli("peers", "revoke", "edge1", check=False)
    assert done.returncode == 1 and "removed or replaced" in done.stderr and "COULD NOT BE STORED" in done.stderr
    talk.wait_end()
    os.rename(path + ".aside", path)
    server.cli("requests", "accept", waiting.fingerprint)
    waiting.wait_connected()
    server.wait_log("the revocation of .* is stored now")
    assert server.cli("audit", "verify", check=False).returncode == 0


@pytest.mark.parametrize("harm", ["a newer version", "pages overwritten", "cut short"])
def test_database_is_not_as_it_was(hosts, harm):
    """The server says what is wrong with it, does not start on it, and leaves it as it is."""
    server, _ = hosts.pair({"web": 1})
    server.stop()
    path = os.path.join(server.state, "wormhole.db")
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if harm == "a newer version":
            db.execute("PRAGMA user_version=99")
    db.close()
    if harm != "a newer version":
        with open(path, "r+b") as f:
            if harm == "cut short":
                f.truncate(os.path.getsize(path) // 2 // 4096 * 4096)
            else:
                f.seek(4096)
                f.write(os.urandom(os.path.getsize(path) - 4096))
    before = open(path, "rb").read()
    server.start()
    assert server.wait_exit() == 78
    last = server.log().strip().splitlines()[-1]
    assert path in server.log() and ("newer" if harm == "a newer version" else "damaged") in server.log(), last
    assert open(path, "rb").read() == before


# ---- descriptors ----

def limit_files(pid, count):
    uid = os.stat(f"/proc/{pid}").st_uid or int(re.search(r"Uid:\s+(\d+)", open(f"/proc/{pid}/status").read())[1])
    subprocess.run(["prlimit", "--pid", str(pid), f"--nofile={count}:{count}"], check=True, user=uid, group=uid,
                   extra_groups=[])


def test_no_descriptors_left(hosts):
    """Connections that cannot be served wait or are turned away; who is in stays in, and afterwards all is as before."""
    server, client = hosts.pair({"echo": hosts.backend(tunnel.echo).port}, server_flags=(
        "--max-half-open-per-source", "1000", "--max-startups", "1000:1:1000"))
    port = server.app_port("edge1", "echo")
    used = hostile.descriptors(server.pid)
    limit_files(server.pid, used + 6)
    strangers = [connect(server.port) for _ in range(40)]
    server.wait_log("turned away|cannot accept|descriptors")
    assert works(port)
    for stranger in strangers:
        stranger.close()
    wait(lambda: len(server.processes("session")) == 1, "the strangers' end")
    assert works(port) and server.process.poll() is None
    (session,) = [p["pid"] for p in server.processes("session")]
    used = hostile.descriptors(session)
    limit_files(session, used + 4)
    users = [connect(port) for _ in range(20)]
    for user in users:
        user.close()
    wait(lambda: works(port), "the app after the shortage")
    assert counts(server.log()) == 0 and counts(client.log()) == 0


def test_no_descriptors_left_on_the_client(hosts):
    """Neither its dialer nor its session can have more: users are turned away at once, those who are in stay in."""
    server, client = hosts.pair({"echo": hosts.backend(tunnel.echo).port})
    port = server.app_port("edge1", "echo")
    talk = tunnel.Talk(port)
    for role in ("session", "dialer"):
        pid = client.pid_of(role)
        limit_files(pid, hostile.descriptors(pid) + 4)
        users = []
        for _ in range(40):  # a TimeoutError would be a hang
            with contextlib.suppress(ConnectionError):
                users.append(connect(port, timeout=20))
        for user in users:
            with contextlib.suppress(ConnectionError):
                user.sendall(b"hello")
                user.recv(5)
        assert talk.say()
        for user in users:
            user.close()
        wait(lambda: works(port), "the app after the shortage")
        assert client.pid_of(role) == pid
    talk.close()
    assert counts(server.log()) == 0 and counts(client.log()) == 0


# ---- memory ----

class Steering:
    """The file that faults.so maps; see faults.c."""

    class Layout(ctypes.Structure):
        _fields_ = [("countdown", ctypes.c_int32), ("failed", ctypes.c_uint32), ("clock_offset", ctypes.c_int64),
                    ("openssl_too", ctypes.c_uint32)]

    def __init__(self, path):
        self.path = str(path)
        with open(self.path, "wb") as f:
            f.write(bytes(4096))
        os.chmod(self.path, 0o666)
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 4096)
        self.data = self.Layout.from_buffer(self.map)

    def fail(self, number):
        self.data.countdown = number

    @property
    def environment(self):
        return {"WORMHOLE_FAULTS": self.path, "LD_PRELOAD": str(library())}


def library():
    return os.path.join(os.path.dirname(tunnel.BIN), "probes/faults.so")


def test_no_memory_at_the_start(hosts):
    """The n-th allocation of `wormhole listen` fails, for many n: an error and an exit code, or a server that works."""
    state = hosts.directory("state")
    steering = Steering(os.path.join(hosts.dir, "steering"))
    started = 0
    hosts.server(state=state).stop()  # keys and database exist
    for n in [*range(1, 60, 2), *range(60, 1200, 37)]:
        steering.data.failed = 0
        steering.fail(n)
        server = hosts.server(state=state, ready=False, ranges=20000, env=steering.environment, name="oom")
        try:
            wait(lambda: server.process.poll() is not None or server.count(r"supervisor\[\d+\]: ready"), "an end or a start")
            if server.process.poll() is None:
                started += 1
                assert server.stop() == 0
            else:
                assert server.process.returncode in (1, 64, 69, 70, 77, 78), f"n = {n}: {server.process.returncode}"
                assert server.log().strip(), f"n = {n}: it said nothing"
        finally:
            server.kill()
        steering.fail(0)
        if steering.data.failed == 0 and started > 3:
            break
    assert started > 0


def test_no_memory_at_the_start_of_workers(hosts):
    """The same for each worker, alone: it says READY or ends with an exit code."""
    import workers
    with workers.den() as den:
        steering = Steering(os.path.join(hosts.dir, "steering"))
        for role in workers.ROLES:
            workers.start(role, den, tunnel.BIN).stop()  # keys exist
            for n in range(1, 400):
                steering.data.failed = 0
                steering.fail(n)
                worker = workers.start(role, den, tunnel.BIN, environment=steering.environment)
                try:
                    worker.ready(timeout=20)
                    alive = True
                except Exception:  # noqa: BLE001: it ended; how is asked below
                    alive = False
                failed = steering.data.failed
                steering.fail(0)
                if not alive:
                    worker.wait(timeout=20)  # whoever is not ready has to end by himself
                status = worker.stop()
                for peer in worker.peers:
                    peer.close()
                assert alive or status > 0, f"{role}, n = {n}: ended with {status}"
                if not failed:
                    break


@pytest.mark.parametrize("host,role", [("server", "session"), ("client", "session"), ("server", "crypto"),
                                       ("client", "crypto"), ("client", "dialer"), ("server", "admin")])
def test_no_memory_at_work(hosts, host, role):
    """The n-th allocation of a worker at work fails, for many n: nobody crashes, and it goes on or comes back."""
    bridge = hostile.Bridge(hosts, name="faulty")
    shutil.copy(library(), bridge.directory / "faults.so")
    states = {name: hosts.directory(f"{name}-state") for name in ("server", "client")}
    os.symlink(states[host], bridge.directory / "faults")
    steering = Steering(os.path.join(states[host], "faults-" + role))
    faulty = {host: bridge.directory}
    server = hosts.server(state=states["server"], binaries=faulty.get("server"))
    client = hosts.client(server, "--reconnect-max", "100ms", state=states["client"], binaries=faulty.get("client"),
                          apps={"echo": hosts.backend(tunnel.echo).port})
    server.accept(client)
    client.wait_connected()
    port = server.app_port("edge1", "echo")
    assert works(port)
    happened = 0
    for n in [*range(1, 14), *range(14, 160, 29)]:
        steering.data.failed = 0
        steering.fail(n)
        if role == "crypto":
            # A new connection is what gives it work; one that fails for want of memory is tried again.
            connections = client.count("connected to ")
            os.kill(wait(lambda: (client.processes("session") or [{}])[0].get("pid"), "a session"), signal.SIGKILL)
            wait(lambda: client.count("connected to ") > connections, "the next connection")
        elif role == "admin":
            with contextlib.suppress(Exception):
                tunnel.http_get(server.admin_port, "/v2/status", timeout=5)
        else:
            users = []
            with contextlib.suppress(AssertionError, OSError):
                for _ in range(40):
                    users.append(connect(port, timeout=5))
                for user in users:
                    user.sendall(b"hello")
                    user.recv(5)
            for user in users:
                user.close()
        happened += steering.data.failed
        steering.fail(0)
    wait(lambda: works(port), "the app")
    assert happened > 0, "no allocation was ever made: this test tests nothing"
    for log in (server.log(), client.log()):
        crashes = [line for line in log.splitlines() if "killed by signal" in line and "signal 9 " not in line]
        assert not crashes, crashes


# ---- clocks ----

def test_clocks_jump(hosts):
    """The wall clock leaps ten years ahead and back under a server and a client: nothing ends, nothing is forgotten."""
    steering = Steering(os.path.join(hosts.dir, "steering"))
    server = hosts.server(env=steering.environment)
    client = hosts.client(server, apps={"echo": hosts.backend(tunnel.echo).port}, env=steering.environment)
    server.accept(client)
    client.wait_connected()
    port = server.app_port("edge1", "echo")
    talk = tunnel.Talk(port)
    waiting = hosts.client(server, name="edge2", apps={"web": 1}, env=steering.environment)
    wait(lambda: len(server.requests()) == 1, "a pending request")
    for offset in (10 * 365 * 86400, -10 * 365 * 86400, 3600, -1, 0):
        steering.data.clock_offset = offset
        assert talk.say() and works(port)
        assert len(server.requests()) == 1
    steering.data.clock_offset = -5 * 365 * 86400
    server.cli("requests", "accept", waiting.fingerprint)
    waiting.wait_connected()
    assert server.cli("audit", "verify", check=False).returncode == 0
    assert client.count(r"supervisor\[\d+\]: connected to ") == 1 and len(server.processes("session")) == 2
    talk.close()


# ---- a peer that stands still ----

@pytest.mark.parametrize("side", ["client", "server"])
def test_a_stopped_peer(hosts, side):
    """Every process of one end is stopped: the other notices by its deadline, and all comes back by itself."""
    quick = ("--ping-interval", "300ms", "--dead-after", "1500ms")
    server, client = hosts.pair({"echo": hosts.backend(tunnel.echo).port}, server_flags=quick, client_flags=quick)
    port = server.app_port("edge1", "echo")
    stopped = client if side == "client" else server
    pids = [stopped.pid] + [p["pid"] for p in stopped.processes()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        if side == "client":
            wait(lambda: not server.app("edge1", "echo")["connected"], "the server to notice")
        else:
            wait(lambda: client.fact("connection") != "connected", "the client to notice")
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    wait(lambda: server.app("edge1", "echo")["connected"] and works(port), "the app after its return")


# ---- a bad network ----

@pytest.fixture
def lossy(hosts):
    """(address of the server's side, command prefix for the client's side, function that sets the loss in percent)."""
    far = network.FarNetwork(hosts)

    def lose(percent):
        inside = [*far.prefix, "iptables"]
        network.run(*inside, "-F")
        if percent:
            for chain in ("INPUT", "OUTPUT"):
                rule = [*inside, "-A", chain, "!", "-i" if chain == "INPUT" else "-o", "lo", "-m", "statistic", "--mode",
                        "random", "--probability", str(percent / 100), "-j", "DROP"]
                if network.run(*rule, check=False).returncode != 0:
                    pytest.skip("this kernel's iptables has no statistic match")
    return far.address, far.prefix, lose


def test_lossy_network(hosts, lossy):
    """A network that loses one packet in twenty, later one in five for a while: slow, and not a byte is changed."""
    address, prefix, lose = lossy
    lose(5)
    server = hosts.server("--host", address, "--dead-after", "20s", "--ping-interval", "2s")
    backend = hosts.spawn("backend", [*prefix, "/usr/bin/python3", "-c", ECHO])
    port = int(backend.wait_log(r"port (\d+)").group(1))
    client = hosts.client(server, "--dead-after", "20s", "--ping-interval", "2s", prefix=prefix,
                          url=f"ws://{address}:{server.port}/wh/tunnel", apps={"echo": port})
    server.accept(client)
    client.wait_connected()
    port = server.app_port("edge1", "echo")
    tunnel.pump(port, 1_000_000)
    lose(20)
    with contextlib.suppress(OSError, AssertionError):
        with connect(port, timeout=3) as user:
            user.sendall(bytes(100_000))
            user.recv(10)
    lose(1)
    wait(lambda: works(port), "the app over the better network")
    tunnel.pump(port, 1_000_000)


class SlowWire:
    """A relay that holds every byte back for a while, in both directions; the time may be changed under way."""

    def __init__(self, port):
        self.target, self.delay_s = port, 0.0
        self.backend = tunnel.Backend(self._carry)
        self.port = self.backend.port

    def _carry(self, near):
        with socket.create_connection(("127.0.0.1", self.target)) as far:
            threads = [threading.Thread(target=part, args=args, daemon=True) for source, sink in ((near, far), (far, near))
                       for held in [queue.Queue(1000)] for part, args in ((self._take, (source, held)), (self._give, (held, sink)))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _take(self, source, held):
        data = b"-"
        while data:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            held.put((time.monotonic() + self.delay_s, data))

    def _give(self, held, sink):
        while True:
            due, data = held.get()
            time.sleep(max(0, due - time.monotonic()))  # what this is for
            with contextlib.suppress(OSError):
                if not data:
                    sink.shutdown(socket.SHUT_RDWR)
                    return
                sink.sendall(data)


def test_a_slow_network(hosts):
    """
    A tenth of a second each way, and then longer than any deadline: with the first all goes on, with the second both ends
    notice, nothing hangs, and when the network is itself again so is the tunnel.
    """
    quick = ("--ping-interval", "300ms", "--dead-after", "3s")
    server = hosts.server(*quick)
    wire = SlowWire(server.port)
    hosts.cleanups.append(wire.backend.close)
    client = hosts.client(server, *quick, url=f"ws://127.0.0.1:{wire.port}/wh/tunnel",
                          apps={"echo": hosts.backend(tunnel.echo).port})
    server.accept(client)
    client.wait_connected()
    port = server.app_port("edge1", "echo")
    wire.delay_s = 0.1
    tunnel.pump(port, 3_000_000)
    with contextlib.ExitStack() as stack:
        users = [stack.enter_context(connect(port)) for _ in range(20)]
        for n, user in enumerate(users):
            user.sendall(b"%d" % n)
            user.shutdown(socket.SHUT_WR)
        assert [tunnel.receive_all(user) for user in users] == [b"%d" % n for n in range(20)]
    assert client.count(r"supervisor\[\d+\]: connected to ") == 1
    talk = tunnel.Talk(port)
    wire.delay_s = 20
    talk.wait_end()
    wait(lambda: client.fact("connection") != "connected", "the client to notice")
    wire.delay_s = 0
    client.wait_connected(times=2)
    wait(lambda: works(port), "the app over the better network")


def test_a_network_with_netem(hosts, lossy):
    """Delay, jitter, loss, repeated and reordered packets, where the kernel can do that to a link."""
    address, prefix, _ = lossy
    shape = [*prefix, "tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "40ms", "20ms", "loss", "2%", "duplicate", "1%",
             "reorder", "5%"]
    if shutil.which("tc") is None or subprocess.run(shape, check=False, capture_output=True).returncode != 0:
        pytest.skip("this kernel has no netem; test_a_slow_network and test_lossy_network do without")
    server = hosts.server("--host", address, "--dead-after", "20s", "--ping-interval", "2s")
    backend = hosts.spawn("backend", [*prefix, "/usr/bin/python3", "-c", ECHO])
    port = int(backend.wait_log(r"port (\d+)").group(1))
    client = hosts.client(server, "--dead-after", "20s", "--ping-interval", "2s", prefix=prefix,
                          url=f"ws://{address}:{server.port}/wh/tunnel", apps={"echo": port})
    server.accept(client)
    client.wait_connected()
    tunnel.pump(server.app_port("edge1", "echo"), 1_000_000)
    assert client.count(r"supervisor\[\d+\]: connected to ") == 1


ECHO = """
import socket, threading
s = socket.create_server(("127.0.0.1", 0)); print("port", s.getsockname()[1], flush=True)
def serve(c):
    while d := c.recv(65536): c.sendall(d)
    c.shutdown(socket.SHUT_WR)
while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""


# ---- nothing grows ----

def test_ten_thousand_connections(hosts):
    """Made, used and ended, some of them by reset: descriptors and memory of every process are what they were."""
    def answer(connection):
        if data := connection.recv(100):
            connection.sendall(data)
    server, client = hosts.pair({"echo": hosts.backend(answer).port})
    port = server.app_port("edge1", "echo")
    everybody = [p["pid"] for host in (server, client) for p in host.processes()]

    def users(count, number):
        for n in range(count):
            with contextlib.suppress(OSError):
                user = connect(port)
                if n % 10 != number:
                    user.sendall(b"hello")
                    user.recv(100)
                if n % 7 == number:
                    tunnel.reset(user)
                else:
                    user.close()

    def wave(count, threads=4):
        running = [threading.Thread(target=users, args=(count // threads, n)) for n in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        wait(lambda: server.app("edge1", "echo")["streams"] == 0, "all streams to end")
    wave(2000)
    before = {pid: hostile.settle(pid) for pid in everybody}
    wave(10_000)
    for pid in everybody:
        memory, descriptors = hostile.settle(pid)
        assert descriptors <= before[pid][1] and memory < before[pid][0] + 512, f"{pid}: {before[pid]} became {memory, descriptors}"
    assert server.app("edge1", "echo")["streams_total"] >= 12_000 * 0.9
    assert counts(server.log()) == 0 and counts(client.log()) == 0


def test_a_hundred_reconnects(hosts):
    """Each is a fresh process: the supervisors and their other workers are what they were."""
    server, client = hosts.pair({"echo": hosts.backend(tunnel.echo).port},
                                client_flags=("--reconnect-min", "50ms", "--reconnect-max", "50ms"))
    lasting = [p["pid"] for host in (server, client) for p in host.processes() if p["role"] != "session"]
    before = None
    for n in range(120):
        (pid,) = wait(lambda: [p["pid"] for p in client.processes("session")], "a session")
        connected = server.count(r"edge1 \(\S+\) is connected")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait(lambda: server.count(r"edge1 \(\S+\) is connected") > connected, "the next connection", pause=0.005)
        if n == 30:
            before = {p: hostile.settle(p) for p in lasting}
    wait(lambda: works(server.app_port("edge1", "echo")), "the app")
    for p in lasting:
        memory, descriptors = hostile.settle(p)
        assert descriptors <= before[p][1] + 1 and memory < before[p][0] + 512, f"{p}: {before[p]} became {memory, descriptors}"
