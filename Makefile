# gxswitch: `make` alone lists the targets. Go, make and root are all that
# `make run` and `make test` need; what else they use they install with apt-get.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

GO      ?= go
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION ?=
FUZZTIME ?= 20s
ARGS    ?=

# One static binary, the same whoever builds it. x86-64 without the v3
# instructions, which a Xen host may mask.
BUILD = CGO_ENABLED=0 $(GO) build -trimpath \
	-ldflags "-s -w $(if $(VERSION),-X gxswitch/internal/version.release=$(VERSION))"

# The linter is pinned: a new release must not fail an old commit.
GOLANGCI_VERSION := v2.15.0
GOLANGCI := bin/golangci-lint-$(GOLANGCI_VERSION)

# The programs that tests use as real clients. ip makes the namespaces.
TEST_PROGRAMS := ip ping arping iperf3 tcpdump ethtool curl \
	xenstore-read udhcpc dnsmasq dhclient dig nft

# What the bench compares with besides the kernel, where it can be had.
BENCH_PROGRAMS := ovs-vsctl vde_switch nft

# What needs root runs so: directly, or with sudo, or not at all.
AS_ROOT = if [ "$$(id -u)" = 0 ]; then root=''; \
	elif command -v sudo >/dev/null; then root='sudo'; \
	else echo "make $@: needs root, to make network namespaces and open raw sockets; run it as root" >&2; exit 1; fi

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/gxswitch
	@mkdir -p bin
	$(BUILD) -o bin/gxswitch ./cmd/gxswitch

.PHONY: run
run: build ## build, then show guests talking through the switch (root; ARGS="--mode host-only")
	@.ci/deps ip
	@$(AS_ROOT); exec $$root bin/gxswitch demo $(ARGS)

# The test binaries alone run as root, so that Go's caches stay the user's.
# Packages take turns (-p 1), and a package's parallel tests come after the others:
# tests that time the switch want the machine alone. Parallel ones mostly wait, so
# they are more than the processors.
SIDE_BY_SIDE := -parallel 4

.PHONY: test
test: ## run every test that needs no other machine (root); a skipped test is a failure
	@.ci/deps $(TEST_PROGRAMS)
	@.ci/xen-scripts
	@$(AS_ROOT); $(GO) run .ci/gotest.go -count=1 -p 1 $(SIDE_BY_SIDE) -timeout 9m \
		$${root:+-exec "$$root -E env PATH=$$PATH"} $(ARGS) ./...

# The processor is emulated: it takes some minutes, and nothing in it is a figure
# of speed.
XEN_BENCH := bin/xen-bench

.PHONY: test-xen
test-xen: build ## create, reboot, save and destroy domains on a real Xen, under QEMU (root, Debian on amd64)
	@.ci/deps qemu-system-x86_64 debootstrap cpio modprobe mke2fs
	@$(AS_ROOT); $$root xen/bench/build $(XEN_BENCH)
	@mkdir -p $(XEN_BENCH)/payload
	CGO_ENABLED=0 GOARCH=amd64 GOAMD64=v1 $(GO) test -c -tags realxen -o $(XEN_BENCH)/payload/realxen.test ./internal/realxen
	@cp bin/gxswitch xen/vif-gxswitch xen/bench/payload/run $(XEN_BENCH)/payload/
	xen/bench/run $(XEN_BENCH) $(XEN_BENCH)/payload $(XEN_BENCH)/out 1500

.PHONY: race
race: ## run the tests under the race detector (root, a C compiler)
	@.ci/deps $(TEST_PROGRAMS) gcc
	@.ci/xen-scripts
	@$(AS_ROOT); CGO_ENABLED=1 $(GO) run .ci/gotest.go -race -count=1 -p 1 $(SIDE_BY_SIDE) -timeout 30m \
		$${root:+-exec "$$root -E env PATH=$$PATH"} $(ARGS) ./...

.PHONY: lint
lint: $(GOLANGCI) ## check style, the laws of the house, the module and the shell scripts
	@.ci/deps shellcheck
	$(GO) vet ./...
	@unformatted=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l); \
	if [ -n "$$unformatted" ]; then echo "not formatted with gofmt:" $$unformatted >&2; exit 1; fi
	$(GOLANGCI) run
	$(GO) mod tidy -diff
	$(GO) mod verify
	@scripts=$$(git ls-files -co --exclude-standard | xargs awk 'FNR == 1 && /^#!.*sh$$/ { print FILENAME } FNR > 1 { nextfile }'); \
	if [ -n "$$scripts" ]; then shellcheck $$scripts; fi

$(GOLANGCI):
	@mkdir -p bin
	GOBIN=$(CURDIR)/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv bin/golangci-lint $@

.PHONY: generate
generate: ## compile the eBPF program anew (clang, libbpf's headers)
	@.ci/deps clang llvm-strip
	@[ -e /usr/include/bpf/bpf_helpers.h ] || { echo "missing: bpf/bpf_helpers.h" >&2; \
		echo "hint: as root: apt-get install libbpf-dev" >&2; exit 1; }
	$(GO) generate ./internal/fastpath

.PHONY: fuzz
fuzz: ## fuzz every Fuzz test for FUZZTIME each (default 20s)
	@for package in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

.PHONY: soak
soak: ## ten million random frames against the model of layer-2 policy
	SOAK_FRAMES=10000000 $(GO) test -count=1 -timeout 30m -run TestSoakNoFrameCrosses -v ./dataplane

