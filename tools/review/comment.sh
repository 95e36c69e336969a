#!/usr/bin/env bash
# Post the review as the pull request's one comment on GitHub, or update the one that is there. Where nothing may be posted, as
# for a fork's branch, it goes to the job's summary.
#   COMMENT            The file with the review. Default: $OUT/comment.md.
#   HEAD_COMMIT        The commit under review, for the words where there is no such file.
#   PULL_REQUEST       Its number.
#   HEAD_REPOSITORY    owner/name that the branch comes from.
#   GITHUB_TOKEN       With pull-requests: write.
#   COMMENT_AUTHOR     Whose comments are ours. Default: github-actions[bot].
#   GITHUB_API_URL, GITHUB_REPOSITORY, GITHUB_STEP_SUMMARY: as GitHub sets them.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. tools/review/rest.sh

choose_comment "${COMMENT:-$OUT/comment.md}" "${HEAD_COMMIT:-}"
summarise() {
  say "$1; the review is in the job's summary"
  cat "$comment" >>"${GITHUB_STEP_SUMMARY:-/dev/stdout}"
}

if [ "${HEAD_REPOSITORY:-}" != "$GITHUB_REPOSITORY" ]; then
  summarise "the branch comes from another repository, whose pull requests may post nothing"
  exit 0
fi
if [ -z "${GITHUB_TOKEN:-}" ]; then
  summarise "there is no token to post with"
  exit 0
fi
check_token "$GITHUB_TOKEN"
[[ ${PULL_REQUEST:-} =~ ^[0-9]+$ ]] || fail "PULL_REQUEST is to be the pull request's number"
AUTHORIZATION="Authorization: Bearer $GITHUB_TOKEN"

issues=${GITHUB_API_URL:-https://api.github.com}/repos/$GITHUB_REPOSITORY/issues
write_body "$comment"
if find_comment "$issues/$PULL_REQUEST/comments" login "${COMMENT_AUTHOR:-github-actions[bot]}"; then
  if [ -n "$found" ]; then
    status=$(request PATCH "$issues/comments/$found" "$body")
  else
    status=$(request POST "$issues/$PULL_REQUEST/comments" "$body")
  fi
fi
case $status in
  200 | 201) say "the comment is $([ -n "$found" ] && echo updated || echo posted)" ;;
  401 | 403) summarise "GitHub refused to take a comment ($status)" ;;
  *)
    summarise "GitHub took no comment ($status)"
    exit 1
    ;;
esac
