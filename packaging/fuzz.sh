#!/bin/sh
# Runs every fuzz target of the module for the time given (10s), one after another.
set -eu
time=${1:-10s}
grep -rl --include='*_test.go' '^func Fuzz' . | sort | while read -r file; do
	tags=
	if head -n 1 "$file" | grep -q simkernel; then # histories are long: do not dwell on shrinking one
		tags="-tags simkernel -fuzzminimizetime 10x"
	fi
	sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$file" | while read -r target; do
		echo "fuzz $(dirname "$file") $target"
		# shellcheck disable=SC2086 # a list
		go test $tags -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$(dirname "$file")"
	done
done
