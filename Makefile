SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

IMAGE ?= tokengrant/manager:dev
# Further flags of the build, e.g. IMAGE_ARGS='--build-arg BASE=registry.example.com/static'.
IMAGE_ARGS ?=
# How long `make fuzz` spends on each target.
FUZZTIME ?= 60s
# Further flags for go test, e.g. TESTFLAGS='-race -v'.
TESTFLAGS ?=

# The tools are pinned in hack/tools/go.mod, and nowhere else. They are built once for each state of it.
CACHE := $(or $(TOKENGRANT_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tokengrant)
TOOLS = $(CACHE)/tools/$(shell { cat hack/tools/go.mod hack/tools/go.sum; go env GOVERSION; } | git hash-object --stdin | cut -c1-16)
# The Keycloaks that are tested, the default one first.
KEYCLOAK_VERSIONS = $(shell sed -n 's/.*-\([0-9.]*\)\.zip$$/\1/p' hack/stack/keycloak.sha256)
# Packages whose tests start no servers.
UNIT = go list ./... | grep -Ev '/test/(integration|e2e|bench|chart|faults|flood|recipes|upgrade)(/|$$)'

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^##@/ {printf "%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Code

.PHONY: generate
generate: tools ## Write the deepcopy code of api/, and its apply configurations
	$(TOOLS)/controller-gen object applyconfiguration paths=./api/...

.PHONY: manifests
manifests: tools ## Write the CRDs, the permissions and the chart's README from the code and values.yaml
	$(TOOLS)/controller-gen crd rbac:roleName=manager-role paths=./api/... paths=./controllers/... output:crd:artifacts:config=config/crd/bases
	go run ./hack/manifests
	$(TOOLS)/helm-docs --chart-search-root=charts --sort-values-order=file --log-level=warning

.PHONY: fmt
fmt: tools ## Format the code
	$(TOOLS)/golangci-lint fmt

.PHONY: lint
lint: tools ## Run golangci-lint
	$(TOOLS)/golangci-lint run --allow-parallel-runners --build-tags=integration
	cd api && $(TOOLS)/golangci-lint run --allow-parallel-runners

.PHONY: vet
vet: ## Run go vet
	go vet -tags=integration ./...
	cd api && go vet ./...

.PHONY: tidy
tidy: ## Tidy go.mod, and that of the API
	cd api && go mod tidy
	go mod tidy

# Compares with the state before, not with the last commit, so that it can be run before a commit, too.
STATE = { git status --porcelain; git diff; } | git hash-object --stdin
.PHONY: verify
verify: ## Check that generating, formatting and tidying change nothing, then lint
	@before=$$($(STATE)); \
	$(MAKE) generate manifests tidy fmt; \
	if [ "$$before" != "$$($(STATE))" ]; then \
		git status --short; git --no-pager diff --stat; \
		echo "make verify: generate, manifests, tidy or fmt changed files: commit them" >&2; exit 1; \
	fi
	@$(MAKE) lint

##@ Supply chain

# They are pinned in hack/supply/go.mod, and built once for each state of it.
SUPPLY = $(CACHE)/supply/$(shell { cat hack/supply/go.mod hack/supply/go.sum hack/supply/*/*.go; go env GOVERSION; } | git hash-object --stdin | cut -c1-16)

.PHONY: supply
supply: vulncheck lint-api apidiff licences-check ## Check that modules are unchanged, of allowed licences and without known vulnerabilities; and the API's conventions
	@go mod verify || { echo "make supply: a module is not what go.sum says: go clean -modcache, and look where it came from" >&2; exit 1; }

# The database may be another one, GOVULNDB, also file:///…; REQUIRE=1 makes it an error that it cannot be read.
VULNDB = $(or $(GOVULNDB),https://vuln.go.dev)
.PHONY: vulncheck
vulncheck: $(SUPPLY)/complete ## Look for known vulnerabilities in what is called, where the database can be read
	@if curl --fail --silent --show-error --location --max-time 30 --output /dev/null $(VULNDB)/index/modules.json$(if $(filter file:%,$(VULNDB)),,.gz); then \
		$(SUPPLY)/govulncheck -db=$(VULNDB) ./...; \
	elif [ -n "$(REQUIRE)" ]; then \
		echo "make vulncheck: $(VULNDB) cannot be read, and REQUIRE is set" >&2; exit 1; \
	else \
		echo "make vulncheck: NOT CHECKED, because $(VULNDB) cannot be read from here. CI on the forge reads it; GOVULNDB names a copy."; \
	fi

.PHONY: lint-api
lint-api: $(SUPPLY)/complete ## Check the types of the API against the conventions of Kubernetes
	cd api && $(SUPPLY)/apilint -test=false ./...

# The last tag, or another commit: BASE=COMMIT.
BASE ?=
.PHONY: apidiff
apidiff: $(SUPPLY)/complete ## Check that the CRDs and the Go API break nothing that works with the last tag
	@hack/apidiff.sh $(SUPPLY) $(BASE)

.PHONY: licences
licences: $(SUPPLY)/complete ## Write docs/licences.md; a licence that is not allowed is an error
	$(SUPPLY)/licences ./cmd/... >docs/licences.md.new
	mv docs/licences.md.new docs/licences.md

.PHONY: licences-check
licences-check: $(SUPPLY)/complete
	@$(SUPPLY)/licences ./cmd/... | diff docs/licences.md - || { echo "docs/licences.md is not up to date: run make licences" >&2; exit 1; }

$(CACHE)/supply/%/complete:
	@echo "building govulncheck, crdify, apidiff, apilint and licences from hack/supply (a minute, once)"
	cd hack/supply && GOBIN=$(CACHE)/supply/$* GOWORK=off CGO_ENABLED=0 go install -mod=readonly -trimpath tool ./apilint ./licences
	touch $@

##@ Tests

.PHONY: test
test: test-unit test-integration ## Run all tests

.PHONY: test-unit
test-unit: ## Run the tests that need no servers
	go test $(TESTFLAGS) $$($(UNIT))

# The race detector costs about five times the time, so it has the tests that start many goroutines.
.PHONY: test-race
test-race: ## Run the tests of code with goroutines with the race detector
	go test -race $(TESTFLAGS) ./cmd/... ./controllers/... ./internal/... ./keycloak/... ./nextcloud/...

# One package after the other: they share two cores with the servers they start.
.PHONY: test-integration
test-integration: servers ## Run the tests on a real API server, every pinned Keycloak, Prometheus and Chromium
	go test -count=1 -p=1 -timeout=30m -tags=integration $(TESTFLAGS) ./hack/stack ./test/apiserver ./test/chart ./test/flood ./test/keycloak ./test/integration ./test/observe ./test/recipes ./test/upgrade
	for version in $(wordlist 2,9,$(KEYCLOAK_VERSIONS)); do \
		KEYCLOAK_VERSION=$$version go test -count=1 -p=1 -timeout=30m -tags=integration -run='^TestKeycloak' $(TESTFLAGS) ./test/keycloak ./test/integration; \
	done

# What the older version that test/upgrade names has written; it is built from the repository's history.
.PHONY: upgrade-record
upgrade-record: servers ## Write test/upgrade/testdata with the older version named there; a release does it for its successor
	go test -count=1 -tags=integration -run='^TestWhatAnOlderVersionWroteIsServed$$' ./test/upgrade -args -record

.PHONY: e2e
e2e: servers ## Test the operator as it is shipped: its binary, and on Linux as root its image and chart, with real pods
	go run ./hack/dev cluster binaries
	go test -count=1 -v -timeout=60m $(TESTFLAGS) ./test/e2e/...

# Run from its folder: there go test prints the table without -v, which would print each start of a row, too.
.PHONY: faults
faults: servers ## Break one thing after the other while the operator works, and print what each costs
	cd test/faults && go test -count=1 -timeout=30m -tags=integration $(TESTFLAGS)

# Run from its folder, as faults.
.PHONY: audit-tenant
audit-tenant: servers ## Attack the operator as the admin of one namespace, and print what each attempt got
	cd test/tenant && go test -count=1 -timeout=30m -tags=integration $(TESTFLAGS)

# What to scale the load by, and which scenarios to run; all of them when empty.
N ?= 500
LIFE ?= 20s
SCENARIOS ?=
.PHONY: bench
bench: servers ## Measure the operator under load beside a bare loop: N=10000 LIFE=300s SCENARIOS="burst steady"
	go run ./test/bench -n $(N) -life $(LIFE) $(SCENARIOS)

DURATION ?= 15m
.PHONY: soak
soak: servers ## Tell whether memory, goroutines or open files grow at a steady load: DURATION=15m
	go run ./test/soak -duration $(DURATION)

.PHONY: bench-pure
bench-pure: ## Run the benchmarks of single functions
	go test -run='^$$' -bench=. -benchmem $(TESTFLAGS) $$($(UNIT))

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME, two at a time
	@hack/fuzz.sh $(FUZZTIME)

##@ Release

# The tools of a release are pinned in hack/release/go.mod. They are large, and nothing else needs them.
RELEASE_TOOLS = $(CACHE)/release/$(shell { cat hack/release/go.mod hack/release/go.sum; go env GOVERSION; } | git hash-object --stdin | cut -c1-16)

.PHONY: release
release: $(RELEASE_TOOLS)/complete chart-package ## Release the tag that is checked out; CI runs it
	@version=$$(sed -n 's/^version: //p' charts/tokengrant/Chart.yaml); tag=$$(git describe --tags --exact-match); \
	if [ "v$$version" != "$$tag" ]; then \
		echo "make release: the tag is $$tag, but charts/tokengrant/Chart.yaml says $$version: make them the same" >&2; exit 1; fi
	PATH="$(RELEASE_TOOLS):$$PATH" goreleaser release --clean

# Not tried: pushing the image, signing and attesting. They need a registry, and the identity of a workflow.
.PHONY: release-dry-run
release-dry-run: $(RELEASE_TOOLS)/complete chart-package ## Build all of a release that needs no registry and no identity, into dist/
	PATH="$(RELEASE_TOOLS):$$PATH" goreleaser check
	PATH="$(RELEASE_TOOLS):$$PATH" goreleaser release --snapshot --clean --skip=publish,sign,docker
	cp dist-chart/*.tgz dist
	cd dist && sha256sum --check --quiet checksums.txt && echo "all files of dist/checksums.txt are what it says"

.PHONY: chart-package
chart-package: ## Package the chart into dist-chart/
	rm -rf dist-chart
	"$$(go run ./hack/dev helm | tail -1)" package charts/tokengrant --destination dist-chart

$(CACHE)/release/%/complete:
	@echo "building goreleaser and cyclonedx-gomod from hack/release (minutes, once)"
	cd hack/release && GOBIN=$(CACHE)/release/$* GOWORK=off CGO_ENABLED=0 go install -mod=readonly -trimpath -ldflags='-s -w' tool
	touch $@

##@ Run

.PHONY: plugin
plugin: ## Build the kubectl plugin into bin/; on the PATH it is `kubectl tokengrant`
	go build -trimpath -o bin/kubectl-tokengrant ./cmd/kubectl-tokengrant

.PHONY: demo
demo: ## Start the stack, show a grant from apply to refresh, stop it; KEEP=1 leaves it running
	KEEP=$(KEEP) go run ./hack/dev demo

.PHONY: demo-picture
demo-picture: ## Run the demo and draw what it prints into docs/images/demo.svg
	go run ./hack/dev demo | tee /dev/stderr | go run ./hack/docs/terminal -title 'make demo' >docs/images/demo.svg.new
	mv docs/images/demo.svg.new docs/images/demo.svg

.PHONY: demo-down
demo-down: ## Stop what `make demo KEEP=1` left running
	go run ./hack/dev down

.PHONY: image
image: ## Build the container image IMAGE, with docker or buildah
	@if docker info >/dev/null 2>&1; then set -x; docker build --tag $(IMAGE) $(IMAGE_ARGS) .; \
	elif command -v buildah >/dev/null; then set -x; buildah build --tag $(IMAGE) $(IMAGE_ARGS) .; \
	else echo "make image needs buildah, or docker with a daemon that runs" >&2; exit 1; fi

# The tools for the documents are pinned, with hashes, in docs/requirements.txt.
MKDOCS = $(CACHE)/docs/$(shell { cat docs/requirements.txt; python3 --version; } 2>&1 | git hash-object --stdin | cut -c1-16)
.PHONY: docs
docs: $(MKDOCS)/complete ## Build the documents as a site into dist/docs; a warning, or a claim without a test, is an error
	go test -run 'Claim|Threat|PagesName|LinkLeads' ./test/repo
	NO_MKDOCS_2_WARNING=1 $(MKDOCS)/bin/mkdocs build --strict

$(MKDOCS)/complete:
	@echo "installing mkdocs-material from docs/requirements.txt (a minute, once)"
	python3 -m venv --clear $(MKDOCS)
	$(MKDOCS)/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement docs/requirements.txt
	touch $@

.PHONY: servers
servers: ## Build and fetch the servers into the cache
	go run ./hack/dev binaries
	go run ./hack/dev keycloak-dist
	go run ./hack/dev consumers

.PHONY: tools
tools: $(TOOLS)/complete ## Build the tools into the cache

%/complete:
	@echo "building controller-gen, golangci-lint, helm-docs and kustomize from hack/tools (minutes, once)"
	cd hack/tools && GOBIN=$* GOWORK=off go install -mod=readonly -trimpath tool
	touch $@

.PHONY: clean
clean: demo-down ## Stop the stack and remove what was built here; the cache stays
	rm -rf bin dist dist-chart .demo
	@echo "the cache is in $(CACHE)"
