// A proxy-wasm host with one worker: it starts the filter's module in Node's V8 and plays HTTP
// exchanges callback by callback, in the order of Envoy 1.40 (HTTP/1.1 on both sides).
//
// In: a compiled module, a configuration, requests and responses. Out: the messages as the filter
// has changed them, and counts of what crosses the border between host and module. The clock and
// the random bytes are the host's own, so a run repeats exactly. All bytes are strings of one
// character per byte ("latin1"). Not here: gRPC, ticks, trailers, other workers; an import for them
// that the filter calls all the same is an error.

// The time from one exchange to the next, in nanoseconds.
const APART = 100_000n;
const ROOT = 1;
const PAUSE = 1;
// proxy_status_t
const OK = 0;
const NOT_FOUND = 1;
const BAD_ARGUMENT = 2;
const CAS_MISMATCH = 8;
// proxy_map_type_t and proxy_buffer_type_t
const REQUEST_HEADERS = 0;
const RESPONSE_HEADERS = 2;
const REQUEST_BODY = 0;
const RESPONSE_BODY = 1;
const PLUGIN_CONFIGURATION = 7;
const WARN = 3;

// A VM with the filter in it, and the process around it.
export class Vm {
  // Starts the filter with a configuration. `counts`, a Map, gets the number of calls by name, in
  // both directions; without it nothing is counted, which is faster.
  constructor(module, configuration, counts) {
    this.now = 1_760_000_000_000_000_000n;
    this.seed = 1;
    this.contexts = ROOT;
    this.shared = new Map();
    this.nextCas = 1;
    this.metrics = [];
    this.warnings = [];
    this.buffers = [];
    this.maps = [];
    this.properties = new Map([
      ["plugin_name", "tollgate"],
      ["plugin_root_id", "tollgate"],
      ["xds.cluster_name", "upstream"],
      ["response.code_details", "via_upstream"],
    ]);

    const imports = {};
    for (const { module: from, name } of WebAssembly.Module.imports(module)) {
      const call = this[name]?.bind(this) ?? (() => fail(`the filter calls ${name}, which this host lacks`));
      (imports[from] ??= {})[name] = counts ? counted(counts, name, call) : call;
    }
    this.instance = new WebAssembly.Instance(module, imports);
    this.filter = { ...this.instance.exports };
    for (const [name, call] of Object.entries(this.filter)) {
      if (counts && typeof call === "function") this.filter[name] = counted(counts, name, call);
    }
    this.filter._initialize();
    this.filter.proxy_on_context_create(ROOT, 0);
    const text = JSON.stringify(configuration);
    this.buffers[PLUGIN_CONFIGURATION] = text;
    const starts = this.filter.proxy_on_vm_start(ROOT, 0) && this.filter.proxy_on_configure(ROOT, text.length);
    if (!starts) fail(`the filter refuses its configuration: ${this.warnings}`);
    this.buffers = [];
  }

  // Returns the module's memory, which moves when it grows.
  memory() {
    const { buffer } = this.filter.memory;
    if (this.bytes?.buffer !== buffer) {
      this.bytes = Buffer.from(buffer);
      this.view = new DataView(buffer);
    }
    return this.bytes;
  }

  read(at, size) {
    return this.memory().latin1Slice(at, at + size);
  }

  write32(at, value) {
    this.memory();
    this.view.setUint32(at, value, true);
  }

  // Gives bytes to the filter, in memory that it allocates. Envoy gives none for no bytes.
  give(bytes, dataAt, sizeAt) {
    const at = bytes.length > 0 ? this.filter.malloc(bytes.length) : 0;
    this.memory().latin1Write(bytes, at);
    this.write32(dataAt, at);
    this.write32(sizeAt, bytes.length);
    return OK;
  }

  // The imports, by their names.

  proxy_log(level, at, size) {
    if (level >= WARN) this.warnings.push(this.read(at, size));
    return OK;
  }

  proxy_get_current_time_nanoseconds(at) {
    this.memory();
    this.view.setBigUint64(at, this.now, true);
    return OK;
  }

  proxy_set_tick_period_milliseconds() {
    return OK;
  }

  proxy_get_buffer_bytes(kind, start, most, dataAt, sizeAt) {
    const buffer = this.buffers[kind];
    return buffer === undefined ? NOT_FOUND : this.give(buffer.slice(start, start + most), dataAt, sizeAt);
  }

  proxy_set_buffer_bytes(kind, start, replaced, at, size) {
    const buffer = this.buffers[kind];
    if (buffer === undefined) return NOT_FOUND;
    this.buffers[kind] = buffer.slice(0, start) + this.read(at, size) + buffer.slice(start + replaced);
    return OK;
  }

  proxy_get_header_map_pairs(map, dataAt, sizeAt) {
    const headers = this.maps[map];
    if (headers === undefined) return BAD_ARGUMENT;
    const sizes = headers.flat().map((text) => text.length);
    const size = 4 + sizes.reduce((sum, size) => sum + 5 + size, 0);
    const at = this.filter.malloc(size);
    [headers.length, ...sizes].forEach((number, index) => this.write32(at + 4 * index, number));
    this.memory().latin1Write(`${headers.flat().join("\0")}\0`, at + 4 + 4 * sizes.length);
    this.write32(dataAt, at);
    this.write32(sizeAt, size);
    return OK;
  }

  proxy_replace_header_map_value(map, keyAt, keySize, at, size) {
    if (this.maps[map] === undefined) return BAD_ARGUMENT;
    const [key, value] = [this.read(keyAt, keySize), this.read(at, size)];
    this.maps[map] = [...this.maps[map].filter(([name]) => name !== key), [key, value]];
    return OK;
  }

