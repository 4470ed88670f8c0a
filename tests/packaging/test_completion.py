# SPDX-License-Identifier: Apache-2.0
"""Completion in the real shells, against a real server with a waiting request: what a person gets who presses Tab."""
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios

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



# What is typed goes through the line editor of an interactive zsh; compadd also writes down what it was given and took.
ZSH = """
fpath=("$COMPLETIONS" $fpath)
autoload -Uz compinit && compinit -u -D
compadd() {
  if [[ ${@[1,(i)(-|--)]} != *-[OAD]\\ * ]]; then
    local -a hits
    builtin compadd -A hits "$@"
    print -rl -- "HIT "$^hits >>$FOUND
  fi
  builtin compadd "$@"
}
ended() { print -r -- "END $BUFFER" >>$FOUND }
zle -N ended
bindkey '^I' complete-word
bindkey '^X' ended
zle-line-init() { print READY >>$FOUND }
zle -N zle-line-init
LISTMAX=10000 KEYTIMEOUT=1
"""


def zsh_types(line, spy=True):
    """(what was offered, the line afterwards), from a real zsh on a terminal of its own."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    with open_folder() as folder:
        found, setup = folder / "found", folder / ".zshrc"
        setup.write_text(ZSH if spy else re.sub(r"^compadd\(\).*?^}$", "", ZSH, flags=re.M | re.S))
        env = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}", COMPLETIONS=str(DOCS / "completion"), FOUND=str(found),
                   ZDOTDIR=str(folder), HOME=str(folder), TERM="xterm")
        pid, terminal = pty.fork()
        if pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 200, 200, 0, 0))
            os.execvpe("zsh", ["zsh", "-d", "-i"], env)
        screen = b""

        def lines():
            nonlocal screen
            while select.select([terminal], [], [], 0)[0]:
                try:
                    data = os.read(terminal, 65536)
                except OSError:
                    break
                if not data:
                    break
                screen += data
            return found.read_text().splitlines() if found.exists() else []

        try:
            until(lambda: "READY" in lines(), "zsh's line editor", 120)
            os.write(terminal, line.encode() + b"\t\x18")
            until(lambda: any(one.startswith("END") for one in lines()), f"zsh to complete {line!r}: {screen!r}", 120)
            said = lines()
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(terminal)
        return ({one.removeprefix("HIT ") for one in said if one.startswith("HIT ")} - {""},
                next(one.removeprefix("END ") for one in said if one.startswith("END")))


def zsh(line):
    return sorted(word.replace("\\:", ":") for word in zsh_types(line)[0])


@pytest.mark.parametrize("shell", [bash, fish, zsh])
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
    assert zsh(f"wormhole --control-socket {socket} peers revoke ") == ["edge1"]


@pytest.mark.parametrize("typed, line", [
    ("wormhole requ", "wormhole requests "), ("wormhole peers revo", "wormhole peers revoke "),
    ("wormhole listen --port-range-mi", "wormhole listen --port-range-min"), ("wormhole audit export --format cs", "wormhole audit export --format csv ")])
def test_zsh_writes_the_word_out(typed, line):
    """What stands in the line after Tab, where only one word fits."""
    assert zsh_types(typed, spy=False)[1].rstrip(" =") == line.rstrip(" =")
