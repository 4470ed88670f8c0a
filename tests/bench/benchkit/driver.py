# SPDX-License-Identifier: Apache-2.0
"""The C driver seen from the runner: building it, the application, the user's load, and the shaped line.
It must not interpret figures."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

from . import machine

SOURCES = Path(__file__).resolve().parent.parent


class Place:
    """Where the two sides of a subject run: both on loopback, or in two network namespaces with a line between
    them. The user always stands beside the server side and the application beside the client side."""

    def __init__(self, server=(), client=(), server_address="127.0.0.1", client_address="127.0.0.1"):
        self.server, self.client = list(server), list(client)
        self.server_address, self.client_address = server_address, client_address

    @property
    def is_loopback(self):
        return not self.server


class DriverFailed(RuntimeError):
    pass


class Driver:
    def __init__(self, cache):
        self.path = self._build(Path(cache))

    @staticmethod
    def _build(cache):
        sources = sorted(SOURCES.glob("driver*.c"))
        digest = hashlib.sha256()
        for source in sources + [SOURCES / "driver.h"]:
            digest.update(source.read_bytes())
        path = cache / f"bench-driver-{digest.hexdigest()[:16]}"
        if not path.exists():
            cache.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(f".{os.getpid()}")
            subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra", "-o",
                            str(fresh), *map(str, sources), "-lpthread"], check=True)
            fresh.rename(path)
        return str(path)

    def app(self, place):
        return App(self.path, place)

    def load(self, place, target, engines, cpu, warmup=0.5, seconds=1.0, patience=30.0):
        """Runs the engines against HOST:PORT; the driver's JSON as a dictionary."""
        argv = place.server + [self.path, "load", "--target", target, "--warmup", str(warmup),
                               "--seconds", str(seconds), "--patience", str(patience)]
        for engine in engines:
            argv += ["--engine", engine]
        for name, pids in cpu.items():
            if pids:
                argv += ["--cpu", f"{name}=" + ",".join(map(str, pids))]
        process = machine.spawn(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, err = process.communicate(timeout=warmup + seconds + patience + 60)
        except subprocess.TimeoutExpired as late:
            raise DriverFailed(f"no end after {late.timeout:.0f} s") from late
        finally:
            machine.end([process], grace=0)
        if process.returncode != 0:
            raise DriverFailed(err.strip() or f"exit code {process.returncode}")
        return json.loads(out)

    def hold(self, place, target, engines, patience=60.0):
        return Held(self.path, place, target, engines, patience)

    def first_byte(self, place, target):
        """Starts the prober: it tries until a byte comes back and prints the monotonic time of that."""
        return machine.spawn(place.server + [self.path, "first-byte", target],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def line(self, delay_ms, loss, mbit=0):
        return Line(self.path, delay_ms, loss, mbit)


def finish_first_byte(process):
    try:
        out, err = process.communicate(timeout=45)
    finally:
        machine.end([process], grace=0)
    if process.returncode != 0:
        raise DriverFailed(err.strip() or "no first byte")
    return int(out)


class App:
    """The application at the client side; `address` is what the client side dials."""

    def __init__(self, path, place):
        self.process = machine.spawn(place.client + [path, "app", place.client_address],
                                     stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.address = f"{place.client_address}:{self.port}"

    def stop(self):
        machine.end([self.process], grace=0)


class Held:
    """Connections that stay up until stop()."""

    def __init__(self, path, place, target, engines, patience):
        argv = place.server + [path, "load", "--hold", "--warmup", "0", "--seconds", "0", "--target", target,
                               "--patience", str(patience)]
        for engine in engines:
            argv += ["--engine", engine]
        self.process = machine.spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            message = self.process.stderr.read().strip()
            self.stop()
            raise DriverFailed(message or "the connections to hold did not come up")

    def stop(self):
        self.process.stdin.close()
        machine.end([self.process], grace=0)


class Line:
    """Two network namespaces with a delayed and lossy line between them, and the place that they make."""

    def __init__(self, path, delay_ms, loss, mbit):
        self.process = machine.spawn([path, "shaper", "--delay-ms", str(delay_ms), "--loss", str(loss),
                                      "--mbit", str(mbit)], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        words = self.process.stdout.readline().split()
        if len(words) != 2:
            raise DriverFailed(self.process.stderr.read().strip() or "no shaped line")
        inside = [["nsenter", "--net", "--target", pid, "--"] for pid in words]
        self.place = Place(inside[0], inside[1], "10.77.0.1", "10.77.0.2")

    def stop(self):
        self.process.stdin.close()
        counts = self.process.stdout.read().strip().splitlines()
        machine.end([self.process])
        return counts
