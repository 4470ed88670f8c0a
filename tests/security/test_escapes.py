# SPDX-License-Identifier: Apache-2.0
"""
Tries every escape of common/worker_probe.def from inside every role's real sandbox, one process each, at the Landlock
ABI of the running kernel, at ABI 2 and without Landlock. What is not refused must stand in allowed.txt, and what
stands there must not be refused: the table is what the roles can do, neither more nor less.
"""
import concurrent.futures
import os
import signal
import socket
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
            PID=pid, DATABASE=den.database, KEY=key, SECRET=den.secret, **outside).items()}
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            results = dict(zip(NAMES, pool.map(
                lambda number: outcome(role, den, landlock, number, environment), range(1, len(NAMES) + 1))))
    succeeded = {name for name, result in results.items() if result.startswith("allowed")}
    expected = allowed.table()[role, landlock]
    breaches = {name: results[name] for name in succeeded - expected}
    tally.add(walls=len(NAMES), breaches=len(breaches))
    problems = [f"{name}: {results[name]}, and not in allowed.txt" for name in breaches]
    problems += [f"{name}: {results[name]}, but allowed.txt allows it" for name in expected - succeeded]
    assert not problems, "\n" + "\n".join(sorted(problems))
