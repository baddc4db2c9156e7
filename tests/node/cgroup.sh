#!/bin/bash
# Manages the cgroup for the node's pods, in every hierarchy of this machine (version 1, 2 or both).
#   cgroup.sh make NAME | remove NAME | sweep
# sweep removes the cgroups of runs that have ended. A cgroup with processes cannot be removed.
set -eu
root=/sys/fs/cgroup

hierarchies() {
  local folder
  if [ -e $root/cgroup.procs ]; then echo $root; fi
  for folder in $root/*/; do
    # In version 2 these folders are cgroups, not hierarchies.
    if [ ! -e $root/cgroup.procs ] && [ -e "$folder/cgroup.procs" ]; then echo "${folder%/}"; fi
  done
}

make() {
  local hierarchy
  hierarchies | while read -r hierarchy; do
    mkdir -p "$hierarchy/$1"
    if [ -e "$hierarchy/cpuset.cpus" ] && [ ! -e $root/cgroup.procs ]; then # version 1: an empty file allows no CPU and no memory
      cat "$hierarchy/cpuset.cpus" >"$hierarchy/$1/cpuset.cpus"
      cat "$hierarchy/cpuset.mems" >"$hierarchy/$1/cpuset.mems"
    fi
  done
  [ -n "$(hierarchies)" ]
}

remove() { # retries, because killed processes need a moment to end
  local hierarchy patience=50
  while :; do
    hierarchies | while read -r hierarchy; do
      [ ! -d "$hierarchy/$1" ] || find "$hierarchy/$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    [ -n "$(hierarchies | while read -r hierarchy; do [ ! -d "$hierarchy/$1" ] || echo left; done)" ] || return 0
    patience=$((patience - 1))
    [ $patience -gt 0 ] || return 1
    sleep 0.1
  done
}

sweep() {
  local folder
  hierarchies | while read -r hierarchy; do
    for folder in "$hierarchy"/symbolon-node.*/; do
      [ ! -d "$folder" ] || kill -0 "$(basename "$folder" | cut -d. -f2)" 2>/dev/null || find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
  done
}

"$@"
