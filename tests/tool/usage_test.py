#!/usr/bin/env python3
"""How `handfast` treats its command line: help, version, and what is wrong."""
import re
import subprocess
import sys

TOOL = sys.argv[1]


def run(*arguments):
    done = subprocess.run([TOOL, *arguments], capture_output=True, text=True, timeout=20,
                          check=False)
    return done.returncode, done.stdout, done.stderr


def main():
    code, out, err = run("--help")
    assert (code, err) == (0, "") and out.startswith("usage: handfast SUBCOMMAND"), (code, out, err)
    code, out, err = run("--version")
    assert code == 0 and re.fullmatch(r"handfast \d+\.\d+\.\d+\n", out), (code, out, err)
    for arguments in ([], ["nonsense"], ["--nonsense"]):
        code, out, err = run(*arguments)
        assert code == 2 and out == "" and "usage: handfast" in err, (arguments, code, out, err)
        assert not arguments or arguments[0] in err, err
    for name in ("connect", "load", "maf", "pki"):
        code, out, err = run(name, "--help")
        assert (code, err) == (0, "") and out.startswith(f"usage: handfast {name}"), (name, out)
        for arguments in (["--nonsense"], ["nonsense"]):
            code, out, err = run(name, *arguments)
            assert (code, out) == (2, ""), (name, arguments, code, out)
            assert err.startswith(f"handfast: {name}: "), (name, err)
            assert err.endswith(f"Try: handfast {name} --help\n"), (name, err)
    code, out, err = run("connect", "--tls", "localhost:1")
    assert code == 2 and '"localhost:1" is not ADDR:PORT' in err, (code, err)
    code, out, err = run("load", "--dtls", "192.0.2.1:5684", "--psk-file", "x")
    assert code == 2 and '--dtls: "192.0.2.1:5684" is not ADDR:PORT within' in err, (code, err)
    print("tool: usage ok")


if __name__ == "__main__":
    main()
