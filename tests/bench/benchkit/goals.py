# SPDX-License-Identifier: Apache-2.0
"""The goals, as one table, and the judgement on each: met, missed (only when the whole interval misses), not
certain, or withheld (when the yardstick against itself was off). It must not soften anything."""

import random

from .figures import RESAMPLES, median
from .subjects import CONTROL, YARDSTICK

SUBJECT = "wormhole"
CONTROL_LOW, CONTROL_HIGH = 0.93, 1.07

# (row, figure, "ratio" to the yardstick or "value", floor, aim); greater is better unless marked "<".
PAIRED = [
    ("down-1", "mbps", "ratio", 0.75, 1.0), ("up-1", "mbps", "ratio", 0.75, 1.0),
    ("down-8", "mbps", "ratio", 0.85, 1.0),
    ("down-1", "cpu", "ratio<", 1.5, 1.2), ("up-1", "cpu", "ratio<", 1.5, 1.2),
    ("latency", "p50", "ratio<", 1.1, 0.95), ("latency", "p99", "ratio<", 1.3, 1.0),
    ("latency", "p999", "value<", 10000.0, 10000.0),
    ("connect", "rate", "ratio", 1.0, 1.3), ("keepalive", "rate", "ratio", 1.15, 1.4),
    ("beside-bulk", "p50", "value<", 600.0, 200.0), ("beside-bulk", "p99", "value<", 2500.0, 1000.0),
    ("beside-paced", "p50", "value<", 600.0, 200.0), ("beside-paced", "p99", "value<", 2500.0, 1000.0),
    ("down-8", "jain", "value", 0.99, 0.99), ("down-100", "jain", "value", 0.95, 0.95),
    ("down-8", "minmax", "value", 0.9, 0.9),
]
# (row, figure, other subject, at least so many times)
RELATIVE = [("down-1", "mbps", "ssh", 1.1), ("up-1", "mbps", "ssh", 1.1), ("connect", "rate", "ssh", 20.0)]
RIVALS = ("chisel", "frp", "rathole", "rathole-tls", "wstunnel")
RIVAL_ROWS = [("down-1", "mbps", 2.0), ("up-1", "mbps", 2.0), ("down-16", "mbps", 2.0), ("up-16", "mbps", 2.0),
              ("down-1", "cpu", 1.0), ("latency", "p50", 1.0), ("latency", "p99", 1.0),
              ("keepalive", "rate", 1.0), ("connect", "rate", 2.0), ("beside-bulk", "p99", 1.0)]


def _verdict(low, value, high, floor, aim, smaller):
    """Worst and best end of the interval decide."""
    if smaller:
        low, high, value, floor, aim = -high, -low, -value, -floor, -aim
    if high < floor:
        return "missed"
    if value < floor:
        return "not certain"
    return "aim met" if value >= aim else "met"


def _entry(rows, row, subject, figure):
    return rows.get(row, {}).get("subjects", {}).get(subject, {}).get("figures", {}).get(figure)


def _withheld(rows, row, figure):
    """Why no verdict is given on a ratio of this row, or None."""
    control = _entry(rows, row, CONTROL, figure)
    if not control or control["ratio"]["median"] is None:
        return f"no {YARDSTICK}-against-itself sample"
    seen = control["ratio"]["median"]
    if not CONTROL_LOW <= seen <= CONTROL_HIGH:
        return f"{YARDSTICK} against itself was {seen:.2f}"
    return None


def ratio_of(rows, row, figure, one, other):
    """Bootstrap of the quotient of two subjects' ratios to the yardstick: (low, median, high) or None."""
    left, right = _entry(rows, row, one, figure), _entry(rows, row, other, figure)
    if not left or not right or not left["ratios"] or not right["ratios"]:
        return None
    left, right = left["ratios"], right["ratios"]
    chance = random.Random(len(left) * 1000 + len(right))
    seen = sorted(median(chance.choices(left, k=len(left))) / median(chance.choices(right, k=len(right)))
                  for _ in range(RESAMPLES))
    return seen[int(0.025 * RESAMPLES)], median(left) / median(right), seen[int(0.975 * RESAMPLES) - 1]


def judge(rows):
    """A list of {goal, value, low, high, floor, aim, verdict}."""
    out = []
    for row, figure, kind, floor, aim in PAIRED:
        entry = _entry(rows, row, SUBJECT, figure)
        if not entry:
            continue
        smaller = kind.endswith("<")
        ratio = kind.startswith("ratio")
        seen = entry["ratio" if ratio else "value"]
        if seen["median"] is None:
            continue
        low = seen["low"] if seen["low"] is not None else seen["median"]
        high = seen["high"] if seen["high"] is not None else seen["median"]
        held = _withheld(rows, row, figure) if ratio else None
        out.append({"row": row, "figure": figure, "against": YARDSTICK if ratio else None,
                    "value": seen["median"], "low": low, "high": high, "floor": floor, "aim": aim,
                    "smaller_is_better": smaller,
                    "verdict": f"withheld: {held}" if held else
                    _verdict(low, seen["median"], high, floor, aim, smaller)})
    _stalled(out, rows)
    for row, figure, other, times in RELATIVE:
        _relative(out, rows, row, figure, other, times, times)
    for other in RIVALS:
        for row, figure, aim in RIVAL_ROWS:
            _relative(out, rows, row, figure, other, 1.0, aim)
    return out


