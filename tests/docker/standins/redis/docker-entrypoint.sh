#!/bin/sh
# Options alone, or a configuration file, are arguments of redis-server. Root becomes redis.
set -e

case "$1" in
    -* | *.conf) set -- redis-server "$@" ;;
esac

if [ "$1" = redis-server ]; then
    # With `cap_drop: ALL` root cannot become anybody else, and stays root.
    if [ "$(id -u)" = 0 ] && setpriv --dump | grep -q 'bounding set:.*setuid'; then
        find . ! -user redis -exec chown redis {} +
        exec setpriv --reuid redis --regid redis --clear-groups "$0" "$@"
    fi
    umask 0077
    # The official image is built with protected mode off, Debian's package with it on. A choice of
    # the caller's own, in the arguments or in the file, is kept; some options must be alone.
    case "$*" in
        *protected-mode* | *--version | *-v | *--help | *-h | *--check-system) ;;
        *) grep -qs '^ *protected-mode' -- "$2" || set -- "$@" --protected-mode no ;;
    esac
fi

exec "$@"
