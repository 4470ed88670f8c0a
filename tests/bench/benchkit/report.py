# SPDX-License-Identifier: Apache-2.0
"""Results as a table on the terminal and as Markdown. It must show the rows that are lost like the others."""


def number(value, unit=""):
    if value is None:
        return "–"
    if unit == "" or abs(value) < 10:
        text = f"{value:.2f}"
    elif abs(value) < 100:
        text = f"{value:.1f}"
    else:
        text = f"{value:,.0f}"
    return text


def _cell(figure, entry):
    value, ratio = entry["value"], entry["ratio"]
    text = number(value["median"], figure["unit"])
    if ratio["median"] is None:
        return text, "", ""
    spread = "" if ratio["low"] is None else f"{ratio['low']:.2f}–{ratio['high']:.2f}"
    return text, f"{ratio['median']:.2f}", spread


# (row, figure, heading, factor)
OVERVIEW = [("down-1", "mbps", "app→user", 1), ("up-1", "mbps", "user→app", 1), ("down-8", "mbps", "8 app→user", 1),
            ("down-16", "mbps", "16 app→user", 1), ("up-16", "mbps", "16 user→app", 1),
            ("down-1", "cpu", "ns/B", 1), ("latency", "p50", "p50 µs", 1), ("latency", "p99", "p99 µs", 1),
            ("connect", "rate", "conn/s", 1), ("keepalive", "rate", "req/s", 1),
            ("beside-bulk", "p50", "beside p50 ms", 0.001), ("beside-bulk", "p99", "beside p99 ms", 0.001)]


def overview_lines(results, markdown=False):
    """One line for each subject: median and ratio to the yardstick of the figures that matter first."""
    columns = [(results["rows"][row], figure, heading, factor) for row, figure, heading, factor in OVERVIEW
               if row in results["rows"]]
    names = [name for name in results["subjects"] if any(name in row["subjects"] for row, *_ in columns)]
    table = [("", *[heading for _, _, heading, _ in columns])]
    for name in names:
        cells = [results["subjects"][name]["label"]]
        for row, figure, _, factor in columns:
            got = row["subjects"].get(name, {}).get("figures", {}).get(figure)
            ratio = got and got["ratio"]["median"]
            cells.append("–" if not got else number(got["value"]["median"] * factor, "x") +
                         (f" ×{ratio:.2f}" if ratio is not None else ""))
        table.append(tuple(cells))
    title = "medians, and ratios to HAProxy + HAProxy from the same minute; bulk in MB/s, CPU of both sides"
    return _block(title, table, markdown) if columns else []


def paired_lines(results, markdown=False):
    """One block per row and figure: subject, median, ratio to the yardstick, its 95 % interval, pairs."""
    lines = []
    for row in results["rows"].values():
        for key, figure in row["figures"].items():
            unit = f", {figure['unit']}" if figure["unit"] else ""
            better = "more is better" if figure["better"] == "higher" else "less is better"
            title = f"{row['label']}: {figure['label']}{unit} ({better})"
            table = [("", "median", "ratio", "95 % interval", "pairs", "dropped")]
            for name, entry in row["subjects"].items():
                label = results["subjects"][name]["label"]
                if "failed" in entry:
                    table.append((label, f"failed: {entry['failed'][:60]}", "", "", "", ""))
                elif key in entry["figures"]:
                    got = entry["figures"][key]
                    table.append((label, *_cell(figure, got), str(got["ratio"]["n"]), str(entry["dropped"])))
            lines += _block(title, table, markdown)
    return lines


def _block(title, table, markdown):
    if markdown:
        out = [f"**{title}**", "", "| " + " | ".join(table[0]) + " |", "| --- " + "| ---: " * (len(table[0]) - 1) + "|"]
        return out + ["| " + " | ".join(cells) + " |" for cells in table[1:]] + [""]
    widths = [max(len(cells[at]) if len(cells) > at else 0 for cells in table) for at in range(len(table[0]))]
    out = [title]
    for cells in table:
        out.append("  " + cells[0].ljust(widths[0]) + "  " +
                   "  ".join(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:])))
    return out + [""]


