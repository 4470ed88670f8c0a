# SPDX-License-Identifier: Apache-2.0
"""The package under a real systemd: a clean Debian root is booted in namespaces of its own, gets the .deb, and the services do
what an operator of a real host sees: readiness and status text, reload, watchdog, a low port by socket activation, priorities
in the journal, the variant with one user, and an end that leaves nothing. Every test goes on where the last one stopped."""
import json
import os
import re
import shutil
import signal

import pytest

import booted
from support import ROOT, clean_root, inside, open_folder, run, shared_deb, the_deb, until

SERVICES = ("wormhole-server", "wormhole-client")
GUIDE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
PAGE = "through the booted tunnel"


@pytest.fixture(scope="module")
def system():
    reason = booted.why_not()
    if reason:
        pytest.skip(f"no systemd can be booted here: {reason}")
    deb = the_deb(shared_deb())
    with open_folder() as folder:
        root = folder / "root"
        root.mkdir()
        root, reason = clean_root(root)
        if root is None:
            pytest.skip(reason)
        shutil.copy(deb, root / "wormhole.deb")
        # What the package depends on comes before the boot: the booted system has a network of its own.
        inside(root, "apt-get -qq update && apt-get -qq -y --no-install-recommends satisfy "
                     "\"$(dpkg-deb -f /wormhole.deb Depends), sqlite3, jq, procps\"", network=True, timeout=900)
        os.unlink(root / "usr/sbin/policy-rc.d")
        for unit in ("console-getty", "getty@tty1", "systemd-udevd", "systemd-timesyncd"):
            os.symlink("/dev/null", root / f"etc/systemd/system/{unit}.service")
        machine = booted.System(root, folder / "boot.log")
        try:
            failure = machine.boot()
            assert not failure, failure
            yield machine
        finally:
            machine.end()


def block(name):
    match = re.search(rf"<!-- test: {name} -->\n```\w*\n(.*?)```", GUIDE, re.S)
    assert match, f"the guide has no block for {name}"
    return match.group(1)


def typed(name, side):
    """What the guide lets an administrator type on one side, but the editor."""
    lines = [re.sub(r" {2,}# .*", "", line) for line in re.findall(rf"^{side}[#$] (.*)$", block(name), re.M)]
    return [line for line in lines if not line.startswith("editor ")]


def edit(system, name, *changes):
    path = system.root / "etc/wormhole" / f"{name}.yaml"
    text = path.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    path.write_text(text)


def journal(system, unit, *more):
    text = system.run("journalctl", "--no-pager", "-o", "json", "-u", unit, *more).stdout
    return [json.loads(line) for line in text.splitlines()]


def rows(system, *words):
    return [line.split("\t") for line in system.run("wormhole", *words, check=False).stdout.splitlines()]


def processes(system, role, *words):
    return [row for row in rows(system, "status", *words) if row[:2] == ["process", role]]


def endpoint(system, app="web"):
    return next((row[2] for row in rows(system, "apps") if row[1] == app and row[3] == "connected"), None)


def page(system, app="web"):
    where = until(lambda: endpoint(system, app), f"the app {app}", 120).replace("0.0.0.0", "127.0.0.1")
    return system.run("curl", "-sS", "--max-time", "30", f"http://{where}/").stdout.rstrip("\n")


def own_processes(system):
    """Everything in the booted system that belongs to a service of ours or to one of its users."""
    lines = [line.split(None, 2) for line in system.sh("ps -eo user:32=,cgroup:200=,args=").stdout.splitlines()]
    return [line for line in lines if line[0].startswith("wormhole") or "/wormhole-" in line[1]]


def test_installed_but_not_started(system):
    system.run("dpkg", "-i", "/wormhole.deb", timeout=600)
    for service in SERVICES:
        assert system.run("systemctl", "is-enabled", service, check=False).stdout.strip() == "disabled"
        assert system.run("systemctl", "is-active", service, check=False).stdout.strip() == "inactive"
    assert own_processes(system) == []


