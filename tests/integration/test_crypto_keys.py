# SPDX-License-Identifier: Apache-2.0
"""
Keys on disk as the real wormhole-crypto treats them: made when absent, kept, and refused with one clear line (what,
where, what to do) and exit code 78 when anything about them is wrong. What is refused is never changed.
"""
import os
import stat
import sys
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

import crypto_worker
import ipc
from ipc import E

sys.path.insert(0, str(ipc.ROOT / "tests/peer"))
import handshake as hs  # noqa: E402

SERVER, CLIENT = "server_ed25519.pem", "client_rsa.pem"


def pem(key, encryption=None):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             encryption or serialization.NoEncryption())


@pytest.fixture
def directory():
    path = crypto_worker.key_dir()
    yield path
    os.chmod(path, 0o700)
    import shutil
    shutil.rmtree(path)


def put(directory, name, data, mode=0o600, owner=None):
    path = f"{directory}/{name}"
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)
    if crypto_worker.AS_ROOT:
        os.chown(path, crypto_worker.UID if owner is None else owner, 0)
    return path


def refused(side, directory, **setup):
    """The one error line of a worker that must not start."""
    crypto = crypto_worker.Crypto(side, directory=directory, wait_ready=False, **setup)
    rest = crypto.up.expect_closed()
    assert crypto.worker.wait() == 78
    assert not any(m.type == "WORKER_READY" for m in rest)
    lines = [text for level, text in crypto.up.logs if level == E.LEVEL_ERROR]
    assert len(lines) == 1, crypto.up.logs
    assert "\n" not in lines[0]
    return lines[0]


@pytest.mark.parametrize("side,name,bits", [(E.SIDE_SERVER, SERVER, 256), (E.SIDE_CLIENT, CLIENT, 2048)])
def test_made_when_absent_and_kept(directory, side, name, bits):
    with crypto_worker.Crypto(side, directory=directory) as crypto:
        first = crypto.identity
    path = f"{directory}/{name}"
    assert (first.generated, first.bits, first.path) == (1, bits, path)
    assert abs(first.created - time.time()) < 60
    status = os.stat(path)
    assert stat.S_IMODE(status.st_mode) == 0o600 and status.st_uid == os.stat(directory).st_uid
    assert os.listdir(directory) == [name]  # no temporary file is left
    key = serialization.load_pem_private_key(open(path, "rb").read(), None)
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert hs.sha256(public) == first.fingerprint
    os.utime(path, (1600000000, 1600000000))
    with crypto_worker.Crypto(side, directory=directory) as crypto:
        again = crypto.identity
    assert (again.generated, again.fingerprint, again.created) == (0, first.fingerprint, 1600000000)


@pytest.mark.parametrize("bits", [3072, 4096])
def test_size_when_made(directory, bits):
    with crypto_worker.Crypto(E.SIDE_CLIENT, directory=directory, rsa_bits=bits) as crypto:
        assert crypto.identity.bits == bits
    with crypto_worker.Crypto(E.SIDE_CLIENT, directory=directory, rsa_bits=2048) as crypto:
        assert crypto.identity.bits == bits  # the one that exists counts


def test_a_key_of_another_program(directory):
    key = rsa.generate_private_key(65537, 2048)
    put(directory, CLIENT, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                                             serialization.NoEncryption()))
    with crypto_worker.Crypto(E.SIDE_CLIENT, directory=directory) as crypto:
        assert crypto.identity.fingerprint == hs.sha256(hs.spki_of(key))


BAD_FILES = {
    "empty": (b"", 0o600, "corrupt"),
    "garbage": (os.urandom(400), 0o600, "corrupt"),
    "huge": (b"A" * 100000, 0o600, "too large"),
    "group may read": (pem(ed25519.Ed25519PrivateKey.generate()), 0o640, "chmod 600"),
    "all may read": (pem(ed25519.Ed25519PrivateKey.generate()), 0o604, "chmod 600"),
    "elliptic curve": (pem(ec.generate_private_key(ec.SECP256R1())), 0o600, "must be ED25519"),
    "RSA": (pem(rsa.generate_private_key(65537, 2048)), 0o600, "must be ED25519"),
    "public": (ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo), 0o600, "no private key"),
    "passphrase": (pem(ed25519.Ed25519PrivateKey.generate(), serialization.BestAvailableEncryption(b"secret")), 0o600,
                   "passphrase"),
    "cut": (pem(ed25519.Ed25519PrivateKey.generate())[:60], 0o600, "corrupt"),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_bad_server_identity(directory, what):
    data, mode, hint = BAD_FILES[what]
    path = put(directory, SERVER, data, mode)
    line = refused(E.SIDE_SERVER, directory)
    assert path in line and hint in line, line
    assert open(path, "rb").read() == data and stat.S_IMODE(os.stat(path).st_mode) == mode
    assert os.listdir(directory) == [SERVER]


def close_primes():
    p = (3 << 1022) + 0x1234567
    prime = lambda n: all(pow(a, n - 1, n) == 1 for a in (2, 3, 5, 7))  # noqa: E731
    while not prime(p):
        p += 2
    q = p + 2
    while not prime(q):
        q += 2
    d = pow(65537, -1, (p - 1) * (q - 1))
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(65537, p * q)).private_key()


