# SPDX-License-Identifier: Apache-2.0
"""
The real dialer process, in its real sandbox, with this program as supervisor and as session: it connects to what is
in its table and to nothing else, says exactly why it could not, and is not held up by a silent name server.
"""
import os
import socket
import struct

import pytest

import ipc
from ipc import E

BIN = os.environ.get("WORMHOLE_BIN", str(ipc.ROOT / "build/release/bin"))
AS_ROOT = os.geteuid() == 0
NOBODY = 64123 if AS_ROOT else 0


class Dialer:
    """A dialer whose server is host:port, and one session's end of the dial channel."""

    def __init__(self, host="127.0.0.1", port=9, connect_ms=3000, wrapper=()):
        self.worker = ipc.Worker([*wrapper, BIN + "/wormhole-net", "dialer"])
        self.worker.setup(E.ROLE_DIALER, E.SIDE_CLIENT, uid=NOBODY, gid=NOBODY,
                          messages=[("DIALER_SETUP", dict(host=host, port=port, connect_ms=connect_ms))])
        self.ready, _ = self.worker.ready()
        self.session = self.add_session(1)

    def add_session(self, connection):
        ours, theirs = ipc.pair()
        self.worker.channel.send("DIALER_SESSION", fd=theirs, connection=connection)
        theirs.close()
        return ours

    def app(self, number, host, port):
        self.worker.channel.send("DIALER_APP", app=number, host=host, port=port)

    def synchronise(self):
        """Everything that was sent to the dialer before has been handled."""
        self.worker.channel.send("WORKER_PING", nonce=1)
        self.worker.channel.expect("WORKER_PONG")

    def dial(self, app, request=1, timeout=10):
        self.session.send("DIAL_APP", request=request, app=app)
        answer = self.session.recv(timeout)
        assert answer.request == request
        return answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.close()
        self.worker.stop()


@pytest.fixture
def dialer():
    with Dialer() as d:
        yield d


def listener(family=socket.AF_INET, address="127.0.0.1"):
    s = socket.socket(family)
    s.bind((address, 0))
    s.listen(512)
    return s, s.getsockname()[1]


def closed_port():
    s, port = listener()
    s.close()
    return port


def test_full_sandbox(dialer):
    layers = dialer.ready.layers
    for layer in ("NO_NEW_PRIVS", "CAPABILITIES", "RLIMITS", "UNDUMPABLE", "SECCOMP"):
        assert layers & getattr(E, "LAYER_" + layer), f"{layer} is missing: {dialer.ready.missing}"


def test_connects_and_hands_over(dialer):
    s, port = listener()
    dialer.app(7, "127.0.0.1", port)
    dialer.synchronise()
    answer = dialer.dial(7, request=99)
    assert answer.type == "DIAL_CONNECTED" and answer.address == f"127.0.0.1:{port}"
    ours = socket.socket(fileno=answer.fd)
    theirs, _ = s.accept()
    theirs.sendall(b"over")
    assert ours.recv(4) == b"over"
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    # The dialer kept no copy: our end's close is the end of the connection.
    ours.close()
    theirs.settimeout(5)
    assert theirs.recv(1) == b""


def test_names_and_families(dialer):
    s, port = listener(socket.AF_INET6, "::1")
    dialer.app(1, "::1", port)
    dialer.synchronise()
    answer = dialer.dial(1)
    assert answer.type == "DIAL_CONNECTED" and answer.address == f"[::1]:{port}"
    os.close(answer.fd)


@pytest.fixture
def own_etc(tmp_path):
    """A copy of /etc to write to, and the command that starts a program which sees it."""
    if not AS_ROOT:
        pytest.skip("a private /etc needs root")
    etc = tmp_path / "etc"
    etc.mkdir()
    for name in ("hosts", "host.conf", "resolv.conf", "nsswitch.conf", "gai.conf", "ld.so.cache"):
        if os.path.exists("/etc/" + name):
            (etc / name).write_bytes(open("/etc/" + name, "rb").read())
    os.chmod(tmp_path, 0o755)
    return etc, ["/usr/bin/unshare", "-m", "sh", "-c", f'mount --bind {etc} /etc && exec "$0" "$@"']


