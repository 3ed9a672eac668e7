#!/usr/bin/env python3
"""run_test.py - ./run as somebody finds it: it builds, writes a commented configuration file,
starts the daemon from it, and prints commands that work. Takes as long as a build."""
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
PATIENCE = 550  # seconds: a whole build on a busy machine


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as chosen:
        chosen.bind(("127.0.0.1", 0))
        return str(chosen.getsockname()[1])


def read_until(process, needle):
    lines = []
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    for line in process.stdout:
        lines.append(line)
        if needle in line:
            break
    else:
        sys.exit("run_test: ./run ended early:\n" + "".join(lines[-40:]))
    timer.cancel()
    return "".join(lines)


def check(claim, is_good, detail=""):
    print(("ok   " if is_good else "FAIL ") + claim)
    if not is_good:
        sys.exit(str(detail))


def shell(command, done_when):
    """Runs a printed command; whether it printed what it should within a while."""
    done = subprocess.run(["timeout", "30", "bash", "-c", command], cwd=ROOT, capture_output=True,
                          text=True, check=False)
    return re.search(done_when, done.stdout) is not None, (command, done)


def commands_of(text):
    """The printed commands, one a line, continued lines joined."""
    return text.replace("\\\n", " ").splitlines()


def main():
    environment = {**os.environ, "HF_DTLS_PORT": free_port(socket.SOCK_DGRAM),
                   "HF_TLS_PORT": free_port(socket.SOCK_STREAM),
                   "HF_METRICS_PORT": free_port(socket.SOCK_STREAM),
                   "HF_MAF_PORT": free_port(socket.SOCK_STREAM)}
    process = subprocess.Popen(["./run"], cwd=ROOT, env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        printed = read_until(process, "== Ctrl-C stops it")
        drain = threading.Thread(target=process.stdout.read, daemon=True)
        drain.start()
        with open(os.path.join(ROOT, "run.d/handfastd.conf"), encoding="utf-8") as file:
            text = file.read()
        check("a commented configuration file", text.count("#") > 8 and "listener" in text)
        commands = commands_of(printed)
        find = lambda word: next(line for line in commands if word in line)
        check("openssl s_client", *shell(find("openssl s_client -quiet"), "demo@in-cse.example"))
        check("coap-client", *shell(find("coap-client-openssl"), "demo@in-cse.example"))
        check("handfastctl status", *shell(find("control.sock status"), "(?i)serving"))
        check("metrics", *shell(find("curl -s"), "handfast_build_info"))
        device = "entity_id.*//m2msp.example/in-cse/Cdevice"
        check("device, MAF and IN-CSE: Kc from a session with the MAF",
              *shell(find("--maf-save"), device))
        with_kc = find('-psk "$(cut')
        check("the same Kc with openssl", *shell(with_kc, device))
        check("handfastctl revoke", *shell(find(" revoke "), "(?i)revoked"))
        check("and no more", not shell(with_kc, device)[0])
        shell("echo >>run.d/handfastd.conf '# one more line'", "")
        check("handfastctl reload", *shell(find("control.sock reload"), "reloaded"))
    finally:
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        status = process.wait(30)
    # 130: as shells have it for what Ctrl-C ended.
    check("Ctrl-C ends it", status in (0, 130) and time.monotonic() - begun < 15, status)


if __name__ == "__main__":
    main()
