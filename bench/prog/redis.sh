#!/bin/sh
# SPDX-License-Identifier: MIT
# redis.sh - ns per request of a redis server and its own benchmark, 20 clients over a UNIX socket, with 1 and 16 requests in one go.
set -eu

dir=$(mktemp -d)
socket=$dir/socket
redis-server --port 0 --unixsocket "$socket" --save '' --dir "$dir" >/dev/null &
until redis-cli -s "$socket" ping >/dev/null 2>&1; do
	sleep 0.02
done
for pipeline in 1 16; do
	redis-benchmark -s "$socket" -n $((2000 * pipeline)) -c 20 -P $pipeline -t set,get --csv |
		awk -F'"' -v p=$pipeline '$2 ~ /^(SET|GET)$/ { print "redis-" tolower($2) "-" p, 1e9 / $4 }'
done
redis-cli -s "$socket" shutdown nosave
wait
rm -rf "$dir"
