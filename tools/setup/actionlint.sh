#!/usr/bin/env bash
# Build actionlint, which holds GitHub's workflows against their schema, and print where it is. Only the Go module proxy is
# needed. Safe to repeat and to kill: it is built beside its place, and appears there whole or not at all.
set -euo pipefail

version=v1.7.12
home=${HOME}/.cache/slipway/actionlint-$version
if [ ! -x "$home/actionlint" ]; then
  command -v go >/dev/null || { echo "actionlint: there is no Go to build it with; install one" >&2; exit 2; }
  mkdir -p "${home%/*}"
  part=$(mktemp -d "$home.part-XXXXXX")
  trap 'rm -rf "$part"' EXIT
  GOFLAGS=-mod=mod CGO_ENABLED=0 GOBIN=$part go install "github.com/rhysd/actionlint/cmd/actionlint@$version" >&2
  # Where another build was first, its result is as good.
  mv -T "$part" "$home" 2>/dev/null || [ -x "$home/actionlint" ]
fi
echo "$home/actionlint"
