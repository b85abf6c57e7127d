"""The common part of the Python scripts: the command line, and the report about an error.

In: a scenario by name and a table of calls. Out: one line of JSON on standard output for each
address of the API. Not here: anything that an SDK does; the tests observe how it handles the
answers by itself.
"""

import argparse
import json
import time

# The prompt of every call, and its bound on output.
QUESTION = "Where does the water go?"
MAX_TOKENS = 50
# Longer than any test waits.
TIMEOUT_SECONDS = 30


def main(description, connect, apis):
    """Runs the scenario that the command line names and prints the client's view.

    `connect(base_url, headers, max_retries)` makes a client; `apis` maps a name to `(ask, stream)`.
    Both take the client, a model and the names of tools to offer; `stream` is None if the API has
    no streams.
    """
    arguments = parsed(description, apis)
    ask, stream = apis[arguments.api]
    # Only the scenario `retry` retries.
    max_retries = 2 if arguments.scenario == "retry" else 0
    call = stream if arguments.scenario == "stream" else ask
    if call is None:
        raise SystemExit(f"{arguments.api} cannot be streamed")

    for base_url in arguments.base_url.split(","):
        client = connect(base_url, dict(arguments.header), max_retries)
        started = time.monotonic()
        try:
            seen = {"succeeded": True, **call(client, arguments.model, arguments.tool)}
        # A client raises its own types of errors, and those of its libraries.
        except Exception as error:
            seen = {"succeeded": False, **evidence(error)}
        print(json.dumps({"seconds": round(time.monotonic() - started, 3), **seen}))


def evidence(error):
    """Returns an SDK's error: its class, and its record of the response, if any."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    return {
        "error": type(error).__name__,
        "message": str(error),
        "status": getattr(error, "status_code", None),
        "retry_after": headers.get("retry-after"),
        "body": getattr(error, "body", None),
    }


def dumped(usage):
    """Returns the SDK's usage object, without members that the answer did not set."""
    return usage.model_dump(exclude_unset=True) if usage is not None else None


def parsed(description, apis):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("base_url", help="where the API is, as the SDK wants it; several with commas between")
    parser.add_argument("scenario", choices=["ask", "stream", "over_budget", "retry"])
    parser.add_argument("--api", choices=list(apis), default=next(iter(apis)))
    parser.add_argument("--model", help="instead of the API's usual one")
    parser.add_argument("--tool", action="append", default=[], help="the name of a tool to be offered")
    parser.add_argument("--header", action="append", default=[], type=header, metavar="NAME=VALUE")
    return parser.parse_args()


def header(text):
    name, found, value = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
