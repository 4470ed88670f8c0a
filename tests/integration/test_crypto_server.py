# SPDX-License-Identifier: Apache-2.0
"""
The real wormhole-crypto process of a server, in its sandbox, against the independent Python peer: the whole handshake,
what a hostile client can try with it, and sessions that break the rules.
"""
import os
import sys

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, x25519

import crypto_worker
import ipc
from ipc import E

sys.path.insert(0, str(ipc.ROOT / "tests/peer"))
import handshake as hs  # noqa: E402


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def server():
    # Deadlines have tests of their own; sessions that a test leaves behind must not speak up in a later one.
    with crypto_worker.Crypto(E.SIDE_SERVER, handshake_ms=600000) as crypto:
        yield crypto
        crypto.synchronise()  # it lives: nothing of all this hurt it


def hello_of(server, client):
    """A session of the real server that has been greeted, and the Python client's CLIENT_HELLO."""
    session = server.session()
    (message,) = client.receive(session.message())
    return session, message


def grant(server, client, session, message):
    """Goes through to the point where the client has all it needs for CLIENT_FINISHED."""
    session.feed(message)
    ask = server.up.expect("APPROVAL_ASK")
    server.answer(ask, E.VERDICT_APPROVED)
    assert client.receive(session.message()) == []
    return ask, client.receive(session.message())[0]


def expect_refused(server, session, code, close_code=E.CLOSE_PROTOCOL):
    failure = session.failure()
    assert (failure.code, failure.close_code) == (code, close_code)
    failed = server.up.expect("HANDSHAKE_FAILED")
    assert (failed.connection, failed.code) == (session.connection, code)
    session.close()
    return failed


# ---- the real server, a Python client ----


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_server_approves(server, bits, rsa_key):
    key = rsa_key if bits == 2048 else rsa.generate_private_key(65537, bits)
    client = hs.Client(key, name="edge-7", slot=3, instance=b"i" * 16, expected=server.identity.fingerprint,
                       max_record=16384)
    session, message = hello_of(server, client)
    ask, finished = grant(server, client, session, message)
    assert ask.fingerprint == client.fingerprint and ask.public_key == client.spki
    assert (ask.name, ask.bits, ask.slot, ask.instance, ask.suite) == ("edge-7", bits, 3, b"i" * 16, 1)
    assert ask.pairing_code == hs.pairing_code(server.identity.fingerprint, client.fingerprint)
    session.feed(finished)
    keys = session.keys()
    opened = server.up.expect("CONNECTION_OPEN")
    assert (opened.connection, opened.fingerprint, opened.suite) == (session.connection, client.fingerprint, 1)
    for direction in (hs.C2S, hs.S2C):
        k, mine = keys[direction], client.session.traffic[direction]
        assert (k.key, k.iv) == (mine.key, mine.iv)
        assert (k.epoch, k.sequence, k.max_record) == (0, 1, 16384)
    session.close()


def test_server_pending_then_accept(rsa_key):
    with crypto_worker.Crypto(E.SIDE_SERVER, heartbeat_ms=50) as server:
        client = hs.Client(rsa_key)
        session, message = hello_of(server, client)
        session.feed(message)
        ask = server.up.expect("APPROVAL_ASK")
        server.answer(ask, E.VERDICT_PENDING, ttl_s=600)
        assert session.channel.expect("HS_WAIT").ttl_s == 600
        for _ in range(4):  # at once, and then as a heartbeat
            client.receive(session.message())
        assert client.pending[0] == ask.request and 590 <= client.pending[1] <= 600
        server.answer(ask, E.VERDICT_APPROVED)
        while client.state != "finished":  # heartbeats may still be under way
            client.receive(session.message())
        session.feed(client.receive(session.message())[0])
        assert set(session.keys()) == {0, 1}
        assert server.up.expect("CONNECTION_OPEN").fingerprint == client.fingerprint


