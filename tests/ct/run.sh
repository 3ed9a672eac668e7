#!/bin/sh
# run.sh PROGRAM - the constant-time check: ct_crypto is clean under memcheck, its canaries are not.
# Prints PASS or FAIL per run; fails if any run failed.
set -u
program=${1:?usage: run.sh path/to/ct_crypto}
here=$(dirname "$0")
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
failures=0

# expect NAME STATUS [ARGUMENT...]
expect() {
    name=$1
    wanted=$2
    shift 2
    valgrind --quiet --error-exitcode=99 --suppressions="$here/boringssl.supp" \
        "$program" "$@" >"$log" 2>&1
    status=$?
    if [ "$status" -eq "$wanted" ]; then
        echo "PASS $name"
        [ "$wanted" -ne 0 ] || cat "$log"
    else
        echo "FAIL $name: exit status $status, expected $wanted"
        cat "$log"
        failures=$((failures + 1))
    fi
}

if ! command -v valgrind >/dev/null; then
    echo "FAIL valgrind is not installed"
    exit 1
fi
expect "ct_crypto: no branch or address depends on a secret" 0
expect "canary: a branch on a secret is found" 99 --canary branch
expect "canary: an address from a secret is found" 99 --canary index
expect "canary: an early-out comparison of a MAC is found" 99 --canary compare
[ "$failures" -eq 0 ]
