#!/usr/bin/env bash
# Lay the commit before the change out in $OUT/base, and list the stacks that change and can be previewed: $OUT/changed.txt.
# Which commit it is: $OUT/base.txt. On GitHub the list is the step's output `stacks` too.
#   BASE  The commit before the change. Default: HEAD^1, the branch that is merged into where HEAD is GitHub's merge commit.
set -euo pipefail
. "$(dirname "$0")/common.sh"

base=${BASE:-HEAD^1}
commit=$(git rev-parse --verify --quiet --end-of-options "$base^{commit}") ||
  fail "there is no commit $(printf '%q' "$base") here; fetch one commit more"
rm -rf "$OUT/base"
mkdir -p "$OUT/base"
echo "$commit" >"$OUT/base.txt"
git archive --format=tar "$commit" | tar -x -C "$OUT/base"

slipway changed --base "$OUT/base" --previewable >"$OUT/changed.txt"
if [ -n "${GITHUB_OUTPUT:-}" ]; then
  stacks=$(slipway changed --base "$OUT/base" --previewable --json)
  echo "stacks=$stacks" >>"$GITHUB_OUTPUT"
fi
say "stacks to preview: $(tr '\n' ' ' <"$OUT/changed.txt")"
