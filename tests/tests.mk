# SPDX-License-Identifier: MIT
# Test programs. Every tests/unit/*.c, tests/steer/*.c is one cmocka program linked with the static
# library; tests/fuzz/*.c are fuzz targets, linked with replay.c that feeds them their corpus;
# tests/support/*.c are helpers for the netns scripts (plain sockets, without the library);
# tests/bench/*.c measure; tests/differential/*.c are one program. A *.bpf.c beside them becomes an
# object, in bench/ a skeleton too.

UNIT_SRC  := $(filter-out $(if $(filter 0,$(XDP)),tests/unit/test_xdp_%),$(wildcard tests/unit/*.c))
STEER_SRC := $(if $(filter 0,$(XDP)),,$(wildcard tests/steer/*.c))
TOOL_SRC  := $(filter-out %.bpf.c,$(wildcard tests/support/*.c) \
	     $(if $(filter 0,$(XDP)),,$(wildcard tests/bench/*.c)))
BPF_SRC	  := $(if $(filter 0,$(XDP)),,$(wildcard tests/support/*.bpf.c tests/bench/*.bpf.c \
	     tests/differential/*.bpf.c))
FUZZ_SRC  := $(filter-out %/replay.c,$(wildcard tests/fuzz/*.c))
DIFF_OBJ  := $(if $(filter 0,$(XDP)),,$(patsubst %.c,$(B)/%.o, \
	     $(filter-out %.bpf.c,$(wildcard tests/differential/*.c))))
DIFF_BIN  := $(if $(DIFF_OBJ),$(B)/tests/differential/differential)
TEST_BIN  := $(UNIT_SRC:%.c=$(B)/%) $(STEER_SRC:%.c=$(B)/%)
FUZZ_BIN  := $(FUZZ_SRC:%.c=$(B)/%)
TOOL_BIN  := $(TOOL_SRC:%.c=$(B)/%)
TEST_BPF  := $(BPF_SRC:%.c=$(B)/%.o)
TEST_SKEL := $(patsubst tests/bench/%.bpf.c,$(B)/gen/bench/%.skel.h,$(filter tests/bench/%,$(BPF_SRC)))

.PHONY: tests test-list bench differential fuzz planted
tests: all $(TEST_BIN) $(FUZZ_BIN) $(TOOL_BIN) $(DIFF_BIN) $(TEST_BPF) ## build the test programs

$(TEST_BIN): $(B)/%: $(B)/%.o $(STATIC)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $(WRAPS) -o $@ $^ $(LIB_LIBS) -lcmocka

# Calls that a test stands in for, to make them fail.
$(B)/tests/unit/test_sock_recv: WRAPS = -Wl,--wrap=recvmmsg,--wrap=mmap
$(patsubst %,$(B)/tests/unit/test_sock_%,send gso errors stale): \
	WRAPS = -Wl,--wrap=sendmmsg,--wrap=socket,--wrap=bind
$(patsubst %,$(B)/tests/unit/test_%,bind read readers write ports fwmark stats): \
	WRAPS = -Wl,--wrap=socket,--wrap=bind,--wrap=setsockopt,--wrap=epoll_create1 \
	-Wl,--wrap=epoll_ctl,--wrap=eventfd,--wrap=mmap,--wrap=getsockname
$(B)/tests/steer/test_live: WRAPS = -Wl,--wrap=getsockopt

# Fuzzed is what is pure. LIBFUZZER=1 is for the recursive call of `make fuzz` alone.
PURE_OBJ  := $(patsubst %,$(B)/user/lib/%.o,endpoint sock/cmsg net/event net/table xdp/frame)
$(FUZZ_BIN): $(B)/%: $(B)/%.o $(if $(LIBFUZZER),,$(B)/tests/fuzz/replay.o) $(PURE_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $(if $(LIBFUZZER),-fsanitize=fuzzer) -o $@ $^ $(LIB_LIBS)

$(TOOL_BIN): $(B)/%: $(B)/%.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(if $(filter tests/bench/%,$*),$(LIB_LIBS))

$(filter $(B)/tests/bench/%,$(TOOL_BIN)): $(STATIC)

$(DIFF_BIN): $(DIFF_OBJ) $(STATIC)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIB_LIBS)

$(TEST_BPF): $(B)/%.bpf.o: %.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF,$<)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c -o $@ $<

$(TEST_SKEL): $(B)/gen/%.skel.h: $(B)/tests/%.bpf.o
	@mkdir -p $(@D)
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $(notdir $*) > $@

$(patsubst %,%.o,$(filter $(B)/tests/bench/%,$(TOOL_BIN))): $(TEST_SKEL)

# The object is installed and tested by itself: not an intermediate file.
.SECONDARY: $(B)/bpf/steer.bpf.o $(GEN)

test-list: # for scripts/check: the programs of this build that run by themselves
	@printf '%s\n' $(TEST_BIN) $(FUZZ_BIN)

FUZZ_B	  := $(B)-fuzz
FUZZ_SAN  := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
fuzz: $(if $(T),$(B)/tests/fuzz/$(T)) ## fuzz one target: make fuzz T=wire S=60 (no T: list them)
ifeq ($(T),)
	@printf 'make fuzz T=%s S=60\n' $(notdir $(FUZZ_BIN))
else
	@$(MAKE) --no-print-directory B=$(FUZZ_B) XDP=0 CC=$(CLANG) CFLAGS="-O1 -g" LIBFUZZER=1 \
		SANFLAGS="-fsanitize=fuzzer-no-link $(FUZZ_SAN)" $(FUZZ_B)/tests/fuzz/$(T)
	@tests/fuzz/run.sh $(T) $(B) $(FUZZ_B) $(or $(S),60)
endif

planted: ## plant a dozen bugs in a copy, one at a time, and see the tests turn red
	@tests/planted.sh

bench: all tests ## measure checksum, steering and receiving, each beside what it is held against
	@$(B)/tests/bench/sum
	@$(B)/tests/bench/steer
	@B=$(B) tests/bench/rx.sh

N	  ?= 200000
SEED	  ?= 1
differential: all $(DIFF_BIN) $(TEST_BPF) ## compare the paths frame by frame (N=2000000 SEED=7)
	@$(if $(DIFF_BIN),$(DIFF_BIN) -n $(N) -s $(SEED),echo "nothing to compare without XDP")
