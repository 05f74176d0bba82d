/* SPDX-License-Identifier: MIT */
/* shmem.c - shared memory without a file. See shmem.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "mm.h"
#include "shmem.h"
#include "shmem_swap.h"
#include "truncate.h"
#include "vmscan.h"

static struct shmem *to_shmem(struct backing *b)
{
	return container_of(b, struct shmem, backing);
}

static int64_t shmem_ops_size(struct backing *b)
{
	return (int64_t)atomic_load(&to_shmem(b)->size_bytes);
}

static void shmem_release(struct backing *b)
{
	struct shmem *s = to_shmem(b);
	struct mm_host *h = b->cache.mm_host;

	free(s->path);
	kmem_cache_free(&h->mapping_cache, s);
}

static const struct backing_ops shmem_ops = {
	.size = shmem_ops_size,
	.release = shmem_release,
};

struct backing *shmem_create(struct mm_host *h, uint64_t size_bytes, const char *path)
{
	struct shmem *s = kmem_cache_zalloc(&h->mapping_cache);

	if (!s)
		return NULL;
	s->path = path ? strdup(path) : NULL;
	if (path && !s->path) {
		kmem_cache_free(&h->mapping_cache, s);
		return NULL;
	}
	backing_init(&s->backing, h, &shmem_ops);
	atomic_store(&s->size_bytes, size_bytes);
	s->backing.dev = makedev(0, 1);
	s->backing.ino = atomic_fetch_add(&h->shmem_ino, 1) + 1;
	s->backing.path = path ? s->path : SHMEM_ANON_PATH;
	return &s->backing;
}

/* --- reading and writing ------------------------------------------------------------------------------------------- */

/* One page's part of a transfer: how much, from where the buffers stand. */
struct cursor {
	const struct iovec *iov;
	unsigned int nr;
	size_t done; /* of the first buffer */
};

static size_t cursor_left(const struct cursor *c)
{
	size_t left = 0;

	for (unsigned int i = 0; i < c->nr; i++)
		left += c->iov[i].iov_len - (i ? 0 : c->done);
	return left;
}

enum cursor_way { CURSOR_IN, CURSOR_OUT, CURSOR_ZERO };

/* Moves bytes between the buffers and `page`; CURSOR_ZERO clears the buffers. */
static void cursor_move(struct cursor *c, char *page, size_t bytes, enum cursor_way way)
{
	while (bytes) {
		size_t part = min_u64(bytes, c->iov->iov_len - c->done);
		char *buffer = (char *)c->iov->iov_base + c->done;
		if (way == CURSOR_IN)
			memmove(page, buffer, part);
		else if (way == CURSOR_OUT)
			memmove(buffer, page, part);
		else
			memset(buffer, 0, part);
		page += part;
		bytes -= part;
		c->done += part;
		if (c->done == c->iov->iov_len) {
			c->iov++;
			c->nr--;
			c->done = 0;
		}
	}
}

static void copy_out(struct backing *b, struct cursor *c, const struct page *page, uint64_t offset,
		     size_t bytes)
{
	const struct frames *f = b->cache.mm_host->frames;

	if (page)
		cursor_move(c, (char *)page_address(f, page) + (offset & ~PAGE_MASK), bytes, CURSOR_OUT);
	else
		cursor_move(c, NULL, bytes, CURSOR_ZERO);
}

static void put_page(struct backing *b, struct page *page)
{
	if (page)
		page_put(b->cache.mm_host->frames, page);
}

static size_t part_of_page(uint64_t offset, uint64_t left)
{
	return min_u64(PAGE_SIZE - (offset & ~PAGE_MASK), left);
}

/* Whether room was made: by reclaim, else as for a copy to a guest. */
static bool make_room(struct mm_host *h, struct memcg *cg, unsigned int attempts)
{
	return memcg_make_room(h, cg, true, attempts) || mm_out_of_memory(h, cg, attempts);
}

/*
 * The page at `index` from its slot, at the expense of who had it there, with a reference; NULL: it is not there any more. 0, -ENOMEM or
 * -EIO. No lock is held.
 */
