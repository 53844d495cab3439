#!/usr/bin/env bash
# All levels in one run. The cluster's binaries and the images take long when nothing is cached, so they are built
# in the background while the levels run that need neither.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
started=$SECONDS
log=$(mktemp "${TMPDIR:-/tmp}/voiceagent-prepare.XXXXXX.log")

"$bin/voiceagent-testbed" prepare >"$log" 2>&1 &
prepare=$!
trap 'kill "$prepare" 2>/dev/null || true' EXIT

step() { printf '\n== %s (%ss since the start)\n' "$1" "$((SECONDS - started))"; }

step "lint"
make --no-print-directory lint verify
step "unit and contract"
"$bin/python" -m pytest -q tests/unit tests/contract
step "waiting for the binaries and images (log: $log)"
if ! { wait "$prepare" && "$bin/voiceagent-testbed" prepare health >>"$log" 2>&1; }; then
    tail -n 30 "$log" >&2
    echo "The preparation failed; its whole log is $log" >&2
    exit 1
fi
tail -n 15 "$log"
trap - EXIT
rm -f -- "$log"
step "chart"
"$bin/python" -m pytest -q tests/chart
# These hold conversations in real time on a machine that others may use: a test gets a second chance, and the closing
# lines say which took it. Most of an integration test is waiting, so two files run at a time; a node has room for
# one test.
step "integration"
"$bin/python" -m pytest -q -n 2 --dist loadfile --reruns 1 -rfER --durations=15 tests/integration
step "end to end"
"$bin/python" -m pytest -q --reruns 1 -rfER --durations=15 tests/e2e
step "all levels passed"
