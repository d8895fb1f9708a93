/* SPDX-License-Identifier: MIT */
#include "inbox.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

int inbox_init(struct inbox *b)
{
	memset(b, 0, sizeof(*b));
	b->bytes = mmap(NULL, (size_t)INBOX_SLOTS * INBOX_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (b->bytes == MAP_FAILED)
		return -ENOMEM;
	b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->fd < 0) {
		munmap(b->bytes, (size_t)INBOX_SLOTS * INBOX_BYTES);
		return -errno;
	}
	pthread_mutex_init(&b->lock, NULL);
	return 0;
}

void inbox_fini(struct inbox *b)
{
	munmap(b->bytes, (size_t)INBOX_SLOTS * INBOX_BYTES);
	close(b->fd);
	pthread_mutex_destroy(&b->lock);
}

bool inbox_put(struct inbox *b, const struct mr_datagram *d)
{
	struct mr_datagram *slot;
	unsigned at, before;

	pthread_mutex_lock(&b->lock);
	before = b->count;
	if (before < INBOX_SLOTS && d->len <= INBOX_BYTES) {
		at = (b->head + before) % INBOX_SLOTS;
		slot = &b->slots[at];
		*slot = *d;
		slot->data = b->bytes + (size_t)at * INBOX_BYTES;
		slot->cookie = 0; /* our memory, not a frame of the library's */
		memcpy(slot->data, d->data, d->len);
		__atomic_store_n(&b->count, before + 1, __ATOMIC_RELAXED);
		if (!before)
			eventfd_write(b->fd, 1);
	}
	pthread_mutex_unlock(&b->lock);
	return before < INBOX_SLOTS && d->len <= INBOX_BYTES;
}

unsigned inbox_look(struct inbox *b, struct mr_datagram *d, unsigned max)
{
	unsigned n;

	/* Asked after every batch, so without the lock; fd makes good what this may miss. */
	if (!__atomic_load_n(&b->count, __ATOMIC_RELAXED))
		return 0;
	pthread_mutex_lock(&b->lock);
	n = b->count < max ? b->count : max;
	for (unsigned i = 0; i < n; i++)
		d[i] = b->slots[(b->head + i) % INBOX_SLOTS];
	pthread_mutex_unlock(&b->lock);
	return n;
}

void inbox_drop(struct inbox *b, unsigned n)
{
	eventfd_t value;

	pthread_mutex_lock(&b->lock);
	b->head = (b->head + n) % INBOX_SLOTS;
	__atomic_store_n(&b->count, b->count - n, __ATOMIC_RELAXED);
	if (!b->count)
		eventfd_read(b->fd, &value);
	pthread_mutex_unlock(&b->lock);
}
