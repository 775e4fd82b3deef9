# The verbs of this repository: `make help` lists every target that has a `##` comment.
#
# One profile: everything but the benchmarks is built with cargo's dev profile, so that tests, lints and `make run` share
# their artifacts. CARGO_TARGET_DIR is respected.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# Passed on by the targets that run the program, e.g. make run ARGS='--keep demo --nodes 5'
ARGS ?=
# Seed of `make sim`; without one, it runs seeds for two minutes.
SEED ?=
# Simulated hours of `make sim-long`.
HOURS ?= 1

.PHONY: help setup run build test verify fix bench bench-peers bench-membership sim sim-long sim-mutants model

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# What the build needs beside Rust: a C++ compiler (RocksDB) and libclang (its bindings). libclang-cpp, which some packages
# bring along, is another library.
setup: ## Check for Rust, a C++ compiler and libclang; install the latter two on Debian
	@if ! command -v $(CARGO) >/dev/null; then \
	  echo "Rust is missing. Install version 1.95 or newer with rustup." >&2; exit 1; \
	fi
	@missing=; \
	command -v c++ >/dev/null || command -v g++ >/dev/null || missing="$$missing g++"; \
	if [[ -z "$${LIBCLANG_PATH:-}" ]] && ! ldconfig -p 2>/dev/null | grep -qE 'libclang(-[0-9.]+)?\.so' \
	  && ! compgen -G '/usr/lib/llvm-*/lib/libclang[.-][s0-9]*' >/dev/null && ! xcrun --find clang >/dev/null 2>&1; then \
	  missing="$$missing libclang-dev"; \
	fi; \
	if [[ -z "$$missing" ]]; then exit 0; fi; \
	install="apt-get update && apt-get install -y --no-install-recommends make$$missing"; \
	if ! command -v apt-get >/dev/null; then \
	  echo "Missing:$$missing. Install them with your package manager, then run make again." >&2; exit 1; \
	elif [[ $$(id -u) == 0 ]]; then \
	  echo "Installing:$$missing"; DEBIAN_FRONTEND=noninteractive bash -c "$$install"; \
	elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then \
	  echo "Installing:$$missing"; sudo DEBIAN_FRONTEND=noninteractive bash -c "$$install"; \
	else \
	  echo "Missing:$$missing. Run this, then make again:" >&2; echo "  sudo bash -c '$$install'" >&2; exit 1; \
	fi

# Binaries are chosen by name, not by package: so cargo unites features over the whole workspace, as for the tests, and
# RocksDB is built once.
run: setup ## Build, start three nodes on this machine and open a shell (ARGS='--nodes 5 --keep DIR')
	$(CARGO) run --bin strata -- demo $(ARGS)

build: setup ## Build everything
	$(CARGO) build --workspace --all-targets

test: setup ## Run all tests
	$(CARGO) test --workspace

verify: test ## All checks of CI: tests, format, lints, documentation. Writes nothing
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --no-deps --workspace
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; \
	else echo "cargo-deny is not installed: advisories were not checked (licences and sources are, by the tests)"; fi

fix: setup ## Format, and apply the lints' suggestions
	$(CARGO) clippy --fix --allow-dirty --allow-staged --workspace --all-targets
	$(CARGO) fmt --all

sim: setup ## Simulate a cluster with faults: one seed (SEED=n), or many
	$(CARGO) run --bin strata-sim -- $(if $(SEED),--seed $(SEED),--wall 120) $(ARGS)

# Seeds from SEED on, or others each time. A simulated hour takes minutes.
sim-long: setup ## Simulate for HOURS=n simulated hours and add a line to docs/simulation-ledger.md
	$(CARGO) run --bin strata-sim -- --hours $(HOURS) --seed $(or $(SEED),$(shell date +%s)) \
	  --ledger docs/simulation-ledger.md --commit $(shell git rev-parse --short HEAD) $(ARGS)

sim-mutants: setup ## Search for every seeded bug of transactions in the simulator: minutes
	SIM_TURN=all $(CARGO) test -p strata-sim --test it seeded_bugs_of_transactions

model: setup ## Play the rules of transactions alone, a million random schedules, release build (ARGS='--without RULE')
	$(CARGO) run --release --bin strata-model -- --schedules 1000000 $(ARGS)

# Beside etcd, transactions are measured only if it is installed: `make bench-peers` installs it.
bench: setup ## Measure latency, failover, blackout, idle nodes and transactions, release build (ARGS=--quick)
	$(CARGO) build --release --bin strata --bin strata-bench --example cycles_bench
	$(TARGET_DIR)/release/strata-bench all $(ARGS)

bench-membership: setup ## Measure joins, drains, restarts, lost disks and faults under load, release build: half an hour
	$(CARGO) build --release --bin strata --bin strata-bench
	$(TARGET_DIR)/release/strata-bench membership $(ARGS)

bench-peers: setup ## Measure a three-node etcd and ours by turns, release build; installs Debian's etcd-server
	@if ! command -v etcd >/dev/null; then \
	  install="apt-get update && apt-get install -y --no-install-recommends etcd-server"; \
	  if [[ $$(id -u) == 0 ]]; then DEBIAN_FRONTEND=noninteractive bash -c "$$install"; \
	  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo bash -c "$$install"; \
	  else echo "etcd is missing. Run this, then make again:" >&2; echo "  sudo bash -c '$$install'" >&2; exit 1; fi; \
	fi
	$(CARGO) build --release --bin strata --bin strata-bench
	$(TARGET_DIR)/release/strata-bench peers $(ARGS)
