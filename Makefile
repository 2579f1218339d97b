# Millrace. `make` prints the targets.

bin := $(or $(CARGO_TARGET_DIR),target)/release
cargo := cargo
detach := $(filter-out 0 no false,$(DETACH))

# Kafka, Postgres and a stand-in for AWS for one command, in a folder of their own, and nothing left of them afterwards.
with_stack := $(bin)/millrace dev exec --throwaway --with-parent --

# How long `make soak` goes on.
MINUTES ?= 10

.DEFAULT_GOAL := help
.PHONY: help up down status logs build test tests e2e lint fmt check-crates deny bench soak clean prerequisites

help: ## Print this.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: prerequisites build ## Build and start everything, with mail events on their way; Ctrl-C stops it. DETACH=1: in the background, without them.
	@exec $(bin)/millrace dev up $(if $(detach),--detach,--with-parent)

down: ## Stop what `make up` has started, also what a crash has left.
	@if [ -x $(bin)/millrace ]; then exec $(bin)/millrace dev down; else echo "nothing was built, so nothing runs"; fi

status: ## Show the parts of the running stack: pids, addresses, lag.
	@exec $(bin)/millrace dev status

logs: ## Print the end of a log: make logs PART=scorer.
	@exec $(bin)/millrace dev logs $(PART)

build: ## Build all binaries, into $CARGO_TARGET_DIR/release or target/release.
	@$(cargo) build --release --locked --workspace --bins

test: prerequisites lint tests ## Formatting, lints, unit, integration and end-to-end tests, on a Kafka and Postgres of their own.
	@exec $(with_stack) $(cargo) test --release --locked --workspace --no-fail-fast

# With what only tests need the features of crates are others: built together, nothing is compiled twice.
tests: prerequisites
	@$(cargo) build --release --locked --workspace --bins --tests

e2e: prerequisites tests ## The stories on a real Kubernetes, which it builds (once, 5 min), starts and ends. Root on Linux; see docs/e2e.md.
	@deploy/e2e/cluster build
	@$(cargo) test --release --locked --workspace --test e2e --no-run
	@exec deploy/e2e/cluster exec -- $(with_stack) $(cargo) test --release --locked --workspace --test e2e --no-fail-fast

lint: prerequisites ## Check formatting, and clippy without warnings.
	@$(cargo) fmt --all --check
	@$(cargo) clippy --release --locked --workspace --all-targets -- -D warnings
	@$(cargo) clippy --release --locked --workspace --test e2e -- -D warnings

fmt: ## Format the code.
	@$(cargo) fmt --all

check-crates: prerequisites ## Check that each crate builds alone.
	@for crate in crates/*/; do \
		name=millrace-$$(basename $$crate); \
		echo "$$name"; \
		$(cargo) check --release --locked --quiet -p $$name || exit 1; \
	done

deny: ## Check dependencies with cargo-deny: licences, advisories, who may use what (deny.toml).
	@if $(cargo) deny --version >/dev/null 2>&1; then \
		$(cargo) deny --locked check; \
	else \
		echo "cargo-deny is not installed (cargo install --locked cargo-deny); who may use what is also a test: tests/it/architecture.rs"; \
	fi

bench: prerequisites ## Measure speed: tables with floors and ratios.
	@$(cargo) build --release --locked --workspace --bins --benches
	@exec $(with_stack) $(cargo) bench --locked --workspace --benches

soak: prerequisites tests ## Kill services in turn and count, for as long as asked: make soak MINUTES=60.
	@MILLRACE_SOAK_MINUTES=$(MINUTES) $(cargo) test --release --locked --workspace --test it -- --nocapture whatever_dies
	@MILLRACE_TEST_TASKS=100000 $(with_stack) $(cargo) test --release --locked --workspace --test it -- --nocapture whoever_dies
	@$(cargo) test --release --locked --workspace --lib -- --ignored over_forty_years

clean: down ## Stop everything and remove what was built and stored.
	@rm -rf .millrace
	@$(cargo) clean

prerequisites:
	@deploy/install-prerequisites.sh
