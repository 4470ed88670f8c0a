# SPDX-License-Identifier: Apache-2.0
"""
Approvals and the audit log of a real server: what is written, that an auditor can check it without us, and what kill
-9, a full disk, a read-only one and a strange file do to it. Each file's own refusals are unit tests.
"""
import base64
import csv
import hashlib
import io
import json
import os
import re
import shutil
import sqlite3
import struct
import subprocess
import threading
from pathlib import Path

import pytest

import tunnel
from adminapi import METRICS, call, metrics_port, scrape
from tunnel import echo, wait, works

needs_root = pytest.mark.skipif(not tunnel.AS_ROOT, reason="mounting a small file system needs root")


def fingerprint_of(number):
    return "SHA256:" + base64.urlsafe_b64encode(number.to_bytes(32, "big")).decode().rstrip("=")


def database(server):
    return os.path.join(server.state, "wormhole.db")


def check_chain(rows):
    """docs/audit.md, followed by somebody who has only that document."""
    previous = bytes(32)
    for number, row in enumerate(rows, 1):
        assert row["seq"] == number
        assert bytes.fromhex(row["previous"]) == previous
        data = b"wormhole audit 1\0" + previous + struct.pack(">QQ", row["seq"], row["time_ms"])
        for field in ("actor_kind", "actor", "action", "fingerprint", "name", "remote", "detail"):
            text = row[field].encode()
            data += struct.pack(">I", len(text)) + text
        previous = hashlib.sha256(data).digest()
        assert row["hash"] == previous.hex(), f"row {number}"
    return previous.hex()


def some_history(server):
    for i in range(5):
        server.cli("peers", "preapprove", fingerprint_of(i), "--name", f"edge{i}")
    server.cli("peers", "revoke", "edge2")


def test_an_auditor_can_check_it(hosts):
    server = hosts.server()
    some_history(server)
    rows = call(server.admin_port, "GET", "/v2/audit").json
    last = check_chain(rows)
    assert [r["action"] for r in rows] == ["created", "start"] + ["preapprove"] * 5 + ["revoke"]
    # The same through every door.
    exported = json.loads(server.cli("audit", "export", "--format", "json"))
    assert [{key: row[key] for key in rows[0]} for row in exported] == rows
    lines = server.cli("audit", "export", "--format", "jsonl").splitlines()
    assert [json.loads(line)["hash"] for line in lines] == [r["hash"] for r in rows]
    table = list(csv.DictReader(io.StringIO(server.cli("audit", "export", "--format", "csv"))))
    assert [r["hash"] for r in table] == [r["hash"] for r in rows]
    verified = json.loads(server.cli("audit", "verify", "--output", "json"))
    assert verified["intact"] is True and verified["rows"] == len(rows) and verified["last_hash"] == last
    # In pieces.
    pieces, after = [], 0
    while piece := call(server.admin_port, "GET", f"/v2/audit?after={after}&limit=3").json:
        assert len(piece) <= 3
        pieces += piece
        after = piece[-1]["seq"]
    assert pieces == rows


def test_the_documents_own_program(hosts):
    """The few lines of Python that docs/audit.md gives to auditors, as they stand there."""
    page = (Path(__file__).resolve().parents[2] / "docs/audit.md").read_text(encoding="utf-8")
    program = re.search(r"```python\n(.*?)```", page, flags=re.S)[1]
    server = hosts.server()
    some_history(server)
    run = subprocess.run(["/usr/bin/python3", "-c", program, database(server)], capture_output=True, text=True, check=True)
    verified = json.loads(server.cli("audit", "verify", "--output", "json"))
    assert run.stdout == f"{verified['rows']} rows, last hash {verified['last_hash']}\n"


