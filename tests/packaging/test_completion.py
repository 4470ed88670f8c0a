# SPDX-License-Identifier: Apache-2.0
"""Completion in the real shells, against a real server with a waiting request: what a person gets who presses Tab."""
import os
import shutil
import signal
import subprocess

import pytest

from support import BIN, DOCS, open_folder, run, until, wormhole


@pytest.fixture(scope="module")
def server():
    """A server, and a client that waits for approval."""
    with open_folder() as work:
        yield from server_in(work)


def server_in(work):
    socket = work / "control.sock"
    processes = []

    def start(*words):
        processes.append(subprocess.Popen([str(w) for w in (BIN / "wormhole", *words)], stdin=subprocess.DEVNULL,
                                          stdout=subprocess.DEVNULL, stderr=open(work / f"{len(processes)}.log", "wb")))

    def ask(*words):
        return wormhole("--control-socket", socket, *words, check=False).stdout

    start("listen", "--state-dir", work / "s", "--control-socket", socket, "--host", "127.0.0.1", "--port", 0,
          "--admin-port", 0, "--app-host", "127.0.0.1", "--no-port-use-range")
    status = until(lambda: ask("status"), "the server")
    port = next(line.split("\t")[2] for line in status.splitlines() if line.startswith("fact\ttunnel\t")).rsplit(":", 1)[1]
    start("join", "--state-dir", work / "c", "--control-socket", work / "client.sock", "--name", "edge1", "--server",
          f"ws://127.0.0.1:{port}/wh/tunnel")
    fingerprint = until(lambda: ask("requests", "list").split("\t")[0], "the request")
    yield socket, fingerprint
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        process.wait(timeout=60)


BASH = """
. /usr/share/bash-completion/bash_completion
. "$COMPLETION"
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMP_KEY=9
read -ra COMP_WORDS <<<"$1"
case $1 in *' ') COMP_WORDS+=("") ;; esac
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_wormhole
printf '%s\\n' "${COMPREPLY[@]}"
"""


def bash(line):
    if not os.path.exists("/usr/share/bash-completion/bash_completion"):
        pytest.skip("bash-completion is not installed")
    env = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}", COMPLETION=str(DOCS / "completion/wormhole.bash"))
    return run("bash", "--norc", "-c", BASH, "bash", line, env=env).stdout.split()


def fish(line):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    script = f"source {DOCS / 'completion/wormhole.fish'}; complete -C \"$argv[1]\""
    env = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}", HOME="/nonexistent")
    return [one.split("\t")[0] for one in run("fish", "--no-config", "-c", script, line, env=env).stdout.splitlines()]




@pytest.mark.parametrize("shell", [bash, fish])
class TestShells:
    def test_commands(self, shell, server):
        assert "requests" in shell("wormhole re")
        assert {"listen", "join", "probe", "status"} <= set(shell("wormhole "))

    def test_verbs(self, shell, server):
        assert set(shell("wormhole requests ")) >= {"list", "accept", "decline"}
        assert shell("wormhole peers rev") == ["revoke"]

    def test_flags_and_their_words(self, shell, server):
        assert "--port-range-min" in shell("wormhole listen --port-ra")
        assert "--metrics-port" in shell("wormhole --metr")
        assert set(shell("wormhole listen --acceptor ")) == {"server", "dummy"}
        assert set(shell("wormhole audit export --format ")) == {"json", "jsonl", "csv"}

    def test_fingerprints_come_from_the_server(self, shell, server):
        socket, fingerprint = server
        found = shell(f"wormhole --control-socket {socket} requests accept ")
        assert found in ([fingerprint], [fingerprint.removeprefix("SHA256:")]), found

    def test_nobody_to_ask_is_no_error(self, shell, server):
        assert [w for w in shell("wormhole --control-socket /nonexistent/x peers show ") if "/" not in w] == []


def test_names_of_peers_come_from_the_server(server):
    socket, fingerprint = server
    wormhole("--control-socket", socket, "requests", "accept", fingerprint)
    assert bash(f"wormhole --control-socket {socket} peers show ") == ["edge1"]
    assert bash(f"wormhole --control-socket {socket} apps --peer ") == ["edge1"]
    assert fish(f"wormhole --control-socket {socket} peers revoke ") == ["edge1"]


def test_zsh_takes_the_file():
    """zsh's completion needs a line editor; here it is loaded, and its function runs as far as the parser goes."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    script = f"""
        fpath=({DOCS / 'completion'} $fpath)
        autoload -Uz compinit && compinit -u -D
        (( $+_comps[wormhole] )) || exit 1
        [[ $_comps[wormhole] == _wormhole ]] || exit 2
        autoload +X _wormhole || exit 3
        print -r -- $functions[_wormhole]
    """
    body = run("zsh", "-f", "-c", script).stdout
    assert "requests" in body and "--port-range-min" in body
