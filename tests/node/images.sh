#!/usr/bin/env bash
# Builds the images that the node runs: ours, and beside it what a user would bring, from Debian's packages.
#   0.1.0      ours (image/build.sh), as it is shipped; with the version of Cargo.toml
#   next       the same program under another tag: what an upgrade goes to
#   debian     nginx and busybox: an API behind its gateway, and a workload that calls it
#   busybox    Debian's, under the name of the one that docs/getting-started.md takes from the registry
#   pause      what holds a pod's namespaces
# They are archives in target/node/images.
# With SYMBOLON_NODE_QUICK=1 ours holds the program that the tests bring, over Debian's libraries: for trying a change.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=target/node/images
mkdir -p $out target/node/packages

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
machine=$(uname -m)
case $machine in x86_64) architecture=amd64 ;; *) architecture=arm64 ;; esac
# What an earlier run has left would be imported too.
rm -f "$out"/*.tar
mapfile -t nginx < <(apt-cache depends nginx | sed -n 's/^ *Depends: \([a-z].*\)$/\1/p' | grep -v iproute2 | sort -u)
[ ${#nginx[@]} -gt 0 ] || { echo "apt knows no package nginx: apt-get update" >&2; exit 1; }
fetch busybox-static libgcc-s1 nginx "${nginx[@]}"

image() { # NAME OPTION... PACKAGE.tar...
  local name=$1
  shift
  SOURCE_DATE_EPOCH=0 python3 image/oci.py --output "$out/$name.tar" --name "localhost/$name:test" --architecture "$architecture" "$@"
}
image pause --entrypoint /bin/busybox --entrypoint sleep --entrypoint 1000000 target/node/packages/busybox-static.tar
layers=("${nginx[@]/#/target/node/packages/}")
image debian target/node/packages/{busybox-static,nginx}.tar "${layers[@]/%/.tar}"
links=$(mktemp -d)
trap 'rm -rf "$links"' EXIT
mkdir "$links/bin"
for applet in sh cat sleep wget; do ln -s busybox "$links/bin/$applet"; done
tar -cf target/node/packages/applets.tar -C "$links" bin
image busybox --name docker.io/library/busybox:1.37 target/node/packages/{busybox-static,applets}.tar

# Ours, and the same once more under another tag: as it is shipped, or quick.
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
if [ "${SYMBOLON_NODE_QUICK:-}" = 1 ]; then
  # As the tests build it: by itself it would be another one, with fewer features of its libraries.
  cargo test --locked --no-run --test node
  strip -o target/node/symbolon target/debug/symbolon
  for tag in "$version" next; do
    SOURCE_DATE_EPOCH=0 python3 image/oci.py --output "$out/$tag.tar" --name "docker.io/symbolon/symbolon:$tag" --architecture "$architecture" --label "tag=$tag" \
      --entrypoint /symbolon target/node/packages/{libc6,libgcc-s1}.tar target/node/symbolon:/symbolon:0755
  done
else
  IMAGE_OUT=$out/$version.tar image/build.sh
  IMAGE_BINARY=target/$machine-unknown-linux-musl/dist/symbolon IMAGE_OUT=$out/next.tar image/build.sh next
fi
