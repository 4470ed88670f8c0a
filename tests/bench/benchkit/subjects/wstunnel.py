# SPDX-License-Identifier: Apache-2.0
"""wstunnel over wss. It is measured only where the program can be had."""

from .. import machine
from .base import Subject


class Wstunnel(Subject):
    name, label = "wstunnel", "wstunnel (wss)"
    needs = ("wstunnel",)

    def prepare(self):
        self.port, front = machine.free_port(), machine.free_port()
        self.endpoint = f"127.0.0.1:{front}"

    def launch(self):
        program, where = self.kit.program("wstunnel"), f"wss://{self.place.server_address}:{self.port}"
        self.spawn("server", [program, "server", where])
        self.spawn("client", [program, "client", "-R", f"tcp://{self.endpoint}:{self.app.address}", where])
