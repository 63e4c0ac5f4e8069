# limeload: make help lists the targets.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS  = -X main.version=$(VERSION) -X main.commit=$(COMMIT)

# Tools are pinned here and run through the module proxy, so that they do not weigh
# on go.mod.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

FUZZINPUTS ?= 50000
SOAKTIME ?= 10m
SOAKSEED ?=
TESTFLAGS ?=
BENCH    ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/limeload
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/limeload ./cmd/limeload

.PHONY: demo
demo: build ## Run limeload in front of three small backends and watch it
	@bin/limeload demo

.PHONY: test
test: deps ## Run every test (installs servers for them where it can; NO_DEPS=1 skips that)
	$(GO) test $(TESTFLAGS) -timeout 20m ./...

.PHONY: race
race: ## Run every test under the race detector, with smaller amounts
	$(GO) test $(TESTFLAGS) -race -short -timeout 30m ./...

.PHONY: lint
lint: ## Check formatting, go vet and staticcheck
	@files=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$files" ]; then echo "gofmt wants: $$files"; exit 1; fi
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./splice/... ./balancer/... ./healthcheck/... ./pkg/config/...
	$(GO) run $(STATICCHECK) ./...

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZINPUTS inputs (50000)
	@packaging/fuzz.sh $(FUZZINPUTS)

.PHONY: soak
soak: ## Run mixed traffic with faults for SOAKTIME (10m), every stream verified; SOAKSEED=N repeats
	$(GO) test ./pkg/soak -run TestSoak -count=1 -v -timeout 0 -soak.duration=$(SOAKTIME) $(if $(SOAKSEED),-soak.seed=$(SOAKSEED))

.PHONY: sim
sim: ## Drive the reactor over a simulated kernel, with seeded random histories
	$(GO) vet -tags simkernel ./splice/...
	$(GO) test -tags simkernel -count=1 -run Sim ./splice

.PHONY: bench
bench: build ## Compare with HAProxy and nginx (installs them where it can; BENCH=--quick for a rough look)
	@packaging/deps.sh bench
	$(GO) build -trimpath -o bin/limebench ./cmd/limebench
	bin/limebench compare --limeload bin/limeload $(BENCH)

.PHONY: bench-pick
bench-pick: ## Time one pick for 10, 1 000 and 10 000 backends
	$(GO) test -run '^$$' -bench . ./balancer

.PHONY: deps
deps: ## Install the servers that tests talk to (Debian, as root)
	@packaging/deps.sh

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist
