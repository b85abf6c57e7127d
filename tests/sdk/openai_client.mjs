// Calls an LLM with OpenAI's Node client and prints the client's view (`client.mjs`).

import OpenAI from "openai";

import { main, MAX_TOKENS, QUESTION, streamed, TIMEOUT_MS } from "./client.mjs";

function connect(baseURL, defaultHeaders, maxRetries) {
  return new OpenAI({ apiKey: "sk-test", baseURL, defaultHeaders, maxRetries, timeout: TIMEOUT_MS });
}

const CHAT = {
  model: "gpt-4o",
  messages: [{ role: "user", content: QUESTION }],
  max_completion_tokens: MAX_TOKENS,
};

async function chat(client) {
  const { choices, model, usage } = await client.chat.completions.create(CHAT);
  return { text: choices[0].message.content, usage, reason: choices[0].finish_reason, model };
}

async function chatStream(client) {
  const pieces = [];
  let usage, reason, model;
  for await (const chunk of await client.chat.completions.create({ ...CHAT, stream: true })) {
    pieces.push(...chunk.choices.map((choice) => choice.delta.content).filter(Boolean));
    reason = chunk.choices[0]?.finish_reason ?? reason;
    usage = chunk.usage ?? usage;
    model = chunk.model;
  }
  return streamed(pieces, usage, reason, model);
}

const RESPONSE = { model: "gpt-4o", input: QUESTION, max_output_tokens: MAX_TOKENS };

async function responses(client) {
  const { output_text: text, usage, status: reason, model } = await client.responses.create(RESPONSE);
  return { text, usage, reason, model };
}

async function responsesStream(client) {
  const pieces = [];
  let response;
  for await (const event of await client.responses.create({ ...RESPONSE, stream: true })) {
    if (event.type === "response.output_text.delta") pieces.push(event.delta);
    else response = event.response ?? response;
  }
  return streamed(pieces, response.usage, response.status, response.model);
}

await main(connect, { chat: [chat, chatStream], responses: [responses, responsesStream] });
