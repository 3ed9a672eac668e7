"""rules_test.py - every rule must catch its sin and let the innocent pass."""
import unittest

import rules

BANNER = "/**\n * x.c - what it is.\n */\n"

# rule, path, innocent text, sinful text
CASES = [
    (rules.include_public, "include/handfast/x.h", "#include <stdint.h>\n",
     "#include <sys/socket.h>\n"),
    (rules.include_public, "include/handfast/x.h", "#include <handfast/base.h>\n",
     '#include "crypto.h"\n'),
    (rules.include_engine, "engine/x.c", '#include "crypto.h"\n', "#include <openssl/aes.h>\n"),
    (rules.include_engine, "engine/x.c", "#include <string.h>\n", "#include <time.h>\n"),
    (rules.include_engine, "engine/x.c", "#include <sys/mman.h>\n", "#include <pthread.h>\n"),
    (rules.include_engine, "engine/x.c", '#include "job.h"\n', '#include "private.h"\n'),
    (rules.include_crypto, "crypto/x.c", "#include <openssl/aes.h>\n", '#include "flight.h"\n'),
    (rules.include_crypto, "crypto/x.c", "#include <handfast/status.h>\n",
     "#include <handfast/engine.h>\n"),
    (rules.include_keysource, "keysource/x.c", "#include <handfast/keyfile.h>\n",
     "#include <unistd.h>\n"),
    (rules.include_keystore, "keysource/lmdb/x.c", "#include <lmdb.h>\n",
     "#include <openssl/rand.h>\n"),
    (rules.include_maf, "keysource/maf/x.c", "#include <jansson.h>\n",
     "#include <sys/socket.h>\n"),
    (rules.include_io, "io/x.c", "#include <liburing.h>\n", "#include <openssl/ssl.h>\n"),
    (rules.include_io, "io/x.c", "#include <handfast/engine.h>\n", '#include "crypto.h"\n'),
    (rules.include_apps, "apps/handfastd/x.c", "#include <jansson.h>\n", '#include "machine.h"\n'),
    (rules.only_crypto_sees_openssl, "apps/handfastd/x.c", "#include <stdio.h>\n",
     "#include <openssl/rand.h>\n"),
    (rules.only_crypto_sees_openssl, "apps/handfast/pki_make.c", "#include <openssl/x509.h>\n",
     None),
    (rules.only_crypto_sees_openssl, "apps/handfast/connect.c", "#include <stdio.h>\n",
     "#include <openssl/x509.h>\n"),
    (rules.no_memcmp, "engine/x.c", "/* memcmp leaks */ int a;\n", "int a = memcmp(b, c, 4);\n"),
    (rules.no_unbounded_strings, "apps/x.c", 'puts("strcpy");\n', "strcpy(a, b);\n"),
    (rules.no_process_matters, "engine/x.c", "snprintf(a, 4, b);\n", "printf(b);\n"),
    (rules.no_struct_typedefs, "io/x.h", "struct hf_x { int a; };\n",
     "typedef struct hf_x hf_x_t;\n"),
    (rules.no_struct_typedefs, "io/x.h", "typedef enum hf_status hf_step(int a);\n",
     "typedef enum {\n"),
    (rules.line_length, "engine/x.c", "a" * 100 + "\n", "a" * 101 + "\n"),
    (rules.file_length, "engine/x.c", "\n" * 600, "\n" * 601),
    (rules.function_length, "engine/x.c",
     "static int a(int b,\n             int c)\n{\n" + "    b++;\n" * 66 + "}\n",
     "static int a(int b,\n             int c)\n{\n" + "    b++;\n" * 67 + "}\n"),
    (rules.function_length, "engine/x.c", "static int t[] = {\n" + "    1,\n" * 99 + "};\n",
     "int f(void)\n{\n" + "    g();\n" * 99 + "}\n"),
    (rules.function_length, "tests/x.py", "def a():\n" + "    b()\n" * 69,
     "def a():\n" + "    b()\n" * 70),
    (rules.file_banner, "engine/x.c", BANNER, "/* Copyright */\n"),
    (rules.header_guard, "engine/x.h", "#ifndef A\n#define A\n#endif\n", "struct a;\n"),
    (rules.whitespace, "engine/x.c", "int a;\n", "int a; \n"),
    (rules.whitespace, "engine/x.c", "    int a;\n", "\tint a;\n"),
    (rules.document_links, "docs/x.md", "[a](x.md#the-one-idea)\n# The one idea\n",
     "[a](y.md)\n"),
    (rules.document_links, "README.md", "    [a](y.md)\n# The one idea\n", "[a](#the-two-ideas)\n"),
    (rules.document_names, "docs/EMBEDDING.md", "another function\n", "`hf_engine_nonsense()`\n"),
    (rules.document_settings, "docs/x.md", '`key = "signer:/a#b"` # b\n',
     "`key = signer:/a#b`\n"),
    (rules.document_settings, "etc/handfastd.conf", "mtu = 1200  # bytes\n",
     "# reference-point = mcc'.\n"),
    (rules.leftovers, "docs/x.md", "=> a\n", "<<<<<<< HEAD\n"),
    (rules.leftovers, "docs/x.md", "see a/home\n", "see /ho" + "me/x\n"),
]


class RulesTest(unittest.TestCase):
    def test_innocent_passes(self):
        for rule, path, innocent, _ in CASES:
            with self.subTest(rule=rule.__name__, text=innocent[:60]):
                self.assertEqual(list(rule({path: innocent})), [])

    def test_sin_is_caught(self):
        for rule, path, _, sin in CASES:
            if sin is None:
                continue
            with self.subTest(rule=rule.__name__, text=sin[:60]):
                self.assertNotEqual(list(rule({path: sin})), [])

    def test_every_rule_is_tested(self):
        self.assertEqual({rule for rule, *_ in CASES}, set(rules.RULES))

    def test_an_example_may_not_use_io(self):
        files = {"io/loop.h": "", "apps/examples/x.c": '#include "loop.h"\n'}
        self.assertNotEqual(list(rules.include_apps(files)), [])
        files = {"io/loop.h": "", "apps/handfastd/x.c": '#include "loop.h"\n'}
        self.assertEqual(list(rules.include_apps(files)), [])

    def test_functions_are_found(self):
        text = BANNER + ("struct a {\n    int b;\n};\n\nint f(void)\n{\n    return 1;\n}\n\n"
                         "static const int t[] = {\n    1,\n};\n#define X 1\n"
                         "static int\ng(int a,\n  int b)\n{\n    if (a) {\n    }\n}\n")
        self.assertEqual(list(rules.c_functions(text)), [(8, 11), (17, 23)])


if __name__ == "__main__":
    unittest.main()
