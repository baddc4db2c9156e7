#!/usr/bin/env bash
# Prints two lines: the path of Chromium, and the library path that it needs (empty if the system has Chromium). Debian's
# packages are downloaded into the cache once and not installed. Debian signs them; the release of the system fixes their
# versions. Needs no root once apt knows the packages.
set -euo pipefail

say() { echo "chromium: $*" >&2; }
die() { say "$@"; exit 1; }

if command -v chromium >/dev/null; then
  command -v chromium
  echo
  exit
fi

# The folders with shared libraries, as a library path.
libraries() { find "$1/usr/lib" -path '*-linux-gnu*' -name '*.so*' -printf '%h\n' | sort -u | paste -s -d :; }

cache=${SYMBOLON_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/symbolon}
mkdir -p "$cache"
exec 9>"$cache/chromium.lock"
flock 9
program=usr/lib/chromium/chromium
if [ ! -x "$cache/chromium/$program" ]; then
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
    die "the tests of the pages need Chromium: install it (Debian: chromium), or run them where apt-get can download it"
  # apt may download as another user, who must be able to reach the folder.
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  say "downloading it into $cache/chromium, once"
  # Chromium, a font, and the libraries that this system lacks.
  missing() {
    apt-get install --simulate --no-install-recommends -o Debug::NoLocking=1 chromium fonts-dejavu-core fontconfig-config |
      awk '$1 == "Inst" { print $2 }'
  }
  download() {
    packages=$(missing) && [ -n "$packages" ] &&
      # shellcheck disable=SC2086 # a list of names
      (cd "$work" && apt-get download -qq -o APT::Sandbox::User= $packages) >&2
  }
  if ! download; then
    [ "$(id -u)" = 0 ] || die "apt-get download failed: run 'apt-get update' as root first, or install chromium"
    apt-get update -qq >&2
    download || die "apt-get cannot download Chromium: install it"
  fi
  mkdir "$work/root"
  for package in "$work"/*.deb; do dpkg-deb --extract "$package" "$work/root"; done
  LD_LIBRARY_PATH=$(libraries "$work/root") "$work/root/$program" --version >&2 ||
    die "the downloaded program does not run"
  # The folder gets its final name only when it is complete.
  rm -rf "$cache/chromium" "$cache/chromium.new"
  mv "$work/root" "$cache/chromium.new"
  # Only the downloaded fonts, wherever the system has its own.
  cat >"$cache/chromium.new/fonts.conf" <<FONTS
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>$cache/chromium/usr/share/fonts</dir><dir>/usr/share/fonts</dir><cachedir>$cache/chromium/fonts-cache</cachedir></fontconfig>
FONTS
  chmod -R go+rX "$cache/chromium.new"
  mv "$cache/chromium.new" "$cache/chromium"
fi
echo "$cache/chromium/$program"
libraries "$cache/chromium"
