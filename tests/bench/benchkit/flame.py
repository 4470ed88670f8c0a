# SPDX-License-Identifier: Apache-2.0
"""Flame graphs: call stacks as `perf script` prints them, folded, and drawn as one SVG. The width of a box is its
share of the samples; what is above it was called by it. It must not hide kernel or library frames."""

import re
import zlib
from xml.sax.saxutils import escape

WIDTH, ROW, MARGIN, HEAD = 1200, 17, 12, 64
SMALLEST = 0.6      # pixels

FRAME = re.compile(r"^\s+([0-9a-f]+)\s+(.+?)\s+\((.*)\)$")


def _clean(name, module):
    name = name.split("+0x")[0]
    if name in ("[unknown]", ""):
        base = module.rpartition("/")[2]
        return f"[{base or 'unknown'}]"
    return name + ("_[k]" if "kernel" in module or module.startswith("[k") or module.endswith(".ko") else "")


def fold(text):
    """{(frame, frame, …): samples}, outermost frame first, the program's role as the root."""
    folded, head, stack = {}, None, []
    for line in text.splitlines() + [""]:
        if not line.strip():
            if head and stack:
                key = (head,) + tuple(reversed(stack))
                folded[key] = folded.get(key, 0) + 1
            head, stack = None, []
        elif not line.startswith((" ", "\t")) or head is None and not FRAME.match(line):
            head = line.strip().split()[0]
        else:
            found = FRAME.match(line)
            if found:
                stack.append(_clean(found.group(2), found.group(3)))
    return folded


class _Node:
    def __init__(self, name):
        self.name, self.samples, self.children = name, 0, {}


def _tree(folded):
    root = _Node("all")
    for stack, samples in folded.items():
        node = root
        node.samples += samples
        for name in stack:
            node = node.children.setdefault(name, _Node(name))
            node.samples += samples
    return root


def _colour(name):
    """Kernel frames are blue, libcrypto's green, libc's grey, ours violet; the shade is the name's."""
    shade = zlib.crc32(name.encode()) % 24
    if name.endswith("_[k]"):
        return f"hsl(208,52%,{58 + shade}%)"
    if re.match(r"(?i)(aes|gcm|evp|crypto|ossl|gf|cipher|gen|ghash|ossl_|openssl|\[libcrypto)", name):
        return f"hsl(150,42%,{56 + shade}%)"
    if name.startswith(("__", "_int", "[libc", "[ld", "epoll", "event", "[libevent")) or name in ("readv", "writev"):
        return f"hsl(30,10%,{68 + shade // 2}%)"
    return f"hsl(264,58%,{66 + shade}%)"


def _draw(node, left, level, scale, total, out):
    width = node.samples * scale
    if width < SMALLEST:
        return level
    deepest = level
    share = f"{node.samples / total:.1%}"
    out.append((left, level, width, node.name, share))
    at = left
    for child in sorted(node.children.values(), key=lambda one: one.name):
        deepest = max(deepest, _draw(child, at, level + 1, scale, total, out))
        at += child.samples * scale
    return deepest


def svg(folded, title, about):
    root, boxes = _tree(folded), []
    total = max(1, root.samples)
    deepest = _draw(root, MARGIN, 0, (WIDTH - 2 * MARGIN) / total, total, boxes)
    height = HEAD + (deepest + 1) * ROW + MARGIN
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
           f'height="{height}" role="img">', f"<title>{escape(title)}</title>",
           '<style>text { font-family: "DejaVu Sans Mono", Consolas, monospace; font-size: 10.5px; fill: #1f2933; }'
           ' .title { font: 600 16px "DejaVu Sans", Arial, sans-serif; }'
           ' .about { font: 12px "DejaVu Sans", Arial, sans-serif; fill: #616e7c; }'
           ' rect { stroke: #ffffff; stroke-width: .6; } .page { fill: #ffffff; }</style>',
           f'<rect class="page" width="{WIDTH}" height="{height}"/>',
           f'<text class="title" x="{MARGIN}" y="26">{escape(title)}</text>',
           f'<text class="about" x="{MARGIN}" y="46">{escape(about)}</text>']
    for left, level, width, name, share in boxes:
        y = height - MARGIN - (level + 1) * ROW
        shown = name.replace("_[k]", "")
        room = int((width - 6) / 6.4)
        label = shown if len(shown) <= room else (shown[:room - 1] + "…" if room > 3 else "")
        out.append(f'<g><title>{escape(shown)}: {share}</title><rect x="{left:.1f}" y="{y}" width="{width:.1f}" '
                   f'height="{ROW - 1}" fill="{_colour(name)}"/>' +
                   (f'<text x="{left + 3:.1f}" y="{y + 12}">{escape(label)}</text>' if label else "") + "</g>")
    return "\n".join(out + ["</svg>", ""])


def shares(folded, groups):
    """What part of all samples has its innermost frame in each group: [(name, pattern)] → {name: share}."""
    total = sum(folded.values()) or 1
    out = {name: 0 for name, _ in groups}
    for stack, samples in folded.items():
        for name, pattern in groups:
            if re.search(pattern, stack[-1]):
                out[name] += samples
                break
    return {name: samples / total for name, samples in out.items()}
