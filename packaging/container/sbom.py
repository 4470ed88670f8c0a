#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a software bill of materials (CycloneDX 1.4, JSON) for an installed tree to standard output.

Usage: sbom.py INSTALL-TREE VERSION. Everything comes from what is there: the executables' loaded libraries, the Debian
packages that own them, and those packages' own copyright files. A library that no package owns is an error.
"""
import hashlib
import json
import os
import re
import subprocess
import sys
import time
import uuid

# Names that Debian's copyright files use, and their SPDX identifiers, where they differ in more than spelling.
SPDX = {"expat": "MIT", "bsd-3-clause": "BSD-3-Clause", "bsd-2-clause": "BSD-2-Clause", "bsd-4-clause": "BSD-4-Clause",
        "gpl-2": "GPL-2.0-only", "gpl-2+": "GPL-2.0-or-later", "gpl-3": "GPL-3.0-only", "gpl-3+": "GPL-3.0-or-later",
        "lgpl-2": "LGPL-2.0-only", "lgpl-2+": "LGPL-2.0-or-later", "lgpl-2.1": "LGPL-2.1-only",
        "lgpl-2.1+": "LGPL-2.1-or-later", "lgpl-3+": "LGPL-3.0-or-later", "apache-2.0": "Apache-2.0", "isc": "ISC",
        "zlib": "Zlib", "curl": "curl", "mit": "MIT", "artistic": "Artistic-1.0-Perl", "mpl-2.0": "MPL-2.0"}


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def executables(tree):
    found = []
    for folder in ("usr/bin", "usr/libexec/wormhole"):
        base = os.path.join(tree, folder)
        found += [os.path.join(base, name) for name in sorted(os.listdir(base))]
    return found


def libraries(files):
    found = set()
    for file in files:
        for line in run("ldd", file).splitlines():
            match = re.search(r"=> (/\S+)|^\s*(/\S*ld-linux\S*)", line)
            if match:
                found.add(match.group(1) or match.group(2))
    return sorted(found)


def owner(path):
    """The package of a library; merged /usr means that it may be listed under another of its names."""
    real = os.path.realpath(path)
    for name in (path, real, real.removeprefix("/usr"), "/usr" + path):
        result = subprocess.run(["dpkg-query", "-S", name], capture_output=True, text=True)
        if result.returncode == 0:
            return result.stdout.split(": ")[0].split(",")[0]
    sys.exit(f"sbom: no package owns {path}")


def licences(package):
    path = f"/usr/share/doc/{package}/copyright"
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        sys.exit(f"sbom: {package} has no copyright file")
    names = sorted({name.strip() for name in re.findall(r"^License:\s*(\S[^\n]*)", text, re.M)})
    if not names:
        return [{"license": {"name": "see " + path}}]
    answer = []
    for name in names:
        identifier = SPDX.get(name.lower())
        answer.append({"license": {"id": identifier} if identifier else {"name": name}})
    unique = []
    for one in answer:
        if one not in unique:
            unique.append(one)
    return unique


def component(package, files):
    fields = run("dpkg-query", "-W", "-f=${Package}\t${Version}\t${Architecture}\t${source:Package}\t${Homepage}", package)
    name, version, architecture, source, homepage = fields.split("\t")
    release = "debian"
    with open("/etc/os-release", encoding="utf-8") as file:
        values = dict(line.rstrip().split("=", 1) for line in file if "=" in line)
    distribution = values.get("ID", release).strip('"') + "-" + values.get("VERSION_ID", "").strip('"')
    purl = f"pkg:deb/{values.get('ID', release).strip(chr(34))}/{name}@{version.replace('+', '%2B').replace(':', '%3A')}" \
           f"?arch={architecture}&distro={distribution}"
    answer = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
              "licenses": licences(name),
              "properties": [{"name": "wormhole:file", "value": file} for file in sorted(files)] +
              [{"name": "wormhole:source-package", "value": source}]}
    if homepage:
        answer["externalReferences"] = [{"type": "website", "url": homepage}]
    return answer


def main():
    tree, version = sys.argv[1:3]
    programs = executables(tree)
    packages = {}
    for library in libraries(programs):
        packages.setdefault(owner(library), []).append(os.path.basename(library))
    components = [component(package, files) for package, files in sorted(packages.items())]
    own = f"pkg:generic/wormhole@{version}"
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", str(int(time.time()))))
    identity = json.dumps([version, [c["purl"] for c in components]])
    parts = []
    for program in programs:
        with open(program, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        parts.append({"type": "application", "name": os.path.basename(program), "version": version,
                      "bom-ref": f"{own}#{os.path.basename(program)}", "licenses": [{"license": {"id": "Apache-2.0"}}],
                      "hashes": [{"alg": "SHA-256", "content": digest}]})
    json.dump({
        "bomFormat": "CycloneDX", "specVersion": "1.4", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, identity)}",
        "metadata": {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch)),
                     "tools": [{"vendor": "wormhole", "name": "packaging/container/sbom.py", "version": version}],
                     "component": {"type": "application", "bom-ref": own, "name": "wormhole", "version": version,
                                   "purl": own, "licenses": [{"license": {"id": "Apache-2.0"}}], "components": parts}},
        "components": components,
        "dependencies": [{"ref": own, "dependsOn": [c["bom-ref"] for c in components]}] +
        [{"ref": c["bom-ref"], "dependsOn": []} for c in components],
    }, sys.stdout, indent=2, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