def _stalled(out, rows):
    """What a bulk stream and a request keep of their speed when a reader stalls beside them. The interval is the widest
    that both rows' intervals allow."""
    for figure, floor, aim, smaller in (("mbps", 0.9, 1.0, False), ("p50", 1 / 0.9, 1.0, True)):
        beside, stalled = (_entry(rows, row, SUBJECT, figure) for row in ("beside-bulk", "beside-stalled"))
        if not beside or not stalled or None in (beside["value"]["median"], stalled["value"]["median"]):
            continue
        bulk, held = ({end: one["value"][end] or one["value"]["median"] for end in ("low", "median", "high")}
                      for one in (beside, stalled))
        low, value, high = (held["low"] / bulk["high"], held["median"] / bulk["median"], held["high"] / bulk["low"])
        out.append({"row": "beside-stalled", "figure": figure, "against": "the same without a stalled reader",
                    "value": value, "low": low, "high": high, "floor": floor, "aim": aim,
                    "smaller_is_better": smaller, "verdict": _verdict(low, value, high, floor, aim, smaller)})


def _relative(out, rows, row, figure, other, floor, aim):
    seen = ratio_of(rows, row, figure, SUBJECT, other)
    if not seen:
        return
    better = rows[row]["figures"][figure]["better"]
    low, value, high = seen if better == "higher" else tuple(1 / part for part in reversed(seen))
    out.append({"row": row, "figure": figure, "against": other, "value": value, "low": low, "high": high,
                "floor": floor, "aim": aim, "smaller_is_better": False,
                "verdict": _verdict(low, value, high, floor, aim, False)})


def judge_solo(solo):
    """Verdicts on the rows that are no pairs, where the goals name a number."""
    out = []

    def add(row, figure, value, floor, aim, smaller=True, against=None):
        out.append({"row": row, "figure": figure, "against": against, "value": value, "low": value,
                    "high": value, "floor": floor, "aim": aim, "smaller_is_better": smaller,
                    "verdict": _verdict(value, value, value, floor, aim, smaller)})

    own = solo.get("memory", {}).get(SUBJECT)
    if own:
        for side, value in own["per_stream"].items():
            add("memory", f"bytes per idle stream, {side}", value, 1024, 256)
        add("memory", "idle server with one peer, MiB", own["sides"][0]["server"]["private"] / 2**20, 14, 8)
        add("memory", "CPU at rest, 5,000 streams, %", own["idle_cpu"][-1] * 100, 0.1, 0.1)
    stalled = solo.get("stalled_memory", {}).get(SUBJECT)
    if stalled:
        for side, value in stalled.items():
            add("stalled reader", f"memory, {side}, MiB (the largest window is 8)", value / 2**20, 8, 8)
    peers = solo.get("growth_peers", {}).get(SUBJECT)
    if peers:
        add("memory", "server, for one more peer, MiB", peers[-1]["server_memory_per_peer"] / 2**20, 3, 1.5)
    for key, name in (("line_clean", "50 ms"), ("line_lossy", "50 ms, 1 % loss")):
        rates = solo.get(key, {}).get("mbps", {})
        if SUBJECT in rates and "direct" in rates:
            add("line", f"{name}, against plain TCP", rates[SUBJECT]["median"] / rates["direct"]["median"],
                0.9, 1.0, smaller=False)
    if SUBJECT in solo.get("startup", {}):
        add("startup", "seconds to the first byte", solo["startup"][SUBJECT]["median"], 0.5, 0.5)
    for direction, words in (("down", "app → user"), ("up", "user → app")):
        for side, calls in solo.get("system_calls", {}).get(direction, {}).items():
            add("system calls", f"per MiB, 1 stream, {words}, {side} session", calls, 16, 10)
    for key, floor, aim in (("handshakes", 300, 1000),):
        if key in solo:
            add(key, "server side, both cores, 1/s", solo[key]["per_second_all_cores"], floor, aim,
                smaller=False)
    for key in ("growth_streams", "growth_peers"):
        for figure, spread in flatness(solo.get(key, {}).get(SUBJECT, [])).items():
            add(key, f"{figure}: dearest / cheapest point", spread, 1.15, 1.05)
    return out


def flatness(points):
    """Largest over smallest value of each cost over the points of a growth curve, the very first left out where
    a single stream or peer cannot share anything."""
    spread = {}
    for figure in ("request_cpu_us", "connect_cpu_us", "bulk_cpu_ns", "server_memory_per_peer",
                   "connect_cpu_ms_per_peer"):
        values = [point[figure] for point in points if point.get(figure)]
        if len(values) > 1:
            spread[figure] = max(values) / min(values)
    return spread
