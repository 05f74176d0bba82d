/* SPDX-License-Identifier: MIT */
/* sim_compress.c - see sim_compress.h. */
#include "sim_compress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORDS ((unsigned int)(PAGE_SIZE / sizeof(uint64_t)))

/* A sum, which words are there, and those. */
struct packed {
	uint64_t sum;
	uint64_t there[WORDS / 64];
	uint64_t word[];
};

static uint64_t sum_of(const uint64_t *word, uint64_t tag)
{
	uint64_t sum = tag * 0x9e3779b97f4a7c15ull + 1;

	for (unsigned int i = 0; i < WORDS; i++)
		sum = (sum << 7 | sum >> 57) ^ (word[i] * 0xff51afd7ed558ccdull);
	return sum;
}

static void *worker_create(void)
{
	return malloc(1);
}

static unsigned int compress(void *worker, const void *page, void *to, unsigned int room, uint64_t tag)
{
	const uint64_t *word = page;
	struct packed p = {.sum = sum_of(word, tag)};
	uint64_t kept[WORDS];
	unsigned int nr = 0;

	(void)worker;
	for (unsigned int i = 0; i < WORDS; i++) {
		if (!word[i])
			continue;
		p.there[i / 64] |= 1ull << i % 64;
		kept[nr++] = word[i];
	}
	if (sizeof(p) + nr * sizeof(kept[0]) > room)
		return 0;
	memcpy(to, &p, sizeof(p));
	memcpy((char *)to + sizeof(p), kept, nr * sizeof(kept[0]));
	return (unsigned int)(sizeof(p) + nr * sizeof(kept[0]));
}

static int decompress(void *worker, const void *from, unsigned int bytes, void *page, uint64_t tag)
{
	const struct packed *p = from;
	uint64_t *word = page;
	unsigned int nr = 0, room = (unsigned int)((bytes - sizeof(*p)) / sizeof(p->word[0]));

	(void)worker;
	for (unsigned int i = 0; i < WORDS; i++) {
		bool there = p->there[i / 64] >> i % 64 & 1;
		if (there && nr == room)
			return -EBADMSG;
		word[i] = there ? p->word[nr++] : 0;
	}
	return nr == room && sum_of(word, tag) == p->sum ? 0 : -EBADMSG;
}

const struct zswap_ops sim_compress_ops = {"sim", worker_create, free, compress, decompress};
