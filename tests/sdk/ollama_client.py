"""Calls an LLM with Ollama's own client and prints the client's view as one line of JSON.

    ollama_client.py http://127.0.0.1:10000 SCENARIO [--header NAME=VALUE]

Scenarios: `ask` (a whole answer), `stream` (in pieces). Members: `succeeded` and `seconds`; for an
answer `text`, `usage`, the end's `reason`, and, if streamed, `pieces` and `usage_seen`; for an
error `error` and `message`.
"""

import ollama

from client import MAX_TOKENS, QUESTION, TIMEOUT_SECONDS, main


def connect(base_url, headers, max_retries):
    return ollama.Client(host=base_url, headers=headers, timeout=TIMEOUT_SECONDS)


def chat(client, model, _):
    answer = client.chat(**request(model))
    return {"text": answer.message.content, "usage": used(answer), "reason": answer.done_reason}


def chat_stream(client, model, _):
    pieces, usage, reason = [], None, None
    for line in client.chat(**request(model), stream=True):
        if line.done:
            usage, reason = used(line), line.done_reason
        elif line.message.content:
            pieces.append(line.message.content)
    text, usage_seen = "".join(pieces), usage is not None
    return {"text": text, "pieces": pieces, "usage_seen": usage_seen, "usage": usage, "reason": reason}


def used(line):
    return {"input_tokens": line.prompt_eval_count, "output_tokens": line.eval_count}


def request(model):
    messages = [{"role": "user", "content": QUESTION}]
    return {"model": model or "llama3.2", "messages": messages, "options": {"num_predict": MAX_TOKENS}}


if __name__ == "__main__":
    main(__doc__, connect, {"ollama": (chat, chat_stream)})
