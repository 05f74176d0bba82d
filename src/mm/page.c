/* SPDX-License-Identifier: MIT */
/*
 * page.c - the frame table and its layout. See page.h for the picture.
 *
 * The struct pages of frames that no bank has brought yet are untouched memory: they read as zero (refs 0, no flags) and
 * cost nothing.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "buddy.h"
#include "cpu.h"
#include "pcp.h"
#include "zeropool.h"

#define ALIGN_DOWN(pfn) ((pfn) & ~(ZONE_ALIGN_PAGES - 1))

/* The last block's buddy is looked at even if it lies beyond the last frame: the table covers whole blocks. */
static uint64_t table_frames(pfn_t max_pfn)
{
	uint64_t block = 1ull << (MAX_ORDER > PAGEBLOCK_ORDER ? MAX_ORDER : PAGEBLOCK_ORDER);

	return (max_pfn + block - 1) & ~(block - 1);
}

static void *map_table(size_t bytes)
{
	void *map =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return map == MAP_FAILED ? NULL : map;
}

static int map_tables(struct frames *f)
{
	f->mem_map = map_table(table_frames(f->max_pfn) * sizeof(struct page));
	f->pageblock = map_table(table_frames(f->max_pfn) >> PAGEBLOCK_ORDER);
	return f->mem_map && f->pageblock ? 0 : -ENOMEM;
}

static void init_node_zones(struct frames *f, const struct frames_setup *setup, unsigned int nid)
{
	pfn_t start = min_u64(NORMAL_START_PFN, f->max_pfn),
	      each = ALIGN_DOWN((f->max_pfn - start) / f->nr_nodes);
	pfn_t first = start + nid * each, end = nid + 1 == f->nr_nodes ? f->max_pfn : first + each;
	pfn_t movable = end - min_u64(ALIGN_DOWN(setup->movable_pages), ALIGN_DOWN(end - first));
	pfn_t dma32 = min_u64(DMA32_START_PFN, f->max_pfn);
	pfn_t dma32_end =
		nid ? dma32
		    : min_u64(min_u64(dma32 + ALIGN_DOWN(setup->dma32_pages), DMA32_END_PFN), f->max_pfn);

	zone_init(f, node_zone(f, nid, ZONE_DMA32), ZONE_DMA32, nid, dma32, dma32_end);
	zone_init(f, node_zone(f, nid, ZONE_NORMAL), ZONE_NORMAL, nid, first, movable);
	zone_init(f, node_zone(f, nid, ZONE_MOVABLE), ZONE_MOVABLE, nid, movable, end);
	zone_init(f, node_zone(f, nid, ZONE_TABLE), ZONE_TABLE, nid, 0,
		  nid ? 0 : min_u64(TABLE_END_PFN, f->max_pfn));
	zone_init(f, node_zone(f, nid, ZONE_OBJECT), ZONE_OBJECT, nid, min_u64(TABLE_END_PFN, f->max_pfn),
		  nid ? 0 : min_u64(DMA32_START_PFN, f->max_pfn));
}

static void init_nodes(struct frames *f, const struct frames_setup *setup)
{
	for (unsigned int nid = 0; nid < f->nr_nodes; nid++) {
		struct pglist_data *node = &f->node[nid];
		node->nid = (int)nid;
		node->zones = node_zone(f, nid, (enum zone_type)0);
		for (unsigned int to = 0; to < f->nr_nodes; to++)
			node->distance[to] = setup->distance ? setup->distance[nid][to]
					     : to == nid     ? LOCAL_DISTANCE
							     : REMOTE_DISTANCE;
		init_node_zones(f, setup, nid);
	}
	zonelists_build(f);
}

/* The contiguous area is on its lists from the start: it must never hold anything that does not move. */
static int init_cma(struct frames *f, uint64_t pages)
{
	struct zone *z = &f->zone[ZONE_NORMAL];
	uint64_t align = max_u64(ZONE_ALIGN_PAGES, 1ull << (MAX_ORDER - 1));
	bool carved = true;

	if (!pages)
		return 0;
	z->cma_end_pfn = z->start_pfn + (pages & ~(align - 1));
	if (z->cma_end_pfn > z->limit_pfn)
		return -EINVAL;
	pthread_mutex_lock(&z->lock);
	while (carved && z->fresh_pfn < z->cma_end_pfn)
		carved = zone_carve(f, z, MIGRATE_CMA);
	pthread_mutex_unlock(&z->lock);
	return carved ? 0 : -ENOMEM;
}

static int init_caches(struct frames *f, bool no_pcp)
{
	int err = 0;

	for (unsigned int i = 0; i < f->nr_nodes * NR_ZONES && !err; i++) {
		err = pcp_init(f, &f->zone[i], no_pcp);
		if (!err)
			err = zeropool_init(&f->zone[i]);
	}
	return err;
}

int frames_setup(struct frames *f, const struct frames_setup *setup)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);

	memset(f, 0, sizeof(*f));
	pthread_mutex_init(&f->block_lock, NULL);
	f->direct_map = setup->direct_map;
	f->max_pfn = setup->max_pfn;
	f->bank_ops = setup->ops;
	f->bank_ctx = setup->ctx;
	f->nr_nodes = setup->nr_nodes ? setup->nr_nodes : 1;
	f->nr_cpus = cpus > 0 ? (unsigned int)cpus : 1;
	f->watermark_scale_factor = 10;
	f->watermark_boost_factor = 15000;
	f->lowmem_reserve_ratio[ZONE_DMA32] = 256;
	f->lowmem_reserve_ratio[ZONE_NORMAL] = 32;
	if (f->nr_nodes > MAX_NODES)
		return -EINVAL;
	int err = map_tables(f);
	if (!err) {
		init_nodes(f, setup);
		err = init_caches(f, setup->no_pcp);
	}
	if (!err)
		err = init_cma(f, setup->cma_pages);
	if (err)
		frames_destroy(f);
	return err;
}

int frames_init(struct frames *f, void *direct_map, pfn_t max_pfn, const struct bank_ops *ops, void *ctx)
{
	const struct frames_setup setup = {.direct_map = direct_map,
					   .max_pfn = max_pfn,
					   .ops = ops,
					   .ctx = ctx};

	return frames_setup(f, &setup);
}

void frames_destroy(struct frames *f)
{
	pthread_mutex_destroy(&f->block_lock);
	for (unsigned int i = 0; i < f->nr_nodes * NR_ZONES; i++) {
		pcp_destroy(f, &f->zone[i]);
		zeropool_destroy(&f->zone[i]);
		zone_destroy(&f->zone[i]);
	}
	if (f->mem_map)
		munmap(f->mem_map, table_frames(f->max_pfn) * sizeof(struct page));
	if (f->pageblock)
		munmap(f->pageblock, table_frames(f->max_pfn) >> PAGEBLOCK_ORDER);
	f->mem_map = NULL;
	f->pageblock = NULL;
}

static uint64_t zone_leaked(const struct frames *f, const struct zone *z)
{
	uint64_t n = 0;

	for (pfn_t pfn = z->start_pfn; pfn < z->fresh_pfn; pfn++) {
		const struct page *p = pfn_to_page(f, pfn);
		n += atomic_load(&p->refs) && !(atomic_load(&p->flags) & (PG_RESERVED | PG_BAD));
	}
	return n;
}

uint64_t frames_leaked(const struct frames *f)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < f->nr_nodes * NR_ZONES; i++)
		n += f->zone[i].type == ZONE_OBJECT ? 0 : zone_leaked(f, &f->zone[i]);
	return n;
}

uint64_t frames_guest_pages(const struct frames *f)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < f->nr_nodes * NR_ZONES; i++)
		n += zone_is_guest(f->zone[i].type) ? zone_managed_pages(&f->zone[i]) : 0;
	return n;
}

unsigned int frames_node_of_cpu(const struct frames *f)
{
	unsigned int cpu = cpu_current() % f->nr_cpus;
	/* Virtual nodes: processors are shared out in runs, or share nodes when they are fewer. */
	return cpu * f->nr_nodes / f->nr_cpus;
}

void frames_report(struct frames *f, const char *format, ...)
{
	char line[512];
	va_list args;

	if (!f->report)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	f->report(f->report_ctx, line);
}

void frames_warn_once(struct frames *f, enum frames_warning which, const char *line)
{
	if (!(atomic_fetch_or(&f->warned, 1u << which) & 1u << which))
		frames_report(f, "WARNING: %s", line);
}

static const struct {
	uint32_t flag;
	const char *name;
} flag_names[] = {
	{PG_LOCKED, "locked"},
	{PG_REFERENCED, "referenced"},
	{PG_UPTODATE, "uptodate"},
	{PG_DIRTY, "dirty"},
	{PG_LRU, "lru"},
	{PG_ACTIVE, "active"},
	{PG_WAITERS, "waiters"},
	{PG_SLAB, "slab"},
	{PG_SWAPCACHE, "swapcache"},
	{PG_RESERVED, "reserved"},
	{PG_PRIVATE, "private"},
	{PG_WRITEBACK, "writeback"},
	{PG_LAZYFREE, "lazyfree"},
	{PG_MAPPEDTODISK, "mappedtodisk"},
	{PG_READAHEAD, "readahead"},
	{PG_SWAPBACKED, "swapbacked"},
	{PG_REPORTED, "reported"},
	{PG_TABLE, "table"},
	{PG_HUGETLB, "hugetlb"},
	{PG_BLOCK, "block"},
	{PG_CACHE, "cache"},
	{PG_FREE, "free"},
	{PG_BUDDY, "buddy"},
	{PG_FRESH, "fresh"},
	{PG_BAD, "bad"},
};

const char *page_flags_string(uint32_t flags, char *buffer, size_t bytes)
{
	size_t used = 0;

	buffer[0] = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(flag_names); i++) {
		if (!(flags & flag_names[i].flag) || used >= bytes)
			continue;
		used += (size_t)snprintf(buffer + used, bytes - used, "%s%s", used ? "|" : "",
					 flag_names[i].name);
	}
	return buffer;
}
