"""odd_p256.py - ECDH and ECDSA over P-256, and the little of PEM and DER that hand-made clients
need. By the book and not in constant time: only for tests."""
import base64
import hashlib
import os
import re

P = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
G = (0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
     0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5)


def add(a, b):
    """Points; None is infinity."""
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and a[1] != b[1]:
        return None
    if a == b:
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, P) % P
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P) % P
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(scalar, point=G):
    out = None
    for bit in bin(scalar)[2:]:
        out = add(out, out)
        if bit == "1":
            out = add(out, point)
    return out


def scalar():
    return int.from_bytes(os.urandom(32), "big") % (N - 1) + 1


def encode(point):
    return b"\4" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def decode(data):
    point = int.from_bytes(data[1:33], "big"), int.from_bytes(data[33:65], "big")
    if len(data) != 65 or data[0] != 4 or \
            (point[1] ** 2 - point[0] ** 3 + 3 * point[0] - B) % P != 0:
        raise ValueError("no point")
    return point


def _integer(value):
    data = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes([2, len(data)]) + data


def sign(key, message):
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    nonce = scalar()
    r = times(nonce)[0] % N
    s = pow(nonce, -1, N) * (digest + r * key) % N
    body = _integer(r) + _integer(s)
    return bytes([0x30, len(body)]) + body


def verify(point, message, signature):
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    length = signature[3]
    r = int.from_bytes(signature[4:4 + length], "big")
    s = int.from_bytes(signature[6 + length:], "big")
    u = pow(s, -1, N)
    found = add(times(digest * u % N), times(r * u % N, point))
    return found is not None and found[0] % N == r


def pem(path):
    """What is in a file, as DER."""
    with open(path, encoding="ascii") as file:
        return [base64.b64decode(text) for text in
                re.findall(r"-----BEGIN [^-]*-----([^-]*)-----END", file.read())]


def private_key(path):
    der = pem(path)[0]
    at = der.index(b"\2\1\1\4\x20") + 5
    return int.from_bytes(der[at:at + 32], "big")


def public_key(der):
    """The first key of P-256 in it."""
    at = der.index(b"\3\x42\0\4") + 3
    return decode(der[at:at + 65])
