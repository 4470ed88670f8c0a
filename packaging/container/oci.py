#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes an OCI image archive (image-spec 1.0, one layer) of a root folder, without a container engine.

Usage: oci.py ROOTFS OUTPUT.tar VERSION. Entry point, user and environment are those of the Dockerfile's final stage,
which is read for them. The same input gives the same bytes: names sorted, times from SOURCE_DATE_EPOCH, owners fixed.
"""
import gzip
import hashlib
import io
import json
import os
import platform
import re
import sys
import tarfile
import time

EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64", "ppc64le": "ppc64le",
                 "s390x": "s390x"}


def dockerfile_config():
    """The final stage's instructions as an OCI config."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Dockerfile")
    with open(path, encoding="utf-8") as file:
        text = file.read().replace("\\\n", " ")
    stage = text[text.rindex("\nFROM "):]
    config = {"Env": [], "ExposedPorts": {}, "Volumes": {}}
    for line in stage.splitlines():
        word, _, rest = line.partition(" ")
        if word == "ENV":
            config["Env"] += re.findall(r"\S+=\S+", rest)
        elif word == "USER":
            config["User"] = rest
        elif word == "WORKDIR":
            config["WorkingDir"] = rest
        elif word == "VOLUME":
            config["Volumes"][rest] = {}
        elif word == "EXPOSE":
            config["ExposedPorts"] = {f"{port}/tcp": {} for port in rest.split()}
        elif word == "STOPSIGNAL":
            config["StopSignal"] = rest
        elif word in ("ENTRYPOINT", "CMD"):
            config["Entrypoint" if word == "ENTRYPOINT" else "Cmd"] = json.loads(rest)
    return config


def add(archive, name, data=None, source=None):
    info = archive.gettarinfo(source, name) if source else tarfile.TarInfo(name)
    info.name, info.mtime = name, EPOCH
    info.uname = info.gname = ""
    if source:
        owner = 1337 if name in ("storage", "run/wormhole") else 0
        info.uid = info.gid = owner
        if info.isfile():
            with open(source, "rb") as file:
                archive.addfile(info, file)
        else:
            archive.addfile(info)
        return
    info.size, info.mode = len(data), 0o644
    archive.addfile(info, io.BytesIO(data))


def layer_make(root):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as archive:
        paths = []
        for folder, folders, files in os.walk(root):
            paths += [os.path.join(folder, name) for name in folders + files]
        for path in sorted(paths):
            add(archive, os.path.relpath(path, root), source=path)
    return raw.getvalue()


def main():
    root, output, version = sys.argv[1:4]
    layer = layer_make(root)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, compresslevel=9) as file:
        file.write(layer)
    blobs = {}

    def blob(data, media):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}

    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EPOCH))
    config = blob(json.dumps({
        "created": created, "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()), "os": "linux",
        "config": dict(dockerfile_config(), Labels={
            "org.opencontainers.image.title": "wormhole", "org.opencontainers.image.version": version,
            "org.opencontainers.image.licenses": "Apache-2.0"}),
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created": created, "created_by": "packaging/container/rootfs"}],
    }, sort_keys=True).encode(), "application/vnd.oci.image.config.v1+json")
    layers = [blob(packed.getvalue(), "application/vnd.oci.image.layer.v1.tar+gzip")]
    manifest = blob(json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
        "layers": layers}, sort_keys=True).encode(), "application/vnd.oci.image.manifest.v1+json")
    manifest["annotations"] = {"org.opencontainers.image.ref.name": version}
    with tarfile.open(output, "w", format=tarfile.GNU_FORMAT) as archive:
        add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        add(archive, "index.json", json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest]},
            sort_keys=True).encode())
        for digest, data in sorted(blobs.items()):
            add(archive, f"blobs/sha256/{digest}", data)


if __name__ == "__main__":
    main()
