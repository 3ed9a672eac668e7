#!/usr/bin/env python3
"""cid_vectors.py - known answers for records with connection IDs (RFC 9146 4, 5), computed without
a line of handfast: AES from the openssl program, all else - CCM, GCM, CBC, the three ways of
authenticating a record - written out here after the RFCs. No peer in Debian speaks RFC 9146, so
this stands in for one.

Usage: cid_vectors.py          prints cid_vectors.h
       cid_vectors.py --check  compares it with the one beside this file"""
import hashlib
import hmac
import os
import subprocess
import sys

VERSION = bytes.fromhex("fefd")
TLS12_CID = 25
KEY = bytes(range(0x10, 0x20))
MAC_KEY = bytes(range(0x40, 0x60))
FIXED_IV = bytes.fromhex("c0ffee01")
IV = bytes(range(0xA0, 0xB0))


def aes(mode, data, *more):
    command = ["openssl", "enc", "-aes-128-" + mode, "-K", KEY.hex(), "-nopad", *more]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def blocks(data):
    return [data[i:i + 16] for i in range(0, len(data), 16)]


def xor(left, right):
    return bytes(a ^ b for a, b in zip(left, right))


def padded(data):
    return data + bytes(-len(data) % 16)


def ccm(nonce, aad, plain, tag_len):
    """RFC 3610 with L = 3 (RFC 6655 3): a 12-byte nonce."""
    first = bytes([0x40 | (tag_len - 2) // 2 << 3 | 2]) + nonce + len(plain).to_bytes(3, "big")
    message = first + padded(len(aad).to_bytes(2, "big") + aad) + padded(plain)
    mac = aes("cbc", message, "-iv", bytes(16).hex())[-16:]
    counters = b"".join(bytes([2]) + nonce + i.to_bytes(3, "big")
                        for i in range(len(blocks(plain)) + 1))
    stream = aes("ecb", counters)
    return xor(plain, stream[16:]) + xor(mac, stream)[:tag_len]


def multiply(x, y):
    """In GF(2^128) as NIST SP 800-38D 6.3 has it."""
    z, v = 0, y
    for i in range(128):
        if x >> (127 - i) & 1:
            z ^= v
        v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
    return z


def gcm(nonce, aad, plain):
    counters = b"".join(nonce + i.to_bytes(4, "big") for i in range(1, len(blocks(plain)) + 2))
    stream = aes("ecb", counters)
    cipher = xor(plain, stream[16:])
    h = int.from_bytes(aes("ecb", bytes(16)), "big")
    lengths = (8 * len(aad)).to_bytes(8, "big") + (8 * len(cipher)).to_bytes(8, "big")
    y = 0
    for block in blocks(padded(aad) + padded(cipher) + lengths):
        y = multiply(y ^ int.from_bytes(block, "big"), h)
    return cipher + xor(y.to_bytes(16, "big"), stream)


def covered(number, cid, length):
    """seq_num_placeholder + tls12_cid + cid_length + tls12_cid + version + epoch +
    sequence_number + cid + length: of RFC 9146 5.1, 5.2 and 5.3 alike."""
    return (b"\xff" * 8 + bytes([TLS12_CID, len(cid), TLS12_CID]) + VERSION + number + cid +
            length.to_bytes(2, "big"))


def mac_of(number, cid, data):
    return hmac.new(MAC_KEY, covered(number, cid, len(data)) + data, hashlib.sha256).digest()


def block_padding(data):
    count = -(len(data) + 1) % 16
    return data + bytes([count]) * (count + 1)


def fragment(cipher, number, cid, inner):
    if cipher == "CBC_SHA256":  # RFC 9146 5.1: the MAC covers the inner plaintext
        return IV + aes("cbc", block_padding(inner + mac_of(number, cid, inner)), "-iv", IV.hex())
    if cipher == "CBC_SHA256_ETM":  # 5.2: it covers the IV and what is encrypted
        body = IV + aes("cbc", block_padding(inner), "-iv", IV.hex())
        return body + mac_of(number, cid, body)
    aad = covered(number, cid, len(inner))  # 5.3
    nonce = FIXED_IV + number
    if cipher == "GCM":
        return number + gcm(nonce, aad, inner)
    return number + ccm(nonce, aad, inner, 8 if cipher == "CCM_8" else 16)


def record(cipher, seq, cid, kind, content, zeros):
    number = (1).to_bytes(2, "big") + seq.to_bytes(6, "big")
    body = fragment(cipher, number, cid, content + bytes([kind]) + bytes(zeros))
    return (bytes([TLS12_CID]) + VERSION + number + cid + len(body).to_bytes(2, "big") + body)


def c_bytes(data):
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'


def c_field(name, data):
    pieces = [data[i:i + 15] for i in range(0, len(data), 15)] or [b""]
    lines = ("\n         ").join(c_bytes(piece) for piece in pieces)
    return f"     .{name} = {{(const uint8_t *){lines},\n         {len(data)}}},"


def cases():
    text = b"a reading of 21.5 degrees, from behind a NAT"
    for cipher in ("CCM_8", "CCM", "GCM", "CBC_SHA256", "CBC_SHA256_ETM"):
        yield cipher, 1, bytes(range(1, 9)), 23, text, 0
        yield cipher, 2 ** 40 + 7, bytes([0x99]), 23, text[:16], 15
        yield cipher, 5, bytes(range(0xE0, 0x100)), 21, b"\x01\x00", 300
        yield cipher, 6, bytes(range(1, 9)), 23, b"", 0
        yield cipher, 7, bytes(range(1, 9)), 27, bytes(9), 0


def header():
    lines = ["/* cid_vectors.h - made by cid_vectors.py, which says how; not by hand. */",
             "/* clang-format off */",
             "#ifndef HF_TEST_CID_VECTORS_H", "#define HF_TEST_CID_VECTORS_H", "",
             "static const struct vector {", "    const char *name;", "    enum hf_cipher cipher;",
             "    uint64_t seq;", "    uint8_t type;", "    size_t zeros;",
             "    struct hf_bytes cid, content, record;", "} vectors[] = {"]
    for cipher, seq, cid, kind, content, zeros in cases():
        wire = record(cipher, seq, cid, kind, content, zeros)
        lines.append(f'    {{.name = "{cipher}, number {seq}, {len(cid)} bytes, {zeros} zeros",')
        lines.append(f"     .cipher = HF_CIPHER_AES_128_{cipher},")
        lines.append(f"     .seq = {seq}u, .type = {kind}, .zeros = {zeros},".replace(
            f"{seq}u", f"UINT64_C({seq})"))
        lines.append(c_field("cid", cid))
        lines.append(c_field("content", content))
        lines.append(c_field("record", wire))
        lines[-1] = lines[-1][:-1] + "},"
    return "\n".join(lines + ["};", "", "#endif", ""])


def main():
    made = header()
    if sys.argv[1:] != ["--check"]:
        sys.stdout.write(made)
        return 0
    kept = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cid_vectors.h")
    with open(kept, encoding="ascii") as file:
        is_same = file.read() == made
    print("cid_vectors.h is what the script makes" if is_same else "cid_vectors.h is outdated")
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
