# SPDX-License-Identifier: Apache-2.0
"""Wormhole as its users run it: release build, sandbox on, one server and one client, over ws:// and over
wss:// through nginx. Keys are approved by the dummy acceptor, which audits each in sqlite like an operator's."""

import json
import random
import subprocess
import time
import urllib.request

from .. import machine
from .base import Subject
from .relays import NGINX


class WormholeWs(Subject):
    name, label = "wormhole", "Wormhole (ws)"
    secure = False

    @classmethod
    def missing(cls, kit):
        if not kit.wormhole_build or not cls.executable(kit).exists():
            return "no wormhole executable: build the project or give --build DIR"
        return None

    @staticmethod
    def executable(kit):
        return kit.wormhole_build / "bin" / "wormhole"

    def command(self, side, *words):
        """The command line for one side, global options first."""
        state = self.directory / side
        return [self.executable(self.kit), "--state-dir", state, "--control-socket", state / "control.sock",
                "--log-level", "warn", *self.metrics_options(side), *words]

    def metrics_options(self, side):
        if side not in self.metrics_ports:
            return []
        return ["--metrics", "--metrics-host", "127.0.0.1", "--metrics-port", self.metrics_ports[side]]

    def metrics(self, side):
        """{series: value} as the side serves them."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_ports[side]}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        return {name: float(value) for name, value in (
            line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))}

    def capacity(self):
        return machine.descriptors() - 500

    def prepare(self):
        for side in ("server", "client"):
            (self.directory / side).mkdir(mode=0o700, exist_ok=True)
        self.port, self.admin_port = machine.free_port(), machine.free_port()
        self.range_first = random.randrange(20000, 31000, 600)
        self.range_last = self.range_first + 99
        self.server_options = []
        self.metrics_ports = {}     # side: port; empty: no metrics
        self.server = ("ws", self.place.server_address, self.port)
        self.client_options = []
        if self.secure:
            self.prepare_nginx()
        self.endpoint = None

    def prepare_nginx(self):
        certificate, key = self.certificate()
        front = machine.free_port()
        body = f"""http {{
    access_log off;
    server {{
        listen {self.place.server_address}:{front} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location / {{
            proxy_pass http://127.0.0.1:{self.port};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_set_header Host $host;
            proxy_read_timeout 1h;
            proxy_send_timeout 1h;
            proxy_buffer_size 64k;
            proxy_buffers 4 64k;
        }}
    }}
}}"""
        self.write("nginx.conf", NGINX.format(modules="", directory=self.directory, side="nginx", body=body,
                                               connections=1000))
        self.server = ("wss", self.place.server_address, front)
        self.client_options = ["--ca-file", certificate]

    def launch(self):
        self.launch_server()
        if self.secure:
            self.spawn("server", [self.kit.program("nginx"), "-c", self.directory / "nginx.conf", "-p",
                                  self.directory, "-e", self.directory / "nginx.log"])
        scheme, address, port = self.server
        self.spawn("client", self.command(
            "client", "join", "--name", "bench", "--server", f"{scheme}://{address}:{port}/wh/tunnel",
            "--expose", f"name=app,address={self.app.address}", *self.client_options))

    def launch_server(self):
        host = "127.0.0.1" if self.secure else self.place.server_address
        self.spawn("server", self.command(
            "server", "listen", "--host", host, "--port", self.port, "--admin-host", "127.0.0.1",
            "--admin-port", self.admin_port, "--app-host", "127.0.0.1", "--port-range-min", self.range_first,
            "--port-range-max", self.range_last, "--acceptor", "dummy", *self.server_options))

    def prove(self):
        if not self.endpoint:
            self.endpoint = self.find_endpoint()
        super().prove()

    def find_endpoint(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for app in self.apps():
                return app["endpoint"]
            time.sleep(0.05)
        raise RuntimeError(f"{self.name}: no app shows up; the log ends: {self.log_end()}")

    def apps(self):
        """Apps that listen, as `wormhole apps --output json` lists them; none while the server starts."""
        asked = subprocess.run(self.place.server + list(map(str, self.command(
            "server", "apps", "--output", "json"))), capture_output=True, text=True, check=False, timeout=20)
        try:
            return [app for app in json.loads(asked.stdout) if app.get("endpoint")]
        except ValueError:
            return []

    def status(self, side="server"):
        asked = subprocess.run(list(map(str, self.command(side, "status", "--output", "json"))),
                               capture_output=True, text=True, check=True, timeout=20)
        return json.loads(asked.stdout)


class WormholeWss(WormholeWs):
    name, label = "wormhole-wss", "Wormhole (wss, nginx in front)"
    short = "Wormhole (wss, nginx)"
    needs = ("nginx",)
    secure = True

    @classmethod
    def missing(cls, kit):
        return super().missing(kit) or super(WormholeWs, cls).missing(kit)
