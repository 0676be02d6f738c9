#!/bin/sh
# Before nginx itself: everything executable in /docker-entrypoint.d, in version order. An *.sh is
# run, an *.envsh is sourced, so that the ones after it see what it exports. nginx does not see it:
# the loop is the right side of a pipe here as in the official image.
set -e

log() {
    [ -n "$NGINX_ENTRYPOINT_QUIET_LOGS" ] || echo "$0: $*"
}

if [ "$1" = nginx ] || [ "$1" = nginx-debug ]; then
    find /docker-entrypoint.d/ -follow -type f | sort -V | while read -r file; do
        case "$file" in
            *.envsh | *.sh)
                if [ ! -x "$file" ]; then
                    log "Ignoring $file, not executable"
                elif [ "$file" != "${file%.envsh}" ]; then
                    log "Sourcing $file"
                    # shellcheck disable=SC1090
                    . "$file"
                else
                    log "Launching $file"
                    "$file"
                fi
                ;;
            *) log "Ignoring $file" ;;
        esac
    done
    log "Configuration complete; ready for start up"
fi

exec "$@"
