#!/usr/bin/env bash
# Prints the path of libfaketime, with which a test lets time pass for one process.
set -euo pipefail
# shellcheck source=tests/support/debian.sh
source "$(dirname "$0")/../support/debian.sh"

packages() { echo faketime libfaketime; }
prepare() { test -n "$(library "$1")"; }
library() { find "$1/usr/lib" -name libfaketime.so.1; }
provide faketime usr/bin/faketime "install it (Debian: faketime) and run the test as a user with apt-get"
library "$cache/faketime"