def replace(path, text):
    """As an editor or a network manager does it: a new file in the old one's place."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


def test_falls_back_to_the_next_address(own_etc):
    etc, wrapper = own_etc
    replace(etc / "hosts", "127.0.0.2 two.test\n127.0.0.3 two.test\n::1 two.test\n")
    s, port = listener(address="127.0.0.3")
    with Dialer(wrapper=wrapper) as d:
        d.app(1, "two.test", port)
        d.synchronise()
        answer = d.dial(1)
        assert answer.type == "DIAL_CONNECTED" and answer.address == f"127.0.0.3:{port}", answer
        os.close(answer.fd)


def test_changed_names_are_seen(own_etc):
    """Both for the server, at once, and for an app whose kept address stops answering."""
    etc, wrapper = own_etc
    replace(etc / "hosts", "127.0.0.2 moving.test\n")
    old, port = listener(address="127.0.0.2")
    with Dialer("moving.test", port, wrapper=wrapper) as d:
        d.app(1, "moving.test", port)
        d.synchronise()
        answer = d.dial(1)
        assert answer.address == f"127.0.0.2:{port}", answer
        os.close(answer.fd)
        old.close()
        new = socket.create_server(("127.0.0.4", port))
        replace(etc / "hosts", "127.0.0.4 moving.test\n")
        answer = d.dial(1)
        assert answer.address == f"127.0.0.4:{port}", answer
        os.close(answer.fd)
        d.session.send("DIAL_SERVER", request=9)
        answer = d.session.recv()
        assert answer.address == f"127.0.0.4:{port}", answer
        os.close(answer.fd)
        new.close()


def test_refused_says_so(dialer):
    dialer.app(1, "127.0.0.1", closed_port())
    dialer.app(2, "localhost", closed_port())
    dialer.synchronise()
    for app in (1, 2):
        answer = dialer.dial(app)
        assert answer.type == "DIAL_FAILED" and answer.code == E.DIAL_REFUSED, answer
        assert "refused" in answer.text and "127.0.0.1" not in answer.text


def test_only_the_table(dialer):
    s, port = listener()
    assert dialer.dial(1).code == E.DIAL_UNKNOWN_APP
    dialer.app(1, "127.0.0.1", port)
    dialer.synchronise()
    os.close(dialer.dial(1).fd)
    dialer.worker.channel.send("DIALER_APP_GONE", app=1)
    dialer.synchronise()
    assert dialer.dial(1).code == E.DIAL_UNKNOWN_APP


def test_changed_app_leads_elsewhere(dialer):
    first, port = listener()
    second, other = listener()
    dialer.app(1, "127.0.0.1", port)
    dialer.app(1, "127.0.0.1", other)
    dialer.synchronise()
    answer = dialer.dial(1)
    assert answer.address.endswith(f":{other}")
    os.close(answer.fd)


def test_unknown_name():
    with Dialer(connect_ms=5000) as d:
        d.app(1, "no-such-name.invalid", 80)
        d.synchronise()
        assert d.dial(1, timeout=15).code == E.DIAL_DNS


def test_server_refused_names_it():
    port = closed_port()
    with Dialer("127.0.0.1", port) as d:
        d.session.send("DIAL_SERVER", request=5)
        answer = d.session.expect("DIAL_FAILED")
        assert answer.code == E.DIAL_REFUSED and f"127.0.0.1 port {port}" in answer.text


def test_server_by_name_beside_dead_apps(own_etc):
    """App names whose look-up hangs take neither the loop nor the server's thread."""
    etc, wrapper = own_etc
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        silent.bind(("127.0.0.99", 53))
    except OSError as e:
        pytest.skip(f"cannot play a name server: {e}")
    replace(etc / "resolv.conf", "nameserver 127.0.0.99\n")
    s, port = listener()
    with Dialer("localhost", port, connect_ms=1500, wrapper=wrapper) as d:
        for n in range(1, 30):
            d.app(n, f"host{n}.does-not-answer.invalid", 80)
        d.app(50, "127.0.0.1", port)
        d.synchronise()
        for n in range(1, 30):
            d.session.send("DIAL_APP", request=n, app=n)
        d.session.send("DIAL_SERVER", request=1000)
        d.session.send("DIAL_APP", request=1001, app=50)
        seen = {}
        while len(seen) < 31:
            answer = d.session.recv(20)
            assert answer.request not in seen
            seen[answer.request] = answer
            if answer.fd is not None:
                os.close(answer.fd)
        assert list(seen)[:2] == [1001, 1000] or list(seen)[:2] == [1000, 1001], "they waited for the dead ones"
        assert seen[1000].type == seen[1001].type == "DIAL_CONNECTED"
        assert all(seen[n].code == E.DIAL_DNS for n in range(1, 30))
    silent.close()


