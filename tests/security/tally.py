# SPDX-License-Identifier: Apache-2.0
"""
Counts what the security tests tried, across their processes: each test appends a line to a file in the build
directory, and tests/security/report prints the table. Nothing is judged here.
"""
import json
import os
from pathlib import Path

FIELDS = ("walls", "breaches", "hostile", "faults", "losses", "fuzzed_s", "findings")


def path():
    binaries = os.environ.get("WORMHOLE_BIN")
    return Path(binaries).parent / "security-tally.jsonl" if binaries else None


def add(**counts):
    """tally.add(walls=3, breaches=0): one line, written in one piece."""
    unknown = set(counts) - set(FIELDS)
    if unknown:
        raise ValueError(f"not a column: {unknown}")
    if path() is not None:
        with open(path(), "a") as f:
            f.write(json.dumps(counts) + "\n")


def total(lines):
    sums = dict.fromkeys(FIELDS, 0)
    for line in lines:
        for name, value in json.loads(line).items():
            sums[name] += value
    return sums
