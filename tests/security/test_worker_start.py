# SPDX-License-Identifier: Apache-2.0
"""
From exec to sandbox: a worker works for a living supervisor only, takes nothing in the wrong order, and ends with its
supervisor whatever happens. Driven on the real executables of every role.
"""
import os
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

import ipc
import tally
import workers
from ipc import E

BIN = os.environ.get("WORMHOLE_BIN", str(ipc.ROOT / "build/release/bin"))


@pytest.fixture(scope="module")
def den():
    with workers.den() as d:
        yield d


@pytest.fixture(params=workers.ROLES)
def role(request):
    return request.param


def spawn(role):
    _, _, executable, argument = workers.ROLES[role]
    return ipc.Worker([f"{BIN}/{executable}"] + ([argument] if argument else []))


def setup_of(role, /, **changes):
    number, side, _, _ = workers.ROLES[role]
    fields = dict(role=number, side=side, sandbox_mode=E.SANDBOX_REQUIRED, landlock_max=255, log_level=E.LEVEL_INFO)
    return ipc.encode("WORKER_SETUP", **{**fields, **changes})


def ready(role, den, **options):
    worker = workers.start(role, den, BIN, **options)
    return worker, worker.ready()[0]


def test_every_layer(role, den):
    """With root everything that the role has is in force; the kernel says the same as the worker."""
    if not workers.AS_ROOT:
        pytest.skip("own uids and chroot need root")
    worker, m = ready(role, den)
    with worker:
        wanted = {name for name in dir(E) if name.startswith("LAYER_")}
        if role == "dialer":  # its resolver reads /etc
            wanted.remove("LAYER_CHROOT")
        missing = {name for name in wanted if not m.layers & getattr(E, name)}
        assert not missing and m.missing == ""
        status = dict(line.split(":\t", 1) for line in open(f"/proc/{worker.pid}/status").read().splitlines()
                      if ":\t" in line)
        uid = str(den.uid(role))
        assert status["Uid"].split() == [uid] * 4 and status["Gid"].split() == [uid] * 4
        assert status["Groups"].strip() == ""
        assert all(int(status[f"Cap{s}"], 16) == 0 for s in ("Inh", "Prm", "Eff", "Bnd", "Amb"))
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
        assert os.readlink(f"/proc/{worker.pid}/root") == ("/" if role == "dialer" else str(den.empty))


def test_descriptors(role, den):
    """Nothing is open that was not handed over or made for the loop."""
    if not workers.AS_ROOT:
        pytest.skip("/proc of an undumpable process needs root")
    secret = os.open(den.secret, os.O_RDONLY)
    os.set_inheritable(secret, True)  # what a careless parent leaves; the supervisor closes its own
    os.close(secret)
    worker, _ = ready(role, den)
    with worker:
        links = [os.readlink(f"/proc/{worker.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{worker.pid}/fd")]
        expected = ("/dev/null", "socket:", "anon_inode:", "pipe:", str(den.keys), str(den.path))
        strange = [link for link in links if not link.startswith(expected)]
        assert not strange
        assert str(den.secret) not in links and str(den.database) not in links


def test_ends_with_its_supervisor(role, den):
    worker, _ = ready(role, den)
    worker.channel.close()
    assert worker.wait() in (0, 1)


def test_signals_do_not_cut_it_short(role, den):
    worker, _ = ready(role, den)
    with worker:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1, signal.SIGTSTP):
            os.kill(worker.pid, number)
        worker.channel.send("WORKER_PING", nonce=77)
        assert worker.channel.expect("WORKER_PONG", skip=tuple(ipc.BY_NAME)).nonce == 77
        assert worker.alive()


