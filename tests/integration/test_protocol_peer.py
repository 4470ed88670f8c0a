# SPDX-License-Identifier: Apache-2.0
"""
Real `wormhole listen` and `wormhole join`, sandbox and all, over loopback against a whole tunnel end in Python: what
docs/protocol.md says is what is on the wire, in both directions, and what it forbids ends the connection.
"""
import os
import socket
import struct
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

import ipc
import tunnel
from ipc import E

sys.path.insert(0, str(ipc.ROOT / "tests/peer"))
import handshake as hs  # noqa: E402
import tunnel_end as peer  # noqa: E402
import websocket  # noqa: E402


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(65537, 2048)


def text_of(client):
    return hs.fingerprint_text(client.hs.fingerprint)


def accepted(hosts, key, **arguments):
    """A server and a Python client whose key is preapproved, connected."""
    fingerprint = hs.fingerprint_text(hs.sha256(hs.spki_of(key)))
    server = hosts.server("--preapproved", fingerprint + "=edge1")
    client = peer.PeerClient(server.port, key, **arguments)
    client.greet()
    client.finish()
    return server, client


# ---- the real server ----


def test_pending_accept_app_and_stream(hosts, key):
    server = hosts.server()
    client = peer.PeerClient(server.port, key, name="py-edge")
    client.greet()
    client.step()
    assert client.hs.pending and 0 < client.hs.pending[1] <= 600
    (request,) = tunnel.wait(server.requests, "the request")
    assert request["fingerprint"] == text_of(client) and request["name"] == "py-edge"
    assert request["pairing_code"] == hs.pairing_code(client.hs.server, client.hs.fingerprint)
    server.cli("requests", "accept", text_of(client))
    client.finish()
    code, endpoint = client.expose(7, b"web")
    assert code == 0
    host, port = endpoint.rsplit(":", 1)
    assert int(port) == server.app_port("py-edge", "web")

    with tunnel.connect(int(port)) as caller:
        caller.sendall(b"hello through the tunnel")
        _, _, stream, payload = client.records.next(peer.OPEN)
        app, window = struct.unpack_from(">IQ", payload)
        assert app == 7 and window > 0 and stream % 2 == 0
        assert payload[12:28] == bytes(10) + b"\xff\xff" + socket.inet_aton("127.0.0.1")
        assert struct.unpack(">H", payload[28:])[0] == caller.getsockname()[1]
        client.records.send(peer.frame(peer.OPEN_OK, stream, struct.pack(">Q", 65536)))
        caller.shutdown(socket.SHUT_WR)
        assert client.records.stream_data(stream) == b"hello through the tunnel"
        client.records.send(peer.frame(peer.DATA, stream, b"and "), peer.frame(peer.DATA, stream, b"back", peer.FIN))
        assert tunnel.receive_all(caller) == b"and back"

    client.records.send(peer.frame(peer.PING, 0, b"12345678"))
    assert client.records.next(peer.PONG)[3] == b"12345678"
    client.records.send(peer.frame(peer.CLOSE_NOTIFY))
    with pytest.raises(websocket.Closed):
        while True:
            client.records.receive()


def test_declined(hosts, key):
    server = hosts.server()
    client = peer.PeerClient(server.port, key)
    client.greet()
    client.step()
    tunnel.wait(server.requests, "the request")
    server.cli("requests", "decline", text_of(client))
    with pytest.raises(hs.WasDeclined) as declined:
        while True:
            client.step()
    assert declined.value.code == E.REFUSAL_DECLINED
    with pytest.raises(websocket.Closed) as closed:
        client.ws.receive()
    assert closed.value.code == 4403
    again = peer.PeerClient(server.port, key)
    again.greet()
    with pytest.raises(hs.WasDeclined):  # remembered: nobody is asked a second time
        again.step()
    assert server.requests() == []



@pytest.mark.parametrize("what", ["drop", "repeat", "reorder", "reflect", "flip type", "flip epoch", "flip reserved", "flip body",
                                  "flip tag", "sequence 0 again", "empty", "short", "other direction", "text", "handshake message"])
