# SPDX-License-Identifier: Apache-2.0
"""A Debian root, booted: its own systemd as PID 1 of namespaces of its own (mounts, processes, network, host name, IPC, control
groups), with a control group that nobody else uses. Asserts nothing; says precisely why where a kernel or container cannot.
Everything in it dies with this process."""
import contextlib
import os
import pathlib
import signal
import subprocess
import time

from support import DEVICES, run, until

# $1: the root, $2: a control group of our own. What a container manager does before it starts init.
BOOT = r"""
echo $$ >"$2/cgroup.procs"
exec setpriv --pdeathsig KILL unshare --cgroup --mount --pid --net --uts --ipc --fork --kill-child bash -euc '
  root=$1
  mount --make-rprivate /
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  # Nothing in there may turn a knob of this machine.
  for knobs in sys sysrq-trigger irq bus; do
    [ -e "$root/proc/$knobs" ] || continue
    mount --bind "$root/proc/$knobs" "$root/proc/$knobs"
    mount -o remount,bind,ro "$root/proc/$knobs"
  done
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
""" + DEVICES + r"""
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  ip link set lo up
  hostname wormhole-test
  cd "$root"
  pivot_root . .
  umount -l .
  exec env -i container=wormhole-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --log-target=journal --show-status=no systemd.unit=multi-user.target
' boot "$1" "$2"
"""


def cgroup2():
    """The mount point of the unified hierarchy, wherever it is; None: there is none."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        for line in file:
            _, place, kind, options = line.split()[:4]
            if kind == "cgroup2" and "rw" in options.split(","):
                return pathlib.Path(place)
    return None


def why_not():
    """Why no systemd can be booted here; "" when nothing is known to be in the way."""
    if os.geteuid() != 0:
        return "needs root to make namespaces and mounts"
    if cgroup2() is None:
        return "needs a writable cgroup2 hierarchy, and none is mounted here"
    probe = cgroup2() / f"wormhole-probe-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        return f"cannot make a control group below {cgroup2()}: {error.strerror}"
    words = ["unshare", "--cgroup", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child", "sh", "-c",
             "mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && mkdir /mnt/c && mount -t cgroup2 cgroup2 /mnt/c"]
    result = run(*words, check=False)
    if result.returncode != 0:
        return "namespaces or their mounts are refused here: " + result.stderr.strip().splitlines()[-1]
    return ""


class System:
    """A running system; run() runs a command in it as root, as somebody logged in would."""

    def __init__(self, root, log):
        self.root, self.log = root, log
        self.group = cgroup2() / f"wormhole-boot-{os.getpid()}"
        self.group.mkdir(exist_ok=True)
        with open(log, "wb") as file:
            self.process = subprocess.Popen(["bash", "-euc", BOOT, "boot", root, self.group],
                                            stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def init(self):
        """PID 1 as this side sees it; None before it is there."""
        try:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
                children = file.read().split()
            if not children or os.readlink(f"/proc/{children[0]}/exe") != "/usr/lib/systemd/systemd":
                return None
            return children[0]
        except OSError:
            return None

    def said(self):
        """What the start had to say, for messages."""
        return self.log.read_text(errors="replace")[-4000:]

    def boot(self):
        """Waits for init to have started everything; "" or why it did not come that far."""
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return f"init ended with {self.process.returncode}: {self.said()}"
            if self.init() is not None:
                state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
                if state in ("running", "degraded"):
                    return ""
            time.sleep(0.1)
        return f"init was not ready in time: {self.said()}"

    def run(self, *words, check=True, timeout=300):
        """A failure says what the journal had to say last."""
        try:
            return self._run(*words, check=check, timeout=timeout)
        except AssertionError as failure:
            last = self._run("journalctl", "--no-pager", "-n", "25", check=False, timeout=60).stdout
            raise AssertionError(f"{failure}\nThe journal:\n{last}") from None

    def _run(self, *words, check, timeout):
        init = self.init()
        assert init is not None, f"the booted system is gone: {self.said()}"
        return run("nsenter", "-t", init, "-m", "-u", "-i", "-n", "-p", "-C", f"--root=/proc/{init}/root",
                   f"--wd=/proc/{init}/root", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
                   "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_PAGER=", *words, check=check,
                   timeout=timeout)

    def sh(self, script, **more):
        return self.run("sh", "-euc", script, **more)

    def property(self, unit, name):
        return self.run("systemctl", "show", "-P", name, unit).stdout.strip()

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)  # takes PID 1 and with it everything along
        self.process.wait(timeout=60)
        with contextlib.suppress(OSError):
            until(lambda: not (self.group / "cgroup.procs").read_text() and self._remove(), "the control group", 60)

    def _remove(self):
        for folder, _, _ in os.walk(self.group, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                return False
        return True
