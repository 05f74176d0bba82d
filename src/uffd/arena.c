/* SPDX-License-Identifier: MIT */
/*
 * arena.c - the frame arena. See arena.h.
 *
 * Guest banks ask for transparent huge pages: clearing 2 MiB at once costs less than faulting in a few dozen small pages.
 * Tables and objects are few and stay with small pages.
 */
#include <errno.h>
#include <sys/mman.h>

#include "arena.h"
#include "lazy.h"

#define GIB (1ull << 30)

static int add_bank(void *ctx, enum zone_type zone, pfn_t start, uint64_t *nr_pages)
{
	struct arena *a = ctx;
	char *hva = a->base + (start << PAGE_SHIFT);
	uint64_t bytes = *nr_pages << PAGE_SHIFT;

	if (mprotect(hva, bytes, PROT_READ | PROT_WRITE))
		return -ENOMEM;
	if (zone_is_guest(zone))
		madvise(hva, bytes, MADV_HUGEPAGE); /* a hint: small pages work too */
	if (zone != ZONE_OBJECT && a->add_slot) {
		int err = a->add_slot(a->slot_ctx, start << PAGE_SHIFT, hva, bytes);
		if (err)
			return err;
	}
	atomic_fetch_add(&a->bank_bytes, bytes);
	atomic_fetch_add(&a->nr_banks, 1);
	return 0;
}

/* The machine forgets the frames' memory; a guest that maps them again finds zeroes. */
static int discard(void *ctx, pfn_t start, uint64_t nr_pages)
{
	struct arena *a = ctx;

	return lazy_discard(atomic_load(&a->lazy), a->base + (start << PAGE_SHIFT), nr_pages << PAGE_SHIFT);
}

static const struct bank_ops arena_bank_ops = {.add_bank = add_bank, .discard = discard};

/* Below 4 GiB of guest-physical space, for whoever asks for it; a small arena has all its memory above. */
#define DMA32_PAGES	 (DMA32_END_PFN - DMA32_START_PFN)
#define DMA32_FROM_BYTES (4 * GIB)

int arena_init(struct arena *a, const struct arena_setup *setup)
{
	struct frames_setup frames = {.ops = &arena_bank_ops, .ctx = a, .nr_nodes = setup->nr_nodes};
	uint64_t normal = setup->max_bytes;

	if (normal >= DMA32_FROM_BYTES) {
		frames.dma32_pages = DMA32_PAGES;
		normal -= DMA32_PAGES << PAGE_SHIFT;
	}
	frames.max_pfn = NORMAL_START_PFN + (((normal + GIB - 1) & ~(GIB - 1)) >> PAGE_SHIFT);
	*a = (struct arena){.reserved_bytes = (frames.max_pfn << PAGE_SHIFT) + PMD_SIZE};
	char *map =
		mmap(NULL, a->reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return -ENOMEM;
	a->base = (char *)(((uintptr_t)map + PMD_SIZE - 1) & PMD_MASK);
	if (a->base != map)
		munmap(map, (size_t)(a->base - map));
	a->reserved_bytes -= (uint64_t)(a->base - map);
	frames.direct_map = a->base;
	int err = frames_setup(&a->frames, &frames);
	if (err)
		munmap(a->base, a->reserved_bytes);
	else
		pthread_mutex_init(&a->touch_lock, NULL);
	return err;
}

void arena_touch_first(struct arena *a)
{
	struct zone *z = node_zone(&a->frames, 0, ZONE_NORMAL);
	char *first = a->base + (z->start_pfn << PAGE_SHIFT);

	pthread_mutex_lock(&z->lock);
	bool there = z->present_pages;
	pthread_mutex_unlock(&z->lock);
	pthread_mutex_lock(&a->touch_lock);
	if (there && !atomic_load(&a->lazy))
		/* A write that changes nothing, whoever else writes there: no access that C knows does that without a race. */
		__asm__ volatile("lock orb $0, %0" : "+m"(*first));
	pthread_mutex_unlock(&a->touch_lock);
}

int arena_open_lazy(struct arena *a, const char **why)
{
	const struct lazy_setup setup = {.base = a->base, .bytes = a->reserved_bytes};
	struct lazy *lazy;

	if (atomic_load(&a->lazy))
		return 0;
	int err = lazy_create(&setup, &lazy, why);
	if (err)
		return err;
	pthread_mutex_lock(&a->touch_lock);
	atomic_store(&a->lazy, lazy);
	pthread_mutex_unlock(&a->touch_lock);
	return 0;
}

void arena_destroy(struct arena *a)
{
	lazy_destroy(atomic_load(&a->lazy));
	frames_destroy(&a->frames);
	pthread_mutex_destroy(&a->touch_lock);
	munmap(a->base, a->reserved_bytes);
}