def test_dies_with_its_supervisor(role, den):
    """Even when the channel stays open in somebody else's hands: the kernel kills it with its parent."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    report, report_child = os.pipe()
    parent = os.fork()
    if parent == 0:
        worker = workers.start(role, den, BIN)
        worker.ready()
        theirs.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", worker.channel.fileno()))])
        os.write(report_child, struct.pack("i", worker.pid))
        os.kill(os.getpid(), signal.SIGKILL)
    _, control, _, _ = ours.recvmsg(1, 1024)
    held = struct.unpack("i", control[0][2][:4])[0]
    pid = struct.unpack("i", os.read(report, 4))[0]
    os.waitpid(parent, 0)
    try:
        deadline = time.monotonic() + 10
        while os.path.exists(f"/proc/{pid}") and _state(pid) != "Z":
            assert time.monotonic() < deadline, "the worker outlives its supervisor"
            time.sleep(0.01)
    finally:
        os.close(held)
        for fd in (report, report_child):
            os.close(fd)


def _state(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "Z"


def test_not_by_hand(role):
    _, _, executable, argument = workers.ROLES[role]
    argv = [f"{BIN}/{executable}"] + ([argument] if argument else [])
    done = subprocess.run(argv, capture_output=True, timeout=10, text=True)
    assert done.returncode == 64 and "wormhole listen" in done.stderr


def test_not_on_any_socket(role):
    """A stream socket, or a channel that another process made, is no supervisor."""
    _, _, executable, argument = workers.ROLES[role]
    argv = [f"{BIN}/{executable}"] + ([argument] if argument else [])
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        code = "import os,subprocess,sys; os.dup2(%d,3); os.set_inheritable(3,True); " \
               "sys.exit(subprocess.run(%r,close_fds=False).returncode)" % (theirs.fileno(), argv)
        done = subprocess.run([sys.executable, "-c", code], pass_fds=(theirs.fileno(),), capture_output=True,
                              timeout=20)
        assert done.returncode == 64
        ours.close()
        theirs.close()


BAD_STARTS = {
    "begin first": lambda role: [ipc.encode("WORKER_BEGIN", instance=1)],
    "setup twice": lambda role: [setup_of(role)] * 2,
    "another role": lambda role: [setup_of(role, role=(workers.ROLES[role][0] % 5) + 1)],
    "no side": lambda role: [setup_of(role, side=0)],
    "no such mode": lambda role: [setup_of(role, sandbox_mode=E.SANDBOX_OFF_FOR_SANITIZER)],
    "no such level": lambda role: [setup_of(role, log_level=9)],
    "probe": lambda role: [setup_of(role, test_probe=1)],
    "short": lambda role: [setup_of(role)[:-1]],
    "long": lambda role: [setup_of(role) + b"\0"],
    "unknown": lambda role: [struct.pack("<H", 60000)],
    "one byte": lambda role: [b"\1"],
    "full packet": lambda role: [b"\1\0" + bytes(ipc.MESSAGE_MAX - 2)],
    "wrong direction": lambda role: [ipc.encode("WORKER_PONG", nonce=1)],
    "another channel": lambda role: [setup_of(role), ipc.encode("DIAL_SERVER", request=1)],
    "too early": lambda role: [setup_of(role), ipc.encode("RESULT", request=1)],
    "nothing but begin": lambda role: [setup_of(role), ipc.encode("WORKER_BEGIN", instance=1)],
}


@pytest.mark.parametrize("case", BAD_STARTS)
def test_bad_start_is_no_start(role, case):
    """Nothing but the right messages in the right order makes a worker; every other way it exits and says why."""
    worker = spawn(role)
    try:
        for packet in BAD_STARTS[case](role):
            try:
                worker.channel.send_packet(packet)
            except ipc.Closed:
                break
        rest = worker.channel.expect_closed()
        assert "WORKER_READY" not in [m.type for m in rest]
        assert worker.wait() > 0
        assert worker.channel.logs, "it said nothing"
    finally:
        worker.stop()
    tally.add(hostile=1)


def test_descriptors_that_nobody_asked_for(role):
    for count in (1, 3, 10):
        worker = spawn(role)
        null = os.open("/dev/null", os.O_RDONLY)
        worker.channel.send_packet(setup_of(role), [null] * count)
        os.close(null)
        worker.channel.expect_closed()
        assert worker.wait() > 0
        worker.stop()


def test_stop_during_the_start(role):
    worker = spawn(role)
    worker.channel.send("WORKER_STOP", drain_ms=1000)
    assert worker.wait() == 0


def test_lives_with_less(role, den):
    """Without chroot and own uid, and at any Landlock: it starts, and says what is missing."""
    for landlock in (0, 1, 2, 3, 4, 5, 6, 7):
        worker, m = ready(role, den, landlock=landlock, chroot=False, single_uid=True)
        with worker:
            assert m.landlock_abi == landlock and m.layers & E.LAYER_SECCOMP
            assert not m.layers & (E.LAYER_CHROOT | E.LAYER_UID)
            assert "uid" in m.missing
            assert bool(m.layers & E.LAYER_LANDLOCK_NET) == (landlock >= 4)
            assert bool(m.layers & E.LAYER_LANDLOCK_SCOPES) == (landlock >= 6)
