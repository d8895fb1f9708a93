/* SPDX-License-Identifier: MIT */
/* Address translation by the real kernel's nftables (net/nat.c), in a namespace of its own. */
#include "unit.h"

#include "net/nat.h"

#define PORT 4000

static struct nat_view view;

static void nft(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void nft(const char *format, ...)
{
	char command[512] = "nft '";
	va_list args;

	va_start(args, format);
	vsnprintf(command + 5, sizeof(command) - 7, format, args);
	va_end(args);
	strcat(command, "'");
	shell(command);
}

static int setup(void **state)
{
	(void)state;
	memset(&view, 0, sizeof(view));
	return netns_enter() ? 0 : -1;
}

static void assert_kind(enum nat_kind kind, const char *text)
{
	assert_int_equal(nat_look(PORT, &view), 0);
	if (view.kind != kind || strcmp(view.text, text))
		fail_msg("kind %d, \"%s\", and not %d, \"%s\"", view.kind, view.text, kind, text);
}

static void test_none(void **state)
{
	(void)state;
	assert_kind(NAT_NONE, "");
	nft("add table inet filter");
	nft("add chain inet filter input { type filter hook input priority 0; }");
	nft("add rule inet filter input udp dport %u accept", PORT);
	nft("add table ip nat");
	nft("add chain ip nat PREROUTING { type nat hook prerouting priority dstnat; }");
	nft("add chain ip nat OUTPUT { type nat hook output priority -100; }");
	nft("add rule ip nat PREROUTING udp dport %u counter accept", PORT);
	nft("add rule ip nat OUTPUT udp dport %u dnat to 192.0.2.2", PORT);
	assert_kind(NAT_NONE, "");
}

/* Rules of a prerouting chain, what they are in text, and whether they may match. */
static const struct {
	const char *family, *rule, *verb;
	enum nat_kind kind;
} rules[] = {
	{ "ip", "udp dport 4000 dnat to 192.0.2.2", "dnat", NAT_PORT },
	{ "ip", "udp dport 4001 dnat to 192.0.2.2", "", NAT_NONE },
	{ "ip", "tcp dport 4000 dnat to 192.0.2.2", "", NAT_NONE },
	{ "ip", "ip protocol tcp dnat to 192.0.2.2", "", NAT_NONE },
	{ "ip", "ip protocol udp dnat to 192.0.2.2", "dnat", NAT_PORT },
	{ "ip", "meta l4proto != udp dnat to 192.0.2.2", "", NAT_NONE },
	{ "ip", "meta l4proto { tcp, udp } dnat to 192.0.2.2", "dnat", NAT_PORT },
	{ "ip", "udp dport { 53, 4000 } dnat to 192.0.2.2", "dnat", NAT_PORT },
	{ "ip", "udp dport 3999-4000 dnat to 192.0.2.2:53", "dnat", NAT_PORT },
	{ "ip", "udp dport 4000-5000 dnat to 192.0.2.2:53", "dnat", NAT_PORT },
	{ "ip", "udp dport 1-3999 dnat to 192.0.2.2", "", NAT_NONE },
	{ "ip", "udp dport 4001-65535 dnat to 192.0.2.2", "", NAT_NONE },
	{ "ip", "udp dport != 3999-4001 dnat to 192.0.2.2", "", NAT_NONE },
	{ "ip", "udp dport != 4001-4002 dnat to 192.0.2.2", "dnat", NAT_PORT },
	{ "ip", "udp dport < 4000 dnat to 192.0.2.2", "", NAT_NONE },
	{ "ip", "udp dport >= 4000 dnat to 192.0.2.2", "dnat", NAT_PORT },
	{ "ip", "udp dport != 4000 dnat to 192.0.2.2", "", NAT_NONE },
	{ "ip", "udp dport != 53 dnat to 192.0.2.2", "dnat", NAT_PORT },
	{ "ip", "th dport 4000 dnat to 192.0.2.2", "dnat", NAT_PORT },
	{ "ip", "udp sport 4001 dnat to 192.0.2.2", "dnat", NAT_PORT },
	{ "ip", "udp sport 9 udp dport 4001 dnat to 192.0.2.2", "dnat", NAT_PORT },
	{ "ip", "ip daddr 192.0.2.1 iifname \"lo\" udp dport 4001 dnat to 192.0.2.2", "",
	  NAT_NONE },
	{ "ip", "udp dport 4001 ct mark 7 counter dnat to 192.0.2.2", "", NAT_NONE },
	{ "ip", "iifname \"eth0\" ip daddr 192.0.2.1 dnat to 192.0.2.2", "dnat", NAT_PORT },
	{ "ip", "dnat to udp dport map { 4000 : 192.0.2.2 }", "dnat", NAT_PORT },
	{ "ip", "udp dport 4000 redirect to :53", "redirect", NAT_PORT },
	{ "ip", "udp dport 53 redirect to :4000", "", NAT_NONE },
	{ "ip6", "udp dport 4000 dnat to 2001:db8::2", "dnat", NAT_PORT },
	{ "ip6", "ip6 nexthdr tcp dnat to 2001:db8::2", "", NAT_NONE },
	{ "ip6", "udp dport 4000 redirect", "redirect", NAT_PORT },
	{ "ip6", "udp dport 4001 redirect", "", NAT_NONE },
	{ "inet", "udp dport 4000 dnat ip to 192.0.2.2", "dnat", NAT_PORT },
	{ "inet", "meta nfproto ipv6 udp dport 4000 redirect to :53", "redirect", NAT_PORT },
	{ "inet", "meta nfproto ipv6 udp dport 4001 redirect to :53", "", NAT_NONE },
};

static void test_prerouting(void **state)
{
	char text[120];
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(rules); i++) {
		nft("add table %s t", rules[i].family);
		nft("add chain %s t pre { type nat hook prerouting priority dstnat; }",
		    rules[i].family);
		nft("add rule %s t pre %s", rules[i].family, rules[i].rule);
		snprintf(text, sizeof(text), "nft: %s of UDP port 4000 in %s t pre", rules[i].verb,
			 rules[i].family);
		print_message("# %s\n", rules[i].rule);
		assert_kind(rules[i].kind, rules[i].kind ? text : "");
		nft("delete table %s t", rules[i].family);
	}
	assert_kind(NAT_NONE, "");
}

