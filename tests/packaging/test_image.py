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

from pod import answers_like_in_a_pod, nothing_else_can_be_run
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
    nothing_else_can_be_run(image[1])


def test_every_library_has_its_licence(image):
    root = image[1]
    packages = (root / "usr/share/wormhole/packages").read_text().split()
    assert {"libc6", "libssl3", "libsqlite3-0", "ca-certificates"} <= set(packages)
    for package in packages:
        assert (root / "usr/share/doc" / package / "copyright").stat().st_size > 100, package
    assert (root / "usr/share/doc/wormhole/LICENSE").exists()


def test_it_runs_like_in_a_restricted_pod(image):
    if os.geteuid() != 0:
        pytest.skip("needs root to make a root folder the root")
    config, root = image
    answers_like_in_a_pod(root, config["config"])


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
