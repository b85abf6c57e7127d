"""Calls an LLM with OpenAI's own client and prints the client's view as one line of JSON.

    openai_client.py http://127.0.0.1:10000/v1 SCENARIO [--api chat|responses|embeddings] [--header NAME=VALUE]

Scenarios: `ask` (a whole answer), `stream` (in pieces), `over_budget` (an error, without a retry),
`retry` (up to two retries). Members: `succeeded` and `seconds`; for an answer `text`, `usage`,
`model`, the end's `reason`, and, if streamed, `pieces` and `usage_seen`; for an error `error`,
`status`, `retry_after`, `body`.
"""

import openai

from client import MAX_TOKENS, QUESTION, TIMEOUT_SECONDS, dumped, main


def connect(base_url, headers, max_retries):
    return openai.OpenAI(
        api_key="sk-test",
        base_url=base_url,
        default_headers=headers,
        max_retries=max_retries,
        timeout=TIMEOUT_SECONDS,
    )


def chat(client, model, tools):
    answer = client.chat.completions.create(**chat_request(model, tools))
    choice = answer.choices[0]
    told = {"model": answer.model, "reason": choice.finish_reason}
    return {"text": choice.message.content, "usage": dumped(answer.usage), **told}


def chat_stream(client, model, tools):
    pieces, usage, reason, answered_by = [], None, None, None
    with client.chat.completions.create(**chat_request(model, tools), stream=True) as chunks:
        for chunk in chunks:
            pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
            usage, answered_by = chunk.usage or usage, chunk.model
            reason = next((choice.finish_reason for choice in chunk.choices), None) or reason
    return streamed(pieces, usage, reason, answered_by)


def chat_request(model, tools):
    messages = [{"role": "user", "content": QUESTION}]
    asked = {"model": model or "gpt-4o", "messages": messages, "max_completion_tokens": MAX_TOKENS}
    if tools:
        asked["tools"] = [{"type": "function", "function": {"name": name}} for name in tools]
    return asked


def responses(client, model, tools):
    answer = client.responses.create(**responses_request(model, tools))
    told = {"model": answer.model, "reason": answer.status}
    return {"text": answer.output_text, "usage": dumped(answer.usage), **told}


def responses_stream(client, model, tools):
    pieces, usage, reason, answered_by = [], None, None, None
    with client.responses.create(**responses_request(model, tools), stream=True) as events:
        for event in events:
            if event.type == "response.output_text.delta":
                pieces.append(event.delta)
            elif event.type in ("response.completed", "response.incomplete"):
                usage, answered_by = event.response.usage, event.response.model
                reason = event.response.status
    return streamed(pieces, usage, reason, answered_by)


def responses_request(model, tools):
    asked = {"model": model or "gpt-4o", "input": QUESTION, "max_output_tokens": MAX_TOKENS}
    if tools:
        function = {"type": "function", "parameters": {"type": "object"}, "strict": False}
        asked["tools"] = [{**function, "name": name} for name in tools]
    return asked


def embeddings(client, model, _):
    answer = client.embeddings.create(model=model or "text-embedding-3-small", input=QUESTION)
    return {"dimensions": len(answer.data[0].embedding), "usage": dumped(answer.usage)}


def streamed(pieces, usage, reason, answered_by):
    text, usage_seen = "".join(pieces), usage is not None
    return {
        "text": text,
        "pieces": pieces,
        "usage_seen": usage_seen,
        "usage": dumped(usage),
        "model": answered_by,
        "reason": reason,
    }


APIS = {
    "chat": (chat, chat_stream),
    "responses": (responses, responses_stream),
    "embeddings": (embeddings, None),
}

if __name__ == "__main__":
    main(__doc__, connect, APIS)
