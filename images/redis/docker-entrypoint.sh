#!/bin/sh
# Runs the server with protected mode off, as the official image is compiled; else what was asked.
set -eu

if [ "${1#-}" != "$1" ]; then
    set -- redis-server "$@"
fi
if [ "$1" = redis-server ]; then
    set -- "$@" --protected-mode no
fi
exec "$@"
