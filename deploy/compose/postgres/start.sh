#!/bin/sh
# Starts PostgreSQL, as its own user, with the data in $PGDATA. A new data folder is initialised first: the owner's name,
# password and database are those of the URL in $CITADEL_OWNER_DATABASE_URL_FILE.
#
# $CITADEL_POSTGRES_MEMORY (MB) is what the container may use: everything that depends on memory is computed from it.
set -eu

umask 077
memory=${CITADEL_POSTGRES_MEMORY:-1024}
case $memory in
'' | *[!0-9]*) echo "CITADEL_POSTGRES_MEMORY: expected a number of megabytes, got '$memory'" >&2 && exit 2 ;;
esac
if [ "$memory" -lt 256 ]; then
  echo "CITADEL_POSTGRES_MEMORY: expected at least 256 (megabytes), got $memory" >&2
  exit 2
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # postgresql://<owner>:<password>@<host>/<database>
  url=$(cat "$CITADEL_OWNER_DATABASE_URL_FILE")
  login=${url#*://}
  login=${login%%@*}
  owner=${login%%:*}
  database=${url##*/}
  # Beside the final place: an initialisation that is interrupted begins anew.
  unfinished=$PGDATA/.initialising
  rm -rf "$unfinished" /tmp/password
  printf '%s\n' "${login#*:}" >/tmp/password
  initdb --pgdata="$unfinished" --username="$owner" --pwfile=/tmp/password --encoding=UTF8 --locale=C.UTF-8 \
    --auth-local=trust --auth-host=scram-sha-256 --data-checksums >/dev/null
  rm /tmp/password
  # Only a user of this container reaches the socket; everybody else comes over the network with a password.
  echo 'host all all all scram-sha-256' >>"$unfinished/pg_hba.conf"
  echo "CREATE DATABASE \"$database\"" | postgres --single -D "$unfinished" postgres >/dev/null
  # PG_VERSION makes it a data folder, and so comes last.
  for file in "$unfinished"/*; do
    [ "${file##*/}" = PG_VERSION ] || mv "$file" "$PGDATA/"
  done
  mv "$unfinished/PG_VERSION" "$PGDATA/"
  rmdir "$unfinished"
  echo "a new database cluster is in $PGDATA"
fi

exec postgres \
  -c listen_addresses='*' \
  -c unix_socket_directories=/tmp \
  -c shared_preload_libraries=pg_stat_statements \
  -c max_connections=100 \
  -c shared_buffers="$((memory / 4))MB" \
  -c effective_cache_size="$((memory * 3 / 4))MB" \
  -c maintenance_work_mem="$((memory / 16))MB" \
  -c work_mem="$((memory / 256))MB" \
  -c autovacuum_work_mem="$((memory / 32))MB" \
  -c max_wal_size=2GB \
  -c checkpoint_completion_target=0.9 \
  -c random_page_cost=1.1 \
  -c log_error_verbosity=terse \
  -c log_parameter_max_length=0 \
  -c log_parameter_max_length_on_error=0 \
  -c password_encryption=scram-sha-256 \
  "$@"
