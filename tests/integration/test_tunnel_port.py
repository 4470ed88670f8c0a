# SPDX-License-Identifier: Apache-2.0
"""
What stands on the tunnel port, seen by strangers: exact HTTP answers, websocket rules, deadlines. Each is thrown out
alone; afterwards a real client still gets in. Cryptography is not its business, tests/peer is.
"""
import os
import socket
import struct

import pytest

from tunnel import echo, exchange

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
GOOD = {
    "Host": "server",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "wormhole.v1",
}


def head(line="GET /wh/tunnel HTTP/1.1", **changes):
    fields = dict(GOOD)
    for name, value in changes.items():
        fields[name.replace("_", "-")] = value
    return "".join([line + "\r\n", *(f"{k}: {v}\r\n" for k, v in fields.items() if v is not None), "\r\n"]).encode()


class Stranger:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def take(self, n):
        while len(self.buffer) < n:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError(self.buffer)
            self.buffer += more
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def answer(self):
        """Status and all the text until the server closes, or the head of a 101."""
        text = b""
        while b"\r\n\r\n" not in text:
            text += self.take(1)
        status = int(text.split()[1])
        if status != 101:
            try:
                while True:
                    text += self.take(1)
            except EOFError:
                pass
        return status, text.decode()

    def frame(self):
        """One frame of the server's: (first byte, payload)."""
        first, length = self.take(2)
        assert length < 128, "a server must not mask"
        if length == 126:
            length = struct.unpack(">H", self.take(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self.take(8))[0]
        return first, self.take(length)

    def upgrade(self):
        self.send(head())
        status, text = self.answer()
        assert status == 101 and f"Sec-WebSocket-Accept: {ACCEPT}" in text
        first, hello = self.frame()
        assert first == 0x82 and hello[0] == 1  # SERVER_HELLO
        return self

    def until_close(self):
        """The code of the websocket close, if one comes, and that the connection ends."""
        code = None
        try:
            while True:
                first, payload = self.frame()
                if first == 0x88:
                    code = struct.unpack(">H", payload[:2])[0] if payload else 0
        except (EOFError, ConnectionError):
            return code


def masked(first, payload, length=None):
    mask = os.urandom(4)
    size = len(payload) if length is None else length
    if size < 126:
        start = struct.pack(">BB", first, 0x80 | size)
    elif size < 65536:
        start = struct.pack(">BBH", first, 0x80 | 126, size)
    else:
        start = struct.pack(">BBQ", first, 0x80 | 127, size)
    return start + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


@pytest.fixture
def server(hosts):
    """One that these tests do not run into the limits of: strangers all come from one address."""
    return hosts.server("--max-startups", "100:30:200", "--max-half-open-per-source", "200")


def still_works(hosts, server):
    client = hosts.client(server, apps={"echo": hosts.backend(echo).port})
    server.accept(client)
    client.wait_connected()
    assert exchange(server.app_port("edge1", "echo"), b"hello") == b"hello"


def test_exact_http_answers(hosts, server):
    cases = [
        (head("GET / HTTP/1.1"), 404),
        (head("GET /wh/tunnel/x HTTP/1.1"), 404),
        (head(Upgrade=None, Connection=None), 426),
        (head(Sec_WebSocket_Version="8"), 426),
        (head(Origin="http://evil.example"), 403),
        (head(Sec_WebSocket_Protocol=None), 400),
        (head(Sec_WebSocket_Protocol="wormhole.v9"), 400),
        (head(Sec_WebSocket_Key="short"), 400),
        (head("POST /wh/tunnel HTTP/1.1"), 400),
        (head("GET /wh/tunnel HTTP/1.0"), 400),
        (head(Content_Length="5") + b"hello", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (head(X="a" * 9000), 431),
    ]
    for request, expected in cases:
        with Stranger(server.port) as s:
            s.send(request)
            status, text = s.answer()
            assert status == expected, (request[:80], text)
            if expected == 426:
                assert "Upgrade: websocket" in text and "Sec-WebSocket-Version: 13" in text
    still_works(hosts, server)


def test_head_in_single_bytes(server):
    with Stranger(server.port) as s:
        for byte in head():
            s.send(bytes([byte]))
        assert s.answer()[0] == 101
        assert s.frame()[0] == 0x82


def test_websocket_rules(hosts, server):
    cases = [
        (b"\x82\x03abc", 1002),  # not masked
        (masked(0x81, b"text"), 1003),
        (masked(0xc2, b"x"), 1002),  # reserved bit
        (masked(0x83, b"x"), 1002),  # unknown opcode
        (masked(0x80, b"x"), 1002),  # continuation of nothing
        (masked(0x09, b"x"), 1002),  # fragmented ping
        (masked(0x89, b"x" * 126), 1002),
        (masked(0x82, b"", length=1 << 40), 1009),
        (masked(0x82, b"", length=8193), 1009),
        (masked(0x02, b"x" * 8000) + masked(0x80, b"x" * 8000), 1009),
        (masked(0x88, b"\x03"), 1002),
        (masked(0x88, b"\x03\xed"), 1002),
        (masked(0x88, b"\x03\xe8\xff\xff"), 1007),
        (masked(0x88, b"\x0f\xa0bye"), 4000),  # answered with the same code
        (masked(0x82, b""), 4400),
        (masked(0x82, b"\x02" + os.urandom(500)), 4400),  # not a handshake message
        (masked(0x82, b"\x20\x00\x00\x00" + os.urandom(500)), 4400),  # a record before its time
        (masked(0x82, os.urandom(8192)), 4400),
    ]
    for data, code in cases:
        with Stranger(server.port) as s:
            s.upgrade().send(data)
            assert s.until_close() == code, data[:20]
    still_works(hosts, server)


def test_ping_is_answered_and_fragments_are_joined(server):
    with Stranger(server.port) as s:
        s.upgrade().send(masked(0x89, b"are you there") + masked(0x8a, b"unasked"))
        assert s.frame() == (0x8a, b"are you there")
        s.send(masked(0x02, b"\x09") + masked(0x89, b"") + masked(0x00, b"") + masked(0x80, b"\x01\0\0\0\0\0\0"))
        assert s.frame() == (0x8a, b"")
        assert s.until_close() == 4400  # one whole message of an unknown type


def test_silence_has_a_deadline(hosts):
    server = hosts.server("--handshake-timeout", "500ms")
    for before in (b"", b"GET /wh/tunnel HTTP/1.1\r\nHost: x\r\n"):
        with Stranger(server.port) as s:
            s.send(before)
            assert s.until_close() is None
    with Stranger(server.port) as s:
        assert s.upgrade().until_close() == 4408
    still_works(hosts, server)


def test_flood_of_pings_is_bounded(hosts, server):
    """A peer that pings and never reads is not worth memory: the server goes on reading and stays small."""
    with Stranger(server.port) as s:
        s.upgrade()
        s.socket.settimeout(2)
        ping = masked(0x89, b"x" * 125) * 500
        try:
            for _ in range(500):  # 33 MB
                s.send(ping)
        except (TimeoutError, ConnectionError):
            pass
        rows = server.processes("session")
        assert all(row["rss_kib"] < 20000 for row in rows), rows
    still_works(hosts, server)
