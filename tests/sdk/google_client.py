"""Calls an LLM with Google's own client and prints the client's view as one line of JSON.

    google_client.py http://127.0.0.1:10000 SCENARIO [--header NAME=VALUE]

Scenarios: `ask` (a whole answer), `stream` (in pieces). Members: `succeeded` and `seconds`; for an
answer `text`, `usage`, the end's `reason`, and, if streamed, `pieces` and `usage_seen`; for an
error `error` and `message`.
"""

from google import genai
from google.genai import types

from client import MAX_TOKENS, QUESTION, TIMEOUT_SECONDS, main


def connect(base_url, headers, max_retries):
    options = types.HttpOptions(base_url=base_url, headers=headers, timeout=TIMEOUT_SECONDS * 1000)
    return genai.Client(api_key="test", http_options=options)


def generate(client, model, _):
    answer = client.models.generate_content(**request(model))
    return {"text": answer.text, "usage": used(answer.usage_metadata)}


def generate_stream(client, model, _):
    pieces, usage, reason = [], None, None
    for chunk in client.models.generate_content_stream(**request(model)):
        if chunk.text:
            pieces.append(chunk.text)
        usage = used(chunk.usage_metadata) or usage
        reason = chunk.candidates[0].finish_reason or reason
    text, usage_seen = "".join(pieces), usage is not None
    return {"text": text, "pieces": pieces, "usage_seen": usage_seen, "usage": usage, "reason": reason}


def used(usage):
    return usage.model_dump(exclude_unset=True, mode="json") if usage is not None else None


def request(model):
    config = types.GenerateContentConfig(max_output_tokens=MAX_TOKENS)
    return {"model": model or "gemini-2.5-flash", "contents": QUESTION, "config": config}


if __name__ == "__main__":
    main(__doc__, connect, {"gemini": (generate, generate_stream)})
