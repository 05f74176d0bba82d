/* SPDX-License-Identifier: MIT */
/* compressor.c - see compressor.h. */
#include "compressor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <lz4.h>
#include <xxhash.h>
#include <zstd.h>

#define ZSTD_LEVEL 1
#define SUM_BYTES  sizeof(uint64_t)

static uint64_t sum_of(const void *page, uint64_t tag)
{
	return XXH3_64bits_withSeed(page, PAGE_SIZE, tag);
}

static void put_sum(void *to, const void *page, uint64_t tag)
{
	uint64_t sum = sum_of(page, tag);

	memcpy(to, &sum, sizeof(sum));
}

static int check_sum(const void *from, const void *page, uint64_t tag)
{
	uint64_t sum;

	memcpy(&sum, from, sizeof(sum));
	return sum == sum_of(page, tag) ? 0 : -EBADMSG;
}

/* --- zstd ---------------------------------------------------------------------------------------------------------- */

struct zstd_worker {
	ZSTD_CCtx *pack;
	ZSTD_DCtx *unpack;
};

static void zstd_destroy(void *worker)
{
	struct zstd_worker *w = worker;

	ZSTD_freeCCtx(w->pack);
	ZSTD_freeDCtx(w->unpack);
	free(w);
}

static unsigned int zstd_compress(void *worker, const void *page, void *to, unsigned int room, uint64_t tag)
{
	struct zstd_worker *w = worker;
	size_t bytes = ZSTD_compressCCtx(w->pack, (char *)to + SUM_BYTES, room - SUM_BYTES, page, PAGE_SIZE,
					 ZSTD_LEVEL);

	if (ZSTD_isError(bytes))
		return 0;
	put_sum(to, page, tag);
	return (unsigned int)(SUM_BYTES + bytes);
}

static int zstd_decompress(void *worker, const void *from, unsigned int bytes, void *page, uint64_t tag)
{
	struct zstd_worker *w = worker;
	size_t got = ZSTD_decompressDCtx(w->unpack, page, PAGE_SIZE, (const char *)from + SUM_BYTES,
					 bytes - SUM_BYTES);

	return got == PAGE_SIZE ? check_sum(from, page, tag) : -EBADMSG;
}

static void *zstd_create(void)
{
	struct zstd_worker *w = calloc(1, sizeof(*w));
	char page[PAGE_SIZE] = {0}, packed[PAGE_SIZE];

	if (!w)
		return NULL;
	w->pack = ZSTD_createCCtx();
	w->unpack = ZSTD_createDCtx();
	unsigned int bytes = w->pack && w->unpack ? zstd_compress(w, page, packed, sizeof(packed), 0) : 0;
	if (!bytes || zstd_decompress(w, packed, bytes, page, 0)) {
		zstd_destroy(w);
		w = NULL;
	}
	return w;
}

/* --- lz4 ----------------------------------------------------------------------------------------------------------- */

static void *lz4_create(void)
{
	return malloc((size_t)LZ4_sizeofState());
}

static unsigned int lz4_compress(void *worker, const void *page, void *to, unsigned int room, uint64_t tag)
{
	int bytes = LZ4_compress_fast_extState(worker, page, (char *)to + SUM_BYTES, (int)PAGE_SIZE,
					       (int)(room - SUM_BYTES), 1);

	if (bytes <= 0)
		return 0;
	put_sum(to, page, tag);
	return (unsigned int)SUM_BYTES + (unsigned int)bytes;
}

static int lz4_decompress(void *worker, const void *from, unsigned int bytes, void *page, uint64_t tag)
{
	int got = LZ4_decompress_safe((const char *)from + SUM_BYTES, page, (int)(bytes - SUM_BYTES),
				      (int)PAGE_SIZE);

	(void)worker;
	return got == (int)PAGE_SIZE ? check_sum(from, page, tag) : -EBADMSG;
}

static const struct zswap_ops ops[] = {
	{"zstd", zstd_create, zstd_destroy, zstd_compress, zstd_decompress},
	{"lz4", lz4_create, free, lz4_compress, lz4_decompress},
};

const struct zswap_ops *compressor_find(const char *name)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(ops); i++)
		if (!strcmp(ops[i].name, name))
			return &ops[i];
	return NULL;
}
