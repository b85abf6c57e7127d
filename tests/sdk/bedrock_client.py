"""Calls an LLM with Amazon's own client and prints the client's view as one line of JSON.

    bedrock_client.py http://127.0.0.1:10000 SCENARIO [--api converse|invoke] [--header NAME=VALUE]

Scenarios: `ask` (a whole answer), `stream` (in pieces). Members: `succeeded` and `seconds`; for an
answer `text`, `usage`, the end's `reason`, and, if streamed, `pieces` and `usage_seen`; for an
error `error` and `message`. `invoke` sends the body of Anthropic's models. The client signs its
requests, including the given headers.
"""

import json

import boto3
from botocore.config import Config

from client import MAX_TOKENS, QUESTION, TIMEOUT_SECONDS, main

CONVERSE_MODEL = "amazon.nova-lite-v1:0"
INVOKE_MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"


def connect(base_url, headers, max_retries):
    config = Config(
        connect_timeout=TIMEOUT_SECONDS,
        read_timeout=TIMEOUT_SECONDS,
        retries={"total_max_attempts": max_retries + 1},
    )
    client = boto3.client(
        "bedrock-runtime",
        endpoint_url=base_url,
        region_name="us-east-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="test",
        config=config,
    )

    def add_headers(request, **_):
        for name, value in headers.items():
            request.headers[name] = value

    # Adds the headers before the client signs the request.
    client.meta.events.register("before-sign.bedrock-runtime", add_headers)
    return client


def converse(client, model, _):
    answer = client.converse(**conversation(model))
    text = "".join(block["text"] for block in answer["output"]["message"]["content"])
    return {"text": text, "usage": answer["usage"], "reason": answer["stopReason"]}


def converse_stream(client, model, _):
    pieces, usage, reason = [], None, None
    for event in client.converse_stream(**conversation(model))["stream"]:
        if "contentBlockDelta" in event:
            pieces.append(event["contentBlockDelta"]["delta"]["text"])
        elif "messageStop" in event:
            reason = event["messageStop"]["stopReason"]
        elif "metadata" in event:
            usage = event["metadata"]["usage"]
    return streamed(pieces, usage, reason)


def conversation(model):
    return {
        "modelId": model or CONVERSE_MODEL,
        "messages": [{"role": "user", "content": [{"text": QUESTION}]}],
        "inferenceConfig": {"maxTokens": MAX_TOKENS},
    }


def invoke(client, model, _):
    answer = json.loads(client.invoke_model(**native(model))["body"].read())
    text = "".join(block["text"] for block in answer["content"])
    return {"text": text, "usage": answer["usage"], "reason": answer["stop_reason"]}


def invoke_stream(client, model, _):
    pieces, usage, reason = [], None, None
    for event in client.invoke_model_with_response_stream(**native(model))["body"]:
        chunk = json.loads(event["chunk"]["bytes"])
        if chunk["type"] == "content_block_delta":
            pieces.append(chunk["delta"]["text"])
        elif chunk["type"] == "message_delta":
            reason = chunk["delta"]["stop_reason"]
        elif chunk["type"] == "message_stop":
            metrics = chunk["amazon-bedrock-invocationMetrics"]
            usage = {"input_tokens": metrics["inputTokenCount"], "output_tokens": metrics["outputTokenCount"]}
    return streamed(pieces, usage, reason)


def native(model):
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": MAX_TOKENS,
        "messages": [{"role": "user", "content": QUESTION}],
    }
    return {"modelId": model or INVOKE_MODEL, "body": json.dumps(body)}


def streamed(pieces, usage, reason):
    text, usage_seen = "".join(pieces), usage is not None
    return {"text": text, "pieces": pieces, "usage_seen": usage_seen, "usage": usage, "reason": reason}


if __name__ == "__main__":
    apis = {"converse": (converse, converse_stream), "invoke": (invoke, invoke_stream)}
    main(__doc__, connect, apis)
