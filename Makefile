# reimage.lab: `make help` lists what there is. Everything that is made lives under var/.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := var/venv
BIN := $(CURDIR)/$(VENV)/bin
COLLECTION := var/collections/ansible_collections/reimage/lab
LAB := -i inventories/virtual-lab
export PATH := $(BIN):$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_HOME := $(CURDIR)/var/ansible

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

var/.packages: bindep.txt scripts/install-packages
	scripts/install-packages bindep.txt
	@mkdir -p var && touch $@

var/.venv: tests/requirements.txt var/.packages
	/usr/bin/python3 -m venv --system-site-packages $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r tests/requirements.txt
	@touch $@

$(COLLECTION):
	mkdir -p $(@D)
	ln -sfn ../../../.. $@

setup: var/.packages var/.venv $(COLLECTION) ## Install what the other targets need (they call it)

demo: setup ## Reimage a virtual lab, for real, and prove it
	scripts/demo

lab: setup ## Start the virtual lab, leave it running, and say how to look at it
	ansible-playbook $(LAB) reimage.lab.virtual_lab

lab-down: setup ## Stop the virtual lab and take it away
	ansible-playbook $(LAB) reimage.lab.virtual_lab -e virtual_lab_state=absent

lock: setup ## Pin what requirements.in and tests/requirements.in name, by hash
	scripts/lock

lint: setup ## Check style, types and conventions
	scripts/lint

test-unit: setup ## Run the tests that need seconds and no root
	pytest -q tests/unit

test-integration: setup ## Run the tests that need root: real disks, tools and servers
	pytest -q tests/integration

test-firmware: setup ## Boot PCs by UEFI HTTP boot, with Secure Boot on and off, and with a kernel that must be refused
	pytest -q -m firmware tests/integration/boot

test: setup ## Run the unit and integration tests, molecule, and the whole virtual lab
	pytest -q -n 2 tests/e2e tests/integration tests/unit

fuzz: setup ## Change disks, folders and disk files in thousands of ways and try to import them (REIMAGE_FUZZ, REIMAGE_FUZZ_SEED)
	REIMAGE_FUZZ=$${REIMAGE_FUZZ:-100} REIMAGE_FUZZ_SEED=$${REIMAGE_FUZZ_SEED:-$$RANDOM} \
	  pytest -q tests/integration/imaging/test_hostile_disks.py

bench: setup ## Measure against FOG's and Clonezilla's own pipelines
	scripts/install-packages bindep.txt bench
	PYTHONPATH=var/collections python tests/bench/bench.py --document

bench-boot: setup ## Build automation twice, compare the builds, start its programs, and measure how fast it boots
	scripts/bench-boot

clean: ## Take the lab away and delete everything under var/
	if test -d $(VENV); then $(MAKE) lab-down; fi
	rm -rf var

.PHONY: help setup demo lab lab-down lock lint test test-unit test-integration test-firmware fuzz bench bench-boot clean
