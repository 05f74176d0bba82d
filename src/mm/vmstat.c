/* SPDX-License-Identifier: MIT */
/* vmstat.c - the dumps. See vmstat.h. */
#include <inttypes.h>

#include "pcp.h"
#include "vmstat.h"
#include "watermark.h"
#include "zeropool.h"

static const char *const migratetype_names[MIGRATE_TYPES] = {
	[MIGRATE_UNMOVABLE] = "Unmovable",
	[MIGRATE_MOVABLE] = "Movable",
	[MIGRATE_RECLAIMABLE] = "Reclaimable",
	[MIGRATE_HIGHATOMIC] = "HighAtomic",
	[MIGRATE_CMA] = "CMA",
	[MIGRATE_ISOLATE] = "Isolate",
};

static const char *const zone_stat_names[NR_ZONE_STATS] = {
	[ZONE_PGALLOC] = "pgalloc",  [ZONE_PGFREE] = "pgfree",	      [NUMA_HIT] = "numa_hit",
	[NUMA_MISS] = "numa_miss",   [NUMA_FOREIGN] = "numa_foreign", [NUMA_INTERLEAVE] = "numa_interleave",
	[NUMA_LOCAL] = "numa_local", [NUMA_OTHER] = "numa_other",
};

static const char *const event_names[NR_VM_EVENTS] = {
	[ALLOCSTALL] = "allocstall",
	[PGSCAN_RETRY] = "pgscan_retry",
	[KSWAPD_WAKE] = "pageoutrun",
	[BOOST_WAKE] = "watermark_boost_wake",
	[COMPACTSTALL] = "compact_stall",
	[COMPACTSUCCESS] = "compact_success",
	[COMPACTFAIL] = "compact_fail",
	[COMPACTMIGRATE_SCANNED] = "compact_migrate_scanned",
	[COMPACTFREE_SCANNED] = "compact_free_scanned",
	[COMPACTISOLATED] = "compact_isolated",
	[PGMIGRATE_SUCCESS] = "pgmigrate_success",
	[PGMIGRATE_FAIL] = "pgmigrate_fail",
	[OOM_CALL] = "oom_call",
	[ALLOC_FAIL] = "alloc_fail",
	[ALLOC_EXTFRAG] = "alloc_extfrag",
	[PAGEBLOCK_STEAL] = "pageblock_steal",
	[PCP_DRAIN] = "drain_all_pages",
	[ZEROPOOL_HIT] = "zeropool_hit",
	[FRESH_HIT] = "zero_fresh_hit",
	[ZEROED_ON_ALLOC] = "zero_on_alloc",
	[BAD_PAGE] = "bad_page",
	[THP_FAULT_ALLOC] = "thp_fault_alloc",
	[THP_FAULT_FALLBACK] = "thp_fault_fallback",
	[THP_COLLAPSE_ALLOC] = "thp_collapse_alloc",
	[THP_COLLAPSE_ALLOC_FAILED] = "thp_collapse_alloc_failed",
	[THP_SPLIT_PMD] = "thp_split_pmd",
	[THP_SWPOUT] = "thp_swpout",
	[THP_SWPIN] = "thp_swpin",
	[THP_ZERO_PAGE_ALLOC] = "thp_zero_page_alloc",
	[PGSCAN_FILE] = "pgscan_file",
	[PGSCAN_ANON] = "pgscan_anon",
	[PGSTEAL_FILE] = "pgsteal_file",
	[PGSTEAL_ANON] = "pgsteal_anon",
	[PGSCAN_DIRECT] = "pgscan_direct",
	[PGSCAN_KSWAPD] = "pgscan_kswapd",
	[PGSTEAL_DIRECT] = "pgsteal_direct",
	[PGSTEAL_KSWAPD] = "pgsteal_kswapd",
	[PGLAZYFREE] = "pglazyfree",
	[PGLAZYFREED] = "pglazyfreed",
	[WORKINGSET_REFAULT_ANON] = "workingset_refault_anon",
	[WORKINGSET_REFAULT_FILE] = "workingset_refault_file",
	[WORKINGSET_ACTIVATE_ANON] = "workingset_activate_anon",
	[WORKINGSET_ACTIVATE_FILE] = "workingset_activate_file",
	[AGEING_EPOCH] = "ageing_epochs",
	[AGEING_USED] = "ageing_used",
	[PSWPIN] = "pswpin",
	[PSWPOUT] = "pswpout",
	[SWPIN_ZERO] = "swpin_zero",
	[SWPOUT_ZERO] = "swpout_zero",
	[SWPOUT_CLEAN] = "swpout_clean",
	[PAGE_REPORTED] = "page_reported",
	[PAGE_REPORT_CALLS] = "page_report_calls",
	[ZSWPIN] = "zswpin",
	[ZSWPOUT] = "zswpout",
	[ZSWPOUT_REJECT] = "zswpout_reject",
	[ZSWPWB] = "zswpwb",
	[SWAP_RA] = "swap_ra",
	[SWAP_RA_HIT] = "swap_ra_hit",
};

