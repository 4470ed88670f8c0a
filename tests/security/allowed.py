#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""
Reads allowed.txt, the list of what may succeed from inside a sandbox, and makes the documentation's table of it.

usage: tests/security/allowed.py [--update]     checks, or writes, the table in docs/sandbox.md
"""
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DOCUMENT = ROOT / "docs/sandbox.md"
ROLES = ("crypto", "server-session", "client-session", "dialer", "admin", "k8s", "supervisor")
LANDLOCK = ("full", "abi2", "none")
BEGIN = "<!-- allowed: made by tests/security/allowed.py --update -->"
END = "<!-- end of allowed -->"
NAMES = re.findall(r"^PROBE\((\w+),", (ROOT / "common/worker_probe.def").read_text(), flags=re.M)


def lines():
    """[(probe, [role…], [landlock…])…] in the order of the file."""
    found = []
    for line in (HERE / "allowed.txt").read_text().splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        roles, landlock = words[1].split(","), words[2].split(",") if len(words) > 2 else list(LANDLOCK)
        if words[0] not in NAMES or set(roles) - set(ROLES) or set(landlock) - set(LANDLOCK):
            raise ValueError(f"allowed.txt: {line}")
        found.append((words[0], roles, landlock))
    return found


def table():
    """{(role, landlock): {probe}}."""
    result = {(role, landlock): set() for role in ROLES for landlock in LANDLOCK}
    for probe, roles, landlock in lines():
        for role in roles:
            for level in landlock:
                result[role, level].add(probe)
    return result


def markdown():
    """One line per role: what succeeds with Landlock, what more without some of it, and how much is refused."""
    allowed = table()
    rows = [f"Of {len(NAMES)} attempts from inside, these succeed; all others are refused.", "",
            "| role | Landlock of the running kernel | more with ABI 2 | more without Landlock |", "| --- | --- | --- | --- |"]
    for role in ROLES:
        cells, before = [], set()
        for level in LANDLOCK:
            more = sorted(allowed[role, level] - before)
            before |= allowed[role, level]
            cells.append(", ".join(f"`{name}`" for name in more) or "–")
        rows.append(f"| {role} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main():
    text = DOCUMENT.read_text()
    head, rest = text.split(BEGIN)
    fresh = head + BEGIN + "\n" + markdown() + "\n" + END + rest.split(END)[1]
    if fresh != text and "--update" in sys.argv[1:]:
        DOCUMENT.write_text(fresh)
    elif fresh != text:
        sys.exit("docs/sandbox.md is out of date: run tests/security/allowed.py --update")


if __name__ == "__main__":
    main()
