# SPDX-License-Identifier: Apache-2.0
"""
What each executable links, read from the executable, against link_lists.txt. Only the libraries that it names
itself count: what a library brings along is that library's business and is not callable from our code by name.
"""
import os
import re
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BIN = Path(os.environ.get("WORMHOLE_BIN", HERE.parents[1] / "build/release/bin"))
ALWAYS = {"libc", "ld-linux-x86-64", "ld-linux-aarch64"}


def lists():
    for line in (HERE / "link_lists.txt").read_text().splitlines():
        words = line.split("#")[0].split()
        if words:
            yield words[0], set(words[1:])


LISTS = dict(lists())


def needed(executable):
    out = subprocess.run(["readelf", "-dW", executable], capture_output=True, text=True, check=True).stdout
    names = re.findall(r"\(NEEDED\).*\[(.+?)\.so", out)
    return {re.sub(r"-[0-9.]+$", "", name) if not name.startswith("ld-") else name for name in names}


@pytest.mark.parametrize("name", LISTS)
def test_links_what_it_may(name):
    found = needed(BIN / name) - ALWAYS
    assert found == LISTS[name], f"more: {found - LISTS[name]}, listed but not linked: {LISTS[name] - found}"


def test_every_executable_has_a_list():
    assert {p.name for p in BIN.glob("wormhole*")} == set(LISTS)


def test_nobody_links_what_speaks_for_him():
    """The walls between processes, said once more and apart from the list."""
    for name in LISTS:
        libraries = needed(BIN / name)
        assert "libssl" not in libraries or name == "wormhole-net"
        assert "libcurl" not in libraries or name == "wormhole-k8s"
        assert "libsqlite3" not in libraries or name == "wormhole"
        assert not libraries & {"libdl", "libpthread", "libsystemd", "libdbus-1", "libevent", "libevent_extra"}
