#!/usr/bin/env bash
# Prints a folder with Apache httpd and its two modules for OAuth 2.0, unpacked from Debian's packages. It downloads them into
# the cache once and installs nothing. Debian signs the packages; the release of the system fixes their versions.
# Needs no root once apt knows the packages.
set -euo pipefail

say() { echo "apache: $*" >&2; }
die() { say "$@"; exit 1; }

packages="apache2-bin libapache2-mod-auth-openidc libapache2-mod-oauth2 libapr1 libaprutil1 libcjose0 libhashkit2
  libhiredis0.14 libjansson4 liblua5.3-0 libmemcached11 liboauth2-0 liboauth2-apache0"
cache=${SYMBOLON_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/symbolon}
mkdir -p "$cache"
exec 9>"$cache/apache.lock"
flock 9
if [ ! -e "$cache/apache/usr/sbin/apache2" ]; then
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
    die "the tests of Apache's modules need apt-get of Debian 12 to download them"
  # apt may download as another user, who must be able to reach the folder.
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  say "downloading it into $cache/apache, once"
  # shellcheck disable=SC2086 # a list of names
  download() { (cd "$work" && apt-get download -qq -o APT::Sandbox::User= $packages) >&2; }
  if ! download; then
    [ "$(id -u)" = 0 ] || die "apt-get download failed: run 'apt-get update' as root first"
    apt-get update -qq >&2
    download
  fi
  mkdir "$work/root"
  for package in "$work"/*.deb; do dpkg-deb --extract "$package" "$work/root"; done
  LD_LIBRARY_PATH=$(echo "$work"/root/usr/lib/*-linux-gnu) "$work/root/usr/sbin/apache2" -v >/dev/null 2>&1 ||
    die "the downloaded program does not run"
  # The folder gets its final name only when it is complete.
  rm -rf "$cache/apache" "$cache/apache.new"
  mkdir -p "$cache/apache.new"
  cp -a "$work/root/." "$cache/apache.new"
  mv "$cache/apache.new" "$cache/apache"
fi
echo "$cache/apache"
