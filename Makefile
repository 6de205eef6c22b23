# Domicile: how it is built, run and checked. `make help` lists the targets.
#
# `make run` needs Go. `make test` needs Go, Node, a C compiler and, where one of these is missing, root's apt-get:
# Chromium, promtool, PostgreSQL, Patroni, etcd, haproxy, docker-compose, systemd-analyze, openssl. It sets up everything else by itself,
# under .tools/ and tools/node_modules/.

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
PAGE    := server/admin/page

# The clients in other languages, each a folder of client/ with a Makefile of its own: build, test, lint, clean.
CLIENTS :=

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
HELM      := helm.sh/helm/v3/cmd/helm@v3.22.0
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
test: test-tools build clients-unit ## Run every test, the heavy ones with a sample of their cases
	npm test --prefix $(PAGE)
	DOMICILE_TOOLS='$(TOOLS)' go test -p $(PARALLEL) -timeout 40m ./...
	DOMICILE_TOOLS='$(TOOLS)' CGO_ENABLED=1 go test -race -short -p $(PARALLEL) -timeout 40m $(RACED)

.PHONY: soak
soak: test-tools build ## Run every test with its full number of cases; hours
	DOMICILE_SOAK=1 DOMICILE_TOOLS='$(TOOLS)' go test -p 1 -timeout 12h -v ./...

.PHONY: clients
clients: $(CLIENTS:%=client-%) ## Build the clients in other languages, with their examples

.PHONY: $(CLIENTS:%=client-%)
$(CLIENTS:%=client-%): $(BUF)
	$(MAKE) -C client/$(@:client-%=%) build

.PHONY: clients-unit
clients-unit: clients
	@for c in $(CLIENTS); do $(MAKE) -C client/$$c test; done

.PHONY: clients-test
clients-test: clients-unit ## Run the clients' own tests and the story that each of them tells of a real gateway
	DOMICILE_TOOLS='$(TOOLS)' go test -p $(PARALLEL) -timeout 40m -run '^TestStory$$' ./server/e2e

.PHONY: clients-lint
clients-lint: clients ## Check the clients' code and types
	@for c in $(CLIENTS); do $(MAKE) -C client/$$c lint; done

.PHONY: fuzz
fuzz: ## Fuzz every target for a while (FUZZTIME=10s to change)
	tools/fuzz $(or $(FUZZTIME),10s)

.PHONY: bench
bench: build bench-tools ## Measure the gateway against bare gRPC, PostgreSQL, S3 and a proxy; prints ratios, writes bench.json
	@mkdir -p bin
	go build -p $(PARALLEL) -trimpath -o bin/ ./tools/bench ./tools/bench/peer ./tools/bench/tree
	bin/bench -bin bin -tools '$(TOOLS)' -out bench.json $(BENCHFLAGS)

.PHONY: lint
lint: lint-tools clients-lint ## Check the Go code, the protos and the clients
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

.PHONY: page
page: $(PAGE)/node_modules ## Build the status page, which the gateway embeds
	npm run build --prefix $(PAGE)

.PHONY: check-page
check-page: page ## Fail when the committed status page is not what its sources give; check those
	@git diff --exit-code --stat -- $(PAGE)/dist $(PAGE)/src/places.json
	npm run lint --prefix $(PAGE)

.PHONY: clean
clean: ## Remove what was built, tools included; data stays
	rm -rf bin .tools tools/node_modules $(PAGE)/node_modules $(PAGE)/.test bench.json
	@for c in $(CLIENTS); do $(MAKE) -C client/$$c clean; done

# What the tests and checks need beside the toolchains.

.PHONY: bench-tools
bench-tools:
	@tools/setup go '$(TOOLS)' '$(VERSITYGW)'
	@tools/setup command haproxy haproxy
	@tools/setup file '/usr/lib/postgresql/*/bin/initdb' postgresql

.PHONY: test-tools
test-tools: $(BUF) $(PAGE)/node_modules bench-tools
	@tools/setup go '$(TOOLS)' '$(GRPCURL)'
	@tools/setup command promtool prometheus
	@tools/setup command etcd etcd-server
	@tools/setup command patroni patroni
	@tools/setup command cc gcc
	@tools/setup file '/usr/lib/postgresql/*/bin/initdb' postgresql
	@tools/setup go '$(TOOLS)' '$(HELM)'
	@tools/setup command docker-compose docker-compose
	@tools/setup command systemd-analyze systemd
	@tools/setup command openssl openssl
	@tools/setup command chromium chromium
	@go build -C tools/manifests -p $(PARALLEL) -o '$(TOOLS)/manifests' .

.PHONY: lint-tools
lint-tools: $(BUF)
	@tools/setup go '$(TOOLS)' '$(GOLANGCI)'

$(BUF): tools/package.json tools/package-lock.json
	npm ci --prefix tools --no-audit --no-fund --loglevel=error
	@touch '$@'

$(PAGE)/node_modules: $(PAGE)/package.json $(PAGE)/package-lock.json
	npm ci --prefix $(PAGE) --no-audit --no-fund --loglevel=error
	@touch '$@'
