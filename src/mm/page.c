/* SPDX-License-Identifier: MIT */
/*
 * page.c - the frame table. See page.h for the picture.
 *
 * The struct pages of frames that no bank has brought yet are untouched memory: they read as zero (refs 0, no flags) and
 * cost nothing.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "page.h"

static void zone_init(struct zone *z, enum zone_type type, pfn_t start, pfn_t limit)
{
	pthread_mutex_init(&z->lock, NULL);
	z->type = type;
	for (unsigned int o = 0; o < MAX_ORDER; o++)
		list_init(&z->free_area[o].free_list);
	z->start_pfn = start;
	z->limit_pfn = limit;
	z->fresh_pfn = start;
	z->bank_end_pfn = start;
}

/* The last block's buddy is looked at even if it lies beyond the last frame: the table covers whole blocks. */
static uint64_t mem_map_bytes(pfn_t max_pfn)
{
	uint64_t block = 1ull << (MAX_ORDER - 1);

	return ((max_pfn + block - 1) & ~(block - 1)) * sizeof(struct page);
}

int frames_init(struct frames *f, void *direct_map, pfn_t max_pfn, const struct bank_ops *ops, void *ctx)
{
	memset(f, 0, sizeof(*f));
	void *map = mmap(NULL, mem_map_bytes(max_pfn), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return -ENOMEM;
	f->mem_map = map;
	f->direct_map = direct_map;
	f->max_pfn = max_pfn;
	f->bank_ops = ops;
	f->bank_ctx = ctx;
	zone_init(&f->zone[ZONE_TABLE], ZONE_TABLE, 0, min_u64(TABLE_END_PFN, max_pfn));
	zone_init(&f->zone[ZONE_OBJECT], ZONE_OBJECT, min_u64(TABLE_END_PFN, max_pfn),
		  min_u64(NORMAL_START_PFN, max_pfn));
	zone_init(&f->zone[ZONE_NORMAL], ZONE_NORMAL, min_u64(NORMAL_START_PFN, max_pfn), max_pfn);
	return 0;
}

void frames_destroy(struct frames *f)
{
	for (unsigned int i = 0; i < NR_ZONES; i++)
		pthread_mutex_destroy(&f->zone[i].lock);
	if (f->mem_map)
		munmap(f->mem_map, mem_map_bytes(f->max_pfn));
	f->mem_map = NULL;
}

static uint64_t zone_leaked(const struct frames *f, const struct zone *z)
{
	uint64_t n = 0;

	for (pfn_t pfn = z->start_pfn; pfn < z->fresh_pfn; pfn++) {
		const struct page *p = pfn_to_page(f, pfn);
		n += atomic_load(&p->refs) && !(atomic_load(&p->flags) & PG_RESERVED);
	}
	return n;
}

uint64_t frames_leaked(const struct frames *f)
{
	return zone_leaked(f, &f->zone[ZONE_TABLE]) + zone_leaked(f, &f->zone[ZONE_NORMAL]);
}