def test_server_renews_a_living_request_and_expires_an_unrenewed_one(rsa_key):
    with crypto_worker.Crypto(E.SIDE_SERVER, heartbeat_ms=100) as server:
        client = hs.Client(rsa_key)
        session, message = hello_of(server, client)
        session.feed(message)
        first = server.up.expect("APPROVAL_ASK")
        server.answer(first, E.VERDICT_PENDING, ttl_s=1)
        again = server.up.expect("APPROVAL_ASK")
        assert again.fields == first.fields
        with pytest.raises(hs.WasDeclined) as declined:
            while True:
                client.receive(session.message())
        assert declined.value.code == E.REFUSAL_EXPIRED
        expect_refused(server, session, E.END_DECLINED, E.CLOSE_BUSY)


@pytest.mark.parametrize("code,close_code", [("REFUSAL_DECLINED", "CLOSE_DECLINED"), ("REFUSAL_REVOKED", "CLOSE_DECLINED"),
                                             ("REFUSAL_BUSY", "CLOSE_BUSY")])
def test_server_declines(server, rsa_key, code, close_code):
    client = hs.Client(rsa_key)
    session, message = hello_of(server, client)
    session.feed(message)
    server.answer(server.up.expect("APPROVAL_ASK"), E.VERDICT_DECLINED, code=getattr(E, code), retry_after_s=77)
    with pytest.raises(hs.WasDeclined) as declined:
        client.receive(session.message())
    assert (declined.value.code, declined.value.retry_after) == (getattr(E, code), 77)
    expect_refused(server, session, E.END_DECLINED, getattr(E, close_code))


def test_answers_for_others_do_nothing(server, rsa_key):
    client = hs.Client(rsa_key)
    session, message = hello_of(server, client)
    session.feed(message)
    ask = server.up.expect("APPROVAL_ASK")
    server.up.send("APPROVAL_ANSWER", connection=ask.connection, fingerprint=bytes(32), verdict=E.VERDICT_APPROVED)
    server.up.send("APPROVAL_ANSWER", connection=ask.connection + 1000, fingerprint=ask.fingerprint,
                   verdict=E.VERDICT_APPROVED)
    server.up.send("APPROVAL_ANSWER", connection=ask.connection, fingerprint=ask.fingerprint, verdict=99)
    server.synchronise()
    server.answer(ask, E.VERDICT_DECLINED, code=E.REFUSAL_DECLINED)
    with pytest.raises(hs.WasDeclined):  # and not a grant
        client.receive(session.message())
    expect_refused(server, session, E.END_DECLINED, E.CLOSE_DECLINED)


def test_every_flipped_byte_of_client_hello_is_refused(server, rsa_key):
    size = len(hello_of(server, hs.Client(rsa_key))[1])
    for position in range(size):
        session, message = hello_of(server, hs.Client(rsa_key))
        broken = bytearray(message)
        broken[position] ^= 1 << (position % 8)
        session.feed(bytes(broken))
        failure = session.failure()
        assert failure.code in (E.END_PROTOCOL, E.END_BAD_KEY), position
        assert server.up.expect("HANDSHAKE_FAILED").connection == session.connection
        session.close()


def test_every_flipped_byte_of_client_finished_is_refused(server, rsa_key):
    for position in range(52):
        client = hs.Client(rsa_key)
        session, message = hello_of(server, client)
        _, finished = grant(server, client, session, message)
        broken = bytearray(finished)
        broken[position] ^= 0x10
        session.feed(bytes(broken))
        assert session.failure().code in (E.END_BAD_TAG, E.END_PROTOCOL)
        assert server.up.expect("HANDSHAKE_FAILED").connection == session.connection
        session.close()


def test_truncated_and_extended_messages(server, rsa_key):
    size = len(hello_of(server, hs.Client(rsa_key))[1])
    for length in list(range(0, size, 37)) + [1, 7, 8, 9, size - 1, size + 1, 8192]:
        session, message = hello_of(server, hs.Client(rsa_key))
        session.feed((message + bytes(8192))[:length])
        assert session.failure().code == E.END_PROTOCOL
        assert server.up.expect("HANDSHAKE_FAILED").connection == session.connection
        session.close()


