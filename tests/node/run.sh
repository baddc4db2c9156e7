#!/usr/bin/env bash
# Runs the tests of a whole cluster: a control plane and one node, with our own image in real pods.
#   tests/node/run.sh                  all tests
#   tests/node/run.sh NAME             tests whose name contains NAME
#   tests/node/run.sh -- COMMAND...    runs COMMAND with kubectl and helm set up, for example `-- bash`
# Needs root, Linux with namespaces, cgroups, overlayfs and nftables, and these packages of Debian: containerd runc
# containernetworking-plugins nftables conntrack iproute2 musl-tools cmake openssl. CONTRIBUTING.md lists the rest.
# --quick                puts the unoptimised program into the image, with Debian's libraries
# --images-as-they-are   uses the images of the last run
# --install              as root on Debian: installs missing packages
# --able                 only checks whether this machine can run the tests: exits 0, or 1 with the reason
#
# Everything runs in separate namespaces and in memory, so nothing is left when it ends, however it ends. The logs are
# in target/node/log until the next run.
set -euo pipefail
cd "$(dirname "$0")/../.."
patience=${SYMBOLON_NODE_SECONDS:-900} # the time limit of a run

say() { echo "node: $*" >&2; }
die() { say "$@"; exit 1; }

packages=()
missing_packages() {
  packages=()
  local pair
  for pair in containerd:containerd ctr:containerd runc:runc nft:nftables conntrack:conntrack ip:iproute2 musl-gcc:musl-tools cmake:cmake \
    openssl:openssl unshare:util-linux setpriv:util-linux python3:python3; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%:*}" >/dev/null || packages+=("${pair#*:}")
  done
  [ -x /usr/lib/cni/ptp ] || packages+=(containernetworking-plugins)
  [ -s /etc/ssl/certs/ca-certificates.crt ] || packages+=(ca-certificates)
  [ ${#packages[@]} -eq 0 ] || mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)
}

install_packages() {
  missing_packages
  [ ${#packages[@]} -eq 0 ] && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || die "install these packages first: ${packages[*]}"
  say "installing ${packages[*]}"
  # Do not start services: the tests start what they need.
  local policy=/usr/sbin/policy-rc.d ours=""
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy
    ours=yes
  fi
  local status=0
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"; } >&2 || status=$?
  [ -z "$ours" ] || rm -f $policy
  [ $status = 0 ] || die "the packages cannot be installed, see the lines above"
}

# Tries every kernel feature that is needed, in namespaces that end with the trial.
kernel_allows() {
  [ "$(id -u)" = 0 ] || { say "root is needed for namespaces, cgroups and mounts"; return 1; }
  [ "$(uname -m)" = x86_64 ] || [ "$(uname -m)" = aarch64 ] || { say "there is no image for $(uname -m)"; return 1; }
  unshare --net --mount --uts --ipc --pid --fork --mount-proc true 2>/dev/null || { say "the kernel does not allow namespaces here"; return 1; }
  unshare --mount sh -c 'mount -t tmpfs tmpfs /mnt && mkdir /mnt/l /mnt/u /mnt/w /mnt/m && mount -t overlay overlay -o lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w /mnt/m' \
    2>/dev/null || { say "the kernel does not mount overlayfs here"; return 1; }
  unshare --net ip link add one type veth peer name two 2>/dev/null || { say "the kernel does not create veth pairs here"; return 1; }
  unshare --net nft add table ip trial 2>/dev/null || { say "the kernel does not support nftables here"; return 1; }
  tests/node/cgroup.sh make trial.$$ 2>/dev/null || { say "cgroups cannot be created here"; tests/node/cgroup.sh remove trial.$$; return 1; }
  tests/node/cgroup.sh remove trial.$$
}

able() {
  missing_packages
  [ ${#packages[@]} -eq 0 ] || { say "install these packages first: ${packages[*]}"; return 1; }
  kernel_allows
}

images=true
filter=()
command=()
while [ $# -gt 0 ]; do
  case $1 in
    --install) install_packages ;;
    --images-as-they-are) images=false ;;
    --quick) export SYMBOLON_NODE_QUICK=1 ;;
    --able) able; exit ;;
    --) shift; command=("$@"); break ;;
    -*) die "no such option: $1" ;;
    *) filter+=("$1") ;;
  esac
  shift
done
able || exit 1

cluster=$(KUBEBUILDER_ASSETS='' tests/cluster/build.sh)
node=$(tests/cluster/build.sh node)
helm=$(tests/cluster/build.sh helm)
[ $images = false ] || tests/node/images.sh >&2
if [ ${#command[@]} -eq 0 ]; then
  # With JSON messages, cargo reports the path of the test program.
  tests=$(cargo test --locked --no-run --test node --message-format json-render-diagnostics |
    python3 -c 'import json, sys; print(*(it["executable"] for it in map(json.loads, sys.stdin) if it.get("executable") and it["target"]["name"] == "node"))')
  [ -x "$tests" ] || die "the tests were not built"
  # Without this check, a mistyped name would run no test and succeed.
  ran=$({ "$tests" --list "${filter[@]}"; } | grep -c ': test$') || true
  [ "$ran" -gt 0 ] || die "no test has a name that contains ${filter[*]}"
  # First the ignored tests, which install and uninstall themselves and need a cluster without an installation.
  command=(bash -ec '"$@" --ignored; exec "$@"' bash "$tests" --nocapture "${filter[@]}")
fi

logs=$PWD/target/node/log
rm -rf "$logs" && mkdir -p "$logs"
cgroup=symbolon-node.$$
made=()
child=""
for folder in /var/lib/kubelet /var/lib/cni; do # fixed paths; mounted over in the namespaces
  [ -d $folder ] || { mkdir -p $folder && made+=($folder); }
done
leave() {
  # The kernel ends the processes in the namespaces with the first of them, which is killed here.
  if [ -n "$child" ]; then
    kill -KILL "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
  fi
  tests/node/cgroup.sh remove "$cgroup" || say "cannot remove the cgroup $cgroup"
  [ ${#made[@]} -eq 0 ] || rmdir "${made[@]}" 2>/dev/null || true
}
trap leave EXIT
trap 'exit 130' INT TERM HUP
tests/node/cgroup.sh sweep # the cgroups of killed runs
tests/node/cgroup.sh make "$cgroup"

# up.sh is the first process of the new namespaces: when it ends, the kernel kills all its children. It is killed
# together with this script, or at the time limit.
env PATH="$cluster:$node:$helm:$PATH:/usr/sbin:/sbin" SYMBOLON_NODE_CGROUP="$cgroup" SYMBOLON_NODE_LOGS="$logs" SYMBOLON_NODE_IMAGES="$PWD/target/node/images" \
  setpriv --pdeathsig KILL -- timeout --foreground --kill-after=10 "$patience" \
  setpriv --pdeathsig KILL -- unshare --net --mount --uts --ipc --pid --fork --kill-child=KILL --mount-proc tests/node/up.sh "${command[@]}" <&0 &
child=$!
status=0
wait $child || status=$?
if [ $status = 124 ] || [ $status = 137 ]; then say "not done after $patience s, see target/node/log"; fi
exit $status
