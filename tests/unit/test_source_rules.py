# SPDX-License-Identifier: Apache-2.0
"""
Rules of the source tree that no compiler checks: who may include whom, what every file begins with, how long it may
be, and which functions nobody calls.
"""
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("common", "supervisor", "worker-net", "worker-crypto", "worker-k8s")
# Who may include whose headers; everybody its own.
MAY_INCLUDE = {"common": set(), "supervisor": {"common"}, "worker-net": {"common"}, "worker-crypto": {"common"},
               "worker-k8s": {"common"}}
# Headers of libraries that belong to one process, by the beginning of their path.
LIBRARIES = {"openssl/ssl.h": {"worker-net"}, "curl/": {"worker-k8s"}, "jansson.h": {"worker-k8s"},
             "sqlite3.h": {"supervisor"}, "yaml.h": {"supervisor", "worker-k8s"},
             "event2/http": set(), "event2/dns": set()}
# Buffers of libevent's own are for what is not the data path (docs/performance.md says what they cost there).
SLOW_PATH = ("worker-net/http_", "worker-net/admin", "supervisor/cli/cli_testserver")
# Never right here: unbounded, not thread-safe, or a way to start a program by a shell.
BANNED = ("strcpy", "strcat", "sprintf", "vsprintf", "gets", "strtok", "system", "popen", "alloca", "mktemp", "tmpnam",
          "atoi", "atol", "rand", "srand", "strncpy", "strncat", "gethostbyname", "inet_addr", "inet_ntoa", "scanf",
          "setjmp", "longjmp")
LONGEST = 800


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in out.decode().split("\0") if name and (ROOT / name).exists()]


SOURCES = [p for p in tracked("*.c", "*.h", "*.def") if p.relative_to(ROOT).parts[0] in FOLDERS]
SCRIPTS = tracked("*.py", "*.cmake", "*CMakeLists.txt", "tests/run", "quickstart")


def code_of(text):
    """Without comments and text in quotes, so that words in them do not count."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"//[^\n]*", " ", text)
    return re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', text)


def test_there_is_something_to_check():
    assert len(SOURCES) > 100 and len(SCRIPTS) > 20


@pytest.mark.parametrize("folder", FOLDERS)
def test_includes_stay_behind_their_wall(folder):
    wrong = []
    for path in SOURCES:
        if path.relative_to(ROOT).parts[0] != folder:
            continue
        for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', path.read_text(), flags=re.M):
            first = name.split("/")[0]
            if first != folder and first not in MAY_INCLUDE[folder]:
                wrong.append(f"{path.relative_to(ROOT)} includes {name}")
    assert not wrong, "\n".join(wrong)


def test_libraries_stay_with_their_process():
    wrong = []
    for path in SOURCES:
        folder = path.relative_to(ROOT).parts[0]
        for name in re.findall(r"^\s*#\s*include\s*<([^>]+)>", path.read_text(), flags=re.M):
            for prefix, allowed in LIBRARIES.items():
                if name.startswith(prefix) and folder not in allowed:
                    wrong.append(f"{path.relative_to(ROOT)} includes <{name}>")
            if name.startswith("event2/buffer") and not str(path.relative_to(ROOT)).startswith(SLOW_PATH):
                wrong.append(f"{path.relative_to(ROOT)} includes <{name}>")
    assert not wrong, "\n".join(wrong)


def test_first_lines():
    """The licence on line 1, then a comment that says what the file is for."""
    wrong = []
    for path in SOURCES:
        lines = path.read_text().split("\n")
        if lines[0] != "/* SPDX-License-Identifier: Apache-2.0 */" or not lines[1].startswith("/*"):
            wrong.append(str(path.relative_to(ROOT)))
    for path in SCRIPTS:
        if "# SPDX-License-Identifier: Apache-2.0" not in path.read_text().split("\n")[:2]:
            wrong.append(str(path.relative_to(ROOT)))
    assert not wrong, "\n".join(wrong)


def test_no_file_is_too_long():
    wrong = [f"{p.relative_to(ROOT)}: {n} lines" for p in tracked("*.c", "*.h", "*.py")
             if (n := p.read_text().count("\n")) > LONGEST]
    assert not wrong, "\n".join(wrong)


def test_banned_functions():
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
    wrong = []
    for path in SOURCES:
        if path.name.startswith("worker_probe"):
            continue  # test builds only
        for number, line in enumerate(code_of(path.read_text()).split("\n"), 1):
            if match := pattern.search(line):
                wrong.append(f"{path.relative_to(ROOT)}: {match[1]}()")
    assert not wrong, "\n".join(wrong)
