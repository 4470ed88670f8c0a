# SPDX-License-Identifier: Apache-2.0
"""
The control socket: who may use it, who it says acted, and programs at its other end that break the rules, flood it or
do not read. The commands' own output is tested elsewhere.
"""
import base64
import contextlib
import grp
import os
import pwd
import signal
import socket
import stat
import subprocess

import pytest

import ipc
import tunnel
from adminapi import METRICS, metrics_port, scrape
from tunnel import wait

UNKNOWN = "SHA256:" + "A" * 43
needs_root = pytest.mark.skipif(not tunnel.AS_ROOT, reason="acting as another user needs root")


@contextlib.contextmanager
def connected(server):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(server.control)
    channel = ipc.Channel(sock)
    try:
        yield channel
    finally:
        channel.close()


def ask(channel, what, request=1, **fields):
    """(rows, RESULT) of one page."""
    channel.send("QUERY", request=request, what=what, **fields)
    rows = []
    while (message := channel.recv()).type != "RESULT":
        assert message.request == request
        rows.append(message)
    assert message.request == request
    return rows, message


def as_user(uid, gid, groups, argv):
    return subprocess.run(argv, user=uid, group=gid, extra_groups=groups, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=tunnel.PATIENCE, check=False, cwd="/")


def cli_as(server, uid, *args, gid=54321, groups=()):
    return as_user(uid, gid, list(groups), [tunnel.BIN + "/wormhole", "--control-socket", server.control, *args])


def fingerprint_of(number):
    return "SHA256:" + base64.urlsafe_b64encode(number.to_bytes(32, "big")).decode().rstrip("=")


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_mode_and_actor(hosts):
    server = hosts.server()
    assert mode(server.control) == 0o600
    assert stat.S_ISSOCK(os.stat(server.control).st_mode)
    client = hosts.client(server)
    server.accept(client)
    accept = next(r for r in server.json("audit", "list") if r["action"] == "accept")
    uid = os.geteuid()
    assert accept["actor_kind"] == "control"
    assert accept["actor"].startswith(f"uid={uid}({pwd.getpwuid(uid).pw_name}) pid=")
    assert accept["remote"] == "local"


@needs_root
def test_other_users_are_refused(hosts):
    server = hosts.server(global_flags=METRICS)
    refused = cli_as(server, 54321, "status")
    assert refused.returncode == 77 and "sudo" in refused.stderr
    # Even when somebody loosened the mode, the kernel's word about the user counts.
    os.chmod(server.control, 0o666)
    refused = cli_as(server, 54321, "requests", "list")
    assert refused.returncode == 77 and "may not use the control socket" in refused.stderr
    refused = cli_as(server, 54321, "requests", "accept", UNKNOWN)
    assert refused.returncode == 77
    server.wait_log(r"uid=54321 pid=\d+ may not use it")
    assert scrape(metrics_port(server)).get("wormhole_admin_denied_total") == 2
    assert [r["action"] for r in server.json("audit", "list")] == ["created", "start"]


@needs_root
def test_operators_group(hosts):
    group = grp.getgrgid(65534) if any(g.gr_gid == 65534 for g in grp.getgrall()) else grp.getgrall()[-1]
    server = hosts.server(global_flags=("--control-group", group.gr_name))
    assert mode(server.control) == 0o660
    assert os.stat(server.control).st_gid == group.gr_gid
    assert cli_as(server, 54321, "requests", "list").returncode == 77
    member = cli_as(server, 54321, "requests", "list", groups=[group.gr_gid])
    assert member.returncode == 0, member.stderr
    primary = cli_as(server, 54321, "peers", "preapprove", UNKNOWN, "--name", "edge9", gid=group.gr_gid)
    assert primary.returncode == 0, primary.stderr
    row = server.json("audit", "list")[-1]
    assert row["action"] == "preapprove"
    assert row["actor"].startswith("uid=54321 pid=")  # no such user: shown as a number
    bad = hosts.server(global_flags=("--control-group", "no-such-group-at-all"), name="bad", ready=False)
    assert bad.wait_exit() == 78
    assert "no-such-group-at-all" in bad.log()


