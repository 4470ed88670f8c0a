# SPDX-License-Identifier: Apache-2.0
"""
The handshake of docs/protocol.md from its text alone, with Debian's python3-cryptography: both ends, without I/O.
Independent of the C code on purpose: nothing here may be generated from it or call it. Secrets are not wiped;
this is for tests only.

Randomness comes from `draw(name, size)`, so that vectors are reproducible and tests can cheat.
"""
import base64
import hashlib
import hmac
import os
import struct

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SERVER_HELLO, CLIENT_HELLO, PENDING, GRANT, DECLINED, RECORD = 1, 2, 3, 4, 5, 0x20
SUITE_X25519, SUITE_HYBRID = 1, 2
C2S, S2C = 0, 1
MESSAGE_MAX = 8192
CLIENT_POP, SERVER_HELLO_LABEL, SERVER_GRANT = b"wormhole/1 client pop", b"wormhole/1 server hello", b"wormhole/1 server grant"
RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)


class Refused(Exception):
    """The other end broke the protocol, or is not who it should be."""


class WasDeclined(Refused):
    def __init__(self, code, retry_after):
        super().__init__(f"declined, code {code}, retry after {retry_after} s")
        self.code, self.retry_after = code, retry_after


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def hmac256(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf_extract(salt, ikm):
    return hmac256(salt, ikm)


def hkdf_expand(prk, info, size):
    out, block, i = b"", b"", 1
    while len(out) < size:
        block = hmac256(prk, block + info + bytes([i]))
        out += block
        i += 1
    return out[:size]


def sign_input(label, digest):
    return b" " * 64 + label + b"\0" + digest


def nonce(iv, sequence):
    tail = int.from_bytes(iv[4:], "big") ^ sequence
    return iv[:4] + tail.to_bytes(8, "big")


def fingerprint_text(digest):
    return "SHA256:" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def ed25519_spki(public):
    return bytes.fromhex("302a300506032b6570032100") + public


def pairing_code(server, client):
    text = base64.b32encode(sha256(b"wormhole/1 pairing\0", server, client)[:10]).decode()
    return "-".join(text[i:i + 4] for i in range(0, 16, 4))


def spki_of(key):
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)


def oaep(label):
    return padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=label)


def header(kind, length):
    return struct.pack(">BBHI", kind, 1, 0, length)


def split(message):
    """(type, header, body); Refused unless it is one well-formed message."""
    if not 8 <= len(message) <= MESSAGE_MAX:
        raise Refused("size of a message")
    kind, version, flags, length = struct.unpack_from(">BBHI", message)
    if version != 1 or flags != 0 or length != len(message) - 8:
        raise Refused("header")
    return kind, message[:8], message[8:]


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        if self.at + size > len(self.data):
            raise Refused("short message")
        self.at += size
        return self.data[self.at - size:self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "big")

    def view(self):
        return self.take(self.number(2))

    def end(self):
        if self.at != len(self.data):
            raise Refused("long message")


def view(data):
    return struct.pack(">H", len(data)) + data


def random_draw(name, size):
    return os.urandom(size)


class SealKey:
    def __init__(self, secret, label, t):
        both = hkdf_expand(secret, label + t, 44)
        self.key, self.iv = both[:32], both[32:]
        self.aead = AESGCM(self.key)

    def seal(self, sequence, aad, plain):
        return self.aead.encrypt(nonce(self.iv, sequence), plain, aad)

    def open(self, sequence, aad, sealed):
        try:
            return self.aead.decrypt(nonce(self.iv, sequence), sealed, aad)
        except InvalidTag:
            raise Refused("tag") from None


class HandshakeSecrets:
    def __init__(self, tc, shared):
        self.root = hkdf_extract(tc, shared)
        self.keys = [SealKey(self.root, b"wh1 hs c2s", tc), SealKey(self.root, b"wh1 hs s2c", tc)]
        self.sequence = [0, 0]


