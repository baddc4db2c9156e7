#!/usr/bin/env bash
# Prints a folder with Apache httpd and its two modules for OAuth 2.0, unpacked from packages of Debian 12.
set -euo pipefail
# shellcheck source=tests/support/debian.sh
source "$(dirname "$0")/../../support/debian.sh"

program=usr/sbin/apache2
packages() {
  echo "apache2-bin libapache2-mod-auth-openidc libapache2-mod-oauth2 libapr1 libaprutil1 libcjose0 libhashkit2
    libhiredis0.14 libjansson4 liblua5.3-0 libmemcached11 liboauth2-0 liboauth2-apache0"
}
prepare() { LD_LIBRARY_PATH=$(libraries "$1") "$1/$program" -v >/dev/null; }
provide apache "$program" "the tests of Apache's modules need apt-get of Debian 12"
echo "$cache/apache"