  proxy_remove_header_map_value(map, at, size) {
    if (this.maps[map] === undefined) return BAD_ARGUMENT;
    const key = this.read(at, size);
    this.maps[map] = this.maps[map].filter(([name]) => name !== key);
    return OK;
  }

  proxy_get_property(at, size, dataAt, sizeAt) {
    const value = this.properties.get(this.read(at, size).replaceAll("\0", "."));
    return value === undefined ? NOT_FOUND : this.give(value, dataAt, sizeAt);
  }

  proxy_set_property(at, size, valueAt, valueSize) {
    this.state.set(this.read(at, size), this.read(valueAt, valueSize));
    return OK;
  }

  proxy_get_shared_data(at, size, dataAt, sizeAt, casAt) {
    const found = this.shared.get(this.read(at, size));
    if (found === undefined) return NOT_FOUND;
    this.write32(casAt, found.cas);
    return this.give(found.value, dataAt, sizeAt);
  }

  // As in Envoy, a number of 0 always writes, and any number writes a new key.
  proxy_set_shared_data(at, size, valueAt, valueSize, cas) {
    const key = this.read(at, size);
    const found = this.shared.get(key);
    if (found !== undefined && cas !== 0 && cas !== found.cas) return CAS_MISMATCH;
    this.shared.set(key, { value: this.read(valueAt, valueSize), cas: this.nextCas++ });
    return OK;
  }

  // The host delivers a local reply when the callback is over.
  proxy_send_local_response(status, _details, _detailsSize, bodyAt, bodySize, headersAt, _size) {
    this.memory();
    const count = this.view.getUint32(headersAt, true);
    let at = headersAt + 4 + 8 * count;
    const next = (index) => {
      const size = this.view.getUint32(headersAt + 4 + 4 * index, true);
      const text = this.read(at, size);
      at += size + 1;
      return text;
    };
    const headers = Array.from({ length: count }, (_, index) => [next(2 * index), next(2 * index + 1)]);
    this.reply = { headers: [[":status", `${status}`], ...headers], body: this.read(bodyAt, bodySize) };
    return OK;
  }

  proxy_define_metric(_kind, at, size, idAt) {
    this.write32(idAt, this.metrics.push({ name: this.read(at, size), value: 0 }) - 1);
    return OK;
  }

  proxy_increment_metric(id, by) {
    this.metrics[id].value += Number(by);
    return OK;
  }

  proxy_record_metric(id, value) {
    this.metrics[id].value = Number(value);
    return OK;
  }

  random_get(at, size) {
    const bytes = this.memory();
    for (let index = at; index < at + size; index++) {
      this.seed = (Math.imul(this.seed, 1_103_515_245) + 12_345) >>> 0;
      bytes[index] = this.seed >>> 24;
    }
    return OK;
  }
}

// One HTTP exchange. Call its methods in the order in which they stand here.
export class Exchange {
  // Sends a request: headers as pairs, and a body or none. `this.reply` is the filter's own reply,
  // which has passed the filter like any response, or else `this.request` goes to the upstream.
  constructor(vm, headers, body) {
    this.vm = vm;
    this.context = ++vm.contexts;
    this.received = "";
    vm.now += APART;
    vm.state = new Map();
    vm.maps = [headers];
    vm.buffers = [];
    vm.reply = undefined;
    vm.filter.proxy_on_context_create(this.context, ROOT);
    let action = vm.filter.proxy_on_request_headers(this.context, headers.length, body === undefined);
    // The body comes, and then its end by itself. A filter that has paused sees the body again.
    for (const [piece, ended] of body === undefined ? [] : [[body, false], ["", true]]) {
      if (vm.reply) break;
      vm.buffers[REQUEST_BODY] = action === PAUSE ? (vm.buffers[REQUEST_BODY] ?? "") + piece : piece;
      const size = vm.buffers[REQUEST_BODY].length;
      action = vm.filter.proxy_on_request_body(this.context, size, ended);
    }
    if (action === PAUSE && !vm.reply) fail("the filter holds a request that is complete");
    this.reply = vm.reply;
    this.request = { headers: vm.maps[REQUEST_HEADERS], body: vm.buffers[REQUEST_BODY] };
    if (vm.reply) {
      this.respond(vm.reply.headers, vm.reply.body === "");
      if (vm.reply.body !== "") this.receive(vm.reply.body, true);
    }
  }

  // Receives the response's headers.
  respond(headers, ended = false) {
    this.vm.maps[RESPONSE_HEADERS] = headers;
    this.vm.filter.proxy_on_response_headers(this.context, headers.length, ended);
  }

  // Receives a piece of the response's body.
  receive(piece, ended = false) {
    this.vm.buffers[RESPONSE_BODY] = piece;
    this.vm.filter.proxy_on_response_body(this.context, piece.length, ended);
    this.received += this.vm.buffers[RESPONSE_BODY];
  }

  // Ends the exchange. Returns what the client and the upstream have got, and the filter state.
  end() {
    const { vm, context, received, request, reply } = this;
    vm.filter.proxy_on_log(context);
    vm.filter.proxy_on_done(context);
    vm.filter.proxy_on_delete(context);
    return { headers: vm.maps[RESPONSE_HEADERS], body: received, request, reply, state: vm.state };
  }
}

function counted(counts, name, call) {
  return (...values) => {
    counts.set(name, (counts.get(name) ?? 0) + 1);
    return call(...values);
  };
}

function fail(why) {
  throw new Error(why);
}
