#!/bin/sh
# SPDX-License-Identifier: MIT
# overshoot.sh - by how many frames the highest use at any instant was above the limit, while two threads fault as fast as they can.
set -eu

bench=$(dirname "$0")
stats=$(mktemp)
measure() {
	variant=$1
	shift
	"$bench/../lodge" run --memory 32M --swap "$file" --stats-file "$stats" "$@" -- "$bench/grab" 96 >/dev/null
	awk -v variant="$variant" -v RS='[{,}]' -F: '{ n[$1] = $2 }
		END { limit = n["\"limit_pages\""]; peak = n["\"peak_usage_pages\""]
		      out = n["\"swap_out_pages\""] + n["\"compress_out_pages\""]
		      if (!limit || peak < limit / 2 || !out) exit 1
		      print variant, (peak > limit ? peak - limit : 0) }' "$stats"
}
file=$1
measure overshoot
measure overshoot-huge --thp always
measure overshoot-high --memory-high 24M
measure overshoot-lz4 --swap-compress lz4
rm "$stats"
