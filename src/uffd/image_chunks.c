/* SPDX-License-Identifier: MIT */
/* image_chunks.c - see image_chunks.h. */
#include "image_chunks.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>
#include <zstd.h>

#include "../mm/types.h"
#include "image_bytes.h"

#define CHUNK_BYTES ((size_t)IMAGE_CHUNK_PAGES * PAGE_SIZE)
#define LEVEL	    1 /* the program copies what it overwrites until all is written */
#define NO_CHUNK    (~0ull)

/* --- making them ------------------------------------------------------------------------------ */

struct image_packer {
	ZSTD_CCtx *context;
	char bytes[CHUNK_BYTES];
};

struct image_packer *image_packer_create(void)
{
	struct image_packer *p = malloc(sizeof(*p));

	if (!p)
		return NULL;
	p->context = ZSTD_createCCtx();
	if (p->context)
		return p;
	free(p);
	return NULL;
}

void image_packer_destroy(struct image_packer *p)
{
	if (!p)
		return;
	ZSTD_freeCCtx(p->context);
	free(p);
}

/* What does not become smaller, or has no memory to, stays as it is. */
const void *image_pack(struct image_packer *p, const void *pages, unsigned int nr, struct image_chunk *chunk)
{
	size_t whole = (size_t)nr * PAGE_SIZE;
	size_t bytes = ZSTD_compressCCtx(p->context, p->bytes, whole - 1, pages, whole, LEVEL);
	const void *what = ZSTD_isError(bytes) ? pages : p->bytes;

	chunk->bytes = ZSTD_isError(bytes) ? whole : bytes;
	chunk->sum = XXH3_64bits(what, chunk->bytes);
	return what;
}

/* --- reading them ----------------------------------------------------------------------------- */

/* One thread's; on a list while nobody has it. */
struct unpacker {
	struct unpacker *next;
	ZSTD_DCtx *context;
	uint64_t chunk; /* whose pages it has, or NO_CHUNK */
	char bytes[CHUNK_BYTES], pages[CHUNK_BYTES];
};

struct image_chunks {
	int fd;				 /* (C) */
	const struct image_chunk *table; /* (C) */
	uint64_t nr_pages;		 /* (C) */
	pthread_mutex_t lock;
	pthread_cond_t given;	/* (lock) */
	struct unpacker *first; /* (lock) the one that was used last */
};

static size_t pages_bytes(uint64_t nr_pages, uint64_t chunk)
{
	return (size_t)min_u64(nr_pages - chunk * IMAGE_CHUNK_PAGES, IMAGE_CHUNK_PAGES) * PAGE_SIZE;
}

bool image_chunks_good(const struct image_chunk *table, uint64_t nr_pages, uint64_t first_byte, uint64_t end)
{
	for (uint64_t i = 0; i < image_nr_chunks(nr_pages); i++) {
		const struct image_chunk *c = &table[i];
		if (!c->bytes || c->bytes > pages_bytes(nr_pages, i) || c->offset < first_byte ||
		    c->offset > end || c->bytes > end - c->offset)
			return false;
	}
	return true;
}

static void unpacker_destroy(struct unpacker *u)
{
	ZSTD_freeDCtx(u->context);
	free(u);
}

static struct unpacker *unpacker_create(void)
{
	struct unpacker *u = malloc(sizeof(*u));

	if (!u)
		return NULL;
	u->next = NULL;
	u->chunk = NO_CHUNK;
	u->context = ZSTD_createDCtx();
	if (u->context)
		return u;
	free(u);
	return NULL;
}

struct image_chunks *image_chunks_create(int fd, const struct image_chunk *table, uint64_t nr_pages)
{
	struct image_chunks *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->first = unpacker_create();
	if (!c->first) {
		free(c);
		return NULL;
	}
	c->fd = fd;
	c->table = table;
	c->nr_pages = nr_pages;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->given, NULL);
	return c;
}

void image_chunks_destroy(struct image_chunks *c)
{
	if (!c)
		return;
	for (struct unpacker *u = c->first, *next; u; u = next) {
		next = u->next;
		unpacker_destroy(u);
	}
	pthread_cond_destroy(&c->given);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static struct unpacker *take(struct image_chunks *c)
{
	pthread_mutex_lock(&c->lock);
	struct unpacker *u = c->first ? NULL : unpacker_create();
	while (!u && !c->first)
		pthread_cond_wait(&c->given, &c->lock);
	if (!u) {
		u = c->first;
		c->first = u->next;
	}
	pthread_mutex_unlock(&c->lock);
	return u;
}

static void give(struct image_chunks *c, struct unpacker *u)
{
	pthread_mutex_lock(&c->lock);
	u->next = c->first;
	c->first = u;
	pthread_cond_signal(&c->given);
	pthread_mutex_unlock(&c->lock);
}

static int unpack(const struct image_chunks *c, struct unpacker *u, uint64_t chunk)
{
	const struct image_chunk *t = &c->table[chunk];
	size_t whole = pages_bytes(c->nr_pages, chunk);
	bool as_it_is = t->bytes == whole;
	char *to = as_it_is ? u->pages : u->bytes;

	if (u->chunk == chunk)
		return 0;
	u->chunk = NO_CHUNK;
	int err = image_bytes_read(c->fd, to, t->bytes, t->offset);
	if (!err && XXH3_64bits(to, t->bytes) != t->sum)
		err = -EBADMSG;
	if (!err && !as_it_is &&
	    ZSTD_decompressDCtx(u->context, u->pages, sizeof(u->pages), u->bytes, t->bytes) != whole)
		err = -EBADMSG;
	if (!err)
		u->chunk = chunk;
	return err;
}

unsigned int image_chunks_read(struct image_chunks *c, uint64_t page, const struct iovec *iov,
			       unsigned int nr, int *err)
{
	struct unpacker *u = take(c);
	unsigned int n = 0;

	for (*err = 0; n < nr; n++) {
		uint64_t at = page + n;
		*err = unpack(c, u, at / IMAGE_CHUNK_PAGES);
		if (*err)
			break;
		memcpy(iov[n].iov_base, u->pages + at % IMAGE_CHUNK_PAGES * PAGE_SIZE, PAGE_SIZE);
	}
	give(c, u);
	return n;
}
