# SPDX-License-Identifier: Apache-2.0
"""frp with TLS and its stream multiplexer, both its defaults."""

from .. import machine
from .base import Subject


class Frp(Subject):
    name, label = "frp", "frp (TLS, mux)"
    needs = ("frps", "frpc")

    def prepare(self):
        port, front = machine.free_port(), machine.free_port()
        host, _, app_port = self.app.address.partition(":")
        self.endpoint = f"127.0.0.1:{front}"
        self.write("frps.toml", f'bindAddr = "{self.place.server_address}"\nbindPort = {port}\n'
                   'proxyBindAddr = "127.0.0.1"\ntransport.tls.force = true\ntransport.tcpMux = true\n'
                   'log.level = "warn"\n')
        self.write("frpc.toml", f'serverAddr = "{self.place.server_address}"\nserverPort = {port}\n'
                   'transport.tls.enable = true\ntransport.tcpMux = true\nloginFailExit = false\n'
                   'log.level = "warn"\n'
                   f'[[proxies]]\nname = "app"\ntype = "tcp"\nlocalIP = "{host}"\nlocalPort = {app_port}\n'
                   f'remotePort = {front}\n')

    def launch(self):
        for side, program in (("server", "frps"), ("client", "frpc")):
            self.spawn(side, [self.kit.program(program), "-c", self.directory / f"{program}.toml"])
