# Each target makes what it needs; the environment is .venv, from requirements.lock.
PYTHON ?= python3
TRIALS ?= 25
WORLDS ?= 3000
# Many tests wait, so there is one worker more than cores.
WORKERS ?= $(shell expr $$(nproc) + 1)
BIN := .venv/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check

# Where `make install` puts things; all of it below DESTDIR.
PREFIX ?= /opt/adsyncd
LOCAL ?= /usr/local
ETC ?= /etc
SOURCES := $(shell find daemon mock_api -name '*.py' -o -name '*.mako' -o -name '*.toml' -o -name '*.html' -o -name '*.css' -o -name '*.js' \
  -o -name '*.svg' -o -name py.typed)
MAN := adsyncd.1 adsyncd.toml.5 adsyncd-tenant.5 adsyncd-profile.5
# For shells: the name of each completion in build/completions, and its place below LOCAL/share.
COMPLETIONS := adsyncd.bash:bash-completion/completions/adsyncd _adsyncd:zsh/site-functions/_adsyncd \
  adsyncd.fish:fish/vendor_completions.d/adsyncd.fish
COMPLETED := $(foreach pair,$(COMPLETIONS),share/$(lastword $(subst :, ,$(pair))))
# For Prometheus and Grafana, below LOCAL/share/adsyncd.
WATCHED := prometheus/adsyncd.rules.yml grafana/adsyncd.json
# Folders that belong to the package of zsh, where it is installed.
ZSH_S := $(if $(shell command -v zsh),share/zsh/site-functions/ share/zsh/)
# Before what changes the running system: skip that where there is none, and for an installation into DESTDIR.
LIVE := $(if $(DESTDIR),:,test ! -d /run/systemd/system ||)

# A test that starts a program must not compile all that it imports again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench soak phoenix picture lock wheel program install uninstall clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("adsyncd needs Python 3.11 or newer, $(PYTHON) is " + sys.version) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(PIP) install --requirement requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

demo: .venv/installed ## mock platform, OpenBao and three tenants on this machine
	$(BIN)/adsyncd demo

check: .venv/installed ## format, lint, types and import contracts
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check ## everything that CI runs: checks and all tests, WORKERS at a time
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

format: .venv/installed ## rewrite the code in the house's format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: .venv/installed ## measure, side by side with peers; results in benchmarks/results/
	$(BIN)/python -m benchmarks

soak: .venv/installed ## break it again and again, TRIALS times by each fault, in WORLDS simulated; docs/reliability.md says what came of it
	ADSYNCD_TRIALS=$(TRIALS) $(BIN)/pytest -s tests/process/test_chaos.py
	ADSYNCD_WORLDS=$(WORLDS) $(BIN)/pytest tests/simulation/test_simulation.py
	ADSYNCD_EXAMPLES=1000 $(BIN)/pytest --numprocesses $(WORKERS) tests/unit
	$(BIN)/pytest -rs tests/process/test_phoenix.py

build/phoenix/installed:
	$(PYTHON) -m venv build/phoenix
	build/phoenix/bin/pip install --quiet --disable-pip-version-check arize-phoenix==20.26.1
	@touch $@

phoenix: build/phoenix/installed ## install Arize Phoenix (0.8 GB), a tracing backend to which a test of `make soak` exports

picture: .venv/installed ## draw docs/demo.svg from a run of the demo, and docs/page/*.png from the pages of a daemon
	$(BIN)/python docs/picture.py docs/demo.svg
	ADSYNCD_PICTURES=1 $(BIN)/pytest -q tests/browser/test_pictures.py

mutants: .venv/installed ## change the program in one place at a time, in files whose path contains ONLY, and see that a test fails
	$(BIN)/python tests/mutate.py $(ONLY)

LOCK := $(BIN)/pip-compile --quiet --upgrade --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --no-annotate --generate-hashes

lock: .venv/installed ## resolve the newest allowed versions into requirements.lock, and of the program's alone into requirements-runtime.lock
	$(LOCK) --all-extras --output-file requirements.lock pyproject.toml
	$(LOCK) --constraint requirements.lock --output-file requirements-runtime.lock pyproject.toml

wheel: .venv/installed ## build dist/*.whl
	$(BIN)/python -m build --wheel --no-isolation

build/environment.made: requirements-runtime.lock .venv/installed
	$(PYTHON) -c 'import sys; home = sys.base_prefix.startswith(("/home/", "/root")); sys.exit("the service may not look into home folders, where $(PYTHON) lives; name another: make PYTHON=/usr/bin/python3 ...") if home else None'
	rm -rf build/environment
	$(PYTHON) -m venv --without-pip build/environment
	$(PIP) --python build/environment/bin/python install --requirement requirements-runtime.lock
	@touch $@

# build/environment: what runs in production, and nothing else.
build/program.made: build/environment.made pyproject.toml README.md LICENSE $(SOURCES)
	rm -rf build/wheel
	$(BIN)/python -m build --wheel --no-isolation --outdir build/wheel >/dev/null
	$(PIP) --python build/environment/bin/python install --no-deps --no-index --force-reinstall build/wheel/*.whl
	@touch $@

build/man.made: docs/man.py docs/configuration.md .venv/installed $(SOURCES)
	$(BIN)/python docs/man.py build/man
	@touch $@

build/completions.made: docs/completions.py $(wildcard docs/completions/*) .venv/installed $(SOURCES)
	$(BIN)/python docs/completions.py build/completions
	@touch $@

program: build/program.made build/man.made build/completions.made ## build/: the program, its manual pages and completions, as install copies them

install: program ## install to /opt/adsyncd (PREFIX), with units, manual pages, completions of shells and an example configuration; honours DESTDIR
	install -d $(DESTDIR)$(dir $(PREFIX)) $(addprefix $(DESTDIR)$(LOCAL)/,bin lib/systemd/system lib/sysusers.d share/man/man1 share/man/man5 share/adsyncd/prometheus share/adsyncd/grafana $(dir $(COMPLETED))) $(DESTDIR)$(ETC)/adsyncd/tenants.d
	rm -rf $(DESTDIR)$(PREFIX).new
	cp -R --preserve=timestamps,links build/environment $(DESTDIR)$(PREFIX).new
	find $(DESTDIR)$(PREFIX).new/bin $(DESTDIR)$(PREFIX).new/pyvenv.cfg -type f -exec sed -i 's|$(CURDIR)/build/environment|$(PREFIX)|g' {} +
	chmod -R u=rwX,go=rX $(DESTDIR)$(PREFIX).new
	rm -rf $(DESTDIR)$(PREFIX)
	mv $(DESTDIR)$(PREFIX).new $(DESTDIR)$(PREFIX)
	ln -sf $(PREFIX)/bin/adsyncd $(DESTDIR)$(LOCAL)/bin/adsyncd
	sed 's|/opt/adsyncd/|$(PREFIX)/|' systemd/adsyncd.service | install -m 644 /dev/stdin $(DESTDIR)$(LOCAL)/lib/systemd/system/adsyncd.service
	install -m 644 systemd/adsyncd.sysusers.conf $(DESTDIR)$(LOCAL)/lib/sysusers.d/adsyncd.conf
	$(foreach page,$(MAN),install -m 644 build/man/$(page) $(DESTDIR)$(LOCAL)/share/man/man$(subst .,,$(suffix $(page))) &&) true
	$(foreach pair,$(COMPLETIONS),install -m 644 build/completions/$(firstword $(subst :, ,$(pair))) $(DESTDIR)$(LOCAL)/share/$(lastword $(subst :, ,$(pair))) &&) true
	$(foreach file,$(WATCHED),install -m 644 $(file) $(DESTDIR)$(LOCAL)/share/adsyncd/$(file) &&) true
	test -e $(DESTDIR)$(ETC)/adsyncd/adsyncd.toml || install -m 644 systemd/adsyncd.toml $(DESTDIR)$(ETC)/adsyncd
	install -m 644 tenants/acme.toml $(DESTDIR)$(ETC)/adsyncd/tenants.d/acme.toml.example
	@$(LIVE) systemd-sysusers adsyncd.conf
	@$(LIVE) systemctl daemon-reload
	@$(LIVE) echo 'Installed. "systemctl enable --now adsyncd" starts it, "systemctl restart adsyncd" ends an upgrade.'

uninstall: ## remove what install installed; what is the operator's stays: changed settings, tenants, the database
	@$(LIVE) ! systemctl cat adsyncd >/dev/null 2>&1 || systemctl disable --now --quiet adsyncd
	rm -rf $(DESTDIR)$(PREFIX)
	rm -f $(addprefix $(DESTDIR)$(LOCAL)/,bin/adsyncd lib/systemd/system/adsyncd.service lib/sysusers.d/adsyncd.conf $(COMPLETED))
	rm -f $(addprefix $(DESTDIR)$(LOCAL)/share/adsyncd/,$(WATCHED))
	rm -f $(foreach page,$(MAN),$(DESTDIR)$(LOCAL)/share/man/man$(subst .,,$(suffix $(page)))/$(page)) $(DESTDIR)$(ETC)/adsyncd/tenants.d/acme.toml.example
	! cmp -s systemd/adsyncd.toml $(DESTDIR)$(ETC)/adsyncd/adsyncd.toml || rm $(DESTDIR)$(ETC)/adsyncd/adsyncd.toml
	for folder in $(ETC)/adsyncd/tenants.d $(ETC)/adsyncd /var/lib/adsyncd $(addprefix $(LOCAL)/,lib/systemd/system lib/systemd lib/sysusers.d share/man/man1 share/man/man5 share/adsyncd/prometheus share/adsyncd/grafana share/adsyncd $(filter-out $(ZSH_S),$(dir $(COMPLETED)) $(dir $(patsubst %/,%,$(dir $(COMPLETED)))))); do test ! -d $(DESTDIR)$$folder || rmdir --ignore-fail-on-non-empty $(DESTDIR)$$folder; done
	@$(LIVE) systemctl daemon-reload
	@for kept in $(ETC)/adsyncd /var/lib/adsyncd; do test ! -e $(DESTDIR)$$kept || echo "Kept $$kept, which is yours to remove."; done
	@$(LIVE) test -e /var/lib/adsyncd || userdel adsyncd

clean: ## remove what was built
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
