#!/usr/bin/env bash
# Write the review to $OUT/comment.md. Status 1 where a stack that changes would be refused, or would fail. Where it can't be
# written there is none, and comment.sh or note.sh says so.
#   PREVIEWS  `expected` where previews were to be made: then a stack without one counts as failed.
#   COMMIT    The commit under review, as its author knows it. Default: HEAD.
set -euo pipefail
. "$(dirname "$0")/common.sh"

rm -f "$OUT/comment.md"
mkdir -p "$OUT/previews"
[ -f "$OUT/changed.txt" ] || fail "base.sh did not end well: there is no list of stacks"
previews=()
while IFS= read -r stack; do
  check_name "$stack"
  file=$OUT/previews/$stack.json
  if [ ! -f "$file" ] && [ "${PREVIEWS:-}" = expected ]; then
    echo "the job that was to preview it ended before there was a result; its log says more" >"$file"
  fi
  [ ! -f "$file" ] || previews+=(--preview "$stack=$file")
done <"$OUT/changed.txt"
commit=${COMMIT:-$(git rev-parse HEAD)}
slipway review --base "$OUT/base" --commit "$commit" --base-commit "$(cat "$OUT/base.txt")" "${previews[@]}" \
  --output "$OUT/comment.md"
