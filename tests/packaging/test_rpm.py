# SPDX-License-Identifier: Apache-2.0
"""The rpm: built with this machine's rpmbuild, its files, owners, scriptlets and needs read back with rpm."""
import shutil

import pytest

from support import ROOT, package_build, run, wormhole


@pytest.fixture(scope="module")
def rpm(tmp_path_factory):
    output = tmp_path_factory.mktemp("dist")
    package_build("rpm", output)
    return next(p for p in output.glob("*.rpm") if ".src." not in p.name)


def query(rpm, *words):
    return run("rpm", "-qp", *words, rpm).stdout


def test_the_files_are_where_fedora_has_them(rpm):
    listing = query(rpm, "--queryformat", "[%{FILENAMES} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILEMODES:perms}\\n]")
    files = {line.split()[0]: line.split()[1:] for line in listing.splitlines()}
    for path in ("/usr/bin/wormhole", "/usr/libexec/wormhole/wormhole-net", "/usr/libexec/wormhole/wormhole-crypto",
                 "/usr/libexec/wormhole/wormhole-k8s"):
        assert files[path] == ["root:root", "-rwxr-xr-x"]
    for path in ("/usr/lib/systemd/system/wormhole-server.service", "/usr/lib/systemd/system/wormhole-client.service",
                 "/usr/lib/sysusers.d/wormhole.conf", "/usr/lib/tmpfiles.d/wormhole.conf",
                 "/usr/share/bash-completion/completions/wormhole", "/usr/share/zsh/site-functions/_wormhole",
                 "/usr/share/fish/vendor_completions.d/wormhole.fish"):
        assert files[path] == ["root:root", "-rw-r--r--"], path
    for name in ("server", "client"):
        assert files[f"/etc/wormhole/{name}.yaml"] == ["root:root", "-rw-r-----"]
    assert "/var/lib/wormhole" in files
    pages = {path.rsplit("/", 1)[1].removesuffix(".gz") for path in files if "/man/" in path}
    assert {"wormhole.1", "wormhole.yaml.5", "wormhole-listen.8", "wormhole-join.8", "wormhole-requests.1"} <= pages
    allowed = ("/etc/wormhole", "/usr/bin/", "/usr/lib/", "/usr/libexec/wormhole", "/usr/share/", "/var/lib/wormhole")
    assert [path for path in files if not path.startswith(allowed)] == []


def test_configuration_is_not_replaced(rpm):
    config = query(rpm, "--queryformat", "[%{FILENAMES} %{FILEFLAGS:fflags}\\n]")
    flags = dict(line.rsplit(" ", 1) for line in config.splitlines())
    for name in ("server", "client"):
        assert set(flags[f"/etc/wormhole/{name}.yaml"]) == set("cn"), "%config(noreplace)"


def test_scriptlets(rpm):
    scripts = query(rpm, "--scripts")
    sections = {}
    for line in scripts.splitlines():
        if line.endswith("scriptlet (using /bin/sh):"):
            sections[line.split()[0]] = current = []
        else:
            current.append(line)
    assert set(sections) == {"preinstall", "postinstall", "preuninstall", "postuninstall"}
    text = {name: "\n".join(lines) for name, lines in sections.items()}
    assert "systemd-sysusers" in text["postinstall"] and "systemd-tmpfiles" in text["postinstall"]
    assert "install-system-units wormhole-server.service wormhole-client.service" in text["postinstall"]
    assert "remove-system-units" in text["preuninstall"] and "-eq 0" in text["preuninstall"]
    assert "mark-restart-system-units" in text["postuninstall"] and "-ge 1" in text["postuninstall"]
    assert "rm -rf" not in scripts, "removing the package leaves the state, as everywhere in that world"
    for name, body in text.items():
        run("sh", "-n", "-c", body)


def test_needs(rpm):
    needs = query(rpm, "--requires")
    for library in ("libssl.so.3", "libcrypto.so.3", "libsqlite3.so.0", "libseccomp.so.2", "libyaml-0.so.2",
                    "libevent_core", "libcurl.so.4", "libjansson.so.4", "libcap.so.2"):
        assert library in needs
    assert query(rpm, "--queryformat", "%{LICENSE}") == "Apache-2.0"
    assert query(rpm, "--queryformat", "%{VERSION}") == wormhole("--version").stdout.split()[1]


def test_rpmlint_has_nothing_to_say(rpm):
    if shutil.which("rpmlint") is None:
        pytest.skip("rpmlint is not installed")
    result = run("rpmlint", "-c", ROOT / "packaging/rpm/rpmlint.toml", rpm, ROOT / "packaging/rpm/wormhole.spec",
                 check=False)
    said = [line for line in result.stdout.splitlines() if ": E: " in line or ": W: " in line]
    assert not said, "\n".join(said)
