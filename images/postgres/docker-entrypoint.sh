#!/bin/bash
# Creates the cluster on the first start, from POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB,
# POSTGRES_INITDB_WALDIR and POSTGRES_INITDB_ARGS, then becomes the server. Nobody can connect
# before the database exists.
set -euo pipefail

if [ "${1:0:1}" = "-" ]; then
    set -- postgres "$@"
fi
if [ "$1" != postgres ]; then
    exec "$@"
fi

if [ "$(id -u)" = 0 ]; then
    # A volume or tmpfs mounted here belongs to root.
    mkdir -p "$PGDATA"
    chown postgres:postgres "$PGDATA"
    chmod 0700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_USER:=postgres}"
    : "${POSTGRES_DB:=$POSTGRES_USER}"
    : "${POSTGRES_PASSWORD:?POSTGRES_PASSWORD is not set: the superuser needs a password}"
    waldir=${POSTGRES_INITDB_WALDIR:+--waldir=$POSTGRES_INITDB_WALDIR}
    # --no-sync: before the first start there is nothing to lose. The server itself syncs as usual.
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") \
        --auth-local=trust --auth-host=scram-sha-256 \
        --locale-provider=builtin --locale=C.UTF-8 --encoding=UTF8 --no-sync \
        ${waldir:+"$waldir"} ${POSTGRES_INITDB_ARGS:-}
    printf '%s\n' "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    printf '%s\n' "listen_addresses = '*'" >> "$PGDATA/postgresql.conf"
    if [ "$POSTGRES_DB" != postgres ]; then
        # Double quotes inside an identifier are doubled.
        printf 'CREATE DATABASE "%s"\n' "${POSTGRES_DB//\"/\"\"}" |
            postgres --single -j -F template1 > /dev/null
    fi
fi
unset POSTGRES_PASSWORD
exec "$@"
