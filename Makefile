# moonwatch - watch every process, decide in Lua what matters
#
#   make run        install what is missing, build, watch with the default view
#   make test       install what is missing, then every check and every test
#   make            build/moonwatch, build/libmoonwatch.a, build/libmoonwatch.so
#   make install    to PREFIX (/usr/local), below DESTDIR; make uninstall
#   make bench      figures beside forkstat, extrace and bpftrace, in one run
#   make help       all targets and variables

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# --- decisions ------------------------------------------------------------------------

VERSION  := 0.1.0
BUILD    := build
PREFIX   := /usr/local
CFLAGS   ?= -O2 -g
LUAJIT   := luajit
BUSTED   := busted --lua=/usr/bin/luajit
FUZZ_SECONDS := 5
BENCH_FLAGS :=
SUDO     := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

ifeq ($(origin CC),default)
CC := gcc
endif

# SAN=1: AddressSanitizer and UBSan, any finding ends the program.
ifeq ($(SAN),1)
BUILD   := $(BUILD)/san
SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
endif

# FUZZ=1: instrumented for libFuzzer, with both sanitizers; needs clang.
ifeq ($(FUZZ),1)
CC      := clang
BUILD   := $(BUILD)/fuzz
SANFLAGS := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
endif

# WERROR=1: warnings are errors, as in `make test`.
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
        -Wvla -Wformat=2 -Wundef $(if $(WERROR),-Werror)

PKGS_BUILD := gcc libc6-dev make pkg-config libluajit-5.1-dev luajit libev-dev libedit-dev libmd-dev \
              clang bpftool libbpf-dev libseccomp-dev libpcre2-dev libyaml-dev libjansson-dev libzstd-dev
PKGS_TEST  := libclang-rt-14-dev cppcheck lua-check lua-busted libcmocka-dev jq python3
PKGS_BENCH := python3 forkstat extrace bpftrace

LUA_CFLAGS = $(shell pkg-config --cflags luajit 2>/dev/null || echo -I/usr/include/luajit-2.1)
LUA_LIBS   = $(shell pkg-config --libs luajit 2>/dev/null || echo -lluajit-5.1)

# The tap is built where its three tools are; TAP=0: without it all the same.
BPFTOOL := $(shell PATH="$$PATH:/usr/sbin:/sbin" command -v bpftool)
TAP := $(if $(BPFTOOL),$(shell command -v clang >/dev/null && pkg-config --exists libbpf 2>/dev/null && echo 1))

CPPFLAGS += -Isrc $(LUA_CFLAGS) -D_GNU_SOURCE -DMOONWATCH_VERSION='"$(VERSION)"'
LDLIBS    = $(LUA_LIBS) -lev -lmd -lpcre2-8 -lyaml -ljansson -lseccomp -lzstd $(TAP_LIBS) -lm -lpthread -ldl
TAP_LIBS  = $(if $(filter 1,$(TAP)),-lbpf)

# --- what is built --------------------------------------------------------------------

