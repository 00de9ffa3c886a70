# What there is to do here. `run` and `test` need Rust, a C compiler and git; `make setup` brings the rest.

CARGO ?= cargo
# What `make run` hands to the demo, for example ARGS="--nodes 5", `make sim` to the simulator and `make bench` to the bench; for
# `make test-corosync` parts of the names of tests.
ARGS ?=
# How many faults `make soak` does to a fleet.
ROUNDS ?= 100
# How often `make crash` kills the node, and the seed that says when.
KILLS ?= 1000
SEED ?= $(shell date +%s)
# How long `make fuzz` runs each target, and which.
SECONDS ?= 600
TARGETS ?= $(notdir $(basename $(wildcard fuzz/fuzz_targets/*.rs)))

.DEFAULT_GOAL := help
.PHONY: help run test test-corosync soak relay crash accuracy sim check fix bench bench-cores measure tables fuzz setup

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 22

run: ## three relays on this machine, with the console of the first open
	$(CARGO) run --quiet --package postfleet -- demo $(ARGS)

test: ## every test
	$(CARGO) test --workspace --locked

test-corosync: ## the bus and fleets on real Corosync rings, in network namespaces; needs root
	POSTFLEET_RINGS=1 $(CARGO) test --quiet --locked --package postfleet-bus-corosync --test rings -- $(ARGS)
	POSTFLEET_RINGS=1 $(CARGO) test --quiet --locked --package postfleet --test fleet_corosync -- $(ARGS)

soak: ## an hour of faults on the bus, then ROUNDS (100) of them on a fleet
	POSTFLEET_RINGS=1 POSTFLEET_CASES=48 \
	  $(CARGO) test --quiet --locked --package postfleet-bus-corosync --test rings -- t38 bus_case engine
	POSTFLEET_RINGS=1 POSTFLEET_SOAK=1 \
	  $(CARGO) test --quiet --locked --package postfleet-bus-corosync --test rings -- t37
	POSTFLEET_SOAK=1 $(CARGO) test --quiet --locked --package postfleet-sim --test conformance -- t37
	POSTFLEET_RINGS=1 POSTFLEET_SOAK=1 ROUNDS=$(ROUNDS) \
	  $(CARGO) test --quiet --locked --package postfleet --test fleet_corosync -- rounds_of_faults

relay: ## 100,000 messages through a fleet that loses a node, within limits that hold for all nodes; twelve minutes
	POSTFLEET_SOAK=1 $(CARGO) test --release --locked --package postfleet --test fleet_relay -- --nocapture

crash: ## kill -9 of a node that takes and delivers mail, KILLS (1000) times; again with SEED=...
	POSTFLEET_KILLS=$(KILLS) POSTFLEET_SEED=$(SEED) \
	  $(CARGO) test --quiet --locked --package postfleet --test delivery_crash -- --nocapture

accuracy: ## what clients of a real fleet get of shared rates, through faults; needs root; writes docs/limits.md
	POSTFLEET_RINGS=1 POSTFLEET_SOAK=1 POSTFLEET_PAGE=$(CURDIR)/docs/limits.md \
	  $(CARGO) test --quiet --locked --package postfleet --test fleet_corosync -- rates_of_a_fleet

sim: ## ten thousand simulated fleets; other seeds with ARGS="--from 10001"
	$(CARGO) run --quiet --release --package postfleet -- sim run --seeds 10000 $(ARGS)

check: ## format, tidiness, dependencies, lints, documentation; changes nothing
	$(CARGO) fmt --all --check
	$(CARGO) xtask tidy
	$(CARGO) deny --log-level error check bans licenses sources
	$(CARGO) clippy --workspace --all-targets --locked -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --workspace --no-deps --locked

fix: ## repair what `check` finds, as far as the tools can
	$(CARGO) clippy --fix --allow-dirty --allow-staged --workspace --all-targets
	$(CARGO) fmt --all
	$(CARGO) xtask reference

bench: ## beside Redis, HAProxy and others; writes bench/results. ARGS="--rows 1,2 --rounds 9 --quick"
	$(CARGO) run --quiet --release --locked --package postfleet-bench -- $(ARGS)

bench-cores: ## what single operations of the cores take, without peers
	$(CARGO) bench --workspace --locked --bench '*'

measure: ## what a joiner and a busy fleet take, over real sockets; what a large series takes
	POSTFLEET_KEYS=1000000 $(CARGO) test --release --locked --package postfleet-node --lib measurements -- --nocapture --test-threads 1
	$(CARGO) test --release --locked --package postfleet-series --test memory -- --nocapture

tables: ## measure throttles and slots in simulated fleets; writes docs/structures/throttle.md
	$(CARGO) run --quiet --release --locked --package postfleet-throttle --example throttle_table -- docs/structures/throttle.md

fuzz: ## each parser for SECONDS (600); one with TARGETS=spool_file
	@set -e; for target in $(TARGETS); do \
	  echo "== $$target: $(SECONDS) s"; \
	  mkdir -p fuzz/corpus/$$target; \
	  $(CARGO) +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
	    -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1; \
	done

setup: ## install what is missing: Debian packages, cargo tools
	scripts/setup
