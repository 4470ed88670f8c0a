#!/usr/bin/python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Writes the kept inputs of fuzz_ipc: every message, empty and with all fields at their largest, in a state that may take it."""
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import ipc  # noqa: E402

KINDS = ["CH_SESSION", "CH_CRYPTO", "CH_DIALER", "CH_ADMIN", "CH_K8S", "CH_HANDSHAKE", "CH_DIAL", "CH_CONTROL"]
STATES = ["IN_BOOT", "IN_RUN", "IN_HELLO", "IN_OPEN", "IN_DRAIN"]


def largest(field):
    if field.kind in ("STR", "SECRETSTR"):
        return "a" * min(field.size, 100)
    if field.kind in ("FIXED", "SECRET", "BYTES"):
        return bytes(range(256))[:min(field.size, 100)].ljust(field.size if field.kind != "BYTES" else 0, b"\xff")
    return {"U8": 0xff, "U16": 0xffff, "U32": 0xffffffff, "U64": (1 << 64) - 1}[field.kind]


def head(message):
    kind = next((KINDS.index(c) for c in message.channels if c in KINDS), 0)
    state = next((STATES.index(s) for s in message.states if s in STATES), 1)
    return bytes([kind | (0x80 if message.direction == "UP" else 0), state])


def main():
    corpus = ROOT / "tests/fuzz/corpus/fuzz_ipc"
    corpus.mkdir(parents=True, exist_ok=True)
    for old in corpus.iterdir():
        old.unlink()
    for message in ipc.BY_NUMBER.values():
        name = message.name.lower()
        (corpus / name).write_bytes(head(message) + ipc.encode(message.name))
        full = ipc.encode(message.name, **{f.name: largest(f) for f in message.fields})
        (corpus / (name + "-full")).write_bytes(head(message) + full)
    # A message that ends in the middle of each kind of field, and one for whom it is not.
    for name in ("WORKER_SETUP", "WORKER_BEGIN", "HS_KEYS", "SESSION_START", "HS_RECEIVED", "RESULT"):
        message = ipc.BY_NAME[name]
        packet = ipc.encode(name, **{f.name: largest(f) for f in message.fields})
        at = 2
        for f in message.fields:
            (corpus / f"cut-{name.lower()}-{f.name}").write_bytes(head(message) + packet[:at + (1 if len(f.encode(largest(f))) > 1 else 0)])
            at += len(f.encode(largest(f)))
        for number in range(8):
            (corpus / f"kind-{name.lower()}-{number}").write_bytes(bytes([number | (head(message)[0] & 0x80), head(message)[1]]) + packet)
        for number in range(5):
            (corpus / f"state-{name.lower()}-{number}").write_bytes(bytes([head(message)[0], number]) + packet)
    for name, packet in {"empty": b"", "one-byte": b"\1", "unknown": b"\xfe\0", "zero": b"\0\0", "cut": b"\1\0\1",
                         "nul-in-text": ipc.encode("WORKER_LOG", level=1, text="a.b").replace(b".", b"\0"),
                         "long-text": b"\3\0\1" + bytes(4) + b"\xff\xff" + b"x" * 64,
                         "too-long": ipc.encode("WORKER_PING") + b"\0"}.items():
        (corpus / ("bad-" + name)).write_bytes(b"\x80\1" + packet)


if __name__ == "__main__":
    main()
