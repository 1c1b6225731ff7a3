# moonwatch - watch every process, decide in Lua what matters
#
#   make run        install what is missing, build, watch with the default view
#   make test       install what is missing, then every check and every test
#   make            build/moonwatch, build/libmoonwatch.a, build/libmoonwatch.so
#   make install    to PREFIX (/usr/local), below DESTDIR
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
SECONDS_FUZZ := 10

ifeq ($(origin CC),default)
CC := gcc
endif

# SAN=1: AddressSanitizer and UBSan, any finding ends the program.
ifeq ($(SAN),1)
BUILD   := $(BUILD)/san
SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
endif

# WERROR=1: warnings are errors, as in `make test`.
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
        -Wvla -Wformat=2 -Wundef $(if $(WERROR),-Werror)

PKGS_BUILD := gcc make pkg-config libluajit-5.1-dev luajit libev-dev libmd-dev
PKGS_TEST  := clang cppcheck lua-check lua-busted libcmocka-dev libclang-rt-14-dev jq tmux python3 gdb strace
PKGS_BENCH := forkstat extrace bpftrace linux-perf

LUA_CFLAGS = $(shell pkg-config --cflags luajit 2>/dev/null || echo -I/usr/include/luajit-2.1)
LUA_LIBS   = $(shell pkg-config --libs luajit 2>/dev/null || echo -lluajit-5.1)

CPPFLAGS += -Isrc $(LUA_CFLAGS) -D_GNU_SOURCE -DMOONWATCH_VERSION='"$(VERSION)"'
LDLIBS    = $(LUA_LIBS) -lev -lmd -lm -lpthread -ldl

# --- what is built --------------------------------------------------------------------

LIB_SRC := $(sort $(filter-out src/cli/%,$(wildcard src/*/*.c src/host/api/*.c)))
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

$(BUILD)/libmoonwatch.so: $(LIB_OBJ) $(LUA_OBJ)
	$(CC) -shared $(SANFLAGS) $(LDFLAGS) -Wl,-soname,libmoonwatch.so.0 -o $@ $^ $(LDLIBS)

# -E: Lua modules written in C take lua_* from the program that loads them.
$(BUILD)/moonwatch: $(CLI_OBJ) $(BUILD)/libmoonwatch.a
	$(CC) $(SANFLAGS) $(LDFLAGS) -Wl,-E -o $@ $(CLI_OBJ) $(BUILD)/libmoonwatch.a $(LDLIBS)

$(BUILD)/moonwatch.pc: Makefile
	@mkdir -p $(@D)
	printf '%s\n' 'prefix=$(PREFIX)' 'Name: moonwatch' \
	  'Description: watch every process, decide in Lua what matters' 'Version: $(VERSION)' \
	  'Requires: luajit' 'Cflags: -I$${prefix}/include' \
	  'Libs: -L$${prefix}/lib -lmoonwatch' 'Libs.private: -lev -lmd -lm -lpthread -ldl' > $@

-include $(LIB_OBJ:.o=.d) $(CLI_OBJ:.o=.d)
