# `make gate` runs the main job, `make test` the tests; both set up what is missing first.
# Set-up needs Python 3.11 or newer; what else is missing, it installs (see docs/images.md).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CACHE := .cache
STAMP := $(VENV)/.installed
UV_VENV := $(CACHE)/uv

export UV_PYTHON_DOWNLOADS := never
# The system's certificate authorities rather than uv's own: a company's proxy is among them.
export UV_NATIVE_TLS := 1
# The environment is found by its place, not by what happens to be active.
unexport VIRTUAL_ENV
# A gate starts a dozen Python processes, the tests hundreds: each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup gate nightly test check docs up down status doctor images clean clean-images lock
.DEFAULT_GOAL := help

help:
	@echo "make gate    break the stack, and prove that its monitoring says so"
	@echo "make nightly the same with the drills that a gate leaves for the night"
	@echo "make test    all tests (needs Docker; set up if missing)"
	@echo "make check   ruff, mypy and the fast tests (no Docker)"
	@echo "make docs    renew the documents that are made out of the code"
	@echo "make up      a stack to explore;  make status  its URLs;  make down  remove it"
	@echo "make doctor  what can run here, and what can't be verified"
	@echo "make images  obtain every image;  make clean-images  remove the built ones"
	@echo "make clean   remove everything else that was made here"
	@echo "make lock    renew the three lock files"

# uv: the one on PATH, else a private one in $(CACHE). A Debian without python3-venv gets it first.
define find_uv
	uv=$$(command -v uv || true); \
	if [ -z "$$uv" ] || ! "$$uv" --version >/dev/null 2>&1; then \
	    uv=$(UV_VENV)/bin/uv; \
	    if ! [ -x "$$uv" ]; then \
	        echo "  set-up: uv, into $(UV_VENV)"; \
	        mkdir -p $(CACHE); rm -rf $(UV_VENV); \
	        if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	            if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	                apt-get update -q >/dev/null; \
	                DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
	                    python3-venv ca-certificates >/dev/null; \
	            else \
	                echo "$(PYTHON) can't make virtual environments: install python3-venv (or uv)" >&2; \
	                exit 2; \
	            fi; \
	        fi; \
	        $(PYTHON) -m venv $(UV_VENV); \
	        $(UV_VENV)/bin/python -m pip install -q --disable-pip-version-check uv; \
	    fi; \
	fi
endef

$(STAMP): requirements.lock pyproject.toml
	@set -eu; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "$(PYTHON) is missing or older than 3.11: install a newer one, or say make PYTHON=..." >&2; \
	    exit 2; \
	}; \
	$(find_uv); \
	echo "  set-up: $(VENV), from requirements.lock"; \
	[ -x $(BIN)/python ] || "$$uv" venv -q --python "$$(command -v $(PYTHON))" $(VENV); \
	"$$uv" pip sync -q --python $(BIN)/python --require-hashes requirements.lock; \
	"$$uv" pip install -q --python $(BIN)/python --no-deps -e .; \
	touch $@

setup: $(STAMP)
	@$(BIN)/alertdrill setup

gate: $(STAMP)
	@$(BIN)/alertdrill gate

nightly: $(STAMP)
	@$(BIN)/alertdrill gate --nightly

test: images
	@$(BIN)/pytest -n 3 --dist worksteal -q --ignore tests/gate tests rules
	@$(BIN)/pytest -n 2 --dist worksteal -q tests/gate

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 -q -m "not docker" --ignore tests/gate tests

docs: $(STAMP)
	@$(BIN)/alertdrill faults --format markdown > docs/faults.md

up: $(STAMP)
	@$(BIN)/alertdrill up

down: $(STAMP)
	@$(BIN)/alertdrill down

status: $(STAMP)
	@$(BIN)/alertdrill status

doctor: $(STAMP)
	@$(BIN)/alertdrill doctor

images: $(STAMP)
	@$(BIN)/alertdrill setup --profile full

clean:
	@if [ -x $(BIN)/alertdrill ]; then $(BIN)/alertdrill down || true; fi
	rm -rf $(VENV) $(CACHE) out .mypy_cache .pytest_cache .ruff_cache .hypothesis

clean-images: $(STAMP)
	@$(BIN)/alertdrill clean-images

COMPILE = "$$uv" pip compile -q --upgrade --generate-hashes --no-annotate --no-header
lock:
	@set -eu; $(find_uv); \
	$(COMPILE) --universal --python-version 3.11 --group dev --group hub pyproject.toml \
	    -o requirements.lock; \
	$(COMPILE) --python-version 3.13 --group pyproject.toml:hub -o images/hub/requirements.txt; \
	$(COMPILE) --python-version 3.13 --group pyproject.toml:http-faults \
	    -o images/http-faults/requirements.txt
