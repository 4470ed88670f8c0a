# SPDX-License-Identifier: Apache-2.0
"""Processes and the machine they run on: starting and ending trees of processes, their CPU time and memory,
who listens on a port, how busy the machine is. It must never touch a process that the bench did not start."""

import ctypes
import os
import platform
import resource
import signal
import socket
import subprocess
import tempfile
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)
CORES = os.cpu_count() or 1


def own_process_namespace():
    """Goes on in a process namespace of its own, so that nothing it starts outlives it, however it ends: a second
    process becomes the namespace's first, and this one only passes on signals and the exit code. Without the right
    to do so it goes on as it is, and cleans up by walking its descendants."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if os.geteuid() != 0 or _libc.unshare(CLONE_NEWPID | CLONE_NEWNS) != 0:
        return
    child = os.fork()
    if child:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _frame: os.kill(child, number))
        while True:
            try:
                _, state = os.waitpid(child, 0)
                os._exit(os.waitstatus_to_exitcode(state) & 0xff)
            except InterruptedError:
                continue
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if (_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) or
            _libc.mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)):
        raise SystemExit("the namespace's own /proc cannot be mounted")


def descriptors():
    """How many descriptors one process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def raise_limits():
    """Descriptors for 10,000 streams through relays that need two for each, where that is permitted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 60000
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), max(hard, wanted)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _child_setup():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def spawn(argv, **more):
    """A child that dies with the bench. Its output goes nowhere unless asked otherwise."""
    more.setdefault("stdin", subprocess.DEVNULL)
    more.setdefault("stdout", subprocess.DEVNULL)
    more.setdefault("stderr", subprocess.DEVNULL)
    return subprocess.Popen(argv, preexec_fn=_child_setup, **more)


def prioritise(pids, nice):
    """Before all strangers of the machine, and equal among each other: by autogroup where the kernel has them (a
    nice value counts inside a group only), and by nice value."""
    for pid in pids:
        try:
            os.setpriority(os.PRIO_PROCESS, pid, nice)
            with open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as file:
                file.write(str(nice))
        except OSError:
            pass


def _parents():
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    parents[int(entry)] = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                pass
    return parents


def trees(roots):
    """The processes and all their descendants, sorted."""
    children = {}
    for pid, parent in _parents().items():
        children.setdefault(parent, []).append(pid)
    found, queue = set(), list(roots)
    while queue:
        pid = queue.pop()
        if pid not in found and os.path.exists(f"/proc/{pid}"):
            found.add(pid)
            queue.extend(children.get(pid, []))
    return sorted(found)


def end(processes, grace=4.0):
    """Asks the processes to end, then makes sure of it, descendants included."""
    pids = [process.pid for process in processes]
    family = trees(pids)
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and any(process.poll() is None for process in processes):
        time.sleep(0.01)
    for pid in set(family) | set(trees(pids)):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    for process in processes:
        process.wait()


def cpu_seconds(pids):
    """CPU time used so far by living processes, all their threads included, to the nanosecond."""
    total = 0
    for pid in pids:
        try:
            total += time.clock_gettime_ns((~pid << 3) | 2)
        except OSError:
            pass
    return total / 1e9


def cpu_with_children(processes):
    """CPU time of processes, their living descendants, and the children that they have waited for."""
    total = 0.0
    for pid in trees(process.pid for process in processes):
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        total += cpu_seconds([pid]) + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return total


def memory(pids):
    """User-space memory in bytes over all processes: private, and with a fair share of what is shared."""
    private = shared = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                for line in file:
                    name, _, rest = line.partition(":")
                    if name in ("Private_Clean", "Private_Dirty", "Private_Hugetlb"):
                        private += int(rest.split()[0]) * 1024
                    elif name == "Pss":
                        shared += int(rest.split()[0]) * 1024
        except (OSError, ValueError):
            pass
    return {"private": private, "pss": shared, "processes": len(pids)}


def busy_seconds():
    with open("/proc/stat", encoding="ascii") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


patience_cap = float("inf")     # what the command line allows at most


def wait_until_quiet(limit=0.10, patience=60.0):
    """Waits while strangers use more than `limit` of the machine; the share that was seen last."""
    if patience_cap <= 0:
        return 0.0
    deadline = time.monotonic() + min(patience, patience_cap)
    while True:
        before, began = busy_seconds(), time.monotonic()
        time.sleep(0.15)
        foreign = (busy_seconds() - before) / (time.monotonic() - began) / CORES
        if foreign <= limit or time.monotonic() > deadline:
            return foreign


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listeners(port):
    """The inodes of all TCP sockets that listen on a port of this network namespace."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                for line in list(file)[1:]:
                    fields = line.split()
                    if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                        inodes.add(fields[9])
        except OSError:
            pass
    return inodes


def check_sole_listener(port, pids, name):
    """Fails when somebody else shares the port, which SO_REUSEPORT allows silently."""
    owned = set()
    for pid in pids:
        try:
            for entry in os.listdir(f"/proc/{pid}/fd"):
                try:
                    link = os.readlink(f"/proc/{pid}/fd/{entry}")
                except OSError:
                    continue
                if link.startswith("socket:["):
                    owned.add(link[8:-1])
        except OSError:
            pass
    strangers = listeners(port) - owned
    if strangers:
        raise RuntimeError(f"{name}: port {port} is shared with a process that the bench did not start")


def work_directory():
    # Workers of a tunnel run under uids of their own: they must be able to pass through.
    path = tempfile.mkdtemp(prefix="wormhole-bench.")
    os.chmod(path, 0o755)
    return path


def _first_line(argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ((done.stdout or done.stderr).splitlines() or [""])[0].strip()


def describe():
    """The machine in words that fit any reader: no names, no paths."""
    model = ""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    with open("/proc/meminfo", encoding="ascii") as file:
        kib = int(file.readline().split()[1])
    with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="ascii") as file:
        congestion = file.read().strip()
    return {
        "cores": CORES,
        "processor": model,
        "memory_gib": round(kib / 1048576),
        "kernel": ".".join(platform.release().split("-")[0].split(".")[:2]),
        "openssl": " ".join(_first_line(["openssl", "version"]).split()[:2]),
        "congestion_control": congestion,
        "haproxy": " ".join(_first_line(["haproxy", "-v"]).split()[:3]),
        "date": time.strftime("%Y-%m-%d"),
    }
