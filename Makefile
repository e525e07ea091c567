# `make test` is what continuous integration runs.

CARGO_TEST_FLAGS ?=
SOAK_SECONDS ?= 3600

.PHONY: run test setup format clippy unit relayed doc loom layers unsafe deny parity limits msrv fuzz-short conformance fuzz soak soak-short soak-cycles bench bench-quick

run:
	cargo run --release -p chat-server

test: setup format clippy unit relayed doc layers unsafe deny parity limits msrv fuzz-short conformance soak-short
	@echo 'make test: all green'

# Installs what is missing, or says what to install.
setup:
	.ci/setup

format:
	cargo fmt --all --check

clippy:
	cargo clippy --locked --workspace --all-targets -- -D warnings

unit:
	cargo test --locked --workspace $(CARGO_TEST_FLAGS)

# The engine's tests once more, with each request of a session at another server first.
relayed:
	.ci/relayed

doc:
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --document-private-items

# The models of threads, in more orders than `unit` looks at; no part of `test`.
loom:
	LOOM_MAX_PREEMPTIONS=4 cargo test --locked --package loom-models

# Which crate may know what.
layers:
	.ci/layers

# Which crate has unsafe code: none.
unsafe:
	.ci/unsafe

# Licences, sources, duplicates and known weaknesses of what is in the lock files.
deny:
	.ci/deny

# The official server's own tests: each is one of ours, or there is a reason.
parity:
	.ci/parity

# Each limit has a name, a default and a test.
limits:
	.ci/limits

# The minimum Rust version.
msrv:
	.ci/msrv

# Millions of inputs for every decoder, the session's state machine and a whole server; the same each time.
fuzz-short:
	cargo test --locked --manifest-path fuzz/Cargo.toml -- --nocapture

# The official protocol suites, real clients, a real browser.
conformance:
	conformance/run

# As many inputs as there is time for: FUZZ_SECONDS, 300, for each target. No part of `test`.
fuzz:
	fuzz/run

SOAK := cargo run --release --locked --manifest-path conformance/soak/Cargo.toml --

# An hour of everything at once, after which nothing has grown; writes docs/SOAK.md. No part of `test`.
soak: setup soak-cycles
	ulimit -n "$$(ulimit -Hn)" && $(SOAK) $(SOAK_SECONDS) --write

# The same in a minute: nothing is lost, and nothing is left.
soak-short:
	cargo test --release --locked --manifest-path conformance/soak/Cargo.toml
	$(SOAK) 20

# 50,000 clients come and go in one process, and the heap is what it was before. About a minute.
soak-cycles:
	$(SOAK) cycles 50000

# Beside other servers; writes docs/PERFORMANCE.md. Under 15 minutes; no part of `test`.
bench:
	crates/bench/run --micro --instructions --write

# Less exact, and writes nothing. Under 4 minutes.
bench-quick:
	crates/bench/run --quick
