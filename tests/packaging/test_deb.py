# SPDX-License-Identifier: Apache-2.0
"""The Debian package: made twice with the same bytes, lintian clean, and a whole life in a clean system: installed with apt,
configured, a tunnel, an upgrade in place, removed, purged."""
import os
import pathlib
import shutil

import pytest

from support import ROOT, clean_root, copy_of_sources, inside, package_build, run, shared_deb, the_deb


@pytest.fixture(scope="module")
def deb():
    return the_deb(shared_deb())


def test_two_builds_give_the_same_bytes(deb, tmp_path):
    """The other one in another and longer folder, from a copy without git whose files are of now, in another time zone, language
    and mask."""
    far = copy_of_sources(tmp_path / "another" / "much-longer-folder-name-for-building-in", deb.parent / "sources")
    (tmp_path / "tmp").mkdir()
    mask = os.umask(0o077)
    try:
        package_build("deb", tmp_path / "dist", tree=far, TMPDIR=str(tmp_path / "tmp"), TZ="Pacific/Kiritimati", LANG="C.UTF-8",
                      HOME=str(tmp_path))
    finally:
        os.umask(mask)
    names = sorted(p.name for p in deb.parent.glob("*.deb"))
    assert names and names == sorted(p.name for p in (tmp_path / "dist").glob("*.deb"))
    for name in names:
        assert (tmp_path / "dist" / name).read_bytes() == (deb.parent / name).read_bytes(), name


def test_lintian_has_nothing_to_say(deb):
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed")
    changes = next(deb.parent.glob("*.changes"))
    result = run("lintian", "--allow-root", "--fail-on", "error,warning", changes, check=False)
    said = [line for line in result.stdout.splitlines() if line.startswith(("E:", "W:"))]
    assert result.returncode == 0 and not said, result.stdout


def test_executables_are_hardened(deb, tmp_path):
    run("dpkg-deb", "-x", deb, tmp_path)
    programs = [tmp_path / "usr/bin/wormhole"] + sorted((tmp_path / "usr/libexec/wormhole").iterdir())
    assert len(programs) == 4
    for program in programs:
        header, dynamic = run("readelf", "-hW", program).stdout, run("readelf", "-dlW", program).stdout
        assert "DYN" in header, program
        assert "BIND_NOW" in dynamic or "NOW" in dynamic, program
        assert "GNU_RELRO" in dynamic and "RPATH" not in dynamic and "RUNPATH" not in dynamic, program
        assert "__stack_chk_fail" in run("readelf", "--dyn-syms", "-W", program).stdout, program
        stack = next(line for line in dynamic.splitlines() if "GNU_STACK" in line)
        assert "RWE" not in stack, program


