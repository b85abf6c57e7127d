// The common part of the Node scripts: the command line, and the report about an error.
//
//     node openai_client.mjs http://127.0.0.1:10000/v1 SCENARIO [--api NAME] [--header NAME=VALUE]
//
// In: a scenario by name and a table of calls. Out: one line of JSON on standard output for each
// address of the API, with the members of the Python scripts (`client.py`). Not here: anything that
// an SDK does.

import { parseArgs } from "node:util";

// The prompt of every call, and its bound on output.
export const QUESTION = "Where does the water go?";
export const MAX_TOKENS = 50;
// Longer than any test waits.
export const TIMEOUT_MS = 30_000;

const SCENARIOS = ["ask", "stream", "over_budget", "retry"];

// Runs the scenario that the command line names and prints the client's view.
//
// `connect(baseUrl, headers, maxRetries)` makes a client; `apis` maps a name to `[ask, stream]`,
// two functions of that client.
export async function main(connect, apis) {
  const { baseUrl, scenario, api, headers } = parsed(apis);
  const [ask, stream] = apis[api];
  const call = scenario === "stream" ? stream : ask;
  for (const url of baseUrl.split(",")) {
    // Only the scenario `retry` retries.
    const client = connect(url, headers, scenario === "retry" ? 2 : 0);
    const started = performance.now();
    let seen;
    try {
      seen = { succeeded: true, ...(await call(client)) };
    } catch (error) {
      seen = { succeeded: false, ...evidence(error) };
    }
    console.log(JSON.stringify({ seconds: (performance.now() - started) / 1000, ...seen }));
  }
}

// Returns the report about a stream that has ended.
export function streamed(pieces, usage, reason, model) {
  return { text: pieces.join(""), pieces, usage_seen: usage != null, usage, reason, model };
}

// Returns an SDK's error: its class, and its record of the response, if any.
function evidence(error) {
  const { name, message, cause } = error;
  const headers = new Headers(error.headers ?? error.responseHeaders);
  return {
    error: name === "Error" ? error.constructor.name : name,
    message,
    cause: cause && String(cause),
    status: error.status ?? error.statusCode,
    retry_after: headers.get("retry-after"),
  };
}

function parsed(apis) {
  const options = { api: { type: "string" }, header: { type: "string", multiple: true } };
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  const [baseUrl, scenario] = positionals;
  const api = values.api ?? Object.keys(apis)[0];
  if (!SCENARIOS.includes(scenario) || !apis[api]) {
    const known = `${SCENARIOS.join(", ")} with --api ${Object.keys(apis).join(", ")}`;
    throw new Error(`${scenario} with --api ${api}: there is ${known}`);
  }
  const headers = Object.fromEntries((values.header ?? []).map((text) => text.split(/=(.*)/s, 2)));
  return { baseUrl, scenario, api, headers };
}