def test_nothing_else_is_accepted_in_any_state(server, rsa_key):
    def stranger(kind):
        return hs.header(kind, 32) + bytes(32)

    for kind in (0, 1, 3, 4, 5, 6, 0x20, 255):
        session, _ = hello_of(server, hs.Client(rsa_key))
        session.feed(stranger(kind))
        expect_refused(server, session, E.END_PROTOCOL)
        for verdict in (None, E.VERDICT_PENDING):
            session, message = hello_of(server, hs.Client(rsa_key))
            session.feed(message)
            ask = server.up.expect("APPROVAL_ASK")
            if verdict:
                server.answer(ask, verdict)
                session.message()
            session.feed(stranger(kind))
            expect_refused(server, session, E.END_PROTOCOL)


def test_client_hello_twice(server, rsa_key):
    session, message = hello_of(server, hs.Client(rsa_key))
    session.feed(message)
    server.up.expect("APPROVAL_ASK")
    session.feed(message)
    expect_refused(server, session, E.END_PROTOCOL)


def test_replayed_hello_and_finished(server, rsa_key):
    client = hs.Client(rsa_key)
    session, message = hello_of(server, client)
    _, finished = grant(server, client, session, message)
    session.feed(finished)
    session.keys()
    server.up.expect("CONNECTION_OPEN")
    other, _ = hello_of(server, hs.Client(rsa_key))
    other.feed(message)  # another connection's: another nonce, another share
    expect_refused(server, other, E.END_PROTOCOL)
    client = hs.Client(rsa_key)
    other, message = hello_of(server, client)
    grant(server, client, other, message)
    other.feed(finished)
    expect_refused(server, other, E.END_BAD_TAG)
    session.close()


def test_reflected_server_finished(server, rsa_key):
    client = hs.Client(rsa_key)
    session, message = hello_of(server, client)
    session.feed(message)
    server.answer(server.up.expect("APPROVAL_ASK"), E.VERDICT_APPROVED)
    session.message()
    session.feed(session.message())
    expect_refused(server, session, E.END_BAD_TAG)


def test_reflected_server_hello(server):
    session = server.session()
    session.feed(session.message())
    expect_refused(server, session, E.END_PROTOCOL)


class Liar(hs.Client):
    """A client that is wrong in one way: replaced parts are given as keyword arguments."""

    def __init__(self, key, signature=None, size=None, proof=None, clear=None, **rest):
        super().__init__(key, **rest)
        self.lies = dict(signature=signature, size=size, proof=proof, clear=clear)

    def make_signature(self, digest):
        return self.lies["signature"](digest) if self.lies["signature"] else super().make_signature(digest)

    def signature_size(self):
        return self.lies["size"] or super().signature_size()

    def make_proof(self):
        return self.lies["proof"](self) if self.lies["proof"] else super().make_proof()

    def make_clear(self, suite, share):
        return self.lies["clear"](self, suite, share) if self.lies["clear"] else super().make_clear(suite, share)


def pss(key, digest, salt_length=32, algorithm=None, label=hs.CLIENT_POP):
    algorithm = algorithm or hashes.SHA256()
    return key.sign(hs.sign_input(label, digest), padding.PSS(padding.MGF1(hashes.SHA256()), salt_length), algorithm)


