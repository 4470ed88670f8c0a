# SPDX-License-Identifier: Apache-2.0
"""The chart: one SVG, a panel for each figure, a bar for each subject. It is written by hand, so that drawing
needs no library. It must not leave out a subject for being faster."""

from xml.sax.saxutils import escape

WIDTH, MARGIN, GAP, COLUMNS = 1040, 28, 24, 2
BAR, PITCH, HEAD, LABEL, VALUE = 15, 22, 50, 168, 118
PANEL = (WIDTH - 2 * MARGIN - GAP * (COLUMNS - 1)) // COLUMNS

# (row, figure, title)
PANELS = [("down-1", "mbps", "Bulk, 1 stream, app → user"), ("up-1", "mbps", "Bulk, 1 stream, user → app"),
          ("down-16", "mbps", "Bulk, 16 streams, app → user"), ("up-16", "mbps", "Bulk, 16 streams, user → app"),
          ("down-1", "cpu", "CPU per byte, both sides"), ("latency", "p50", "Small request, warm, p50"),
          ("latency", "p99", "Small request, warm, p99"), ("connect", "rate", "New connections"),
          ("keepalive", "rate", "Requests on 64 keep-alive connections"),
          ("beside-bulk", "p99", "Request p99 beside a saturating stream")]

STYLE = """
text { font-family: -apple-system, "Segoe UI", "DejaVu Sans", Helvetica, Arial, sans-serif; fill: #1f2933; }
.title { font-size: 21px; font-weight: 650; } .about { font-size: 12px; fill: #616e7c; }
.panel { font-size: 14px; font-weight: 600; } .unit { font-size: 11px; fill: #7b8794; }
.name { font-size: 11.5px; text-anchor: end; } .own { font-weight: 700; } .value { font-size: 11px; }
.ratio { fill: #7b8794; } .card { fill: #ffffff; stroke: #e4e7eb; } .page { fill: #f7f9fb; }
.line { stroke: #52606d; stroke-width: 1; stroke-dasharray: 3 3; } .whisker { stroke: #1f2933; stroke-width: 1.2; }
.wormhole { fill: #6d3fc4; } .wss { fill: #a583e0; } .plain { fill: #cbd2d9; } .sealed { fill: #4a9fb5; }
@media (prefers-color-scheme: dark) { text { fill: #e4e7eb; } .page { fill: #14181d; } .card { fill: #1c2229;
 stroke: #323f4b; } .about, .unit, .ratio { fill: #9aa5b1; } .plain { fill: #52606d; } .whisker { stroke: #f5f7fa; }
 .line { stroke: #9aa5b1; } .wormhole { fill: #9a6cf0; } .wss { fill: #6b4ba8; } }
"""


def _kind(results, name):
    if name == "wormhole":
        return "wormhole"
    if name.startswith("wormhole"):
        return "wss"
    return "sealed" if results["subjects"][name]["encrypted"] else "plain"


def _number(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _bars(results, row, key):
    """(name, median, low, high, ratio), fastest first; the yardstick's own second run is left to the table."""
    bars = []
    for name, entry in row["subjects"].items():
        got = entry["figures"].get(key)
        if got and name != "haproxy-again":
            value = got["value"]
            bars.append((name, value["median"], value["low"], value["high"], got["ratio"]["median"]))
    return sorted(bars, key=lambda bar: bar[1], reverse=row["figures"][key]["better"] == "higher")


def _panel(results, at, row, key, title):
    figure, bars = row["figures"][key], _bars(results, row, key)
    x, y = at
    height = HEAD + PITCH * len(bars) + 12
    better = "more is better" if figure["better"] == "higher" else "less is better"
    out = [f'<rect class="card" x="{x}" y="{y}" width="{PANEL}" height="{height}" rx="8"/>',
           f'<text class="panel" x="{x + 16}" y="{y + 24}">{escape(title)}</text>',
           f'<text class="unit" x="{x + 16}" y="{y + 40}">{escape(figure["unit"])}, {better}</text>']
    room = PANEL - LABEL - VALUE
    top = max((bar[3] or bar[1]) for bar in bars)
    # One slow subject must not flatten all the others: bars beyond three times the middle are cut and say so.
    middle = sorted(bar[1] for bar in bars)[len(bars) // 2]
    limit = min(top, 3 * middle) if figure["better"] == "lower" else top
    for number, (name, value, low, high, ratio) in enumerate(bars):
        row_y = y + HEAD + PITCH * number
        cut = value > limit
        length = max(2, room * min(value, limit) / limit)
        own = " own" if name.startswith("wormhole") else ""
        out.append(f'<text class="name{own}" x="{x + LABEL - 8}" y="{row_y + 12}">'
                   f'{escape(results["subjects"][name]["short"])}</text>')
        out.append(f'<rect class="{_kind(results, name)}" x="{x + LABEL}" y="{row_y}" width="{length:.1f}" '
                   f'height="{BAR}" rx="3"/>')
        if cut:
            end = x + LABEL + length
            out.append(f'<path d="M{end - 12:.1f} {row_y - 1} l6 {BAR + 2} M{end - 7:.1f} {row_y - 1} '
                       f'l6 {BAR + 2}" stroke="#fff" stroke-width="2"/>')
        elif low is not None and high is not None:
            left, right = (x + LABEL + room * min(edge, limit) / limit for edge in (low, high))
            middle_y = row_y + BAR / 2
            out.append(f'<path class="whisker" d="M{left:.1f} {middle_y} H{right:.1f} M{left:.1f} '
                       f'{middle_y - 3} v6 M{right:.1f} {middle_y - 3} v6"/>')
            length = max(length, right - x - LABEL)
        shown = f' <tspan class="ratio">× {ratio:.2f}</tspan>' if ratio is not None else ""
        out.append(f'<text class="value" x="{x + LABEL + length + 6:.1f}" y="{row_y + 12}">'
                   f'{_number(value)}{shown}</text>')
    return out, height


def svg(results):
    about = results["machine"]
    panels = [(results["rows"][row], figure, title) for row, figure, title in PANELS
              if row in results["rows"] and _bars(results, results["rows"][row], figure)]
    body, tops = [], [118] * COLUMNS
    for row, figure, title in panels:
        column = tops.index(min(tops))
        drawn, height = _panel(results, (MARGIN + column * (PANEL + GAP), tops[column]), row, figure, title)
        body += drawn
        tops[column] += height + GAP
    height = max(tops) + 8
    words = (f"{about['date']} · {about['cores']} cores, {about['processor']} · Linux {about['kernel']} · "
             f"{about['openssl']} · loopback · medians of interleaved runs, × = ratio to HAProxy + HAProxy")
    legend, x = [], MARGIN
    for kind, text in (("wormhole", "Wormhole"), ("wss", "Wormhole, wss through nginx"),
                       ("sealed", "encrypted"), ("plain", "not encrypted")):
        legend.append(f'<rect class="{kind}" x="{x}" y="86" width="12" height="12" rx="3"/>'
                      f'<text class="about" x="{x + 18}" y="96">{text}</text>')
        x += 40 + 7 * len(text)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img">', "<title>Wormhole bench</title>", f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="10"/>',
        f'<text class="title" x="{MARGIN}" y="44">user → server side → client side → app</text>',
        f'<text class="about" x="{MARGIN}" y="66">{escape(words)}</text>', *legend, *body, "</svg>", ""])
