#!/bin/sh
# lanes.sh PROGRAM - the constant-time check of the lanes: ct_lanes is clean under MemorySanitizer,
# its canaries are not. Prints PASS or FAIL per run; fails if any run failed.
set -u
program=${1:?usage: lanes.sh path/to/ct_lanes}
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
failures=0

# expect NAME STATUS [ARGUMENT...]
expect() {
    name=$1
    wanted=$2
    shift 2
    MSAN_OPTIONS=exit_code=99 "$program" "$@" >"$log" 2>&1
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

expect "ct_lanes: no branch or address depends on a secret" 0
if grep -q SKIPPED "$log"; then
    exit 0
fi
expect "canary: a branch on a secret is found" 99 --canary branch
expect "canary: an address from a secret is found" 99 --canary index
expect "canary: an early-out comparison of a shared secret is found" 99 --canary compare
[ "$failures" -eq 0 ]
