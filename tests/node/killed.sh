#!/usr/bin/env bash
# Kills runs of the node and checks that nothing is left: processes, cgroups, mounts, network links, namespaces.
set -euo pipefail
cd "$(dirname "$0")/../.."

die() { echo "node: $*" >&2; exit 1; }
left() { # RUN: lists what is left of a run, by its process id
# All its children have this variable.
  grep -lszF "SYMBOLON_NODE_CGROUP=symbolon-node.$1" /proc/[0-9]*/environ | cut -d/ -f3 || true
  find /sys/fs/cgroup -maxdepth 2 -name "symbolon-node.$1"
  grep -F symbolon-node /proc/mounts || true
}
machine() { ip link show; ip route show; cat /proc/sys/vm/overcommit_memory /proc/sys/kernel/panic; }

for signal in KILL TERM; do
  before=$(machine)
  ready=$(mktemp -u)
  mkfifo "$ready"
  # The command in the run: start a pod and report that it runs.
  tests/node/run.sh --images-as-they-are -- bash -c "kubectl run it --image localhost/debian:test --restart Never --command -- busybox sleep 1000 &&
    kubectl wait --for=condition=Ready --timeout=60s pod/it && echo up >$ready && sleep 1000" >&2 &
  run=$!
  exec 3<>"$ready"
  up=""
  read -r -t 180 up <&3 || true
  exec 3>&-
  rm -f "$ready"
  [ "$up" = up ] || { kill "$run"; die "the node did not come up"; }
  [ -n "$(left $run)" ] || die "cannot see the processes and cgroups of a running node, so this test would find nothing"
  kill -$signal "$run"
  wait "$run" 2>/dev/null || true
  for _ in $(seq 100); do
    [ -n "$(left $run)" ] || break
    # A killed run cannot remove its empty cgroups; the next run does.
    [ $signal = TERM ] || tests/node/cgroup.sh sweep
    sleep 0.1
  done
  [ -z "$(left $run)" ] || die "left after SIG$signal: $(left $run)"
  [ "$(machine)" = "$before" ] || die "SIG$signal left the machine changed: $(diff <(echo "$before") <(machine))"
  echo "node: nothing is left after SIG$signal" >&2
done
