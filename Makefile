# SPDX-License-Identifier: MIT
# millrace: `make help` lists the targets.

VERSION	  := 0.1.0
SOVERSION := 0
PREFIX	  ?= /usr/local
DESTDIR	  ?=
XDP	  ?= 1
SAN	  ?=
B	  ?= build$(if $(filter 0,$(XDP)),-noxdp)$(if $(SAN),-asan)

CC	  ?= gcc
CLANG	  ?= clang
BPFTOOL	  := $(firstword $(wildcard /usr/sbin/bpftool /sbin/bpftool) bpftool)
PKGCONFIG ?= pkg-config

# V=1 shows the commands.
Q	  := $(if $(V),,@)
say	  = $(if $(V),,@printf '  %-8s %s\n' $(1) $(2))

# ------------------------------------------------------------------ flags
WARN	  := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
PKGS	  := libmnl $(if $(filter 0,$(XDP)),,libbpf libxdp)
CFLAGS	  ?= -O2 -g
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE $(WARN) $(WERROR) -fPIC -fvisibility=hidden -pthread -MMD -MP \
	     -Iinclude -Iuser/lib -isystem $(B)/gen $(CFLAGS) $(SANFLAGS)
ALL_LDFLAGS = -pthread $(LDFLAGS) $(SANFLAGS)
ifneq ($(SAN),)
SANFLAGS  := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
endif
ARCH_INC  := $(shell $(CC) -print-multiarch 2>/dev/null)
BPF_CFLAGS := -O2 -g -target bpf -Wall -Wextra -Werror -Iinclude -I/usr/include/$(ARCH_INC)

# ------------------------------------------------------------------ sources
LIB_SRC	  := $(wildcard user/lib/*.c user/lib/base/*.c user/lib/sock/*.c user/lib/net/*.c)
ifeq ($(XDP),0)
LIB_SRC	  += user/lib/xdp/none.c user/lib/xdp/umem.c user/lib/xdp/frame.c
else
LIB_SRC	  += $(filter-out user/lib/xdp/none.c,$(wildcard user/lib/xdp/*.c))
GEN	  := $(B)/gen/steer.skel.h $(B)/gen/steer_bound.skel.h
endif
CLI_SRC	  := $(wildcard user/cli/*.c)
LIB_OBJ	  := $(LIB_SRC:%.c=$(B)/%.o)
CLI_OBJ	  := $(CLI_SRC:%.c=$(B)/%.o)
LIB_LIBS   = $(shell $(PKGCONFIG) --libs $(PKGS))

SONAME	  := libmillrace.so.$(SOVERSION)
SHARED	  := $(B)/libmillrace.so.$(VERSION)
STATIC	  := $(B)/libmillrace.a

.PHONY: all lib check demo bench deps asan tests clean install uninstall help
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

all: lib $(if $(CLI_SRC),$(B)/millrace) ## build library and command (XDP=0: without the fast path)
lib: $(STATIC) $(SHARED)

$(STATIC): $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(SHARED): $(LIB_OBJ) user/lib/millrace.map
	$(call say,LINK,$@)
	$(Q)$(CC) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=user/lib/millrace.map \
		-Wl,--no-undefined $(ALL_LDFLAGS) -o $@ $(LIB_OBJ) $(LIB_LIBS)
	$(Q)ln -sf $(notdir $@) $(B)/$(SONAME) && ln -sf $(SONAME) $(B)/libmillrace.so

$(B)/millrace: $(CLI_OBJ) $(STATIC)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIB_LIBS) $(shell $(PKGCONFIG) --libs json-c)

$(B)/%.o: %.c $(GEN)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/user/cli/%.o: ALL_CFLAGS += $(shell $(PKGCONFIG) --cflags json-c)

$(B)/bpf/%.bpf.o: bpf/%.bpf.c $(wildcard include/shared/*.h)
	@mkdir -p $(@D)
	$(call say,BPF,$<)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<

# The same program in the form that is loaded for one device.
$(B)/bpf/steer_bound.bpf.o: bpf/steer.bpf.c $(wildcard include/shared/*.h)
	@mkdir -p $(@D)
	$(call say,BPF,$@)
	$(Q)$(CLANG) $(BPF_CFLAGS) -DSTEER_BOUND -c -o $@ $<

$(B)/gen/%.skel.h: $(B)/bpf/%.bpf.o
	@mkdir -p $(@D)
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $* > $@

include tests/tests.mk

# ------------------------------------------------------------------ main jobs
deps: ## install what building and testing need (Debian, as root)
	@scripts/deps

demo: ## install what is missing, build, show the relay on both paths, clean up
	@scripts/deps
	@$(MAKE) --no-print-directory all
	@B=$(B) scripts/demo

check: ## install what is missing and run every test
	@scripts/deps
	@scripts/check

asan: ## build with AddressSanitizer and UBSan into build-asan
	@$(MAKE) --no-print-directory SAN=1 CFLAGS="-O1 -g" all

# ------------------------------------------------------------------ install
install: all ## install into PREFIX (/usr/local), below DESTDIR
	PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" B="$(B)" XDP="$(XDP)" VERSION="$(VERSION)" \
		SOVERSION="$(SOVERSION)" scripts/install

uninstall: ## remove what install put there
	PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" scripts/install --remove

clean: ## remove everything built
	rm -rf build build-asan build-noxdp build-noxdp-asan build-fuzz

help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

-include $(shell find $(B) -name '*.d' 2>/dev/null)
