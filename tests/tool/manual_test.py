#!/usr/bin/env python3
"""manual_test.py DOCS CONVERTER PROGRAM... - the manuals: each is good man(7), and says of each
option of its program what `--help` says, no more and no less."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

DOCS, CONVERTER = sys.argv[1:3]
PROGRAMS = {os.path.basename(path): path for path in sys.argv[3:]}
OPTION = re.compile(r"--[a-z][a-z0-9-]*")
COMMON = {"--help", "--version"}
# The manual, and the command lines that explain themselves with --help.
PAGES = (("handfastd.8", [["handfastd"]]),
         ("handfastctl.8", [["handfastctl"], ["handfastctl", "psk"], ["handfastctl", "secrets"]]),
         ("handfast-signer.8", [["handfast-signer"]]), ("handfast-maf.8", [["handfast-maf"]]),
         ("handfast-connect.1", [["handfast", "connect"]]),
         ("handfast-load.1", [["handfast", "load"]]), ("handfast-maf.1", [["handfast", "maf"]]),
         ("handfast-pki.1", [["handfast", "pki"]]))


def manual(page):
    with open(os.path.join(DOCS, page + ".md"), encoding="utf-8") as file:
        return file.read()


def check_options(page, commands):
    said = set()
    for command in commands:
        done = subprocess.run([PROGRAMS[command[0]], *command[1:], "--help"], capture_output=True,
                              text=True, timeout=20, check=False)
        assert (done.returncode, done.stderr) == (0, ""), (command, done)
        found = set(OPTION.findall(done.stdout)) - COMMON
        assert len(found) > 2, command
        said |= found
    text = manual(page)
    terms = re.findall(r"((?:^\*\*.*\n)+)^:   ", text, re.M)
    assert terms, page
    documented = {name for term in terms for name in OPTION.findall(term)} - COMMON
    synopsis = set(OPTION.findall(text)) - COMMON
    assert said <= synopsis, f"{page}: not in the manual: {sorted(said - synopsis)}"
    assert documented <= said, f"{page}: not in --help: {sorted(documented - said)}"


def check_page(source, directory):
    target = os.path.join(directory, os.path.basename(source)[:-3])
    subprocess.run([sys.executable, "-B", CONVERTER, source, target], check=True, timeout=20)
    with open(target, encoding="utf-8") as file:
        text = file.read()
    name = os.path.basename(target).rsplit(".", 1)[0]
    escaped = name.replace("-", "\\-")
    assert f".SH NAME\n.PP\n{escaped} \\- " in text, f"{name}: NAME"
    if shutil.which("groff") is None:
        return False
    for width in (80, 120):
        done = subprocess.run(["groff", "-t", "-man", "-ww", "-Tutf8", f"-rLL={width}n", target],
                              capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, ""), (name, done.stderr)
        shown = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)
        assert "**" not in shown and not re.search(r"^ *:   ", shown, re.M), name
    return True


def main():
    for page, commands in PAGES:
        check_options(page, commands)
    sources = sorted(glob.glob(os.path.join(DOCS, "*.[1-9].md")))
    assert len(sources) >= len(PAGES), sources
    with tempfile.TemporaryDirectory() as directory:
        shown = [check_page(source, directory) for source in sources]
    print(f"manuals: {len(sources)} pages ok" if all(shown) else
          "manuals: SKIPPED how they look: groff is not installed (apt-get install groff-base)")


if __name__ == "__main__":
    main()
