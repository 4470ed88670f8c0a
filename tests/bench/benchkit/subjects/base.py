# SPDX-License-Identifier: Apache-2.0
"""What every subject has in common: its files, its processes by side, how it is started, proved to carry
bytes, and ended. A subject must not tune anything that its users would not get by following its manual."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from .. import driver as driver_module
from .. import machine


class Kit:
    """What subjects are built from: the driver, the cache with built programs, a work directory, the place."""

    def __init__(self, driver, cache, work, place, wormhole_build=None):
        self.driver, self.cache, self.work, self.place = driver, Path(cache), Path(work), place
        self.wormhole_build = Path(wormhole_build) if wormhole_build else None

    def program(self, name):
        own = self.cache / "bin" / name
        if own.exists():
            return str(own)
        return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")

    def at(self, place):
        return Kit(self.driver, self.cache, self.work, place, self.wormhole_build)


class Subject:
    name = label = ""
    short = ""          # for the chart, when the label is long
    needs = ()          # programs
    encrypted = True
    is_control = False  # the yardstick once more
    tunnel = True       # False: a plain relay or nothing at all, that a user could not use instead

    def __init__(self, kit):
        self.kit, self.place = kit, kit.place
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.name}.", dir=kit.work))
        self.directory.chmod(0o755)     # workers with uids of their own pass through
        self.roots = {"server": [], "client": []}
        self.app = self.endpoint = None

    @classmethod
    def missing(cls, kit):
        """Why this subject cannot run here, or None."""
        absent = [name for name in cls.needs if not kit.program(name)]
        if not absent:
            return None
        reason = kit.cache / "missing" / absent[0]
        detail = f" ({reason.read_text().strip()})" if reason.exists() else ""
        return f"no {' and no '.join(absent)} on this machine{detail}"

    # What each subject fills in.
    def prepare(self):
        """Writes configuration and keys, picks ports, sets self.endpoint."""
        raise NotImplementedError

    def launch(self):
        """Starts all processes with spawn(); needs not wait for anything."""
        raise NotImplementedError

    def capacity(self):
        """How many streams it can have open at once with the descriptors that one process may have."""
        return machine.descriptors() // 2 - 60

    # What the bench calls.
    def start(self, app):
        self.app = app
        self.prepare()
        self.launch()
        self.prove()

    def prove(self):
        """Waits until a byte goes through from end to end, and that nobody else holds the port."""
        try:
            prober = self.kit.driver.first_byte(self.place, self.endpoint)
            while prober.poll() is None:
                dead = [one for side in self.roots.values() for one in side if one.poll() is not None]
                if dead:
                    machine.end([prober], grace=0)
                    raise driver_module.DriverFailed(f"{dead[0].args[0]} ended at once")
                time.sleep(0.005)
            driver_module.finish_first_byte(prober)
        except driver_module.DriverFailed as failed:
            raise RuntimeError(f"{self.name}: {failed}; its log ends: {self.log_end()}") from failed
        self.check_port()

    def check_port(self):
        if self.place.is_loopback:
            machine.check_sole_listener(int(self.endpoint.rpartition(":")[2]),
                                        self.pids("server") + self.pids("client"), self.name)

    def stop(self):
        machine.end(self.roots["client"] + self.roots["server"])
        self.roots = {"server": [], "client": []}

    def timed_start(self):
        """Seconds from exec to the first byte through, everything stopped before."""
        self.stop()
        prober = self.kit.driver.first_byte(self.place, self.endpoint)
        time.sleep(0.05)
        began = time.monotonic_ns()
        self.launch()
        return (driver_module.finish_first_byte(prober) - began) / 1e9

    def pids(self, side):
        return machine.trees(process.pid for process in self.roots[side])

    def cpu_groups(self):
        """For the driver's accounting; the application is named so that it is no stranger."""
        return {"server": self.pids("server"), "client": self.pids("client"), "app": [self.app.process.pid]}

    def spawn(self, side, argv, **more):
        prefix = self.place.server if side == "server" else self.place.client
        with open(self.directory / "log", "ab") as log:
            more.setdefault("stdout", log)
            more.setdefault("stderr", log)
            process = machine.spawn(prefix + [str(word) for word in argv], **more)
        self.roots[side].append(process)
        return process

    def write(self, name, text, mode=0o644):
        path = self.directory / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def log_end(self):
        log = self.directory / "log"
        return log.read_text(errors="replace")[-600:] if log.exists() else "(none)"

    def certificate(self):
        """A self-signed certificate for both addresses that a server side may have; (certificate, key)."""
        key, certificate = self.directory / "key.pem", self.directory / "cert.pem"
        if not key.exists():
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-days", "30", "-subj", "/CN=localhost", "-addext",
                 "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:10.77.0.1,IP:10.77.0.2", "-keyout", str(key),
                 "-out", str(certificate)], check=True, capture_output=True, timeout=60)
            key.chmod(0o600)
        return certificate, key
