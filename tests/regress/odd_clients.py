#!/usr/bin/env python3
"""odd_clients.py --binary HANDFASTD [TEST...] - clients that are odd but within the standards must
be served by a running handfastd, and those that are not must be told so. Made by hand (odd_tls.py);
one daemon for all of them, which has to stay as it was."""
import argparse
import os
import re
import socket
import struct
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
from harness import IO, Process  # noqa: E402
from odd_tls import (ALERT, CBC, CCM_8, CCS, DATA, EMS, ETM, HANDSHAKE, PATIENCE,  # noqa: E402
                     RENEGOTIATION, TICKET, Alert, Datagram, Stream, vector)

KEY = bytes.fromhex("8f1d2c3b4a5968778695a4b3c2d1e0f1")
UNEXPECTED, DECODE, ILLEGAL, HANDSHAKE_FAILURE, VERSION = 10, 50, 47, 40, 70
BAD_MAC, DECRYPT, CLOSE, NO_RENEGOTIATION = 20, 51, 0, 100
GREASE = (0x0A0A, 0x1A1A, 0x2A2A, 0xFAFA)

# What a browser of 2026 says, more or less; as bodies of extensions.
BROWSER = (
    (0x2A2A, b""), (0, vector(2, b"\0" + vector(2, b"in-cse.example.org"))), EMS, RENEGOTIATION,
    (10, vector(2, struct.pack(">5H", 0x3A3A, 0x11EC, 29, 23, 24))), (11, b"\1\0"), TICKET,
    (16, vector(2, b"\x02h2\x08http/1.1")), (5, b"\1\0\0\0\0"),
    (13, vector(2, struct.pack(">4H", 0x0403, 0x0804, 0x0401, 0x0503))), (18, b""),
    (51, vector(2, struct.pack(">HH", 0x11EC, 1216) + bytes(1216) + struct.pack(">HH", 29, 32) +
                bytes(32))),
    (45, b"\1\1"), (43, vector(1, struct.pack(">4H", 0x5A5A, 0x0304, 0x0303, 0x0302))),
    (27, b"\2\0\2"), (17513, b"\0\3\2h2"), (65037, b"\0" + bytes(200)), (0xDADA, b"\0"),
    (21, bytes(300)))


class Daemon:
    """A handfastd that gives back what it is told."""

    def __init__(self, binary, directory, *options):
        keys = os.path.join(directory, "keys")
        with open(keys, "wb") as file:
            file.write(b"device:" + KEY.hex().encode() + b":/in-cse/Cdevice\n")
        os.chmod(keys, 0o600)
        self.process = Process([binary, "--psk-file", keys, "--log-format", "logfmt", "--dtls",
                                "127.0.0.1:0", "--tls", "127.0.0.1:0", "--shards=1",
                                "--respond=echo", "--session-tickets", "--session-cache=1000",
                                *IO, *options])
        self.process.expect(rb"event=ready[^\n]*\n", PATIENCE, "the daemon to be ready")
        found = re.findall(rb"event=listening transport=(\w+) address=\S+?:(\d+)\s",
                           self.process.output)
        self.ports = {transport.decode(): int(port) for transport, port in found}

    def is_stopped_well(self):
        self.process.process.terminate()
        status = self.process.wait(PATIENCE)
        text = self.process.output.decode(errors="replace")
        is_clean = status == 0 and "Sanitizer" not in text and "runtime error" not in text
        if not is_clean:
            print(f"handfastd ended with {status}:\n{text[-4000:]}")
        return is_clean


class Case(unittest.TestCase):
    """What both transports need."""

    daemon = None

    def stream(self, key=KEY, identity=b"device"):
        client = Stream(self.daemon.ports["tls"], key, identity)
        self.addCleanup(client.close)
        return client

    def datagram(self, key=KEY, identity=b"device"):
        client = Datagram(self.daemon.ports["dtls"], key, identity)
        self.addCleanup(client.close)
        return client

    def echo(self, client, data=b"are you there?"):
        client.record(DATA, data)
        self.assertEqual(client.data(len(data)), data)

    def echo_datagram(self, client, data=b"are you there?"):
        client.record(DATA, data, 1)
        client.flush()
        self.assertEqual(client.data(), data)

    def opened(self, finish=None, **hello):
        client = self.stream()
        client.greet(**hello)
        client.finish(**(finish or {}))
        self.echo(client)
        return client

    def opened_datagram(self, finish=None, **hello):
        client = self.datagram()
        client.greet(**hello)
        client.finish(**(finish or {}))
        self.echo_datagram(client)
        return client

    def refused(self, client, *descriptions):
        """The next record is a fatal alert; behind it comes the end."""
        with self.assertRaises(Alert) as caught:
            client.next_record()
        self.assertEqual(caught.exception.level, 2)
        self.assertIn(caught.exception.description, descriptions)
        try:
            self.assertEqual(client.socket.recv(1), b"")
        except ConnectionResetError:
            pass