class SessionSecrets:
    def __init__(self, root, tg, aes_key):
        self.master = hkdf_extract(hkdf_expand(root, b"wh1 derived" + tg, 32), aes_key)
        self.traffic = [SealKey(self.master, b"wh1 ap c2s", tg), SealKey(self.master, b"wh1 ap s2c", tg)]
        self.finished = [hkdf_expand(self.master, b"wh1 fin c" + tg, 32), hkdf_expand(self.master, b"wh1 fin s" + tg, 32)]
        self.rekey = hkdf_expand(self.master, b"wh1 rekey" + tg, 32)


def record_aad(direction, epoch, record_header):
    return b"WH1" + bytes([direction]) + struct.pack(">I", epoch) + record_header


RECORD0 = bytes([RECORD, 0, 0, 0])


class End:
    """What both ends share: the transcript, sealing, FINISHED."""

    def __init__(self, draw=random_draw):
        self.draw = draw
        self.t = sha256(b"wormhole/1\0")
        self.trace = {"start": self.t}  # the transcript after each step, for vectors
        self.hs = self.session = None

    def peek(self, *parts):
        return sha256(self.t, *parts)

    def add(self, name, *parts):
        self.t = self.peek(*parts)
        self.trace[name] = self.t

    def finished_seal(self, direction):
        mac = hmac256(self.session.finished[direction], self.t)
        record = RECORD0 + self.session.traffic[direction].seal(0, record_aad(direction, 0, RECORD0), mac)
        self.add("finished " + "cs"[direction], RECORD0, mac)
        return record

    def finished_open(self, direction, record):
        if len(record) != 52 or record[:4] != RECORD0:
            raise Refused("FINISHED has a wrong form")
        mac = self.session.traffic[direction].open(0, record_aad(direction, 0, RECORD0), record[4:])
        if not hmac.compare_digest(mac, hmac256(self.session.finished[direction], self.t)):
            raise Refused("FINISHED has a wrong MAC")
        self.add("finished " + "cs"[direction], RECORD0, mac)