/* As container engines write them: in chains that are jumped to. */
static void test_jump(void **state)
{
	(void)state;
	nft("add table ip nat");
	nft("add chain ip nat PREROUTING { type nat hook prerouting priority dstnat; }");
	nft("add chain ip nat PUBLISHED");
	nft("add rule ip nat PREROUTING fib daddr type local jump PUBLISHED");
	nft("add rule ip nat PUBLISHED iifname != \"docker0\" udp dport 53 dnat to 192.0.2.2:53");
	assert_kind(NAT_NONE, "");
	nft("add rule ip nat PUBLISHED iifname != \"docker0\" udp dport 4000 dnat to 192.0.2.2:53");
	assert_kind(NAT_PORT, "nft: dnat of UDP port 4000 in ip nat PUBLISHED");
	/* A chain in a table that has nothing to do with it. */
	nft("delete table ip nat");
	nft("add table ip nat");
	nft("add chain ip nat OUTPUT { type nat hook output priority -100; }");
	nft("add chain ip nat PUBLISHED");
	nft("add rule ip nat PUBLISHED udp dport 4000 dnat to 192.0.2.2:53");
	nft("add table ip other");
	nft("add chain ip other PUBLISHED { type nat hook prerouting priority dstnat; }");
	nft("add table ip6 nat");
	nft("add chain ip6 nat pre { type nat hook prerouting priority dstnat; }");
	assert_kind(NAT_NONE, "");
}

static void test_tproxy(void **state)
{
	(void)state;
	nft("add table inet t");
	nft("add chain inet t divert { type filter hook prerouting priority mangle; }");
	nft("add rule inet t divert udp dport 53 tproxy ip to :5353");
	assert_kind(NAT_NONE, "");
	nft("add rule inet t divert meta l4proto udp tproxy ip to :5353");
	assert_kind(NAT_PORT, "nft: tproxy of UDP port 4000 in inet t divert");
}

#define SOURCE(verb, where) \
	"nft: " verb " in " where ": replies to flows that use port 4000 are taken"

