# Everything a contributor runs. `make test` is what continuous integration runs, and installs what it needs.

CARGO ?= cargo
export RUSTDOCFLAGS = -D warnings

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build test setup format lint unit docs test-arm hw-lint hw-formal hw-cocotb bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the optimized binary, target/release/edgewen
	$(CARGO) build --release

test: setup format lint hw-lint docs test-arm unit hw-formal hw-cocotb ## install what the tests need and run them all

setup: ## install what the tests need; does nothing where it is there
	tools/setup-tests.sh
	tools/setup-hw.sh

format: ## check the formatting
	$(CARGO) fmt --all --check

lint: ## clippy, warnings are errors
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

unit: ## the tests on this machine, those of the RTL among them
	tools/run-tests.sh --workspace

docs: ## build the documentation, warnings are errors
	$(CARGO) doc --workspace --no-deps --locked

test-arm: ## the arithmetic on emulated ARM processors
	tools/test-arm.sh

hw-lint: ## lint of the RTL
	$(MAKE) -C hw lint

hw-formal: ## proofs about the RTL, at a small depth
	$(MAKE) -C hw formal

hw-cocotb: ## the RTL against an independent AXI model
	$(MAKE) -C hw cocotb

bench: build ## speed of the demo model on this machine
	target/release/edgewen bench

clean: ## remove what was built
	$(CARGO) clean
