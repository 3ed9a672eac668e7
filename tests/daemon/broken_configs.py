"""broken_configs.py - ways to break a configuration file: (text, line the error must name, word of
the error). GOOD is what they were broken from; {keys} stands for the key file."""

GOOD = """\
process { shards = 2 }
metrics { address = "127.0.0.1:0" }
control {
    socket = "{socket}"
}
log { level = info }
authority "main" {
    psk-file = "{keys}"
}
listener "tls" {
    transport = tls
    address = "127.0.0.1:0"
}
listener "dtls" {
    transport = dtls
    address = "127.0.0.1:0"
    suites = {0xC0A8, PSK-AES128-CCM}
}
"""

AUTHORITY = 'authority "main" { psk-file = "{keys}" }\n'
LISTENER = 'listener "a" {\n transport = dtls\n address = "127.0.0.1:0"\n}\n'


def _in_listener(setting, line, word):
    return (AUTHORITY + 'listener "a" {\n transport = dtls\n address = "127.0.0.1:0"\n '
            + setting + "\n}\n", line, word)


def _in(section, setting, word):
    return (f"{section} {{\n {setting}\n}}\n" + AUTHORITY + LISTENER, 2, word)


# Line 0: the file as a whole is at fault.
BROKEN = [
    ("nonsense\n", 1, "nonsense"),
    ("\n\n# a comment\nnonsense = 1\n", 4, "nonsense"),
    ("/* two\nlines */\nnonsense = 1\n", 3, "nonsense"),
    ("// slashes\nnonsense = 1\n", 2, "nonsense"),
    ("\n\nauthority# a comment\n", 4, "end of file"),
    ("process {\n", 1, "not closed"),
    ("\nlog { level = info\n", 2, "not closed"),
    ("process { } }\n", 1, "brace"),
    ("\n/* no end\n", 2, "comment"),
    ('process {\n user = "no end\n}\n', 2, "does not end"),
    ("process {\n shards 2\n}\n", 2, "equal sign"),
    ("process {\n shards =\n}\n", 3, ""),
    ("process {\n shards = {1}\n}\n", 2, ""),
    ("process = 1\n", 1, ""),
    ('include("/etc/hostname")\n', 1, "include"),
    ("log {\n\x01level = info\n}\n", 2, "control character"),
    ("\xef\xbb\xbf# a mark\n", 1, "byte order mark"),
    _in("process", "shards = 0", "1 to 64"),
    _in("process", 'user = "a\\nb"', "control characters"),
    _in("process", "upstream-prefix = fd00::/48", "64 bits"),
    _in("process", "upstream-prefix = fd00::1/64", "64 bits"),
    _in("process", "upstream-prefix = fe80::/64", "64 bits"),
    _in("limits", "upstream-quarantine = never", "a time"),
    _in("process", "shards = two", "1 to 64"),
    _in("process", "shards = -1", "1 to 64"),
    _in("process", "shard = 1", "shard"),
    _in("process", "seccomp = perhaps", "yes or no"),
    _in("process", 'user = ""', "length"),
    _in("process", "shards = 1 shards = 1", "twice"),
    _in("metrics", "address = nowhere", "ADDR:PORT"),
    _in("metrics", 'address = "localhost:1"', "ADDR:PORT"),
    _in("metrics", 'socket = "/x"', "socket"),
    _in("control", f'socket = "/{"x" * 110}"', "length"),
    _in("log", "level = loud", "debug"),
    _in("log", "format = xml", "json"),
    _in("log", "rate = many", "number"),
    _in("log", "identities = secret", "hashed"),
    _in("limits", "associations-max = 0", "number"),
    _in("limits", "handshake-timeout = soon", "time"),
    _in("limits", "handshake-timeout = 25h", "time"),
    _in("limits", "idle = 10s", "idle"),
    _in_listener("transport = tls", 5, "twice"),
    _in_listener("suites = {}", 6, "empty list"),
    _in_listener("suites = {0x002F}", 5, "suite"),
    _in_listener("suites = {0xC0A8, 0xc0a8}", 5, "once"),
    _in_listener("suites = {0xC0A8}\n suites = {0xC0A4}", 6, "twice"),
    _in_listener("frameworks = {maf}", 5, "psk"),
    _in_listener('trusted-proxy = {"192.0.2.0/28"}', 3, "for tls listeners"),
    _in_listener("frameworks = {certificate}", 3, "no certificate"),
    _in_listener("frameworks = {psk, certificate}", 3, "no certificate"),
    _in_listener('psk-hint = "${HF_NO_SUCH_VARIABLE}"', 5, "no such variable"),
    _in("process", "user = ${HF_NO_SUCH_VARIABLE}", "no such variable"),
    _in_listener("mtu = 100", 5, "256"),
    _in_listener("mtu = 1200\n\n nonsense = yes", 7, "nonsense"),
    _in_listener("reference-point = mcx", 5, "mcc"),
    _in_listener("respond = loudly", 5, "echo"),
    _in_listener("require-ems = 2", 5, "yes or no"),
    _in_listener("authority = other", 5, "no authority"),
    _in_listener('upstream = "udp:nowhere"', 5, "udp:ADDR:PORT"),
    _in_listener('upstream = "http://127.0.0.1:1"', 5, "udp:ADDR:PORT"),
    _in_listener('upstream = "tcp:127.0.0.1:1"', 3, "udp:ADDR:PORT"),
    _in_listener("proxy-protocol = yes", 3, "upstream"),
    _in_listener('psk-hint = "' + 129 * "x" + '"', 5, "length"),
    (AUTHORITY + 'listener "a" {\n address = "127.0.0.1:0"\n}\n', 3, "transport is missing"),
    (AUTHORITY + 'listener "a" {\n transport = tls\n}\n', 3, "address is missing"),
    (AUTHORITY + "listener {\n transport = tls\n}\n", 2, "title"),
    (AUTHORITY + 'listener "a b" {\n transport = tls\n}\n', 4, "name"),
    (AUTHORITY + LISTENER + LISTENER, 6, "duplicate"),
    (AUTHORITY + 'listener "a" {\n transport = tls\n address = "127.0.0.1:1"\n}\n'
     'listener "b" {\n transport = tls\n address = "127.0.0.1:1"\n}\n', 7, "same address"),
    (AUTHORITY + 'listener "a" {\n transport = tls\n address = "*:0"\n respond = echo\n}\n', 3,
     "respond-anywhere"),
    (LISTENER, 0, "authority"),
    (AUTHORITY, 0, "listener"),
    ("", 0, "listener"),
    ('authority "a" { psk-file = "{keys}" }\nauthority "b" { psk-file = "{keys}" }\n' + LISTENER,
     4, "several"),
    ('authority "a" { }\n' + LISTENER, 1, "psk-file"),
    ('authority "a" {\n remove-max = 101\n}\n' + LISTENER, 2, "0 to 100"),
    ('authority "a" {\n psk-file = ""\n}\n' + LISTENER, 2, "length"),
    ('authority "a" {\n psk-files = "x"\n}\n' + LISTENER, 2, "psk-files"),
    ("limits {\n associations-max = 10\n handshakes-max = 11\n}\n" + AUTHORITY + LISTENER, 0,
     "handshakes_max"),
]
