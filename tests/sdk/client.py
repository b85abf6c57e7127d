"""What the clients have in common: the command line, and what is told of an error.

In: a scenario by name and a table of calls. Out: one line of JSON on standard output for each place where
the API is. Not here: anything that an SDK does; the point is to see what it makes of the answers by itself.
"""

import argparse
import json
import time

# The prompt of every call, and the longest answer wanted.
QUESTION = "Where does the water go?"
MAX_TOKENS = 50
# A test has given up long before.
TIMEOUT_SECONDS = 30


def main(description, connect, apis):
    """Runs the scenario that the command line names and prints what was seen.

    `connect(base_url, headers, max_retries)` makes a client; `apis` maps a name to `(ask, stream)`, which
    take the client, a model and the names of tools to offer it; `stream` is None where the API has none.
    """
    arguments = parsed(description, apis)
    ask, stream = apis[arguments.api]
    # One try unless the scenario is about trying again.
    max_retries = 2 if arguments.scenario == "retry" else 0
    call = stream if arguments.scenario == "stream" else ask
    if call is None:
        raise SystemExit(f"{arguments.api} cannot be streamed")

    for base_url in arguments.base_url.split(","):
        client = connect(base_url, dict(arguments.header), max_retries)
        started = time.monotonic()
        try:
            seen = {"succeeded": True, **call(client, arguments.model, arguments.tool)}
        # What a client raises is of many types: its own, and those of the libraries that it uses.
        except Exception as error:
            seen = {"succeeded": False, **evidence(error)}
        print(json.dumps({"seconds": round(time.monotonic() - started, 3), **seen}))


def evidence(error):
    """An SDK's error: its class, and what it kept of the response, if there was one."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    return {
        "error": type(error).__name__,
        "message": str(error),
        "status": getattr(error, "status_code", None),
        "retry_after": headers.get("retry-after"),
        "body": getattr(error, "body", None),
    }


def dumped(usage):
    """A usage object as the SDK has it, without what the answer did not say."""
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
