#!/bin/bash
# Finds or builds the programs of the test cluster and prints the folder with them:
#   build.sh        etcd, kube-apiserver, kube-controller-manager and kubectl, which every cluster needs.
#                   If KUBEBUILDER_ASSETS is set, that folder must have them (kubectl may be missing).
#   build.sh node   kube-scheduler, kubelet and kube-proxy, which run pods (tests/node)
#   build.sh helm   helm, which installs the chart
# `go build` builds them once from the modules in go/ (pinned by go.mod and go.sum), into a cache. The cache is
# ${SYMBOLON_CACHE:-${XDG_CACHE_HOME:-~/.cache}/symbolon}, outside the build tree, so that `cargo clean` keeps it.
# Of parallel runs only one builds. An interrupted build leaves no folder that looks complete.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
required="etcd kube-apiserver kube-controller-manager"

say() { echo "test cluster: $*" >&2; }
die() { say "$@"; exit 1; }

assets() {
  for program in $required; do
    [ -x "$KUBEBUILDER_ASSETS/$program" ] || die "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS holds no executable $program:" \
      "put one of the matching version there (setup-envtest brings no kube-controller-manager)," \
      "or unset KUBEBUILDER_ASSETS, so that all of them are built from source"
  done
  cd "$KUBEBUILDER_ASSETS" && pwd
}

need_go() {
  command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
  local wanted
  wanted=$(awk '$1 == "go" {print $2}' "$here/go/kubernetes/go.mod")
  command -v go >/dev/null || die "Go $wanted or newer is needed to build Kubernetes for the tests, and no 'go' is on PATH:" \
    "install it from https://go.dev/dl/ (or Debian's golang-go, if new enough), or set KUBEBUILDER_ASSETS or KUBECONFIG"
  (cd "$here/go/kubernetes" && go env GOVERSION >/dev/null 2>&1) || die "Go $wanted or newer is needed to build Kubernetes for the tests;" \
    "$(command -v go) is $(cd / && go version 2>/dev/null | cut -d' ' -f3); install a newer one from https://go.dev/dl/, or set KUBEBUILDER_ASSETS or KUBECONFIG"
}

required_version() { awk -v module="$2" '$1 == "require" && $2 == module {print $3}' "$here/go/$1/go.mod"; }

# go_build MODULE OUT LDFLAGS PACKAGE...: builds, reports progress every 20 s, and shows the log only on failure.
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
  wait $builder || { tail -n 30 "$log" >&2; die "cannot build $module, see the lines above (the first build needs the network for Go modules)"; }
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

# Builds into a temporary folder, which gets its name when it is complete.
build() { # WHAT OUT
  local temporary=$2.tmp.$$
  need_go
  rm -rf "$2".tmp.*
  mkdir -p "$temporary"
  "build_$1" "$temporary"
  rm -f "$temporary.log"
  mv "$temporary" "$2"
}

# Prints the folder. One run builds it while the others wait.
provide() { # WHAT OUT
  if [ ! -d "$2" ]; then
    command -v flock >/dev/null || die "'flock' is needed: install Debian's util-linux"
    mkdir -p "${2%/*}"
    exec 9>"$2.lock"
    flock --nonblock 9 || { say "waiting for another run that builds the same"; flock 9; }
    # Builders do not inherit fd 9, because one that outlives this script must not hold the lock.
    # `if` instead of `||`, because bash ignores failing commands (set -e) on the left side of `||`.
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
