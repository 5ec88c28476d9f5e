# Needs GNU make and Go; Python 3 only for the tests that compare with Gymnasium,
# NumPy and msgpack, and to fetch CUDA's headers; g++ only for the build with CUDA
# and its tests; Node only to change the live page, Chromium only for its tests.
# `make help` lists the targets.

GO     ?= go
PYTHON ?= python3

requirements := internal/pyenv/requirements.txt
# Made anew whenever the pinned packages change: the stamp is younger than the
# list, or absent.
venv_stamp := .venv/requirements.stamp
board_requirements := internal/pyenv/requirements-tensorboard.txt
board_stamp := .venv-tensorboard/requirements.stamp

.DEFAULT_GOAL := build

.PHONY: build
build: ## Build bin/brood
	CGO_ENABLED=0 $(GO) build -o bin/brood ./cmd/brood

.PHONY: test
test: try-venv check-format ## Check the format, vet, cross-build and run all tests
	$(GO) vet ./...
	CGO_ENABLED=0 GOARCH=arm64 $(GO) build ./...
	$(GO) build -tags purego ./...
	$(GO) test ./...
	$(GO) test -tags purego ./kernels/...
	@if command -v $(CXX) >/dev/null; then $(MAKE) --no-print-directory test-cuda; \
	elif [ "$$BROOD_REQUIRE_ALL" = 1 ]; then echo "There is no $(CXX) for the tests with CUDA." >&2; exit 1; \
	else echo "There is no $(CXX): the tests with CUDA skip."; fi

# What builds with the cuda tag need: headers, and where the driver library's
# symbols come from.
cuda_env     := build/cuda/env
softcuda_dir := build/softcuda

.PHONY: cuda-headers
cuda-headers: $(cuda_env) ## Find CUDA's headers, or fetch them, into build/cuda

$(cuda_env): cuda/headers.sh
	bash cuda/headers.sh
	touch $@

.PHONY: cuda
cuda: $(cuda_env) ## Build bin/brood with the GPU engine
	. ./$(cuda_env) && $(GO) build -tags cuda -o bin/brood ./cmd/brood

.PHONY: softcuda
softcuda: $(cuda_env) ## Build the fake driver into build/softcuda; source build/softcuda/env to use it
	. ./$(cuda_env) && bash softcuda/build.sh $(softcuda_dir) kernels/cu:cuda/testdata "$$BROOD_CUDA_INCLUDE"

# On the fake driver with two devices, nothing of which may be skipped.
on_softcuda := . ./$(cuda_env) && . ./$(softcuda_dir)/env && SOFTCUDA_DEVICES=2 BROOD_REQUIRE_ALL=1
go_test_cuda := $(GO) test -count=1 -timeout 40m -tags cuda

# Thrice: as it is; with all work put off until it is waited for, which finds a
# wait missing; and with every memory access checked for bounds, races and shared
# memory nobody wrote. The command is tested without a driver: it must run so, too.
# The fake driver has one thread, so that as many parts run at a time as there are
# processors, the longest first.
.PHONY: test-cuda
test-cuda: softcuda ## Run the tests with the cuda tag on the fake driver
	. ./$(cuda_env) && $(GO) vet -tags cuda ./...
	$(MAKE) --no-print-directory -j$$(getconf _NPROCESSORS_ONLN) test-cuda-checked test-cuda-engine test-cuda-lazy test-cuda-rest

.PHONY: test-cuda-checked test-cuda-engine test-cuda-lazy test-cuda-rest
test-cuda-checked:
	. ./$(cuda_env) && . ./$(softcuda_dir)/check/env && SOFTCUDA_DEVICES=2 BROOD_REQUIRE_ALL=1 $(go_test_cuda) -p 1 -short ./kernels/gpu ./kernels/cu
test-cuda-engine:
	$(on_softcuda) $(go_test_cuda) ./kernels/gpu
test-cuda-lazy:
	$(on_softcuda) SOFTCUDA_LAZY=1 $(go_test_cuda) -p 1 -run 'Golden|Conformance$$|Spread/Exploit|Native|Pipeline|Snapshot|Permutations' ./kernels/gpu
	$(on_softcuda) SOFTCUDA_LAZY=1 $(go_test_cuda) -p 1 -short ./cuda ./kernels/cu
test-cuda-rest:
	$(on_softcuda) $(go_test_cuda) -p 1 ./kernels/cu/... ./cuda/...
	$(on_softcuda) $(go_test_cuda) -run '^TestGPU' ./train
	. ./$(cuda_env) && $(go_test_cuda) -p 1 ./softcuda/... ./cmd/...

.PHONY: ptx
ptx: ## Build the kernels' PTX and cubins with a pinned compiler
	$(PYTHON) kernels/cu/build/ptx.py

.PHONY: ptx-report
ptx-report: ## Registers, spills, shared memory and occupancy of every kernel
	$(PYTHON) kernels/cu/build/report.py

.PHONY: gpu-bundle
gpu-bundle: $(cuda_env) ## A folder with all that checks and measures on a GPU host
	. ./$(cuda_env) && bash bench/gpu/bundle.sh

.PHONY: release
release: ## Static binaries for each system in build/release, with sums, SBOMs and licences
	GO="$(GO)" bash internal/release/build.sh

.PHONY: dash
dash: ## Build the live page: dash/static of dash/web
	cd dash/web && npm ci --ignore-scripts --no-audit --no-fund && npm run --silent check && npm run --silent build

.PHONY: dash-pictures
dash-pictures: ## Make the pictures of the live page in docs/images
	$(GO) test -count=1 ./dash -run '^TestPictures$$' -screenshots $(CURDIR)/docs/images

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

# 150 MB, for the one test that reads event files with TensorBoard: not made by
# `make test`, but by what may skip nothing.
.PHONY: venv-tensorboard
venv-tensorboard: $(board_stamp) ## Make .venv-tensorboard, the Python that has TensorBoard

$(board_stamp): $(board_requirements)
	rm -rf .venv-tensorboard
	$(PYTHON) -m venv .venv-tensorboard
	.venv-tensorboard/bin/python -m pip install --quiet --disable-pip-version-check -r $(board_requirements)
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
	rm -rf bin build .venv .venv-tensorboard dash/web/node_modules

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile
