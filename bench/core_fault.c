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

#include "core.h"
#include "prog/clock.h"

#define PASS_PAGES (64ull << (20 - PAGE_SHIFT))
/* Maps all of a pass by faults; ns per page, or a negative number. */
static double fault_ns(struct core *c, gva_t at)
{
	gva_t end = at + (PASS_PAGES << PAGE_SHIFT);
	uint64_t rss = mm_rss_pages(c->mm), start = clock_now_ns();

	while (at < end) {
		uint64_t ahead = atomic_load(&c->mm->fault_around_mapped);
		if (do_user_addr_fault(c->mm, at, PF_USER | PF_WRITE).signo)
			return -1;
		at += (1 + atomic_load(&c->mm->fault_around_mapped) - ahead) << PAGE_SHIFT;
	}
	uint64_t spent = clock_now_ns() - start;
	return mm_rss_pages(c->mm) - rss == PASS_PAGES ? (double)spent / (double)PASS_PAGES : -1;
}

static const struct {
	const char *name;
	uint32_t around_pages;
} windows[] = {{"core-anon-4K", 1}, {"core-anon-2M", 512}};

/* Both windows, each into an area of its own, so that neither gets frames of the other. */
static int run(struct core *c, const char *suffix)
{
	gva_t start[ARRAY_SIZE(windows)];
	double ns;

	for (unsigned int i = 0; i < ARRAY_SIZE(windows); i++) {
		c->mm->fault_around_pages = windows[i].around_pages;
		start[i] = core_map(c, PASS_PAGES, MAP_PRIVATE);
		ns = start[i] ? fault_ns(c, start[i]) : -1;
		if (ns < 0)
			return -1;
		if (suffix)
			printf("%s%s %.1f\n", windows[i].name, suffix, ns);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(windows); i++)
		if (mm_munmap(c->mm, start[i], PASS_PAGES << PAGE_SHIFT))
			return -1;
	return 0;
}

int main(void)
{
	static struct core c;

	/* The second run clears all frames, which makes the machine provide the memory behind them: not counted. */
	if (core_init(&c, 4 * PASS_PAGES, CORE_ARENA_FRESH) || run(&c, "") || run(&c, NULL) ||
	    run(&c, "-zeroing")) {
		fprintf(stderr, "core_fault: out of memory, or a fault was not resolved\n");
		return 1;
	}
	mmput(c.mm);
	return 0;
}
