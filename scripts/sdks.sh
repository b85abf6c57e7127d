#!/bin/sh
# Installs the official Python and Node clients for the tests into .venv/, unless they are there
# already. tests/sdk/requirements.txt and tests/sdk/package-lock.json have their versions.
set -eu
cd "$(dirname "$0")/.."

say() { echo "sdks.sh: $*" >&2; }

# A copy of the installed list. Comparing it needs no Python, so a finished install costs no time.
wanted=tests/sdk/requirements.txt
installed=.venv/sdks.txt
if ! cmp -s "$wanted" "$installed" || ! [ -x .venv/bin/python ]; then
    ./scripts/venv.sh || { say "cannot install the Python clients, see above"; exit 1; }
    say "installing the Python clients of $wanted into .venv/"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$wanted" >&2
    .venv/bin/python -c 'import anthropic, boto3, cohere, mcp, ollama, openai; from google import genai'
    cp "$wanted" "$installed"
fi

wanted=tests/sdk/package-lock.json
installed=.venv/node/installed.json
if ! cmp -s "$wanted" "$installed"; then
    has_node() {
        command -v npm >/dev/null &&
            node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null
    }
    if ! command -v node >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing nodejs and npm"
        apt-get update -qq >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm >&2
    fi
    has_node || { say "the Node clients need Node 20 or newer and npm"; exit 1; }
    say "installing the Node clients of $wanted into .venv/node/"
    rm -rf .venv/node
    mkdir -p .venv/node
    cp tests/sdk/package.json "$wanted" .venv/node/
    (cd .venv/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel error >&2)
    cp "$wanted" "$installed"
fi
# Node searches for modules in the folders above a script.
ln -sfn .venv/node/node_modules node_modules
