# SPDX-License-Identifier: Apache-2.0
"""The two Python ends against each other: they must agree before they may judge the C code."""
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

sys.path.insert(0, str(Path(__file__).resolve().parent))
import handshake  # noqa: E402


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(65537, 2048)


def test_python_with_python(key):
    server, client = handshake.Server(), handshake.Client(key)
    (hello,) = client.receive(server.start())
    server.receive(hello)
    assert server.name == "edge1" and server.client_fingerprint == client.fingerprint
    assert client.receive(server.make_pending()) == []
    assert client.receive(server.make_pending(599)) == []
    grant, finished = server.make_grant()
    assert client.receive(grant) == []
    (answer,) = client.receive(finished)
    server.receive(answer)
    assert client.done and server.done
    assert client.t == server.t and client.session.rekey == server.session.rekey


def test_declined(key):
    server, client = handshake.Server(), handshake.Client(key)
    server.receive(client.receive(server.start())[0])
    with pytest.raises(handshake.WasDeclined) as declined:
        client.receive(server.make_declined(2, 60))
    assert (declined.value.code, declined.value.retry_after) == (2, 60)


def test_pin(key):
    server = handshake.Server()
    with pytest.raises(handshake.Refused):
        handshake.Client(key, expected=bytes(32)).receive(server.start())