class StreamTest(Case):
    """TLS."""

    def test_suites_and_modes(self):
        for suite in (CBC, CCM_8):
            for extensions in ((EMS,), (EMS, ETM), (ETM,), (), None, (EMS, ETM, TICKET)):
                client = self.opened(suites=(0x00FF, suite), extensions=extensions)
                self.assertEqual(client.is_etm, suite == CBC and ETM in (extensions or ()))
                self.assertEqual(client.is_ems, EMS in (extensions or ()))

    def test_whatever_the_records(self):
        for part in (1, 3, 7, None):
            self.opened(part=part, finish={"part": part, "finished_part": part})

    def test_a_byte_at_a_time(self):
        client = self.stream()
        client.is_held = True
        client.message(1, client.hello_body())
        for i in range(len(client.held)):
            client.socket.sendall(client.held[i:i + 1])
        client.held, client.is_held = b"", False
        client.take_hello(client.expect(2))
        client.expect(14)
        client.finish()
        self.echo(client)

    def test_a_flight_in_one_segment(self):
        client = self.stream()
        client.greet()
        client.is_held = True
        client.message(16, client.exchange_body())
        client.make_keys()
        client.record(CCS, b"\1")
        client.is_sealing = True
        client.message(20, client.verify_data(b"client"))
        client.record(DATA, b"early, but behind Finished")
        client.is_held = False
        client.send(b"")
        client.await_finished()
        self.assertEqual(client.data(26), b"early, but behind Finished")

    def test_versions_of_the_first_record(self):
        for version in (b"\3\0", b"\3\1", b"\3\2", b"\3\3", b"\3\4", b"\3\x7f"):
            self.opened(record_version=version)

    def test_versions_of_the_hello(self):
        for version in (b"\3\3", b"\3\4", b"\3\xff", b"\4\0", b"\xff\xff"):
            self.opened(version=version)
        for version in (b"\3\2", b"\3\1", b"\3\0", b"\2\0", b"\0\0"):
            client = self.stream()
            client.message(1, client.hello_body(version=version))
            self.refused(client, VERSION)

    def test_a_browser(self):
        for session_id in (b"", os.urandom(32)):
            self.opened(suites=(*GREASE, 0x1301, 0xC02B, CBC, CCM_8), extensions=BROWSER,
                        session_id=session_id)
        client = self.stream()
        client.message(1, client.hello_body(suites=(0x1301, 0x1302, 0x1303), extensions=BROWSER))
        self.refused(client, HANDSHAKE_FAILURE)

    def test_session_ids_and_tickets_of_nobody(self):
        for length in (0, 1, 8, 31, 32):
            self.opened(session_id=os.urandom(length))
        for length in (0, 1, 15, 16, 47, 48, 49, 200, 600, 3000):
            for session_id in (b"", os.urandom(32)):
                client = self.opened(session_id=session_id,
                                     extensions=(EMS, (35, os.urandom(length))))
                self.assertTrue(client.session_id == b"" or client.session_id != session_id)

    def test_compressions(self):
        for methods in (b"\0", b"\1\0", b"\x40\1\0", bytes(range(1, 255)) + b"\0"):
            self.opened(compressions=methods)
        client = self.stream()
        client.message(1, client.hello_body(compressions=b"\1"))
        self.refused(client, ILLEGAL)

    def test_extensions_without_end(self):
        for count in (10, 64, 65, 200, 900):
            many = tuple((0x4000 + i, b"") for i in range(count))
            self.opened(extensions=(EMS, *many))
        for length in (0, 1, 200, 512, 1500, 3900):
            self.opened(extensions=(EMS, (21, bytes(length))))

    def test_renegotiation_is_declined(self):
        client = self.opened()
        for _ in range(2):
            client.message(1, client.hello_body())
            with self.assertRaises(Alert) as caught:
                client.next_record()
            self.assertEqual((caught.exception.level, caught.exception.description),
                             (1, NO_RENEGOTIATION))
            self.echo(client)

    def test_empty_records_and_warnings(self):
        client = self.opened()
        for _ in range(5):
            client.record(DATA, b"")
            client.record(ALERT, b"\1\x5a")  # user_canceled
            self.echo(client)
        for _ in range(41):
            client.record(DATA, b"")
        self.refused(client, UNEXPECTED)

    def test_warnings_within_the_handshake(self):
        client = self.stream()
        client.record(ALERT, b"\1\x5a")
        client.greet()
        client.record(ALERT, b"\1\x5a")
        client.finish()
        self.echo(client)

    def test_the_longest_records(self):
        client = self.opened()
        data = os.urandom(16384)
        self.echo(client, data)
        client.record(DATA, bytes(16385))
        self.refused(client, 22)

    def test_any_padding(self):
        for extensions in ((EMS,), (EMS, ETM)):
            client = self.opened(suites=(CBC,), extensions=extensions)
            for client.padding in range(16):
                for length in (1, 15, 16):
                    self.echo(client, os.urandom(length))

    def test_close_notify(self):
        client = self.opened()
        client.record(ALERT, b"\1\0")
        with self.assertRaises(Alert) as caught:
            client.next_record()
        self.assertEqual((caught.exception.level, caught.exception.description), (1, CLOSE))
        self.assertEqual(client.socket.recv(1), b"")

    def test_half_close(self):
        """What was said before close_notify is answered, behind a FIN too."""
        for is_shut in (False, True):
            client = self.stream()
            client.greet()
            client.finish()
            client.is_held = True
            client.record(DATA, b"last words")
            client.record(ALERT, b"\1\0")
            client.is_held = False
            client.send(b"")
            if is_shut:
                client.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(client.data(10), b"last words")
            with self.assertRaises(Alert) as caught:
                client.next_record()
            self.assertEqual((caught.exception.level, caught.exception.description), (1, CLOSE))

    def test_a_fin_and_nothing_else(self):
        client = self.opened()
        client.socket.shutdown(socket.SHUT_WR)
        with self.assertRaises((Alert, EOFError, ConnectionResetError)):
            client.next_record()

    def test_other_protocols(self):
        sslv2 = b"\x80\x2e\x01\x03\x03\x00\x15\x00\x00\x00\x10" + bytes(37)
        for data in (sslv2, b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", bytes(64), b"\xff" * 64,
                     b"\x16\x02\x00\x00\x10" + bytes(16)):
            client = self.stream()
            client.socket.sendall(data)
            self.refused(client, UNEXPECTED, VERSION, DECODE)

    def test_change_cipher_spec_out_of_turn(self):
        client = self.stream()
        client.message(1, client.hello_body())
        client.record(CCS, b"\1")  # as a client of TLS 1.3 would, with early data
        client.expect(2)
        client.expect(14)
        self.refused(client, UNEXPECTED)
        client = self.stream()
        client.record(CCS, b"\1")
        self.refused(client, UNEXPECTED)
        client = self.stream()
        client.greet()
        client.message(16, client.exchange_body())
        client.make_keys()
        client.record(CCS, b"\1")
        client.record(CCS, b"\1")
        self.refused(client, BAD_MAC, UNEXPECTED)

    def test_finished_of_another_transcript(self):
        client = self.stream()
        client.greet()
        client.message(16, client.exchange_body())
        client.make_keys()
        client.record(CCS, b"\1")
        client.is_sealing = True
        client.message(20, bytes(12))
        self.refused(client, DECRYPT)

    def test_wrong_keys_and_nobody(self):
        said = []
        for key, identity in ((bytes(16), b"device"), (KEY, b"nobody"), (KEY, b"x" * 1000)):
            client = self.stream(key, identity)
            client.greet()
            with self.assertRaises(Alert) as caught:
                client.finish()
            said.append((caught.exception.level, caught.exception.description))
        self.assertEqual(said, [(2, BAD_MAC)] * 3)

    def test_data_before_its_time(self):
        for stage in range(3):
            client = self.stream()
            if stage > 0:
                client.greet()
            if stage > 1:
                client.message(16, client.exchange_body())
                client.make_keys()
                client.record(CCS, b"\1")
                client.is_sealing = True
            client.record(DATA, b"now?")
            self.refused(client, UNEXPECTED)

    def test_messages_out_of_turn(self):
        for kind in (0, 2, 4, 11, 12, 13, 14, 15, 20, 22, 24, 67, 255):
            client = self.stream()
            client.greet()
            client.message(kind, b"\0\0")
            self.refused(client, UNEXPECTED)

    def test_a_session_by_id_and_by_ticket(self):
        for extensions in ((EMS, RENEGOTIATION), (EMS, TICKET)):
            first = self.stream()
            first.greet(extensions=extensions)
            first.message(16, first.exchange_body())
            first.make_keys()
            first.record(CCS, b"\1")
            first.is_sealing = True
            first.message(20, first.verify_data(b"client"))
            ticket = first.expect(4)[6:] if TICKET in extensions else None
            self.assertEqual(first.next_record(), (CCS, b"\1"))
            first.is_opening = True
            first.expect(20)
            session_id = first.session_id or os.urandom(32)
            self.echo(first)
            offered = (EMS, (35, ticket)) if ticket else extensions
            for suites, is_resumed in (((CCM_8,), True), ((CBC, CCM_8), True), ((CBC,), False)):
                client = self.stream()
                client.message(1, client.hello_body(suites=suites, session_id=session_id,
                                                    extensions=offered))
                client.take_hello(client.expect(2))
                self.assertEqual(client.session_id == session_id, is_resumed)
                if is_resumed:
                    self.resume(client, first)
                else:
                    client.expect(14)
                    client.finish()
                self.echo(client)
            without = tuple(e for e in offered if e != EMS)
            client = self.stream()
            client.message(1, client.hello_body(session_id=session_id, extensions=without))
            self.refused(client, HANDSHAKE_FAILURE)  # RFC 7627 5.3

    def resume(self, client, first):
        """The second half of an abbreviated handshake."""
        client.use_master(first.master)
        self.assertEqual(client.next_record(), (CCS, b"\1"))
        client.is_opening = True
        client.expect(20)
        client.record(CCS, b"\1")
        client.is_sealing = True
        client.message(20, client.verify_data(b"client"))