def test_deadline():
    """A backlog that is full and takes nothing: the deadline, not forever."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(0)
    port = s.getsockname()[1]
    fillers = []
    for _ in range(4):
        c = socket.socket()
        c.setblocking(False)
        c.connect_ex(("127.0.0.1", port))
        fillers.append(c)
    with Dialer(connect_ms=400) as d:
        d.app(1, "127.0.0.1", port)
        d.synchronise()
        answers = [d.dial(1, request=n) for n in range(4)]
        assert answers[-1].type == "DIAL_FAILED" and answers[-1].code == E.DIAL_TIMEOUT, answers[-1]
        for a in answers:
            if a.fd is not None:
                os.close(a.fd)


def test_many_dials_keep_no_descriptor(dialer):
    s, port = listener()
    dialer.app(1, "127.0.0.1", port)
    dialer.synchronise()
    os.close(dialer.dial(1).fd)
    dialer.synchronise()
    before = len(os.listdir(f"/proc/{dialer.worker.pid}/fd")) if AS_ROOT else None
    for n in range(2000):
        answer = dialer.dial(1, request=n)
        assert answer.type == "DIAL_CONNECTED"
        os.close(answer.fd)
        s.accept()[0].close()
    dialer.synchronise()
    if AS_ROOT:
        assert len(os.listdir(f"/proc/{dialer.worker.pid}/fd")) == before


def test_session_that_does_not_read(dialer):
    """A session that floods questions and takes no answer is left waiting; others are served."""
    s, port = listener()
    dialer.app(1, "127.0.0.1", closed_port())
    dialer.app(2, "127.0.0.1", port)
    dialer.synchronise()
    dialer.session.sock.setblocking(False)
    sent = 0
    try:
        for sent in range(20000):
            dialer.session.send("DIAL_APP", request=sent, app=1)
    except BlockingIOError:
        pass
    dialer.session.sock.setblocking(True)
    other = dialer.add_session(2)
    other.send("DIAL_APP", request=1, app=2)
    answer = other.expect("DIAL_CONNECTED")
    os.close(answer.fd)
    for n in range(sent):
        assert dialer.session.recv().request == n
    other.close()


@pytest.mark.parametrize("packet", [
    b"", b"\x00", struct.pack("<H", 9999), struct.pack("<HQ", 89, 1), struct.pack("<HQIB", 89, 1, 1, 0),
    ipc.encode("DIALER_APP", app=3, host="127.0.0.1", port=1), ipc.encode("DIAL_FAILED", request=1),
    ipc.encode("WORKER_BEGIN"), ipc.encode("DIAL_SERVER", request=1) * 2])
def test_hostile_session_loses_its_channel_only(dialer, packet):
    s, port = listener()
    dialer.app(1, "127.0.0.1", port)
    hostile = dialer.add_session(66)
    if packet:
        hostile.send_packet(packet)
        hostile.expect_closed()
        violation = dialer.worker.channel.expect("WORKER_VIOLATION")
        assert violation.connection == 66 and violation.text
    else:
        hostile.close()
    answer = dialer.dial(1)
    assert answer.type == "DIAL_CONNECTED"
    os.close(answer.fd)


def test_hostile_session_with_descriptors(dialer):
    hostile = dialer.add_session(66)
    hostile.send_packet(ipc.encode("DIAL_APP", request=1, app=1), (0,))
    hostile.expect_closed()
    many = dialer.add_session(67)
    many.send_packet(ipc.encode("DIAL_APP", request=1, app=1), (0, 0, 0))
    many.expect_closed()
    assert {dialer.worker.channel.expect("WORKER_VIOLATION").connection for _ in range(2)} == {66, 67}


def test_second_server_dial_is_a_violation(dialer):
    hostile = dialer.add_session(66)
    hostile.send("DIAL_SERVER", request=1)
    hostile.send("DIAL_SERVER", request=2)
    hostile.expect_closed()
    assert dialer.worker.channel.expect("WORKER_VIOLATION").connection == 66


def test_follows_the_supervisor(dialer):
    dialer.worker.channel.close()
    assert dialer.worker.wait() == 0
