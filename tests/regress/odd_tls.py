"""odd_tls.py - TLS 1.2 and DTLS 1.2 by hand, with pre-shared keys and with certificates: hellos,
records and messages in whatever shape a case wants. Shares nothing with the engine, nor with any
library: hashes are the interpreter's, AES is here, P-256 in odd_p256.py. Small, and only for tests.
"""
import hashlib
import hmac
import os
import socket
import struct

import odd_p256

PATIENCE = 20
CCS, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
CBC, CCM_8 = 0x00AE, 0xC0A8
EC_CBC, EC_CCM_8 = 0xC023, 0xC0AE
CBC_SUITES = (CBC, EC_CBC)


class Fail(Exception):
    """What came is not what should."""


# ---- AES-128, CBC and CCM -----------------------------------------------------------------------

def _tables():
    sbox, p, q = [0] * 256, 1, 1
    while True:
        p ^= (p << 1) ^ (0x1B if p & 0x80 else 0)
        p &= 0xFF
        q ^= q << 1
        q ^= q << 2
        q ^= q << 4
        q &= 0xFF
        q ^= 0x09 if q & 0x80 else 0
        x = q ^ _turn(q, 1) ^ _turn(q, 2) ^ _turn(q, 3) ^ _turn(q, 4)
        sbox[p] = x ^ 0x63
        if p == 1:
            break
    sbox[0] = 0x63
    return sbox, [sbox.index(i) for i in range(256)]


def _turn(x, n):
    return (x << n | x >> 8 - n) & 0xFF


def _mul(a, b):
    out = 0
    while b:
        out ^= a if b & 1 else 0
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return out


SBOX, UNBOX = _tables()
MUL = {n: [_mul(i, n) for i in range(256)] for n in (2, 3, 9, 11, 13, 14)}