@pytest.mark.parametrize("how", ["salt 20", "salt 0", "salt 222", "sha384", "pkcs1", "label", "short", "long", "zero", "other key"])
def test_wrong_proofs(server, rsa_key, how):
    other = rsa.generate_private_key(65537, 2048) if how == "other key" else None
    ways = {
        "salt 20": dict(signature=lambda d: pss(rsa_key, d, 20)),
        "salt 0": dict(signature=lambda d: pss(rsa_key, d, 0)),
        "salt 222": dict(signature=lambda d: pss(rsa_key, d, 222)),
        "sha384": dict(signature=lambda d: pss(rsa_key, d, algorithm=hashes.SHA384())),
        "pkcs1": dict(signature=lambda d: rsa_key.sign(hs.sign_input(hs.CLIENT_POP, d), padding.PKCS1v15(), hashes.SHA256())),
        "label": dict(signature=lambda d: pss(rsa_key, d, label=b"wormhole/1 server grant")),
        "short": dict(signature=lambda d: pss(rsa_key, d)[:255], size=255),
        "long": dict(signature=lambda d: b"\0" + pss(rsa_key, d), size=257),
        "zero": dict(signature=lambda d: bytes(256)),
        "other key": dict(signature=lambda d: pss(other, d)),
    }
    session, message = hello_of(server, Liar(rsa_key, **ways[how]))
    session.feed(message)
    expect_refused(server, session, E.END_BAD_KEY)


def der(tag, body):
    size = len(body)
    length = bytes([size]) if size < 128 else bytes([0x81, size]) if size < 256 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + body


def der_integer(n):
    data = n.to_bytes((n.bit_length() + 8) // 8, "big")
    return der(2, data)


def rsa_spki(n, e, parameters=b"\x05\x00"):
    algorithm = der(0x30, bytes.fromhex("06092a864886f70d010101") + parameters)
    return der(0x30, algorithm + der(3, b"\0" + der(0x30, der_integer(n) + der_integer(e))))


def emsa_pss(message, bits):
    """EMSA-PSS-ENCODE of RFC 8017 section 9.1.1: with e = 1 this alone would be a valid signature."""
    import hashlib
    salt, size = b"s" * 32, (bits + 7) // 8
    digest = hashlib.sha256(bytes(8) + hashlib.sha256(message).digest() + salt).digest()
    block = bytes(size - 32 - 32 - 2) + b"\x01" + salt
    mask, i = b"", 0
    while len(mask) < len(block):
        mask += hashlib.sha256(digest + i.to_bytes(4, "big")).digest()
        i += 1
    masked = bytearray(a ^ b for a, b in zip(block, mask))
    masked[0] &= 0xff >> (8 * size - bits)
    return bytes(masked) + digest + b"\xbc"


def proof_with(spki):
    def make(client):
        client.spki = spki
        return hs.Client.make_proof(client)
    return make


def small_factor_modulus():
    n = (1 << 2047) | 1
    while n % 10007 == 0 or n % 9973 != 0:
        n += 2
    return n


def close_primes_modulus():
    """Two primes that stand next to each other: Fermat's method finds them at once."""
    def probably_prime(n):
        return all(pow(a, n - 1, n) == 1 for a in (2, 3, 5, 7))

    p = (3 << 1022) + 0x1234567
    while not probably_prime(p):
        p += 2
    q = p + 2
    while not probably_prime(q):
        q += 2
    return p, q


@pytest.mark.parametrize("what", ["e = 1", "e = 3", "e = 65539", "1024 bits", "2047 bits", "2049 bits", "even", "small factor",
                                  "no parameters", "trailing byte", "not minimal", "empty", "huge", "negative"])
def test_unacceptable_keys(server, rsa_key, what):
    n, spki = rsa_key.public_key().public_numbers().n, hs.spki_of(rsa_key)
    signature, size = None, 256
    if what == "e = 1":
        spki = rsa_spki(n, 1)
        signature = lambda d: emsa_pss(hs.sign_input(hs.CLIENT_POP, d), 2047)  # noqa: E731
    elif what == "e = 3":
        spki = rsa_spki(n, 3)
    elif what == "e = 65539":
        spki = rsa_spki(n, 65539)
    elif what == "1024 bits":
        key = rsa.generate_private_key(65537, 1024)
        spki, size = hs.spki_of(key), 128
        signature = lambda d: pss(key, d)  # noqa: E731
    elif what == "2047 bits":
        spki = rsa_spki(n >> 1 | 1, 65537)
    elif what == "2049 bits":
        spki = rsa_spki(n | 1 << 2048, 65537)
    elif what == "even":
        spki = rsa_spki(n - 1, 65537)
    elif what == "small factor":
        spki = rsa_spki(small_factor_modulus(), 65537)
    elif what == "no parameters":
        spki = rsa_spki(n, 65537, b"")
    elif what == "trailing byte":
        spki = spki + b"\0"
    elif what == "not minimal":
        spki = b"\x30\x83\x00\x01" + spki[3:]
    elif what == "empty":
        spki = b""
    elif what == "huge":
        spki = bytes(1024)
    elif what == "negative":
        spki = spki.replace(b"\x02\x82\x01\x01\x00", b"\x02\x82\x01\x01\xff", 1)
    session, message = hello_of(server, Liar(rsa_key, proof=proof_with(spki), signature=signature, size=size))
    session.feed(message)
    expect_refused(server, session, E.END_BAD_KEY)


def test_close_primes_are_refused_in_spite_of_a_valid_proof(server):
    p, q = close_primes_modulus()
    e, n = 65537, p * q
    d = pow(e, -1, (p - 1) * (q - 1))
    private = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(e, n)).private_key()
    assert n.bit_length() == 2048
    session, message = hello_of(server, hs.Client(private))
    session.feed(message)
    assert "close" in expect_refused(server, session, E.END_BAD_KEY).text