class Client(End):
    """
    The client's end. receive(message) returns the messages to send; done, pending and the session keys tell the rest.
    expected: the server's fingerprint (32 bytes) or None.
    """

    def __init__(self, key, name="edge1", expected=None, slot=0, instance=bytes(16), max_record=32768, draw=random_draw):
        super().__init__(draw)
        self.key, self.name, self.expected, self.slot = key, name.encode(), expected, slot
        self.instance, self.max_record = instance, max_record
        self.spki = spki_of(key) if key is not None else b""
        self.state, self.done, self.pending, self.server = "hello", False, None, None
        self.agreed_record = None

    @property
    def fingerprint(self):
        return sha256(self.spki)

    # The parts that hostile tests replace.
    def make_signature(self, digest):
        return self.key.sign(sign_input(CLIENT_POP, digest), PSS, hashes.SHA256())

    def signature_size(self):
        return self.key.key_size // 8

    def pick_suite(self, suites):
        if SUITE_X25519 not in suites:
            raise Refused("no common suite")
        return SUITE_X25519

    def receive(self, message):
        if self.state == "finished":
            self.finished_open(S2C, message)
            self.state, self.done = "open", True
            return [self.finished_seal(C2S)]
        kind, head, body = split(message)
        if self.state == "hello" and kind == SERVER_HELLO:
            return self.on_server_hello(head, body)
        if self.state == "verdict" and kind in (PENDING, GRANT, DECLINED):
            plain = self.hs.keys[S2C].open(self.hs.sequence[S2C], self.peek(head), body)
            self.hs.sequence[S2C] += 1
            {PENDING: self.on_pending, GRANT: self.on_grant, DECLINED: self.on_declined}[kind](head, plain)
            return []
        raise Refused(f"message {kind} in state {self.state}")

    def on_server_hello(self, head, body):
        c = Cursor(body)
        versions, suites = c.take(c.number(1)), list(c.take(c.number(1)))
        self.server_capabilities, self.server_record = c.number(4), c.number(4)
        self.identity, share, server_nonce = c.take(32), c.take(32), c.take(32)
        kem = c.view()
        unsigned = c.at
        signature = c.take(64)
        c.end()
        if 1 not in versions or len(kem) != (1184 if SUITE_HYBRID in suites else 0):
            raise Refused("SERVER_HELLO")
        try:
            ed25519.Ed25519PublicKey.from_public_bytes(self.identity).verify(
                signature, sign_input(SERVER_HELLO_LABEL, self.peek(head, body[:unsigned])))
        except InvalidSignature:
            raise Refused("signature of SERVER_HELLO") from None
        self.server = sha256(ed25519_spki(self.identity))
        if self.expected is not None and self.server != self.expected:
            raise Refused("another server")
        self.add("server hello", head, body)
        return [self.make_hello(self.pick_suite(suites), share)]

    def make_clear(self, suite, own_share):
        return bytes([suite, 0]) + own_share + self.draw("client nonce", 32) + view(b"")

    def make_proof(self):
        return (view(self.spki) + bytes([len(self.name)]) + self.name + struct.pack(">IIB", 0, self.max_record, self.slot)
                + self.instance + view(b""))

    def make_hello(self, suite, share):
        private = x25519.X25519PrivateKey.from_private_bytes(self.draw("client share", 32))
        self.shared = private.exchange(x25519.X25519PublicKey.from_public_bytes(share))
        clear = self.make_clear(suite, private.public_key().public_bytes(*RAW))
        proof = self.make_proof()
        head = header(CLIENT_HELLO, len(clear) + len(proof) + self.signature_size() + 16)
        tc = self.peek(head, clear)
        self.trace["Tc"] = tc
        self.hs = HandshakeSecrets(tc, self.shared)
        self.signature = self.make_signature(self.peek(head, clear, proof))
        plain = proof + self.signature
        self.add("client hello", head, clear, plain)
        self.hs.sequence[C2S] = 1
        self.state = "verdict"
        return head + clear + self.hs.keys[C2S].seal(0, tc, plain)

    def on_pending(self, head, plain):
        c = Cursor(plain)
        request, ttl, state = c.take(16), c.number(4), c.number(1)
        c.end()
        if state != 1 or (self.pending and self.pending[0] != request):
            raise Refused("PENDING")
        self.pending = (request, ttl)
        self.add("pending", head, plain)

    def on_declined(self, head, plain):
        c = Cursor(plain)
        code, retry = c.number(2), c.number(4)
        c.end()
        raise WasDeclined(code, retry)

    def on_grant(self, head, plain):
        c = Cursor(plain)
        wrapped = c.view()
        record, capabilities = c.number(4), c.number(4)
        unsigned = c.at
        signature = c.take(64)
        c.end()
        try:
            ed25519.Ed25519PublicKey.from_public_bytes(self.identity).verify(
                signature, sign_input(SERVER_GRANT, self.peek(head, plain[:unsigned])))
        except InvalidSignature:
            raise Refused("signature of GRANT") from None
        if record != min(self.max_record, self.server_record) or capabilities != 0:
            raise Refused("parameters of GRANT")
        try:
            aes_key = self.key.decrypt(wrapped, oaep(self.t))
        except ValueError:
            raise Refused("wrapped key") from None
        if len(aes_key) != 32:
            raise Refused("wrapped key")
        self.aes_key, self.agreed_record = aes_key, record
        self.add("grant", head, plain)
        self.session = SessionSecrets(self.hs.root, self.t, aes_key)
        self.state = "finished"