.PHONY: bench bench-quick
bench: build ## measure the switch beside the kernel's bridge and others (root, an idle machine)
	@.ci/deps ip
	@.ci/deps $(BENCH_PROGRAMS) || echo "without them: $(BENCH_PROGRAMS)" >&2
	$(GO) build -o bin/gxbench ./bench
	@$(AS_ROOT); exec $$root bin/gxbench -gxswitch bin/gxswitch $(ARGS)

bench-quick: build ## the main figures of bench, in two minutes
	@.ci/deps ip
	$(GO) build -o bin/gxbench ./bench
	@$(AS_ROOT); exec $$root bin/gxbench -quick -gxswitch bin/gxswitch $(ARGS)

# What is made of the program: manual pages and completions. It is built once more
# for this machine, so that they can be made for another.
NATIVE := bin/native/gxswitch
MANUALS := bin/man/gxswitch.8 bin/man/gxswitch.toml.5 bin/man/vif-gxswitch.8
COMPLETIONS := bin/completion/bash bin/completion/zsh bin/completion/fish

.PHONY: native
native:
	@mkdir -p bin/native bin/man bin/completion
	GOARCH= $(BUILD) -o $(NATIVE) ./cmd/gxswitch

bin/man/%: man/%.in native
	$(NATIVE) manual >bin/man/commands
	sed -e '/^@COMMANDS@$$/{r bin/man/commands' -e 'd}' -e "s/@DATE@/$$($(DATE))/" -e "s/@VERSION@/$$($(RELEASE))/" $< >$@

bin/completion/%: native
	$(NATIVE) completion $* >$@

# The day of the last commit, and what the program calls itself, in Debian's
# spelling: 0.1.0~dev comes before 0.1.0.
DATE = git log -1 --format=%cs 2>/dev/null || date +%F
RELEASE = $(NATIVE) version | sed 's/^gxswitch //; s/-/~/g'

.PHONY: man
man: $(MANUALS) ## make the manual pages in bin/man

# Where Debian's zsh looks is set by deb.
ZSH_COMPLETIONS ?= $(PREFIX)/share/zsh/site-functions
VIF_SCRIPT := xen/vif-gxswitch

.PHONY: install
install: build man $(COMPLETIONS) ## install below DESTDIR and PREFIX (default /usr/local): program, unit, script, manual pages, completions
	install -D -m 0755 bin/gxswitch $(DESTDIR)$(PREFIX)/sbin/gxswitch
	install -D -m 0755 $(VIF_SCRIPT) $(DESTDIR)/etc/xen/scripts/vif-gxswitch
	install -d $(DESTDIR)/etc/gxswitch/conf.d
	[ -e $(DESTDIR)/etc/gxswitch/gxswitch.toml ] || \
		install -m 0644 packaging/gxswitch.toml $(DESTDIR)/etc/gxswitch/gxswitch.toml
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's,/usr/sbin/,$(PREFIX)/sbin/,' packaging/gxswitch.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/gxswitch.service
	chmod 0644 $(DESTDIR)$(PREFIX)/lib/systemd/system/gxswitch.service
	install -D -m 0644 packaging/sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/gxswitch.conf
	install -D -m 0644 packaging/tmpfiles.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/gxswitch.conf
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man5 bin/man/gxswitch.toml.5
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man8 bin/man/gxswitch.8 bin/man/vif-gxswitch.8
	install -D -m 0644 bin/completion/bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/gxswitch
	install -D -m 0644 bin/completion/zsh $(DESTDIR)$(ZSH_COMPLETIONS)/_gxswitch
	install -D -m 0644 bin/completion/fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/gxswitch.fish
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/gxswitch README.md CHANGELOG.md
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/gxswitch/docs docs/*.md
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/gxswitch/docs/decisions docs/decisions/*.md

# nfpm is a program, no part of the module. It is pinned: later versions want a
# later Go than the module does, and libraries for Windows' packages.
NFPM := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
MAINTAINER ?= gxswitch maintainers <maintainers@gxswitch.invalid>

.PHONY: deb
deb: ## build a Debian package in bin (GOARCH=arm64 for another machine)
	rm -rf bin/package bin/gxswitch_*.deb
	$(MAKE) --no-print-directory install DESTDIR=bin/package PREFIX=/usr ZSH_COMPLETIONS=/usr/share/zsh/vendor-completions
	gzip -9nf bin/package/usr/share/man/man*/* bin/package/usr/share/doc/gxswitch/CHANGELOG.md
	printf 'gxswitch (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' \
		"$$($(RELEASE))" '$(MAINTAINER)' "$$(git log -1 --format=%cD)" | gzip -9n >bin/package/usr/share/doc/gxswitch/changelog.gz
	install -m 0644 packaging/copyright bin/package/usr/share/doc/gxswitch/copyright
	install -D -m 0644 packaging/lintian-overrides bin/package/usr/share/lintian/overrides/gxswitch
	VERSION=$$($(RELEASE)); ARCH=$$($(GO) env GOARCH); export VERSION ARCH; \
	MAINTAINER='$(MAINTAINER)' SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) GOARCH= \
		$(GO) run $(NFPM) package -f packaging/nfpm.yaml -p deb -t bin/gxswitch_$${VERSION}_$$ARCH.deb

.PHONY: test-package
test-package: deb ## install, upgrade, remove and purge the package in a chroot, and run the daemon as its unit does (root)
	@.ci/deps debootstrap ip ping curl udhcpc dig mandoc man groff lintian
	@$(AS_ROOT); exec $$root packaging/test

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
