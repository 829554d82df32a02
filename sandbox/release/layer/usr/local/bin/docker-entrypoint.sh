#!/bin/bash
# A stand-in for the entrypoints of the official images postgres and redis, made by graphistry-cluster's sandbox.
set -eu
fail() { echo "$1" >&2; exit 1; }
as() { # USER PROGRAM...: files of the volume are the user's, and so is the process
    chown -R "$1" .
    exec setpriv --reuid "$1" --regid "$1" --init-groups "$0" "${@:2}"
}

case "${1:-}" in -* | *.conf) set -- redis-server "$@" ;; esac
case "${1:-}" in
redis-server)
    if [ "$(id -u)" = 0 ]; then as redis "$@"; fi
    protected=$(sed -n 's/^protected-mode //p' "${2:-/dev/null}") # the official build has it off by itself
    # Nothing is saved, and the clock of an idle server costs little.
    exec "$@" --save "" --hz 1 --daemonize no --protected-mode "${protected:-no}"
    ;;
postgres) ;;
*) exec "$@" ;;
esac

if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
    [ -z "${POSTGRES_PASSWORD:-}" ] ||
        fail "error: both POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE are set (but are exclusive)"
    POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
    export POSTGRES_PASSWORD
    unset POSTGRES_PASSWORD_FILE
fi
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chown postgres /var/run/postgresql
    cd "$PGDATA"
    chmod 700 .
    as postgres "$@"
fi

user=${POSTGRES_USER:-postgres}
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    [ -n "${POSTGRES_PASSWORD:-}" ] ||
        fail "Error: Database is uninitialized and superuser password is not specified."
    # PG_VERSION comes last, so that half of a database is begun anew.
    find "$PGDATA" -mindepth 1 -delete
    draft=$PGDATA/draft
    initdb -D "$draft" -U "$user" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") \
        --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C --no-sync
    echo "host all all all scram-sha-256" >>"$draft/pg_hba.conf"
    database=${POSTGRES_DB:-$user}
    [ "$database" = postgres ] ||
        echo "CREATE DATABASE \"$database\"" | postgres --single -D "$draft" -c fsync=off -j postgres >/dev/null
    find "$draft" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" {} +
    mv "$draft/PG_VERSION" "$PGDATA"
    rmdir "$draft"
fi
unset POSTGRES_PASSWORD
# The last word wins over postgresql.conf. Nothing is flushed: the files of a sandbox outlive its machines, never a power cut.
exec "$@" -D "$PGDATA" -c "listen_addresses=*" -c unix_socket_directories=/var/run/postgresql \
    -c password_encryption=scram-sha-256 -c fsync=off -c shared_buffers=16MB -c max_connections=200 \
    -c autovacuum=off -c jit=off -c bgwriter_lru_maxpages=0 -c max_logical_replication_workers=0 -c wal_writer_delay=10s
