# SPDX-License-Identifier: Apache-2.0
"""
A whole end of a tunnel in Python, client or server, on a real socket: upgrade, handshake, records and as many frames as one
stream and a ping need. It talks to real `wormhole listen` and `wormhole join` processes in tests.
"""
import os
import socket
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import handshake as hs  # noqa: E402
import websocket  # noqa: E402

(PADDING, DATA, OPEN, OPEN_OK, OPEN_FAIL, RESET, STOP_SENDING, MAX_DATA, BLOCKED) = range(9)
PING, PONG, GOAWAY, SETTINGS, CLOSE_NOTIFY = range(0x10, 0x15)
APP_ADD, APP_WITHDRAW, APP_ACK = range(0x20, 0x23)
FIN = 1


def frame(kind, stream=0, payload=b"", flags=0):
    return struct.pack(">BBHI", kind, flags, len(payload), stream) + payload


def frames_of(plain):
    """[(type, flags, stream, payload)…] of one record."""
    found = []
    while plain:
        kind, flags, size, stream = struct.unpack_from(">BBHI", plain)
        assert len(plain) >= 8 + size, "a frame is cut off"
        found.append((kind, flags, stream, plain[8:8 + size]))
        plain = plain[8 + size:]
    return found


def text(value):
    return bytes([len(value)]) + value


def app_add(app, name, service_port=80, protocol=b""):
    return frame(APP_ADD, 0, struct.pack(">IH", app, service_port) + text(name) + text(protocol))


def settings(max_streams=100, stream_window=65536, connection_window=1 << 20):
    return frame(SETTINGS, 0, b"".join(struct.pack(">HQ", i + 1, v) for i, v in
                                       enumerate((max_streams, stream_window, connection_window))))


class Records:
    """Sealed records over a websocket after the handshake; own: the direction that this end writes."""

    def __init__(self, ws, session, own):
        self.ws, self.session, self.own = ws, session, own
        self.sequence = [1, 1]
        self.waiting = []

    def seal(self, plain, sequence=None):
        sequence = self.sequence[self.own] if sequence is None else sequence
        return hs.RECORD0 + self.session.traffic[self.own].seal(sequence, hs.record_aad(self.own, 0, hs.RECORD0), plain)

    def send(self, *frames):
        self.ws.send(self.seal(b"".join(frames)))
        self.sequence[self.own] += 1

    def receive(self):
        """The frames of the next record."""
        record = self.ws.receive()
        assert record[:4] == hs.RECORD0
        other = 1 - self.own
        plain = self.session.traffic[other].open(self.sequence[other], hs.record_aad(other, 0, hs.RECORD0), record[4:])
        self.sequence[other] += 1
        return frames_of(plain)

    def next(self, *kinds):
        """The next frame of one of these types; answers pings, passes over the others."""
        while True:
            while self.waiting:
                found = self.waiting.pop(0)
                if found[0] == PING and PING not in kinds:
                    self.send(frame(PONG, 0, found[3]))
                elif found[0] in kinds:
                    return found
                elif found[0] == CLOSE_NOTIFY:
                    raise websocket.Closed(None, "CLOSE_NOTIFY")
            self.waiting = self.receive()

    def stream_data(self, stream):
        """Everything that comes on a stream until its end; window credit is given back as it comes."""
        got = b""
        while True:
            kind, flags, number, payload = self.next(DATA, RESET)
            assert number == stream and kind == DATA
            got += payload
            if flags & FIN:
                return got
            self.send(frame(MAX_DATA, 0, struct.pack(">Q", len(got) + (1 << 20))),
                      frame(MAX_DATA, stream, struct.pack(">Q", len(got) + 65536)))


class PeerClient:
    """An edge client. Parts of its handshake may be replaced: `make` makes the hs.Client."""

    def __init__(self, port, key, path="/wh/tunnel", host="127.0.0.1", make=hs.Client, source=None, **arguments):
        self.ws = websocket.connect(host, port, source=source)
        self.ws.upgrade(f"{host}:{port}", path)
        self.hs = make(key, instance=os.urandom(16), **arguments)
        self.records = None

    def greet(self):
        """SERVER_HELLO has come, CLIENT_HELLO is out."""
        for message in self.hs.receive(self.ws.receive()):
            self.ws.send(message)

    def step(self):
        """One more handshake message."""
        for message in self.hs.receive(self.ws.receive()):
            self.ws.send(message)
        if self.hs.done:
            self.records = Records(self.ws, self.hs.session, hs.C2S)

    def finish(self):
        while not self.hs.done:
            self.step()
        self.records.send(settings())

    def expose(self, app, name, **rest):
        """The endpoint that the server gave the app."""
        self.records.send(app_add(app, name, **rest))
        _, _, _, payload = self.records.next(APP_ACK)
        number, code = struct.unpack_from(">IH", payload)
        assert number == app
        endpoint = payload[7:7 + payload[6]]
        return code, endpoint.decode()

    def close(self):
        self.ws.close()


class PeerServer:
    """A listening server on a port of its own; accept() gives one PeerServerEnd per connection."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(30)
        self.port = self.socket.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/wh/tunnel"

    def accept(self, machine=None):
        sock, _ = self.socket.accept()
        sock.settimeout(30)
        return PeerServerEnd(sock, machine or hs.Server())

    def close(self):
        self.socket.close()


class PeerServerEnd:
    def __init__(self, sock, machine):
        self.ws, self.hs, self.records = websocket.Websocket(sock, False), machine, None
        self.request, self.fields = self.ws.answer_upgrade()

    def greet(self):
        self.ws.send(self.hs.start())
        self.hs.receive(self.ws.receive())

    def grant(self):
        for message in self.hs.make_grant():
            self.ws.send(message)
        self.hs.receive(self.ws.receive())
        self.records = Records(self.ws, self.hs.session, hs.S2C)
        self.records.send(settings())

    def close(self):
        self.ws.close()