static int bring_back(struct backing *b, uint64_t index, struct page **page)
{
	struct memcg *cg = shmem_get_memcg(&b->cache, index);
	unsigned int attempts = 0;
	bool major;
	int err;

	while ((err = shmem_find(&b->cache, index, cg, page, &major)) == -ENOMEM &&
	       make_room(b->cache.mm_host, cg, attempts++))
		;
	if (cg)
		memcg_put(cg);
	return err;
}

/* The page to read, NULL for a hole. io_lock is held for reading, and released on the way where it has to be brought. */
static int get_page(struct backing *b, uint64_t index, struct page **page)
{
	int err = 0;

	while (!err && shmem_look(&b->cache, index, page)) {
		pthread_rwlock_unlock(&b->cache.io_lock);
		err = bring_back(b, index, page);
		pthread_rwlock_rdlock(&b->cache.io_lock);
		if (*page)
			break;
	}
	return err;
}

int64_t shmem_read(struct backing *b, const struct iovec *iov, unsigned int nr, uint64_t offset)
{
	const _Atomic uint64_t *size = &to_shmem(b)->size_bytes;
	struct cursor c = {iov, nr, 0};
	uint64_t done = 0, bytes = cursor_left(&c), end = offset;
	int err = 0;

	pthread_rwlock_rdlock(&b->cache.io_lock);
	while (done < bytes && (end = atomic_load(size)) > offset + done) {
		size_t part = part_of_page(offset + done, min_u64(bytes - done, end - offset - done));
		struct page *page;
		err = get_page(b, (offset + done) >> PAGE_SHIFT, &page);
		if (err)
			break;
		copy_out(b, &c, page, offset + done, part);
		put_page(b, page);
		done += part;
	}
	pthread_rwlock_unlock(&b->cache.io_lock);
	return done ? (int64_t)done : err;
}

/* The page to write to, with room where the account is full. io_lock is held for writing, and released on the way. */
static int get_page_with_room(struct backing *b, struct memcg *cg, uint64_t index, struct page **page)
{
	struct page *brought = NULL; /* held, so that it stays until it is found */
	unsigned int attempts = 0;
	bool again = true;
	int err;

	while ((err = filemap_get_locked(&b->cache, index, cg, page)) && again) {
		pthread_rwlock_unlock(&b->cache.io_lock);
		if (err == -EAGAIN) {
			put_page(b, brought);
			err = bring_back(b, index, &brought);
			again = !err;
		} else {
			again = make_room(b->cache.mm_host, cg, attempts++);
		}
		pthread_rwlock_wrlock(&b->cache.io_lock);
		if (!again)
			break;
	}
	put_page(b, brought);
	return err;
}

int64_t shmem_write(struct backing *b, struct memcg *cg, const struct iovec *iov, unsigned int nr,
		    uint64_t offset)
{
	struct frames *f = b->cache.mm_host->frames;
	_Atomic uint64_t *size = &to_shmem(b)->size_bytes;
	struct cursor c = {iov, nr, 0};
	uint64_t done = 0, bytes = cursor_left(&c);
	int err = 0;

	pthread_rwlock_wrlock(&b->cache.io_lock);
	while (done < bytes) {
		size_t part = part_of_page(offset + done, bytes - done);
		struct page *page;
		err = get_page_with_room(b, cg, (offset + done) >> PAGE_SHIFT, &page);
		if (err)
			break;
		cursor_move(&c, (char *)page_address(f, page) + ((offset + done) & ~PAGE_MASK), part,
			    CURSOR_IN);
		page_put(f, page);
		done += part;
		if (offset + done > atomic_load(size))
			atomic_store(size, offset + done);
	}
	pthread_rwlock_unlock(&b->cache.io_lock);
	return done ? (int64_t)done : err;
}

/* --- size and holes ------------------------------------------------------------------------------------------------ */

/* Pages of which a part is to be cleared: held, since those that are in slots have to be brought first. */
struct edges {
	uint64_t offset[2]; /* at a boundary of pages: there is none */
	struct page *page[2];
	bool given_up[2]; /* nobody can read it, or there is no memory for it */
};

