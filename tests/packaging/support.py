# SPDX-License-Identifier: Apache-2.0
"""What the packaging tests share: where things are, running programs, roots of a clean system. Asserts nothing."""
import atexit
import contextlib
import fcntl
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
    atexit.register(shutil.rmtree, tree, ignore_errors=True)
    run("cmake", "--install", BUILD, "--prefix", "/usr", "--strip", env=dict(os.environ, DESTDIR=str(tree)))
    return tree


def package_build(kind, output, *more, tree=ROOT, **environment):
    env = dict(os.environ, **environment)
    run(tree / "packaging/build", kind, "--output", output, *more, env=env, timeout=1700)


@contextlib.contextmanager
def only_one(lock):
    """Holds a lock file: tests of several files run side by side and share what is made once."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def source_names():
    """The tree's files as git knows them, changes included; without git all but what was built."""
    listed = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", check=False).stdout
    names = listed.split("\0") if listed else [p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*")
                                               if p.relative_to(ROOT).parts[0] not in ("build", "dist", ".git")]
    return sorted(name for name in set(names) if name and (ROOT / name).is_file())


def sources_hash():
    """Changes with every file that a package is made of, and with the tools that make it."""
    digest = hashlib.sha256(run("dpkg-query", "-W", "-f=${Package} ${Version}\n", "gcc", "cmake", "debhelper", "libssl-dev",
                                "libsqlite3-dev", "libevent-dev", check=False).stdout.encode())
    for name in source_names():
        if not name.startswith("tests/"):
            digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
    return digest.hexdigest()[:24]


def copy_of_sources(folder, tree=None):
    """The tree as somebody who was sent it has it: other folder, other times of files, no git."""
    for name in source_names() if tree is None else [p.relative_to(tree) for p in tree.rglob("*") if p.is_file()]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy((tree or ROOT) / name, folder / name, follow_symlinks=False)
    return folder


def shared_deb():
    """The folder with the Debian package of these sources, and a copy of what it was made of: built once, by whichever test
    comes first."""
    folder = BUILD / "packaging/deb"
    stamp, want = folder / "made-of", sources_hash()
    with only_one(BUILD / "packaging/deb.lock"):
        if not stamp.exists() or stamp.read_text() != want:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            package_build("deb", folder, tree=copy_of_sources(folder / "sources"))
            stamp.write_text(want)
    return folder


def the_deb(folder):
    return next(p for p in folder.glob("wormhole_*.deb"))


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


def _root_archive():
    """A minimal Debian 12 as an archive; made once, then kept in the cache. None, reason when it cannot be had."""
    if not apt_works():
        return None, "needs root and debootstrap"
    packages = "systemd,ca-certificates,curl,util-linux"
    key = hashlib.sha256(f"1 minbase {packages}".encode()).hexdigest()[:16]
    archive = CACHE / f"root-{key}.tar"
    with only_one(CACHE / "root.lock"):
        if not archive.exists():
            site, release = _site()
            if site is None:
                return None, f"this machine's apt has no {release}"
            fresh = tempfile.mkdtemp(prefix="root-", dir=CACHE)
            try:
                run("debootstrap", "--variant=minbase", f"--include={packages}", release, fresh, site, timeout=1700)
                shutil.rmtree(os.path.join(fresh, "var/cache/apt/archives"), ignore_errors=True)
                run("tar", "-C", fresh, "-cf", f"{archive}.new", ".")
                os.rename(f"{archive}.new", archive)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
    return archive, ""


def clean_root(folder):
    """Unpacks a minimal Debian 12 into the folder, with this machine's apt sources. None, reason when it cannot be had."""
    archive, reason = _root_archive()
    if archive is None:
        return None, reason
    run("tar", "-C", folder, "-xf", archive)
    for name in ("etc/apt", "usr/share/keyrings", "etc/ssl/certs/ca-certificates.crt"):
        if os.path.exists(f"/{name}"):
            run("cp", "-a", "--remove-destination", f"/{name}", os.path.dirname(f"{folder}/{name}"))
    shutil.copy("/etc/resolv.conf", f"{folder}/etc/resolv.conf")
    with open(f"{folder}/usr/sbin/policy-rc.d", "w", encoding="ascii") as file:
        file.write("#!/bin/sh\nexit 101\n")
    os.chmod(f"{folder}/usr/sbin/policy-rc.d", 0o755)
    return folder, ""


# Devices of its own below $root: what is done to their owners and modes in there must not reach this machine's.
DEVICES = r"""
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
for link in fd: stdin:/0 stdout:/1 stderr:/2; do ln -s "/proc/self/fd${link#*:}" "$root/dev/${link%%:*}"; done
for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 console:1:3; do
  name=${device%%:*} numbers=${device#*:}
  mknod -m 666 "$root/dev/$name" c "${numbers%:*}" "${numbers#*:}" 2>/dev/null && continue
  [ "${borrow:-no}" = yes ] || { echo "device nodes cannot be made here" >&2; exit 1; }
  [ "$name" != console ] || continue
  : >"$root/dev/$name"
  mount --bind "/dev/$name" "$root/dev/$name"
done
"""

INSIDE = r"""
root=$1 borrow=yes # where a container may not make devices: nothing in here changes them but by mistake
mount --make-rprivate /
mkdir -p "$1/proc" "$1/dev"
mount -t proc proc "$1/proc"
""" + DEVICES + r"""
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