def test_ready_means_ready_and_says_for_what(system):
    system.run("systemd-run", "--unit=web", "--", "/usr/bin/wormhole", "testserver", "--port", "8000", "--response", PAGE)
    system.run("systemd-run", "--unit=second", "--", "/usr/bin/wormhole", "testserver", "--port", "8001", "--response", PAGE)
    edit(system, "client", ("expose: []", "expose:\n  - name: web\n    address: 127.0.0.1:8000"), ("#name: edge1", "name: edge1"))
    system.run("useradd", "--create-home", "alice")
    system.run("useradd", "--create-home", "bob")
    for line in typed("install", "server"):
        system.sh(line, timeout=180)
    # it was started: the port listens and the control socket answers, without waiting for anything
    system.run("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080")
    assert rows(system, "requests", "list") == []
    until(lambda: system.property("wormhole-server", "StatusText") == "0 tunnel connections, 0 requests wait for a decision",
          "its status text", 120)
    for line in typed("install", "client"):
        system.sh(line, timeout=180)
    until(lambda: "waiting for approval" in system.property("wormhole-client", "StatusText"), "the client's status text", 120)
    until(lambda: "1 requests" in system.property("wormhole-server", "StatusText"), "the server's status text", 120)
    # whoever is in the group decides, nobody else
    waiting = rows(system, "requests", "list")[0]
    as_user = ("setpriv", "--init-groups", "--reuid")
    refused = system.run(*as_user, "bob", "--regid", "bob", "wormhole", "requests", "list", check=False)
    assert refused.returncode == 77, refused.stderr
    assert ["fact", "pairing_code", waiting[6]] in rows(system, "status", "--client"), "both sides show the same pairing code"
    client_said = " ".join(str(line["MESSAGE"]) for line in journal(system, "wormhole-client"))
    assert waiting[0] in client_said and waiting[6] in client_said
    for line in typed("pair", "client") + typed("pair", "server"):
        line = line.replace("SHA256:…", waiting[0])
        system.run(*as_user, "alice", "--regid", "alice", "sh", "-euc", line)
    assert page(system) == PAGE
    assert any("uid=" in row[5] for row in rows(system, "audit", "list") if row[2] == "accept"), "alice is recorded"
    assert system.run("wormhole", "probe").stdout.splitlines()[-1].split("\t")[:2] == ["hello", "ok"]
    until(lambda: system.property("wormhole-server", "StatusText").startswith("1 tunnel connections, 0"), "its new text", 120)
    until(lambda: system.property("wormhole-client", "StatusText").startswith("connected"), "the client's new text", 120)


def test_the_walls_of_the_units_stand(system):
    """As the kernel says it, of the processes of the running services."""
    for service, more in zip(SERVICES, ((), ("--client",))):
        pid = system.property(service, "MainPID")
        facts = dict(line.split(":\t", 1) for line in system.run("cat", f"/proc/{pid}/status").stdout.splitlines() if ":\t" in line)
        assert facts["NoNewPrivs"] == "1" and facts["Seccomp"] == "2" and int(facts["Seccomp_filters"]) > 5
        bounding = int(facts["CapBnd"], 16)
        assert bounding & ~0x401e0 == 0, "kill, setgid, setuid, setpcap, sys_chroot and nothing else"
        users = {row[4] for row in rows(system, "status", *more) if row[0] == "process"}
        assert len(users) >= 3, "a user for each role"
        read_only = system.run("nsenter", "-t", pid, "-m", "touch", "/etc/x", check=False)
        assert read_only.returncode != 0 and "Read-only" in read_only.stderr
        assert system.run("nsenter", "-t", pid, "-m", "ls", "-A", "/root", "/home", check=False).stdout.split() == ["/home:", "/root:"]


def test_reload(system):
    edit(system, "client", ("  - name: web\n", "  - name: second\n    address: 127.0.0.1:8001\n  - name: web\n"))
    system.run("systemctl", "reload", "wormhole-client")
    assert page(system, "second") == PAGE
    edit(system, "client", ("expose:", "expoes:"))
    refused = system.run("systemctl", "reload", "wormhole-client", check=False)
    assert refused.returncode != 0, "check-config comes first"
    assert system.run("systemctl", "is-active", "wormhole-client").stdout.strip() == "active"
    assert page(system, "second") == PAGE, "the old configuration stays in force"
    assert any('unknown key "expoes"' in str(line["MESSAGE"]) for line in journal(system, "wormhole-client"))
    edit(system, "client", ("expoes:", "expose:"))
    system.run("systemctl", "reload", "wormhole-client")
    # what needs a restart: the whole reload is refused, and said at error
    edit(system, "server", ("port: 8080", "port: 8079"))
    system.run("systemctl", "reload", "wormhole-server")
    until(lambda: any("stays as it was" in str(line["MESSAGE"]) for line in journal(system, "wormhole-server", "-p", "err")),
          "the refusal in the journal", 120)
    edit(system, "server", ("port: 8079", "port: 8080"))


