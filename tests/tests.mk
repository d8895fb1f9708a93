# SPDX-License-Identifier: MIT
# Test programs. Every tests/unit/*.c, tests/steer/*.c is one cmocka program linked with the static
# library; tests/support/*.c are helpers for the netns scripts (plain sockets, without the library);
# tests/bench/*.c measure. A *.bpf.c beside them becomes an object, in bench/ a skeleton too.

UNIT_SRC  := $(filter-out $(if $(filter 0,$(XDP)),tests/unit/test_xdp_%),$(wildcard tests/unit/*.c))
STEER_SRC := $(if $(filter 0,$(XDP)),,$(wildcard tests/steer/*.c))
TOOL_SRC  := $(filter-out %.bpf.c,$(wildcard tests/support/*.c) \
	     $(if $(filter 0,$(XDP)),,$(wildcard tests/bench/*.c)))
BPF_SRC	  := $(if $(filter 0,$(XDP)),,$(wildcard tests/support/*.bpf.c tests/bench/*.bpf.c))
TEST_BIN  := $(UNIT_SRC:%.c=$(B)/%) $(STEER_SRC:%.c=$(B)/%)
TOOL_BIN  := $(TOOL_SRC:%.c=$(B)/%)
TEST_BPF  := $(BPF_SRC:%.c=$(B)/%.o)
TEST_SKEL := $(patsubst tests/bench/%.bpf.c,$(B)/gen/bench/%.skel.h,$(filter tests/bench/%,$(BPF_SRC)))

.PHONY: tests test-list bench
tests: all $(TEST_BIN) $(TOOL_BIN) $(TEST_BPF) ## build the test programs

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

$(TOOL_BIN): $(B)/%: $(B)/%.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(if $(filter tests/bench/%,$*),$(LIB_LIBS))

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

test-list: # for scripts/check: the cmocka programs of this build
	@printf '%s\n' $(TEST_BIN)

bench: all tests ## measure receiving on both paths, side by side, over a veth
	@B=$(B) tests/bench/rx.sh