@pytest.mark.parametrize("what", ["1024 bits", "e = 3", "Ed25519", "close primes"])
def test_client_keys_that_no_server_takes(directory, what):
    make = {"1024 bits": lambda: rsa.generate_private_key(65537, 1024), "e = 3": lambda: rsa.generate_private_key(3, 2048),
            "Ed25519": ed25519.Ed25519PrivateKey.generate, "close primes": close_primes}
    path = put(directory, CLIENT, pem(make[what]()))
    line = refused(E.SIDE_CLIENT, directory)
    assert path in line, line


def test_wrong_owner(directory):
    if not crypto_worker.AS_ROOT:
        pytest.skip("only root can give a file away")
    put(directory, SERVER, pem(ed25519.Ed25519PrivateKey.generate()), owner=64199)
    line = refused(E.SIDE_SERVER, directory)
    assert "Permission denied" in line or "chown" in line, line
    os.chown(directory, 64199, 0)
    line = refused(E.SIDE_SERVER, directory)
    assert directory in line, line


def test_symbolic_link_and_other_things(directory):
    target = put(directory, "elsewhere.pem", pem(ed25519.Ed25519PrivateKey.generate()))
    os.symlink(target, f"{directory}/{SERVER}")
    assert "symbolic link" in refused(E.SIDE_SERVER, directory)
    os.unlink(f"{directory}/{SERVER}")
    os.mkfifo(f"{directory}/{SERVER}", 0o600)
    if crypto_worker.AS_ROOT:
        os.chown(f"{directory}/{SERVER}", crypto_worker.UID, 0)
    assert "not a regular file" in refused(E.SIDE_SERVER, directory)


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o701])
def test_directory_open_to_others(directory, mode):
    os.chmod(directory, mode)
    assert "chmod 700" in refused(E.SIDE_SERVER, directory)


def test_directory_missing_or_odd(directory):
    assert "install -d" in refused(E.SIDE_SERVER, directory + "/none")
    assert "absolute" in refused(E.SIDE_SERVER, "keys")
    os.symlink(directory, directory + "-link")
    try:
        assert directory + "-link" in refused(E.SIDE_SERVER, directory + "-link")
    finally:
        os.unlink(directory + "-link")


def test_read_only_directory(directory):
    os.chmod(directory, 0o500)
    line = refused(E.SIDE_SERVER, directory)
    assert "cannot be written" in line and directory in line


GOOD = "wormhole known server 1\nfingerprint SHA256:" + "A" * 43 + "\nsuite 1\n"


@pytest.mark.parametrize("text", ["", GOOD[:-1], GOOD + "\n", GOOD.replace("suite 1", "suite 3"), GOOD.replace("suite 1", "suite 0"),
                                  GOOD.replace("server 1", "server 2"), GOOD.replace("AA\n", "AB\n"), GOOD.replace("\n", "\r\n"),
                                  "\0" * len(GOOD), GOOD.replace("A" * 43, "A" * 42)])
def test_corrupt_known_server(directory, text):
    put(directory, "known_server", text.encode())
    line = refused(E.SIDE_CLIENT, directory)
    assert "known_server" in line and "remove it" in line, line
    assert open(f"{directory}/known_server", "rb").read() == text.encode()


def test_known_server_and_downgrade(directory):
    """A server that was used with suite 2 before may not come with suite 1 now, also when it is pinned."""
    server = hs.Server()
    text = f"wormhole known server 1\nfingerprint {hs.fingerprint_text(server.fingerprint)}\nsuite 2\n"
    put(directory, "known_server", text.encode())
    for pin in ("", hs.fingerprint_text(server.fingerprint)):
        with crypto_worker.Crypto(E.SIDE_CLIENT, directory=directory, pinned_server=pin) as client:
            assert client.identity.known_server == hs.fingerprint_text(server.fingerprint)
            session = client.session()
            session.feed(hs.Server(identity=server.identity).start())
            assert session.channel.expect("HS_FAIL").code == E.END_SERVER_IDENTITY
            assert "suite" in client.up.expect("HANDSHAKE_FAILED").text


@pytest.mark.parametrize("setup,hint", [
    (dict(pinned_server="SHA256:short"), "server-fingerprint"), (dict(rsa_bits=1024), "rsa-bits"),
    (dict(max_record=1000), "max-record"), (dict(max_record=70000), "max-record"), (dict(suites=4), "suites")])
def test_bad_configuration(directory, setup, hint):
    assert hint in refused(E.SIDE_CLIENT, directory, **setup)


def test_two_at_once_agree_on_one_key(directory):
    both = [crypto_worker.Crypto(E.SIDE_CLIENT, directory=directory, wait_ready=False) for _ in range(2)]
    prints = set()
    for crypto in both:
        crypto.worker.ready()
        prints.add(crypto.up.expect("CRYPTO_IDENTITY").fingerprint)
        crypto.close()
    assert len(prints) == 1 and os.listdir(directory) == [CLIENT]
