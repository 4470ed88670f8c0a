# SPDX-License-Identifier: Apache-2.0
"""
Amounts: large streams, many at once, thousands of idle ones, every byte compared by wormhole-flow. How much one stream
carries can be raised with WORMHOLE_FLOW_BYTES. It measures no time; memory is counted, not guessed.
"""
import os
import re
import resource
import subprocess

import pytest

import tunnel
from tunnel import BIN, PATIENCE, wait

FLOW = os.environ.get("WORMHOLE_FLOW") or BIN + "/../tests/integration/wormhole-flow"
ONE_STREAM = int(os.environ.get("WORMHOLE_FLOW_BYTES", 256 << 20))
IDLE = 5000


@pytest.fixture
def flow(hosts):
    """A pair of hosts with the application behind them; gives the user's port and both sides."""
    serve = subprocess.Popen([FLOW, "serve"], stdout=subprocess.PIPE, text=True)
    hosts.cleanups.append(lambda: (serve.kill(), serve.wait()))
    server, client = hosts.pair({"flow": int(serve.stdout.readline())})
    return server.app_port("edge1", "flow"), server, client


def call(port, streams, up, down, timeout=PATIENCE * 8 + ONE_STREAM / 20e6):
    done = subprocess.run([FLOW, "call", str(port), str(streams), str(up), str(down)], capture_output=True, text=True,
                          timeout=timeout, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_stream_carries_much_each_way(flow):
    port, server, _ = flow
    call(port, 1, ONE_STREAM, 0)
    call(port, 1, 0, ONE_STREAM)
    call(port, 1, ONE_STREAM // 4, ONE_STREAM // 4)
    app = wait(lambda: [a for a in server.apps() if a["bytes_in"] > ONE_STREAM], "the figures of the app")[0]
    assert app["streams_total"] >= 3


def test_five_hundred_streams_at_once(flow):
    port, server, client = flow
    call(port, 500, 300_000, 200_000)
    call(port, 500, 0, 1)
    assert server.count("disconnected") == 0 and client.count("disconnected") == 0


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return sum(int(n) for n in re.findall(r"Private_(?:Clean|Dirty):\s+(\d+)", f.read()))


def test_five_thousand_idle_streams(flow):
    port, server, client = flow
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < IDLE + 1000:
        pytest.skip("the hard limit for descriptors is too low for this")
    call(port, 20, 1000, 1000)  # what a first stream brings into memory is no cost of the others
    sessions = {"server": server.pid_of("session"), "client": client.pid_of("session")}
    # A sanitizer's own bookkeeping says nothing about ours; it runs without the filter.
    counted = tunnel.AS_ROOT and server.processes("session")[0]["seccomp"].startswith("filter")
    before = {name: private_kib(pid) for name, pid in sessions.items()} if counted else {}
    idle = subprocess.Popen([FLOW, "idle", str(port), str(IDLE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            text=True, bufsize=1)
    try:
        assert idle.stdout.readline() == "open\n"
        wait(lambda: server.app("edge1", "flow")["streams"] == IDLE, "the count of streams")
        for name, kib in before.items():
            used = (private_kib(sessions[name]) - kib) * 1024 / IDLE
            assert used <= 1024, f"{name}: {used:.0f} bytes for each idle stream"
        idle.stdin.write("\n")  # all of them still carry
        assert idle.stdout.readline() == "alive\n"
    finally:
        idle.kill()
        idle.wait()
    wait(lambda: server.app("edge1", "flow")["streams"] == 0, "the streams to be gone")
    call(port, 1, 100_000, 100_000)
    assert {"server": server.pid_of("session"), "client": client.pid_of("session")} == sessions
