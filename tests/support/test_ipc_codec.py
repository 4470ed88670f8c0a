# SPDX-License-Identifier: Apache-2.0
"""The Python codec itself: it must read the whole of messages.def and refuse what breaks its rules."""
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import ipc  # noqa: E402


def test_every_message_round_trips():
    for name, m in ipc.BY_NAME.items():
        values = {}
        for f in m.fields:
            if f.kind in f._INTEGERS:
                values[f.name] = 7
            elif f.kind in ("STR", "SECRETSTR"):
                values[f.name] = "x" * f.size
            else:
                values[f.name] = bytes(range(256)) * (f.size // 256) + bytes(range(f.size % 256))
        packet = ipc.encode(name, **values)
        assert ipc.decode(packet) == (name, values)
        assert len(packet) <= ipc.MESSAGE_MAX
        for broken in (packet[:-1], packet + b"\0"):
            if m.fields or len(broken) > 2:
                with pytest.raises(ipc.IpcError):
                    ipc.decode(broken)


def test_maximum_sizes_are_kept():
    with pytest.raises(ipc.IpcError):
        ipc.encode("WORKER_LOG", text="x" * 1025)
    with pytest.raises(ipc.IpcError):
        ipc.encode("HS_RECEIVED", nonsense=1)


def test_constants_are_read_from_the_headers():
    assert ipc.E.ROLE_CRYPTO == 1
    assert ipc.E.CH_HANDSHAKE == 32
    assert ipc.E.END_KNOWN_SERVER_IO == 18
    assert ipc.E.STREAM_WINDOW_MAX == 8 << 20


def test_channel_carries_messages_and_descriptors():
    up, low = ipc.pair()
    r, w = os.pipe()
    low.send("WORKER_LOG", level=2, text="hello")
    up.send("CRYPTO_SESSION", fd=r, connection=9, remote="127.0.0.1:1", slot=0, instance=bytes(16))
    got = low.expect("CRYPTO_SESSION")
    assert got.connection == 9 and got.fd is not None
    os.write(w, b"z")
    assert os.read(got.fd, 1) == b"z"
    low.send("HS_START", connection=9)
    assert up.expect("HS_START").connection == 9
    assert up.logs == [(2, "hello")]
    low.close()
    with pytest.raises(ipc.Closed):
        up.recv(timeout=2)
    for fd in (r, w, got.fd):
        os.close(fd)
