#!/bin/sh
# Creates .venv/ for packages from PyPI, unless a working one exists.
set -eu
cd "$(dirname "$0")/.."

say() { echo "venv.sh: $*" >&2; }

.venv/bin/python -m pip --version >/dev/null 2>&1 && exit

command -v python3 >/dev/null || { say "python3 is needed"; exit 1; }
# Debian and Ubuntu ship python3 without the modules that venv needs.
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing python3-venv"
        apt-get update -qq >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >&2
    else
        say "python3 lacks its venv module: 'sudo apt-get install python3-venv'"
        exit 1
    fi
fi

# --clear replaces an incomplete .venv/, or one whose Python is gone.
python3 -m venv --clear .venv >&2