/* Guest zones of a node in order, then its special ones. */
static const enum zone_type zone_order[NR_ZONES] = {ZONE_DMA32, ZONE_NORMAL, ZONE_MOVABLE, ZONE_TABLE,
						    ZONE_OBJECT};

static void each_zone(struct frames *f, FILE *out, void (*print)(struct frames *f, struct zone *z, FILE *out))
{
	for (unsigned int nid = 0; nid < f->nr_nodes; nid++)
		for (unsigned int i = 0; i < NR_ZONES; i++)
			if (zone_populated(node_zone(f, nid, zone_order[i])))
				print(f, node_zone(f, nid, zone_order[i]), out);
}

static void print_buddyinfo(struct frames *f, struct zone *z, FILE *out)
{
	(void)f;
	fprintf(out, "Node %d, zone %8s ", z->node, zone_name(z->type));
	pthread_mutex_lock(&z->lock);
	for (unsigned int o = 0; o < MAX_ORDER; o++)
		fprintf(out, "%6" PRIu64 " ", z->free_area[o].nr_free);
	pthread_mutex_unlock(&z->lock);
	fputc('\n', out);
}

void vmstat_buddyinfo(struct frames *f, FILE *out)
{
	each_zone(f, out, print_buddyinfo);
}

static uint64_t list_length(const struct list_head *head)
{
	uint64_t n = 0;

	for (const struct list_head *at = head->next; at != head; at = at->next)
		n++;
	return n;
}

static void print_free_types(struct frames *f, struct zone *z, FILE *out)
{
	(void)f;
	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		fprintf(out, "Node %4d, zone %8s, type %12s ", z->node, zone_name(z->type),
			migratetype_names[mt]);
		pthread_mutex_lock(&z->lock);
		for (unsigned int o = 0; o < MAX_ORDER; o++)
			fprintf(out, "%6" PRIu64 " ", list_length(&z->free_area[o].free_list[mt]));
		pthread_mutex_unlock(&z->lock);
		fputc('\n', out);
	}
}

static void print_block_types(struct frames *f, struct zone *z, FILE *out)
{
	uint64_t nr[MIGRATE_TYPES] = {0};

	for (pfn_t pfn = z->start_pfn; pfn < atomic_load(&z->fresh_pfn); pfn += PAGEBLOCK_PAGES)
		nr[pageblock_migratetype(f, pfn)]++;
	fprintf(out, "Node %d, zone %8s ", z->node, zone_name(z->type));
	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++)
		fprintf(out, "%12" PRIu64 " ", nr[mt]);
	fputc('\n', out);
}

void vmstat_pagetypeinfo(struct frames *f, FILE *out)
{
	fprintf(out, "Page block order: %d\n", PAGEBLOCK_ORDER);
	fprintf(out, "Pages per block:  %d\n\n", (int)PAGEBLOCK_PAGES);
	fprintf(out, "%-43s ", "Free pages count per migrate type at order");
	for (unsigned int o = 0; o < MAX_ORDER; o++)
		fprintf(out, "%6u ", o);
	fputc('\n', out);
	each_zone(f, out, print_free_types);
	fprintf(out, "\n%-23s", "Number of blocks type ");
	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++)
		fprintf(out, "%12s ", migratetype_names[mt]);
	fputc('\n', out);
	each_zone(f, out, print_block_types);
}

