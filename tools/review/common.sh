# shellcheck shell=bash
# What the scripts of the review share. Sourced, never run.
#
# The scripts know no code-review service but the one that they post to: inputs are environment variables, and all that one
# hands to the next lies in $OUT, from the checkout's folder on.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
OUT=${OUT:-review-out}
export PATH="$PWD/.venv/bin:$PATH"

say() { printf '%s\n' "$*" >&2; }
fail() { say "review: $1"; exit "${2:-2}"; }

# A result that somebody committed would be taken for one of ours.
[ -z "$(git ls-files -- "$OUT" 2>/dev/null)" ] || fail "$OUT holds files of the repository, and is where results go; remove them"
mkdir -p "$OUT"

# Names come from the files of the branch under review, and go into paths and command lines.
check_name() { [[ $1 =~ ^[a-zA-Z0-9][a-zA-Z0-9_-]{0,99}$ ]] || fail "$(printf '%q' "$1") can't name a stack; rename its file"; }