class Aes:
    """One key."""

    def __init__(self, key):
        words = [list(key[i:i + 4]) for i in range(0, 16, 4)]
        constant = 1
        for i in range(4, 44):
            word = list(words[-1])
            if i % 4 == 0:
                word = [SBOX[b] for b in word[1:] + word[:1]]
                word[0] ^= constant
                constant = _mul(constant, 2)
            words.append([a ^ b for a, b in zip(words[i - 4], word)])
        self.rounds = [sum(words[i:i + 4], []) for i in range(0, 44, 4)]

    def encrypt(self, block):
        s = [a ^ b for a, b in zip(block, self.rounds[0])]
        for number in range(1, 11):
            s = [SBOX[s[(i + 4 * (i % 4)) % 16]] for i in range(16)]
            if number < 10:
                two, three = MUL[2], MUL[3]
                s = [two[s[i]] ^ three[s[i // 4 * 4 + (i + 1) % 4]] ^ s[i // 4 * 4 + (i + 2) % 4]
                     ^ s[i // 4 * 4 + (i + 3) % 4] for i in range(16)]
            s = [a ^ b for a, b in zip(s, self.rounds[number])]
        return bytes(s)

    def decrypt(self, block):
        s = [a ^ b for a, b in zip(block, self.rounds[10])]
        for number in range(9, -1, -1):
            s = [UNBOX[s[(i - 4 * (i % 4)) % 16]] for i in range(16)]
            s = [a ^ b for a, b in zip(s, self.rounds[number])]
            if number > 0:
                s = [MUL[14][s[i]] ^ MUL[11][s[i // 4 * 4 + (i + 1) % 4]]
                     ^ MUL[13][s[i // 4 * 4 + (i + 2) % 4]] ^ MUL[9][s[i // 4 * 4 + (i + 3) % 4]]
                     for i in range(16)]
        return bytes(s)


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def cbc_encrypt(aes, iv, data):
    out = b""
    for i in range(0, len(data), 16):
        iv = aes.encrypt(xor(iv, data[i:i + 16]))
        out += iv
    return out


def cbc_decrypt(aes, iv, data):
    out = b""
    for i in range(0, len(data), 16):
        out += xor(iv, aes.decrypt(data[i:i + 16]))
        iv = data[i:i + 16]
    return out


def ccm(aes, nonce, aad, data, is_open):
    """RFC 3610 with L = 3 and a tag of 8 bytes: data and tag."""
    stream = b"".join(aes.encrypt(b"\x02" + nonce + i.to_bytes(3, "big"))
                      for i in range(len(data) // 16 + 2))
    plain = xor(data, stream[16:]) if is_open else data
    blocks = b"\x5a" + nonce + len(data).to_bytes(3, "big")
    blocks += (struct.pack(">H", len(aad)) + aad).ljust(-(-(len(aad) + 2) // 16) * 16, b"\0")
    blocks += plain + bytes(-len(plain) % 16)
    return xor(data, stream[16:]), xor(cbc_encrypt(aes, bytes(16), blocks)[-16:], stream)[:8]


# ---- secrets ------------------------------------------------------------------------------------

def prf(secret, label, seed, length):
    seed, out, a = label + seed, b"", label + seed
    while len(out) < length:
        a = hmac.digest(secret, a, "sha256")
        out += hmac.digest(secret, a + seed, "sha256")
    return out[:length]


class Protection:
    """One direction's keys."""

    def __init__(self, suite, is_etm, mac_key, key, fixed_iv):
        self.suite, self.is_etm, self.mac_key, self.fixed_iv = suite, is_etm, mac_key, fixed_iv
        self.aes = Aes(key)

    def _mac(self, seq, head, data):
        return hmac.digest(self.mac_key, seq + head + struct.pack(">H", len(data)) + data, "sha256")

    def seal(self, seq, head, data, padding=0):
        """seq: 8 bytes; head: type and version; padding: whole blocks of CBC beyond need."""
        if self.suite not in CBC_SUITES:
            aad = seq + head + struct.pack(">H", len(data))
            return seq + b"".join(ccm(self.aes, self.fixed_iv + seq, aad, data, False))
        iv = os.urandom(16)
        if not self.is_etm:
            data += self._mac(seq, head, data)
        pad = 15 - len(data) % 16 + 16 * padding
        sealed = iv + cbc_encrypt(self.aes, iv, data + bytes([pad]) * (pad + 1))
        return sealed + self._mac(seq, head, sealed) if self.is_etm else sealed

    def open(self, seq, head, data):
        if self.suite not in CBC_SUITES:
            aad = seq + head + struct.pack(">H", len(data) - 16)
            plain, tag = ccm(self.aes, self.fixed_iv + data[:8], aad, data[8:-8], True)
            _check(tag == data[-8:], "a tag is wrong")
            return plain
        if self.is_etm:
            data, mac = data[:-32], data[-32:]
            _check(mac == self._mac(seq, head, data), "a MAC is wrong")
        plain = cbc_decrypt(self.aes, data[:16], data[16:])
        _check(len(plain) > plain[-1] and set(plain[-1 - plain[-1]:]) == {plain[-1]}, "padding")
        plain = plain[:-1 - plain[-1]]
        if not self.is_etm:
            plain, mac = plain[:-32], plain[-32:]
            _check(mac == self._mac(seq, head, plain), "a MAC is wrong")
        return plain


def _check(is_good, what):
    if not is_good:
        raise Fail(what)


# ---- messages -----------------------------------------------------------------------------------

EMS, ETM, TICKET, RENEGOTIATION = (23, b""), (22, b""), (35, b""), (0xFF01, b"\0")


def vector(width, data):
    return len(data).to_bytes(width, "big") + data


def extensions_of(pairs):
    return vector(2, b"".join(struct.pack(">H", t) + vector(2, body) for t, body in pairs))


class Client:
    """What TLS and DTLS have in common: a handshake, step by step."""

    version = b"\x03\x03"

    def __init__(self, key, identity):
        self.key, self.identity = key, identity
        self.padding = 0
        self.random = os.urandom(32)
        self.transcript = self.exchanged = b""
        self.suite = self.is_ems = self.is_etm = self.server_random = None
        self.write = self.read = None
        self.extensions = {}
        self.session_id = b""

    def hello_body(self, suites=(CCM_8,), extensions=(EMS, RENEGOTIATION), session_id=b"",
                   compressions=b"\0", version=None, cookie=None):
        body = (version or self.version) + self.random + vector(1, session_id)
        if cookie is not None:
            body += vector(1, cookie)
        body += vector(2, b"".join(struct.pack(">H", s) for s in suites)) + vector(1, compressions)
        return body if extensions is None else body + extensions_of(extensions)

    def take_hello(self, body):
        _check(body[:2] == self.version, f"version {body[:2].hex()}")
        self.server_random = body[2:34]
        at = 35 + body[34]
        self.session_id = body[35:at]
        self.suite = int.from_bytes(body[at:at + 2], "big")
        _check(body[at + 2] == 0, "compression")
        rest = body[at + 5:]
        while rest:
            kind, length = struct.unpack(">HH", rest[:4])
            _check(kind not in self.extensions, f"extension {kind} twice")
            self.extensions[kind] = rest[4:4 + length]
            rest = rest[4 + length:]
        self.is_ems, self.is_etm = 23 in self.extensions, 22 in self.extensions

    def note(self, kind, data):
        """A message of ours enters the transcript."""
        self.transcript += data
        if kind == 16:  # what the session hash is over (RFC 7627 3)
            self.exchanged = self.transcript

    def exchange_body(self):
        return vector(2, self.identity)

    def take_share(self, certificate, exchange):
        """The server's Certificate and ServerKeyExchange; gives our share."""
        _check(exchange[:4] == b"\3\0\x17\x41" and exchange[69:71] == b"\4\3", "what share")
        _check(odd_p256.verify(odd_p256.public_key(certificate),
                               self.random + self.server_random + exchange[:69], exchange[73:]),
               "the server's signature")
        secret = odd_p256.scalar()
        self.key = odd_p256.times(secret, odd_p256.decode(exchange[4:69]))[0]
        return vector(1, odd_p256.encode(odd_p256.times(secret)))

    def signature(self, key):
        """CertificateVerify, over all that was said."""
        return b"\4\3" + vector(2, odd_p256.sign(key, self.transcript))

    def make_keys(self):
        if isinstance(self.key, int):  # what an exchange of shares has come to
            premaster = self.key.to_bytes(32, "big")
        else:
            premaster = vector(2, bytes(len(self.key))) + vector(2, self.key)
        seed, label = self.random + self.server_random, b"master secret"
        if self.is_ems:
            seed, label = hashlib.sha256(self.exchanged).digest(), b"extended master secret"
        self.use_master(prf(premaster, label, seed, 48))

    def use_master(self, master):
        self.master = master
        mac_len, iv_len = (32, 0) if self.suite in CBC_SUITES else (0, 4)
        block = prf(self.master, b"key expansion", self.server_random + self.random, 104)
        parts = []
        for length in (mac_len, mac_len, 16, 16, iv_len, iv_len):
            parts.append(block[:length])
            block = block[length:]
        self.write, self.read = (Protection(self.suite, self.is_etm, parts[i], parts[2 + i],
                                            parts[4 + i]) for i in (0, 1))

    def verify_data(self, who):
        digest = hashlib.sha256(self.transcript).digest()
        return prf(self.master, who + b" finished", digest, 12)


class Stream(Client):
    """On TCP. Records are sent as they are made, or held back and sent together."""

    def __init__(self, port, key, identity=b"device"):
        super().__init__(key, identity)
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.held, self.is_held = b"", False
        self.write_seq = self.read_seq = 0
        self.is_sealing = self.is_opening = False
        self.messages = b""

    def send(self, data):
        if self.is_held:
            self.held += data
        else:
            self.socket.sendall(self.held + data)
            self.held = b""

    def record(self, kind, data, version=None):
        head = bytes([kind]) + (version or self.version)
        if self.is_sealing:
            data = self.write.seal(struct.pack(">Q", self.write_seq), head, data, self.padding)
            self.write_seq += 1
        self.send(head + vector(2, data))

    def said(self, kind, body):
        """A message that counts as sent."""
        data = bytes([kind]) + vector(3, body)
        self.note(kind, data)
        return data

    def message(self, kind, body, part=None, version=None):
        """In records of at most `part` bytes."""
        data = self.said(kind, body)
        for i in range(0, len(data), part or len(data)):
            self.record(HANDSHAKE, data[i:i + (part or len(data))], version)

    def _exactly(self, length):
        data = b""
        while len(data) < length:
            more = self.socket.recv(length - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def next_record(self):
        head = self._exactly(5)
        data = self._exactly(int.from_bytes(head[3:], "big"))
        if self.is_opening:
            data = self.read.open(struct.pack(">Q", self.read_seq), head[:3], data)
            self.read_seq += 1
        if head[0] == ALERT:
            raise Alert(*data)
        return head[0], data

    def next_message(self):
        while len(self.messages) < 4 or \
                len(self.messages) < 4 + int.from_bytes(self.messages[1:4], "big"):
            kind, data = self.next_record()
            _check(kind == HANDSHAKE, f"record of type {kind}")
            self.messages += data
        length = 4 + int.from_bytes(self.messages[1:4], "big")
        whole, self.messages = self.messages[:length], self.messages[length:]
        return whole

    def expect(self, kind):
        whole = self.next_message()
        _check(whole[0] == kind, f"message {whole[0]} instead of {kind}")
        if kind == 20:
            _check(whole[4:] == self.verify_data(b"server"), "the server's Finished")
        self.transcript += whole
        return whole[4:]

    def greet(self, part=None, record_version=None, **hello):
        self.message(1, self.hello_body(**hello), part, record_version)
        self.take_hello(self.expect(2))
        self.expect(14)

    def greet_with_certificates(self, **hello):
        """As far as ServerHelloDone; gives our share."""
        self.message(1, self.hello_body(**hello))
        self.take_hello(self.expect(2))
        share = self.take_share(self.expect(11), self.expect(12))
        self.expect(13)
        self.expect(14)
        return share

    def finish(self, part=None, finished_part=None):
        self.message(16, self.exchange_body(), part)
        self.end(finished_part)

    def end(self, part=None):
        """From the keys on."""
        self.make_keys()
        self.record(CCS, b"\1")
        self.is_sealing = True
        self.is_held = False
        self.message(20, self.verify_data(b"client"), part)
        self.await_finished()

    def await_finished(self):
        if 35 in self.extensions:
            self.expect(4)
        _check(self.next_record() == (CCS, b"\1"), "ChangeCipherSpec")
        self.is_opening = True
        self.expect(20)

    def data(self, length):
        out = b""
        while len(out) < length:
            kind, data = self.next_record()
            _check(kind == DATA, f"record of type {kind}")
            out += data
        return out

    def close(self):
        self.socket.close()


class Alert(Exception):
    """One came."""

    def __init__(self, level, description):
        super().__init__(f"alert {level} {description}")
        self.level, self.description = level, description


class Datagram(Client):
    """On UDP: records collect in `packet`, and go out with flush()."""

    version = b"\xfe\xfd"

    def __init__(self, port, key, identity=b"device"):
        super().__init__(key, identity)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", port))
        self.socket.settimeout(PATIENCE)
        self.seq = [0, 0]
        self.message_seq = 0
        self.packet = b""
        self.had = []  # records received and not looked at
        self.server_seq = 0
        self.parts = {}

    def record(self, kind, data, epoch=0, version=None):
        number = struct.pack(">HHI", epoch, self.seq[epoch] >> 32, self.seq[epoch] & 0xFFFFFFFF)
        self.seq[epoch] += 1
        head = bytes([kind]) + (version or self.version)
        if epoch:
            data = self.write.seal(number, head, data, self.padding)
        self.packet += head + number + vector(2, data)

    def flush(self):
        if self.packet:
            self.socket.send(self.packet)
        self.packet = b""

    @staticmethod
    def fragment(kind, body, seq, begin, end):
        return bytes([kind]) + len(body).to_bytes(3, "big") + struct.pack(">H", seq) + \
            begin.to_bytes(3, "big") + (end - begin).to_bytes(3, "big") + body[begin:end]

    def message(self, kind, body, ranges=None, epoch=0, version=None, is_each=False):
        """In fragments [begin, end), each a record of its own."""
        seq = self.message_seq
        self.message_seq += 1
        self.note(kind, self.fragment(kind, body, seq, 0, len(body)))
        for begin, end in ranges or [(0, len(body))]:
            self.record(HANDSHAKE, self.fragment(kind, body, seq, begin, end), epoch, version)
            if is_each:
                self.flush()

    def next_record(self):
        while not self.had:
            data = self.socket.recv(65536)
            while len(data) >= 13:
                length = int.from_bytes(data[11:13], "big")
                self.had.append((data[:13], data[13:13 + length]))
                data = data[13 + length:]
        head, data = self.had.pop(0)
        if head[3:5] != b"\0\0":
            if self.read is None:
                return self.next_record()
            data = self.read.open(head[3:11], head[:3], data)
        if head[0] == ALERT:
            raise Alert(*data)
        return head[0], data

    def expect(self, kind):
        while True:
            record_kind, data = self.next_record()
            if record_kind != HANDSHAKE:
                continue
            while data:
                length, seq = int.from_bytes(data[1:4], "big"), int.from_bytes(data[4:6], "big")
                begin, size = (int.from_bytes(data[i:i + 3], "big") for i in (6, 9))
                part, first, data = data[12:12 + size], data[0], data[12 + size:]
                if seq != self.server_seq:
                    continue
                whole = self.parts.setdefault(seq, bytearray(length))
                whole[begin:begin + size] = part
                if begin + size < length:
                    continue
                _check(first == kind, f"message {first} instead of {kind}")
                self.server_seq += 1
                if data:  # what else is in the record
                    self.had.insert(0, (bytes([HANDSHAKE]) + bytes(12), data))
                if kind == 20:
                    _check(bytes(whole) == self.verify_data(b"server"), "the server's Finished")
                self.transcript += self.fragment(kind, bytes(whole), seq, 0, length)
                return bytes(whole)

    def say_hello(self, ranges=None, is_each=False, version=None, **hello):
        self.message(1, self.hello_body(cookie=b"", **hello), version=version)
        self.flush()
        cookie = self.expect(3)[3:]
        self.transcript = b""
        self.message(1, self.hello_body(cookie=cookie, **hello), ranges, 0, version, is_each)
        self.flush()
        self.take_hello(self.expect(2))

    def greet(self, **hello):
        self.say_hello(**hello)
        self.expect(14)

    def greet_with_certificates(self, **hello):
        self.say_hello(**hello)
        share = self.take_share(self.expect(11), self.expect(12))
        self.expect(13)
        self.expect(14)
        return share

    def send_exchange(self, ranges=None, is_each=False):
        self.message(16, self.exchange_body(), ranges, 0, None, is_each)
        self.make_keys()

    def send_rest(self, ranges=None, is_each=False):
        self.record(CCS, b"\1")
        if is_each:
            self.flush()
        self.message(20, self.verify_data(b"client"), ranges, 1, None, is_each)
        self.flush()

    def await_finished(self):
        if 35 in self.extensions:
            self.expect(4)
        self.expect(20)

    def finish(self, ranges=None, finished_ranges=None, is_each=False):
        self.send_exchange(ranges, is_each)
        self.send_rest(finished_ranges, is_each)
        self.await_finished()

    def data(self):
        while True:
            kind, data = self.next_record()
            if kind == DATA:
                return data

    def is_silent(self, seconds=0.2):
        self.socket.settimeout(seconds)
        try:
            self.next_record()
            return False
        except (TimeoutError, socket.timeout):
            return True
        finally:
            self.socket.settimeout(PATIENCE)

    def close(self):
        self.socket.close()