static void print_pagesets(struct frames *f, const struct zone *z, FILE *out)
{
	fputs("\n  pagesets", out);
	for (unsigned int cpu = 0; z->pcp && cpu < f->nr_cpus; cpu++) {
		const struct pcp *pcp = &z->pcp[cpu];
		uint32_t count = 0;
		for (unsigned int mt = 0; mt < MIGRATE_PCPTYPES; mt++)
			count += pcp->count[mt];
		fprintf(out,
			"\n    cpu: %u\n              count: %u\n              high:  %u\n              "
			"batch: %u",
			cpu, count, atomic_load(&z->pcp_high), atomic_load(&z->pcp_batch));
	}
}

static void print_zoneinfo(struct frames *f, struct zone *z, FILE *out)
{
	fprintf(out, "Node %d, zone %8s", z->node, zone_name(z->type));
	fprintf(out,
		"\n  pages free     %" PRIu64 "\n        min      %" PRIu64 "\n        low      %" PRIu64
		"\n        high     %" PRIu64 "\n        spanned  %" PRIu64 "\n        present  %" PRIu64
		"\n        managed  %" PRIu64,
		zone_free_pages(z), wmark_pages(z, WMARK_MIN), wmark_pages(z, WMARK_LOW),
		wmark_pages(z, WMARK_HIGH), zone_managed_pages(z), z->present_pages, zone_managed_pages(z));
	fputs("\n        protection: (", out);
	for (unsigned int t = ZONE_DMA32; t < NR_ZONES; t++)
		fprintf(out, "%s%" PRIu64, t > ZONE_DMA32 ? ", " : "", atomic_load(&z->lowmem_reserve[t]));
	fprintf(out,
		")\n      nr_free_pages %" PRIu64 "\n      nr_room_pages %" PRIu64
		"\n      nr_free_cma  %" PRIu64 "\n      nr_reserved_highatomic %" PRIu64
		"\n      nr_zeroed    %" PRIu64,
		atomic_load(&z->nr_free_pages), zone_room_pages(z), atomic_load(&z->nr_free_cma),
		atomic_load(&z->nr_reserved_highatomic), zeropool_pages(z));
	for (unsigned int i = 0; i < NR_ZONE_STATS; i++)
		fprintf(out, "\n      %-12s %" PRIu64, zone_stat_names[i],
			vmstat_zone(f, z, (enum zone_stat)i));
	print_pagesets(f, z, out);
	fprintf(out, "\n  start_pfn:           %" PRIu64 "\n", z->start_pfn);
}

void vmstat_zoneinfo(struct frames *f, FILE *out)
{
	each_zone(f, out, print_zoneinfo);
}

uint64_t vmstat_zone(struct frames *f, struct zone *z, enum zone_stat what)
{
	uint64_t nr = atomic_load(&z->stat[what]);

	for (unsigned int cpu = 0; z->pcp && cpu < f->nr_cpus; cpu++) {
		const struct pcp *pcp = &z->pcp[cpu];
		if (what == ZONE_PGALLOC)
			nr += pcp->nr_alloc + pcp->nr_quick + pcp->nr_alloc_huge * PAGEBLOCK_PAGES;
		else if (what == ZONE_PGFREE)
			nr += pcp->nr_free;
		else if ((what == NUMA_HIT || what == NUMA_LOCAL) && zone_is_guest(z->type))
			nr += pcp->nr_quick;
	}
	return nr;
}

uint64_t vmstat_event(const struct frames *f, enum vm_event what)
{
	return atomic_load(&f->event[what]);
}

static uint64_t sum_zones(struct frames *f, enum zone_stat what, int only_type)
{
	uint64_t nr = 0;

	for (unsigned int i = 0; i < f->nr_nodes * NR_ZONES; i++)
		if (only_type < 0 || f->zone[i].type == (enum zone_type)only_type)
			nr += vmstat_zone(f, &f->zone[i], what);
	return nr;
}

