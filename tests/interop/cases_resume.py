"""cases_resume.py - other people's clients come back: resumption by session ID and by ticket, with
pre-shared keys and certificates, over TLS and DTLS. Both ends have to say so."""
import json
import re

import cases_certificate
import peers
from cases import CaseList, WHOAMI
from cases_certificate import Certificate, SERVER_NAME, place_of
from harness import Fail
from peers import HTTP_REQUEST, Settings

PATIENCE = 30
SESSIONS = {"id": ("--session-cache", "1000"), "ticket": ("--session-tickets",)}
# GET /whoami. Lines for those who read lines: the payload is one byte that nobody asked for.
REQUESTS = {"tls": HTTP_REQUEST, "dtls": b"\x40\x01\x12\x34\xb6whoami\xff\n"}

cases = CaseList()


def check_answers(output, is_psk, wanted):
    """That /whoami was answered, told `wanted`, once for each association, whether it was resumed,
    and that whoever comes back is who he was."""
    told = [json.loads(text) for text in re.findall(rb'\{"entity_id":[^}]*\}', output)]
    if [answer["resumed"] for answer in told] != wanted:
        raise Fail(f"resumed is {[answer['resumed'] for answer in told]}, not {wanted}")
    entity = peers.ENTITY_ID if is_psk else "//m2msp.example/S42"
    framework = "provisioned-symmetric-key" if is_psk else "certificate"
    for answer in told:
        if (answer["entity_id"], answer["framework"]) != (entity, framework):
            raise Fail(f"a stranger: {answer}")


def ask(process, settings):
    process.send(REQUESTS[settings.transport])
    process.expect(rb'\{"entity_id":[^}]*\}', PATIENCE, "an answer")


def openssl(bench, to, settings, kind, is_psk):
    """s_client, two runs of it with a file between."""
    client = peers.OPENSSL if is_psk else cases_certificate.OPENSSL
    path = bench.file("")
    for option, word in (("-sess_out", "New"), ("-sess_in", "Reused")):
        settings.extra = (option, path, *(["-no_ticket"] if kind == "id" else []))
        process = client.start(bench, to, settings)
        process.expect(rb"%s, [^\n]*, Cipher is" % word.encode(), PATIENCE, word)
        process.expect(rb"Extended master secret: yes\n", PATIENCE)
        ask(process, settings)
        client.end(process, PATIENCE)
        check_answers(process.output, is_psk, [word == "Reused"])


def gnutls(bench, to, settings, kind, is_psk):
    """gnutls-cli, which does it by itself and takes our input the second time."""
    client = peers.GNUTLS if is_psk else cases_certificate.GNUTLS
    settings.extra = ("--resume",)
    settings.priority_option = "%NO_TICKETS" if kind == "id" else ""
    process = client.start(bench, to, settings)
    process.expect(rb"This is a resumed session.*- Simple Client Mode:", PATIENCE, "resumption")
    ask(process, settings)
    client.end(process, PATIENCE)
    check_answers(process.output, is_psk, [True])


def mbedtls(bench, to, settings, kind, is_psk):
    client = peers.MBEDTLS if is_psk else cases_certificate.MBEDTLS
    more = ["--resume", "--any-answer", "--request-hex", REQUESTS[settings.transport].hex()]
    more += ["--no-tickets"] if kind == "id" else []
    process = bench.process(client.command(bench, to, settings, more, PATIENCE))
    if process.wait(PATIENCE + 20) != 0:
        raise Fail("mbedtls_client did not get through")
    expect_words(process)
    answers = re.findall(rb"answer ([0-9a-f]+)\n", process.output)
    check_answers(b"".join(bytes.fromhex(text.decode()) for text in answers), is_psk,
                  [False, True])


def wolfssl(bench, to, settings, kind, is_psk):
    process = bench.process(cases_certificate.WOLFSSL.command(
        bench, to, settings, REQUESTS[settings.transport].decode("utf-8", "surrogateescape"), kind))
    if process.wait(PATIENCE) != 0:
        raise Fail("wolfssl_client did not get through")
    expect_words(process)
    check_answers(process.output, is_psk, [False, True])


def expect_words(process):
    found = re.findall(rb"^connected \S+ \S+ (\w+)$", process.output, re.M)
    if found != [b"full", b"resumed"]:
        raise Fail(f"the client says {found}")


CLIENTS = {"openssl": openssl, "gnutls": gnutls, "mbedtls": mbedtls, "wolfssl": wolfssl}


def resume(bench, name, settings, kind):
    is_psk = isinstance(settings, Settings)
    where = settings if not is_psk else Certificate(settings.transport)
    to = place_of(bench, where, (*WHOAMI, *SESSIONS[kind]))
    CLIENTS[name](bench, to, settings, kind, is_psk)


def unwanted(bench, kind):
    """A session of a server that remembers none is offered in vain, and all is well."""
    to = place_of(bench, Certificate("tls"), (*WHOAMI, *SESSIONS[kind]))
    other = place_of(bench, Certificate("tls"), WHOAMI)
    path = bench.file("")
    for place, option in ((to, "-sess_out"), (other, "-sess_in")):
        settings = Certificate("tls", extra=(option, path))
        process = cases_certificate.OPENSSL.start(bench, place, settings)
        cases_certificate.OPENSSL.expect_connected(process, settings, PATIENCE)
        ask(process, settings)
        cases_certificate.OPENSSL.end(process, PATIENCE)
        check_answers(process.output, False, [False])


def add_all():
    for name in CLIENTS:
        for kind in SESSIONS:
            for transport in ("tls", "dtls"):
                for suite in (peers.SUITES if name != "wolfssl" else ()):
                    if suite in (0x00AE, 0xC0A8):
                        cases.add(f"resume {name} {transport} 0x{suite:04X} by {kind}", resume,
                                  name, Settings(transport, suite), kind)
                for suite in (0xC023, 0xC0AE):
                    cases.add(f"resume {name} {transport} 0x{suite:04X} by {kind}", resume, name,
                              Certificate(transport, suite, is_plain=name == "mbedtls"), kind)
    for kind in SESSIONS:
        cases.add(f"resume openssl tls 0xC023 by {kind} elsewhere", unwanted, kind)


add_all()
CASES = cases.cases
