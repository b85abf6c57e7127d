// Times the module in V8. In: the path of the module, then files of text. Out: for each file and
// encoding a line with its tokens and the nanoseconds of the median round, of the processor's time,
// which others on the machine disturb less than the clock. Not here: building the module.

import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";

// As in Envoy: the optimizing compiler, before the first call.
setFlagsFromString("--no-liftoff");
setFlagsFromString("--no-wasm-lazy-compilation");

const ROUNDS = 15;
const ROUND_MS = 40;

const microseconds = () => process.cpuUsage().user;

const [modulePath, ...files] = process.argv.slice(2);
const module = new WebAssembly.Module(readFileSync(modulePath));
const imports = {};
for (const { module: from, name } of WebAssembly.Module.imports(module)) {
  (imports[from] ??= {})[name] = () => 0;
}
const { exports } = new WebAssembly.Instance(module, imports);

for (const file of files) {
  const text = readFileSync(file);
  const address = exports.text(text.length);
  new Uint8Array(exports.memory.buffer, address, text.length).set(text);
  for (const isO200k of [1, 0]) {
    const rounds = [];
    let tokens = 0;
    for (let round = 0; round <= ROUNDS; round++) {
      const start = microseconds();
      let runs = 0;
      do {
        tokens = exports.count(isO200k);
        runs += 1;
      } while (microseconds() - start < ROUND_MS * 1000);
      // The first round warms up.
      if (round > 0) rounds.push(((microseconds() - start) * 1000) / runs);
    }
    rounds.sort((a, b) => a - b);
    console.log(`${tokens} ${rounds[ROUNDS >> 1]}`);
  }
}
