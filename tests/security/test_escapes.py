# SPDX-License-Identifier: Apache-2.0
"""
Tries every escape of common/worker_probe.def from inside every role's real sandbox, one process each, at the Landlock
ABI of the running kernel, at ABI 2 and without Landlock. What is not refused must stand in allowed.txt, and what
stands there must not be refused: the table is what the roles can do, neither more nor less.
"""
import concurrent.futures
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

import allowed
import ipc
import tally
import workers
from ipc import E

BIN = Path(os.environ.get("WORMHOLE_BIN", ipc.ROOT / "build/release/bin"))
PROBES = BIN.parent / "probes"
LANDLOCK = {"full": 255, "abi2": 2, "none": 0}
NAMES = allowed.NAMES

pytestmark = pytest.mark.skipif(not workers.AS_ROOT, reason="own uids and chroot need root")


def outcome(role, den, landlock, number, environment):
    """'allowed …' or 'refused …' or 'killed'; everything else is an error of the test."""
    listener = socket.create_server(("127.0.0.1", 0)) if role == "server-session" else None
    worker = workers.start(role, den, PROBES, landlock=LANDLOCK[landlock], probe=number, environment=environment,
                           session_socket=listener)
    try:
        ready, _ = worker.ready()
        assert ready.landlock_abi == min(LANDLOCK[landlock], running_abi()), ready.missing
        with worker.channel.sock:
            try:
                worker.channel.expect_closed()
            except ipc.IpcError as e:
                raise AssertionError(f"{NAMES[number - 1]}: {e}") from e
        status = worker.wait()
        lines = [text for _, text in worker.channel.logs if text.startswith("probe ")]
        if status == -signal.SIGSYS or status == -signal.SIGSEGV and NAMES[number - 1] == "call_i386":
            return "killed"
        if status == 0 and not lines and NAMES[number - 1].startswith("exec"):
            return "allowed: became another program"
        assert status == 0 and len(lines) == 1, f"{NAMES[number - 1]}: exit {status}, {worker.channel.logs}"
        _, name, result = lines[0].split(maxsplit=2)
        assert name == NAMES[number - 1], "the table and the executable differ: build again"
        return result
    finally:
        worker.stop()
        if listener is not None:
            listener.close()


def supervisor_outcome(state, landlock, number, environment):
    """The same for the real `wormhole listen`, where its event loop would begin."""
    with tempfile.TemporaryDirectory(prefix="wormhole-sup-") as directory:
        shutil.copytree(state, directory + "/state")
        # In a mount namespace of its own: should a wall be missing, the machine that runs the tests keeps its mounts.
        done = subprocess.run(
            ["/usr/bin/unshare", "-m", "sh", "-c", 'LD_PRELOAD="$PROBE" exec "$0" "$@"', BIN / "wormhole", "--state-dir",
             directory + "/state", "--control-socket", directory + "/state/c.sock", "--landlock-max",
             str(LANDLOCK[landlock]), "listen", "--host", "127.0.0.1", "--port", "0", "--admin-port", "0"],
            env={**os.environ, **environment, "PROBE": str(PROBES / "supervisor-probe.so"),
                 "WORMHOLE_PROBE_NUMBER": str(number)}, capture_output=True, text=True, timeout=60, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("probe ")]
    if done.returncode in (-signal.SIGSYS, -signal.SIGSEGV):
        return "killed"
    if not lines and NAMES[number - 1].startswith("exec"):
        return "allowed: became another program"
    assert len(lines) == 1, f"{NAMES[number - 1]}: exit {done.returncode}: {done.stderr}"
    return lines[0].split(maxsplit=2)[2]


@pytest.mark.parametrize("landlock", LANDLOCK)
def test_every_wall_of_the_supervisor(den, outside, landlock):
    """It keeps what starting and caging workers takes, and that is in the list too; the rest is refused."""
    key = den.keys / "wormhole-probe-key"
    key.write_text("key")
    state = den.path / "template"
    if not state.exists():
        state.mkdir()
    with workers.sibling(0) as pid:
        environment = {"WORMHOLE_PROBE_" + name: str(value) for name, value in dict(
            PID=pid, DATABASE=den.database, KEY=key, SECRET=den.secret, SCRATCH=den.scratch, **outside).items()}
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            results = dict(zip(NAMES, pool.map(
                lambda number: supervisor_outcome(state, landlock, number, environment), range(1, len(NAMES) + 1))))
    judge("supervisor", landlock, results)


def running_abi():
    return min(7, int(os.environ.get("WORMHOLE_LANDLOCK_ABI", "7")))


@pytest.fixture(scope="module")
def den():
    with workers.den() as d:
        yield d


@pytest.fixture(scope="module")
def outside(den):
    """A port, a local socket and an abstract one, all with somebody listening."""
    name = f"wormhole-probe-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as abstract, \
            socket.socket(socket.AF_UNIX) as local:
        abstract.bind("\0" + name)
        local.bind(str(den.path / "listening"))
        os.chmod(den.path / "listening", 0o777)
        for s in (abstract, local):
            s.listen(8)
        yield dict(PORT=tcp.getsockname()[1], ABSTRACT=name, UNIX=den.path / "listening")


def test_documentation_has_the_table():
    assert allowed.markdown() in allowed.DOCUMENT.read_text(), "run tests/security/allowed.py --update"


@pytest.mark.parametrize("landlock", LANDLOCK)
@pytest.mark.parametrize("role", workers.ROLES)
def test_every_wall(den, outside, role, landlock):
    key = den.keys / "wormhole-probe-key"
    key.write_text("key")
    os.chown(key, den.uid("crypto"), den.uid("crypto"))
    os.chmod(key, 0o600)
    with workers.sibling(den.uid(role)) as pid:
        environment = {"WORMHOLE_PROBE_" + name: str(value) for name, value in dict(
            PID=pid, DATABASE=den.database, KEY=key, SECRET=den.secret, SCRATCH=den.scratch, **outside).items()}
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            results = dict(zip(NAMES, pool.map(
                lambda number: outcome(role, den, landlock, number, environment), range(1, len(NAMES) + 1))))
    judge(role, landlock, results)


def judge(role, landlock, results):
    """What succeeded against what may; every difference fails."""
    succeeded = {name for name, result in results.items() if result.startswith("allowed")}
    expected = allowed.table()[role, landlock]
    breaches = {name: results[name] for name in succeeded - expected}
    tally.add(walls=len(NAMES), breaches=len(breaches))
    problems = [f"{name}: {results[name]}, and not in allowed.txt" for name in breaches]
    problems += [f"{name}: {results[name]}, but allowed.txt allows it" for name in expected - succeeded]
    assert not problems, "\n" + "\n".join(sorted(problems))
