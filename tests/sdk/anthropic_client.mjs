// Calls an LLM with Anthropic's Node client and prints the client's view (`client.mjs`).

import Anthropic from "@anthropic-ai/sdk";

import { main, MAX_TOKENS, QUESTION, streamed, TIMEOUT_MS } from "./client.mjs";

function connect(baseURL, defaultHeaders, maxRetries) {
  return new Anthropic({ apiKey: "sk-ant-test", baseURL, defaultHeaders, maxRetries, timeout: TIMEOUT_MS });
}

const REQUEST = {
  model: "claude-opus-5-5",
  messages: [{ role: "user", content: QUESTION }],
  max_tokens: MAX_TOKENS,
};

async function messages(client) {
  const { content, usage, stop_reason: reason, model } = await client.messages.create(REQUEST);
  return { text: content.map((block) => block.text ?? "").join(""), usage, reason, model };
}

async function messagesStream(client) {
  const pieces = [];
  let start, end, usage;
  for await (const event of await client.messages.create({ ...REQUEST, stream: true })) {
    if (event.type === "message_start") start = event.message;
    if (event.type === "content_block_delta") pieces.push(event.delta.text);
    if (event.type === "message_delta") {
      end = event.delta;
      // The numbers of a stream are totals, so later ones replace earlier ones.
      usage = { ...start.usage, ...event.usage };
    }
  }
  return streamed(pieces, usage, end?.stop_reason, start?.model);
}

await main(connect, { messages: [messages, messagesStream] });
