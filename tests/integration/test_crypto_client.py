# SPDX-License-Identifier: Apache-2.0
"""
The real wormhole-crypto process of a client, in its sandbox, against the independent Python peer: first use, pinning,
what a lying server can try with it; and the real client with the real server.
"""
import os
import struct
import sys

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

import crypto_worker
import ipc
from ipc import E

sys.path.insert(0, str(ipc.ROOT / "tests/peer"))
import handshake as hs  # noqa: E402


@pytest.fixture
def fresh_client():
    with crypto_worker.Crypto(E.SIDE_CLIENT, instance=bytes(range(16))) as crypto:
        yield crypto


def greet(client, server):
    """The real client's answer to the Python server's hello, checked."""
    session = client.session()
    session.feed(server.start())
    session.hello = session.message()
    server.receive(session.hello)
    return session


def test_client_first_use_then_known(fresh_client):
    server = hs.Server(max_record=8192)
    session = greet(fresh_client, server)
    assert (server.name, server.slot, server.instance) == ("edge1", 0, bytes(range(16)))
    assert server.client_fingerprint == fresh_client.identity.fingerprint
    code = hs.pairing_code(server.fingerprint, server.client_fingerprint)

    session.feed(server.make_pending(600))
    assert session.channel.expect("HS_WAIT").ttl_s == 600
    news = fresh_client.up.expect("CLIENT_PAIRING")
    assert (news.verdict, news.server, news.server_known, news.pairing_code) == (E.VERDICT_PENDING, server.fingerprint, 0, code)
    known = fresh_client.directory + "/known_server"
    assert not os.path.exists(known)  # nobody has approved anything yet
    session.feed(server.make_pending(590))
    assert session.channel.expect("HS_WAIT").ttl_s == 590
    assert fresh_client.up.expect("CLIENT_PAIRING").ttl_s == 590
    message, finished = server.make_grant()
    session.feed(message)
    fresh_client.synchronise()  # nothing of it reaches the supervisor yet
    assert not os.path.exists(known)  # SERVER_FINISHED is still missing
    session.feed(finished)
    server.receive(session.message())
    keys = session.keys()
    assert all((keys[d].key, keys[d].iv) == (server.session.traffic[d].key, server.session.traffic[d].iv) for d in (0, 1))
    assert {k.max_record for k in keys.values()} == {8192}
    identity = fresh_client.up.expect("CRYPTO_IDENTITY")
    assert identity.known_server == hs.fingerprint_text(server.fingerprint)
    assert fresh_client.up.expect("CLIENT_PAIRING").verdict == E.VERDICT_APPROVED
    opened = fresh_client.up.expect("CONNECTION_OPEN")
    assert (opened.connection, opened.fingerprint) == (session.connection, server.fingerprint)
    text = open(known).read()
    assert text == f"wormhole known server 1\nfingerprint {hs.fingerprint_text(server.fingerprint)}\nsuite 1\n"
    assert os.stat(known).st_mode & 0o777 == 0o600

    # The same process and a new one: another server is refused before anything is sent to it.
    for again in (True, False):
        client = fresh_client if again else crypto_worker.Crypto(E.SIDE_CLIENT, directory=fresh_client.directory)
        if not again:
            assert client.identity.fingerprint == fresh_client.identity.fingerprint and client.identity.generated == 0
            assert client.identity.known_server == hs.fingerprint_text(server.fingerprint)
        session = client.session()
        session.feed(hs.Server().start())
        assert session.channel.expect("HS_FAIL").code == E.END_SERVER_IDENTITY
        assert client.up.expect("HANDSHAKE_FAILED").code == E.END_SERVER_IDENTITY
        assert any("known_server" in text for _, text in client.up.logs)
        if not again:
            client.close()
    assert open(known).read() == text


def test_client_pinned():
    server = hs.Server()
    with crypto_worker.Crypto(E.SIDE_CLIENT, pinned_server=hs.fingerprint_text(server.fingerprint)) as client:
        session = client.session()
        session.feed(hs.Server().start())
        assert session.channel.expect("HS_FAIL").code == E.END_SERVER_IDENTITY
        assert client.up.expect("HANDSHAKE_FAILED").code == E.END_SERVER_IDENTITY
        session = greet(client, server)
        for message in server.make_grant():
            session.feed(message)
        server.receive(session.message())
        session.keys()
        assert client.up.expect("CLIENT_PAIRING", skip=("CRYPTO_IDENTITY",)).server_known == 1
        assert client.up.expect("CONNECTION_OPEN").fingerprint == server.fingerprint


