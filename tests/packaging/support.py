# SPDX-License-Identifier: Apache-2.0
"""What the packaging tests share: where things are, running programs, roots of a clean system. Asserts nothing."""
import contextlib
import functools
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("WORMHOLE_BIN", ROOT / "build/release/bin"))
BUILD = BIN.parent
DOCS = BUILD / "packaging/docs"
CACHE = pathlib.Path(os.environ.get("WORMHOLE_TEST_CACHE") or
                     pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "wormhole-tests")


def run(*words, check=True, timeout=300, **more):
    """Runs a program; its output is in the error when it fails."""
    result = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=timeout,
                            stdin=more.pop("stdin", subprocess.DEVNULL), **more)
    if check and result.returncode != 0:
        raise AssertionError(f"{words} -> {result.returncode}\n{result.stdout[-6000:]}\n{result.stderr[-6000:]}")
    return result


@contextlib.contextmanager
def open_folder():
    """A folder that other users may look into, unlike pytest's: workers run under users of their own."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="wormhole-"))
    os.chmod(folder, 0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wormhole(*words, **more):
    return run(BIN / "wormhole", *words, **more)


def until(condition, what, seconds=60):
    """Waits until the condition gives something true, and gives that."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"gave up waiting: {what}")
        time.sleep(0.05)


@functools.lru_cache(maxsize=None)
def installed_tree():
    """The build tree, installed below a folder as a package has it."""
    tree = pathlib.Path(tempfile.mkdtemp(prefix="wormhole-tree-"))
    run("cmake", "--install", BUILD, "--prefix", "/usr", "--strip", env=dict(os.environ, DESTDIR=str(tree)))
    return tree


def package_build(kind, output, *more, tmp=None):
    env = dict(os.environ)
    if tmp is not None:
        env["TMPDIR"] = str(tmp)
    run(ROOT / "packaging/build", kind, "--output", output, *more, env=env, timeout=800)


def apt_works():
    return shutil.which("debootstrap") is not None and os.geteuid() == 0


def _site():
    """Where this machine's own apt gets its release from: no host is named here."""
    release = "bookworm"
    text = run("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages").stdout
    for line in text.splitlines():
        site, _, name = line.partition(" ")
        if name == release:
            return site, release
    return None, release


def clean_root(folder):
    """Unpacks a minimal Debian 12 into the folder; made once, then kept in the cache. None, reason when it cannot be had."""
    if not apt_works():
        return None, "needs root and debootstrap"
    packages = "systemd,ca-certificates,curl,util-linux"
    key = hashlib.sha256(f"1 minbase {packages}".encode()).hexdigest()[:16]
    archive = CACHE / f"root-{key}.tar"
    if not archive.exists():
        site, release = _site()
        if site is None:
            return None, f"this machine's apt has no {release}"
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = tempfile.mkdtemp(prefix="root-", dir=CACHE)
        try:
            run("debootstrap", "--variant=minbase", f"--include={packages}", release, fresh, site, timeout=800)
            shutil.rmtree(os.path.join(fresh, "var/cache/apt/archives"), ignore_errors=True)
            run("tar", "-C", fresh, "-cf", f"{archive}.new", ".")
            os.rename(f"{archive}.new", archive)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    run("tar", "-C", folder, "-xf", archive)
    for name in ("etc/apt", "usr/share/keyrings", "etc/ssl/certs/ca-certificates.crt"):
        if os.path.exists(f"/{name}"):
            run("cp", "-a", "--remove-destination", f"/{name}", os.path.dirname(f"{folder}/{name}"))
    shutil.copy("/etc/resolv.conf", f"{folder}/etc/resolv.conf")
    with open(f"{folder}/usr/sbin/policy-rc.d", "w", encoding="ascii") as file:
        file.write("#!/bin/sh\nexit 101\n")
    os.chmod(f"{folder}/usr/sbin/policy-rc.d", 0o755)
    return folder, ""


INSIDE = r"""
mount --make-rprivate /
mkdir -p "$1/proc" "$1/dev"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
[ "$2" = 0 ] || ip link set lo up
exec chroot "$1" /bin/sh -euc "$3"
"""


def inside(root, script, network=False, check=True, timeout=300):
    """Runs a script in the root, with mounts and processes of its own; network: this machine's, else only a loopback."""
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child"] + ([] if network else ["--net"])
    env = {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy")}
    env.update(PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root", LC_ALL="C.UTF-8",
               DEBIAN_FRONTEND="noninteractive")
    return run(*words, "bash", "-euc", INSIDE, "inside", root, 0 if network else 1, script, env=env, check=check,
               timeout=timeout)
