# SPDX-License-Identifier: Apache-2.0
"""The rows that are no pairs: memory and idleness, start-up, the long and lossy line, growth with the number
of streams. Each function takes subjects that run and returns plain numbers. It must not judge them."""

import time

from . import machine
from .driver import DriverFailed
from .figures import engine, median, summary
from .pairs import note

IDLE_SECONDS = 5.0


def _sides(subject):
    return {side: machine.memory(subject.pids(side)) for side in ("server", "client")}


def memory(driver, subject, counts=(0, 1000, 5000)):
    """Memory of all processes by side with so many idle streams, and the CPU that they burn at rest."""
    out = {"counts": list(counts), "sides": [], "idle_cpu": []}
    subject.stop()
    subject.launch()
    subject.prove()
    for count in counts:
        held = driver.hold(subject.place, subject.endpoint, [f"idle:{count}"], 90) if count else None
        try:
            time.sleep(0.5)     # let allocators and garbage collectors come to rest
            out["sides"].append(_sides(subject))
            pids = subject.pids("server") + subject.pids("client")
            before = machine.cpu_seconds(pids)
            time.sleep(IDLE_SECONDS)
            out["idle_cpu"].append((machine.cpu_seconds(pids) - before) / IDLE_SECONDS)
        finally:
            if held:
                held.stop()
    first, last = out["sides"][0], out["sides"][-1]
    out["per_stream"] = {side: (last[side]["private"] - first[side]["private"]) / counts[-1]
                         for side in ("server", "client")}
    return out


def stalled_memory(driver, subject):
    """What a reader that never reads makes both sides hold, in bytes of private memory."""
    subject.stop()
    subject.launch()
    subject.prove()
    # One bulk transfer first, so that what any transfer needs is not charged to the stalled one.
    driver.load(subject.place, subject.endpoint, ["down:1"], {}, warmup=0.2, seconds=0.5)
    before = _sides(subject)
    held = driver.hold(subject.place, subject.endpoint, ["stalled:1"])
    try:
        time.sleep(2.0)
        after = _sides(subject)
    finally:
        held.stop()
    return {side: after[side]["private"] - before[side]["private"] for side in before}


def startup(subjects, times):
    """Seconds from exec to the first byte through, by subject, in turn."""
    taken = {subject.name: [] for subject in subjects}
    for _ in range(times):
        for subject in subjects:
            machine.wait_until_quiet(patience=20)
            seconds = subject.timed_start()
            if seconds is not None:
                taken[subject.name].append(seconds)
    return {name: summary(values) for name, values in taken.items() if values}


def line(driver, make_subjects, delay_ms, loss, rounds, warmup=4.0, seconds=6.0):
    """Throughput of one stream, app → user, over a line with a delay each way and loss; in turn."""
    shaped = driver.line(delay_ms, loss)
    app, running, rates, failed = None, [], {}, {}
    try:
        app = driver.app(shaped.place)
        for subject in make_subjects(shaped.place):
            try:
                subject.start(app)
                running.append(subject)
            except (RuntimeError, OSError) as error:
                failed[subject.name] = str(error).splitlines()[0]
                note(f"  {subject.name}: {failed[subject.name]}")
                subject.stop()
        for number in range(rounds):
            for subject in (running if number % 2 == 0 else running[::-1]):
                machine.wait_until_quiet(patience=20)
                try:
                    sample = driver.load(shaped.place, subject.endpoint, ["down:1"], {}, warmup=warmup,
                                         seconds=seconds)
                except DriverFailed as error:
                    failed[subject.name] = str(error)
                    continue
                rates.setdefault(subject.name, []).append(
                    engine(sample, "down")["bytes"] / sample["seconds"] / 1e6)
    finally:
        for subject in running:
            subject.stop()
        if app:
            app.stop()
        counts = shaped.stop()
    return {"delay_ms": delay_ms, "loss": loss, "line": counts, "failed": failed,
            "mbps": {name: summary(values) for name, values in rates.items()}}


def _repeat(driver, subject, engines, read, times=3, seconds=1.0, patience=120.0):
    values = []
    for _ in range(times):
        machine.wait_until_quiet(patience=20)
        sample = driver.load(subject.place, subject.endpoint, engines, subject.cpu_groups(),
                             warmup=0.3, seconds=seconds, patience=patience)
        values.append(read(sample))
    return [median(column) for column in zip(*values)]


def _own_cpu(sample):
    return sample["cpu"].get("server", 0.0) + sample["cpu"].get("client", 0.0)


def growth_streams(driver, subject, counts=(1, 10, 100, 1000, 10000)):
    """With 1 … 10,000 open streams: CPU and time of a request that goes round over all of them, CPU of a new
    connection beside them, CPU per byte of a bulk stream beside them, memory per stream."""
    points = []
    subject.stop()
    subject.launch()
    subject.prove()
    empty = _sides(subject)
    for count in [min(count, subject.capacity() - 60) for count in counts]:
        note(f"  {subject.name}: {count} streams")
        request = _repeat(driver, subject, [f"request:{count}:1"], lambda sample: (
            _own_cpu(sample) * 1e6 / engine(sample, "request")["completed"],
            engine(sample, "request")["p50_us"]))
        connect = _repeat(driver, subject, [f"idle:{count}", "connect:4"], lambda sample: (
            _own_cpu(sample) * 1e6 / engine(sample, "connect")["completed"],))
        bulk = _repeat(driver, subject, [f"idle:{count}", "down:1"], lambda sample: (
            _own_cpu(sample) * 1e9 / engine(sample, "down")["bytes"],
            engine(sample, "down")["bytes"] / sample["seconds"] / 1e6))
        held = driver.hold(subject.place, subject.endpoint, [f"idle:{count}"], 120)
        try:
            time.sleep(0.5)
            full = _sides(subject)
        finally:
            held.stop()
        points.append({"streams": count, "request_cpu_us": request[0], "request_p50_us": request[1],
                       "connect_cpu_us": connect[0], "bulk_cpu_ns": bulk[0], "bulk_mbps": bulk[1],
                       "memory_per_stream": {side: (full[side]["private"] - empty[side]["private"]) / count
                                             for side in full}})
    return points