def test_stale_socket_and_second_server(hosts):
    server = hosts.server()
    second = hosts.server(name="second", ready=False, global_flags=("--control-socket", server.control))
    assert second.wait_exit() != 0
    assert "another wormhole answers" in second.log()
    server.cli("status")
    # kill -9 leaves the socket behind; the next start replaces it.
    server.kill()
    assert os.path.exists(server.control)
    server.start()
    server.wait_ready()
    server.cli("status")
    assert server.stop() == 0
    assert not os.path.exists(server.control)
    gone = server.cli("status", check=False)
    assert gone.returncode == 69


def test_pages_of_questions(hosts):
    """Every kind of question over the wire, a page at a time, without a row twice."""
    server = hosts.server()
    with connected(server) as channel:
        for i in range(600):
            channel.send("DECIDE", request=i, action=ipc.E.DECISION_PREAPPROVE,
                         subject=fingerprint_of(i), name=f"edge{i}")
            assert channel.expect("RESULT").outcome == ipc.E.OUTCOME_DONE
        peers, after, pages = [], 0, 0
        while True:
            rows, result = ask(channel, ipc.E.QUERY_PEERS, request=1000 + pages, after=after)
            assert result.outcome == ipc.E.OUTCOME_DONE
            peers += [r.name for r in rows]
            pages += 1
            if not result.more:
                break
            assert result.cursor > after
            after = result.cursor
        assert peers == [f"edge{i}" for i in range(600)] and pages > 1
        rows, result = ask(channel, ipc.E.QUERY_PEERS, filter="edge42")
        assert [r.name for r in rows] == ["edge42"]
        rows, _ = ask(channel, ipc.E.QUERY_AUDIT, after=600)
        assert [r.seq for r in rows] == [601, 602]
        for what in [ipc.E.QUERY_APPS, ipc.E.QUERY_REQUESTS, ipc.E.QUERY_STATUS, ipc.E.QUERY_METRICS, ipc.E.QUERY_KEYS,
                     ipc.E.QUERY_READY]:
            assert ask(channel, what)[1].outcome == ipc.E.OUTCOME_DONE
        for what in [0, 9, 255]:
            assert ask(channel, what)[1].outcome == ipc.E.OUTCOME_BAD
        for action in [0, 5, 6, 255]:
            channel.send("DECIDE", request=7, action=action, subject=UNKNOWN)
            assert channel.expect("RESULT").outcome == ipc.E.OUTCOME_UNSUPPORTED


def test_lies_are_not_believed(hosts):
    """A remote address or token that comes over the control socket means nothing: the kernel says who it is."""
    server = hosts.server()
    with connected(server) as channel:
        channel.send("DECIDE", request=1, action=ipc.E.DECISION_PREAPPROVE, subject=UNKNOWN, name="edge1",
                     remote="198.51.100.1:1", token="whatever")
        assert channel.expect("RESULT").outcome == ipc.E.OUTCOME_DONE
    row = server.json("audit", "list")[-1]
    assert row["remote"] == "local" and f"uid={os.geteuid()}" in row["actor"] and f"pid={os.getpid()}" in row["actor"]


def test_broken_rules_end_only_that_connection(hosts):
    server = hosts.server()
    with connected(server) as good:
        for packet, fds in [
                (b"", ()), (b"\x62", ()), (b"\xff\xff", ()), (ipc.encode("QUERY", what=1)[:-1], ()),
                (ipc.encode("QUERY", what=1) + b"x", ()), (ipc.encode("WORKER_PONG"), ()), (ipc.encode("RESULT"), ()),
                (ipc.encode("APPROVAL_ANSWER", verdict=2), ()), (ipc.encode("QUERY", what=1), (0,)),
                (b"\x62\x00" + b"A" * 16000, ()), (ipc.encode("DECIDE", subject="x\0y"), ())]:
            if not packet:
                continue  # a zero-length packet looks like the end to every receiver
            with connected(server) as bad:
                bad.send_packet(packet, fds)
                assert bad.expect_closed() == []
        with connected(server) as bad:
            bad.sock.sendmsg([ipc.encode("QUERY", what=1)], [], socket.MSG_NOSIGNAL)
            bad.recv()
        assert ask(good, ipc.E.QUERY_READY)[1].outcome == ipc.E.OUTCOME_DONE
    assert server.count(r"broke the rules") == 10
    server.cli("status")


