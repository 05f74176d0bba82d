/* SPDX-License-Identifier: MIT */
/*
 * core_fault.c - ns per page that the memory manager itself spends on anonymous faults: do_user_addr_fault
 * called from outside, over memory that no processor uses. No KVM, no exit, and revocation does nothing.
 *
 *	core-anon-4K		one page per fault, frames that nobody had before: zero without anybody's doing
 *	core-anon-2M		the same with windows of up to 2 MiB
 *	...-zeroing		the same with used frames, each of which is cleared
 *
 * Faults come in address order, each at the first page that the ones before it have not mapped.
 */
#include <stdio.h>
#include <sys/mman.h>

#include "../src/mm/mm.h"
#include "prog/clock.h"

#define PASS_PAGES  (64ull << (20 - PAGE_SHIFT))
#define ARENA_PAGES (NORMAL_START_PFN + 4 * PASS_PAGES)

struct bench {
	struct frames frames;
	struct mm_host host;
	struct mm *mm;
};

/* The whole arena is mapped already. */
static int add_bank(void *ctx, enum zone_type zone, pfn_t start, uint64_t *nr_pages)
{
	(void)ctx, (void)zone, (void)start, (void)nr_pages;
	return 0;
}

/* Nobody has anything cached. */
static void revoke(void *ctx, struct mmu_batch *batch)
{
	struct bench *b = ctx;

	while (!list_empty(&batch->freed_tables)) {
		struct page *table = list_entry(batch->freed_tables.next, struct page, node);
		list_del(&table->node);
		pgtable_free_page(&b->frames, table);
	}
}

static const struct bank_ops bank_ops = {.add_bank = add_bank};
static const struct mmu_ops mmu_ops = {.revoke = revoke};

static int setup(struct bench *b)
{
	size_t bytes = (ARENA_PAGES << PAGE_SHIFT) + PMD_SIZE;
	char *arena =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (arena == MAP_FAILED)
		return -1;
	arena += -(uintptr_t)arena & (PMD_SIZE - 1);
	if (frames_init(&b->frames, arena, ARENA_PAGES, &bank_ops, NULL))
		return -1;
	if (mm_host_init(&b->host, &b->frames, &mmu_ops, b))
		return -1;
	b->mm = mm_create(&b->host, 4 * PASS_PAGES);
	return b->mm ? 0 : -1;
}

static int map_pass(struct bench *b, gva_t *start)
{
	const struct mmap_request r = {.length = PASS_PAGES << PAGE_SHIFT,
				       .prot = PROT_BITS_READ | PROT_BITS_WRITE,
				       .flags = MAP_PRIVATE | MAP_ANONYMOUS};
	int64_t at = mm_mmap(b->mm, &r);

	*start = (gva_t)at;
	return at < 0 ? -1 : 0;
}

/* Maps all of a pass by faults; ns per page, or a negative number. */
static double fault_ns(struct bench *b, gva_t at)
{
	gva_t end = at + (PASS_PAGES << PAGE_SHIFT);
	uint64_t rss = mm_rss_pages(b->mm), start = clock_now_ns();

	while (at < end) {
		uint64_t ahead = atomic_load(&b->mm->fault_around_mapped);
		if (do_user_addr_fault(b->mm, at, PF_USER | PF_WRITE).signo)
			return -1;
		at += (1 + atomic_load(&b->mm->fault_around_mapped) - ahead) << PAGE_SHIFT;
	}
	uint64_t spent = clock_now_ns() - start;
	return mm_rss_pages(b->mm) - rss == PASS_PAGES ? (double)spent / (double)PASS_PAGES : -1;
}

static const struct {
	const char *name;
	uint32_t around_pages;
} windows[] = {{"core-anon-4K", 1}, {"core-anon-2M", 512}};

/* Both windows, each into an area of its own, so that neither gets frames of the other. */
static int run(struct bench *b, const char *suffix)
{
	gva_t start[ARRAY_SIZE(windows)];
	double ns;

	for (unsigned int i = 0; i < ARRAY_SIZE(windows); i++) {
		b->mm->fault_around_pages = windows[i].around_pages;
		ns = map_pass(b, &start[i]) ? -1 : fault_ns(b, start[i]);
		if (ns < 0)
			return -1;
		if (suffix)
			printf("%s%s %.1f\n", windows[i].name, suffix, ns);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(windows); i++)
		if (mm_munmap(b->mm, start[i], PASS_PAGES << PAGE_SHIFT))
			return -1;
	return 0;
}

int main(void)
{
	static struct bench b;

	/* The second run clears all frames, which makes the machine provide the memory behind them: not counted. */
	if (setup(&b) || run(&b, "") || run(&b, NULL) || run(&b, "-zeroing")) {
		fprintf(stderr, "core_fault: out of memory, or a fault was not resolved\n");
		return 1;
	}
	mmput(b.mm);
	return 0;
}
