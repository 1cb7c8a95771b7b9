#!/usr/bin/env bash
# Runs every fuzz target for a time, two at once, and prints a line about each: hack/fuzz.sh TIME [TARGET…]
# An input that fails is kept in testdata/fuzz of the package, and go test runs it from then on.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:?"how long is missing: hack/fuzz.sh TIME [TARGET…]"}
shift
programs=$(mktemp -d)
trap 'rm -rf "$programs"' EXIT

fuzz() {
	local folder=$1 program=$2 target=$3 time=$4 output executions
	cd "$folder"
	# Without a bound Go spends most of the time on making interesting inputs shorter, a minute on each.
	if ! output=$("$program" -test.run='^$' -test.fuzz="^$target\$" -test.fuzztime="$time" -test.fuzzminimizetime=20x \
		-test.parallel=1 -test.fuzzcachedir="$program.inputs" 2>&1); then
		printf '%s\n%s %s FAILED\n' "$output" "$folder" "$target" >&2
		exit 1
	fi
	executions=$(grep -o 'execs: [0-9]*' <<<"$output" | tail -n1)
	printf '%-24s %-16s %s, %9s executions\n' "$folder" "$target" "$time" "${executions#execs: }"
}
export -f fuzz

folders=$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u)
targets() { sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$1"/*_test.go; }

known=$(for folder in $folders; do targets "$folder"; done | sort -u)
for target in "$@"; do
	if ! grep -qxF -- "$target" <<<"$known"; then
		echo "hack/fuzz.sh: there is no fuzz target $target; there are: ${known//$'\n'/ }" >&2
		exit 1
	fi
done

# The search is guided by what our own code does. With -fuzz, go test would build all of Kubernetes anew to be guided by that, too.
for folder in $folders; do
	program=$programs/${folder//\//-}
	for target in $(targets "$folder"); do
		if (($# == 0)) || [[ " $* " == *" $target "* ]]; then
			[[ -e $program ]] || go test -c -gcflags="$(go list -m)/...=-d=libfuzzer" -o "$program" "$folder"
			printf '%s %s %s %s\n' "$folder" "$program" "$target" "$time"
		fi
	done
done >"$programs/list"
xargs -P 2 -L 1 bash -c 'fuzz "$@"' fuzz <"$programs/list"
