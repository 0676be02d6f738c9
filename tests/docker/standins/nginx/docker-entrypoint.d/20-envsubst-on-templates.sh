#!/bin/sh
# Each template becomes a file of the same name without the suffix. Only variables that are in the
# environment are replaced: $host and the like are nginx's own.
set -e

templates=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
suffix=${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}
output=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}

[ -d "$templates" ] || exit 0
if [ ! -w "$output" ]; then
    echo "$0: ERROR: $templates exists, but $output is not writable" >&2
    exit 0
fi

variables=$(
    awk -v filter="$NGINX_ENVSUBST_FILTER" \
        'BEGIN { for (name in ENVIRON) if (name ~ filter) printf "${%s} ", name }'
)
find "$templates" -follow -type f -name "*$suffix" | while read -r template; do
    relative=${template#"$templates/"}
    target=$output/${relative%"$suffix"}
    mkdir -p "$(dirname "$target")"
    [ -n "$NGINX_ENTRYPOINT_QUIET_LOGS" ] || echo "$0: Running envsubst on $template to $target"
    envsubst "$variables" < "$template" > "$target"
done
