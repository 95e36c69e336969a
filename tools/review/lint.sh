#!/usr/bin/env bash
# The linters that take seconds, over the files that the change touches. The project's own tests are another workflow's business.
#   BASE  The commit before the change, as for base.sh.
set -euo pipefail
. "$(dirname "$0")/common.sh"

touched() { git diff --name-only -z --diff-filter=d --end-of-options "${BASE:-HEAD^1}" HEAD -- "$@"; }
touched '*.yaml' '*.yml' | xargs -0r yamllint --strict --
touched '*.py' | xargs -0r ruff check --force-exclude --
touched '*.py' | xargs -0r ruff format --check --force-exclude --
