"""Calls an LLM with Cohere's own client and prints the client's view as one line of JSON.

    cohere_client.py http://127.0.0.1:10000 SCENARIO [--header NAME=VALUE]

Scenarios: `ask` (a whole answer), `stream` (in pieces). Members: `succeeded` and `seconds`; for an
answer `text`, `usage`, the end's `reason`, and, if streamed, `pieces` and `usage_seen`; for an
error `error` and `message`.
"""

import cohere
import httpx

from client import MAX_TOKENS, QUESTION, TIMEOUT_SECONDS, main


def connect(base_url, headers, max_retries):
    http = httpx.Client(headers=headers, timeout=TIMEOUT_SECONDS)
    return cohere.ClientV2(api_key="test", base_url=base_url, httpx_client=http)


def chat(client, model, _):
    answer = client.chat(**request(model))
    text = "".join(part.text for part in answer.message.content)
    return {"text": text, "usage": used(answer.usage), "reason": answer.finish_reason}


def chat_stream(client, model, _):
    pieces, usage, reason = [], None, None
    for event in client.chat_stream(**request(model)):
        if event.type == "content-delta":
            pieces.append(event.delta.message.content.text)
        elif event.type == "message-end":
            usage, reason = used(event.delta.usage), event.delta.finish_reason
    text, usage_seen = "".join(pieces), usage is not None
    return {"text": text, "pieces": pieces, "usage_seen": usage_seen, "usage": usage, "reason": reason}


def used(usage):
    return {"input_tokens": usage.tokens.input_tokens, "output_tokens": usage.tokens.output_tokens}


def request(model):
    messages = [{"role": "user", "content": QUESTION}]
    return {"model": model or "command-a-03-2025", "messages": messages, "max_tokens": MAX_TOKENS}


if __name__ == "__main__":
    main(__doc__, connect, {"cohere": (chat, chat_stream)})
