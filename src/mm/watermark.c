/* SPDX-License-Identifier: MIT */
/* watermark.c - computing and checking marks. See watermark.h. */
#include "watermark.h"
#include "buddy.h"

static uint64_t lowmem_pages(struct frames *f)
{
	return frames_guest_pages(f);
}

static uint64_t square_root(uint64_t x)
{
	uint64_t root = 0;

	for (uint64_t bit = 1ull << 31; bit; bit >>= 1)
		if ((root + bit) * (root + bit) <= x)
			root += bit;
	return root;
}

/* min_free_kbytes by formula: sqrt(16 * KiB), between 128 KiB and 256 MiB. */
static uint64_t default_min_free_kbytes(struct frames *f)
{
	uint64_t kbytes = square_root(lowmem_pages(f) * (PAGE_SIZE / 1024) * 16);

	return kbytes < 128 ? 128 : min_u64(kbytes, 262144);
}

static void set_marks(struct frames *f, struct zone *z, uint64_t pages_min)
{
	uint64_t managed = zone_managed_pages(z), lowmem = lowmem_pages(f);
	uint64_t min = lowmem ? pages_min * managed / lowmem : 0;
	uint64_t step = pages_min ? max_u64(min >> 2, managed * f->watermark_scale_factor / 10000) : 0;

	z->watermark_boost = 0;
	z->watermark[WMARK_MIN] = min;
	z->watermark[WMARK_LOW] = min + step;
	z->watermark[WMARK_HIGH] = min + 2 * step;
}

static void set_lowmem_reserve(struct frames *f, unsigned int nid, bool on)
{
	for (unsigned int i = ZONE_DMA32; i < NR_ZONES; i++) {
		struct zone *z = node_zone(f, nid, (enum zone_type)i);
		unsigned int ratio = f->lowmem_reserve_ratio[i];
		uint64_t above = 0;
		for (unsigned int j = i + 1; j < NR_ZONES; j++) {
			above += zone_managed_pages(node_zone(f, nid, (enum zone_type)j));
			z->lowmem_reserve[j] = on && ratio && zone_populated(z) ? above / ratio : 0;
		}
	}
}

void watermarks_set(struct frames *f, uint64_t min_free_kbytes)
{
	if (min_free_kbytes == MIN_FREE_BY_FORMULA)
		min_free_kbytes = default_min_free_kbytes(f);
	f->min_free_kbytes = min_free_kbytes;
	for (unsigned int nid = 0; nid < f->nr_nodes; nid++) {
		for (unsigned int t = ZONE_DMA32; t < NR_ZONES; t++)
			set_marks(f, node_zone(f, nid, (enum zone_type)t),
				  min_free_kbytes / (PAGE_SIZE / 1024));
		set_lowmem_reserve(f, nid, min_free_kbytes != 0);
	}
}

/* Frames that count as free but not for this request. */
static uint64_t unusable_free(const struct zone *z, unsigned int order, unsigned int alloc_flags)
{
	uint64_t unusable = (1ull << order) - 1;

	if (!(alloc_flags & (ALLOC_HARDER | ALLOC_OOM)))
		unusable += atomic_load_explicit(&z->nr_reserved_highatomic, memory_order_relaxed);
	if (!(alloc_flags & ALLOC_CMA))
		unusable += atomic_load_explicit(&z->nr_free_cma, memory_order_relaxed);
	return unusable;
}

static uint64_t lowered_mark(uint64_t mark, unsigned int alloc_flags)
{
	if (alloc_flags & ALLOC_HIGH)
		mark -= mark / 2;
	if (alloc_flags & ALLOC_OOM)
		mark -= mark / 2;
	else if (alloc_flags & ALLOC_HARDER)
		mark -= mark / 4;
	return mark;
}

static bool room_has_block(const struct zone *z, unsigned int order)
{
	pfn_t fresh = atomic_load_explicit(&z->fresh_pfn, memory_order_relaxed), size = 1ull << order;

	return zone_room_pages(z) && ((fresh + size - 1) & ~(size - 1)) + size <= z->limit_pfn;
}

static bool has_block(const struct zone *z, unsigned int order, unsigned int alloc_flags)
{
	uint32_t types = (1u << MIGRATE_PCPTYPES) - 1;

	if (alloc_flags & ALLOC_CMA)
		types |= 1u << MIGRATE_CMA;
	if (alloc_flags & (ALLOC_HARDER | ALLOC_OOM))
		types |= 1u << MIGRATE_HIGHATOMIC;
	for (unsigned int o = order; o < MAX_ORDER; o++)
		if (atomic_load_explicit(&z->free_area[o].types, memory_order_relaxed) & types)
			return true;
	return room_has_block(z, order);
}

bool zone_watermark_ok(const struct zone *z, unsigned int order, uint64_t mark, enum zone_type highest,
		       unsigned int alloc_flags)
{
	uint64_t free = zone_free_pages(z), unusable = unusable_free(z, order, alloc_flags);
	uint64_t reserve = atomic_load_explicit(&z->lowmem_reserve[highest], memory_order_relaxed);

	free = free > unusable ? free - unusable : 0;
	mark = lowered_mark(mark, alloc_flags);
	/* Without marks nothing is held back: frames of per-CPU lists may be left when all lists of blocks are empty. */
	if (mark + reserve && free <= mark + reserve)
		return false;
	return !order || has_block(z, order, alloc_flags);
}

bool zone_watermark_fast(const struct zone *z, unsigned int order, uint64_t mark, enum zone_type highest,
			 unsigned int alloc_flags, gfp_t gfp)
{
	if (zone_watermark_ok(z, order, mark, highest, alloc_flags))
		return true;
	if (order || !(gfp & __GFP_ATOMIC) || (alloc_flags & ALLOC_WMARK_MASK) != WMARK_MIN)
		return false;
	uint64_t boost = atomic_load_explicit(&z->watermark_boost, memory_order_relaxed);
	return boost && zone_watermark_ok(z, order, mark > boost ? mark - boost : 0, highest, alloc_flags);
}

bool watermark_boost(struct frames *f, struct zone *z)
{
	uint64_t high = z->watermark[WMARK_HIGH];
	uint64_t most = high * f->watermark_boost_factor / 10000;

	/* In a small zone a whole pageblock would be a large part of all there is. */
	if (!most || PAGEBLOCK_PAGES * 4 > zone_managed_pages(z))
		return false;
	z->watermark_boost = min_u64(z->watermark_boost + PAGEBLOCK_PAGES, max_u64(PAGEBLOCK_PAGES, most));
	return true;
}

void watermark_unboost(struct zone *z)
{
	z->watermark_boost = 0;
	atomic_fetch_and(&z->flags, ~(uint32_t)ZONE_BOOSTED_WATERMARK);
}