def test_priorities_in_the_journal(system):
    lines = journal(system, "wormhole-server")
    ours = [line for line in lines if line.get("SYSLOG_IDENTIFIER") == "wormhole"]
    assert {line["PRIORITY"] for line in ours} >= {"3", "6"}, "error and info"
    assert all(not str(line["MESSAGE"]).startswith("<") for line in ours), "the prefixes were understood"
    for line in ours:
        assert re.match(r"(supervisor|crypto|session|admin)\b", str(line["MESSAGE"])), line["MESSAGE"]
    errors = journal(system, "wormhole-server", "-p", "err")
    assert errors and all("stays as it was" in str(line["MESSAGE"]) for line in errors), "nothing else is an error so far"


@pytest.mark.parametrize("role", ["crypto", "supervisor"])
def test_the_watchdog(system, role):
    """A process that hangs: pings stop, systemd ends the service and starts it again, the tunnel comes back."""
    folder = system.root / "etc/systemd/system/wormhole-server.service.d"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "watchdog.conf").write_text("[Service]\nWatchdogSec=5s\n")  # a minute is long for a test
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "restart", "wormhole-server", timeout=120)
    assert page(system) == PAGE
    restarts, before = int(system.property("wormhole-server", "NRestarts")), system.property("wormhole-server", "MainPID")
    victim = processes(system, role)[0][3]
    system.run("kill", "-STOP", victim)
    until(lambda: int(system.property("wormhole-server", "NRestarts")) > restarts, "the restart by the watchdog", 240)
    until(lambda: system.property("wormhole-server", "ActiveState") == "active", "the restarted service", 120)
    assert system.property("wormhole-server", "MainPID") != before
    assert any("Watchdog timeout" in str(line["MESSAGE"]) for line in journal(system, "wormhole-server"))
    assert page(system) == PAGE
    assert system.run("cat", f"/proc/{victim}/stat", check=False).returncode != 0, "the hanging process is gone"
    shutil.rmtree(folder)
    system.run("systemctl", "daemon-reload")


def test_a_low_port_by_socket_activation(system):
    """As the packaged example says; the service may not bind such a port itself."""
    text = (system.root / "usr/share/wormhole/low-ports.socket").read_text()
    for line in re.findall(r"^#   (.*)$", text, re.M):
        system.sh(line, timeout=180)
    edit(system, "client", ("ws://127.0.0.1:8080/", "ws://127.0.0.1:443/"))
    system.run("systemctl", "restart", "wormhole-client", timeout=120)
    assert page(system) == PAGE
    listening = system.sh("cat /proc/net/tcp /proc/net/tcp6").stdout
    assert re.search(r":01BB [0-9A-F:]+ 0A ", listening) and not re.search(r":1F90 [0-9A-F:]+ 0A ", listening)
    assert "CAP_NET_BIND_SERVICE".lower() not in system.property("wormhole-server", "CapabilityBoundingSet")
    # a restart: the port is never given up, a connection waits for the service
    system.run("systemctl", "stop", "wormhole-server", timeout=120)
    system.run("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/443; printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' >&3; "
                             "read -t 60 -r line <&3; [[ $line == HTTP/1.1* ]]", timeout=120)
    until(lambda: system.property("wormhole-server", "ActiveState") == "active", "the service that the connection started", 120)
    assert page(system) == PAGE
    system.run("systemctl", "disable", "--now", "wormhole-server.socket")
    (system.root / "etc/systemd/system/wormhole-server.socket").unlink()
    edit(system, "client", ("ws://127.0.0.1:443/", "ws://127.0.0.1:8080/"))
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "restart", *SERVICES, timeout=180)
    assert page(system) == PAGE


def test_backup_restore_and_export_as_the_guide_has_them(system):
    """Word for word, as root, on the running services; what is lost after the backup is back after the restore."""
    assert "intact\tyes" in system.sh(block("backup")).stdout
    system.sh(block("siem"))
    peers = [row[:3] for row in rows(system, "peers", "list")]
    identity = system.run("wormhole", "keys", "show").stdout.split("age_ms")[0]
    system.run("systemctl", "stop", "wormhole-server", timeout=120)
    shutil.rmtree(system.root / "var/lib/wormhole/server/identity")
    (system.root / "var/lib/wormhole/server/wormhole.db").write_bytes(b"broken")
    assert system.run("systemctl", "start", "wormhole-server", check=False, timeout=180).returncode != 0, "a broken database is said"
    assert "intact\tyes" in system.sh(block("restore"), timeout=180).stdout
    assert [row[:3] for row in rows(system, "peers", "list")] == peers
    assert system.run("wormhole", "keys", "show").stdout.split("age_ms")[0] == identity
    assert page(system) == PAGE
    before = (system.root / "var/log/wormhole-audit.jsonl").read_text().splitlines()
    system.sh(block("siem"))
    after = [json.loads(line) for line in (system.root / "var/log/wormhole-audit.jsonl").read_text().splitlines()]
    assert len(after) >= len(before) and [row["seq"] for row in after] == list(range(1, len(after) + 1))


