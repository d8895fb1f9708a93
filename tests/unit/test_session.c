/* SPDX-License-Identifier: MIT */
/* The relay's session table (user/cli/session.c) against a naive model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <millrace.h>

/* The command is not a library: its code is compiled in, with a hash that can be made bad. */
static bool all_collide;

static uint64_t hash(const struct mr_endpoint *e, uint64_t seed)
{
	return all_collide ? seed : mr_endpoint_hash(e, seed);
}
#define mr_endpoint_hash hash
#include "../../user/cli/session.c"

#define IDLE_MS 3000u

/* Endpoint number n: of either family, and every other one differs by its local address only. */
static struct mr_endpoint client(unsigned n)
{
	struct mr_endpoint e = { .family = AF_INET, .port_be = htons((uint16_t)(n / 4)) };

	e.ifindex = 1 + n % 3;
	if (n & 1) {
		e.family = AF_INET6;
		e.remote.bytes[15] = 1;
		e.local.bytes[15] = n & 2 ? 2 : 3;
	} else {
		e.remote.bytes[3] = 1;
		e.local.bytes[3] = n & 2 ? 2 : 3;
	}
	return e;
}

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	/* splitmix64: the same numbers on every machine. */
	uint64_t z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (uint32_t)((z ^ (z >> 31)) % n);
}

/* ---------------------------------------------------------------- the model */

#define CLIENTS	 400u
#define SESSIONS 150u
#define LISTS	 3u

struct model {
	struct session_table table;
	struct session_list lists[LISTS];
	struct {
		bool there;
		unsigned list;
		uint32_t active_ms;
	} client[CLIENTS];
	unsigned count;
	unsigned peak;
	uint32_t now_ms;
};

static void model_init(struct model *m, uint32_t now_ms)
{
	memset(m, 0, sizeof(*m));
	m->now_ms = now_ms;
	assert_int_equal(session_table_init(&m->table, SESSIONS, 4711), 0);
	for (unsigned i = 0; i < LISTS; i++)
		m->lists[i] = (struct session_list)SESSION_LIST_INIT;
}

/* Every list holds what the model says, in order, with links that agree in both directions. */
static void model_check(const struct model *m)
{
	unsigned total = 0;

	for (unsigned i = 0; i < LISTS; i++) {
		uint32_t before = SESSION_NONE, at = m->lists[i].oldest;

		for (; at != SESSION_NONE; before = at, at = m->table.all[at].newer) {
			const struct session *s = &m->table.all[at];
			uint32_t age = m->now_ms - s->active_ms;

			assert_int_equal(s->reader, i);
			assert_int_equal(s->older, before);
			if (before != SESSION_NONE)
				assert_true(age <= m->now_ms - m->table.all[before].active_ms);
			assert_in_range(++total, 1, m->count);
		}
		assert_int_equal(m->lists[i].newest, before);
	}
	assert_int_equal(total, m->count);
	assert_int_equal(m->table.count, m->count);
	assert_int_equal(m->table.peak, m->peak);
}

static struct session *model_find(const struct model *m, unsigned n)
{
	struct mr_endpoint e = client(n);
	struct session *s;

	e.ifindex = 99; /* does not count */
	s = session_find(&m->table, &e);
	if (!m->client[n].there) {
		assert_null(s);
		return NULL;
	}
	assert_non_null(s);
	assert_int_equal(s->port, n + 1);
	assert_int_equal(s->reader, m->client[n].list);
	assert_int_equal(s->active_ms, m->client[n].active_ms);
	return s;
}

static void model_add(struct model *m, unsigned n)
{
	unsigned list = random_below(LISTS);
	struct mr_endpoint e = client(n);
	struct session *s = session_add(&m->table, &m->lists[list], &e, m->now_ms);

	if (m->count == SESSIONS) {
		assert_null(s);
		return;
	}
	assert_non_null(s);
	assert_int_equal(s->port, 0);
	assert_false(s->source_gone);
	s->port = (uint16_t)(n + 1);
	s->reader = (uint8_t)list;
	s->source_gone = true; /* must not survive into the next session in its place */
	m->client[n].there = true;
	m->client[n].list = list;
	m->client[n].active_ms = m->now_ms;
	if (++m->count > m->peak)
		m->peak = m->count;
}

static void model_remove(struct model *m, struct session *s)
{
	unsigned n = s->port - 1u;

	session_remove(&m->table, &m->lists[s->reader], s);
	m->client[n].there = false;
	m->count--;
}

static void model_touch(struct model *m, unsigned n, struct session *s)
{
	session_touch(&m->table, &m->lists[s->reader], s, m->now_ms);
	if (m->now_ms - m->client[n].active_ms >= SESSION_TICK_MS)
		m->client[n].active_ms = m->now_ms;
}

static void model_expire(struct model *m)
{
	for (unsigned i = 0; i < LISTS; i++) {
		struct session *s;

		while ((s = session_expired(&m->table, &m->lists[i], m->now_ms, IDLE_MS))) {
			assert_true(m->now_ms - m->client[s->port - 1].active_ms >= IDLE_MS);
			model_remove(m, s);
		}
	}
	for (unsigned n = 0; n < CLIENTS; n++) {
		if (m->client[n].there)
			assert_true(m->now_ms - m->client[n].active_ms < IDLE_MS + SESSION_TICK_MS);
	}
}

