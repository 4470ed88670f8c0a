# SPDX-License-Identifier: Apache-2.0
"""The Dockerfile itself, built by buildah without a daemon: its base image is a Debian made here from the machine's own apt
sources, so that no registry is asked. The result must be what packaging/build image makes. It takes a compiler's installation and
a build, so it runs when something that it depends on has changed since it last passed (a stamp in the cache)."""
import hashlib
import json
import os
import pathlib
import re
import shutil

import pytest

from pod import answers_like_in_a_pod, nothing_else_can_be_run
from support import CACHE, ROOT, clean_root, copy_of_sources, open_folder, run

BASE = re.search(r"^FROM (\S+) AS build$", (ROOT / "packaging/container/Dockerfile").read_text(), re.M).group(1)


def inputs():
    """Of what the Dockerfile says and runs beside the C sources, which the other image is made of in every run."""
    files = [ROOT / "packaging/install-packages", ROOT / ".dockerignore", pathlib.Path(__file__), ROOT / "CMakeLists.txt"]
    files += sorted((ROOT / "packaging/container").iterdir()) + sorted(ROOT.glob("*/CMakeLists.txt"))
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def test_the_dockerfile_builds_the_same_image():
    if os.geteuid() != 0 or shutil.which("buildah") is None:
        pytest.skip("needs root and buildah")
    stamp = CACHE / "dockerfile-passed"
    if stamp.exists() and stamp.read_text() == inputs() and not os.environ.get("WORMHOLE_TEST_DOCKERFILE"):
        pytest.skip("it passed with this Dockerfile, these scripts and packages before; WORMHOLE_TEST_DOCKERFILE=1 runs it again")
    with open_folder() as folder:
        def buildah(*words, **more):
            env = dict(os.environ, TMPDIR=str(folder), BUILDAH_ISOLATION="chroot")
            return run("buildah", "--root", folder / "storage", "--runroot", folder / "run", "--storage-driver", "vfs", *words,
                       env=env, timeout=1500, **more)

        root = folder / "debian"
        root.mkdir()
        root, reason = clean_root(root)
        if root is None:
            pytest.skip(reason)
        base = buildah("from", "scratch").stdout.strip()
        mount = pathlib.Path(buildah("mount", base).stdout.strip())
        run("cp", "-a", f"{root}/.", mount)
        shutil.rmtree(root)
        buildah("umount", base)
        buildah("commit", "--rm", base, f"docker.io/library/{BASE}")
        buildah("build", "--isolation", "chroot", "--pull-never", "--layers=false", "-f", ROOT / "packaging/container/Dockerfile",
                "-t", "wormhole-test", copy_of_sources(folder / "context"))
        config = json.loads(buildah("inspect", "--type", "image", "wormhole-test").stdout)["OCIv1"]["config"]
        assert config["Entrypoint"] == ["/usr/bin/wormhole"] and config["Cmd"] == ["--metrics", "listen"]
        for role in ("server", "client"):
            chart = (ROOT / f"helm/templates/{role}-deployment.yaml").read_text()
            assert f"- {config['Entrypoint'][0]}\n" in chart.split("command:")[1].split("ports:")[0], "the chart starts the same"
        made = pathlib.Path(buildah("mount", buildah("from", "--pull-never", "wormhole-test").stdout.strip()).stdout.strip())
        image = folder / "image"
        run("cp", "-a", made, image)
        os.chmod(image, 0o755)
        nothing_else_can_be_run(image)
        for package in (image / "usr/share/wormhole/packages").read_text().split():
            assert (image / "usr/share/doc" / package / "copyright").stat().st_size > 100, package
        answers_like_in_a_pod(image, config)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(inputs())
