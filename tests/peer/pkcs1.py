# SPDX-License-Identifier: Apache-2.0
"""
The encodings of RFC 8017 with the randomness given: for vectors that must come out the same every time, and for
signatures with keys that no library would touch. For tests only: nothing here runs in constant time.
"""
import hashlib


def mgf1(seed, size):
    out, i = b"", 0
    while len(out) < size:
        out += hashlib.sha256(seed + i.to_bytes(4, "big")).digest()
        i += 1
    return out[:size]


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def emsa_pss(message, bits, salt):
    """EMSA-PSS-ENCODE (section 9.1.1) for a modulus of bits + 1 bits."""
    size = (bits + 7) // 8
    digest = hashlib.sha256(bytes(8) + hashlib.sha256(message).digest() + salt).digest()
    block = bytes(size - len(salt) - 32 - 2) + b"\x01" + salt
    masked = bytearray(xor(block, mgf1(digest, len(block))))
    masked[0] &= 0xFF >> (8 * size - bits)
    return bytes(masked) + digest + b"\xbc"


def eme_oaep(message, size, label, seed):
    """EME-OAEP encoding (section 7.1.1 step 2) for a modulus of size bytes."""
    block = hashlib.sha256(label).digest() + bytes(size - len(message) - 2 * 32 - 2) + b"\x01" + message
    masked = xor(block, mgf1(seed, len(block)))
    return b"\0" + xor(seed, mgf1(masked, 32)) + masked


def raw(value, exponent, modulus):
    size = (modulus.bit_length() + 7) // 8
    return pow(int.from_bytes(value, "big"), exponent, modulus).to_bytes(size, "big")
