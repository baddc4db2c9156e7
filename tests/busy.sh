#!/usr/bin/env bash
# Runs the tests beside busy loops, to find tests that assume an order or a speed.
#
#   tests/busy.sh [ROUNDS] [ARGUMENTS OF cargo test]      default: 3 rounds of the whole suite
#
# LOOPS=4     the number of busy loops
# MINUTES=60  a round that takes longer has failed
#
# The output of each round is in target/busy/round-N.log, and that of the failed tests in target/busy/failed-N.log.
# The loops end with this script, however it ends, and after MINUTES at the latest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rounds=3
if [[ ${1-} =~ ^[0-9]+$ ]]; then
  rounds=$1
  shift
fi
loops=${LOOPS:-4}
limit=$((${MINUTES:-60} * 60))
out=target/busy
mkdir -p "$out"
rm -f "$out"/round-*.log "$out"/failed-*.log

# Each job gets its own process group, so that it ends with all its children.
set -m
jobs=()
stop() {
  for pid in "${jobs[@]}"; do
    kill -TERM -- "-$pid" 2>/dev/null || true
  done
  wait
  jobs=()
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Runs a command as a job, so that a signal to this script ends it at once.
run() {
  "$@" &
  jobs+=($!)
  wait $!
}

# Builds before the loops take the processors.
run cargo test --locked --no-run "$@"

is_good=true
for ((round = 1; round <= rounds; round++)); do
  jobs=()
  for ((loop = 0; loop < loops; loop++)); do
    # shellcheck disable=SC2016 # the inner shell expands it
    timeout "$limit" bash -c 'while [ -d "/proc/$1" ]; do :; done' busy-loop $$ &
    jobs+=($!)
  done
  log=$out/round-$round.log failed=$out/failed-$round.log
  began=$SECONDS
  status=0
  run timeout "$limit" cargo test --locked --no-fail-fast "$@" >"$log" 2>&1 || status=$?
  stop
  # The sections of the failed tests, each below the name of its test program.
  awk '
    /^ +(Running|Doc-tests) / { program = $0 }
    /^---- .* stdout ----$/ { shown = 1; print program }
    /^failures:$/ { shown = 0 }
    shown { print }
  ' "$log" >"$failed"
  echo "round $round: $(grep -c '^test .* \.\.\. ok$' "$log" || true) tests passed in $((SECONDS - began)) s"
  if [ "$status" != 0 ]; then
    is_good=false
    grep -E '^test .* FAILED$' "$log" || echo "cargo test ended with $status, see $log"
    echo "their output is in $failed"
  else
    rm "$failed"
  fi
done
$is_good
