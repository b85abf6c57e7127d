#!/bin/sh
# Puts the official Python clients that Tollgate is tested with into .venv/, unless they are there already.
# The versions are in tests/sdk/requirements.txt.
set -eu
cd "$(dirname "$0")/.."

wanted=tests/sdk/requirements.txt
# A copy of what was installed: comparing it takes no Python, so that this costs nothing when it is done.
installed=.venv/sdks.txt
if cmp -s "$wanted" "$installed" && [ -x .venv/bin/python ]; then
    exit
fi

./scripts/venv.sh || { echo "sdks.sh: no place for the Python clients, see above" >&2; exit 1; }
echo "sdks.sh: installing the Python clients of $wanted into .venv/" >&2
.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$wanted" >&2
.venv/bin/python -c 'import anthropic, boto3, cohere, mcp, ollama, openai; from google import genai'
cp "$wanted" "$installed"
