# SPDX-License-Identifier: Apache-2.0
"""
A second network on this machine: a namespace behind a veth pair, with nothing of ours in between. Must not know what runs
in it. Skips the test where the machine cannot have one.
"""
import os
import subprocess

import pytest

import tunnel


def run(*argv, check=True):
    return subprocess.run(argv, check=check, capture_output=True, text=True)


class FarNetwork:
    """`address` is this side's on the wire between; `prefix` runs a command on the far side. Goes away with `hosts`."""

    def __init__(self, hosts):
        if not tunnel.AS_ROOT:
            pytest.skip("network namespaces need root")
        self.name = f"wh{os.getpid()}"
        self.prefix = ["ip", "netns", "exec", self.name]
        wire = f"10.213.{os.getpid() % 200 + 20}"
        self.address = f"{wire}.1"
        if run("ip", "netns", "add", self.name, check=False).returncode != 0:
            pytest.skip("this machine cannot make network namespaces")
        hosts.cleanups.append(lambda: run("ip", "netns", "del", self.name, check=False))
        if run("ip", "link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name,
               check=False).returncode != 0:
            pytest.skip("this machine cannot make veth pairs")
        hosts.cleanups.append(lambda: run("ip", "link", "del", self.name, check=False))
        run("ip", "addr", "add", f"{self.address}/30", "dev", self.name)
        run("ip", "link", "set", self.name, "up")
        self.ip("addr", "add", f"{wire}.2/30", "dev", "eth0")
        self.ip("link", "set", "eth0", "up")
        self.ip("link", "set", "lo", "up")

    def ip(self, *argv):
        """ip(8) on the far side."""
        run("ip", "-n", self.name, *argv)
