# SPDX-License-Identifier: Apache-2.0
"""
Fuzzes every parser for a few seconds each, and holds the kept corpus to its coverage. tests/fuzz/run does it, for as long
as one likes; this is the bounded part that every run of the tests makes. WORMHOLE_FUZZ_SECONDS sets the time for each.
"""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import tally

ROOT = Path(__file__).resolve().parents[2]
SECONDS = os.environ.get("WORMHOLE_FUZZ_SECONDS", "4")

pytestmark = pytest.mark.skipif(shutil.which("clang-14") is None, reason="clang-14 is not installed")


def run(*arguments):
    done = subprocess.run([ROOT / "tests/fuzz/run", *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_nothing_is_found():
    status, output = run("--seconds", SECONDS)
    total = re.search(r"^(\d+) targets, (\d+) seconds fuzzed, (\d+) findings$", output, flags=re.M)
    if total:
        tally.add(fuzzed_s=int(total[2]), findings=int(total[3]))
    assert status == 0 and total and int(total[1]) > 5, output[-6000:]


def test_coverage_of_the_parsers():
    status, output = run("--coverage")
    total = re.search(r"^(\d+) parser files, (\d+) below 90 %$", output, flags=re.M)
    assert status == 0 and total and int(total[1]) > 5, output[-3000:]
