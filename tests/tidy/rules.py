"""rules.py - the rules of the tree as functions. Each takes {path: text} and yields
(path, line number, complaint); none touches the disk, so that rules_test.py can feed them sins."""
import ast
import os
import re

LINE_LEN_MAX = 100
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600

FREESTANDING = {"assert.h", "inttypes.h", "limits.h", "stdalign.h", "stdarg.h", "stdbool.h",
                "stddef.h", "stdint.h", "stdlib.h", "stdnoreturn.h", "string.h", "strings.h"}
# stdio.h: snprintf; stdatomic.h: the session cache, which is shared without a lock
MEMORY_AND_TEXT = FREESTANDING | {"stdatomic.h", "stdio.h", "sys/mman.h"}
PUBLIC = re.compile(r"handfast/\w+\.h$")


def is_c(path):
    return path.endswith((".c", ".h", ".cc", ".cpp"))


def is_script(path, text):
    return path.endswith((".py", ".sh", ".cmake")) or path.endswith("CMakeLists.txt") or \
        text.startswith("#!")


def is_source(path, text):
    return is_c(path) or is_script(path, text)


def lines_of(text):
    return enumerate(text.splitlines(), 1)


def code_only(text):
    """The C text with comments, strings and character constants blanked; lines stay in place."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return token.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def includes_of(text):
    """(line number, kind, name); kind is '<' or '"'."""
    for number, line in lines_of(text):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if match:
            yield number, match.group(1), match.group(2)


def names_in(files, directory):
    return {os.path.basename(path) for path in files
            if os.path.dirname(path) == directory and path.endswith(".h")}


def check_includes(files, directory, angle, quoted, reason):
    """Every include of the sources under `directory` must be one that angle(name) or
    quoted(name, path) allows."""
    for path, text in files.items():
        if not (is_c(path) and path.startswith(directory + "/")):
            continue
        for number, kind, name in includes_of(text):
            is_good = angle(name) if kind == "<" else quoted(name, path)
            if not is_good:
                yield path, number, f"includes {name}: {reason}"


# ---- who may know whom ----------------------------------------------------------------------

def include_public(files):
    """include/: the C library and each other"""
    yield from check_includes(
        files, "include", lambda name: name in FREESTANDING or PUBLIC.match(name),
        lambda name, path: False, "a public header includes only the C library and its kind")


def include_engine(files):
    """engine/: public headers, crypto.h, job.h, memory; no socket, clock, thread, OpenSSL"""
    own = names_in(files, "engine")
    yield from check_includes(
        files, "engine", lambda name: name in MEMORY_AND_TEXT or PUBLIC.match(name),
        lambda name, path: name in own | {"crypto.h", "job.h"},
        "the engine is sans-I/O and knows only the public headers and crypto.h, job.h")


def include_crypto(files):
    """crypto/: BoringSSL, public headers; nothing of the engine"""
    own = names_in(files, "crypto")
    banned = ("sys/socket.h", "netinet/", "time.h", "sys/time.h", "liburing", "stdio.h")
    yield from check_includes(
        files, "crypto",
        lambda name: not name.startswith(banned) and
        (not name.startswith("handfast/") or
         name in ("handfast/status.h", "handfast/base.h", "handfast/config.h",
                  "handfast/credential.h", "handfast/job.h")),
        lambda name, path: name in own, "crypto knows no engine, socket or clock")


def without(files, directory):
    return {path: text for path, text in files.items() if not path.startswith(directory + "/")}


def include_keysource(files):
    """keysource/: public headers and crypto.h"""
    own = names_in(files, "keysource")
    yield from check_includes(
        without(without(files, "keysource/lmdb"), "keysource/maf"), "keysource",
        lambda name: name in MEMORY_AND_TEXT or PUBLIC.match(name),
        lambda name, path: name in own | {"crypto.h"},
        "a key source is sans-I/O on the public headers and crypto.h")


def include_maf(files):
    """keysource/maf/: as a key source, with an HTTP parser and a JSON library"""
    own = names_in(files, "keysource") | names_in(files, "keysource/maf")
    yield from check_includes(
        files, "keysource/maf",
        lambda name: name in MEMORY_AND_TEXT or PUBLIC.match(name) or
        name in ("http_parser.h", "jansson.h", "malloc.h"),
        lambda name, path: name in own | {"crypto.h"},
        "the MAF's client is sans-I/O on the public headers and crypto.h")


def include_keystore(files):
    """keysource/lmdb/: an embedder too, but of secrets: public headers, crypto.h, and the system"""
    own = names_in(files, "keysource/lmdb")
    yield from check_includes(
        files, "keysource/lmdb",
        lambda name: not name.startswith("openssl/") and
        (not name.startswith("handfast/") or PUBLIC.match(name)),
        lambda name, path: name in own | {"crypto.h"},
        "the LMDB store knows the public headers and crypto.h")


def include_io(files):
    """io/: public headers and its own"""
    own = names_in(files, "io") | names_in(files, "io/maf")
    yield from check_includes(
        files, "io",
        lambda name: not name.startswith("openssl/") and
        (not name.startswith("handfast/") or PUBLIC.match(name)),
        lambda name, path: name in own, "io is an embedder: public headers only")


def makes_certificates(path):
    """`handfast pki` is an authority, not an embedder: see docs/ARCHITECTURE.md."""
    return re.match(r"apps/handfast/pki\w*\.[ch]$", path)


# Of handfastd, and written by the tool as the daemon writes them: addresses, JSON, key logs.
SHARED_BY_APPS = {"endpoint.h", "json_text.h", "keylog.h"}


def include_apps(files):
    """apps/: public headers, io's, the store's, their own; the examples public ones alone"""
    io_own = (names_in(files, "io") | names_in(files, "io/maf") |
              names_in(files, "keysource/lmdb") | names_in(files, "keysource/maf"))

    def quoted(name, path):
        directory = os.path.dirname(path)
        shared = set() if directory == "apps/examples" else io_own
        if directory == "apps/handfast":
            shared = shared | SHARED_BY_APPS
        return name in names_in(files, directory) | shared

    def angle(name):
        return name not in private

    private = names_in(files, "engine") | names_in(files, "crypto")
    yield from check_includes(files, "apps", angle, quoted,
                              "an application is an embedder: public headers and io's only")
    for path, text in files.items():
        if path.startswith("apps/examples/") and is_c(path):
            for number, _, name in includes_of(text):
                if name in io_own:
                    yield path, number, f"includes {name}: an example has the public headers only"


def only_crypto_sees_openssl(files):
    """<openssl/...> appears in crypto/, `handfast pki`, and with the peers in bench/ and tests/"""
    for path, text in files.items():
        if is_c(path) and not makes_certificates(path) and \
                not path.startswith(("crypto/", "bench/", "tests/", "fuzz/")):
            for number, _, name in includes_of(text):
                if name.startswith("openssl/"):
                    yield path, number, "only crypto/ and apps/handfast/pki* see <openssl/...>"


# ---- words that are banned ------------------------------------------------------------------

def banned_words(files, directories, words, reason):
    pattern = re.compile(r"\b(" + "|".join(words) + r")\b")
    for path, text in files.items():
        if is_c(path) and path.startswith(directories):
            for number, line in lines_of(code_only(text)):
                match = pattern.search(line)
                if match:
                    yield path, number, f"{match.group()}: {reason}"


def no_memcmp(files):
    """memcmp is banned in engine, crypto and keysource"""
    yield from banned_words(files, ("engine/", "crypto/", "keysource/"),
                            ("memcmp", "bcmp", "strcmp", "strncmp"),
                            "use hf_ct_equal, or hf_bytes_equal_public and mean it")


def no_unbounded_strings(files):
    """no unbounded string functions, no alloca, anywhere"""
    yield from banned_words(files, ("",), ("strcpy", "strcat", "sprintf", "vsprintf", "gets",
                                           "strtok", "alloca", "atol"),
                            "has no bound, or hidden state")


def no_process_matters(files):
    """the library prints nothing, reads no clock, takes no signals, starts no threads"""
    yield from banned_words(without(files, "keysource/lmdb"), ("engine/", "crypto/", "keysource/"),
                            ("printf", "fprintf", "puts", "perror", "signal", "sigaction",
                             "pthread_create", "exit", "getenv", "errno", "time", "clock_gettime",
                             "setlocale", "fork", "socket", "syslog"),
                            "is the embedder's business")


def no_struct_typedefs(files):
    """struct hf_x stays struct hf_x"""
    for path, text in files.items():
        if is_c(path) and path.startswith(("include/", "engine/", "crypto/", "io/", "keysource/")):
            for number, line in lines_of(code_only(text)):
                # A pointer to a function may have a name of its own: it has a parenthesis.
                if re.match(r"\s*typedef\s+(struct|union|enum)\b[^(]*$", line):
                    yield path, number, "no typedefs of structs, unions or enums"


# ---- shape ----------------------------------------------------------------------------------

def line_length(files):
    """lines of at most 100 columns"""
    for path, text in files.items():
        if is_source(path, text):
            for number, line in lines_of(text):
                if len(line) > LINE_LEN_MAX:
                    yield path, number, f"{len(line)} columns, at most {LINE_LEN_MAX}"


def file_length(files):
    """files of at most 600 lines"""
    for path, text in files.items():
        count = text.count("\n")
        if is_source(path, text) and count > FILE_LINES_MAX:
            yield path, count, f"{count} lines, at most {FILE_LINES_MAX}"


def c_functions(text):
    """(first line, last line): a body stands between braces in column 0, after its signature."""
    start = None
    is_inside = False
    for number, line in lines_of(code_only(text)):
        if line.startswith("{"):
            is_inside = True
        elif line.startswith("}"):
            if is_inside:
                yield start, number
            start = None
            is_inside = False
        elif is_inside:
            continue
        elif not line.strip() or line.startswith("#") or line.rstrip().endswith((";", "}")):
            start = None
        elif start is None:
            start = number


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.end_lineno


def function_length(files):
    """functions of at most 70 lines"""
    for path, text in files.items():
        found = ()
        if is_c(path):
            found = c_functions(text)
        elif path.endswith(".py") or re.match(r"#!.*python3", text):
            found = python_functions(text)
        for first, last in found:
            if last - first + 1 > FUNCTION_LINES_MAX:
                yield path, first, (f"a function of {last - first + 1} lines, "
                                    f"at most {FUNCTION_LINES_MAX}")


def file_banner(files):
    """every C file says what it is"""
    for path, text in files.items():
        name = re.escape(os.path.basename(path))
        if is_c(path) and not re.match(r"/\*\*?\s*\n?[ *]*" + name + r" - \S", text):
            yield path, 1, f"begins without a banner '{os.path.basename(path)} - what it is'"


def header_guard(files):
    """every header is guarded"""
    for path, text in files.items():
        if path.endswith(".h"):
            code = code_only(text)
            match = re.search(r"#ifndef (\w+)\s*\n#define (\w+)", code)
            if not match or match.group(1) != match.group(2):
                yield path, 1, "has no include guard"


def whitespace(files):
    """no tabs, no trailing blanks, a newline at the end"""
    for path, text in files.items():
        if not is_source(path, text):
            continue
        for number, line in lines_of(text):
            if "\t" in line or line != line.rstrip():
                yield path, number, "a tab or a trailing blank"
        if text and not text.endswith("\n"):
            yield path, text.count("\n") + 1, "no newline at the end"


def leftovers(files):
    """no merge marks, no notes to self, no paths of one machine"""
    marks = re.compile(r"^(<{7}|={7}|>{7})( |$)|\b(" + "TO" + "DO|FIX" + "ME|XX" + r"X)\b|"
                       r"(?<![\w.])/(work|home|root)/\w")
    for path, text in files.items():
        for number, line in lines_of(text):
            match = marks.search(line)
            if match:
                yield path, number, f"'{match.group().strip()}' is a leftover"


# ---- documents ------------------------------------------------------------------------------

def is_document(path):
    return path == "README.md" or re.match(r"docs/[\w.-]+\.md$", path)


def without_examples(text):
    """Text without blocks and spans of code; lines stay in place."""
    text = re.sub(r"^```.*?^```", lambda m: re.sub(r"[^\n]", " ", m.group()), text,
                  flags=re.S | re.M)
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^ {4}.*$", "", text, flags=re.M))


def anchors_of(text):
    """The names that headings get on the usual sites."""
    for heading in re.findall(r"^#+ (.*)$", text, re.M):
        plain = re.sub(r"[^\w\- ]", "", heading.strip().lower())
        yield plain.replace(" ", "-")


def document_links(files):
    """documents link to what is there"""
    for path, text in files.items():
        if not is_document(path):
            continue
        for number, line in lines_of(without_examples(text)):
            for target in re.findall(r"\]\(([^)\s]+)\)", line):
                name, _, anchor = target.partition("#")
                there = os.path.normpath(os.path.join(os.path.dirname(path), name or
                                                      os.path.basename(path)))
                if "://" in target:
                    continue
                if there not in files and not any(x.startswith(there + "/") for x in files):
                    yield path, number, f"links to {target}, which is not there"
                elif anchor and anchor not in anchors_of(files[there]):
                    yield path, number, f"links to {target}: there is no such heading"


def document_names(files):
    """the embedder's document names what the public headers have"""
    headers = "".join(text for path, text in files.items() if path.startswith("include/"))
    known = set(re.findall(r"\w+", headers))
    known |= {"HF_" + name for name in re.findall(r"X\((\w+)", headers)}
    for path, text in files.items():
        if path != "docs/EMBEDDING.md":
            continue
        for number, line in lines_of(text):
            for name in re.findall(r"\b(?:hf|HF)_\w+(?!\w|\*)", line):
                if not name.endswith("_") and name not in known:
                    yield path, number, f"{name} is in no public header"


def document_settings(files):
    """settings in documents can be pasted: a # begins a comment, a quote a text"""
    unquoted = re.compile(r"(?:^|[^\w-])([a-z-]+ = [^\s\"{`]*['#][^\s`]*)")
    for path, text in files.items():
        if is_document(path) or path == "etc/handfastd.conf":
            for number, line in lines_of(text):
                match = unquoted.search(line)
                if match:
                    yield path, number, f"{match.group(1)}: wants double quotes"


RULES = [include_public, include_engine, include_crypto, include_keysource, include_maf,
         include_keystore, include_io, include_apps, only_crypto_sees_openssl, no_memcmp,
         no_unbounded_strings, no_process_matters, no_struct_typedefs, line_length, file_length,
         function_length, file_banner, header_guard, whitespace, leftovers,
         document_links, document_names, document_settings]