def test_floods(hosts):
    """Many idle connections make room for a new one; one that asks and never reads is cut off."""
    server = hosts.server(global_flags=METRICS)
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connected(server)) for _ in range(80)]
        for _ in range(3):
            server.cli("status")
        assert scrape(metrics_port(server)).get("wormhole_control_clients") <= 32
        for channel in idle[:40]:
            channel.expect_closed()
    with connected(server) as greedy:
        with pytest.raises((ipc.Closed, ipc.IpcError, OSError)):
            greedy.sock.settimeout(tunnel.PATIENCE)
            for i in range(100000):
                greedy.send("QUERY", request=i, what=ipc.E.QUERY_METRICS)
        server.wait_log(r"does not read its answers: disconnected")
    supervisor = server.processes("supervisor")[0]
    assert supervisor["rss_kib"] < 65536
    server.cli("requests", "list")


def test_client_side(hosts):
    """A client answers for itself, and says what only its server knows."""
    server = hosts.server()
    client = hosts.client(server)
    server.accept(client)
    client.wait_connected()
    with connected(client) as channel:
        for what in [ipc.E.QUERY_REQUESTS, ipc.E.QUERY_PEERS, ipc.E.QUERY_AUDIT]:
            _, result = ask(channel, what)
            assert result.outcome == ipc.E.OUTCOME_UNSUPPORTED and "server" in result.text
        channel.send("DECIDE", request=2, action=ipc.E.DECISION_ACCEPT, subject=UNKNOWN)
        assert channel.expect("RESULT").outcome == ipc.E.OUTCOME_UNSUPPORTED
        facts = {r.name: r.value for r in ask(channel, ipc.E.QUERY_STATUS)[0] if r.type == "ROW_FACT"}
        assert facts["side"] == "client" and facts["connection"] == "connected"
        assert facts["server_fingerprint"] == server.fact("fingerprint")
        keys, _ = ask(channel, ipc.E.QUERY_KEYS)
        assert keys[0].fingerprint == client.fingerprint and keys[0].bits == 2048


def test_status_is_the_kernels_word(hosts):
    """Every row of status against /proc, read by the test itself."""
    backend = hosts.backend(tunnel.echo)
    server, client = hosts.pair({"echo": backend.port})
    for host, roles in [(server, {"supervisor", "crypto", "admin", "session"}),
                        (client, {"supervisor", "crypto", "dialer", "session"})]:
        rows = wait(lambda host=host: (r := host.processes()) and not any(p["missing"] == "not ready yet" for p in r)
                    and r, "readiness")
        assert {p["role"] for p in rows} == roles
        for row in rows:
            with open(f"/proc/{row['pid']}/status", encoding="ascii") as f:
                kernel = dict(line.split(":", 1) for line in f.read().splitlines())
            assert row["uid"] == int(kernel["Uid"].split()[1])
            assert row["gid"] == int(kernel["Gid"].split()[1])
            assert row["no_new_privs"] == (kernel["NoNewPrivs"].strip() == "1")
            filters = kernel["Seccomp_filters"].strip()
            assert row["seccomp"] == {"0": "none", "1": "filter"}.get(filters, "filter×" + filters)
            assert row["threads"] == int(kernel["Threads"])
            assert abs(row["descriptors"] - len(os.listdir(f"/proc/{row['pid']}/fd"))) <= 2
            if row["role"] != "supervisor":
                assert row["capabilities"] == "none" and kernel["CapPrm"].strip() == "0" * 16


def test_signal_storm_and_reload_keep_it(hosts):
    server = hosts.server()
    with connected(server) as channel:
        for _ in range(20):
            server.send_signal(signal.SIGHUP)
            assert ask(channel, ipc.E.QUERY_READY)[1].outcome == ipc.E.OUTCOME_DONE