def test_copies_and_tampering(hosts):
    """Backups taken while the server runs verify offline, stay as they are, and show what somebody changed."""
    server = hosts.server()
    some_history(server)
    backup = os.path.join(hosts.dir, "backup.db")
    with sqlite3.connect(database(server)) as live, sqlite3.connect(backup) as copy:
        live.backup(copy)
    copy.close()
    live.close()
    before = open(backup, "rb").read()
    files = set(os.listdir(hosts.dir))
    assert json.loads(server.cli("audit", "verify", "--db", backup, "--output", "json"))["rows"] == 8
    listed = json.loads(server.cli("audit", "list", "--db", backup, "--output", "json"))
    assert [r["seq"] for r in listed] == list(range(1, 9))
    assert open(backup, "rb").read() == before and set(os.listdir(hosts.dir)) == files
    # A snapshot of the disk: the file and its log as they lie.
    for suffix in ("", "-wal"):
        shutil.copy(database(server) + suffix, os.path.join(hosts.dir, "snapshot.db" + suffix))
    server.cli("audit", "verify", "--db", os.path.join(hosts.dir, "snapshot.db"))

    with sqlite3.connect(backup) as copy:
        for statement in ("UPDATE audit SET actor='x' WHERE seq=4", "DELETE FROM audit WHERE seq=4"):
            with pytest.raises(sqlite3.DatabaseError, match="cannot be"):
                copy.execute(statement)
        triggers = copy.execute("SELECT name, sql FROM sqlite_schema WHERE type='trigger'").fetchall()
        for name, _ in triggers:
            copy.execute(f"DROP TRIGGER {name}")
        copy.execute("UPDATE audit SET actor='uid=0(nobody)' WHERE seq=4")
        for _, sql in triggers:
            copy.execute(sql)
    copy.close()
    changed = server.cli("audit", "verify", "--db", backup, check=False)
    assert changed.returncode == 1 and "row 4" in changed.stderr
    with sqlite3.connect(backup) as copy:
        copy.execute("DROP TRIGGER audit_no_delete")
    copy.close()
    stripped = server.cli("audit", "verify", "--db", backup, check=False)
    assert stripped.returncode != 0 and "changed by another program" in stripped.stderr
    other = server.cli("audit", "verify", "--db", "/etc/passwd", check=False)
    assert other.returncode != 0 and "not an sqlite database" in other.stderr


def test_kill_in_the_middle(hosts):
    """kill -9 while decisions stream in: whatever was answered is there, and the server comes back by itself."""
    server = hosts.server()
    number = 0
    for _ in range(4):
        answered = []
        stop = threading.Event()

        def decide(answered=answered, start=number, stop=stop):
            i = start
            while not stop.is_set():
                done = subprocess.run([tunnel.BIN + "/wormhole", "--control-socket", server.control, "peers",
                                       "preapprove", fingerprint_of(i), "--name", f"edge{i}"],
                                      capture_output=True, check=False)
                if done.returncode == 0:
                    answered.append(f"edge{i}")
                i += 1
        operator = threading.Thread(target=decide)
        operator.start()
        wait(lambda answered=answered: len(answered) >= 10, "some decisions")
        server.kill()
        stop.set()
        operator.join()
        number += 10000
        server.start()
        server.wait_ready()
        approved = {p["name"] for p in server.peers() if p["status"] == "approved"}
        assert set(answered) <= approved
        rows = call(server.admin_port, "GET", "/v2/audit?limit=10000").json
        check_chain(rows)
        assert len(approved) == sum(r["action"] == "preapprove" for r in rows)


MOUNT = ("mount -t tmpfs -o size=3m,mode=0711 tmpfs \"$0\" && exec \"$@\"")


def in_its_mounts(server, *argv):
    return subprocess.run(["nsenter", "-t", str(server.pid), "-m", *argv], capture_output=True, text=True, check=True)


@needs_root
def test_full_disk(hosts):
    """Decisions are refused honestly, but a revocation counts at once; tunnels go on, and nothing that was stored is lost."""
    backend = hosts.backend(echo)
    state = hosts.directory("small")
    server = hosts.server(state=state, prefix=("unshare", "-m", "sh", "-c", MOUNT, state), ready=False,
                          global_flags=(*METRICS, "--control-socket", os.path.join(hosts.dir, "small.sock")))
    server.control = os.path.join(hosts.dir, "small.sock")
    server.wait_ready()
    client = hosts.client(server, apps={"echo": backend.port})
    server.accept(client)
    client.wait_connected()
    app_port = server.app_port("edge1", "echo")
    server.cli("peers", "preapprove", fingerprint_of(1), "--name", "before")

    in_its_mounts(server, "sh", "-c", f"dd if=/dev/zero of={state}/ballast bs=4k 2>/dev/null; true")
    refused = None
    for i in range(2, 600):
        done = server.cli("peers", "preapprove", fingerprint_of(i), "--name", f"more{i}", check=False)
        if done.returncode != 0:
            refused = done
            break
    assert refused is not None and refused.returncode == 1
    assert "no space left on the disk" in refused.stderr and "wormhole.db" in refused.stderr
    last = i
    http = call(server.admin_port, "DELETE", "/v2/peers/before")
    assert http.status == 503 and "no space left" in http.json["error"]
    metrics = scrape(metrics_port(server))
    assert metrics.get("wormhole_database_failures_total") >= 2
    # Who was let in stays in; traffic flows; reading works.
    assert works(app_port)
    assert [a["peer"] for a in server.apps()] == ["edge1"]
    server.cli("audit", "verify")
    status = {p["name"]: p["status"] for p in server.peers()}
    assert status["before"] == "revoked" and f"more{last}" not in status
    assert not [row for row in call(server.admin_port, "GET", "/v2/audit?limit=10000").json if row["action"] == "revoke"]

    in_its_mounts(server, "rm", f"{state}/ballast")
    server.cli("peers", "preapprove", fingerprint_of(last), "--name", f"more{last}")
    history = lambda: call(server.admin_port, "GET", "/v2/audit?limit=10000").json
    wait(lambda: any(row["action"] == "revoke" for row in history()), "the revocation in the history")
    status = {p["name"]: p["status"] for p in server.peers()}
    assert status["before"] == "revoked" and status[f"more{last}"] == "approved"
    check_chain(history())


