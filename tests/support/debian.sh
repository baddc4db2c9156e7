# Sourced by scripts that print where a program is, which they take from Debian's packages if the system lacks it. The
# packages are downloaded into the cache once and not installed. Debian signs them; the release of the system fixes their
# versions. Needs no root once apt knows the packages.
# shellcheck shell=bash

cache=${SYMBOLON_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/symbolon}

say() { echo "${0##*/}: $*" >&2; }
die() { say "$@"; exit 1; }

# Prints the folders with shared libraries below a folder, as a library path.
libraries() { find "$1/usr/lib" -path '*-linux-gnu*' -name '*.so*' -printf '%h\n' | sort -u | paste -s -d :; }

# provide NAME PROGRAM ADVICE: unpacks packages into $cache/NAME, unless that folder has the executable file PROGRAM.
# ADVICE says what to do where that is impossible. The caller defines two functions:
#   packages       prints the names of the packages
#   prepare ROOT   completes the unpacked folder, and fails if its program does not run
provide() (
  mkdir -p "$cache"
  exec 9>"$cache/$1.lock"
  flock 9
  [ ! -x "$cache/$1/$2" ] || exit 0
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || die "there is no apt-get to download $1: $3"
  # apt may download as another user, who must be able to reach the folder.
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  say "downloading it into $cache/$1, once"
  download() {
    names=$(packages) && [ -n "$names" ] &&
      # shellcheck disable=SC2086 # a list of names
      (cd "$work" && apt-get download -qq -o APT::Sandbox::User= $names) >&2
  }
  if ! download; then
    [ "$(id -u)" = 0 ] || die "apt-get download failed: run 'apt-get update' as root first, or $3"
    apt-get update -qq >&2
    download || die "apt-get cannot download $1: $3"
  fi
  mkdir "$work/root"
  for package in "$work"/*.deb; do dpkg-deb --extract "$package" "$work/root"; done
  prepare "$work/root" || die "the downloaded program does not run"
  # The folder gets its final name only when it is complete.
  rm -rf "$cache/$1" "$cache/$1.new"
  mv "$work/root" "$cache/$1.new"
  chmod -R go+rX "$cache/$1.new"
  mv "$cache/$1.new" "$cache/$1"
)
