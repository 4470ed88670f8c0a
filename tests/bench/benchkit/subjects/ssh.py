# SPDX-License-Identifier: Apache-2.0
"""`ssh -R` with aes256-gcm against an sshd of its own (own keys, own configuration, own port)."""

import os
import subprocess

from .. import machine
from .base import Subject


class Ssh(Subject):
    name, label = "ssh", "ssh -R (aes256-gcm)"
    needs = ("sshd", "ssh", "ssh-keygen")

    def prepare(self):
        port, front = machine.free_port(), machine.free_port()
        self.endpoint = f"127.0.0.1:{front}"
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.directory / name],
                           check=True, timeout=60)
        keys = self.write("authorized", (self.directory / "user.pub").read_text(), 0o600)
        host = (self.directory / "host.pub").read_text()
        known = self.write("known", f"[{self.place.server_address}]:{port} {host}")
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        self.write("sshd.conf", f"""ListenAddress {self.place.server_address}:{port}
HostKey {self.directory}/host
AuthorizedKeysFile {keys}
PidFile none
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
AllowTcpForwarding yes
Ciphers aes256-gcm@openssh.com
""")
        self.arguments = [
            self.kit.program("ssh"), "-F", "none", "-N", "-T", "-i", self.directory / "user", "-p", port,
            "-c", "aes256-gcm@openssh.com", "-o", f"UserKnownHostsFile={known}",
            "-o", "StrictHostKeyChecking=yes", "-o", "ExitOnForwardFailure=yes", "-o", "IdentitiesOnly=yes",
            "-R", f"{self.endpoint}:{self.app.address}", f"root@{self.place.server_address}"]
        self.ssh_port = port

    def launch(self):
        self.spawn("server", [self.kit.program("sshd"), "-D", "-e", "-f", self.directory / "sshd.conf"])
        # ssh gives up at once when nobody listens yet; a loop is what its users have around it.
        script = 'while :; do "$@" && exit 0; sleep 0.02; done'
        self.spawn("client", ["sh", "-c", script, "ssh-loop", *self.arguments])
