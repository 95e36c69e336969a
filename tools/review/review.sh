#!/usr/bin/env bash
# Write the review to $OUT/comment.md. Status 1 where a stack that changes would be refused, or would fail.
#   PREVIEWS  `expected` where previews were to be made: then a stack without one counts as failed.
set -euo pipefail
. "$(dirname "$0")/common.sh"

mkdir -p "$OUT/previews"
previews=()
while IFS= read -r stack; do
  check_name "$stack"
  file=$OUT/previews/$stack.json
  if [ ! -f "$file" ] && [ "${PREVIEWS:-}" = expected ]; then
    echo "the job that was to preview it ended before there was a result; its log says more" >"$file"
  fi
  [ ! -f "$file" ] || previews+=(--preview "$stack=$file")
done <"$OUT/changed.txt"
slipway review --base "$OUT/base" "${previews[@]}" --output "$OUT/comment.md"