void vmstat_counters(struct frames *f, FILE *out)
{
	uint64_t free = 0, cma = 0, zeroed = 0;

	for (unsigned int i = 0; i < f->nr_nodes * NR_ZONES; i++) {
		struct zone *z = &f->zone[i];
		free += zone_is_guest(z->type) ? zone_free_pages(z) : 0;
		cma += atomic_load(&z->nr_free_cma);
		zeroed += zeropool_pages(z);
	}
	fprintf(out, "nr_free_pages %" PRIu64 "\nnr_free_cma %" PRIu64 "\nnr_zeroed_pages %" PRIu64 "\n",
		free, cma, zeroed);
	for (unsigned int i = NUMA_HIT; i < NR_ZONE_STATS; i++)
		fprintf(out, "%s %" PRIu64 "\n", zone_stat_names[i], sum_zones(f, (enum zone_stat)i, -1));
	for (unsigned int i = 0; i < NR_ZONES; i++) {
		const char *name = zone_name(zone_order[i]);
		fputs("pgalloc_", out);
		for (; *name; name++)
			fputc(*name >= 'A' && *name <= 'Z' ? *name - 'A' + 'a' : *name, out);
		fprintf(out, " %" PRIu64 "\n", sum_zones(f, ZONE_PGALLOC, (int)zone_order[i]));
	}
	fprintf(out, "pgfree %" PRIu64 "\n", sum_zones(f, ZONE_PGFREE, -1));
	for (unsigned int i = 0; i < NR_VM_EVENTS; i++)
		fprintf(out, "%s %" PRIu64 "\n", event_names[i], vmstat_event(f, (enum vm_event)i));
}

/* Page cache in pages, and that part of it that more than one entry maps. */
static void count_cache(struct frames *f, const struct zone *z, uint64_t *cache, uint64_t *shared)
{
	for (pfn_t pfn = z->start_pfn; pfn < atomic_load(&z->fresh_pfn); pfn++) {
		const struct page *p = pfn_to_page(f, pfn);
		if (!(atomic_load_explicit(&p->flags, memory_order_relaxed) & PG_CACHE))
			continue;
		++*cache;
		*shared += atomic_load_explicit(&p->mapcount, memory_order_relaxed) > 1;
	}
}

struct vmstat_free vmstat_free(struct frames *f)
{
	const uint64_t kib = PAGE_SIZE / 1024;
	uint64_t free = 0, cache = 0, shared = 0, reserve = 0;

	for (unsigned int i = 0; i < f->nr_nodes * NR_ZONES; i++) {
		struct zone *z = &f->zone[i];
		if (!zone_is_guest(z->type))
			continue;
		free += zone_free_pages(z) + pcp_pages(f, z) + zeropool_pages(z);
		reserve += wmark_pages(z, WMARK_LOW);
		count_cache(f, z, &cache, &shared);
	}
	struct vmstat_free v = {.total = frames_guest_pages(f) * kib,
				.free = free * kib,
				.shared = shared * kib,
				.buff_cache = cache * kib};
	v.used = v.total - v.free - v.buff_cache;
	/* Half of the cache at most is spoken for. */
	uint64_t available = free + cache - min_u64(cache / 2, reserve);
	v.available = (available - min_u64(available, reserve)) * kib;
	return v;
}

void vmstat_print_free(struct frames *f, FILE *out)
{
	struct vmstat_free v = vmstat_free(f);

	fprintf(out, "%20s %11s %11s %11s %11s %11s\n", "total", "used", "free", "shared", "buff/cache",
		"available");
	fprintf(out,
		"Mem:     %11" PRIu64 " %11" PRIu64 " %11" PRIu64 " %11" PRIu64 " %11" PRIu64 " %11" PRIu64
		"\n",
		v.total, v.used, v.free, v.shared, v.buff_cache, v.available);
	fprintf(out, "Swap:    %11d %11d %11d\n", 0, 0, 0);
}