def test_prime_modulus_is_refused_in_spite_of_a_valid_proof(server):
    """n prime: whoever knows it can sign, because phi(n) = n - 1."""
    n = (1 << 2047) + 0xabcdef01
    while n % 65537 == 1 or any(n % p == 0 for p in (3, 5, 7, 11, 13)) or pow(2, n - 1, n) != 1:
        n += 2
    d = pow(65537, -1, n - 1)
    sign = lambda digest: pow(int.from_bytes(emsa_pss(hs.sign_input(hs.CLIENT_POP, digest), 2047), "big"), d, n).to_bytes(256, "big")  # noqa: E731
    session, message = hello_of(server, Liar(None, proof=proof_with(rsa_spki(n, 65537)), signature=sign, size=256))
    session.feed(message)
    assert "primes" in expect_refused(server, session, E.END_BAD_KEY).text


@pytest.mark.parametrize("share", [bytes(32), b"\x01" + bytes(31), bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
                                   bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")])
def test_shares_of_small_order(server, rsa_key, share):
    """The shared secret would be all zero, whatever the server's share is: anybody could compute it."""
    def clear(client, suite, _):
        client.shared = bytes(32)
        return bytes([suite, 0]) + share + bytes(32) + hs.view(b"")

    class Zero(Liar):
        def make_hello(self, suite, _):
            return super().make_hello(suite, x25519.X25519PrivateKey.generate().public_key().public_bytes(*hs.RAW))

    session, message = hello_of(server, Zero(rsa_key, clear=clear))
    session.feed(message)
    expect_refused(server, session, E.END_PROTOCOL)


@pytest.mark.parametrize("field", ["suite 2", "suite 0", "reserved", "kem", "name empty", "name bad", "name NUL", "name long",
                                   "slot", "record small", "record large", "rotation", "sealed empty"])
def test_bad_fields(server, rsa_key, field):
    def proof(name=b"edge1", record=32768, slot=0, rotation=b""):
        import struct
        return lambda c: (hs.view(c.spki) + bytes([len(name)]) + name + struct.pack(">IIB", 0, record, slot) + bytes(16)
                          + hs.view(rotation))

    def clear(suite=1, reserved=0, kem=b""):
        return lambda c, s, share: bytes([suite, reserved]) + share + bytes(32) + hs.view(kem)

    ways = {
        "suite 2": dict(clear=clear(suite=2)), "suite 0": dict(clear=clear(suite=0)), "reserved": dict(clear=clear(reserved=1)),
        "kem": dict(clear=clear(kem=bytes(1088))), "name empty": dict(proof=proof(b"")), "name bad": dict(proof=proof(b"Edge_1")),
        "name NUL": dict(proof=proof(b"a\0b")), "name long": dict(proof=proof(b"a" * 64)), "slot": dict(proof=proof(slot=16)),
        "record small": dict(proof=proof(record=1023)), "record large": dict(proof=proof(record=65537)),
        "rotation": dict(proof=proof(rotation=b"x")), "sealed empty": dict(proof=lambda c: b"", signature=lambda d: b"", size=0),
    }
    session, message = hello_of(server, Liar(rsa_key, **ways[field]))
    session.feed(message)
    expect_refused(server, session, E.END_PROTOCOL)


def test_deadlines(rsa_key):
    with crypto_worker.Crypto(E.SIDE_SERVER, handshake_ms=200) as server:
        silent = server.session()
        silent.message()
        expect_refused(server, silent, E.END_TIMEOUT, E.CLOSE_TIMEOUT)
        client = hs.Client(rsa_key)
        session, message = hello_of(server, client)
        session.feed(message)
        server.up.expect("APPROVAL_ASK")  # and the supervisor says nothing
        expect_refused(server, session, E.END_TIMEOUT, E.CLOSE_TIMEOUT)
        client = hs.Client(rsa_key)
        session, message = hello_of(server, client)
        grant(server, client, session, message)  # and CLIENT_FINISHED does not come
        expect_refused(server, session, E.END_TIMEOUT, E.CLOSE_TIMEOUT)


# ---- sessions that break the rules ----


@pytest.mark.parametrize("crime", ["wrong connection", "received first", "start twice", "downward message", "garbage", "descriptor",
                                   "after open"])
def test_a_session_that_breaks_the_rules_hurts_only_itself(server, rsa_key, crime):
    witness = hs.Client(rsa_key)
    other, message = hello_of(server, witness)
    session = server.session(start=False)
    if crime == "wrong connection":
        session.channel.send("HS_START", connection=session.connection - 1)
    elif crime == "received first":
        session.feed(b"x")
    elif crime == "start twice":
        session.start()
        session.start()
    elif crime == "downward message":
        session.channel.send("HS_KEYS", direction=0)
    elif crime == "garbage":
        session.channel.send_packet(b"\xff\xff\xff")
    elif crime == "descriptor":
        session.channel.send_packet(ipc.encode("HS_START", connection=session.connection), (0,))
    elif crime == "after open":
        client = hs.Client(rsa_key)
        session.start()
        (hello,) = client.receive(session.message())
        _, finished = grant(server, client, session, hello)
        session.feed(finished)
        session.feed(b"one message too many")
        server.up.expect("CONNECTION_OPEN")
    report = server.up.expect("WORKER_VIOLATION")
    assert report.connection == session.connection and report.text
    session.channel.expect_closed()
    _, finished = grant(server, witness, other, message)
    other.feed(finished)
    assert set(other.keys()) == {0, 1}
    server.up.expect("CONNECTION_OPEN")
    other.close()


def test_session_that_goes_away(server, rsa_key):
    session, message = hello_of(server, hs.Client(rsa_key))
    session.feed(message)
    ask = server.up.expect("APPROVAL_ASK")
    session.close()
    assert server.up.expect("HANDSHAKE_FAILED").code == E.END_TRUNCATED
    server.answer(ask, E.VERDICT_APPROVED)  # too late, and no matter
    server.synchronise()


def test_descriptors_do_not_pile_up(server, rsa_key):
    def count():
        server.synchronise()
        return len(os.listdir(f"/proc/{server.worker.pid}/fd")) if os.geteuid() == 0 else 0

    before = count()
    for i in range(50):
        client = hs.Client(rsa_key)
        session, message = hello_of(server, client)
        if i % 2:
            _, finished = grant(server, client, session, message)
            session.feed(finished)
            session.keys()
            server.up.expect("CONNECTION_OPEN")
            session.close()
        else:
            session.feed(b"nonsense")
            expect_refused(server, session, E.END_PROTOCOL)
    deadline = 200
    while count() > before and deadline:
        deadline -= 1
    assert count() <= before
