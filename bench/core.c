/* SPDX-License-Identifier: MIT */
#include "core.h"

#include <sys/mman.h>

/* The whole arena is mapped already. */
static int add_bank(void *ctx, enum zone_type zone, pfn_t start, uint64_t *nr_pages)
{
	(void)ctx, (void)zone, (void)start, (void)nr_pages;
	return 0;
}

/* Nobody has anything cached. */
static void revoke(void *ctx, struct mmu_batch *batch)
{
	struct core *c = ctx;

	while (!list_empty(&batch->freed_tables)) {
		struct page *table = list_entry(batch->freed_tables.next, struct page, node);
		list_del(&table->node);
		pgtable_free_page(&c->frames, table);
	}
}

static const struct bank_ops bank_ops = {.add_bank = add_bank};
static const struct mmu_ops mmu_ops = {.revoke = revoke};

int core_init(struct core *c, uint64_t nr_pages, enum core_arena how)
{
	uint64_t arena_pages = NORMAL_START_PFN + nr_pages;
	size_t bytes = arena_pages << PAGE_SHIFT;
	char *arena = mmap(NULL, bytes + PMD_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (arena == MAP_FAILED)
		return -1;
	arena += -(uintptr_t)arena & (PMD_SIZE - 1);
	if (how == CORE_ARENA_TOUCHED) {
		madvise(arena, bytes, MADV_HUGEPAGE);
		for (size_t at = 0; at < bytes; at += PAGE_SIZE)
			*(volatile char *)(arena + at) = 0;
	}
	if (frames_init(&c->frames, arena, arena_pages, &bank_ops, NULL))
		return -1;
	if (mm_host_init(&c->host, &c->frames, &mmu_ops, c))
		return -1;
	c->mm = mm_create(&c->host, arena_pages);
	if (!c->mm)
		return -1;
	c->mm->fault_around_pages = 1;
	return 0;
}

gva_t core_map(struct core *c, uint64_t nr_pages, unsigned int flags)
{
	const struct mmap_request r = {.length = nr_pages << PAGE_SHIFT,
				       .prot = PROT_BITS_READ | PROT_BITS_WRITE,
				       .flags = flags | MAP_ANONYMOUS};
	int64_t at = mm_mmap(c->mm, &r);

	return at < 0 ? 0 : (gva_t)at;
}
