#!/bin/sh
# Runs every fuzz target of the module for the time given (10s), one after another.
set -eu
time=${1:-10s}
grep -rl --include='*_test.go' '^func Fuzz' . | sort | while read -r file; do
	tags=$(sed -n 's/^\/\/go:build .*\(simkernel\).*/\1/p' "$file")
	sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$file" | while read -r target; do
		echo "fuzz $(dirname "$file") $target"
		go test -tags "$tags" -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$(dirname "$file")"
	done
done
