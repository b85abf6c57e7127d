// Counts what crosses the border between host and filter in one call.
//
//     node benches/wasm/count.mjs target/tollgate.wasm
//
// In: a module. Out: the table "Host calls" of docs/performance.md, which `tests/host_calls.rs`
// compares. The counts are means over one call of each of 100 callers; they are whole where these
// calls agree. Not here: time.

import { readFileSync } from "node:fs";
import { CALLS, TENANTS } from "./calls.mjs";
import { Vm } from "./host.mjs";

// The calls of each caller before the one that counts: its first makes its budgets.
const WARM = 2;

// The columns: a title, a call, and whether only its chunks count.
const COLUMNS = [
  ["JSON answer", CALLS.json],
  ["streamed, one chunk", CALLS.stream],
  ["each further chunk", CALLS["20chunks"], true],
  ["refused", CALLS.refused],
  ["no limits", CALLS.unlimited],
  ["no LLM API", CALLS.other],
];

const module = new WebAssembly.Module(readFileSync(process.argv[2]));
const columns = COLUMNS.map(([, call, chunks]) => means(call, chunks));
const names = [...new Set(columns.flatMap((column) => [...column.keys()]))].sort();
const isCallback = (name) => name === "malloc" || name.startsWith("proxy_on_");

row("", COLUMNS.map(([title]) => title));
console.log(`|---|${"---:|".repeat(COLUMNS.length)}`);
section("host calls", names.filter((name) => !isCallback(name)));
section("callbacks", names.filter(isCallback));

// Returns the mean of each count over one call, or one chunk, of each caller.
function means({ configuration, play, status }, chunks) {
  const counts = new Map();
  const vm = new Vm(module, configuration, counts);
  const sums = new Map();
  let parts = 0;
  const watch = (part) => {
    counts.clear();
    const result = part();
    for (const [name, count] of counts) sums.set(name, (sums.get(name) ?? 0) + count);
    parts += 1;
    return result;
  };
  for (let number = 0; number < WARM * TENANTS; number++) play(vm, number);
  for (let number = WARM * TENANTS; number < (WARM + 1) * TENANTS; number++) {
    const { headers } = chunks ? play(vm, number, watch) : watch(() => play(vm, number));
    if (headers[0][1] !== status) throw new Error(`the answer is ${headers}`);
  }
  return new Map([...sums].map(([name, sum]) => [name, sum / parts]));
}

function section(title, names) {
  const sum = (column) => names.reduce((sum, name) => sum + (column.get(name) ?? 0), 0);
  row(`**${title}**`, columns.map((column) => `**${number(sum(column))}**`));
  for (const name of names) row(`\`${name}\``, columns.map((column) => number(column.get(name) ?? 0)));
}

function number(count) {
  return count === 0 ? "" : `${Number(count.toFixed(2))}`;
}

function row(title, cells) {
  console.log(`| ${[title, ...cells].join(" | ")} |`);
}
