#!/bin/bash
# The part of the official entry point that a project uses: POSTGRES_USER, _PASSWORD, _DB,
# _INITDB_ARGS (each also as NAME_FILE), POSTGRES_HOST_AUTH_METHOD and /docker-entrypoint-initdb.d.
set -euo pipefail

# setting NAME [DEFAULT]: export NAME from itself, else from the file NAME_FILE names, else DEFAULT.
setting() {
    local file=$1_FILE
    if [ -n "${!1:-}" ] && [ -n "${!file:-}" ]; then
        echo "error: both $1 and $file are set (but are exclusive)" >&2
        exit 1
    elif [ -n "${!file:-}" ]; then
        export "$1=$(< "${!file}")"
    else
        export "$1=${!1:-${2:-}}"
    fi
}

query() {
    psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password --username "$POSTGRES_USER" "$@"
}

create_cluster() {
    if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
        echo "Error: Database is uninitialized and superuser password is not specified." >&2
        echo "       You must specify POSTGRES_PASSWORD to a non-empty value." >&2
        exit 1
    fi
    # Unquoted: several arguments in one variable, as documented for the official image.
    # shellcheck disable=SC2206
    local arguments=(--username "$POSTGRES_USER" $POSTGRES_INITDB_ARGS)
    if [ -n "$POSTGRES_PASSWORD" ]; then
        initdb "${arguments[@]}" --pwfile <(printf '%s\n' "$POSTGRES_PASSWORD")
    else
        initdb "${arguments[@]}"
    fi
    echo "host all all all $POSTGRES_HOST_AUTH_METHOD" >> "$PGDATA/pg_hba.conf"

    # Only on the socket: nobody connects before the scripts have run.
    pg_ctl -w start -o "-c listen_addresses=''"
    if [ "$POSTGRES_DB" != postgres ]; then
        query --dbname postgres -v db="$POSTGRES_DB" <<< 'CREATE DATABASE :"db";'
    fi
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        # shellcheck disable=SC1090
        case "$file" in
            *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
            *.sql) query --dbname "$POSTGRES_DB" --file "$file" ;;
            *.sql.gz) gunzip -c "$file" | query --dbname "$POSTGRES_DB" ;;
        esac
    done
    pg_ctl -w stop -m fast
    echo "PostgreSQL init process complete; ready for start up."
}

case "$1" in
    -*) set -- postgres "$@" ;;
esac

if [ "$1" = postgres ]; then
    if [ "$(id -u)" = 0 ]; then
        mkdir -p "$PGDATA"
        chmod 700 "$PGDATA"
        find "$PGDATA" /run/postgresql ! -user postgres -exec chown postgres {} +
        exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
    fi
    setting POSTGRES_PASSWORD
    setting POSTGRES_USER postgres
    setting POSTGRES_DB "$POSTGRES_USER"
    setting POSTGRES_INITDB_ARGS
    : "${POSTGRES_HOST_AUTH_METHOD:=scram-sha-256}"
    [ -s "$PGDATA/PG_VERSION" ] || create_cluster
fi

exec "$@"
