// The calls that the counts and the benchmark play.
//
// In: a VM and the number of a call. Out: the result of the exchange. Prompts are distinct, and the
// callers take turns. Not here: how often a call is played, and what is measured of it.

import { readFileSync } from "node:fs";
import { Exchange } from "./host.mjs";

// The number of callers.
export const TENANTS = 100;

const payload = (name) => readFileSync(new URL(`../payloads/${name}`, import.meta.url), "latin1");
const LIMITS = JSON.parse(payload("limits.json"));
const WORDS = payload("words.txt").trim().split(/\s+/);
const ANSWER = payload("answer.json");

const JSON_HEADERS = [
  [":status", "200"],
  ["content-type", "application/json"],
  ["content-length", `${ANSWER.length}`],
  ["openai-processing-ms", "512"],
  ["openai-version", "2020-10-01"],
  ["x-request-id", "req_8f31c2"],
  ["strict-transport-security", "max-age=31536000"],
  ["x-envoy-upstream-service-time", "1"],
];
const SSE_HEADERS = [
  [":status", "200"],
  ["content-type", "text/event-stream; charset=utf-8"],
  ["x-envoy-upstream-service-time", "1"],
];

const usage = { prompt_tokens: 250, completion_tokens: 100, total_tokens: 350 };
const LAST_EVENTS = `${event(`"choices":[],"usage":${JSON.stringify(usage)}`)}data: [DONE]\n\n`;

// Each call by its name: a configuration, a function that plays the call, and the status that the
// client gets once the VM is warm.
export const CALLS = {
  json: { configuration: LIMITS, play: chat([1024]), status: "200" },
  stream: { configuration: LIMITS, play: stream(1), status: "200" },
  other: { configuration: LIMITS, play: other, status: "200" },
  refused: { configuration: limited({ tpm: { max: 600 } }), play: chat([1024]), status: "429" },
  unlimited: { configuration: limited({}, []), play: chat([1024]), status: "200" },
  "10KiB": { configuration: LIMITS, play: chat([10 * 1024]), status: "200" },
  // The same 22 messages every time, and a new one.
  history: { configuration: LIMITS, play: chat(Array(23).fill(1024)), status: "200" },
  "20chunks": { configuration: LIMITS, play: stream(20), status: "200" },
};

// Returns the configuration with changes to its limits by name, or with other limits.
function limited(changes, limits = LIMITS.tiers.free.limits) {
  const changed = limits.map((limit) => ({ ...limit, ...changes[limit.name] }));
  return { ...LIMITS, tiers: { free: { limits: changed } } };
}

// Returns a function that plays a call with messages of these sizes and a JSON answer.
function chat(sizes) {
  const body = chatBody("", sizes);
  return (vm, number) => {
    const exchange = new Exchange(vm, ...post(number, body(number)));
    if (!exchange.reply) {
      exchange.respond(JSON_HEADERS);
      exchange.receive(ANSWER);
      exchange.receive("", true);
    }
    return exchange.end();
  };
}

// Returns a function that plays a call with a streamed answer of so many events with text. The
// function passes the receipt of each of them to `watch`, as a function.
function stream(events) {
  const body = chatBody('"stream":true,', [1024]);
  return (vm, number, watch = (receive) => receive()) => {
    const exchange = new Exchange(vm, ...post(number, body(number)));
    exchange.respond(SSE_HEADERS);
    for (let event = 0; event < events; event++) watch(() => exchange.receive(textEvent(event)));
    exchange.receive(LAST_EVENTS);
    exchange.receive("", true);
    return exchange.end();
  };
}

// Plays a request that is for no LLM API.
function other(vm, number) {
  const exchange = new Exchange(vm, requestHeaders(number, "GET", "/healthz"));
  exchange.respond(JSON_HEADERS);
  exchange.receive(ANSWER);
  exchange.receive("", true);
  return exchange.end();
}

function post(number, body) {
  const headers = requestHeaders(number, "POST", "/v1/chat/completions");
  headers.push(["content-type", "application/json"], ["content-length", `${body.length}`]);
  return [headers, body];
}

function requestHeaders(number, method, path) {
  const tenant = `${number % TENANTS}`.padStart(10, "0");
  return [
    [":authority", "llm.example"],
    [":path", path],
    [":method", method],
    [":scheme", "http"],
    ["x-tenant-id", tenant],
    ["authorization", "Bearer sk-proj-abcdefghijklmnopqrstuvwxyz"],
    ["user-agent", "OpenAI/Python 1.109.1"],
    ["accept", "application/json"],
    ["x-forwarded-proto", "http"],
    ["x-request-id", "5c1c2f3e-2f0b-4c67-9d39-0d6a2f4b7a11"],
  ];
}

// Returns a function from a number to a body, whose last message begins with that number.
function chatBody(members, sizes) {
  const messages = sizes.map((size, index) => {
    const role = index % 2 === 0 ? "user" : "assistant";
    return `{"role":"${role}","content":"\0: ${prose(size - 12, index)}"}`;
  });
  const text = `{"model":"gpt-4o-mini",${members}"messages":[${messages}]}`;
  const last = text.lastIndexOf("\0");
  const [head, tail] = [text.slice(0, last).replaceAll("\0", "0".repeat(10)), text.slice(last + 1)];
  return (number) => head + `${number}`.padStart(10, "0") + tail;
}

// Returns words in a random order that is always the same.
function prose(length, seed) {
  let state = seed + 1;
  let text = "";
  while (text.length < length) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const number = state >>> 8;
    text += [". ", ",\\n", ` ${number % 5000}`][number % 24] ?? ` ${WORDS[number % WORDS.length]}`;
  }
  return text.slice(0, length).replace(/\\$/, "");
}

function textEvent(number) {
  const delta = `{"index":0,"delta":{"content":" word${number}"},"logprobs":null,"finish_reason":null}`;
  return event(`"choices":[${delta}],"usage":null`);
}

function event(members) {
  return `data: {"id":"chatcmpl-CBv1","object":"chat.completion.chunk","created":1760428800,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_560af6e559",${members}}\n\n`;
}