/* Whether it has to be brought; else it is held, or there is none, and io_lock keeps it so. */
static bool edge_is_away(struct backing *b, struct edges *e, unsigned int i)
{
	if (!(e->offset[i] & ~PAGE_MASK) || e->page[i] || e->given_up[i])
		return false;
	return shmem_look(&b->cache, e->offset[i] >> PAGE_SHIFT, &e->page[i]);
}

/* Takes io_lock for writing, with the edges in memory. */
static void lock_with_edges(struct backing *b, struct edges *e)
{
	pthread_rwlock_wrlock(&b->cache.io_lock);
	for (unsigned int i = 0; i < 2;) {
		if (!edge_is_away(b, e, i)) {
			i++;
			continue;
		}
		pthread_rwlock_unlock(&b->cache.io_lock);
		e->given_up[i] = bring_back(b, e->offset[i] >> PAGE_SHIFT, &e->page[i]);
		pthread_rwlock_wrlock(&b->cache.io_lock);
		i = 0;
	}
}

static void unlock_edges(struct backing *b, const struct edges *e)
{
	pthread_rwlock_unlock(&b->cache.io_lock);
	put_page(b, e->page[0]);
	put_page(b, e->page[1]);
}

void shmem_resize(struct backing *b, uint64_t bytes)
{
	struct edges e = {.offset = {bytes}};

	lock_with_edges(b, &e);
	uint64_t old = atomic_exchange(&to_shmem(b)->size_bytes, bytes);
	if (bytes < old)
		truncate_pagecache(&b->cache, bytes);
	unlock_edges(b, &e);
}

static void clear_part(struct backing *b, uint64_t start, uint64_t end)
{
	struct frames *f = b->cache.mm_host->frames;
	struct page *page = start < end ? filemap_find(&b->cache, start >> PAGE_SHIFT) : NULL;

	if (!page)
		return;
	memset((char *)page_address(f, page) + (start & ~PAGE_MASK), 0, end - start);
	page_put(f, page);
}

void shmem_punch(struct backing *b, uint64_t start, uint64_t end)
{
	uint64_t first = page_align_up(start), last = page_align_down(end);
	struct edges e = {.offset = {start, end}};

	lock_with_edges(b, &e);
	if (first < last)
		truncate_range(&b->cache, first >> PAGE_SHIFT, (last >> PAGE_SHIFT) - 1);
	if (first > last) { /* within one page */
		clear_part(b, start, end);
	} else {
		clear_part(b, start, first);
		clear_part(b, last, end);
	}
	unlock_edges(b, &e);
}

int shmem_allocate(struct backing *b, struct memcg *cg, uint64_t start, uint64_t end)
{
	struct frames *f = b->cache.mm_host->frames;
	uint64_t first = start >> PAGE_SHIFT, last = BYTES_TO_PAGES(end), at = first;
	int err = 0;

	pthread_rwlock_wrlock(&b->cache.io_lock);
	for (; at < last && !err; at++) {
		if (shmem_is_away(&b->cache, at)) /* it is allocated already */
			continue;
		struct page *page = filemap_find(&b->cache, at);
		if (page || !(err = get_page_with_room(b, cg, at, &page)))
			page_put(f, page);
	}
	pthread_rwlock_unlock(&b->cache.io_lock);
	return err;
}

int64_t shmem_seek(struct backing *b, uint64_t offset, bool hole)
{
	struct address_space *as = &b->cache;
	uint64_t size = atomic_load(&to_shmem(b)->size_bytes), index = offset >> PAGE_SHIFT;
	struct radix_entry e;
	bool there;

	if (offset >= size)
		return -ENXIO;
	pthread_mutex_lock(&as->lock);
	if (hole)
		for (; radix_find_entry(&as->pages, index, &e); index++)
			;
	there = hole || radix_next_entry(&as->pages, &index, &e);
	pthread_mutex_unlock(&as->lock);
	uint64_t at = max_u64(index << PAGE_SHIFT, offset);
	if (!there || (at >= size && !hole))
		return -ENXIO;
	return (int64_t)min_u64(at, size);
}
