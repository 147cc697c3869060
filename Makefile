# One profile for demo and tests, so that one compilation serves both; release is for `bench`.

SETUP := tests/scripts/setup.sh
BIN := target/debug
# Properties are looked at with the same cases every time, so that a change is judged by itself; `make long` looks for more.
SEED ?= 20260101
FIXTURES := $(abspath ../shared/fixtures/webhooks)
ifneq ($(wildcard $(FIXTURES)),)
export SLIPWAY_WEBHOOK_FIXTURES := $(FIXTURES)
endif

.PHONY: help demo test fuzz screenshots long cluster chaos mixed bench check

help: ## Show the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## From nothing to a pushed image: sets up, builds, runs the main job. KEEP=1 keeps it running.
	@$(SETUP) demo
	cargo build --workspace --bins
	@$(BIN)/slipway-demo

test: ## Every test, against real components. REQUIRE_BACKENDS=1 makes a missing one a failure.
	@$(SETUP) test
	cargo build --workspace --all-targets
	PROPTEST_RNG_SEED=$(SEED) $(BIN)/slipway-testenv -- cargo test --workspace --no-fail-fast
	tests/scripts/browser.sh test

screenshots: ## Pictures of the main pages in both themes and both languages, on a desk and on a phone, in target/screenshots.
	@$(SETUP) test
	cargo build -p slipway -p slipway-tests --bins
	tests/scripts/browser.sh screenshots

cluster: ## Every role twice, three builders, PostgreSQL, RabbitMQ, Redis and S3 on this machine, and 200 builds.
	@$(SETUP) test
	cargo build --workspace --bins
	$(BIN)/slipway-testenv -- $(BIN)/slipway-cluster

chaos: ## Ten minutes of everything dying in turn, with three seeds; SLIPWAY_CHAOS_SECS and _SEEDS change it.
	@$(SETUP) test
	cargo build --workspace --all-targets
	SLIPWAY_CHAOS_SECS=$${SLIPWAY_CHAOS_SECS:-200} SLIPWAY_CHAOS_SEEDS=$${SLIPWAY_CHAOS_SEEDS:-1,2,3} \
	REQUIRE_BACKENDS=1 $(BIN)/slipway-testenv -- cargo test -p slipway-tests --test it -- --nocapture no_build_is_lost

mixed: ## The same for 200 seconds, with processes of the release before beside those of this one.
	@$(SETUP) test
	cargo build --workspace --all-targets
	old=$$(tests/scripts/previous.sh) && SLIPWAY_OLD_BIN=$$old SLIPWAY_CHAOS_SECS=$${SLIPWAY_CHAOS_SECS:-200} \
	REQUIRE_BACKENDS=1 $(BIN)/slipway-testenv -- cargo test -p slipway-tests --test it -- --nocapture no_build_is_lost

long: chaos mixed ## What takes too long for every change: before a release.
	@$(SETUP) test
	cargo build --workspace --all-targets
	SLIPWAY_LONG=1 $(BIN)/slipway-testenv -- cargo test --workspace -- --include-ignored
	cargo build --release -p slipway
	SLIPWAY_BIN=$(abspath target/release/slipway) REQUIRE_BACKENDS=1 $(BIN)/slipway-testenv -- \
	cargo test -p slipway-tests --test it -- stories::smoke

fuzz: ## Every fuzz target under libFuzzer for FUZZ_SECS seconds (60); TARGETS="search mask" runs only those.
	tests/scripts/fuzz.sh $(TARGETS)

bench: ## The numbers, as ratios to a baseline measured in the same run.
	@$(SETUP) bench
	cargo build --release --workspace --bins
	target/release/slipway-testenv -- target/release/slipway-bench

check: ## Format, lints, and licences and advisories where cargo-deny is installed.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --offline check bans licenses sources; \
	else echo "cargo-deny is not installed: licences were not checked (cargo install cargo-deny)"; fi
