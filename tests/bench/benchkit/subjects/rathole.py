# SPDX-License-Identifier: Apache-2.0
"""rathole over its Noise transport and over TLS. It has no multiplexer: each stream is a connection."""

import subprocess

from .. import machine
from .base import Subject


class RatholeNoise(Subject):
    name, label = "rathole", "rathole (noise)"
    needs = ("rathole",)
    transport = "noise"

    def prepare(self):
        port, front = machine.free_port(), machine.free_port()
        self.endpoint = f"127.0.0.1:{front}"
        server_extra, client_extra = self.transport_keys()
        self.write("server.toml", f'[server]\nbind_addr = "{self.place.server_address}:{port}"\n'
                   f'default_token = "bench"\n[server.transport]\ntype = "{self.transport}"\n{server_extra}'
                   f'[server.services.app]\nbind_addr = "{self.endpoint}"\n')
        self.write("client.toml", f'[client]\nremote_addr = "{self.place.server_address}:{port}"\n'
                   f'default_token = "bench"\nretry_interval = 1\n[client.transport]\n'
                   f'type = "{self.transport}"\n{client_extra}'
                   f'[client.services.app]\nlocal_addr = "{self.app.address}"\n')

    def transport_keys(self):
        made = subprocess.run([self.kit.program("rathole"), "--genkey"], capture_output=True, text=True,
                              check=True, timeout=30).stdout.split()
        private, public = made[made.index("Key:") + 1], made[-1]
        return (f'[server.transport.noise]\nlocal_private_key = "{private}"\n',
                f'[client.transport.noise]\nremote_public_key = "{public}"\n')

    def launch(self):
        for side in ("server", "client"):
            self.spawn(side, [self.kit.program("rathole"), f"--{side}", self.directory / f"{side}.toml"])


class RatholeTls(RatholeNoise):
    name, label = "rathole-tls", "rathole (TLS)"
    transport = "tls"

    def transport_keys(self):
        certificate, key = self.certificate()
        bundle = self.directory / "identity.pfx"
        subprocess.run(["openssl", "pkcs12", "-export", "-out", bundle, "-inkey", key, "-in", certificate,
                        "-passout", "pass:bench"], check=True, capture_output=True, timeout=60)
        return (f'[server.transport.tls]\npkcs12 = "{bundle}"\npkcs12_password = "bench"\n',
                f'[client.transport.tls]\ntrusted_root = "{certificate}"\nhostname = "localhost"\n')