static void test_source(void **state)
{
	(void)state;
	nft("add table ip nat");
	nft("add chain ip nat POSTROUTING { type nat hook postrouting priority srcnat; }");
	nft("add rule ip nat POSTROUTING ip protocol tcp masquerade");
	assert_kind(NAT_NONE, "");
	nft("add rule ip nat POSTROUTING oifname \"eth0\" udp dport 53 masquerade");
	assert_kind(NAT_SOURCE, SOURCE("masquerade", "ip nat POSTROUTING"));
	nft("flush chain ip nat POSTROUTING");
	assert_kind(NAT_NONE, "");
	nft("add rule ip nat POSTROUTING snat to 192.0.2.9");
	assert_kind(NAT_SOURCE, SOURCE("snat", "ip nat POSTROUTING"));
	nft("add table ip6 six");
	nft("add chain ip6 six post { type nat hook postrouting priority srcnat; }");
	nft("add rule ip6 six post masquerade");
	/* The port itself counts for more, wherever it stands. */
	nft("add table inet zz");
	nft("add chain inet zz pre { type nat hook prerouting priority dstnat; }");
	nft("add rule inet zz pre udp dport 4000 redirect to :53");
	assert_kind(NAT_PORT, "nft: redirect of UDP port 4000 in inet zz pre");
	nft("flush ruleset");
	/* Whom datagrams to the port seem to come from. */
	nft("add table ip nat");
	nft("add chain ip nat INPUT { type nat hook input priority 100; }");
	nft("add rule ip nat INPUT udp dport 53 snat to 192.0.2.9");
	assert_kind(NAT_NONE, "");
	nft("add rule ip nat INPUT udp dport 4000 snat to 192.0.2.9");
	assert_kind(NAT_PORT, "nft: snat of UDP port 4000 in ip nat INPUT");
}

/* With the same rules and port the view stays; with another of either it does not. */
static void test_generation(void **state)
{
	uint32_t generation;

	(void)state;
	nft("add table ip nat");
	nft("add chain ip nat PREROUTING { type nat hook prerouting priority dstnat; }");
	nft("add rule ip nat PREROUTING udp dport 4000 redirect to :53");
	assert_int_equal(nat_look(PORT, &view), 0);
	assert_int_equal(view.kind, NAT_PORT);
	generation = view.generation;
	assert_int_not_equal(generation, 0);
	strcpy(view.text, "untouched");
	assert_int_equal(nat_look(PORT, &view), 0);
	assert_string_equal(view.text, "untouched");
	assert_int_equal(nat_look(PORT + 1, &view), 0);
	assert_int_equal(view.kind, NAT_NONE);
	assert_int_equal(view.port, PORT + 1);
	assert_int_equal(nat_look(PORT, &view), 0);
	assert_int_equal(view.kind, NAT_PORT);
	nft("flush chain ip nat PREROUTING");
	assert_kind(NAT_NONE, "");
	assert_int_not_equal(view.generation, generation);
}

/* More rules than go into one message, and names as long as they get. */
static void test_many(void **state)
{
	char name[129];
	FILE *f;
	int i;

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	f = popen("nft -f -", "w");
	assert_non_null(f);
	fprintf(f, "table ip %s { chain pre { type nat hook prerouting priority 0;\n", name);
	for (i = 0; i < 3000; i++)
		fprintf(f, "udp dport %d counter dnat to 192.0.2.2\n", i + 1);
	fprintf(f, "}\n}\n");
	assert_int_equal(pclose(f), 0);
	assert_kind(NAT_NONE, "");
	nft("add rule ip %s pre udp dport 4000 dnat to 192.0.2.2", name);
	assert_kind(NAT_PORT, "nft: dnat of UDP port 4000 in ip nnnnnnnnnnnnnnnnnnnn pre");
}

/* Nobody who may not look is told that there is nothing. */
static void test_no_right(void **state)
{
	(void)state;
	assert_int_equal(seteuid(65534), 0);
	assert_int_equal(nat_look(PORT, &view), 0);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(view.kind, NAT_UNSEEN);
	assert_string_equal(view.text, "nft: no right to look for address translation");
	/* With the right it is seen. */
	assert_kind(NAT_NONE, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, netns_leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_none),   TEST(test_prerouting), TEST(test_jump), TEST(test_tproxy),
		TEST(test_source), TEST(test_generation), TEST(test_many), TEST(test_no_right),
	};

	if (geteuid() != 0 || !netns_enter() || netns_leave(NULL) != 0) {
		printf("skipped: making a network namespace needs root\n");
		return 77;
	}
	if (system("nft --version >/dev/null 2>&1") != 0) {
		printf("skipped: there is no nft here\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
