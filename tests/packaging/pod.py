# SPDX-License-Identifier: Apache-2.0
"""What must hold of the image's root folder, however it was made: nothing but the executables can be run in it, and it works the
way a restricted pod starts it. Makes no image."""
import os

from support import run

POD = r"""
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t tmpfs tmpfs "$1/storage" && chown 1337:1337 "$1/storage"
mount -t tmpfs tmpfs "$1/tmp"
mount -t tmpfs tmpfs "$1/dev"
for device in null urandom; do : >"$1/dev/$device"; mount --bind "/dev/$device" "$1/dev/$device"; done
mount -o remount,bind,ro "$1"
ip link set lo up
root=$1 log=$2 status=$3
shift 3
environment=()
while [ "$1" != -- ]; do environment+=("$1"); shift; done
shift
pod=(env -i "${environment[@]}" /usr/bin/setpriv --bounding-set=-all,+sys_chroot,+setuid,+setgid --inh-caps=-all --no-new-privs
  /usr/sbin/chroot --userspec=1337:1337 "$root")
"${pod[@]}" "$@" >/dev/null 2>"$log" &
for i in $(seq 1200); do
  if "${pod[@]}" "$1" status >"$status" 2>/dev/null && grep -q "ready	yes" "$status"; then
    "${pod[@]}" "$1" keys show
    curl -sS --max-time 30 http://127.0.0.1:8090/readyz
    curl -sS --max-time 30 -o /dev/null -w 'tunnel %{http_code}\n' http://127.0.0.1:8080/
    kill %1; wait %1
    echo "ended with $?"
    exit 0
  fi
  sleep 0.1
done
cat "$log"; exit 1
"""


def answers_like_in_a_pod(root, config):
    """Read-only root, the image's own user, environment, entry point and command, no capability, no new privileges: the
    server becomes ready and answers, its commands find it, and it ends well."""
    assert config["User"] == "1337:1337"
    for name in ("proc", "dev"):
        (root / name).mkdir(exist_ok=True)
    log, status = root.parent / "pod.log", root.parent / "pod.status"
    said = run("unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "bash", "-uc", POD, "pod", root, log, status,
               *config["Env"], "--", *config["Entrypoint"], *config["Cmd"], timeout=300).stdout
    assert "fingerprint\tSHA256:" in said and "tunnel 4" in said and "ended with 0" in said, said
    rows = [line.split("\t") for line in status.read_text().splitlines() if line.startswith("process")]
    assert {row[4] for row in rows} == {"1337"} and {row[6] for row in rows} == {"none"}
    assert all(row[8] == "yes" and row[9].startswith("filter") for row in rows)


def nothing_else_can_be_run(root):
    programs = [p.relative_to(root).as_posix() for p in root.rglob("*")
                if p.is_file() and os.access(p, os.X_OK) and ".so" not in p.name]
    assert sorted(programs) == ["usr/bin/wormhole", "usr/libexec/wormhole/wormhole-crypto",
                                "usr/libexec/wormhole/wormhole-k8s", "usr/libexec/wormhole/wormhole-net"]
    special = [p for p in root.rglob("*") if not p.is_symlink() and p.stat().st_mode & 0o6000]
    assert not special, "no setuid files"
