# SPDX-License-Identifier: Apache-2.0
"""
As much of RFC 6455 as a tunnel needs, both sides, over a blocking socket: the upgrade and whole binary messages. Written
for tests that need an honest end; the hostile cases of the framing have tests of their own.
"""
import base64
import hashlib
import os
import socket
import struct

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BINARY, CLOSE, PING, PONG = 2, 8, 9, 10


class Closed(Exception):
    """The other end closed: .code is the close code, or None for an end without a close frame."""

    def __init__(self, code, reason=""):
        super().__init__(f"closed: {code} {reason}")
        self.code, self.reason = code, reason


def accept_key(key):
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


class Websocket:
    def __init__(self, sock, client):
        self.sock, self.client, self.buffer = sock, client, b""

    def fill(self):
        data = self.sock.recv(65536)
        if not data:
            raise Closed(None)
        self.buffer += data

    def take(self, size):
        while len(self.buffer) < size:
            self.fill()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def head(self):
        """Everything up to the empty line, as (first line, {field: value})."""
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.split(b"\r\n")
        return first, {k.strip().lower(): v.strip() for k, v in (line.split(b":", 1) for line in lines)}

    def upgrade(self, host, path):
        """Client: asks for the tunnel; the status line must be 101."""
        key = base64.b64encode(os.urandom(16))
        self.sock.sendall(b"GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                          b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: wormhole.v1\r\n\r\n" % (path.encode(), host.encode(), key))
        first, fields = self.head()
        if not first.startswith(b"HTTP/1.1 101 "):
            raise Closed(None, first.decode())
        assert fields[b"sec-websocket-accept"] == accept_key(key)
        assert fields[b"sec-websocket-protocol"] == b"wormhole.v1"

    def answer_upgrade(self):
        """Server: answers one; returns (request line, fields)."""
        first, fields = self.head()
        self.sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
                          b"Sec-WebSocket-Protocol: wormhole.v1\r\n\r\n" % accept_key(fields[b"sec-websocket-key"]))
        return first, fields

    def send_frame(self, opcode, payload, fin=True):
        size = len(payload)
        head = bytes([(0x80 if fin else 0) | opcode])
        bit = 0x80 if self.client else 0
        if size < 126:
            head += bytes([bit | size])
        elif size < 65536:
            head += bytes([bit | 126]) + struct.pack(">H", size)
        else:
            head += bytes([bit | 127]) + struct.pack(">Q", size)
        if self.client:
            mask = os.urandom(4)
            head += mask
            payload = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
        self.sock.sendall(head + payload)

    def send(self, message):
        self.send_frame(BINARY, message)

    def frame(self):
        first, second = self.take(2)
        size = second & 0x7F
        if size == 126:
            size = struct.unpack(">H", self.take(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self.take(8))[0]
        assert bool(second & 0x80) != self.client, "masking"
        mask = self.take(4) if second & 0x80 else bytes(4)
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(self.take(size))) if any(mask) else self.take(size)
        return first & 0x80, first & 0x7F, payload

    def receive(self):
        """The next binary message; answers pings; Closed at the end."""
        message = b""
        while True:
            fin, opcode, payload = self.frame()
            if opcode == PING:
                self.send_frame(PONG, payload)
            elif opcode == CLOSE:
                code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005
                raise Closed(code, payload[2:].decode())
            elif opcode != PONG:
                message += payload
                if fin:
                    return message

    def close(self, code=1000):
        try:
            self.send_frame(CLOSE, struct.pack(">H", code))
        except OSError:
            pass
        self.sock.close()


def connect(host, port, timeout=30, source=None):
    return Websocket(socket.create_connection((host, port), timeout, (source, 0) if source else None), True)
