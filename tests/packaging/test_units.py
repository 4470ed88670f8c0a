# SPDX-License-Identifier: Apache-2.0
"""The systemd units: exposure below what was promised, settings that systemd knows, and a system call filter that lets through
everything that the processes really call."""
import configparser
import os
import re
import shutil
import signal
import subprocess

import pytest

from support import BIN, ROOT, open_folder, run, until, wormhole

UNITS = ROOT / "packaging/systemd"
SERVICES = ["wormhole-server.service", "wormhole-client.service"]

if shutil.which("systemd-analyze") is None:
    pytest.skip("systemd-analyze is not installed", allow_module_level=True)


def exposure(folder, service):
    result = run("systemd-analyze", "security", "--offline=true", "--no-pager", folder / service)
    assert "ignoring" not in result.stderr, result.stderr
    return float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", result.stdout).group(1)), result.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_exposure_with_a_user_for_each_worker(service):
    level, text = exposure(UNITS, service)
    assert level <= 2.3, text


@pytest.mark.parametrize("service", SERVICES)
def test_exposure_with_one_user(service, tmp_path):
    shutil.copy(UNITS / service, tmp_path)
    (tmp_path / f"{service}.d").mkdir()
    shutil.copy(UNITS / "one-uid.conf", tmp_path / f"{service}.d")
    level, text = exposure(tmp_path, service)
    assert level <= 1.2, text


@pytest.mark.parametrize("service", [*SERVICES, "low-ports.socket"])
def test_systemd_knows_every_setting(service, tmp_path):
    """The program is taken from the build: systemd-analyze wants it to be there."""
    text = (UNITS / service).read_text().replace("/usr/bin/wormhole", str(BIN / "wormhole"))
    name = "wormhole-server.socket" if service.endswith(".socket") else service
    (tmp_path / name).write_text(text)
    if service.endswith(".socket"):
        (tmp_path / "wormhole-server.service").write_text(
            (UNITS / "wormhole-server.service").read_text().replace("/usr/bin/wormhole", str(BIN / "wormhole")))
    result = run("systemd-analyze", "verify", "--man=no", tmp_path / name, check=False)
    ours = [line for line in result.stderr.splitlines() if "wormhole" in line]
    assert not ours and result.returncode == 0, result.stderr


def setting(service, key):
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str
    values = []
    for line in (UNITS / service).read_text().splitlines():
        if line.startswith(f"{key}="):
            values.append(line.partition("=")[2])
    return values


def test_both_services_are_hardened_alike():
    keys = [line.partition("=")[0] for line in (UNITS / SERVICES[0]).read_text().split("UMask")[1].splitlines()
            if "=" in line and not line.startswith("#")]
    assert len(keys) > 25
    for key in keys:
        if key in ("StateDirectory", "WantedBy"):
            continue
        assert setting(SERVICES[0], key) == setting(SERVICES[1], key), key


def test_the_commands_of_the_units_exist(tmp_path):
    for service, side in zip(SERVICES, ("listen", "join")):
        words = setting(service, "ExecStart")[0].split()
        assert words[0] == "/usr/bin/wormhole" and words[-1] == side
        check = setting(service, "ExecReload")[0].split()
        config = ROOT / f"packaging/config/{'server' if side == 'listen' else 'client'}.yaml"
        wormhole(*[config if w.startswith("/etc/") else w for w in check[1:]])


def allowed_calls(lines):
    """What a chain of SystemCallFilter= lines lets through, as systemd reads them."""
    def members(name):
        found = set()
        for word in run("systemd-analyze", "--no-pager", "syscall-filter", name).stdout.split("\n")[1:]:
            word = word.strip()
            if word.startswith("@"):
                found |= members(word)
            elif word and not word.startswith("#"):
                found.add(word)
        return found

    allowed = set()
    for line in lines:
        if line == "":
            allowed = set()
            continue
        remove = line.startswith("~")
        calls = set()
        for word in line.lstrip("~").split():
            calls |= members(word) if word.startswith("@") else {word}
        allowed = allowed - calls if remove else allowed | calls
    return allowed


# systemd's own @default is always let through.
ALWAYS = ["@default"]


@pytest.mark.parametrize("variant", ["root", "one-uid"])
def test_the_filter_lets_through_what_is_really_called(variant):
    """A server, a client and a page through the tunnel, watched with strace: every call must be in the unit's filter."""
    with open_folder() as folder:
        watch(variant, folder)


def watch(variant, tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    lines = setting("wormhole-server.service", "SystemCallFilter")
    user = []
    if variant == "one-uid":
        lines = setting("one-uid.conf", "SystemCallFilter")
        user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
        os.chmod(tmp_path, 0o777)
    allowed = allowed_calls(ALWAYS + lines)
    trace = tmp_path / "calls"
    processes = []

    def start(*words):
        log = open(tmp_path / f"{len(processes)}.log", "wb")
        processes.append(subprocess.Popen(
            [str(w) for w in ("strace", "-f", "-qq", "-o", f"{trace}.{len(processes)}", *user, BIN / "wormhole", *words)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=tmp_path))

    def ask(*words, socket="s.sock"):
        return wormhole("--control-socket", tmp_path / socket, *words, check=False).stdout

    try:
        start("listen", "--state-dir", tmp_path / "s", "--control-socket", tmp_path / "s.sock", "--host", "127.0.0.1",
              "--port", 0, "--admin-port", 0, "--metrics", "--metrics-host", "127.0.0.1", "--metrics-port", 0,
              "--app-host", "127.0.0.1", "--no-port-use-range")
        status = until(lambda: ask("status"), "the server")
        facts = {row[1]: row[2] for row in (line.split("\t") for line in status.splitlines()) if row[0] == "fact"}
        start("join", "--state-dir", tmp_path / "c", "--control-socket", tmp_path / "c.sock", "--name", "edge1",
              "--server", f"ws://localhost:{facts['tunnel'].rsplit(':', 1)[1]}/wh/tunnel", "--expose",
              f"name=admin,address={facts['admin']}", "--reconnect-min", "100ms")
        fingerprint = until(lambda: ask("requests", "list").split("\t")[0], "the request")
        ask("requests", "accept", fingerprint)
        endpoint = until(lambda: (ask("apps").split("\t") + [""] * 3)[2], "the app")
        assert run("curl", "-sS", "--max-time", 10, f"http://{endpoint}/v1/apps").stdout.startswith("[{")
        assert "wormhole_ready" in run("curl", "-sS", "--max-time", 10, f"http://{facts['metrics']}/metrics").stdout
    finally:
        for process in processes:
            for child in children(process.pid):
                os.kill(child, signal.SIGTERM)
        for process in processes:
            process.wait(timeout=60)
    called = set()
    for file in tmp_path.glob("calls.*"):
        # The first call is the program's own start, before any filter; setpriv's calls are not the service's either.
        text = file.read_text(errors="replace")
        if user:
            text = text[text.index(f'execve("{BIN / "wormhole"}"'):]
        called |= set(re.findall(r"^\d+ +([a-z0-9_]+)\(", text, re.M))
    assert "chroot" in called or variant == "one-uid"
    assert len(called) > 60
    assert called - allowed == set()


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]
