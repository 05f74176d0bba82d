/* SPDX-License-Identifier: MIT */
/*
 * core_fork.c - ns that the memory manager itself spends on a fork, and on the first writes after it; no KVM.
 *
 *	core_fork time MIB small|huge	prints "PAGES-SIZE ns" of mm_fork
 *	core_fork storm MIB small|huge	prints "PAGES-SIZE ns" per 4 KiB page: the child writes to each page
 *
 * with the names and the course of prog/fork.c: every page is written before each fork, the child is gone before the
 * next one, and the median counts. There is no processor: an access looks at the entries and faults where one would.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core.h"
#include "prog/clock.h"
#include "prog/median.h"

#define FORKS 7

struct bench {
	struct core core;
	gva_t start;
	uint64_t nr_pages;
	bool storm;
};

/* Where a write to the page goes, or NULL when a processor would fault. */
static char *writable(struct core *c, struct mm *mm, gva_t address)
{
	unsigned int level;
	pte_t *pmd = pgtable_find_pmd(&mm->pgt, address), *slot = pgtable_leaf(&mm->pgt, address, &level);
	pte_t pte = slot ? pte_read(slot) : 0;

	if (!(pte & PTE_PRESENT) || !pte_write(pte) || !pmd || !pte_write(pte_read(pmd)))
		return NULL;
	gva_t within = address & ((1ull << level_shift(level)) - 1);
	return (char *)page_address(&c->frames, pfn_to_page(&c->frames, pte_pfn(pte))) + within;
}

/* Writes a byte to each page as a program would. 0 or -1. */
static int write_all(struct bench *b, struct mm *mm, char byte)
{
	for (uint64_t i = 0; i < b->nr_pages; i++) {
		gva_t address = b->start + (i << PAGE_SHIFT);
		char *at;
		while (!(at = writable(&b->core, mm, address)))
			if (do_user_addr_fault(mm, address, PF_USER | PF_WRITE).signo)
				return -1;
		*at = byte;
	}
	return 0;
}

/* The child's writes are its own. */
static bool all_are(struct bench *b, char byte)
{
	for (uint64_t i = 0; i < b->nr_pages; i++) {
		char now;
		if (copy_from_user(b->core.mm, &now, b->start + (i << PAGE_SHIFT), 1) || now != byte)
			return false;
	}
	return true;
}

/* ns, or -1. */
static double fork_once(struct bench *b)
{
	struct mm *child;

	if (write_all(b, b->core.mm, 1))
		return -1;
	uint64_t start = clock_now_ns();
	if (mm_fork(b->core.mm, &child))
		return -1;
	uint64_t forked = clock_now_ns();
	int err = b->storm ? write_all(b, child, 2) : 0;
	uint64_t end = clock_now_ns();
	mmput(child);
	if (err || !all_are(b, 1))
		return -1;
	return b->storm ? (double)(end - forked) / (double)b->nr_pages : (double)(forked - start);
}

static int setup(struct bench *b, bool huge)
{
	/* The storm's child has copies of all; tables and what the core takes for itself need little. */
	uint64_t arena_pages = b->nr_pages * (b->storm ? 2 : 1) + b->nr_pages / 8;

	if (core_init(&b->core, arena_pages, CORE_ARENA_TOUCHED))
		return -1;
	b->start = core_map(&b->core, b->nr_pages + PTRS_PER_TABLE, MAP_PRIVATE);
	if (!b->start)
		return -1;
	b->start += -b->start & (PMD_SIZE - 1);
	return huge ? mm_madvise(b->core.mm, b->start, b->nr_pages << PAGE_SHIFT, MADV_HUGEPAGE) : 0;
}

int main(int argc, char **argv)
{
	static struct bench b;
	double ns[FORKS];

	if (argc != 4 || (strcmp(argv[1], "time") != 0 && strcmp(argv[1], "storm") != 0))
		return 2;
	bool huge = !strcmp(argv[3], "huge");
	b.storm = !strcmp(argv[1], "storm");
	b.nr_pages = strtoul(argv[2], NULL, 10) << (20 - PAGE_SHIFT);
	int err = setup(&b, huge);
	for (int i = 0; !err && i < FORKS; i++) {
		ns[i] = fork_once(&b);
		err = ns[i] < 0;
	}
	if (err) {
		fputs("core_fork: out of memory, or the parent's memory changed\n", stderr);
		return 1;
	}
	printf("%s-%sMiB %.1f\n", huge ? "2M" : "4K", argv[2], median(ns, FORKS));
	mmput(b.core.mm);
	return 0;
}
