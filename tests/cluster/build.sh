#!/bin/bash
# Finds the programs of the test cluster and prints the folder that holds them:
#   KUBEBUILDER_ASSETS, when set: a folder with etcd, kube-apiserver and kube-controller-manager
#   else the cache, built once with `go build` from the modules in go/ (pinned by go.mod and go.sum)
# The cache is ${SYMBOLON_CACHE:-${XDG_CACHE_HOME:-~/.cache}/symbolon}: outside the build tree, so that
# `cargo clean` keeps it. Parallel runs build once; a build cut short leaves nothing that looks finished.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
required="etcd kube-apiserver kube-controller-manager"

say() { echo "test cluster: $*" >&2; }
die() { say "$@"; exit 1; }

assets() {
  for program in $required; do
    [ -x "$KUBEBUILDER_ASSETS/$program" ] || die "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS holds no executable $program." \
      "Put one of the matching version there (setup-envtest brings no kube-controller-manager)," \
      "or unset KUBEBUILDER_ASSETS to have all of them built from source."
  done
  cd "$KUBEBUILDER_ASSETS" && pwd
}

need_go() {
  command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
  local wanted
  wanted=$(awk '$1 == "go" {print $2}' "$here/go/kubernetes/go.mod")
  command -v go >/dev/null || die "Go $wanted or newer is needed to build Kubernetes for the tests, and no 'go' is on PATH." \
    "Install it from https://go.dev/dl/ (or Debian's golang-go, if new enough), or set KUBEBUILDER_ASSETS or KUBECONFIG."
  (cd "$here/go/kubernetes" && go env GOVERSION >/dev/null 2>&1) || die "Go $wanted or newer is needed to build Kubernetes for the tests;" \
    "$(command -v go) is $(cd / && go version 2>/dev/null | cut -d' ' -f3). Install a newer one from https://go.dev/dl/, or set KUBEBUILDER_ASSETS or KUBECONFIG."
}

required_version() { awk -v module="$2" '$1 == "require" && $2 == module {print $3}' "$here/go/$1/go.mod"; }

# go_build MODULE OUT LDFLAGS PACKAGE...: runs with a line now and then, and shows the log only when it fails.
go_build() {
  local module=$1 out=$2 ldflags=$3 began=$SECONDS beat=0 log=$2.log
  shift 3
  (cd "$here/go/$module" && CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -v -trimpath -buildvcs=false -ldflags "$ldflags" -o "$out/" "$@") 2>"$log" &
  local builder=$!
  trap 'kill $builder 2>/dev/null' INT TERM
  while kill -0 $builder 2>/dev/null; do
    sleep 1
    beat=$((beat + 1))
    [ $((beat % 20)) -ne 0 ] || say "$module: $(grep -c '^[a-z].*/' "$log" || true) packages compiled, $((SECONDS - began)) s"
  done
  wait $builder || { tail -n 30 "$log" >&2; die "building $module failed; the lines above say why (a first build needs the network for Go modules)."; }
}

build() {
  local kubernetes=$1 out=$2 set=-X\ k8s.io/component-base/version.
  local minor=${kubernetes#v1.}
  need_go
  rm -rf "$out".tmp.*
  local temporary=$out.tmp.$$
  mkdir -p "$temporary"
  say "building etcd and Kubernetes $kubernetes from source into $out: about 10 minutes of CPU, once"
  go_build etcd "$temporary" "-s -w" go.etcd.io/etcd/server/v3
  mv "$temporary/server" "$temporary/etcd"
  go_build kubernetes "$temporary" "-s -w ${set}gitVersion=$kubernetes ${set}gitMajor=1 ${set}gitMinor=${minor%%.*} ${set}gitTreeState=clean ${set}gitCommit=unknown ${set}buildDate=2026-01-01T00:00:00Z" \
    k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager k8s.io/kubernetes/cmd/kubectl
  rm -f "$temporary.log"
  mv "$temporary" "$out"
}

[ -z "${KUBEBUILDER_ASSETS:-}" ] || { assets; exit; }
kubernetes=$(required_version kubernetes k8s.io/kubernetes)
etcd=$(required_version etcd go.etcd.io/etcd/server/v3)
cache=${SYMBOLON_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/symbolon}/kubernetes-$kubernetes-etcd-$etcd
if [ ! -d "$cache/bin" ]; then
  command -v flock >/dev/null || die "'flock' is needed: install Debian's util-linux."
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock --nonblock 9 || { say "another run is building Kubernetes; waiting for it"; flock 9; }
  # fd 9 stays out of the builders: one that outlives this script must not hold the lock.
  [ -d "$cache/bin" ] || build "$kubernetes" "$cache/bin" 9>&-
fi
echo "$cache/bin"
