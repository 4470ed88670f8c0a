# SPDX-License-Identifier: Apache-2.0
"""The rows that are measured in interleaved pairs against the yardstick: what load each one runs, and which
figures are read from a sample. It must not run anything."""

from .figures import engine, jain

MEGA, HIGHER, LOWER = 1e6, "higher", "lower"


class Figure:
    def __init__(self, key, label, unit, better, read):
        self.key, self.label, self.unit, self.better, self.read = key, label, unit, better, read


def throughput(kind):
    return lambda sample: engine(sample, kind)["bytes"] / sample["seconds"] / MEGA


def cpu_per_byte(kind):
    def read(sample):
        used = sum(sample["cpu"].get(side, 0.0) for side in ("server", "client"))
        return used * 1e9 / engine(sample, kind)["bytes"] if used else None
    return read


def cpu_per_gib(kind):
    """All processes: the subject's, the user's and the application's."""
    return lambda sample: sum(sample["cpu"].values()) * 2**30 / engine(sample, kind)["bytes"]


def latency(point, scale=1.0):
    return lambda sample: engine(sample, "request").get(f"{point}_us", 0.0) * scale or None


def per_second(kind):
    return lambda sample: engine(sample, kind)["completed"] / sample["seconds"]


def cpu_per_operation(kind):
    def read(sample):
        used = sum(sample["cpu"].get(side, 0.0) for side in ("server", "client"))
        return used * 1e6 / engine(sample, kind)["completed"] if used else None
    return read


def fairness(kind):
    return lambda sample: jain(engine(sample, kind)["per_stream"])


def evenness(kind):
    def read(sample):
        moved = engine(sample, kind)["per_stream"]
        return min(moved) / max(moved) if max(moved) else None
    return read


class Row:
    """`engines` are the driver's; `half_speed` replaces RATE by half of what the subject does alone."""

    def __init__(self, key, label, engines, figures, seconds=1.0):
        self.key, self.label, self.engines, self.figures, self.seconds = key, label, engines, figures, seconds

    @property
    def half_speed(self):
        return any("RATE" in text for text in self.engines)


def _bulk(direction, streams, words):
    figures = [Figure("mbps", "throughput", "MB/s", HIGHER, throughput(direction)),
               Figure("cpu", "CPU per byte, both sides", "ns/B", LOWER, cpu_per_byte(direction)),
               Figure("cpu_gib", "CPU per GiB, all processes", "s/GiB", LOWER, cpu_per_gib(direction))]
    if streams > 1:
        figures += [Figure("jain", "fairness (Jain)", "", HIGHER, fairness(direction)),
                    Figure("minmax", "slowest / fastest stream", "", HIGHER, evenness(direction))]
    return Row(f"{direction}-{streams}", f"bulk, {words}", [f"{direction}:{streams}"], figures,
               seconds=1.0 if streams < 100 else 2.0)


_BESIDE = [Figure("p50", "request p50", "µs", LOWER, latency("p50")),
           Figure("p99", "request p99", "µs", LOWER, latency("p99")),
           Figure("mbps", "bulk meanwhile", "MB/s", HIGHER, throughput("down"))]

ROWS = [
    _bulk("down", 1, "1 stream, app → user"),
    _bulk("up", 1, "1 stream, user → app"),
    _bulk("down", 8, "8 streams, app → user"),
    _bulk("down", 16, "16 streams, app → user"),
    _bulk("up", 16, "16 streams, user → app"),
    _bulk("down", 100, "100 streams, app → user"),
    Row("latency", "small request, warm connection", ["request:1"],
        [Figure("p50", "p50", "µs", LOWER, latency("p50")), Figure("p99", "p99", "µs", LOWER, latency("p99")),
         Figure("p999", "p99.9", "µs", LOWER, latency("p999"))]),
    Row("keepalive", "64 keep-alive connections", ["request:64"],
        [Figure("rate", "requests", "1/s", HIGHER, per_second("request")),
         Figure("p99", "p99", "µs", LOWER, latency("p99")),
         Figure("cpu", "CPU per request", "µs", LOWER, cpu_per_operation("request"))]),
    Row("connect", "new connections", ["connect:16"],
        [Figure("rate", "connections", "1/s", HIGHER, per_second("connect")),
         Figure("cpu", "CPU per connection", "µs", LOWER, cpu_per_operation("connect"))]),
    Row("beside-bulk", "request beside a bulk stream", ["request:1", "down:1"], _BESIDE),
    Row("beside-paced", "request beside a bulk stream at half speed", ["request:1", "down:1:RATE"], _BESIDE),
    Row("beside-stalled", "request and bulk beside a stalled reader", ["request:1", "down:1", "stalled:1"],
        _BESIDE),
]
BY_KEY = {row.key: row for row in ROWS}
