# shellcheck shell=bash
# Requests to a code-review service, for comment.sh and note.sh. Sourced, never run.
#   AUTHORIZATION  The header that proves who asks. It is in no argument of any program.
MARKER='<!-- slipway-review -->'
PAGE=100
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
answer=$work/answer.json
body=$work/body.json

# choose_comment FILE COMMIT: sets `comment` to FILE; where the review ended without one, to words that say so. The comment of an
# earlier push would else stand for this one.
choose_comment() {
  comment=$1
  # A link could lead to what this job knows, which the branch's jobs do not.
  [ ! -L "$comment" ] || fail "$comment is a link"
  local commit="this commit" id=
  [[ ! $2 =~ ^[0-9a-f]{7,64}$ ]] || { id=$2; commit="commit \`$id\`"; }
  # A file that an earlier job left, or that was committed, names another one: no commit holds its own id.
  if [ -s "$comment" ] && head -n 4 "$comment" | grep -qF -e "$id"; then return 0; fi
  comment=$work/comment.md
  printf '%s\n## Slipway review: ✖ the review failed\n\n' "$MARKER" >"$comment"
  printf 'At %s it ended before there was a result. The log of its job says why.\n' "$commit" >>"$comment"
  say "there is no review in $1"
}

# request METHOD URL [FILE]: prints the answer's status, 000 where there was none; its text is in $answer.
request() {
  local arguments=(--silent --show-error --max-time 60 --request "$1" --output "$answer" --write-out '%{http_code}')
  : >"$answer"
  # Only what changes nothing is asked twice.
  [ "$1" != GET ] || arguments+=(--retry 3)
  [ -z "${3:-}" ] || arguments+=(--header 'Content-Type: application/json' --data-binary "@$3")
  curl "${arguments[@]}" --config <(printf 'header = "%s"\n' "$AUTHORIZATION") "$2" || true
}

# A token of other letters could end the header's line and begin another option.
check_token() { [[ $1 =~ ^[A-Za-z0-9_.=~+/-]+$ ]] || fail "the token holds letters that no token has"; }

# The comment as the body of a request.
write_body() { python3 -I -c 'import json, sys; print(json.dumps({"body": open(sys.argv[1], encoding="utf-8").read()}))' "$1" >"$body"; }

# find_comment URL AUTHOR-FIELD AUTHOR: sets `found` to our earlier comment's id, empty where there is none. Not 0 where the
# service refused; its status is then in `status`. What somebody else wrote is never ours, whatever it begins with.
find_comment() {
  local page=1 count
  found=
  while :; do
    status=$(request GET "$1?per_page=$PAGE&page=$page")
    [ "$status" = 200 ] || return 1
    count=
    read -r count found < <(python3 -I - "$answer" "$MARKER" "$2" "$3" <<'PYTHON'
import json, sys

answer, marker, field, author = sys.argv[1:]
with open(answer, encoding="utf-8") as file:
    comments = json.load(file)
ours = [
    comment["id"]
    for comment in comments
    if str((comment.get("user") or comment.get("author") or {}).get(field)) == author
    and (comment.get("body") or "").startswith(marker)
]
print(len(comments), ours[0] if ours else "")
PYTHON
    ) || true
    if [ -z "$count" ]; then
      status=000
      return 1
    fi
    if [ -n "$found" ] || [ "$count" -lt "$PAGE" ]; then return 0; fi
    page=$((page + 1))
  done
}
