# Needs GNU make and Go; Python 3 only for the tests that compare with Gymnasium,
# NumPy and msgpack. `make help` lists the targets.

GO     ?= go
PYTHON ?= python3

requirements := internal/pyenv/requirements.txt
# Made anew whenever the pinned packages change: the stamp is younger than the
# list, or absent.
venv_stamp := .venv/requirements.stamp

.DEFAULT_GOAL := build

.PHONY: build
build: ## Build bin/brood
	CGO_ENABLED=0 $(GO) build -o bin/brood ./cmd/brood

.PHONY: test
test: try-venv check-format ## Check the format, vet, cross-build and run all tests
	$(GO) vet ./...
	GOARCH=arm64 $(GO) build ./...
	$(GO) build -tags purego ./...
	$(GO) test ./...
	$(GO) test -tags purego ./kernels/...

.PHONY: check-format
check-format: ## Fail if gofmt would change a file
	@unformatted=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .) || exit 1; \
	if [ -n "$$unformatted" ]; then \
		echo "gofmt would change these files; run gofmt -w on them:"; echo "$$unformatted"; exit 1; \
	fi

.PHONY: generate
generate: ## Regenerate the generated files
	$(GO) generate ./...

.PHONY: bench
bench: ## Run the benchmarks
	$(GO) test -run '^$$' -bench . ./bench

.PHONY: bench-peers
bench-peers: ## Run the common workload side by side with other PPO programs
	$(GO) run ./bench/peers

.PHONY: venv
venv: $(venv_stamp) ## Make .venv, the Python environment of the tests

$(venv_stamp): $(requirements)
	rm -rf .venv
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r $(requirements)
	touch $@

# The tests themselves decide what a missing Python means: they skip with a
# reason, or fail where BROOD_REQUIRE_ALL=1.
.PHONY: try-venv
try-venv:
	@if ! command -v $(PYTHON) >/dev/null; then \
		echo "There is no $(PYTHON): the tests that compare with Python skip."; \
	elif ! $(MAKE) --no-print-directory venv; then \
		echo "Could not make .venv (see above): the tests that compare with Python skip."; \
	fi

.PHONY: clean
clean: ## Remove what the targets above made
	rm -rf bin build .venv

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile
