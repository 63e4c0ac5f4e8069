#!/bin/sh
# Runs every fuzz target of the module for so many inputs each (50000), one after
# another; those whose input is a whole history of the simulated kernel for a fiftieth.
#
# It counts inputs and not seconds, because go test reports its own deadline as a
# failure now and then ("context deadline exceeded", without an input that failed).
set -eu
inputs=${1:-50000}
grep -rl --include='*_test.go' '^func Fuzz' . | sort | while read -r file; do
	tags=
	count=$inputs
	if head -n 1 "$file" | grep -q simkernel; then # do not dwell on shrinking a history
		tags="-tags simkernel -fuzzminimizetime 10x"
		count=$((inputs / 50))
	fi
	sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$file" | while read -r target; do
		echo "fuzz $(dirname "$file") $target"
		# shellcheck disable=SC2086 # a list
		go test $tags -run '^$' -fuzz "^$target\$" -fuzztime "${count}x" "$(dirname "$file")"
	done
done
