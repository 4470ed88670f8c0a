# SPDX-License-Identifier: Apache-2.0
"""
The hardening that SECURITY.md promises, read back from the executables as they were built: not from the flags that
somebody meant to pass.
"""
import os
import platform
import re
import subprocess
from pathlib import Path

import pytest

import tally

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("WORMHOLE_BIN", ROOT / "build/release/bin"))
NAMES = ("wormhole", "wormhole-net", "wormhole-crypto", "wormhole-k8s")
# Compiler options that leave no other trace than the compiler's own record of them.
RECORDED = ("-fstack-protector-strong", "-fstack-clash-protection", "-ftrivial-auto-var-init=zero",
            "-fzero-call-used-regs=used-gpr")


def readelf(name, *options):
    return subprocess.run(["readelf", "-W", *options, BIN / name], capture_output=True, text=True, check=True).stdout


@pytest.fixture(params=NAMES)
def name(request):
    yield request.param
    tally.add(walls=1)


def test_position_independent(name):
    assert re.search(r"Type:\s+DYN", readelf(name, "-h"))
    assert "INTERP" in readelf(name, "-l")


def test_relocations_are_read_only(name):
    dynamic = readelf(name, "-d")
    assert "GNU_RELRO" in readelf(name, "-l")
    assert "BIND_NOW" in dynamic or re.search(r"FLAGS_1.*NOW", dynamic)
    assert "TEXTREL" not in dynamic
    assert "RPATH" not in dynamic and "RUNPATH" not in dynamic


def test_nothing_is_writable_and_executable(name):
    headers = readelf(name, "-l")
    stack = re.search(r"GNU_STACK\s.*\s(R\w?\s?E?)\s+0x\w+$", headers, flags=re.M)
    assert stack and "E" not in stack[1]
    for flags in re.findall(r"^\s+LOAD\s.*?\s(R?W?\s?E?)\s+0x\w+$", headers, flags=re.M):
        assert not ("W" in flags and "E" in flags)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="CET is x86's")
def test_control_flow(name):
    assert re.search(r"x86 feature: IBT, SHSTK", readelf(name, "-n"))


def test_stack_protector_and_fortify(name):
    symbols = readelf(name, "--dyn-syms")
    assert "__stack_chk_fail" in symbols
    assert re.search(r"__v?snprintf_chk|__fprintf_chk", symbols)
    # printf with a buffer and %n checks: with FORTIFY the plain ones are gone.
    assert not re.search(r"\s(sprintf|vsprintf|strcpy|strcat|gets)@", symbols)


def test_compiler_options(name):
    """Of every object of ours; each unit's producer line lists what it was compiled with."""
    producers = re.findall(r"DW_AT_producer.*?: (GNU C.*)$", readelf(name, "--debug-dump=info"), flags=re.M)
    assert len(producers) > 5, "built without debug information, which records the options"
    for producer in producers:
        if "-fno-strict-aliasing" not in producer:
            continue  # the system's own objects
        for option in RECORDED:
            assert option in producer
        assert re.search(r"-O[12s]", producer)


def test_no_special_bits(name):
    assert (BIN / name).stat().st_mode & 0o6000 == 0
    listed = subprocess.run(["getfattr", "-n", "security.capability", BIN / name], capture_output=True, text=True) \
        if Path("/usr/bin/getfattr").exists() else None
    assert listed is None or "security.capability" not in listed.stdout


def test_no_probe_is_compiled_in(name):
    assert b"probe %s refused" not in (BIN / name).read_bytes()
