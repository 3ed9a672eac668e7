#!/usr/bin/env python3
"""odd_certificates.py --binary HANDFASTD --handfast HANDFAST [TEST...] - as odd_clients.py, with
certificates: flights in any shape that is allowed, and whatever must not pass for a proof."""
import argparse
import os
import subprocess
import sys
import tempfile

import odd_p256
from odd_clients import (DECODE, DECRYPT, HANDSHAKE_FAILURE, ILLEGAL, UNEXPECTED, Case, Daemon,
                         run_cases)
from odd_tls import CCS, DATA, EC_CBC, EC_CCM_8, EMS, ETM, HANDSHAKE, RENEGOTIATION, TICKET, vector

HERE = os.path.dirname(os.path.abspath(__file__))
BAD_CERTIFICATE, UNSUPPORTED, REVOKED, EXPIRED, UNKNOWN_CA = 42, 43, 44, 45, 48
GROUPS, FORMATS = (10, b"\0\4\x2a\x2a\0\x17"), (11, b"\1\0")
ALGORITHMS = (13, b"\0\x0a\x2a\x2a\x08\4\4\1\4\3\2\3")
USUAL = (EMS, RENEGOTIATION, GROUPS, FORMATS, ALGORITHMS)


class CertificateCase(Case):
    """Clients that have certificates of the lab's."""

    pki = None

    def chain(self, *names):
        ders = []
        for name in names:
            ders += odd_p256.pem(os.path.join(self.pki, name + ".pem"))
        return vector(3, b"".join(vector(3, der) for der in ders))

    def key(self, name="ae"):
        return odd_p256.private_key(os.path.join(self.pki, name + ".key"))

    def greeted(self, suites=(EC_CCM_8,), extensions=USUAL):
        client = self.stream()
        return client, client.greet_with_certificates(suites=suites, extensions=extensions)

    def refuse_chain(self, chain, *descriptions, name="ae"):
        client, share = self.greeted()
        client.message(11, chain)
        client.message(16, share)
        client.message(15, client.signature(self.key(name)))
        self.refused(client, *descriptions)


