"""Calls tools of an MCP server with the official client and prints its view as one line of JSON.

    mcp_client.py http://127.0.0.1:10000/mcp TOOL ARGUMENTS... [--header NAME=VALUE]

Each of the ARGUMENTS is JSON and one call, all in one session. Members: the server's `tools`, the
log messages that it `said` on the way, and for each of the `calls` its `text`, or its error as
`error`, `code`, `message` and `data`.
"""

import argparse
import asyncio
import json
from datetime import timedelta

from mcp import ClientSession, McpError
from mcp.client.streamable_http import streamablehttp_client

from client import TIMEOUT_SECONDS, header


async def seen(arguments):
    said = []

    async def log(notification):
        said.append(notification.data)

    timeout = timedelta(seconds=TIMEOUT_SECONDS)
    async with streamablehttp_client(arguments.url, headers=dict(arguments.header)) as (read, write, _):
        async with ClientSession(read, write, read_timeout_seconds=timeout, logging_callback=log) as session:
            await session.initialize()
            tools = [tool.name for tool in (await session.list_tools()).tools]
            calls = [await called(session, arguments.tool, json.loads(each)) for each in arguments.arguments]
    return {"tools": tools, "said": said, "calls": calls}


async def called(session, tool, arguments):
    try:
        result = await session.call_tool(tool, arguments)
    except McpError as error:
        told = error.error
        return {"error": type(error).__name__, "code": told.code, "message": told.message, "data": told.data}
    return {"text": "".join(part.text for part in result.content)}


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="the server's endpoint")
    parser.add_argument("tool")
    parser.add_argument("arguments", nargs="+")
    parser.add_argument("--header", action="append", default=[], type=header, metavar="NAME=VALUE")
    return parser.parse_args()


print(json.dumps(asyncio.run(seen(parsed()))))