def test_broken_records_end_the_connection(hosts, key, what):
    server, client = accepted(hosts, key)
    r = client.records
    ping = peer.frame(peer.PING, 0, b"liveness")
    r.send(ping)
    r.next(peer.PONG)  # all is well so far
    flip = {"flip type": 0, "flip epoch": 1, "flip reserved": 3, "flip body": 5, "flip tag": -1}
    if what == "drop":
        r.sequence[0] += 1
        r.send(ping)
    elif what == "repeat":
        record = r.seal(ping)
        client.ws.send(record)
        client.ws.send(record)
    elif what == "reorder":
        client.ws.send(r.seal(ping, r.sequence[0] + 1))
        client.ws.send(r.seal(ping))
    elif what == "reflect":
        client.ws.send(hs.RECORD0 + r.session.traffic[hs.S2C].seal(1, hs.record_aad(hs.S2C, 0, hs.RECORD0), ping))
    elif what in flip:
        record = bytearray(r.seal(ping))
        record[flip[what]] ^= 1
        client.ws.send(bytes(record))
    elif what == "sequence 0 again":
        client.ws.send(r.seal(ping, 0))
    elif what == "empty":
        client.ws.send(b"")
    elif what == "short":
        client.ws.send(r.seal(ping)[:19])
    elif what == "other direction":
        client.ws.send(hs.RECORD0 + r.session.traffic[hs.C2S].seal(r.sequence[0], hs.record_aad(hs.S2C, 0, hs.RECORD0), ping))
    elif what == "text":
        client.ws.send_frame(1, r.seal(ping))
    elif what == "handshake message":
        client.ws.send(hs.header(hs.CLIENT_HELLO, 0))
    with pytest.raises(websocket.Closed):
        while True:  # what was on its way before, at most one PONG for a good record, then the end
            client.ws.receive()
    tunnel.wait(lambda: not server.processes("session"), "the session's end")
    assert server.processes("crypto")[0]["restarts"] == 0


def test_flipped_handshake_bytes_over_the_network(hosts, key):
    """Some of them; tests/integration/test_crypto_server.py flips every one. The server lives and serves the next."""
    server = hosts.server("--max-startups", "1000:30:2000", "--max-half-open-per-source", "1000")
    for position in (0, 1, 2, 4, 7, 8, 9, 10, 41, 42, 75, 76, 100, 400, 700):
        client = peer.PeerClient(server.port, key)
        (hello,) = client.hs.receive(client.ws.receive())
        broken = bytearray(hello)
        broken[position % len(broken)] ^= 0x80
        client.ws.send(bytes(broken))
        with pytest.raises(websocket.Closed) as closed:
            client.ws.receive()
        assert closed.value.code == 4400, position
    client = peer.PeerClient(server.port, key)
    client.greet()
    client.step()
    assert client.hs.pending


def test_record_before_client_finished(hosts, key):
    """Records behind CLIENT_FINISHED are fine at once; instead of it they are not."""
    server, client = accepted(hosts, key)
    client.close()
    client = peer.PeerClient(server.port, key)
    client.greet()
    client.hs.receive(client.ws.receive())  # GRANT
    client.hs.receive(client.ws.receive())  # SERVER_FINISHED; the answer is kept back
    r = peer.Records(client.ws, client.hs.session, hs.C2S)
    r.send(peer.settings())
    with pytest.raises(websocket.Closed) as closed:
        client.ws.receive()
    assert closed.value.code == 4400


def test_records_in_the_same_segment_as_client_finished(hosts, key):
    server, client = accepted(hosts, key)
    client.close()
    client = peer.PeerClient(server.port, key)
    client.greet()
    client.hs.receive(client.ws.receive())
    (finished,) = client.hs.receive(client.ws.receive())
    r = peer.Records(client.ws, client.hs.session, hs.C2S)
    sent = []
    client.ws.sock, real = type("Collect", (), {"sendall": lambda self, data: sent.append(data)})(), client.ws.sock
    client.ws.send(finished)
    r.send(peer.settings())
    r.send(peer.frame(peer.PING, 0, b"together"))
    client.ws.sock = real
    real.sendall(b"".join(sent))
    assert r.next(peer.PONG)[3] == b"together"


def test_takeover_by_the_same_slot(hosts, key):
    """A client that comes back takes over at once from its dead predecessor."""
    server, first = accepted(hosts, key)
    second = peer.PeerClient(server.port, key)
    second.hs.instance = first.hs.instance
    second.greet()
    second.finish()
    with pytest.raises(websocket.Closed):
        while True:
            first.records.receive()
    second.records.send(peer.frame(peer.PING, 0, b"mine now"))
    assert second.records.next(peer.PONG)[3] == b"mine now"


# ---- the real client ----


