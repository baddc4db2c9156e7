#!/usr/bin/env bash
# Builds the container image without a container engine and without root: an OCI archive.
#   image/build.sh [TAG]     TAG: default the version of Cargo.toml
# IMAGE_NAME     what it is called: default docker.io/symbolon/symbolon, which is what the chart's symbolon/symbolon means
# IMAGE_BINARY   a static binary to put in instead of building one
# IMAGE_OUT      the archive: default target/image/symbolon.tar
# PROFILE        of Cargo.toml: default dist, what is shipped; another builds quicker
# The same commit, toolchain, musl-tools, ca-certificates and zlib make the same bytes: paths are left out of the
# binary, and every time is SOURCE_DATE_EPOCH, by default that of the commit.
#
# Needs rustup's toolchain of rust-toolchain.toml, Python 3.11, Debian's musl-tools, cmake and ca-certificates. `podman load`,
# `docker load`, skopeo and `ctr images import` read the archive.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { echo "image: $*" >&2; exit 1; }
need() { command -v "$1" >/dev/null || die "'$1' is needed: install $2."; }
need python3 "Debian's python3"
need cargo "Rust with rustup"

machine=$(uname -m)
case $machine in
  x86_64) architecture=amd64 ;;
  aarch64) architecture=arm64 ;;
  *) die "no image for $machine" ;;
esac
target=$machine-unknown-linux-musl
profile=${PROFILE:-dist}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
tag=${1:-$version}
name=${IMAGE_NAME:-docker.io/symbolon/symbolon}
certificates=${CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}
archive=${IMAGE_OUT:-target/image/symbolon.tar}
out=target/image
# Outside a checkout (an unpacked release) there is no commit to ask.
revision=$(git rev-parse --verify --quiet HEAD 2>/dev/null || true)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

compile() {
  need musl-gcc "Debian's musl-tools"
  need cmake "Debian's cmake"
  rustup target list --installed 2>/dev/null | grep -qx "$target" || rustup target add "$target" || die "'$target' of Rust is needed: rustup target add $target"
  local registry=${CARGO_HOME:-$HOME/.cargo}/registry/src here=$PWD remap=""
  # A registry's folder is named after its host and a hash: `cargo fetch` makes it, so that it can be named here.
  cargo fetch --locked --quiet --target "$target"
  local folder flags=()
  for folder in "$registry"/*/; do
    remap+="${remap:+$'\x1f'}--remap-path-prefix=${folder%/}=/registry"
    flags+=("-ffile-prefix-map=${folder%/}=/registry")
  done
  remap+=$'\x1f'"--remap-path-prefix=$here=/symbolon"
  flags+=("-ffile-prefix-map=$here=/symbolon")
  # musl-gcc compiles C only; as the linker it would make a dynamic binary that does not start.
  # A fixed time: compilers read it, and another one would compile all C code again for each commit.
  env SOURCE_DATE_EPOCH=0 "CC_${target//-/_}=musl-gcc" "CFLAGS_${target//-/_}=${flags[*]}" CARGO_ENCODED_RUSTFLAGS="$remap" CARGO_INCREMENTAL=0 \
    cargo build --locked --profile "$profile" --target "$target" --bin symbolon ${CARGO_JOBS:+--jobs "$CARGO_JOBS"}
}

binary=${IMAGE_BINARY:-target/$target/$profile/symbolon}
[ -n "${IMAGE_BINARY:-}" ] || compile
[ -x "$binary" ] || die "there is no program at $binary"
[ -s "$certificates" ] || die "$certificates is missing: install Debian's ca-certificates, or set CA_BUNDLE"
if readelf --program-headers "$binary" 2>/dev/null | grep -q INTERP; then die "$binary is not static: there is nothing in the image that could load it"; fi

mkdir -p "$out" "$(dirname "$archive")"
python3 image/sbom.py --target "$target" > "$out/symbolon.cdx.json"
printf 'root:x:0:0:root:/:/sbin/nologin\nsymbolon:x:65532:65532:symbolon:/:/sbin/nologin\n' > "$out/passwd"
printf 'root:x:0:\nsymbolon:x:65532:\n' > "$out/group"
# Under 25 MiB, and nothing in it but this: check.py says so.
told=$(python3 image/oci.py --output "$archive" --name "$name:$tag" --architecture "$architecture" \
  --entrypoint /symbolon --user 65532:65532 \
  --label "org.opencontainers.image.title=Symbolon" \
  --label "org.opencontainers.image.description=A Kubernetes operator with CRD-managed identity" \
  --label "org.opencontainers.image.version=$version" \
  --label "org.opencontainers.image.source=https://github.com/symbolon/symbolon" \
  --label "org.opencontainers.image.documentation=https://github.com/symbolon/symbolon/blob/v$version/README.md" \
  --label "org.opencontainers.image.licenses=Apache-2.0" \
  --label "org.opencontainers.image.vendor=Symbolon" \
  ${revision:+--label "org.opencontainers.image.revision=$revision"} \
  "$certificates:/etc/ssl/certs/ca-certificates.crt:0644" "$out/passwd:/etc/passwd:0644" "$out/group:/etc/group:0644" \
  "LICENSE:/usr/share/licenses/symbolon/LICENSE:0644" "$out/symbolon.cdx.json:/usr/share/sbom/symbolon.cdx.json:0644" \
  "$binary:/symbolon:0755")
image/check.py "$archive" "$version"
read -r named digest bytes <<<"$told"
echo "$archive: $named $digest, $((bytes / 1024)) KiB to fetch"
