#!/usr/bin/env bash
# Builds the images that the node runs: our own, and those of a user's workloads from Debian's packages.
#   0.1.0      our image as it is shipped (image/build.sh), tagged with the version of Cargo.toml
#   next       the same program under another tag, for upgrades
#   debian     nginx and busybox, for an API behind its gateway and a workload that calls it
#   busybox    Debian's busybox, under the name of the registry's image in docs/getting-started.md
#   pause      holds a pod's namespaces
# The results are archives in target/node/images.
# With SYMBOLON_NODE_QUICK=1 our image has the program that `cargo test` builds, and Debian's libraries.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=target/node/images
mkdir -p $out target/node/packages

# Downloads and unpacks Debian's packages without installing them, so that no service starts.
fetch() { # PACKAGE...: into target/node/packages/PACKAGE.tar, only once
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
# Archives of an earlier run would be imported too.
rm -f "$out"/*.tar
mapfile -t nginx < <(apt-cache depends nginx | sed -n 's/^ *Depends: \([a-z].*\)$/\1/p' | grep -v iproute2 | sort -u)
[ ${#nginx[@]} -gt 0 ] || { echo "apt does not know the package nginx: run apt-get update" >&2; exit 1; }
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

# Our image under both tags, as it is shipped or with the quick build.
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
if [ "${SYMBOLON_NODE_QUICK:-}" = 1 ]; then
  # The build of the tests. A plain `cargo build` would compile it again, with fewer features of the libraries.
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
