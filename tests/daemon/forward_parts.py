"""forward_parts.py - the ends of a forwarded association: a device that stays (openssl s_client),
an upstream that speaks when told to, and a parser of PROXY protocol headers written from its
specification, which shares nothing with the encoder under test."""
import ipaddress
import queue
import socket
import struct
import subprocess
import threading

import process_test

PATIENCE = process_test.PATIENCE
SUITES = {"tls": "PSK-AES128-CBC-SHA256", "dtls": "PSK-AES128-CCM8"}


class Device:
    """A device with an association that lasts: what it says and hears."""

    def __init__(self, port, transport, *options, identity="dev", key=process_test.KEY):
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-quiet", "-no_ign_eof", "-nocommands",
             "-tls1_2" if transport == "tls" else "-dtls1_2",
             "-connect", f"127.0.0.1:{port}", "-cipher", f"{SUITES[transport]}:@SECLEVEL=0",
             "-psk_identity", identity, "-psk", key, *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.heard = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            data = self.process.stdout.read1(65536)
            self.heard.put(data)
            if not data:
                return

    def say(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def hear(self, patience=PATIENCE):
        """What came next; b"" is the end, queue.Empty is silence."""
        return self.heard.get(timeout=patience)

    def hear_all(self, length):
        data = b""
        while len(data) < length:
            part = self.hear()
            if not part:
                break
            data += part
        return data

    def end(self):
        """s_client says close_notify when its input ends."""
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        if not self.process.stdin.closed:
            self.process.stdin.close()


def udp_upstream(port=0, family=socket.AF_INET):
    upstream = socket.socket(family, socket.SOCK_DGRAM)
    upstream.bind(("127.0.0.1" if family == socket.AF_INET else "::1", port))
    upstream.settimeout(PATIENCE)
    return upstream


def tcp_upstream(family=socket.AF_INET, backlog=16, port=0):
    upstream = socket.socket(family, socket.SOCK_STREAM)
    upstream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    upstream.bind(("127.0.0.1" if family == socket.AF_INET else "::1", port))
    upstream.listen(backlog)
    upstream.settimeout(PATIENCE)
    return upstream


def accept(upstream):
    connection, _ = upstream.accept()
    connection.settimeout(PATIENCE)
    return connection


def read_exactly(connection, length):
    data = b""
    while len(data) < length:
        part = connection.recv(min(65536, length - len(data)))
        if not part:
            raise AssertionError(f"the end after {len(data)} of {length} bytes")
        data += part
    return data


def read_to_end(connection):
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def read_header(connection):
    """The PROXY header at the beginning of a stream, parsed."""
    data = read_exactly(connection, 16)
    data += read_exactly(connection, struct.unpack_from("!H", data, 14)[0])
    return parse_proxy(data)[0]


def parse_tlvs(data):
    tlvs = {}
    while data:
        kind, length = struct.unpack_from("!BH", data)
        if len(data) < 3 + length or kind in tlvs:
            raise AssertionError(f"TLV {kind:#x} is cut short or there twice")
        tlvs[kind] = data[3:3 + length]
        data = data[3 + length:]
    return tlvs


def parse_proxy(data):
    """The header's fields, and what follows it."""
    if data[:12] != bytes.fromhex("0d0a0d0a000d0a515549540a"):
        raise AssertionError(f"no PROXY v2 signature: {data[:16]!r}")
    command, kind, length = struct.unpack_from("!BBH", data, 12)
    body, rest = data[16:16 + length], data[16 + length:]
    if command != 0x21 or len(body) != length:
        raise AssertionError("not version 2 PROXY, or cut short")
    size = {1: 4, 2: 16}[kind >> 4]
    ports = struct.unpack_from("!HH", body, 2 * size)
    tlvs = parse_tlvs(body[2 * size + 4:])
    ssl = tlvs[0x20]
    return {"protocol": {1: "stream", 2: "datagram"}[kind & 15],
            "source": (str(ipaddress.ip_address(body[:size])), ports[0]),
            "destination": (str(ipaddress.ip_address(body[size:2 * size])), ports[1]),
            "tlvs": tlvs, "client": ssl[0], "verify": struct.unpack("!I", ssl[1:5])[0],
            "ssl": parse_tlvs(ssl[5:])}, rest
