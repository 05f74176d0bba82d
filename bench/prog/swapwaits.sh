#!/bin/sh
# SPDX-License-Identifier: MIT
# swapwaits.sh - of a hundred faults of bench/prog/swapset.c, how many had to wait: for the device, or to make room themselves.
set -eu

bench=$(dirname "$0")
stats=$(mktemp)
for set in fill sequential update random objects; do
	"$bench/../lodge" run --memory 64M --swap "$1" --stats-file "$stats" -- "$bench/swapset" $set 128 >/dev/null
	awk -v set=$set -v RS='[{,}]' -F: '{ n[$1] = $2 }
		END { waited = n["\"swap_wait_faults\""] + n["\"room_faults\""]
		      print "wait-" set, 100 * waited / (n["\"minor_faults\""] + n["\"major_faults\""]) }' "$stats"
done
rm "$stats"