LIB_SRC := $(sort $(filter-out src/cli/% %.bpf.c,$(wildcard src/*/*.c src/host/api/*.c)))
CLI_SRC := $(sort $(wildcard src/cli/*.c))
LUA_SRC := $(sort $(shell find lua/moonwatch -name '*.lua' 2>/dev/null))
LIB_OBJ := $(LIB_SRC:src/%.c=$(BUILD)/obj/%.o)
CLI_OBJ := $(CLI_SRC:src/%.c=$(BUILD)/obj/%.o)
LUA_OBJ := $(LUA_SRC:lua/%.lua=$(BUILD)/lua/%.o)

.PHONY: all
all: $(BUILD)/moonwatch $(BUILD)/libmoonwatch.a $(BUILD)/libmoonwatch.so $(BUILD)/moonwatch.pc

COMPILE = $(CC) -std=gnu11 $(CPPFLAGS) $(CFLAGS) $(SANFLAGS) $(WARN) -fPIC -fvisibility=hidden -MMD -MP

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(COMPILE) -c -o $@ $<

# The Lua library becomes bytecode inside the binary; the symbol is luaJIT_BC_moonwatch_NAME.
$(BUILD)/lua/%.o: lua/%.lua
	@mkdir -p $(@D)
	$(LUAJIT) -b -g -t o -n $(subst /,.,$*) $< $@

$(BUILD)/gen/library.inc: $(LUA_SRC) Makefile
	@mkdir -p $(@D)
	for m in $(patsubst lua/%.lua,%,$(LUA_SRC)); do \
	  printf 'MODULE(%s, "%s")\n' "$$(echo $$m | tr / _)" "$$(echo $${m%/init} | tr / .)"; \
	done > $@
$(BUILD)/obj/host/library.o: $(BUILD)/gen/library.inc
$(BUILD)/obj/host/library.o: CPPFLAGS += -I$(BUILD)/gen

# The tap's programs for the kernel become an array in a header.
ifeq ($(TAP),1)
$(BUILD)/gen/tap.bpf.o: src/collect/tap.bpf.c src/collect/tap_record.h
	@mkdir -p $(@D)
	clang -O2 -g -Wall -Werror -target bpf -D__TARGET_ARCH_$(subst x86_64,x86,$(subst aarch64,arm64,$(shell uname -m))) \
	  -Isrc -c -o $@ $<

$(BUILD)/gen/tap.skel.h: $(BUILD)/gen/tap.bpf.o
	$(BPFTOOL) gen skeleton $< name tap_bpf > $@

$(BUILD)/obj/collect/tap.o: $(BUILD)/gen/tap.skel.h
$(BUILD)/obj/collect/tap.o: CPPFLAGS += -DMOONWATCH_TAP -I$(BUILD)/gen
endif

# Everything of ours, for the tests: internal names visible.
$(BUILD)/libinternal.a: $(LIB_OBJ) $(LUA_OBJ)
	@rm -f $@
	ar rcs $@ $^

# For embedders: one object in which only moonwatch_* is left to link against.
$(BUILD)/libmoonwatch.a: $(LIB_OBJ) $(LUA_OBJ)
	@rm -f $@ $(BUILD)/whole.o
	ld -r -o $(BUILD)/whole.o $^
	objcopy -w --keep-global-symbol='moonwatch_*' $(BUILD)/whole.o
	ar rcs $@ $(BUILD)/whole.o
	@rm -f $(BUILD)/whole.o

$(BUILD)/gen/exports.map:
	@mkdir -p $(@D)
	echo '{ global: moonwatch_*; local: *; };' > $@

$(BUILD)/libmoonwatch.so: $(LIB_OBJ) $(LUA_OBJ) $(BUILD)/gen/exports.map
	$(CC) -shared $(SANFLAGS) $(LDFLAGS) -Wl,-soname,libmoonwatch.so.0 \
	  -Wl,--version-script=$(BUILD)/gen/exports.map -o $@ $(LIB_OBJ) $(LUA_OBJ) $(LDLIBS)

# -E: Lua modules written in C take lua_* from the program that loads them.
$(BUILD)/moonwatch: $(CLI_OBJ) $(BUILD)/libmoonwatch.a
	$(CC) $(SANFLAGS) $(LDFLAGS) -Wl,-E -o $@ $(CLI_OBJ) $(BUILD)/libmoonwatch.a $(LDLIBS) -ledit

$(BUILD)/moonwatch.pc: Makefile
	@mkdir -p $(@D)
	printf '%s\n' 'prefix=$(PREFIX)' 'Name: moonwatch' \
	  'Description: watch every process, decide in Lua what matters' 'Version: $(VERSION)' \
	  'Requires: luajit' 'Cflags: -I$${prefix}/include' \
	  'Libs: -L$${prefix}/lib -lmoonwatch' 'Libs.private: -lev -lmd -lpcre2-8 -lyaml -ljansson -lseccomp -lzstd $(TAP_LIBS) -lm -lpthread -ldl' > $@

# --- what is tested -------------------------------------------------------------------

UNIT := $(patsubst tests/%.c,$(BUILD)/test/%,$(wildcard tests/unit/*.c))
E2E  := $(patsubst tests/%.c,$(BUILD)/test/%,$(wildcard tests/e2e/*.c))
FUZZERS := $(patsubst tests/%.c,$(BUILD)/test/%,$(wildcard tests/fuzz/*.c))
BENCH := $(patsubst tests/%.c,$(BUILD)/test/%,$(wildcard tests/bench/bench_*.c))

.PHONY: unit e2e fuzzers benches
unit: $(UNIT)
e2e: $(E2E)
fuzzers: $(FUZZERS)
benches: $(BENCH)

$(UNIT) $(E2E): $(BUILD)/test/%: tests/%.c $(BUILD)/libinternal.a
	@mkdir -p $(@D)
	$(COMPILE) -Wno-missing-prototypes -o $@ $< $(BUILD)/libinternal.a -lcmocka $(LDLIBS)

$(FUZZERS): $(BUILD)/test/%: tests/%.c $(BUILD)/libinternal.a
	@mkdir -p $(@D)
	$(COMPILE) -Wno-missing-prototypes -fsanitize=fuzzer -o $@ $< $(BUILD)/libinternal.a $(LDLIBS)

$(BENCH): $(BUILD)/test/%: tests/%.c $(BUILD)/libinternal.a
	@mkdir -p $(@D)
	$(COMPILE) -o $@ $< $(BUILD)/libinternal.a $(LDLIBS)

# An embedder sees what is installed: one header, one archive.
$(BUILD)/embed: examples/embed.c src/moonwatch.h $(BUILD)/libmoonwatch.a
	$(CC) -std=c11 -D_GNU_SOURCE $(CFLAGS) $(SANFLAGS) $(WARN) -Isrc -o $@ $< $(BUILD)/libmoonwatch.a $(LDLIBS)

# --- for people -----------------------------------------------------------------------

# Install those of $(1) that are missing. Elsewhere than on Debian, the names are a hint.
install_missing = @missing=""; \
	if command -v dpkg-query >/dev/null; then \
	  for p in $(1); do \
	    dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; \
	  done; \
	  if [ -n "$$missing" ]; then \
	    echo "installing$$missing"; \
	    $(SUDO) apt-get update -qq && \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	  fi; \
	else \
	  echo "no dpkg here: these must be installed by hand, as their Debian names say: $(1)"; \
	fi

.PHONY: run test bench install uninstall generate rooms clean help deps
deps:
	$(call install_missing,$(PKGS_BUILD))

# A second make: what pkg-config says is known only after the installation.
run: deps
	@$(MAKE) --no-print-directory -s all
	@$(SUDO) $(BUILD)/moonwatch

test: deps
	$(call install_missing,$(PKGS_TEST))
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/run

bench: deps
	$(call install_missing,$(PKGS_BENCH))
	@$(MAKE) --no-print-directory -s all benches
	@$(SUDO) tests/bench/run $(BENCH_FLAGS)

LIBDIR := $(DESTDIR)$(PREFIX)/lib
install: all
	install -D -m 755 $(BUILD)/moonwatch $(DESTDIR)$(PREFIX)/bin/moonwatch
	install -D -m 644 src/moonwatch.h $(DESTDIR)$(PREFIX)/include/moonwatch.h
	install -D -m 644 $(BUILD)/libmoonwatch.a $(LIBDIR)/libmoonwatch.a
	install -D -m 755 $(BUILD)/libmoonwatch.so $(LIBDIR)/libmoonwatch.so.0
	ln -sf libmoonwatch.so.0 $(LIBDIR)/libmoonwatch.so
	install -D -m 644 $(BUILD)/moonwatch.pc $(LIBDIR)/pkgconfig/moonwatch.pc
	for f in lua/meta/*.lua; do install -D -m 644 $$f $(DESTDIR)$(PREFIX)/share/moonwatch/meta/$${f##*/}; done
	for f in examples/*.lua examples/incident/* scripts/*.lua; do install -D -m 644 $$f $(DESTDIR)$(PREFIX)/share/moonwatch/$${f%/*}/$${f##*/}; done
	for f in README.md scripts/README.md; do install -D -m 644 $$f $(DESTDIR)$(PREFIX)/share/doc/moonwatch/$$f; done

# What install puts there, and the directories that were ours alone.
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/moonwatch $(DESTDIR)$(PREFIX)/include/moonwatch.h
	rm -f $(LIBDIR)/libmoonwatch.a $(LIBDIR)/libmoonwatch.so $(LIBDIR)/libmoonwatch.so.0 $(LIBDIR)/pkgconfig/moonwatch.pc
	rm -rf $(DESTDIR)$(PREFIX)/share/moonwatch $(DESTDIR)$(PREFIX)/share/doc/moonwatch

# What is written from the field list: the definitions for editors, the README's table.
generate: $(BUILD)/moonwatch
	$(BUILD)/moonwatch fields --luals > lua/meta/event.lua
	tests/generated README.md $(BUILD)/moonwatch

# The include graph by rooms, from the sources.
rooms:
	@for f in src/*/*.[ch] src/*/*/*.[ch]; do \
	  sed -n 's|^#include "\([a-z]*\)/.*|\1|p' $$f | sed "s|^|$$(echo $$f | cut -d/ -f2) -> |"; \
	done | awk '$$1 != $$3' | sort | uniq -c

clean:
	rm -rf build

help:
	@sed -n '3,8s/^# *//p' Makefile
	@echo 'make generate    write lua/meta/event.lua and the table of README.md anew'
	@echo 'make rooms       which room of src/ includes which'
	@echo 'make clean       remove build/'
	@echo
	@echo 'CC=clang  CFLAGS="-O3"  PREFIX=/usr  DESTDIR=/tmp/x  LDFLAGS=...  as ever'
	@echo 'SAN=1     AddressSanitizer and UBSan, below build/san'
	@echo 'WERROR=1  warnings are errors'
	@echo 'BENCH_FLAGS=--quick or --publish (write tests/bench/figures.svg) for make bench'
	@echo 'FUZZ=1    instrumented for libFuzzer, below build/fuzz'
	@echo 'FUZZ_SECONDS=5  for each fuzzer in make test'

-include $(LIB_OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(UNIT:=.d) $(FUZZERS:=.d)
