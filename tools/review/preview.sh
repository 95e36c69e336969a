#!/usr/bin/env bash
# Preview stacks with the policies. For each, $OUT/previews/NAME.json gets what a review shows of it, or why there is none;
# values and secrets stay behind. Status 1 where a preview failed.
# Usage: tools/review/preview.sh [NAME …]
#   PULUMI_BACKEND_URL        The backend that holds the stacks' states. Default: a folder of this machine.
#   PULUMI_ACCESS_TOKEN       What that backend asks for, where it is a service of Pulumi's.
#   PULUMI_CONFIG_PASSPHRASE  What the secrets in the stacks' files are encrypted with.
#   SLIPWAY_SECRETS           Lines NAME=VALUE: the variables that the stacks take keys and tokens from.
# The code of the branch under review runs here, with these secrets: let nobody start it whom you would not tell them.
set -euo pipefail
. "$(dirname "$0")/common.sh"

NO_SUCH_STACK=6 # pulumi's exit status

work=$(mktemp -d)
# Made by hand, previews leave no keys behind that are none.
: >"$work/stand-ins"
trap 'python -m cli.pipeline.stand_ins --remove "$work/stand-ins" || true; rm -rf "$work"' EXIT
mkdir -p "$OUT/previews"

for name in PULUMI_BACKEND_URL PULUMI_ACCESS_TOKEN PULUMI_CONFIG_PASSPHRASE SLIPWAY_SECRETS; do
  # A secret that a service does not have arrives as an empty one.
  [ -n "${!name:-}" ] || unset "$name"
done
# What it means where the backend does not have a stack.
absent=${PULUMI_BACKEND_URL:+missing}
absent=${absent:-empty}

open_stack() {
  local status=0
  pulumi stack select "$1" --non-interactive >/dev/null || status=$?
  [ "$status" = "$NO_SUCH_STACK" ] || return "$status"
  # A preview makes nothing, and no stack either: one that is not there yet is held against an empty state.
  echo "$absent" >"$work/held-against"
  mkdir -p "$work/state"
  export PULUMI_BACKEND_URL=file://$work/state
  pulumi stack init "$1" --non-interactive >/dev/null
}

engine() {
  local exports
  exports=$(slipway env "$1") && eval "$exports" && open_stack "$1" &&
    python -m cli.pipeline.stand_ins "$1" "$work/stand-ins" &&
    pulumi preview --json --non-interactive --stack "$1" --policy-pack policies >"$work/preview.json"
}

failed=0
for stack in "$@"; do
  check_name "$stack"
  say "preview of $stack"
  file=stacks/Pulumi.$stack.yaml
  [ -f "$file" ] || fail "there is no $file"
  # A passphrase leaves its salt in the stack's file.
  cp "$file" "$work/stack.yaml"
  : >"$work/preview.json"
  echo kept >"$work/held-against"
  variables=$(python -m cli.pipeline.variables "$stack")
  words=()
  # In a shell of its own, so that one stack's variables are not the next one's.
  if ! (eval "$variables" && engine "$stack") 2>"$work/words.txt"; then
    words=("$work/words.txt")
    failed=1
  fi
  (
    eval "$variables"
    eval "$(slipway env "$stack" 2>/dev/null)" || true
    python -m cli.pipeline.reduce "$stack" "$(cat "$work/held-against")" "${words[@]}" \
      <"$work/preview.json" >"$OUT/previews/$stack.json"
  )
  cat "$work/stack.yaml" >"$file"
  [ ${#words[@]} -eq 0 ] || say "preview of $stack failed"
done
exit "$failed"
