# SPDX-License-Identifier: Apache-2.0
"""
Writes the kept corpus of the handshake fuzzers from the vectors: one well-formed input for each path, and a few broken
ones, so that a fuzzer begins behind the first checks. Usage: crypto_corpus.py (writes below tests/fuzz/corpus).
"""
import json
import struct
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "peer"), str(HERE.parent / "vectors")]
import handshake as hs  # noqa: E402
from cryptography.hazmat.primitives import serialization  # noqa: E402

vectors = json.loads((HERE.parent / "vectors/handshake.json").read_text())
messages = {name: bytes.fromhex(text) for name, text in vectors["messages"].items()}
key = serialization.load_pem_private_key((HERE.parent / "vectors/client_rsa.pem").read_bytes(), None)
spki = hs.spki_of(key)


def put(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def proof(name=b"fuzz", record=1024, slot=0, rotation=b""):
    return hs.view(spki) + bytes([len(name)]) + name + struct.pack(">IIB", 0, record, slot) + bytes(16) + hs.view(rotation)


def hello_body(suites=b"\x01\x01", kem=b""):
    return b"\x01\x01" + suites + struct.pack(">II", 0, 4096) + b"i" * 32 + b"s" * 32 + b"n" * 32 + hs.view(kem)


known = b"wormhole known server 1\nfingerprint " + vectors["server_fingerprint"].encode() + b"\nsuite 1\n"
clear = b"\x01\x00" + b"s" * 32 + b"n" * 32 + b"\0\0"
grant = hs.view(b"w" * 256) + struct.pack(">II", 4096, 0)

for name, data in {
    "header": b"\0" + messages["grant"], "server_hello": b"\x01" + messages["server_hello"][8:],
    "server_hello_kem": b"\x01" + hello_body(b"\x02\x01\x02", bytes(1184)) + bytes(64),
    "server_hello_unknown": b"\x01" + hello_body(b"\x03\x01\x09\xff") + bytes(64),
    "client_hello": b"\x02" + messages["client_hello"][8:],
    "client_hello_kem": b"\x02\x02\x00" + b"s" * 64 + hs.view(bytes(1088)) + bytes(40),
    "client_proof": b"\x03" + proof() + bytes(256), "client_proof_rotation": b"\x03" + proof(rotation=b"x") + bytes(256),
    "pending": b"\x04" + bytes(16) + struct.pack(">IB", 600, 1), "grant": b"\x0c" + grant + bytes(64),
    "declined": b"\x14" + struct.pack(">HI", 2, 60), "rsa_key": b"\x05" + spki, "rsa_key_even": b"\x05" + spki[:288] + b"\0" + spki[289:],
    "known_server": b"\x06" + known,
}.items():
    put("fuzz_hs_message", name, data)
for name, data in {
    "raw_hello": b"\0" + messages["client_hello"], "raw_record": b"\0" + messages["client_finished"], "raw_short": b"\0\x02",
    "sealed": b"\x01" + proof() + bytes(256), "sealed_empty": b"\x01", "signed": b"\x02" + proof(),
    "signed_bad_name": b"\x02" + proof(name=b"Fuzz"), "signed_other_key": b"\x02" + proof().replace(spki[40:60], bytes(20)),
    "asked_again": b"\x03" + messages["client_hello"], "pending_record": b"\x04" + messages["client_finished"],
    "finished": b"\x05" + messages["client_finished"], "finished_reflected": b"\x05" + messages["server_finished"],
}.items():
    put("fuzz_handshake_server", name, data)
for name, data in {
    "raw_hello": b"\0\0" + messages["server_hello"], "raw_grant": b"\0\0" + messages["grant"], "raw_empty": b"\0\0",
    "hello": b"\x01\0" + hello_body(), "hello_own_identity": b"\x01\0" + hello_body(b"\x02\x01\x02", bytes(1184)),
    "pending": b"\x02\0" + bytes(16) + struct.pack(">IB", 600, 1), "grant": b"\x02\x01" + grant + bytes(64),
    "declined": b"\x02\x02" + struct.pack(">HI", 2, 60), "signed_grant": b"\x03\0" + grant, "signed_empty": b"\x03\0" + hs.view(b"") + bytes(8),
    "finished": b"\x04\0" + messages["server_finished"], "finished_short": b"\x04\0" + messages["server_finished"][:51],
}.items():
    put("fuzz_handshake_client", name, data)


def ws(first, payload):
    """One frame of a server's."""
    size = len(payload)
    return bytes([first]) + (bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size)) + payload


greeting = messages["server_hello"]
for name, data in {
    "good": b"\0" + ws(0x82, greeting), "good_after_ping": b"\0" + ws(0x89, b"p") + ws(0x82, greeting),
    "good_in_pieces": b"\0" + ws(0x02, greeting[:70]) + ws(0x80, greeting[70:]), "another": b"\x02" + ws(0x82, greeting),
    "wrong_signature": b"\0" + ws(0x82, greeting[:-1] + bytes([greeting[-1] ^ 1])), "cut": b"\0" + ws(0x82, greeting)[:60],
    "cut_lists": b"\0" + ws(0x82, hs.header(1, 2) + b"\x08\x01"), "cut_shares": b"\0" + ws(0x82, hs.header(1, 4) + b"\1\1\1\1"),
    "no_versions": b"\0" + ws(0x82, hs.header(1, 1) + b"\0"), "many_suites": b"\0" + ws(0x82, hs.header(1, len(
        hello_body(b"\x08" + bytes(range(1, 9)))) + 64) + hello_body(b"\x08" + bytes(range(1, 9))) + bytes(64)),
    "odd_kem": b"\0" + ws(0x82, hs.header(1, len(hello_body()) + 60) + hello_body() + bytes(60)),
    "other_message": b"\0" + ws(0x82, messages["grant"]), "close": b"\0" + ws(0x88, b"\x11\x93busy \x1b[2J"),
    "close_empty": b"\0" + ws(0x88, b""), "not_websocket": b"\0SSH-2.0-x\r\n", "page": b"\x01HTTP/1.1 200 OK\r\n\r\n",
    "page_404": b"\x01HTTP/1.1 404 Not Found\n", "page_odd": b"\x01HTTP/1.1\0\n", "page_long": b"\x01" + b"x" * 200 + b"\n",
}.items():
    put("fuzz_probe", name, data)