class StreamTest(CertificateCase):
    """TLS."""

    def test_suites_and_modes(self):
        for suite in (EC_CBC, EC_CCM_8):
            for extensions in (USUAL, (*USUAL, ETM), (*USUAL, TICKET), (GROUPS, ALGORITHMS),
                               (EMS, ALGORITHMS), (ALGORITHMS, (GROUPS[0], b"\0\2\0\x17"))):
                client, share = self.greeted((suite,), extensions)
                client.message(11, self.chain("ae"))
                client.message(16, share)
                client.message(15, client.signature(self.key()))
                client.end()
                self.echo(client)

    def test_whatever_the_records(self):
        for part in (1, 5, 100, None):
            client, share = self.greeted()
            client.message(11, self.chain("ae"), part)
            client.message(16, share, part)
            client.message(15, client.signature(self.key()), part)
            client.end(part)
            self.echo(client)

    def test_a_flight_in_one_record(self):
        client, share = self.greeted()
        flight = client.said(11, self.chain("ae")) + client.said(16, share)
        flight += client.said(15, client.signature(self.key()))
        client.is_held = True
        client.record(HANDSHAKE, flight)
        client.end()
        self.echo(client)

    def test_messages_that_straddle_records(self):
        client, share = self.greeted()
        flight = client.said(11, self.chain("ae")) + client.said(16, share)
        flight += client.said(15, client.signature(self.key()))
        for i in range(0, len(flight), 333):
            client.record(HANDSHAKE, flight[i:i + 333])
        client.end()
        self.echo(client)

    def test_the_anchor_may_be_there_and_nothing_else(self):
        client, share = self.greeted()
        client.message(11, self.chain("ae", "root"))
        client.message(16, share)
        client.message(15, client.signature(self.key()))
        client.end()
        self.echo(client)
        self.refuse_chain(self.chain("ae", "root", "root"), BAD_CERTIFICATE)
        self.refuse_chain(self.chain("ae", "nodes"), BAD_CERTIFICATE)

    def test_chains_of_others(self):
        leaf = odd_p256.pem(os.path.join(self.pki, "ae.pem"))[0]
        self.refuse_chain(vector(3, vector(3, leaf)), UNKNOWN_CA)
        self.refuse_chain(self.chain("ae-revoked"), REVOKED, name="ae-revoked")
        self.refuse_chain(self.chain("ae-expired"), EXPIRED, name="ae-expired")
        self.refuse_chain(self.chain("node"), UNSUPPORTED, name="node")
        self.refuse_chain(self.chain("sp"), UNSUPPORTED, name="sp")
        for at in (20, 100, 200, len(leaf) - 1):
            bent = leaf[:at] + bytes([leaf[at] ^ 1]) + leaf[at + 1:]
            rest = odd_p256.pem(os.path.join(self.pki, "ae.pem"))[1]
            self.refuse_chain(vector(3, vector(3, bent) + vector(3, rest)), BAD_CERTIFICATE,
                              UNSUPPORTED, UNKNOWN_CA, EXPIRED, DECODE)

    def test_no_certificate(self):
        for chain, alert in ((b"\0\0\0", HANDSHAKE_FAILURE), (b"", DECODE), (b"\0\0\1", DECODE),
                             (vector(3, b"\0\0\0"), DECODE), (vector(3, b"\0\0\5ab"), DECODE)):
            client, share = self.greeted()
            client.message(11, chain)
            client.message(16, share)
            client.message(15, client.signature(self.key()))
            self.refused(client, alert)

    def test_shares_that_are_none(self):
        for share, alert in ((b"", DECODE), (b"\0", DECODE), (b"\x41" + bytes(64), DECODE),
                             (vector(1, bytes(65)), ILLEGAL),
                             (vector(1, b"\4" + bytes(64)), ILLEGAL),
                             (vector(1, b"\4" + b"\xff" * 64), ILLEGAL),
                             (vector(1, b"\2" + odd_p256.encode(odd_p256.G)[1:33]), ILLEGAL),
                             (vector(1, odd_p256.encode(odd_p256.G)) + b"x", DECODE)):
            client, _ = self.greeted()
            client.message(11, self.chain("ae"))
            client.message(16, share)
            client.message(15, client.signature(self.key()))
            self.refused(client, alert)

    def test_proofs_that_are_none(self):
        good = b"\x30\6\2\1\1\2\1\1"
        for proof, alerts in ((b"", (DECODE,)), (b"\4\3\0\0", (DECODE,)),
                              (b"\4\3" + vector(2, good), (DECRYPT,)),
                              (b"\4\1" + vector(2, good), (ILLEGAL,)),
                              (b"\2\3" + vector(2, good), (ILLEGAL,)),
                              (b"\4\3" + vector(2, bytes(8)), (DECRYPT,)),
                              (b"\4\3" + vector(2, good + b"x"), (DECRYPT,)),
                              (b"\4\3" + vector(2, bytes(200)), (DECRYPT,)),
                              (b"\4\3" + vector(2, b"\x30\6\2\1\0\2\1\0"), (DECRYPT,)),
                              (vector(2, good), (ILLEGAL, DECODE))):
            client, share = self.greeted()
            client.message(11, self.chain("ae"))
            client.message(16, share)
            client.message(15, proof)
            self.refused(client, *alerts)

    def test_proofs_of_something_else(self):
        client, share = self.greeted()
        client.message(11, self.chain("ae"))
        early = client.signature(self.key())
        client.message(16, share)
        client.message(15, early)
        self.refused(client, DECRYPT)
        client, share = self.greeted()
        client.message(11, self.chain("ae"))
        client.message(16, share)
        client.message(15, client.signature(self.key("mn-cse")))
        self.refused(client, DECRYPT)

    def test_messages_left_out_or_moved(self):
        for order in ("ksn", "csn", "ckn", "skn", "cskn", "kcsn", "cks", "ccksn", "ckksn", "ckssn"):
            client, share = self.greeted()
            client.is_held = True
            for letter in order:
                if letter == "c":
                    client.message(11, self.chain("ae"))
                elif letter == "k":
                    client.message(16, share)
                elif letter == "s":
                    client.message(15, client.signature(self.key()))
                else:
                    client.make_keys()
                    client.record(CCS, b"\1")
                    client.is_sealing = True
            client.message(20, bytes(12))
            client.is_held = False
            client.send(b"")
            self.refused(client, UNEXPECTED, HANDSHAKE_FAILURE)

    def test_nothing_in_common(self):
        for extensions in ((EMS, GROUPS), (EMS, GROUPS, (13, b"\0\2\4\1")),
                           (EMS, ALGORITHMS, (10, b"\0\2\0\x1d"))):
            client = self.stream()
            client.message(1, client.hello_body(suites=(EC_CCM_8,), extensions=extensions))
            self.refused(client, HANDSHAKE_FAILURE)
        client = self.stream()
        strange = (*USUAL, (20, b"\1\x99"))  # a type of server certificate that nobody has
        client.message(1, client.hello_body(suites=(EC_CCM_8,), extensions=strange))
        self.refused(client, UNSUPPORTED)