def test_no_test_code_is_in_it(deb, tmp_path):
    run("dpkg-deb", "-x", deb, tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert str(ROOT).encode() not in path.read_bytes() and b"/tmp/tmp." not in path.read_bytes(), path
    assert not list(tmp_path.rglob("*probes*"))


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    root, reason = clean_root(folder)
    if root is None:
        pytest.skip(reason)
    yield pathlib.Path(root)
    shutil.rmtree(folder, ignore_errors=True)


def version_of(deb, version, tmp_path):
    """The same package with a higher version, as a rebuild makes it."""
    tree = tmp_path / "unpacked"
    run("dpkg-deb", "-R", deb, tree)
    control = tree / "DEBIAN/control"
    text = control.read_text()
    old = next(line for line in text.splitlines() if line.startswith("Version: "))
    control.write_text(text.replace(old, f"Version: {version}"))
    output = tmp_path / f"wormhole_{version}.deb"
    run("dpkg-deb", "--root-owner-group", "-b", tree, output)
    return output


def state_of(system):
    text = inside(system, "wormhole audit list --db /var/lib/wormhole/server/wormhole.db").stdout
    return [line.split("\t") for line in text.splitlines()]


def test_a_whole_life(deb, system, tmp_path):
    shutil.copy(deb, system / "wormhole.deb")
    shutil.copy(ROOT / "packaging/debian/tests/tunnel", system / "tunnel")

    # installed with apt, which gets what it depends on
    inside(system, "apt-get -qq update && apt-get -qq -y install /wormhole.deb", network=True, timeout=600)
    users = inside(system, "getent passwd | cut -d: -f1 | grep ^wormhole | sort").stdout.split()
    assert users == ["wormhole", "wormhole-admin", "wormhole-crypto", "wormhole-dialer", "wormhole-k8s",
                     "wormhole-session"]
    facts = inside(system, "stat -c '%n %U:%G %a' /etc/wormhole/server.yaml /etc/wormhole/client.yaml "
                           "/var/lib/wormhole/server/identity /var/lib/wormhole/client/keys /var/lib/wormhole/server").stdout
    assert facts.splitlines() == ["/etc/wormhole/server.yaml root:wormhole 640",
                                  "/etc/wormhole/client.yaml root:wormhole 640",
                                  "/var/lib/wormhole/server/identity wormhole-crypto:wormhole-crypto 700",
                                  "/var/lib/wormhole/client/keys wormhole-crypto:wormhole-crypto 700",
                                  "/var/lib/wormhole/server root:root 711"]
    assert not list((system / "etc/systemd/system").rglob("*wormhole*")), "units are disabled until configured"
    assert (system / "usr/share/bash-completion/completions/wormhole").exists()

    # a tunnel with the packaged configuration and the units' command lines and capabilities
    said = inside(system, "/tunnel").stdout
    assert "A page came through the tunnel." in said
    before = state_of(system)
    assert "accept" in [row[2] for row in before]
    identity = (system / "var/lib/wormhole/server/identity/server_ed25519.pem").read_bytes()

    # an upgrade in place: configuration, keys, approvals and audit stay
    config = system / "etc/wormhole/server.yaml"
    config.write_text(config.read_text().replace("port-range-max: 30499", "port-range-max: 30498"))
    shutil.copy(version_of(deb, "0.1.0+rebuilt1", tmp_path), system / "newer.deb")
    inside(system, "apt-get -qq -y install /newer.deb", network=True)
    assert "0.1.0+rebuilt1" in inside(system, "dpkg-query -W wormhole").stdout
    assert "port-range-max: 30498" in config.read_text()
    assert "A page came through the tunnel." in inside(system, "/tunnel").stdout
    after = state_of(system)
    assert after[:len(before)] == before and len(after) > len(before)
    assert [row[2] for row in after].count("accept") == 1, "the client was approved once and stays so"
    assert (system / "var/lib/wormhole/server/identity/server_ed25519.pem").read_bytes() == identity
    assert "intact\tyes" in inside(system, "wormhole audit verify --db /var/lib/wormhole/server/wormhole.db").stdout

    # removed: programs go, configuration and state stay
    inside(system, "apt-get -qq -y remove wormhole", network=True)
    assert not (system / "usr/bin/wormhole").exists()
    assert config.exists() and (system / "var/lib/wormhole/server/wormhole.db").exists()

    # purged: nothing is left
    inside(system, "apt-get -qq -y purge wormhole", network=True)
    left = inside(system, "find / -xdev \\( -path /proc -o -path /dev -o -path /sys -o -path /var/log -o -path "
                          "/var/cache \\) -prune -o -iname '*wormhole*' -print").stdout.split()
    assert [path for path in left if path != "/wormhole.deb"] == []
    assert "wormhole" not in (system / "etc/passwd").read_text() + (system / "etc/group").read_text()


def test_without_root_one_user_is_enough(deb, system):
    """one-uid.conf's way: everything as the user wormhole, no capability, the packaged configuration."""
    shutil.copy(deb, system / "wormhole.deb")
    inside(system, "apt-get -qq -y install /wormhole.deb", network=True, timeout=600)
    said = inside(system, """
        systemd-tmpfiles --create wormhole.conf
        chown -R wormhole:wormhole /var/lib/wormhole /run/wormhole   # as StateDirectory= and RuntimeDirectory= do
        setpriv --reuid wormhole --regid wormhole --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs \\
          wormhole --config /etc/wormhole/server.yaml listen >/log 2>&1 &
        pid=$! tries=0
        until wormhole status >/status 2>/dev/null && grep -q "ready	yes" /status; do
          tries=$((tries + 1)); [ $tries -lt 200 ] || { cat /log; exit 1; }; sleep 0.1
        done
        cat /status
        kill $pid
        wait $pid
        cat /log
    """).stdout
    rows = [line.split("\t") for line in said.splitlines() if line.startswith("process")]
    assert len(rows) >= 3
    assert len({row[4] for row in rows}) == 1 and {row[6] for row in rows} == {"none"}, "one uid, no capability"
    assert all(row[9].startswith("filter") for row in rows)
    inside(system, "apt-get -qq -y purge wormhole", network=True)
