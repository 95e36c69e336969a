#!/usr/bin/env bash
# Post the review as the merge request's one note on GitLab, or update the one that is there. Where nothing may be posted, as for
# a fork's branch, it is printed.
#   COMMENT          The file with the review. Default: $OUT/comment.md.
#   GITLAB_TOKEN     A project access token with scope api; a job's own token may write no notes.
#   CI_API_V4_URL, CI_COMMIT_SHA, CI_PROJECT_ID, CI_MERGE_REQUEST_IID, CI_MERGE_REQUEST_SOURCE_PROJECT_ID: as GitLab sets them.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. tools/review/rest.sh

choose_comment "${COMMENT:-$OUT/comment.md}" "${CI_COMMIT_SHA:-}"
show() {
  say "$1; this is the review:"
  cat "$comment"
}

if [ "${CI_MERGE_REQUEST_SOURCE_PROJECT_ID:-}" != "$CI_PROJECT_ID" ]; then
  show "the branch comes from another project, whose merge requests may post nothing"
  exit 0
fi
if [ -z "${GITLAB_TOKEN:-}" ]; then
  show "there is no token to post with"
  exit 0
fi
check_token "$GITLAB_TOKEN"
[[ ${CI_MERGE_REQUEST_IID:-} =~ ^[0-9]+$ ]] || fail "CI_MERGE_REQUEST_IID is to be the merge request's number"
AUTHORIZATION="PRIVATE-TOKEN: $GITLAB_TOKEN"

notes=$CI_API_V4_URL/projects/$CI_PROJECT_ID/merge_requests/$CI_MERGE_REQUEST_IID/notes
write_body "$comment"
status=$(request GET "$CI_API_V4_URL/user")
if [ "$status" = 200 ]; then
  author=$(python3 -I -c 'import json, sys; print(json.load(open(sys.argv[1], encoding="utf-8"))["id"])' "$answer")
  if find_comment "$notes" id "$author"; then
    if [ -n "$found" ]; then
      status=$(request PUT "$notes/$found" "$body")
    else
      status=$(request POST "$notes" "$body")
    fi
  fi
fi
case $status in
  200 | 201) say "the note is $([ -n "$found" ] && echo updated || echo posted)" ;;
  401 | 403) show "GitLab refused to take a note ($status)" ;;
  *)
    show "GitLab took no note ($status)"
    exit 1
    ;;
esac
