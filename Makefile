# Footfall. `make` lists the targets; README.md says where things are.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help bootstrap compiler tools generate build demo test test-ts lint check-generated smoke test-mongo mongo-uri bench soak clean

# The pinned tools come before what the machine has.
export PATH := $(CURDIR)/.tools/bin:$(PATH)

TIMEOUT ?= 20m  # of the tests of one package
FUZZTIME ?= 1m  # of one fuzz target in `make soak`
DEMO_FLAGS ?=   # more flags for `make demo`, such as --seed 7 --people 500

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

bootstrap: ## check or install everything that building and testing needs
	@deploy/bootstrap.sh --tools

compiler:
	@deploy/bootstrap.sh --build --quiet

tools:
	@deploy/bootstrap.sh --build --tools --quiet

# What package-lock.json names; only when that has changed.
ts_modules := sdkproto/ts/node_modules/.package-lock.json
$(ts_modules): sdkproto/ts/package.json sdkproto/ts/package-lock.json
	cd sdkproto/ts && npm ci
	@touch $@

# The official clients of the tracking API, which its tests run.
collect_clients := server/collect/testclients/node_modules/.package-lock.json
$(collect_clients): server/collect/testclients/package.json server/collect/testclients/package-lock.json
	cd server/collect/testclients && npm ci --ignore-scripts
	@touch $@

generate: tools $(ts_modules) ## write the generated code anew (sdkproto/sdkpb, sdkproto/ts/src/gen)
	cd sdkproto && buf generate
	cd sdkproto/ts && npm run --silent generate

build: compiler ## bin/footfall and bin/footfall-lab
	@mkdir -p bin
	go build -o bin/ ./server/cmd/...

demo: build ## the real server, simulated providers and a synthetic town; live page at http://localhost:8080
	bin/footfall-lab demo $(DEMO_FLAGS)

# The quick checks come first, the tests last: what stands at the end is go
# test's own report.
test: bootstrap check-generated lint smoke test-ts $(collect_clients) ## everything: generated code, lint, demo smoke, TypeScript, tests with the race detector
	go test -race -timeout $(strip $(TIMEOUT)) ./...

test-ts: build $(ts_modules) ## the TypeScript SDK: vectors, units, a phone cut off 1,000 times, size of the bundle
	cd sdkproto/ts && npm run --silent test

# golangci-lint runs gofumpt, goimports and go vet among the others.
lint: tools $(ts_modules) ## formatting, vet and the rules of .golangci.yml; types and rules of the TypeScript
	cd sdkproto && buf lint
	golangci-lint run ./...
	cd sdkproto/ts && npm run --silent lint

check-generated: tools $(ts_modules) ## is the committed generated code what the pinned tools make?
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	  (cd sdkproto && buf generate --output "$$tmp") && \
	  { diff -r "$$tmp/sdkpb" sdkproto/sdkpb >&2 || { echo "sdkproto/sdkpb is not what the .proto files say: run make generate" >&2; exit 1; }; } && \
	  (cd sdkproto && buf generate --template ts/buf.gen.yaml --output "$$tmp" && node ts/scripts/compact.mjs "$$tmp/ts/src/gen") && \
	  { diff -r "$$tmp/ts/src/gen" sdkproto/ts/src/gen >&2 || { echo "sdkproto/ts/src/gen is not what the .proto files say: run make generate" >&2; exit 1; }; }

# Thirty seconds of the town on any free port; exit status 1 when the audit finds
# anything lost or doubled.
smoke: build ## the demo for 30 s, audited
	timeout 180 bin/footfall-lab demo --duration 30s --json --port 0

# Everything happens in databases of its own there, which are dropped afterwards.
# The address may hold a password: it stays in the environment.
test-mongo: mongo-uri build ## on the MongoDB of FOOTFALL_TEST_MONGODB_URI: the store's suite, the ledger's, a replay, the demo for 30 s
	go test -race -count 1 -timeout $(strip $(TIMEOUT)) ./server/store/...
	go test -race -count 1 -timeout $(strip $(TIMEOUT)) -run 'MongoDB' ./server/app
	go test -race -count 1 -timeout $(strip $(TIMEOUT)) -run 'OnEveryLogAndStore|OnMongoDB' ./server/cmd/footfall-lab
	FOOTFALL_STORE_MONGODB_URI="$$FOOTFALL_TEST_MONGODB_URI" timeout 180 bin/footfall-lab demo --duration 30s --json --port 0

mongo-uri:
	@test -n "$${FOOTFALL_TEST_MONGODB_URI:-}" || { \
	  echo "FOOTFALL_TEST_MONGODB_URI is not set: give the connection string of a MongoDB replica set or sharded cluster, 4.4 or later, whose user may create and drop databases, such as mongodb://127.0.0.1:27017/?replicaSet=rs0" >&2; exit 2; }

bench: build ## benchmarks of every package, then of the partition loop, the geofence index, who is near, the gateway, the whole pipeline and people at size
	go test -run '^$$' -bench . -benchmem -timeout 30m ./...
	bin/footfall-lab bench loop --json
	bin/footfall-lab bench fences --json
	bin/footfall-lab bench nearby --json
	bin/footfall-lab bench gateway --json
	bin/footfall-lab bench pipeline --json
	bin/footfall-lab bench people --json

soak: build ## long: every fuzz target for FUZZTIME, the tests five times in shuffled order, millions of points against the index, 1,000 power cuts of a server, 9 deaths of one under load, 600 withdrawals raced through two gateways, NATS away for a minute, 1,000,000 pushes queued and drained, a demo with many deaths
	@go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... | while read -r pkg; do \
	  go test -list '^Fuzz' "$$pkg" | { grep '^Fuzz' || true; } | while read -r target; do \
	    echo "$$pkg $$target"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(strip $(FUZZTIME)) -fuzzminimizetime 20x "$$pkg" </dev/null; \
	  done; \
	done
	go test -race -count 5 -shuffle on -timeout 60m ./...
	FOOTFALL_TEST_INDEX_POINTS=3000000 go test -run OnManyPoints -timeout 60m ./geo
	FOOTFALL_TEST_POWER_CUTS=1000 go test -run PowerCuts -timeout 60m ./server/app/...
	FOOTFALL_TEST_KILLS=9 go test -race -count 1 -run Kill9 -timeout 30m ./server/cmd/footfall-lab
	FOOTFALL_TEST_RACE_ROUNDS=600 go test -race -count 1 -run WithdrawalWins -timeout 30m ./server/app
	FOOTFALL_TEST_OUTAGE=60s go test -count 1 -run DownForAWhile -timeout 30m ./server/eventlog/...
	FOOTFALL_TEST_SENDS=1000000 go test -count 1 -run BacklogIsQueuedAndDrained -timeout 60m ./server/app
	bin/footfall-lab demo --people 300 --duration 5m --json --port 0 --nats --kill nats,server

clean: ## remove what was built (not .tools, not data)
	rm -rf bin coverage.out sdkproto/ts/build sdkproto/ts/dist