def solo_lines(results, markdown=False):
    solo, lines = results.get("solo", {}), []

    def label(name):
        return results["subjects"].get(name, {}).get("label", name)

    if solo.get("memory"):
        counts = next(iter(solo["memory"].values()))["counts"]
        table = [("", *[f"{count:,} streams, MiB" for count in counts], "bytes/stream, server side",
                  "client side", "CPU at rest")]
        for name, got in solo["memory"].items():
            table.append((label(name), *[number(sum(side["pss"] for side in point.values()) / 2**20, "MiB")
                                         for point in got["sides"]],
                          number(got["per_stream"]["server"], "B"), number(got["per_stream"]["client"], "B"),
                          f"{got['idle_cpu'][-1] * 100:.2f} %"))
        lines += _block("memory of all processes (proportional set size) with idle streams", table, markdown)
    if solo.get("stalled_memory"):
        table = [("", "server side, KiB", "client side, KiB")]
        table += [(label(name), number(got["server"] / 1024, "K"), number(got["client"] / 1024, "K"))
                  for name, got in solo["stalled_memory"].items()]
        lines += _block("private memory that one stalled reader takes", table, markdown)
    if solo.get("startup"):
        table = [("", "seconds", "95 % interval")]
        table += [(label(name), f"{got['median']:.3f}",
                   "" if got["low"] is None else f"{got['low']:.3f}–{got['high']:.3f}")
                  for name, got in sorted(solo["startup"].items(), key=lambda item: item[1]["median"])]
        lines += _block("start-up, both sides: exec to the first byte through (keys approved)", table, markdown)
    for key in ("line_clean", "line_lossy"):
        got = solo.get(key)
        if not got:
            continue
        direct = got["mbps"].get("direct", {}).get("median")
        table = [("", "MB/s", "against plain TCP")]
        table += [(label(name), number(rate["median"], "MB/s"),
                   f"{rate['median'] / direct:.2f}" if direct else "") for name, rate in got["mbps"].items()]
        table += [(label(name), "failed", why[:60]) for name, why in got["failed"].items()
                  if name not in got["mbps"]]
        lines += _block(f"one stream over {2 * got['delay_ms']} ms round trip, {got['loss']:.0%} loss "
                        "(user-space line between the two sides)", table, markdown)
    for name, points in solo.get("growth_streams", {}).items():
        table = [("streams", "CPU µs/request", "p50 µs", "CPU µs/connection", "bulk CPU ns/B", "bulk MB/s",
                  "B/stream server", "client")]
        table += [(f"{point['streams']:,}", *[number(point[key], "x") for key in (
            "request_cpu_us", "request_p50_us", "connect_cpu_us", "bulk_cpu_ns", "bulk_mbps")],
            number(point["memory_per_stream"]["server"], "B"),
            number(point["memory_per_stream"]["client"], "B")) for point in points]
        lines += _block(f"growth with open streams: {label(name)}", table, markdown)
    for name, points in solo.get("growth_peers", {}).items():
        table = [("peers", "server MiB", "server MiB/peer", "CPU ms to connect one", "CPU at rest, %",
                  "request p50 µs")]
        table += [(f"{point['peers']:,}", number(point["server_memory"] / 2**20, "M"),
                   number(point["server_memory_per_peer"] / 2**20, "M"),
                   number(point["connect_cpu_ms_per_peer"], "ms"), f"{point['idle_cpu'] * 100:.2f}",
                   number(point["request_p50_us"], "us")) for point in points]
        lines += _block(f"growth with peers: {label(name)}", table, markdown)
    if solo.get("scale_peers"):
        table = [("peers", "MB/s together", "cores busy, all processes", "cores busy, tunnel")]
        table += [(str(point["peers"]), number(point["mbps"], "M"), number(point["busy_cores"]),
                   number(point["own_cores"])) for point in solo["scale_peers"]]
        lines += _block("one bulk stream on each of so many peers", table, markdown)
    if solo.get("system_calls"):
        words = {"down": "MiB, 1 stream, app → user", "up": "MiB, 1 stream, user → app",
                 "request": "request, one at a time", "request_64": "request, 64 connections"}
        table = [("for each", "server session", "client session")]
        table += [(words[key], number(got["server"]), number(got["client"]))
                  for key, got in solo["system_calls"].items()]
        lines += _block("reads and writes of sockets (the sessions' own counters)", table, markdown)
    for key, title in (("handshakes", "handshakes per second"), ("approvals", "approvals per second (sqlite)")):
        if key in solo:
            table = [("", "")] + [(name.replace("_", " "), number(value, "x"))
                                  for name, value in solo[key].items() if isinstance(value, (int, float))]
            lines += _block(title, table, markdown)
    return lines


def goal_lines(results, markdown=False):
    goals = results.get("goals", [])
    if not goals:
        return []
    table = [("", "measured", "interval", "floor", "aim", "verdict")]
    for goal in goals:
        row = results["rows"].get(goal["row"])
        name = f"{row['label']}, {row['figures'][goal['figure']]['label']}" if row else \
            f"{goal['row']}: {goal['figure']}"
        if goal["against"]:
            name += f" / {goal['against']}"
        sign = "≤" if goal["smaller_is_better"] else "≥"
        table.append((name, number(goal["value"]), f"{number(goal['low'])}–{number(goal['high'])}",
                      f"{sign} {goal['floor']:g}", f"{goal['aim']:g}", goal["verdict"]))
    return _block("goals", table, markdown)


def head_lines(results):
    about = results["machine"]
    out = [f"{about['date']}: {about['cores']} cores ({about['processor']}), Linux {about['kernel']}, "
           f"{about['openssl']}, {about['haproxy']}, TCP {about['congestion_control']}",
           f"command: {results['command']}"]
    out += [results["note"]] if "note" in results else []
    out += [f"not measured: {results['subjects'].get(name, {}).get('label', name)}: {why}"
            for name, why in results["missing"].items()]
    return out + [""]


def text(results, details=True):
    lines = head_lines(results) + overview_lines(results)
    if details:
        lines += paired_lines(results)
    return "\n".join(lines + solo_lines(results) + goal_lines(results))


def markdown(results):
    return "\n".join(head_lines(results) + overview_lines(results, True) + solo_lines(results, True) +
                     goal_lines(results, True))
