#!/usr/bin/env bash
# Compares the CRDs and the Go API with a former commit, the last tag by default, and fails where something that worked then
# would not any more:
#
#   hack/apidiff.sh BIN [COMMIT]
#
# BIN has crdify and apidiff.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1 base=${2:-$(git describe --tags --abbrev=0 2>/dev/null || true)}
if [ -z "$base" ]; then
	echo "make apidiff: nothing to compare with: there is no tag yet (BASE=COMMIT names another)"
	exit 0
fi
old=$(mktemp -d)
trap 'git worktree remove --force "$old/tree" 2>/dev/null; rm -rf "$old"' EXIT
git worktree add --quiet --detach "$old/tree" "$base"
broken=0
for crd in "$old"/tree/config/crd/bases/*.yaml; do
	name=$(basename "$crd")
	if ! "$bin"/crdify --config hack/crdify.yaml "file://$crd" "file://config/crd/bases/$name" >"$old/out" 2>&1; then
		echo "make apidiff: $name breaks what works with $base:" >&2
		grep -E "ERROR" "$old/out" >&2 || cat "$old/out" >&2
		broken=1
	fi
done
module=github.com/tokengrant/tokengrant/api
if [ -f "$old/tree/api/go.mod" ]; then
	(cd "$old/tree/api" && "$bin"/apidiff -m -w "$old/api" $module)
	changes=$(cd api && "$bin"/apidiff -m -incompatible "$old/api" $module)
	if [ -n "$changes" ]; then
		printf 'make apidiff: the Go API breaks what compiles with %s:\n%s\n' "$base" "$changes" >&2
		broken=1
	fi
fi
exit $broken