class DatagramTest(Case):
    """DTLS."""

    def test_suites_and_modes(self):
        for suite in (CBC, CCM_8):
            for extensions in ((EMS,), (EMS, ETM), (), None, (EMS, ETM, TICKET)):
                client = self.opened_datagram(suites=(suite,), extensions=extensions)
                self.assertEqual(client.is_etm, suite == CBC and ETM in (extensions or ()))

    def test_fragments_in_any_order(self):
        length = len(vector(2, b"device"))
        for ranges in ([(i, i + 1) for i in range(length)],
                       [(i, i + 1) for i in reversed(range(length))],
                       [(4, length), (0, 5)], [(0, 5), (3, length)], [(2, 4), (0, length)],
                       [(0, 3), (0, 3), (0, length)], [(0, length), (0, length)]):
            for is_each in (False, True):
                self.opened_datagram(finish={"ranges": ranges, "is_each": is_each})
        for ranges in ([(6, 12), (0, 6)], [(i, i + 1) for i in range(12)],
                       [(4, 12), (0, 8)], [(0, 12), (0, 12)]):
            for is_each in (False, True):
                self.opened_datagram(finish={"finished_ranges": ranges, "is_each": is_each})

    def test_hellos_in_fragments(self):
        probe = self.datagram()
        length = len(probe.hello_body(cookie=bytes(17)))
        for ranges in ([(0, 60), (60, length)], [(0, 60), (50, length)],
                       [(0, 60), (70, length), (60, 70)],
                       [(0, 60)] + [(i, i + 1) for i in range(60, length)],
                       [(0, 60), (0, length)], [(0, length), (0, length)]):
            for is_each in (False, True):
                self.opened_datagram(ranges=ranges, is_each=is_each)

    def test_versions(self):
        for version in (b"\xfe\xff", b"\xfe\xfd"):
            self.opened_datagram(version=version)

    def test_a_modern_peer(self):
        modern = (EMS, RENEGOTIATION, TICKET, (43, b"\4\xfe\xfc\xfe\xfd"), (0x6A6A, b""),
                  (51, vector(2, struct.pack(">HH", 29, 32) + bytes(32))), (61, b""),
                  (21, bytes(99)))
        for session_id in (b"", os.urandom(32)):
            self.opened_datagram(suites=(*GREASE, 0x1301, CCM_8), extensions=modern,
                                 session_id=session_id)

    def test_the_end_before_the_beginning(self):
        """ChangeCipherSpec and Finished overtake ClientKeyExchange."""
        client = self.datagram()
        client.greet()
        client.send_exchange()
        exchange, client.packet = client.packet, b""
        client.send_rest()
        client.socket.send(exchange)
        client.await_finished()
        self.echo_datagram(client)

    def test_each_record_twice(self):
        client = self.datagram()
        client.greet()
        client.send_exchange()
        client.packet += client.packet
        client.record(CCS, b"\1")
        client.packet += client.packet[-14:]
        client.message(20, client.verify_data(b"client"), None, 1)
        last = client.packet
        client.flush()
        client.socket.send(last)
        client.await_finished()
        self.echo_datagram(client)
        client.socket.send(last)
        self.assertTrue(client.is_silent())  # nothing in it is new
        self.echo_datagram(client)

    def test_finished_again(self):
        client = self.opened_datagram()
        client.message_seq -= 1
        client.transcript = b""
        client.message(20, bytes(12), None, 1)
        client.flush()
        client.server_seq -= 1
        kind, data = client.next_record()
        self.assertEqual(kind, CCS)
        kind, data = client.next_record()
        self.assertEqual((kind, data[0]), (HANDSHAKE, 20))
        self.echo_datagram(client)

    def test_noise_between(self):
        client = self.datagram()
        client.greet()
        plain, sealed = b"\xfe\xfd" + bytes(8), b"\xfe\xfd\0\1" + bytes(6)
        noise = [bytes([kind]) + head + vector(2, data) for kind, head, data in (
            (HANDSHAKE, plain, b""), (HANDSHAKE, plain, bytes(9)), (CCS, plain, b"\1\1"),
            (ALERT, plain, b"\2\x28"), (DATA, sealed, b"abcd"), (25, sealed, bytes(30)),
            (HANDSHAKE, sealed, bytes(32)), (99, plain, b"x"))]
        for data in noise:
            client.socket.send(data)
        client.send_exchange()
        client.packet = noise[2] + client.packet
        client.flush()
        for data in noise:
            client.socket.send(data)
        client.send_rest()
        for data in noise:
            client.socket.send(data)
        client.await_finished()
        self.echo_datagram(client)

    def test_begun_again_from_one_port(self):
        client = self.opened_datagram()
        again = self.datagram()
        again.socket.close()
        again.socket = client.socket
        again.greet()
        client.socket = client.socket.dup()
        again.finish()
        self.echo_datagram(again)

    def test_close_notify(self):
        client = self.opened_datagram()
        client.record(ALERT, b"\1\0", 1)
        client.flush()
        with self.assertRaises(Alert) as caught:
            client.next_record()
        self.assertEqual((caught.exception.level, caught.exception.description), (1, CLOSE))
        client.record(DATA, b"still there?", 1)
        client.flush()
        self.assertTrue(client.is_silent())

    def test_empty_records_and_warnings(self):
        client = self.opened_datagram()
        for _ in range(5):
            client.record(DATA, b"", 1)
            client.record(ALERT, b"\1\x5a", 1)
            self.echo_datagram(client)

    def test_wrong_key_is_silence(self):
        client = self.datagram(bytes(16))
        client.greet()
        client.send_exchange()
        client.send_rest()
        self.assertTrue(client.is_silent())

    def test_renegotiation_is_declined(self):
        client = self.opened_datagram()
        client.message(1, client.hello_body(cookie=b""), None, 1)
        client.flush()
        with self.assertRaises(Alert) as caught:
            client.next_record()
        self.assertEqual((caught.exception.level, caught.exception.description),
                         (1, NO_RENEGOTIATION))
        self.echo_datagram(client)


def run_cases(daemon, arguments):
    """The exit status, once the daemon has ended, whatever comes."""
    Case.daemon = daemon
    try:
        is_good = unittest.main(argv=[sys.argv[0], *arguments], exit=False).result.wasSuccessful()
    finally:
        is_clean = daemon.is_stopped_well()
    return 0 if is_good and is_clean else 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    options, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as directory:
        sys.exit(run_cases(Daemon(options.binary, directory), rest))


if __name__ == "__main__":
    main()
