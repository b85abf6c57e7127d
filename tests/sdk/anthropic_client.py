"""Calls an LLM with Anthropic's own client and prints the client's view as one line of JSON.

    anthropic_client.py http://127.0.0.1:10000 SCENARIO [--header NAME=VALUE]

Scenarios: `ask` (a whole answer), `stream` (in pieces), `over_budget` (an error, without a retry),
`retry` (up to two retries). Members: `succeeded` and `seconds`; for an answer `text`, `usage`,
`model`, the end's `reason`, and, if streamed, `pieces` and `usage_seen`; for an error `error`,
`status`, `retry_after`, `body`.
"""

import anthropic

from client import MAX_TOKENS, QUESTION, TIMEOUT_SECONDS, dumped, main


def connect(base_url, headers, max_retries):
    return anthropic.Anthropic(
        api_key="sk-ant-test",
        base_url=base_url,
        default_headers=headers,
        max_retries=max_retries,
        timeout=TIMEOUT_SECONDS,
    )


def messages(client, model, tools):
    message = client.messages.create(**request(model, tools))
    text = "".join(block.text for block in message.content if block.type == "text")
    return {"text": text, "usage": dumped(message.usage), "model": message.model, "reason": message.stop_reason}


def messages_stream(client, model, tools):
    pieces, usages, reason, answered_by = [], [], None, None
    with client.messages.create(**request(model, tools), stream=True) as events:
        for event in events:
            if event.type == "message_start":
                usages.append(dumped(event.message.usage))
                answered_by = event.message.model
            elif event.type == "content_block_delta" and event.delta.type == "text_delta":
                pieces.append(event.delta.text)
            elif event.type == "message_delta":
                usages.append(dumped(event.usage))
                reason = event.delta.stop_reason
    # The numbers of a stream are totals, so later ones replace earlier ones.
    usage = {name: value for part in usages if part for name, value in part.items()}
    # The stream begins with the first; only the second has the final usage.
    usage_seen = len(usages) == 2 and usages[1] is not None
    return {
        "text": "".join(pieces),
        "pieces": pieces,
        "usage_seen": usage_seen,
        "usage": usage or None,
        "model": answered_by,
        "reason": reason,
    }


def request(model, tools):
    question = [{"role": "user", "content": QUESTION}]
    asked = {"model": model or "claude-opus-5-5", "messages": question, "max_tokens": MAX_TOKENS}
    if tools:
        asked["tools"] = [{"name": name, "input_schema": {"type": "object"}} for name in tools]
    return asked


if __name__ == "__main__":
    main(__doc__, connect, {"messages": (messages, messages_stream)})
