#!/usr/bin/env bash
# Set up what the review needs: the Python environment, and for previews the engine too.
# Usage: tools/review/setup.sh [preview]
#   ENGINE_CACHE  Where a built engine is kept, for services that keep only folders of the checkout. Default: in the home.
set -euo pipefail
. "$(dirname "$0")/common.sh"

tools/setup/setup.sh python
# A linked environment belongs to another checkout, which has its engine.
if [ "${1:-}" = preview ] && [ ! -L .venv ]; then
  python -m tools.engine.install ${ENGINE_CACHE:+--cache "$ENGINE_CACHE"}
fi
