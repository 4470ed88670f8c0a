# SPDX-License-Identifier: Apache-2.0
"""Rows that only Wormhole has: many peers, handshakes, approvals. Each drives the real programs from outside; what
it may know is the command line, the control socket's messages and nothing else."""

import base64
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from . import machine
from .figures import engine, median
from .pairs import note
from .subjects.wormhole import WormholeWs

ROOT = Path(__file__).resolve().parents[3]
OPEN_DOORS = ["--max-startups", "5000:0:10000", "--max-half-open-per-source", "5000", "--max-sessions", "5000"]


class Fleet(WormholeWs):
    """One server and many clients, each with its own key, state and app."""

    name = "wormhole-fleet"

    def __init__(self, kit, app, ports):
        super().__init__(kit)
        self.app, self.clients = app, []
        self.prepare()
        self.server_options = OPEN_DOORS
        self.range_last = self.range_first + ports + 60   # some may be in use by strangers
        self.launch_server()

    def add(self, number):
        name = f"peer{number}"
        state = self.directory / name
        state.mkdir(mode=0o700)
        scheme, address, port = self.server
        return self.spawn("client", [
            self.executable(self.kit), "--state-dir", state, "--control-socket", state / "client.sock",
            "--log-level", "warn", "join", "--name", name, "--server", f"{scheme}://{address}:{port}/wh/tunnel",
            "--expose", f"name=app,address={self.app.address}"])

    def grow(self, count, at_once=16):
        """Adds clients until there are `count`; each is connected when it returns."""
        while len(self.clients) < count:
            for _ in range(min(at_once, count - len(self.clients))):
                self.clients.append(self.add(len(self.clients)))
            self.await_apps(len(self.clients))

    def await_control(self):
        deadline = time.monotonic() + 30
        while not (self.directory / "server" / "control.sock").exists():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the server does not start; its log ends: {self.log_end()}")
            time.sleep(0.05)

    def await_apps(self, count, patience=120):
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            apps = self.apps()
            if len(apps) >= count:
                return apps
            time.sleep(0.1)
        raise RuntimeError(f"only {len(apps)} of {count} peers came; the log ends: {self.log_end()}")


def growth_peers(bench, counts):
    """What one more peer costs the server: CPU to connect it, memory, CPU at rest; and the latency of a request."""
    points = []
    fleet = Fleet(bench.kit, bench.app, max(counts))
    try:
        fleet.await_control()
        time.sleep(1.0)
        last = machine.memory(fleet.pids("server"))["private"]
        before, have = machine.cpu_with_children(fleet.roots["server"]), 0
        for count in counts:
            note(f"  {count} peers")
            fleet.grow(count)
            # All of the server's processes, and those that have ended since.
            used = machine.cpu_with_children(fleet.roots["server"])
            time.sleep(1.0)
            pids = fleet.pids("server")
            taken = machine.memory(pids)["private"]
            at_rest = machine.cpu_seconds(pids)
            time.sleep(10.0)
            at_rest = (machine.cpu_seconds(pids) - at_rest) / 10.0
            target = fleet.apps()[-1]["endpoint"]
            p50 = median([engine(bench.kit.driver.load(
                fleet.place, target, ["request:1"], {}, warmup=0.3, seconds=1.0), "request")["p50_us"]
                for _ in range(3)])
            points.append({"peers": count, "server_memory": taken,
                           # What one more costs, not the average over all.
                           "server_memory_per_peer": (taken - last) / (count - have),
                           "connect_cpu_ms_per_peer": (used - before) * 1000 / (count - have),
                           "idle_cpu": at_rest, "request_p50_us": p50, "server_processes": len(pids)})
            before, have, last = machine.cpu_with_children(fleet.roots["server"]), count, taken
    finally:
        fleet.stop()
    return {"growth_peers": {"wormhole": points}}


def scale_peers(bench, counts, rounds):
    """One bulk stream through each of so many peers at once."""
    fleet, samples = Fleet(bench.kit, bench.app, max(counts)), {count: [] for count in counts}
    try:
        fleet.grow(max(counts))
        apps = fleet.apps()
        for _ in range(rounds):
            for count in counts:
                machine.wait_until_quiet(patience=20)
                sample = bench.kit.driver.load(
                    fleet.place, apps[0]["endpoint"], [f"down:1@{app['endpoint']}" for app in apps[:count]],
                    fleet.cpu_groups(), warmup=0.5, seconds=1.0)
                moved = sum(one["bytes"] for one in sample["engines"]) / sample["seconds"] / 1e6
                own = (sample["cpu"]["server"] + sample["cpu"]["client"]) / sample["seconds"]
                samples[count].append((moved, sum(sample["cpu"].values()) / sample["seconds"], own))
    finally:
        fleet.stop()
    return {"scale_peers": [
        dict(zip(("peers", "mbps", "busy_cores", "own_cores"),
                 [count] + [median(column) for column in zip(*samples[count])])) for count in counts]}