static void run_model(unsigned steps)
{
	unsigned full = 0;
	struct model m;

	random_state = 20260801;
	/* The 32-bit clock wraps around while the test runs. */
	model_init(&m, UINT32_MAX - 20000);
	for (unsigned i = 0; i < steps; i++) {
		unsigned n = random_below(CLIENTS), what = random_below(16);
		struct session *s = model_find(&m, n);

		m.now_ms += random_below(30);
		if (!s) {
			full += m.count == SESSIONS;
			model_add(&m, n);
		} else if (what < 2) {
			model_remove(&m, s);
		} else {
			model_touch(&m, n, s);
		}
		if (!random_below(20))
			model_expire(&m);
		model_check(&m);
	}
	/* The run is worth its name only if it met the edges. */
	assert_int_equal(m.peak, SESSIONS);
	assert_true(full > 100);
	session_table_fini(&m.table);
}

static void test_random(void **state)
{
	(void)state;
	all_collide = false;
	run_model(30000);
}

static void test_random_collisions(void **state)
{
	(void)state;
	all_collide = true;
	run_model(10000);
	all_collide = false;
}

/* ---------------------------------------------------------------- single properties */

static void test_expiry_order(void **state)
{
	struct session_list list = SESSION_LIST_INIT;
	struct session_table t;
	struct session *s[4];

	(void)state;
	session_table_init(&t, 4, 1);
	assert_null(session_expired(&t, &list, 123456, IDLE_MS));
	for (unsigned i = 0; i < 4; i++) {
		struct mr_endpoint e = client(i);

		s[i] = session_add(&t, &list, &e, 1000 * i);
	}
	session_touch(&t, &list, s[0], 4000);	   /* now the newest */
	session_touch(&t, &list, s[1], 1000 + 99); /* too soon to count */
	assert_int_equal(s[1]->active_ms, 1000);
	/* Order: 1 (1000), 2 (2000), 3 (3000), 0 (4000). Never early. */
	assert_null(session_expired(&t, &list, 1000 + IDLE_MS, IDLE_MS));
	for (unsigned i = 1; i <= 4; i++) {
		uint32_t due = 1000 * i + IDLE_MS + SESSION_TICK_MS;

		assert_null(session_expired(&t, &list, due - 1, IDLE_MS));
		assert_ptr_equal(session_expired(&t, &list, due, IDLE_MS), s[i % 4]);
		session_remove(&t, &list, s[i % 4]);
	}
	assert_null(session_expired(&t, &list, UINT32_MAX / 2, IDLE_MS));
	assert_int_equal(list.oldest, SESSION_NONE);
	assert_int_equal(list.newest, SESSION_NONE);
	session_table_fini(&t);
}

static void test_full(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 3, 64, 65 };

	(void)state;
	for (unsigned k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		struct session_list list = SESSION_LIST_INIT;
		struct mr_endpoint e;
		struct session_table t;
		struct session *s = NULL;

		session_table_init(&t, sizes[k], 2);
		for (unsigned i = 0; i < sizes[k]; i++) {
			e = client(i);
			s = session_add(&t, &list, &e, i);
			assert_non_null(s);
			assert_int_equal(session_number(&t, s), i);
		}
		e = client(1000);
		assert_null(session_add(&t, &list, &e, 1000));
		assert_null(session_find(&t, &e)); /* nothing is half done */
		e = client(0);
		assert_non_null(session_find(&t, &e)); /* and nobody was evicted */
		session_remove(&t, &list, s);
		e = client(1000);
		assert_ptr_equal(session_add(&t, &list, &e, 1000), s);
		assert_ptr_equal(session_find(&t, &e), s);
		assert_int_equal(t.peak, sizes[k]);
		session_table_fini(&t);
	}
}

/* A client that writes to two of our addresses has two conversations. */
static void test_identity(void **state)
{
	struct mr_endpoint a = client(0), b = client(2);
	struct session_list list = SESSION_LIST_INIT;
	struct session_table t;
	struct session *s;

	(void)state;
	assert_int_equal(a.port_be, b.port_be);
	session_table_init(&t, 8, 3);
	s = session_add(&t, &list, &a, 0);
	assert_null(session_find(&t, &b));
	assert_ptr_not_equal(session_add(&t, &list, &b, 0), s);
	a.ifindex = 77;
	a.flowinfo_be = 77;
	assert_ptr_equal(session_find(&t, &a), s);
	session_table_fini(&t);
}

/* What 100,000 sessions may cost here; most of their 64 MiB is the library's and the kernel's. */
static void test_size(void **state)
{
	(void)state;
	assert_true(sizeof(struct session) <= 72);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),	     cmocka_unit_test(test_random_collisions),
		cmocka_unit_test(test_expiry_order), cmocka_unit_test(test_full),
		cmocka_unit_test(test_identity),     cmocka_unit_test(test_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