def test_an_upgrade_restarts_what_runs(system):
    """The same package with a higher version, installed over the running services: approvals stay, the tunnel comes back."""
    before = {service: system.property(service, "MainPID") for service in SERVICES}
    with open_folder() as folder:
        run("dpkg-deb", "-R", system.root / "wormhole.deb", folder / "tree")
        control = folder / "tree/DEBIAN/control"
        control.write_text(re.sub(r"^Version: (.*)$", r"Version: \1+rebuilt1", control.read_text(), flags=re.M))
        run("dpkg-deb", "--root-owner-group", "-Znone", "-b", folder / "tree", system.root / "newer.deb")
    system.run("dpkg", "-i", "/newer.deb", timeout=600)
    for service in SERVICES:
        assert system.run("systemctl", "is-active", service).stdout.strip() == "active"
        assert system.property(service, "MainPID") != before[service]
    assert page(system) == PAGE
    assert [row[1] for row in rows(system, "peers", "list")] == ["approved"]


def test_stop_leaves_nothing(system):
    for service in SERVICES:
        group = system.property(service, "ControlGroup")
        system.run("systemctl", "stop", service, timeout=120)
        assert system.property(service, "Result") == "success" and system.property(service, "ActiveState") == "inactive"
        assert not (system.root / "sys/fs/cgroup").joinpath(group.lstrip("/")).exists()
    assert own_processes(system) == []
    assert system.sh("find /run/wormhole -type s").stdout == ""
    listening = system.sh("cat /proc/net/tcp /proc/net/tcp6").stdout
    assert re.findall(r":([0-9A-F]{4}) [0-9A-F:]+ 0A ", listening) in (["1F40", "1F41"], ["1F41", "1F40"]), "the test servers' own only"


def test_one_user_for_everything(system):
    """The variant drop-in, installed as it says itself: nothing of the services runs as root, and the tunnel works."""
    for service in SERVICES:
        command = re.search(r"^#   (install .*)$", (system.root / "usr/share/wormhole/one-uid.conf").read_text(), re.M).group(1)
        system.sh(command.replace("wormhole-server", service))
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "start", *SERVICES, timeout=180)
    assert page(system) == PAGE, "the approval and the keys of before are used"
    for more in ((), ("--client",)):
        mine = [row for row in rows(system, "status", *more) if row[0] == "process"]
        assert mine[0][1] == "supervisor" and mine[0][4] != "0" and mine[0][6] == "none", mine
        assert all("seccomp unknown" in row[18] and "seccomp" in row[17] for row in mine[1:]), "ProtectProc= is said, not shown as 0"
        facts = {}
        for row in mine:
            text = system.run("cat", f"/proc/{row[3]}/status").stdout
            facts[row[1]] = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        assert len({fact["Uid"] for fact in facts.values()}) == 1 and all(fact["CapPrm"].strip("0") == "" for fact in facts.values())
        assert all(fact["Seccomp"] == "2" for fact in facts.values())
    system.run("systemctl", "stop", *SERVICES, timeout=180)


def test_purge_stops_what_runs_and_leaves_nothing(system):
    system.run("systemctl", "start", "wormhole-server", timeout=120)
    system.run("systemctl", "stop", "web", "second")
    system.run("dpkg", "--remove", "wormhole", timeout=300)
    assert own_processes(system) == [], "removing ends what runs"
    assert (system.root / "var/lib/wormhole/server/wormhole.db").exists()
    system.run("dpkg", "--purge", "wormhole", timeout=300)
    left = system.sh("find / -xdev \\( -path /proc -o -path /sys -o -path /var/log -o -path /var/cache "
                     "-o -path /backup -o -path /var/lib/siem \\) -prune -o "
                     "-iname '*wormhole*' -print; find /run /dev -iname '*wormhole*'").stdout.split()
    assert [path for path in left if path not in ("/wormhole.deb",)] == []
    failed = system.run("systemctl", "list-units", "--failed", "--plain", "--no-legend").stdout
    assert "wormhole" not in failed
