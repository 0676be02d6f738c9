#!/bin/sh
# The server that comes with the image listens on IPv6 too, where there is IPv6.
set -e

file=/etc/nginx/conf.d/default.conf
if [ -w "$file" ] && [ -w /etc/nginx/conf.d ] && [ -e /proc/net/if_inet6 ] \
    && ! grep -q '\[::\]' "$file"; then
    sed -i 's/^    listen 80;$/&\n    listen [::]:80;/' "$file"
fi
