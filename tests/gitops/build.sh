#!/bin/bash
# Builds the program in go/, which judges objects by the rules of Flux and Argo CD, and prints its path. The build takes
# about half a minute. The result is cached in ${SYMBOLON_CACHE:-${XDG_CACHE_HOME:-~/.cache}/symbolon} until the sources
# change.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

die() { echo "gitops verdicts: $*" >&2; exit 1; }

command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
wanted=$(awk '$1 == "go" {print $2}' "$here/go/go.mod")
command -v go >/dev/null || die "the tests need Go $wanted or newer to build kstatus and Argo CD's Lua, and there is no 'go'" \
  "on PATH: install it from https://go.dev/dl/ (or Debian's golang-go, if new enough)"
command -v flock >/dev/null || die "'flock' is needed: install Debian's util-linux"

state=$(cat "$here"/go/go.mod "$here"/go/go.sum "$here"/go/*.go | sha256sum | cut -c1-16)
cache=${SYMBOLON_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/symbolon}
program=$cache/gitops-verdict-$state
if [ ! -x "$program" ]; then
  mkdir -p "$cache"
  exec 9>"$program.lock"
  flock 9
  if [ ! -x "$program" ]; then
    (cd "$here/go" && CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$program.tmp" .) >&2 9>&- ||
      die "the build failed, see the lines above (the first build needs the network for Go modules, and Go $wanted or newer)"
    mv "$program.tmp" "$program"
  fi
fi
echo "$program"
