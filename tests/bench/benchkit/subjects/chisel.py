# SPDX-License-Identifier: Apache-2.0
"""chisel: SSH in a websocket, reverse port."""

from .. import machine
from .base import Subject


class Chisel(Subject):
    name, label = "chisel", "chisel"
    needs = ("chisel",)

    def prepare(self):
        self.port, front = machine.free_port(), machine.free_port()
        self.endpoint = f"127.0.0.1:{front}"

    def launch(self):
        program = self.kit.program("chisel")
        self.spawn("server", [program, "server", "--host", self.place.server_address, "--port", self.port,
                              "--reverse", "--auth", "bench:bench"])
        self.spawn("client", [program, "client", "--auth", "bench:bench", "--max-retry-interval", "100ms",
                              f"http://{self.place.server_address}:{self.port}",
                              f"R:{self.endpoint}:{self.app.address}"])