@needs_root
def test_read_only_disk(hosts):
    """A start on a disk that cannot be written says so; once it can be again, everything is still there."""
    state = hosts.directory("frozen")
    control = os.path.join(hosts.dir, "frozen.sock")
    holder = hosts.spawn("mounts", ["unshare", "-m", "sh", "-c", MOUNT, state, "sh", "-c", "echo mounted; exec sleep 9999"])
    holder.wait_log("mounted")

    def start(name, ready=True):
        server = hosts.server(state=state, prefix=("nsenter", "-t", str(holder.pid), "-m"), ready=ready, name=name,
                              global_flags=("--control-socket", control))
        server.control = control
        return server
    server = start("first", ready=False)
    server.wait_ready()
    some_history(server)
    assert server.stop() == 0
    in_its_mounts(holder, "mount", "-o", "remount,ro", state)
    refused = start("second", ready=False)
    assert refused.wait_exit() not in (0, 69, 78)
    assert "read-only" in refused.log().lower()
    in_its_mounts(holder, "mount", "-o", "remount,rw", state)
    server = start("third", ready=False)
    server.wait_ready()
    assert {p["name"]: p["status"] for p in server.peers()}["edge2"] == "revoked"
    server.cli("audit", "verify")


def test_strange_files(hosts):
    """A foreign, damaged or newer database: one clear line, exit code 78, and the file is left as it was."""
    def refused(name, words):
        path = os.path.join(hosts.dir, name)
        before = open(path, "rb").read()
        server = hosts.server("--acceptor-storage-file-path", path, name=name, ready=False)
        assert server.wait_exit() == 78
        errors = [line for line in server.log().splitlines() if " error " in line]
        assert len(errors) == 1 and words in errors[0] and path in errors[0], server.log()
        assert open(path, "rb").read() == before

    with open(os.path.join(hosts.dir, "notes.txt"), "w", encoding="ascii") as f:
        f.write("not a database\n" * 20)
    refused("notes.txt", "is not an sqlite database")
    with sqlite3.connect(os.path.join(hosts.dir, "songs.db")) as other:
        other.execute("CREATE TABLE songs(title)")
    other.close()
    refused("songs.db", "of another program")

    first = hosts.server(name="first")
    some_history(first)
    assert first.stop() == 0
    shutil.copy(database(first), os.path.join(hosts.dir, "newer.db"))
    shutil.copy(database(first), os.path.join(hosts.dir, "damaged.db"))
    with sqlite3.connect(os.path.join(hosts.dir, "newer.db")) as newer:
        newer.execute("PRAGMA user_version=99")
    newer.close()
    refused("newer.db", "newer Wormhole")
    with open(os.path.join(hosts.dir, "damaged.db"), "r+b") as damaged:
        damaged.seek(4096 * 3)
        damaged.write(os.urandom(4096))
    refused("damaged.db", "damaged")
    os.mkdir(os.path.join(hosts.dir, "directory"))
    server = hosts.server("--acceptor-storage-file-path", os.path.join(hosts.dir, "directory"), name="dir", ready=False)
    assert server.wait_exit() != 0


def test_replaced_while_it_runs(hosts):
    server = hosts.server()
    some_history(server)
    os.rename(database(server), database(server) + ".aside")
    refused = server.cli("peers", "revoke", "edge1", check=False)
    assert refused.returncode == 1 and "removed or replaced" in refused.stderr
    os.rename(database(server) + ".aside", database(server))
    server.cli("peers", "revoke", "edge1")
    server.cli("audit", "verify")


def test_clean_end_and_restart(hosts):
    server = hosts.server()
    some_history(server)
    assert server.stop() == 0
    assert not os.path.exists(database(server) + "-wal")
    assert oct(os.stat(database(server)).st_mode & 0o777) == "0o600"
    server.start()
    server.wait_ready()
    assert [r["action"] for r in server.json("audit", "list")][-1] == "start"
    assert {p["name"]: p["status"] for p in server.peers()}["edge2"] == "revoked"
    check_chain(call(server.admin_port, "GET", "/v2/audit").json)