class Server(End):
    """The server's end. start() gives SERVER_HELLO; receive() checks CLIENT_HELLO and CLIENT_FINISHED."""

    def __init__(self, identity=None, max_record=32768, draw=random_draw, suites=(SUITE_X25519,)):
        super().__init__(draw)
        self.identity = identity or ed25519.Ed25519PrivateKey.generate()
        self.public = self.identity.public_key().public_bytes(*RAW)
        self.max_record, self.suites = max_record, bytes(suites)
        self.state, self.done = "idle", False

    @property
    def fingerprint(self):
        return sha256(ed25519_spki(self.public))

    def make_hello_body(self, share):
        return (b"\x01\x01" + bytes([len(self.suites)]) + self.suites + struct.pack(">II", 0, self.max_record)
                + self.public + share + self.draw("server nonce", 32) + view(b""))

    def sign(self, label, digest):
        return self.identity.sign(sign_input(label, digest))

    def start(self):
        self.private = x25519.X25519PrivateKey.from_private_bytes(self.draw("server share", 32))
        body = self.make_hello_body(self.private.public_key().public_bytes(*RAW))
        head = header(SERVER_HELLO, len(body) + 64)
        body += self.sign(SERVER_HELLO_LABEL, self.peek(head, body))
        self.add("server hello", head, body)
        self.state = "hello"
        return head + body

    def receive(self, message):
        if self.state == "finished":
            self.finished_open(C2S, message)
            self.state, self.done = "open", True
            return
        kind, head, body = split(message)
        if self.state != "hello" or kind != CLIENT_HELLO:
            raise Refused(f"message {kind} in state {self.state}")
        c = Cursor(body)
        suite, reserved, share, _ = c.number(1), c.number(1), c.take(32), c.take(32)
        kem = c.view()
        if suite not in self.suites or reserved != 0 or kem:
            raise Refused("CLIENT_HELLO")
        clear, sealed = body[:c.at], body[c.at:]
        tc = self.peek(head, clear)
        self.trace["Tc"] = tc
        self.shared = self.private.exchange(x25519.X25519PublicKey.from_public_bytes(share))
        self.hs = HandshakeSecrets(tc, self.shared)
        plain = self.hs.keys[C2S].open(0, tc, sealed)
        self.hs.sequence[C2S] = 1
        c = Cursor(plain)
        self.spki = c.view()
        self.name = c.take(c.number(1)).decode()
        self.client_capabilities, self.client_record, self.slot = c.number(4), c.number(4), c.number(1)
        self.instance = c.take(16)
        if c.view():
            raise Refused("rotation")
        signature = plain[c.at:]
        self.client_key = serialization.load_der_public_key(self.spki)
        if not isinstance(self.client_key, rsa.RSAPublicKey) or self.client_key.key_size not in (2048, 3072, 4096) \
                or self.client_key.public_numbers().e != 65537:
            raise Refused("RSA key")
        try:
            self.client_key.verify(signature, sign_input(CLIENT_POP, self.peek(head, clear, plain[:c.at])), PSS,
                                   hashes.SHA256())
        except InvalidSignature:
            raise Refused("proof of possession") from None
        self.add("client hello", head, clear, plain)
        self.state = "verdict"

    @property
    def client_fingerprint(self):
        return sha256(self.spki)

    def seal(self, kind, name, plain):
        head = header(kind, len(plain) + 16)
        message = head + self.hs.keys[S2C].seal(self.hs.sequence[S2C], self.peek(head), plain)
        self.hs.sequence[S2C] += 1
        self.add(name, head, plain)
        return message

    def make_pending(self, ttl=600, request=None):
        if not hasattr(self, "request"):
            self.request = self.draw("request", 16)
        return self.seal(PENDING, "pending", (request or self.request) + struct.pack(">IB", ttl, 1))

    def make_declined(self, code=1, retry_after=0):
        return self.seal(DECLINED, "declined", struct.pack(">HI", code, retry_after))

    def wrap(self, aes_key):
        return self.client_key.encrypt(aes_key, oaep(self.t))

    def make_grant(self):
        """[GRANT, SERVER_FINISHED]."""
        self.aes_key = self.draw("aes key", 32)
        plain = view(self.wrap(self.aes_key)) + struct.pack(">II", min(self.max_record, self.client_record), 0)
        head = header(GRANT, len(plain) + 64 + 16)
        plain += self.sign(SERVER_GRANT, self.peek(head, plain))
        message = self.seal(GRANT, "grant", plain)
        self.session = SessionSecrets(self.hs.root, self.t, self.aes_key)
        self.state = "finished"
        return [message, self.finished_seal(S2C)]
