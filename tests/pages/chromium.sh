#!/usr/bin/env bash
# Prints two lines: the path of Chromium, and the library path that it needs (empty if the system has Chromium).
set -euo pipefail
# shellcheck source=tests/support/debian.sh
source "$(dirname "$0")/../support/debian.sh"

if command -v chromium >/dev/null; then
  command -v chromium
  echo
  exit
fi

program=usr/lib/chromium/chromium
# Chromium, a font, and the libraries that this system lacks.
packages() {
  apt-get install --simulate --no-install-recommends -o Debug::NoLocking=1 chromium fonts-dejavu-core fontconfig-config |
    awk '$1 == "Inst" { print $2 }'
}
prepare() {
  # Only the downloaded fonts, wherever the system has its own.
  cat >"$1/fonts.conf" <<FONTS
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>$cache/chromium/usr/share/fonts</dir><dir>/usr/share/fonts</dir><cachedir>$cache/chromium/fonts-cache</cachedir></fontconfig>
FONTS
  LD_LIBRARY_PATH=$(libraries "$1") "$1/$program" --version >&2
}
provide chromium "$program" "install it (Debian: chromium)"
echo "$cache/chromium/$program"
libraries "$cache/chromium"
