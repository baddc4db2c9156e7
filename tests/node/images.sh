#!/usr/bin/env bash
# Builds the images that the node runs: ours, and beside it what a user would bring, from Debian's packages.
#   target/image/symbolon.tar        ours (image/build.sh), as it is shipped
#   target/node/images/next.tar      the same program under another tag: what an upgrade goes to
#   target/node/images/debian.tar    nginx and busybox: an API behind its gateway, and a workload that calls it
#   target/node/images/pause.tar     what holds a pod's namespaces
set -euo pipefail
cd "$(dirname "$0")/../.."
out=target/node/images
mkdir -p $out target/node/packages

# Ours, as it is shipped, and once more with another tag.
image/build.sh
machine=$(uname -m)
IMAGE_BINARY=target/$machine-unknown-linux-musl/${PROFILE:-dist}/symbolon IMAGE_OUT=$out/next.tar image/build.sh next

# Debian's packages, unpacked and not installed: their services are not to start here.
fetch() { # PACKAGE...: into target/node/packages/PACKAGE.tar, once
  local package
  for package in "$@"; do
    [ ! -s "target/node/packages/$package.tar" ] || continue
    (
      cd target/node/packages
      rm -f "${package}"_*.deb
      apt-get -q -o APT::Sandbox::User=root download "$package" >/dev/null
      dpkg-deb --fsys-tarfile "${package}"_*.deb >"$package.tar.part"
      rm -f "${package}"_*.deb
      mv "$package.tar.part" "$package.tar"
    )
  done
}
case $machine in x86_64) architecture=amd64 ;; *) architecture=arm64 ;; esac
mapfile -t nginx < <(apt-cache depends nginx | sed -n 's/^ *Depends: \([a-z].*\)$/\1/p' | grep -v iproute2 | sort -u)
[ ${#nginx[@]} -gt 0 ] || { echo "apt knows no package nginx: apt-get update" >&2; exit 1; }
fetch busybox-static nginx "${nginx[@]}"
image() { # NAME OPTION... PACKAGE.tar...
  local name=$1
  shift
  python3 image/oci.py --output "$out/$name.tar" --name "localhost/$name:test" --architecture "$architecture" "$@"
}
export SOURCE_DATE_EPOCH=0
image pause --entrypoint /bin/busybox --entrypoint sleep --entrypoint 1000000 target/node/packages/busybox-static.tar
layers=("${nginx[@]/#/target/node/packages/}")
image debian target/node/packages/{busybox-static,nginx}.tar "${layers[@]/%/.tar}"
