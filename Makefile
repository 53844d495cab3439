# The manual: `make help`. Every target says in one line what it is for.
.DEFAULT_GOAL := help
.ONESHELL:
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

BIN := .venv/bin
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock"
PYTEST := $(BIN)/python -m pytest

.PHONY: help setup demo demo-down test test-unit test-model test-contract test-chart test-integration test-e2e \
	lint format generate verify lock images prepare bench bench-operator bench-autoscaling bench-day clean

help:  ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

.venv/.ready: requirements/dev.txt requirements/uv.txt pyproject.toml testbed/pyproject.toml testbed/bootstrap.sh
	@testbed/bootstrap.sh
	touch $@

setup: .venv/.ready  ## Make the Python environment (every other target does it by itself)

##@ See it work

demo: setup  ## From a bare machine to a spoken conversation on a real cluster
	@$(BIN)/voiceagent-testbed demo

demo-down: setup  ## Remove every trace of the demo's cluster (built binaries and images stay cached)
	@$(BIN)/voiceagent-testbed down

##@ Check it

test: setup  ## All levels: lint, unit, contract, chart, integration, end to end
	@testbed/test.sh

test-unit: setup  ## Seconds; needs nothing but Python
	@$(PYTEST) -q tests/unit

test-model: setup  ## A hundred thousand random steps of rollouts, drains and failures (a quarter of an hour)
	@VOICEAGENT_MODEL_STEPS=100000 VOICEAGENT_MODEL_SEED=$${VOICEAGENT_MODEL_SEED:-$$RANDOM$$RANDOM} $(PYTEST) -q tests/unit/test_operator_rollouts.py

test-contract: setup  ## Both sides of each seam agree
	@$(PYTEST) -q tests/contract

test-chart: setup  ## What Helm renders
	@$(BIN)/voiceagent-testbed prepare helm
	$(PYTEST) -q tests/chart

test-integration: setup  ## On a real API server and a real LiveKit server
	@$(BIN)/voiceagent-testbed prepare helm health etcd kubernetes livekit
	$(PYTEST) -q -n 2 --dist loadfile tests/integration

test-e2e: setup  ## On a real node: the built images, Helm, real calls (root, Linux)
	@$(BIN)/voiceagent-testbed prepare
	$(PYTEST) -q tests/e2e

lint: setup  ## Format, style, types and import rules
	@$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## Rewrite the code in the project's format
	@$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: setup  ## Write the CRD, the references and the policy's list of Secrets from their sources
	@$(BIN)/python -m voiceagent_operator.api.crd
	$(BIN)/python -m voiceagent_operator.api.reference
	$(BIN)/python -m voiceagent_operator.api.secret_references
	$(BIN)/python -m voiceagent_runtime.telemetry.reference

verify: setup  ## Fail when a generated file differs from its source
	@$(BIN)/python -m voiceagent_operator.api.crd --check
	$(BIN)/python -m voiceagent_operator.api.reference --check
	$(BIN)/python -m voiceagent_operator.api.secret_references --check
	$(BIN)/python -m voiceagent_runtime.telemetry.reference --check

bench: setup  ## The stock SDK worker and ours on one node, as ratios
	@$(BIN)/voiceagent-testbed prepare
	$(BIN)/python benchmarks/worker.py

bench-operator: setup  ## The operator with up to 5,000 VoiceAgents on a real API server
	@$(BIN)/voiceagent-testbed prepare etcd kubernetes
	$(BIN)/python benchmarks/many_agents.py

bench-autoscaling: setup  ## The autoscaler with up to 2,000 workers on a real API server
	@$(BIN)/voiceagent-testbed prepare etcd kubernetes
	$(BIN)/python benchmarks/autoscaling.py

bench-day: setup  ## A day of 1,000 workers with faults, in 25 minutes; writes docs/reports/autoscaling-day
	@$(BIN)/voiceagent-testbed prepare etcd kubernetes
	$(BIN)/python benchmarks/day.py

##@ Parts

prepare: setup  ## Build the cluster's binaries and the project's images into the cache
	@$(BIN)/voiceagent-testbed prepare

images: setup  ## Build the project's two images
	@$(BIN)/voiceagent-testbed prepare images

lock: setup  ## Resolve the dependencies again and write requirements/*.txt
	@echo 'uv==$(shell $(BIN)/uv --version 2>/dev/null | cut -d" " -f2)' | $(LOCK) - -o requirements/uv.txt
	$(LOCK) pyproject.toml --extra operator -o requirements/operator.txt
	$(LOCK) pyproject.toml --extra runtime -o requirements/runtime.txt
	$(LOCK) pyproject.toml --extra runtime --extra turn-detector -o requirements/runtime-turn-detector.txt
	$(LOCK) pyproject.toml testbed/pyproject.toml --extra operator --extra runtime --group test --group lint -o requirements/dev.txt

clean:  ## Remove what the tools left in the tree (the cache outside it stays; see README)
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build
