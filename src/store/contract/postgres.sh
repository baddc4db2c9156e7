#!/usr/bin/env bash
# Starts a PostgreSQL server for the tests of the store and prints its URL. The server ends when this script's standard input
# closes, so it does not outlive the tests. A line "kill" on the standard input ends the server as a crash does, and "start"
# starts it again with its data; the script answers "killed" or "started". With a folder and a port as arguments, it also listens on that port of
# 127.0.0.1 with TLS, by the files server.crt and server.key in the folder; the user "app" then needs TLS and a password.
# Its programs are those of the system, or else Debian's packages. It needs no root.
set -euo pipefail
# shellcheck source=tests/support/debian.sh
source "$(dirname "$0")/../../../tests/support/debian.sh"

version=15
# Prints the folder with initdb and postgres of the system, if there is one.
installed_programs() {
  for folder in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin; do
    [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ] && { echo "$folder"; return; }
  done
  if command -v initdb >/dev/null && command -v postgres >/dev/null; then
    dirname "$(command -v initdb)"
  fi
}
# The libraries that a slim system lacks; those that it has are harmless.
packages() {
  echo "postgresql-$version postgresql-client-$version libpq5 libicu72 libllvm14 libxml2 libxslt1.1 libldap-2.5-0
    libsasl2-2 libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0 libkeyutils1 libedit2 libbsd0 libmd0 libz3-4
    liblz4-1 libzstd1"
}
bin=usr/lib/postgresql/$version/bin
prepare() { LD_LIBRARY_PATH=$(echo "$1"/usr/lib/*-linux-gnu) "$1/$bin/postgres" --version >/dev/null; }

programs=$(installed_programs)
if [ -z "$programs" ]; then
  provide postgres "$bin/initdb" \
    "install PostgreSQL (Debian: postgresql), or set SYMBOLON_TEST_POSTGRES to the URL of an empty database"
  programs=$cache/postgres/$bin
  LD_LIBRARY_PATH=$(echo "$cache"/postgres/usr/lib/*-linux-gnu)
  export LD_LIBRARY_PATH
fi

# PostgreSQL refuses to run as root.
as=()
data=$(mktemp -d /tmp/symbolon-postgres.XXXXXX)
if [ "$(id -u)" = 0 ]; then
  # Its files and programs must be readable by the other user.
  as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
  chown 65534:65534 "$data"
  "${as[@]}" test -x "$programs/initdb" || {
    copy=$data/programs
    mkdir "$copy"
    cp -a "$cache/postgres/." "$copy"
    chmod -R go+rX "$copy"
    programs=$copy/$bin
    LD_LIBRARY_PATH=$(echo "$copy"/usr/lib/*-linux-gnu)
  }
fi
server=
finish() {
  [ -z "$server" ] || { kill -QUIT "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; }
  rm -rf "$data"
}
trap finish EXIT
trap 'exit 1' TERM INT HUP

cd "$data"
"${as[@]}" "$programs/initdb" --pgdata "$data/db" --username symbolon --auth trust --no-sync --no-instructions \
  --encoding UTF8 --locale C >"$data/log" 2>&1 || die "initdb failed: $(cat "$data/log")"
# Its socket is in its own folder; it listens on no address. Durability is not tested, so it does not wait for the disk.
listen=(-c listen_addresses=)
port=5432
if [ $# = 2 ]; then
  port=$2
  cp "$1/server.crt" "$1/server.key" "$data/db"
  chmod 600 "$data/db/server.key"
  [ "$(id -u)" != 0 ] || chown 65534:65534 "$data/db/server.crt" "$data/db/server.key"
  printf '%s\n' "local all all trust" "hostssl all app 127.0.0.1/32 scram-sha-256" "host all symbolon 127.0.0.1/32 trust" \
    >"$data/db/pg_hba.conf"
  listen=(-c listen_addresses=127.0.0.1 -c ssl=on)
fi
start() {
  "${as[@]}" "$programs/postgres" -D "$data/db" -k "$data" -p "$port" "${listen[@]}" -c fsync=off -c max_connections=200 \
    >>"$data/log" 2>&1 </dev/null &
  server=$!
  until "${as[@]}" "$programs/pg_isready" -q -h "$data" -p "$port" -U symbolon -d postgres; do
    kill -0 "$server" 2>/dev/null || die "PostgreSQL did not start: $(cat "$data/log")"
    sleep 0.1
  done
}
start
encoded=${data//\//%2F}
echo "postgres://symbolon@$encoded:$port/postgres"
# Until the tests end.
while read -r command; do
  case $command in
    kill)
      kill -QUIT "$server"
      wait "$server" || true
      server=
      echo killed
      ;;
    start)
      start
      echo started
      ;;
  esac
done
