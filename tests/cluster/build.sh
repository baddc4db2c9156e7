#!/bin/bash
# Finds the programs of the test cluster and prints the folder that holds them:
#   build.sh        etcd, kube-apiserver, kube-controller-manager, kubectl: what every cluster needs.
#                   KUBEBUILDER_ASSETS, when set, is a folder that has them (kubectl may be missing).
#   build.sh node   kube-scheduler, kubelet, kube-proxy: what runs pods (tests/node)
#   build.sh helm   helm: what installs the chart
# They are built once with `go build` from the modules in go/ (pinned by go.mod and go.sum), into a cache.
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

build_cluster() { # OUT
  say "building etcd and Kubernetes $kubernetes from source: about 10 minutes of CPU, once"
  go_build etcd "$1" "-s -w" go.etcd.io/etcd/server/v3
  mv "$1/server" "$1/etcd"
  build_kubernetes "$1" kube-apiserver kube-controller-manager kubectl
}

build_node() { # OUT
  say "building what a node of Kubernetes $kubernetes runs from source: about 2 minutes of CPU after the cluster's, once"
  build_kubernetes "$1" kube-scheduler kubelet kube-proxy
}

build_helm() { # OUT
  local set="-X helm.sh/helm/v4/internal/version."
  say "building helm $helm from source: about 3 minutes of CPU, once"
  go_build helm "$1" "-s -w ${set}version=$helm ${set}gitTreeState=clean" helm.sh/helm/v4/cmd/helm
}

build_kubernetes() { # OUT COMMAND...
  local out=$1 minor=${kubernetes#v1.} set="-X k8s.io/component-base/version."
  shift
  go_build kubernetes "$out" "-s -w ${set}gitVersion=$kubernetes ${set}gitMajor=1 ${set}gitMinor=${minor%%.*} ${set}gitTreeState=clean ${set}gitCommit=unknown ${set}buildDate=2026-01-01T00:00:00Z" \
    "${@/#/k8s.io/kubernetes/cmd/}"
}

# Builds into a folder beside, which gets its name when it is whole.
build() { # WHAT OUT
  local temporary=$2.tmp.$$
  need_go
  rm -rf "$2".tmp.*
  mkdir -p "$temporary"
  "build_$1" "$temporary"
  rm -f "$temporary.log"
  mv "$temporary" "$2"
}

# Prints the folder, which one run builds while the others wait.
provide() { # WHAT OUT
  if [ ! -d "$2" ]; then
    command -v flock >/dev/null || die "'flock' is needed: install Debian's util-linux."
    mkdir -p "${2%/*}"
    exec 9>"$2.lock"
    flock --nonblock 9 || { say "another run is building the same; waiting for it"; flock 9; }
    # fd 9 stays out of the builders: one that outlives this script must not hold the lock.
    # Not behind `||`: there a command that fails would be passed over.
    if [ ! -d "$2" ]; then build "$1" "$2" 9>&-; fi
  fi
  echo "$2"
}

kubernetes=$(required_version kubernetes k8s.io/kubernetes)
etcd=$(required_version etcd go.etcd.io/etcd/server/v3)
helm=$(required_version helm helm.sh/helm/v4)
cache=${SYMBOLON_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/symbolon}
case ${1:-cluster} in
  cluster) if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then assets; else provide cluster "$cache/kubernetes-$kubernetes-etcd-$etcd/bin"; fi ;;
  node) provide node "$cache/kubernetes-$kubernetes-node/bin" ;;
  helm) provide helm "$cache/helm-$helm/bin" ;;
  *) die "'$1' is not one of: cluster (the default), node, helm" ;;
esac
