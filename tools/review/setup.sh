#!/usr/bin/env bash
# Set up what the review needs: the Python environment, and for previews the engine too.
# Usage: tools/review/setup.sh [preview]
set -euo pipefail
. "$(dirname "$0")/common.sh"

tools/setup/setup.sh python
# A linked environment belongs to another checkout, which has its engine.
if [ "${1:-}" = preview ] && [ ! -L .venv ]; then
  python -m tools.pulumi.install
fi
