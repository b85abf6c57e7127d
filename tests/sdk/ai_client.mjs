// Calls an LLM with the AI SDK and prints the client's view (`client.mjs`).
//
// The SDK has one interface for all providers, so `--api` chooses the provider and its API.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText } from "ai";

import { main, MAX_TOKENS, QUESTION, streamed } from "./client.mjs";

function connect(baseURL, headers, maxRetries) {
  return { settings: { apiKey: "test", baseURL, headers }, maxRetries };
}

function calls(model) {
  const request = ({ settings, maxRetries }) => ({
    model: model(settings),
    prompt: QUESTION,
    maxOutputTokens: MAX_TOKENS,
    maxRetries,
  });
  async function ask(client) {
    const { text, usage, finishReason: reason, response } = await generateText(request(client));
    return { text, usage: usage.raw, reason, model: response.modelId };
  }
  async function stream(client) {
    const pieces = [];
    let usage, reason, answeredBy;
    // The SDK returns an error as a part of the stream; `onError` would only log it.
    for await (const part of streamText({ ...request(client), onError: () => {} }).fullStream) {
      if (part.type === "text-delta") pieces.push(part.text);
      if (part.type === "finish-step") {
        ({ finishReason: reason } = part);
        usage = part.usage.raw;
        answeredBy = part.response.modelId;
      }
      if (part.type === "error") throw part.error;
    }
    return streamed(pieces, usage, reason, answeredBy);
  }
  return [ask, stream];
}

await main(connect, {
  chat: calls((settings) => createOpenAI(settings).chat("gpt-4o")),
  responses: calls((settings) => createOpenAI(settings).responses("gpt-4o")),
  messages: calls((settings) => createAnthropic(settings)("claude-opus-5-5")),
});
