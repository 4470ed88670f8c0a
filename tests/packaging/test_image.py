# SPDX-License-Identifier: Apache-2.0
"""The container image as packaging/build makes it without a container engine: an OCI layout that its own digests fit, started
the way a restricted pod starts it; and the bill of materials."""
import hashlib
import json
import os
import re
import subprocess
import tarfile

import pytest

from support import ROOT, installed_tree, package_build, run, wormhole


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    output = tmp_path_factory.mktemp("dist")
    package_build("image", output, "--tree", installed_tree())
    return next(output.glob("*-oci.tar"))


@pytest.fixture(scope="module")
def image(archive, tmp_path_factory):
    """(config, root folder), each blob checked against its digest."""
    layout, root = tmp_path_factory.mktemp("layout"), tmp_path_factory.mktemp("root")
    with tarfile.open(archive) as file:
        file.extractall(layout)

    def blob(entry):
        kind, _, digest = entry["digest"].partition(":")
        data = (layout / "blobs" / kind / digest).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest and len(data) == entry["size"]
        return data

    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]))
    config = json.loads(blob(manifest["config"]))
    layer = blob(manifest["layers"][0])
    (layout / "layer.tar.gz").write_bytes(layer)
    run("tar", "-C", root, "-xpzf", layout / "layer.tar.gz")
    os.chmod(root, 0o755)  # as container engines make it; pytest's folders are closed
    raw = subprocess.run(["gzip", "-dc", str(layout / "layer.tar.gz")], check=True, capture_output=True).stdout
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(raw).hexdigest()]
    return config, root


def test_the_same_tree_gives_the_same_image(archive, tmp_path):
    package_build("image", tmp_path, "--tree", installed_tree())
    assert next(tmp_path.glob("*-oci.tar")).read_bytes() == archive.read_bytes()


def test_entry_point_user_and_chart_agree(image):
    config = image[0]["config"]
    assert config["Entrypoint"] == ["/usr/bin/wormhole"] and config["User"] == "1337:1337"
    values = (ROOT / "helm/values.yaml").read_text()
    assert "1337" in values
    for role in ("server", "client"):
        text = (ROOT / f"helm/templates/{role}-deployment.yaml").read_text()
        assert "- /usr/bin/wormhole" in text
    everything = "".join(p.read_text() for p in (ROOT / "helm/templates").rglob("*.yaml"))
    everything += (ROOT / "helm/templates/_helpers.tpl").read_text()
    assert not re.search(r"/bin/(ba)?sh\b", everything), "the image has no shell"


def test_nothing_else_can_be_run_in_it(image):
    root = image[1]
    programs = [p.relative_to(root).as_posix() for p in root.rglob("*")
                if p.is_file() and os.access(p, os.X_OK) and ".so" not in p.name]
    assert sorted(programs) == ["usr/bin/wormhole", "usr/libexec/wormhole/wormhole-crypto",
                                "usr/libexec/wormhole/wormhole-k8s", "usr/libexec/wormhole/wormhole-net"]
    special = [p for p in root.rglob("*") if not p.is_symlink() and p.stat().st_mode & 0o6000]
    assert not special, "no setuid files"


def test_every_library_has_its_licence(image):
    root = image[1]
    packages = (root / "usr/share/wormhole/packages").read_text().split()
    assert {"libc6", "libssl3", "libsqlite3-0", "ca-certificates"} <= set(packages)
    for package in packages:
        assert (root / "usr/share/doc" / package / "copyright").stat().st_size > 100, package
    assert (root / "usr/share/doc/wormhole/LICENSE").exists()


def test_it_runs_like_in_a_restricted_pod(image):
    """Read-only root, uid 1337, no capability, no new privileges: the server becomes ready, and its commands find it."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make a root folder the root")
    root = image[1]
    for name in ("proc", "dev"):
        (root / name).mkdir(exist_ok=True)
    script = r"""
        mount --make-rprivate /
        mount --bind "$1" "$1"
        mount -t proc proc "$1/proc"
        mount -t tmpfs tmpfs "$1/storage" && chown 1337:1337 "$1/storage"
        mount -t tmpfs tmpfs "$1/tmp"
        mount -t tmpfs tmpfs "$1/dev"
        for device in null urandom; do : >"$1/dev/$device"; mount --bind "/dev/$device" "$1/dev/$device"; done
        mount -o remount,bind,ro "$1"
        ip link set lo up
        pod() {
          env -i PATH=/usr/bin:/usr/sbin HOME=/storage XDG_STATE_HOME=/storage \
            setpriv --bounding-set=-all,+sys_chroot,+setuid,+setgid --inh-caps=-all --no-new-privs \
            chroot --userspec=1337:1337 "$1" /usr/bin/wormhole "${@:2}"
        }
        pod "$1" --metrics listen >/dev/null 2>"$2" &
        for i in $(seq 300); do
          if pod "$1" status >"$3" 2>/dev/null && grep -q "ready	yes" "$3"; then
            pod "$1" keys show
            kill %1; wait %1 || true
            exit 0
          fi
          sleep 0.1
        done
        cat "$2"; exit 1
    """
    log, status = root.parent / "pod.log", root.parent / "pod.status"
    said = run("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "bash", "-uc", script, "pod", root, log,
               status, timeout=120).stdout
    assert "fingerprint\tSHA256:" in said
    rows = [line.split("\t") for line in status.read_text().splitlines() if line.startswith("process")]
    assert {row[4] for row in rows} == {"1337"} and {row[6] for row in rows} == {"none"}
    assert all(row[8] == "yes" and row[9].startswith("filter") for row in rows)


def test_the_bill_of_materials(tmp_path):
    package_build("sbom", tmp_path, "--tree", installed_tree())
    bill = json.loads(next(tmp_path.glob("*.cdx.json")).read_text())
    assert bill["bomFormat"] == "CycloneDX" and bill["specVersion"] == "1.4"
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", bill["serialNumber"])
    assert bill["metadata"]["component"]["version"] == wormhole("--version").stdout.split()[1]
    names = {component["name"] for component in bill["components"]}
    assert {"libc6", "libssl3", "libsqlite3-0", "libevent-core-2.1-7", "libseccomp2", "libcurl4"} <= names
    refs = {bill["metadata"]["component"]["bom-ref"]} | {c["bom-ref"] for c in bill["components"]}
    for component in bill["components"]:
        installed = run("dpkg-query", "-W", "-f=${Version}", component["name"]).stdout
        assert component["version"] == installed and component["purl"].startswith("pkg:deb/debian/")
        assert component["licenses"] and all(one["license"] for one in component["licenses"])
    for one in bill["dependencies"]:
        assert one["ref"] in refs and set(one["dependsOn"]) <= refs
    # what the executables load is in it, all of it
    listed = {p["value"] for c in bill["components"] for p in c["properties"] if p["name"] == "wormhole:file"}
    for program in (installed_tree() / "usr/libexec/wormhole").iterdir():
        for name in re.findall(r"^\s+(\S+) => /", run("ldd", program).stdout, re.M):
            assert name in listed, name