class Counted(WormholeWs):
    """One server and one client that serve their own counters."""

    def prepare(self):
        super().prepare()
        self.metrics_ports = {"server": machine.free_port(), "client": machine.free_port()}


def settled_calls(subject, side):
    """Reads and writes that a side's sessions have made. They report once a second: two equal answers, a report apart."""
    last = None
    for _ in range(30):
        seen = subject.metrics(side)
        calls = sum(seen[f'wormhole_session_system_calls_total{{call="{call}"}}'] for call in ("read", "write"))
        if calls and last is not None and calls - last < 10:    # a ping may have come between
            return calls
        last = calls
        time.sleep(2.5)
    raise RuntimeError(f"the {side} does not come to rest")


def system_calls(bench, seconds):
    """The sessions' own counters of reads and writes, for each MiB of one bulk stream and for each small request."""
    subject, out = Counted(bench.kit), {}
    try:
        subject.start(bench.app)
        for key, work in (("down", "down:1"), ("up", "up:1"), ("request", "request:1"), ("request_64", "request:64")):
            before = {side: settled_calls(subject, side) for side in ("server", "client")}
            machine.wait_until_quiet(patience=20)
            sample = bench.kit.driver.load(subject.place, subject.endpoint, [work], subject.cpu_groups(), warmup=0,
                                           seconds=seconds)
            got = engine(sample, work.partition(":")[0])
            units = got["bytes"] / 2**20 if key in ("down", "up") else got["completed"]
            out[key] = {side: (settled_calls(subject, side) - before[side]) / units for side in before}
    finally:
        subject.stop()
    return {"system_calls": out}


def handshakes(bench, seconds):
    """Whole handshakes against a real server; what both cores could do is read from the server's CPU time."""
    program = bench.kit.wormhole_build / "bin" / "bench-handshakes"
    fleet = Fleet(bench.kit, bench.app, 10)
    try:
        fleet.await_control()
        load = machine.spawn([str(program), str(fleet.port), "/wh/tunnel", "4", str(seconds)],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            if load.stdout.readline().strip() != "ready":
                raise RuntimeError(load.stderr.read().strip() or "no handshake succeeded")
            before = machine.cpu_with_children(fleet.roots["server"])
            out, err = load.communicate("go\n", timeout=seconds + 60)
            if load.returncode:
                raise RuntimeError(err.strip())
            time.sleep(0.5)     # until the last sessions have ended and are accounted for
            used = machine.cpu_with_children(fleet.roots["server"]) - before
        finally:
            machine.end([load], grace=0)
    finally:
        fleet.stop()
    done = int(out)
    return {"handshakes": {"completed": done, "per_second_with_clients_on_the_same_cores": done / seconds,
                           "server_cpu_ms_each": used * 1000 / done,
                           "per_second_all_cores": machine.CORES * done / used}}


def approvals(bench, seconds):
    """Decisions with their audit rows, one after the other over the control socket, each answered when on disk."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    import ipc      # pylint: disable=import-outside-toplevel,import-error
    fleet = Fleet(bench.kit, bench.app, 10)
    try:
        fleet.await_control()
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.connect(str(fleet.directory / "server" / "control.sock"))
        channel = ipc.Channel(control)
        done, began, waits = 0, time.monotonic(), []
        while time.monotonic() - began < seconds:
            start = time.monotonic()
            channel.send("DECIDE", request=done + 1, action=ipc.E.DECISION_PREAPPROVE,
                         subject=fingerprint(done), name=f"bench-{done}")
            answer = channel.expect("RESULT", timeout=10)
            if answer.outcome != ipc.E.OUTCOME_DONE:
                raise RuntimeError(answer.text)
            waits.append(time.monotonic() - start)
            done += 1
        took = time.monotonic() - began
    finally:
        fleet.stop()
    sync = fsync_seconds(bench.work)
    return {"approvals": {"per_second": done / took, "p50_ms": median(waits) * 1000,
                          "one_fsync_of_this_disk_ms": sync * 1000}}


def fingerprint(number):
    digest = hashlib.sha256(f"bench {number}".encode()).digest()
    return "SHA256:" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def fsync_seconds(directory):
    """The middle time of appending 4 KiB and having it on disk: what no database can be faster than."""
    taken = []
    with open(Path(directory) / "fsync", "wb") as file:
        for _ in range(50):
            began = time.monotonic()
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            taken.append(time.monotonic() - began)
    return median(taken)


def steps(bench, quick):
    """The row's key → a function that measures it and returns its part of the results."""
    if WormholeWs.missing(bench.kit) or not shutil.which("cc"):
        return {}
    return {
        "scale-peers": lambda: scale_peers(bench, (1, 2, 4, 8), 1 if quick else 7),
        "growth-peers": lambda: growth_peers(bench, (1, 5, 10) if quick else (1, 10, 50, 100, 200, 500)),
        "system-calls": lambda: system_calls(bench, 1.0 if quick else 4.0),
        "handshakes": lambda: handshakes(bench, 2.0 if quick else 10.0),
        "approvals": lambda: approvals(bench, 1.0 if quick else 5.0),
    }