def test_client_declined(fresh_client):
    server = hs.Server()
    session = greet(fresh_client, server)
    session.feed(server.make_declined(E.REFUSAL_REVOKED, 3600))
    assert session.failure().code == E.END_DECLINED
    news = fresh_client.up.expect("CLIENT_PAIRING")
    assert (news.verdict, news.code, news.retry_after_s) == (E.VERDICT_DECLINED, E.REFUSAL_REVOKED, 3600)
    assert fresh_client.up.expect("HANDSHAKE_FAILED").code == E.END_DECLINED
    assert not os.path.exists(fresh_client.directory + "/known_server")


@pytest.fixture(scope="module")
def client():
    with crypto_worker.Crypto(E.SIDE_CLIENT, handshake_ms=600000) as crypto:
        yield crypto
        crypto.synchronise()
        assert not os.path.exists(crypto.directory + "/known_server")  # no lie was ever remembered


def client_refuses(client, session, *codes):
    assert session.failure().code in codes
    assert client.up.expect("HANDSHAKE_FAILED", skip=("CLIENT_PAIRING",)).connection == session.connection
    session.close()


def test_client_every_flipped_byte_of_server_hello(client):
    for position in range(len(hs.Server().start())):
        session = client.session()
        broken = bytearray(hs.Server().start())
        broken[position] ^= 1 << (position % 8)
        session.feed(bytes(broken))
        client_refuses(client, session, E.END_PROTOCOL)


@pytest.mark.parametrize("which", ["pending", "declined", "grant", "finished"])
def test_client_every_flipped_byte_behind_the_hello(client, which):
    def messages(server):
        if which == "pending":
            return [server.make_pending()]
        if which == "declined":
            return [server.make_declined()]
        return server.make_grant()

    size = None
    position = 0
    while size is None or position < size:
        server = hs.Server()
        session = greet(client, server)
        batch = messages(server)
        at = 1 if which == "finished" else 0
        size = len(batch[at])
        if at == 1:
            session.feed(batch[0])
        broken = bytearray(batch[at])
        broken[position] ^= 1 << (position % 8)
        session.feed(bytes(broken))
        client_refuses(client, session, E.END_PROTOCOL, E.END_BAD_TAG)
        position += 1 if size < 100 else 5  # a grant has 340 bytes, each under one tag


@pytest.mark.parametrize("how", ["repeat pending", "drop pending", "swap", "finished first", "finished twice as grant", "hello again",
                                 "reflect", "truncate"])
def test_client_order(client, how):
    server = hs.Server()
    session = greet(client, server)
    if how == "repeat pending":
        message = server.make_pending()
        session.feed(message)
        session.feed(message)
    elif how == "drop pending":
        server.make_pending()
        session.feed(server.make_grant()[0])
    elif how == "swap":
        first, second = server.make_pending(), server.make_pending()
        session.feed(second)
        session.feed(first)
    elif how == "finished first":
        session.feed(server.make_grant()[1])
    elif how == "finished twice as grant":
        message, _ = server.make_grant()
        session.feed(message)
        session.feed(message)
    elif how == "hello again":
        session.feed(hs.Server().start())
    elif how == "reflect":
        session.feed(session.hello)
    elif how == "truncate":
        session.feed(server.make_grant()[0][:-1])
    client_refuses(client, session, E.END_PROTOCOL)


class LyingServer(hs.Server):
    lie = ""

    def sign(self, label, digest):
        if self.lie == "grant label" and label == hs.SERVER_GRANT:
            label = hs.SERVER_HELLO_LABEL
        if self.lie == "grant digest" and label == hs.SERVER_GRANT:
            digest = bytes(32)
        if self.lie == "grant by another" and label == hs.SERVER_GRANT:
            return hs.Server().sign(label, digest)
        return super().sign(label, digest)

    def wrap(self, aes_key):
        if self.lie == "empty key":
            return b""
        if self.lie == "short key":
            return self.client_key.encrypt(aes_key[:16], hs.oaep(self.t))
        if self.lie == "long key":
            return self.client_key.encrypt(aes_key + b"\0", hs.oaep(self.t))
        if self.lie == "no key":
            return self.client_key.encrypt(b"", hs.oaep(self.t))
        if self.lie == "label":
            return self.client_key.encrypt(aes_key, hs.oaep(bytes(32)))
        if self.lie == "sha1":
            return self.client_key.encrypt(aes_key, padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), self.t))
        if self.lie == "pkcs1":
            return self.client_key.encrypt(aes_key, padding.PKCS1v15())
        if self.lie == "zeros":
            return bytes(256)
        if self.lie == "short ciphertext":
            return super().wrap(aes_key)[1:]
        return super().wrap(aes_key)


