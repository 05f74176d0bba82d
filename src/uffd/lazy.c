/* SPDX-License-Identifier: MIT */
/* lazy.c - see lazy.h: blocks and their pages. Handlers: lazy_handler.c. */
#include "lazy_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- bits ----------------------------------------------------------------------------------------- */

static bool test(const uint64_t *bits, unsigned int i)
{
	return bits[i / 64] >> (i % 64) & 1;
}

static void set(uint64_t *bits, unsigned int i)
{
	bits[i / 64] |= 1ull << (i % 64);
}

static bool missing(const struct lazy_block *b, unsigned int i)
{
	return !test(b->there, i) && !test(b->gone, i);
}

/* Takes pages [from, to) that are missing to be `bits`. */
static void settle(struct lazy_block *b, uint64_t *bits, unsigned int from, unsigned int to)
{
	for (unsigned int i = from; i < to; i++) {
		if (!missing(b, i))
			continue;
		set(bits, i);
		b->nr_missing--;
	}
}

/* --- the table ------------------------------------------------------------------------------------ */

static struct lazy_block **slot_of(struct lazy *z, const char *address)
{
	return &z->table[(uint64_t)(address - z->setup.base) / LAZY_BLOCK_BYTES];
}

struct lazy_block *lazy_find(struct lazy *z, const char *address)
{
	pthread_mutex_lock(&z->lock);
	struct lazy_block *b = *slot_of(z, address);
	if (b)
		b->refs++;
	pthread_mutex_unlock(&z->lock);
	return b;
}

