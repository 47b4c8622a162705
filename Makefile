# What needs nothing but the Rust toolchain and a bare Debian: build, release, quickstart.
# What installs what it is missing, and says so: test, lint.

SHELL := /bin/bash
PROFILE ?= dev
WALL ?= local
CARGO ?= cargo

TARGET := $(or $(CARGO_TARGET_DIR),target)
OUT := $(TARGET)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
GUEST_TARGET := $(shell uname -m)-unknown-linux-gnu
BIN := build/bin

# The quickstart without Docker leaves its client library out of the build, and so keeps its own daemon.
ifeq ($(WALL),docker)
QUICKSTART_FEATURES :=
else
QUICKSTART_FEATURES := --no-default-features
endif

.DEFAULT_GOAL := build
.PHONY: help build guest release quickstart test lint fmt-check clippy deny bench attacks matrix clean

help:  ## what there is
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

build: guest  ## cordon, cordond and the static guest into build/bin (PROFILE=dev|release)
	$(CARGO) build --locked --profile $(PROFILE) -p cordon -p cordond
	@scripts/install.sh $(BIN) $(OUT)/cordon $(OUT)/cordond $(TARGET)/$(GUEST_TARGET)/guest/cordon-guest

# One static program, the same whatever the profile of the rest: every sandbox maps it. Naming the target
# keeps its flags away from build scripts and from the other programs' artefacts.
guest:
	RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --locked --profile guest \
	  --target $(GUEST_TARGET) -p cordon-guest

release:  ## the same, optimised
	$(MAKE) build PROFILE=release

quickstart: guest  ## repair a small project behind a wall, and see what was denied (WALL=local|docker)
	$(CARGO) build --locked --profile $(PROFILE) -p cordon -p cordond $(QUICKSTART_FEATURES)
	@scripts/install.sh build/quickstart/bin $(OUT)/cordon $(OUT)/cordond \
	  $(TARGET)/$(GUEST_TARGET)/guest/cordon-guest
	@scripts/quickstart.sh build/quickstart $(WALL)

test:  ## everything, with real programs, a real engine and real sandboxes
	scripts/test.sh

lint: fmt-check clippy deny  ## format, clippy, licences and duplicates

fmt-check:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

deny:
	@command -v cargo-deny >/dev/null || [ -x build/tools/bin/cargo-deny ] \
	  || $(CARGO) install cargo-deny --locked --root build/tools
	PATH="$$PATH:$(CURDIR)/build/tools/bin" cargo-deny check bans licenses sources

bench: release  ## measure beside other tools; a table, and build/bench.json
	$(CARGO) build --locked --release -p cordon-bench
	@[ -x build/tools/bin/rust-mcp-filesystem ] || $(CARGO) install rust-mcp-filesystem --locked --root build/tools
	$(OUT:$(notdir $(OUT))=release)/cordon-bench $(ROUNDS)

attacks:  ## who survives what: the attack suite against Cordon and the controls, as a table
	scripts/setup-tests.sh
	CORDON_BIN=$(CURDIR)/$(BIN) CORDON_GUEST=$(CURDIR)/$(BIN)/cordon-guest \
	  CORDON_TEST_CLIS=$(CURDIR)/build/clis/node_modules $(CARGO) run --locked -q -p cordon-attacks --bin attack-table

matrix:  ## what of the four CLIs works where: every program in every wall, as a table
	scripts/setup-tests.sh
	-CORDON_BIN=$(CURDIR)/$(BIN) CORDON_GUEST=$(CURDIR)/$(BIN)/cordon-guest \
	  CORDON_TEST_CLIS=$(CURDIR)/build/clis/node_modules $(CARGO) test --locked -q -p cordon-tests --test matrix
	$(CARGO) run --locked -q -p cordon-tests --bin matrix-table

clean:  ## remove what was built
	$(CARGO) clean
	rm -rf build
