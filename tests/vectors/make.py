# SPDX-License-Identifier: Apache-2.0
"""
Makes handshake.json: a whole handshake with every random byte fixed, from the Python peer. The C state machines must
produce the same bytes (tests/unit/test_handshake_vectors.c), and this program must produce the same file again
(`make.py --check`). The keys in it are for tests; they protect nothing.

Random bytes: what the protocol draws is SHA-256("wormhole vector " + name), cut or repeated; what RSA needs inside
(PSS salt, OAEP seed) is bytes of 0xa5.
"""
import hashlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "peer"))
import handshake as hs  # noqa: E402
import pkcs1  # noqa: E402
from cryptography.hazmat.primitives import serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: E402

FIXED = b"\xa5" * 32


def draw(name, size):
    out = b""
    while len(out) < size:
        out += hashlib.sha256(f"wormhole vector {name} {len(out)}".encode()).digest()
    return out[:size]


class Client(hs.Client):
    def make_signature(self, digest):
        numbers = self.key.private_numbers()
        n = numbers.public_numbers.n
        encoded = pkcs1.emsa_pss(hs.sign_input(hs.CLIENT_POP, digest), n.bit_length() - 1, FIXED)
        return pkcs1.raw(encoded, numbers.d, n)


class Server(hs.Server):
    def wrap(self, aes_key):
        numbers = self.client_key.public_numbers()
        encoded = pkcs1.eme_oaep(aes_key, self.client_key.key_size // 8, self.t, FIXED)
        return pkcs1.raw(encoded, numbers.e, numbers.n)


def seal_key(k):
    return {"key": k.key.hex(), "iv": k.iv.hex()}


def record(session, direction, sequence, epoch, plain):
    head = bytes([hs.RECORD, epoch & 0xFF, 0, 0])
    sealed = session.traffic[direction].seal(sequence, hs.record_aad(direction, epoch, head), plain)
    return {"direction": direction, "sequence": sequence, "epoch": epoch, "plain": plain.hex(), "wire": (head + sealed).hex()}


def handshake():
    key = serialization.load_pem_private_key((HERE / "client_rsa.pem").read_bytes(), None)
    seed = draw("server identity", 32)
    server = Server(ed25519.Ed25519PrivateKey.from_private_bytes(seed), max_record=16384, draw=draw)
    client = Client(key, name="edge-1", slot=2, instance=draw("instance", 16), max_record=32768, draw=draw)
    messages = {"server_hello": server.start()}
    messages["client_hello"], = client.receive(messages["server_hello"])
    server.receive(messages["client_hello"])
    messages["pending_600"] = server.make_pending(600)
    messages["pending_590"] = server.make_pending(590)
    messages["grant"], messages["server_finished"] = server.make_grant()
    for name in ("pending_600", "pending_590", "grant"):
        client.receive(messages[name])
    messages["client_finished"], = client.receive(messages["server_finished"])
    server.receive(messages["client_finished"])
    assert client.t == server.t and client.done and server.done

    # Declined at the same place as the first PENDING.
    other = Server(server.identity, max_record=16384, draw=draw)
    other.start()
    other.receive(messages["client_hello"])
    messages["declined"] = other.make_declined(2, 3600)

    names = ("server share", "server nonce", "client share", "client nonce", "request", "aes key", "instance")
    return {
        "what": "one handshake of suite 1 with fixed randomness; docs/protocol.md",
        "library_random": FIXED[:1].hex(),
        "server_identity_seed": seed.hex(),
        "draws": {name: draw(name, 16 if name in ("request", "instance") else 32).hex() for name in names},
        "client": {"name": "edge-1", "slot": 2, "max_record": 32768},
        "server": {"max_record": 16384},
        "agreed_max_record": client.agreed_record,
        "server_fingerprint": hs.fingerprint_text(server.fingerprint),
        "client_fingerprint": hs.fingerprint_text(client.fingerprint),
        "pairing_code": hs.pairing_code(server.fingerprint, client.fingerprint),
        "messages": {name: data.hex() for name, data in messages.items()},
        "transcript": {name.replace(" ", "_"): t.hex() for name, t in server.trace.items()},
        "shared_secret": server.shared.hex(),
        "handshake_root": server.hs.root.hex(),
        "handshake_c2s": seal_key(server.hs.keys[0]),
        "handshake_s2c": seal_key(server.hs.keys[1]),
        "master": server.session.master.hex(),
        "traffic_c2s": seal_key(server.session.traffic[0]),
        "traffic_s2c": seal_key(server.session.traffic[1]),
        "fin_c": server.session.finished[0].hex(),
        "fin_s": server.session.finished[1].hex(),
        "rekey": server.session.rekey.hex(),
        "records": [
            record(server.session, 0, 1, 0, b""),
            record(server.session, 0, 2, 0, b"hello"),
            record(server.session, 1, 1, 0, bytes(range(256)) * 4),
            record(server.session, 1, 0xFFFFFFFF, 0, b"sequence of 32 bits"),
            record(server.session, 1, 0x0123456789ABCDEF, 0, b"sequence of 64 bits"),
            record(server.session, 0, 7, 3, b"epoch 3"),
            record(server.session, 0, 7, 0x102, b"epoch 258: the header has its low byte, the additional data all of it"),
        ],
    }


def main():
    text = json.dumps(handshake(), indent=1) + "\n"
    path = HERE / "handshake.json"
    if "--check" in sys.argv:
        if path.read_text() != text:
            sys.exit("handshake.json is not what this program makes: protocol or vectors have changed")
        print("handshake.json: the same", hashlib.sha256(text.encode()).hexdigest()[:16])
    else:
        path.write_text(text)


if __name__ == "__main__":
    main()