void lazy_block_put(struct lazy *z, struct lazy_block *b)
{
	pthread_mutex_lock(&z->lock);
	bool last = !--b->refs;
	pthread_mutex_unlock(&z->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* Its lock is held, and the caller has a reference besides. Who waits in it finds zeroes where nothing came. */
static void disarm(struct lazy *z, struct lazy_block *b)
{
	if (!b->armed)
		return;
	b->armed = false;
	pthread_mutex_lock(&z->lock);
	*slot_of(z, b->at) = NULL;
	list_del(&b->node);
	z->nr_armed--;
	b->refs--;
	pthread_mutex_unlock(&z->lock);
	userfault_unregister(&z->door, b->at, LAZY_BLOCK_BYTES);
}

/* --- failing -------------------------------------------------------------------------------------- */

void lazy_fail(struct lazy_source *s, const char *cause)
{
	const char *none = NULL;

	atomic_compare_exchange_strong(&s->supply.cause, &none, cause);
	s->ops->failed(s);
}

/* One of a source's blocks, with a reference; NULL: there is none. */
static struct lazy_block *first_block(struct lazy_source *s)
{
	struct lazy *z = s->lazy;
	struct lazy_block *b = NULL;

	pthread_mutex_lock(&z->lock);
	if (!list_empty(&s->blocks)) {
		b = list_entry(s->blocks.next, struct lazy_block, node);
		b->refs++;
	}
	pthread_mutex_unlock(&z->lock);
	return b;
}

void lazy_disarm_all(struct lazy_source *s)
{
	struct lazy_block *b;

	while ((b = first_block(s))) {
		pthread_mutex_lock(&b->lock);
		disarm(s->lazy, b);
		pthread_mutex_unlock(&b->lock);
		lazy_block_put(s->lazy, b);
	}
}

/* --- filling: the block's lock is held -------------------------------------------------------------- */

static const char *words_of(int err)
{
	switch (err) {
	case -EBADMSG:
		return "a page of its image is not what was saved";
	case -ENOMEM:
		return "the machine has no memory for a page of its image";
	default:
		return "a page of its image cannot be read";
	}
}

static void fill_zero(struct lazy *z, struct lazy_block *b, unsigned int i)
{
	uint64_t done;

	settle(b, b->gone, i, i + 1);
	atomic_fetch_add(&z->zero_pages, 1);
	if (userfault_zeropage(&z->door, b->at + (uint64_t)i * PAGE_SIZE, PAGE_SIZE, &done))
		disarm(z, b);
}

/* Puts pages [from, from + nr) from the handler's buffer in place; a whole block is moved if the kernel can. 0 or -errno. */
static int put_in_place(struct lazy *z, struct lazy_block *b, char *buffer, unsigned int from,
			unsigned int nr)
{
	uint64_t bytes = (uint64_t)nr * PAGE_SIZE, done = 0, more = 0;
	char *to = b->at + (uint64_t)from * PAGE_SIZE;
	int err = -ENOTTY;

	if (nr == LAZY_BLOCK_PAGES && (z->door.features & UFFD_FEATURE_MOVE))
		err = userfault_move(&z->door, to, buffer, bytes, &done);
	while (err && done < bytes) { /* also what could not be moved */
		err = userfault_copy(&z->door, to + done, buffer + done, bytes - done, &more);
		done += more;
		if (err && err != -EAGAIN)
			break;
	}
	settle(b, b->there, from, from + (unsigned int)(done / PAGE_SIZE));
	atomic_fetch_add(&z->pages, done / PAGE_SIZE);
	return err;
}

/* Missing pages around i, at most those of the aligned window. */
static void find_window(const struct lazy_block *b, unsigned int i, unsigned int pages, unsigned int *from,
			unsigned int *to)
{
	unsigned int start = i & ~(pages - 1), end = start + pages;

	for (*from = i; *from > start && missing(b, *from - 1);)
		--*from;
	for (*to = i + 1; *to < end && missing(b, *to);)
		++*to;
}

static unsigned int window_pages(const struct lazy *z, const struct lazy_block *b)
{
	if (z->setup.window_pages)
		return z->setup.window_pages;
	if (b->nr_faults >= 2 || (!b->nr_faults && b->first == atomic_load(&b->source->hot)))
		return LAZY_BLOCK_PAGES;
	return b->nr_faults ? 128 : 16;
}

/* Reads and puts in place [from, to), in which page i is. What is wrong elsewhere than at i is left for who touches it. */
static int fill(struct lazy *z, struct lazy_block *b, char *buffer, unsigned int i, unsigned int from,
		unsigned int to)
{
	unsigned int right = 0, nr = to - from;
	int err = b->source->ops->read(b->source, b->first + from, nr, buffer, &right);

	if (!err)
		right = nr;
	if (err && from + right <= i) {
		if (nr == 1)
			return err;
		return fill(z, b, buffer, i, i, i + 1);
	}
	err = put_in_place(z, b, buffer, from, right);
	return err == -ENOENT || err == -ESRCH ? 0 : err; /* nobody is there to wait */
}

static void note_whole(struct lazy *z, struct lazy_block *b, bool at_once)
{
	atomic_store(&b->source->hot, b->first + LAZY_BLOCK_PAGES);
	atomic_fetch_add(&z->whole, at_once);
}

void lazy_serve(struct lazy *z, struct lazy_block *b, unsigned int i, char *buffer)
{
	char *page = b->at + (uint64_t)i * PAGE_SIZE;
	unsigned int from, to;

	if (!b->armed || test(b->there, i)) { /* somebody was faster */
		userfault_wake(&z->door, page, PAGE_SIZE);
		return;
	}
	const char *cause = supply_cause(&b->source->supply);
	if (cause && missing(b, i))
		lazy_fail(b->source, cause);
	if (cause || test(b->gone, i)) {
		fill_zero(z, b, i);
		return;
	}
	find_window(b, i, window_pages(z, b), &from, &to);
	b->nr_faults++;
	int err = fill(z, b, buffer, i, from, to);
	if (err) {
		lazy_fail(b->source, words_of(err));
		fill_zero(z, b, i);
	}
	if (b->nr_missing || !b->armed)
		return;
	note_whole(z, b, to - from == LAZY_BLOCK_PAGES);
	disarm(z, b);
}

/* --- arming ----------------------------------------------------------------------------------------- */

static struct lazy_block *new_block(struct lazy_source *s, char *at, uint64_t first)
{
	struct lazy_block *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	pthread_mutex_init(&b->lock, NULL);
	b->source = s;
	b->at = at;
	b->first = first;
	b->nr_missing = LAZY_BLOCK_PAGES;
	b->armed = true;
	b->refs = 1;
	return b;
}

/* It is in the table before the first fault can come. */
static void show(struct lazy_source *s, struct lazy_block *b)
{
	struct lazy *z = s->lazy;

	pthread_mutex_lock(&z->lock);
	*slot_of(z, b->at) = b;
	list_add_tail(&b->node, &s->blocks);
	z->nr_armed++;
	pthread_mutex_unlock(&z->lock);
}

int lazy_arm(struct lazy_source *s, char *at, uint64_t first)
{
	struct lazy *z = s->lazy;

	if (lazy_is_broken(z))
		return -EIO;
	struct lazy_block *b = new_block(s, at, first);
	if (!b)
		return -ENOMEM;
	if (madvise(at, LAZY_BLOCK_BYTES, MADV_DONTNEED) ||
	    userfault_register(&z->door, at, LAZY_BLOCK_BYTES, UFFDIO_REGISTER_MODE_MISSING)) {
		int err = -errno;
		free(b);
		return err;
	}
	show(s, b);
	return 0;
}

/* Of one block. */
static int discard_part(struct lazy *z, char *start, uint64_t bytes)
{
	struct lazy_block *b = lazy_find(z, start);

	if (!b)
		return madvise(start, bytes, MADV_DONTNEED) ? -errno : 0;
	pthread_mutex_lock(&b->lock); /* nothing that is being read comes into place afterwards */
	unsigned int from = (unsigned int)((uint64_t)(start - b->at) / PAGE_SIZE);
	for (unsigned int i = from; i < from + bytes / PAGE_SIZE; i++) {
		b->nr_missing -= missing(b, i);
		b->there[i / 64] &= ~(1ull << (i % 64));
		set(b->gone, i);
	}
	int err = madvise(start, bytes, MADV_DONTNEED) ? -errno : 0;
	if (!b->nr_missing)
		disarm(z, b);
	pthread_mutex_unlock(&b->lock);
	lazy_block_put(z, b);
	return err;
}

static bool any_armed(struct lazy *z)
{
	pthread_mutex_lock(&z->lock);
	bool any = z->nr_armed;
	pthread_mutex_unlock(&z->lock);
	return any;
}

int lazy_discard(struct lazy *z, char *start, uint64_t bytes)
{
	char *end = start + bytes;
	int err = 0;

	if (!z || !any_armed(z))
		return madvise(start, bytes, MADV_DONTNEED) ? -errno : 0;
	while (start < end && !err) {
		uint64_t offset = (uint64_t)(start - z->setup.base) % LAZY_BLOCK_BYTES;
		uint64_t part = min_u64((uint64_t)(end - start), LAZY_BLOCK_BYTES - offset);
		err = discard_part(z, start, part);
		start += part;
	}
	return err;
}

/* --- the whole ---------------------------------------------------------------------------------------- */

static void release_source(struct supply *supply)
{
	struct lazy_source *s = container_of(supply, struct lazy_source, supply);
	struct lazy *z = s->lazy;

	lazy_disarm_all(s);
	pthread_mutex_lock(&z->lock);
	list_del(&s->node);
	pthread_mutex_unlock(&z->lock);
	s->ops->release(s);
}

void lazy_source_init(struct lazy *z, struct lazy_source *s, const struct lazy_source_ops *ops)
{
	atomic_init(&s->supply.refs, 1);
	atomic_init(&s->supply.cause, NULL);
	s->supply.release = release_source;
	s->ops = ops;
	s->lazy = z;
	list_init(&s->blocks);
	atomic_init(&s->hot, ~0ull);
	pthread_mutex_lock(&z->lock);
	list_add_tail(&s->node, &z->sources);
	pthread_mutex_unlock(&z->lock);
}

static struct lazy *new_lazy(const struct lazy_setup *setup)
{
	struct lazy *z = calloc(1, sizeof(*z));

	if (!z || pthread_key_create(&z->key, lazy_handler_end)) {
		free(z);
		return NULL;
	}
	z->setup = *setup;
	z->table = calloc(setup->bytes / LAZY_BLOCK_BYTES + 1, sizeof(*z->table));
	z->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&z->lock, NULL);
	list_init(&z->sources);
	if (z->table && z->bell >= 0)
		return z;
	lazy_free(z);
	return NULL;
}

void lazy_free(struct lazy *z)
{
	if (z->bell >= 0)
		close(z->bell);
	pthread_key_delete(z->key);
	pthread_mutex_destroy(&z->lock);
	free(z->table);
	free(z);
}

int lazy_create(const struct lazy_setup *setup, struct lazy **result, const char **why)
{
	struct lazy *z = new_lazy(setup);

	*why = "out of memory";
	if (!z)
		return -ENOMEM;
	int err = userfault_open(&z->door, UFFD_FEATURE_MOVE, why);
	if (!err) {
		err = lazy_add_handler(z);
		if (err)
			userfault_close(&z->door);
	}
	if (err)
		lazy_free(z);
	else
		*result = z;
	return err;
}

void lazy_stats(struct lazy *z, struct lazy_stats *stats)
{
	pthread_mutex_lock(&z->lock);
	*stats = (struct lazy_stats){.faults = atomic_load(&z->faults),
				     .pages = atomic_load(&z->pages),
				     .whole = atomic_load(&z->whole),
				     .zero_pages = atomic_load(&z->zero_pages),
				     .armed = z->nr_armed,
				     .handlers = z->nr_handlers};
	pthread_mutex_unlock(&z->lock);
}