@pytest.mark.parametrize("lie", ["grant label", "grant digest", "grant by another", "empty key", "short key", "long key", "no key",
                                 "label", "sha1", "pkcs1", "zeros", "short ciphertext"])
def test_client_against_a_lying_grant(client, lie):
    server = LyingServer()
    server.lie = lie
    session = greet(client, server)
    session.feed(server.make_grant()[0])
    client_refuses(client, session, E.END_PROTOCOL)


@pytest.mark.parametrize("lie", ["record", "other key in finished", "no suites", "suite 2 without key", "versions", "falling suites",
                                 "zero share", "pending state", "pending id", "record too large"])
def test_client_against_a_lying_server(client, lie):
    server = LyingServer()
    if lie == "record":
        session = greet(client, server)
        server.client_record = 1024
        session.feed(server.make_grant()[0])
    elif lie == "other key in finished":
        session = greet(client, server)
        message, _ = server.make_grant()
        session.feed(message)
        server.session = hs.SessionSecrets(server.hs.root, server.trace["grant"], bytes(32))
        server.t = server.trace["grant"]
        session.feed(server.finished_seal(hs.S2C))
        client_refuses(client, session, E.END_BAD_TAG)
        return
    elif lie in ("pending state", "pending id"):
        session = greet(client, server)
        session.feed(server.make_pending())
        session.feed(server.seal(hs.PENDING, "pending", (bytes(16) if lie == "pending id" else server.request)
                                 + struct.pack(">IB", 1, 2 if lie == "pending state" else 1)))
    else:
        share = bytes(32) if lie == "zero share" else None
        heads = {"no suites": b"\x01\x01\x00", "suite 2 without key": b"\x01\x01\x02\x01\x02", "versions": b"\x01\x02\x01\x01",
                 "falling suites": b"\x01\x01\x02\x02\x01", "zero share": b"\x01\x01\x01\x01", "record too large": b"\x01\x01\x01\x01"}
        record = 65537 if lie == "record too large" else 32768
        server.make_hello_body = lambda own: (heads[lie] + struct.pack(">II", 0, record) + server.public
                                              + (share or own) + bytes(32) + hs.view(b""))
        session = client.session()
        session.feed(server.start())
    client_refuses(client, session, E.END_PROTOCOL)


def test_client_ignores_unknown_suites_and_capabilities(fresh_client):
    server = hs.Server()
    server.make_hello_body = lambda own: (b"\x02\x01\x07" + b"\x03\x01\x09\xff" + struct.pack(">II", 0xffffffff, 32768)
                                          + server.public + own + bytes(32) + hs.view(b""))
    session = greet(fresh_client, server)
    for message in server.make_grant():
        session.feed(message)
    server.receive(session.message())
    assert server.done


def test_client_silence_while_pending():
    with crypto_worker.Crypto(E.SIDE_CLIENT, heartbeat_ms=50) as client:
        server = hs.Server()
        session = greet(client, server)
        session.feed(server.make_pending(600))
        assert session.failure().code == E.END_TIMEOUT


def test_client_cannot_store_the_server(fresh_client):
    server = hs.Server()
    session = greet(fresh_client, server)
    os.mkdir(fresh_client.directory + "/known_server")  # a rename over a directory fails
    for message in server.make_grant():
        session.feed(message)
    assert session.failure().code == E.END_KNOWN_SERVER_IO
    assert fresh_client.up.expect("HANDSHAKE_FAILED").code == E.END_KNOWN_SERVER_IO
    assert any("known_server" in text for _, text in fresh_client.up.logs)


def test_real_client_with_real_server(fresh_client):
    with crypto_worker.Crypto(E.SIDE_SERVER) as server:
        talk(server, fresh_client)


def talk(server, fresh_client):
    up, down = server.session(), fresh_client.session()
    down.feed(up.message())
    up.feed(down.message())
    server.answer(server.up.expect("APPROVAL_ASK"), E.VERDICT_PENDING, ttl_s=30)
    down.feed(up.message())
    pairing = fresh_client.up.expect("CLIENT_PAIRING")
    assert pairing.server == server.identity.fingerprint
    server.up.send("APPROVAL_ANSWER", connection=up.connection, fingerprint=fresh_client.identity.fingerprint,
                   verdict=E.VERDICT_APPROVED)
    for _ in range(2):
        down.feed(up.message())
    up.feed(down.message())
    one, other = up.keys(), down.keys()
    assert all(one[d].fields == other[d].fields for d in (0, 1))
    assert one[0].key != one[1].key
    assert server.up.expect("CONNECTION_OPEN").fingerprint == fresh_client.identity.fingerprint
