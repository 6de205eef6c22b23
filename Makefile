# Domicile: how it is built, run and checked. `make help` lists the targets.
#
# `make run` needs Go. `make test` needs Go, Node, a C compiler and, where promtool is
# missing, root's apt-get; it sets up everything else by itself, under .tools/
# and tools/node_modules/.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

MODULE  := github.com/domicile-project/domicile
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
DATA    ?= ./data
TOOLS   := $(CURDIR)/.tools/bin
BUF     := $(CURDIR)/tools/node_modules/.bin/buf

# Everything is pure Go but the race detector, which needs a C compiler.
export CGO_ENABLED := 0

# Two packages at a time: the tests start daemons of their own.
PARALLEL ?= 2

# The packages whose goroutines share state; the race detector watches these.
RACED := ./residency/store/... ./residency/seal ./residency/gateway ./server/rpc ./server/domiciled ./client

# Versions of the tools that are Go programs. They stay out of go.mod so that
# their dependencies never become the product's.
GRPCURL   := github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4
VERSITYGW := github.com/versity/versitygw/cmd/versitygw@v1.8.0
GOLANGCI  := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

.PHONY: build
build: ## Build bin/domiciled (the gateway) and bin/domicile (its command line)
	@mkdir -p bin
	go build -p $(PARALLEL) -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./server/domiciled ./client/domicile

.PHONY: run
run: build ## Build, then serve both regions on this machine, under ./data (DATA=DIR to change)
	@printf '\n  When it serves, try in another terminal:  bin/domicile tour%s\n\n' "$$([ '$(DATA)' = ./data ] || echo ' --data $(DATA)')"
	@exec bin/domiciled --data '$(DATA)'

.PHONY: test
test: test-tools build ## Run every test, the heavy ones with a sample of their cases
	DOMICILE_TOOLS='$(TOOLS)' go test -p $(PARALLEL) -timeout 15m ./...
	DOMICILE_TOOLS='$(TOOLS)' CGO_ENABLED=1 go test -race -short -p $(PARALLEL) -timeout 15m $(RACED)

.PHONY: soak
soak: test-tools build ## Run every test with its full number of cases; hours
	DOMICILE_SOAK=1 DOMICILE_TOOLS='$(TOOLS)' go test -p 1 -timeout 12h -v ./...

.PHONY: fuzz
fuzz: ## Fuzz every target for a while (FUZZTIME=10s to change)
	tools/fuzz $(or $(FUZZTIME),10s)

.PHONY: bench
bench: build ## Measure the gateway against bare gRPC; prints ratios, writes bench.json
	@mkdir -p bin
	go build -p $(PARALLEL) -trimpath -o bin/ ./tools/bench ./tools/bench/peer
	bin/bench -bin bin -out bench.json $(BENCHFLAGS)

.PHONY: lint
lint: lint-tools ## Check the Go code and the protos
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	  if [ -n "$$unformatted" ]; then printf 'not formatted by gofmt:\n%s\n' "$$unformatted" >&2; exit 1; fi
	go vet -p $(PARALLEL) ./...
	'$(TOOLS)/golangci-lint' run --concurrency $(PARALLEL) ./...
	'$(BUF)' lint
	'$(BUF)' format --diff --exit-code proto

.PHONY: generate
generate: $(BUF) ## Generate proto/gen from the protos
	'$(BUF)' generate

.PHONY: check-generated
check-generated: generate ## Fail when the committed generated code is not what the protos give
	@git diff --exit-code --stat -- proto/gen
	@new=$$(git ls-files --others --exclude-standard proto/gen); \
	  if [ -n "$$new" ]; then printf 'generated but not committed:\n%s\n' "$$new" >&2; exit 1; fi

.PHONY: clean
clean: ## Remove what was built, tools included; data stays
	rm -rf bin .tools tools/node_modules bench.json

# What the tests and checks need beside the toolchains.

.PHONY: test-tools
test-tools: $(BUF)
	@tools/setup go '$(TOOLS)' '$(GRPCURL)'
	@tools/setup go '$(TOOLS)' '$(VERSITYGW)'
	@tools/setup command promtool prometheus
	@tools/setup command cc gcc
	@tools/setup file '/usr/lib/postgresql/*/bin/initdb' postgresql

.PHONY: lint-tools
lint-tools: $(BUF)
	@tools/setup go '$(TOOLS)' '$(GOLANGCI)'

$(BUF): tools/package.json tools/package-lock.json
	npm ci --prefix tools --no-audit --no-fund --loglevel=error
	@touch '$@'