def test_real_client_pending_accept_and_stream(hosts):
    backend = hosts.backend(tunnel.echo)
    server = peer.PeerServer()
    client = hosts.client(None, url=server.url, apps={"echo": backend.port}, name="c-edge")
    end = server.accept()
    assert end.request == b"GET /wh/tunnel HTTP/1.1" and b"origin" not in end.fields
    end.greet()
    assert end.hs.name == "c-edge" and hs.fingerprint_text(end.hs.client_fingerprint) == client.fingerprint
    end.ws.send(end.hs.make_pending(600))
    client.wait_waiting()
    assert hs.pairing_code(end.hs.fingerprint, end.hs.client_fingerprint) in client.log()
    known = os.path.join(client.state, "keys", "known_server")
    assert not os.path.exists(known)
    end.grant()
    client.wait_connected()
    assert hs.fingerprint_text(end.hs.fingerprint) in open(known).read()

    _, _, _, payload = end.records.next(peer.APP_ADD)
    app = struct.unpack_from(">I", payload)[0]
    assert payload[7:7 + payload[6]] == b"echo"
    end.records.send(peer.frame(peer.APP_ACK, 0, struct.pack(">IH", app, 0) + peer.text(b"127.0.0.1:9") + peer.text(b"")))
    end.records.send(peer.frame(peer.OPEN, 2, struct.pack(">IQ", app, 65536) + bytes(16) + struct.pack(">H", 1)),
                     peer.frame(peer.DATA, 2, b"first data goes with OPEN"))
    kind, _, stream, _ = end.records.next(peer.OPEN_OK, peer.OPEN_FAIL)
    assert (kind, stream) == (peer.OPEN_OK, 2)
    end.records.send(peer.frame(peer.DATA, 2, b", and more", peer.FIN))
    assert end.records.stream_data(2) == b"first data goes with OPEN, and more"
    end.records.send(peer.frame(peer.OPEN, 4, struct.pack(">IQ", app + 99, 65536) + bytes(16) + struct.pack(">H", 1)))
    kind, _, stream, payload = end.records.next(peer.OPEN_FAIL)  # an app that the client does not offer
    assert stream == 4 and struct.unpack_from(">H", payload)[0] == E.DIAL_UNKNOWN_APP
    server.close()


def test_real_client_refuses_another_server(hosts):
    server, identity = peer.PeerServer(), hs.Server().identity
    client = hosts.client(None, url=server.url, apps={})
    end = server.accept(hs.Server(identity))
    end.greet()
    end.grant()
    client.wait_connected()
    end.close()
    impostor = server.accept()
    impostor.ws.send(impostor.hs.start())
    with pytest.raises((websocket.Closed, ConnectionError)):
        impostor.ws.receive()  # and no CLIENT_HELLO: it does not even learn our key
    client.wait_log(r"the one that was approved before is")
    end = server.accept(hs.Server(identity))  # it goes on trying, and finds the right one again
    end.greet()
    end.grant()
    client.wait_connected(2)
    server.close()


def test_real_client_pinned(hosts):
    server, identity = peer.PeerServer(), hs.Server().identity
    right = hs.Server(identity)
    client = hosts.client(None, "--server-fingerprint", hs.fingerprint_text(right.fingerprint), url=server.url, apps={})
    impostor = server.accept()
    impostor.ws.send(impostor.hs.start())
    with pytest.raises((websocket.Closed, ConnectionError)):
        impostor.ws.receive()
    client.wait_log(r"--server-fingerprint")
    end = server.accept(right)
    end.greet()
    end.grant()
    client.wait_connected()
    server.close()


def test_real_client_against_a_lying_server(hosts):
    """Garbage for each message of the server in turn: the client refuses, comes back, and nothing is remembered."""
    server = peer.PeerServer()
    client = hosts.client(None, url=server.url, apps={})
    known = os.path.join(client.state, "keys", "known_server")
    for stage in range(4):
        end = server.accept()
        if stage == 0:
            end.ws.send(b"\x01\x01\0\0\0\0\0\x01?")
        else:
            end.greet()
            messages = [end.hs.make_pending()] if stage == 1 else end.hs.make_grant()
            broken = bytearray(messages[-1] if stage != 2 else messages[0])
            broken[-1] ^= 1
            if stage == 3:
                end.ws.send(messages[0])
            end.ws.send(bytes(broken))
        with pytest.raises((websocket.Closed, ConnectionError)):
            while True:
                end.ws.receive()
        assert not os.path.exists(known)
    end = server.accept()
    end.greet()
    end.grant()
    client.wait_connected()
    server.close()