class DatagramTest(CertificateCase):
    """DTLS."""

    def flight(self, client, share, size=None):
        """All of it, a record a packet."""
        packets = []

        def take(kind, body, epoch=0):
            step = size or len(body)
            ranges = [(i, min(i + step, len(body))) for i in range(0, len(body), step)]
            client.message(kind, body, ranges, epoch)
            while client.packet:
                length = 13 + int.from_bytes(client.packet[11:13], "big")
                packets.append(client.packet[:length])
                client.packet = client.packet[length:]

        take(11, self.chain("ae"))
        take(16, share)
        take(15, client.signature(self.key()))
        client.make_keys()
        client.record(CCS, b"\1")
        packets.append(client.packet)
        client.packet = b""
        take(20, client.verify_data(b"client"), 1)
        return packets

    def go(self, arrange, size=None):
        client = self.datagram()
        share = client.greet_with_certificates(suites=(EC_CCM_8,), extensions=USUAL)
        for packet in arrange(self.flight(client, share, size)):
            client.socket.send(packet)
        client.await_finished()
        self.echo_datagram(client)

    def test_flights_in_any_order(self):
        for arrange in (list, lambda p: p[::-1], lambda p: p[1:] + p[:1],
                        lambda p: [x for packet in p for x in (packet, packet)],
                        lambda p: p[1::2] + p[::2], lambda p: [b"".join(p)]):
            self.go(arrange)

    def test_fragments_in_any_order(self):
        for size in (20, 150):
            for arrange in (list, lambda p: [x for packet in p for x in (packet, packet)],
                            lambda p: [b"".join(p[i:i + 8]) for i in range(0, len(p), 8)]):
                self.go(arrange, size)
        self.go(lambda p: p[5::-1] + p[6:], 200)

    def test_data_with_the_last_flight(self):
        client = self.datagram()
        share = client.greet_with_certificates(suites=(EC_CCM_8,), extensions=USUAL)
        packets = self.flight(client, share)
        client.record(DATA, b"already", 1)
        client.socket.send(b"".join(packets[-2:]) + client.packet)
        client.packet = b""
        for packet in packets[:-2]:
            client.socket.send(packet)
        client.await_finished()
        self.assertEqual(client.data(), b"already")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--handfast", required=True)
    options, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as directory:
        CertificateCase.pki = pki = os.path.join(directory, "pki")
        subprocess.run(["sh", os.path.join(HERE, "../support/pki.sh"), options.handfast, pki],
                       check=True)
        daemon = Daemon(options.binary, directory, "--cert", pki + "/in-cse.pem", "--key",
                        pki + "/in-cse.key", "--client-ca", pki + "/anchors.pem", "--crl",
                        pki + "/all.crl")
        sys.exit(run_cases(daemon, rest))


if __name__ == "__main__":
    main()
