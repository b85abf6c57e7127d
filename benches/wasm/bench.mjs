// Measures the time of a call in a bare V8: the filter alone, without Envoy and without sockets.
//
//     node benches/wasm/bench.mjs target/tollgate.wasm [other.wasm] [name of a call]
//
// In: builds of the filter. Out, to standard output: CPU time per call of each build, as median and
// quartiles over rounds, and the ratio of each build to the first. Each build is compiled twice,
// and each compilation has its own VM, because the layout of code and memory alone makes a
// difference; the VMs take turns. The times contain our own host (`host.mjs`). Not here: Envoy
// (`benches/envoy`).

import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { CALLS } from "./calls.mjs";
import { Vm } from "./host.mjs";

// As in Envoy: the optimizing compiler, before the first call.
setFlagsFromString("--no-liftoff");
setFlagsFromString("--no-wasm-lazy-compilation");

const INSTANCES = 2;
// A worker's first calls.
const COLD = 10_000;
const ROUNDS = 20;
// Calls of each round and VM.
const BATCH = 1_000;

const args = process.argv.slice(2);
const paths = args.filter((arg) => arg.endsWith(".wasm"));
const [wanted] = args.filter((arg) => !arg.endsWith(".wasm"));
const calls = Object.entries(CALLS).filter(([name]) => name === (wanted ?? name));
if (paths.length === 0 || calls.length === 0) {
  console.error(`usage: bench.mjs <module.wasm>... [${Object.keys(CALLS).join(" | ")}]`);
  process.exit(2);
}

const builds = await Promise.all(paths.map(compilations));
paths.forEach((path, build) => console.log(`${letter(build)}: ${path}`));
console.log("\nCPU time per call, us: median (quartiles)");
console.log(`cold: a VM's first ${COLD} calls; warm: ${ROUNDS} rounds of ${BATCH} calls after them\n`);
for (const [name, call] of calls) measure(name, call);

// Compiles a build several times. Without a difference V8 would compile it once.
function compilations(path) {
  const code = readFileSync(path);
  return Promise.all(
    Array.from({ length: INSTANCES }, (_, index) => {
      const section = [0, 6, 4, ...Buffer.from("copy"), index];
      return WebAssembly.compile(Buffer.concat([code, Buffer.from(section)]));
    }),
  );
}

function measure(name, { configuration, play, status }) {
  const start = (module) => ({ vm: new Vm(module, configuration), number: 0 });
  const run = (running, count) => {
    const begun = process.cpuUsage();
    for (let left = count; left > 0; left--) play(running.vm, running.number++);
    const { user, system } = process.cpuUsage(begun);
    return (user + system) / count;
  };
  // The host's own code is warm before the first VM is measured.
  run(start(builds[0][0]), COLD);

  const vms = builds.map((modules) => modules.map(start));
  const cold = inTurns(vms, (running) => run(running, COLD), 0);
  const warm = Array.from({ length: ROUNDS }, (_, round) =>
    inTurns(vms, (running) => run(running, BATCH), round),
  );
  for (const { vm, number } of vms.flat()) {
    const { headers } = play(vm, number);
    if (headers[0][1] !== status) throw new Error(`the answer to ${name} is ${headers}`);
  }
  report(`${name}, cold`, [cold]);
  report(`${name}, warm`, warm);
}

// Measures all VMs, in alternating order so that no build is favoured.
function inTurns(vms, measure, round) {
  const order = vms.flatMap((own, build) => own.map((_, index) => [index, build])).sort();
  const times = vms.map((own) => own.map(() => 0));
  for (const [index, build] of round % 2 ? order.reverse() : order) {
    times[build][index] = measure(vms[build][index]);
  }
  return times;
}

// Prints the times of each build, and the ratios of all pairs of VMs within each round.
function report(name, rounds) {
  const cells = builds.map((_, build) => {
    const times = rounds.flatMap((round) => round[build]);
    return `${letter(build)} ${quartiles(times, 1)}`;
  });
  for (let build = 1; build < builds.length; build++) {
    const pairs = ([first, ...others]) => others[build - 1].flatMap((time) => first.map((one) => time / one));
    cells.push(`${letter(build)}/A ${quartiles(rounds.flatMap(pairs), 3)}`);
  }
  console.log(`${name.padEnd(18)}${cells.map((cell) => cell.padEnd(26)).join("")}`);
}

function quartiles(values, decimals) {
  const sorted = values.toSorted((one, other) => one - other);
  const [low, median, high] = [0.25, 0.5, 0.75].map((share) => {
    const place = share * (sorted.length - 1);
    const [below, above] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
    return (below + (above - below) * (place % 1)).toFixed(decimals);
  });
  return `${median} (${low}–${high})`;
}

function letter(build) {
  return String.fromCharCode(65 + build);
}
