/* SPDX-License-Identifier: MIT */
/*
 * core_ladder.c - ns that the memory manager itself spends on one fault, for each leaf of the ladder: do_user_addr_fault called
 * from outside, one page per fault, no KVM.
 *
 *	core_ladder		prints "LEAF ns"
 *	core_ladder floor	prints "* ns" of a call that does nothing
 *
 * A name alone is the work without clearing or copying a page: leaves that clear get frames that nobody had before; for
 * those that copy, the same pages are copied again in the same order and that time is taken off. NAME-zeroing and
 * NAME-copying have it in. The leaf's own counter must have counted each fault.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "core.h"
#include "prog/clock.h"
#include "prog/median.h"

#define PAGES	    8192ull /* of most leaves */
#define PARTS	    32ull
#define STACK_PAGES 1984ull /* within the limit of a stack; a multiple of PARTS */
#define ARENA_PAGES (12 * PAGES)
#define STACK_TOP   0x200000000000ull
#define MAX_KEPT    8

struct ladder {
	struct core core;
	struct backing file;
	struct { /* mappings to be taken away at the end of a stage */
		gva_t start;
		uint64_t nr_pages;
	} kept[MAX_KEPT];
	unsigned int nr_kept;
};

/* --- a file of zeros ------------------------------------------------------------------------------------------------ */

static ssize_t file_read(struct backing *b, void *buffer, size_t bytes, uint64_t offset)
{
	(void)b, (void)offset;
	memset(buffer, 0, bytes);
	return (ssize_t)bytes;
}

static int file_write(struct backing *b, const struct iovec *iov, unsigned int nr, uint64_t offset)
{
	(void)b, (void)iov, (void)nr, (void)offset;
	return 0;
}

static int64_t file_size(struct backing *b)
{
	(void)b;
	return PAGES << PAGE_SHIFT;
}

static void file_release(struct backing *b)
{
	(void)b;
}

static const struct backing_ops file_ops = {.read = file_read,
					    .write = file_write,
					    .size = file_size,
					    .release = file_release};

/* --- faults --------------------------------------------------------------------------------------------------------- */

typedef struct fault_signal (*fault_fn)(struct mm *mm, gva_t address, uint32_t error_code);

/*
 * Faults at nr pages, one after the other; ns per fault, the median of PARTS parts, so that what else the machine does
 * hits few of them. -1: one of the faults was not counted as `leaf`.
 */
static double faults_ns(struct ladder *l, enum fault_leaf leaf, gva_t start, int64_t step, uint64_t nr,
			uint32_t error_code)
{
	_Atomic uint64_t *counter = &l->core.mm->faults[leaf];
	uint64_t before = atomic_load(counter), each = nr / PARTS;
	double ns[PARTS];

	for (uint64_t part = 0; part < PARTS; part++) {
		uint64_t begin = clock_now_ns();
		for (uint64_t i = 0; i < each; i++, start += (gva_t)step)
			if (do_user_addr_fault(l->core.mm, start, error_code).signo)
				return -1;
		ns[part] = (double)(clock_now_ns() - begin) / (double)each;
	}
	return atomic_load(counter) - before == nr ? median(ns, PARTS) : -1;
}

static double leaf_ns(struct ladder *l, enum fault_leaf leaf, gva_t start, uint32_t error_code)
{
	return start ? faults_ns(l, leaf, start, PAGE_SIZE, PAGES, error_code | PF_USER) : -1;
}

static int report(const char *name, const char *suffix, double ns)
{
	if (ns < 0) {
		fprintf(stderr, "core_ladder: %s: out of memory, or another leaf\n", name);
		return -1;
	}
	if (suffix)
		printf("%s%s %.1f\n", name, suffix, ns);
	return 0;
}

static gva_t keep(struct ladder *l, gva_t start, uint64_t nr_pages)
{
	if (start && l->nr_kept < MAX_KEPT) {
		l->kept[l->nr_kept].start = start;
		l->kept[l->nr_kept++].nr_pages = nr_pages;
	}
	return start;
}

static gva_t map(struct ladder *l, unsigned int flags)
{
	return keep(l, core_map(&l->core, PAGES, flags), PAGES);
}

static gva_t map_file(struct ladder *l, unsigned int flags)
{
	const struct mmap_request r = {.length = PAGES << PAGE_SHIFT,
				       .prot = PROT_BITS_READ | PROT_BITS_WRITE,
				       .flags = flags,
				       .file = &l->file};
	int64_t at = mm_mmap(l->core.mm, &r);

	return at < 0 ? 0 : keep(l, (gva_t)at, PAGES);
}

static int unmap_all(struct ladder *l)
{
	while (l->nr_kept) {
		l->nr_kept--;
		if (mm_munmap(l->core.mm, l->kept[l->nr_kept].start,
			      l->kept[l->nr_kept].nr_pages << PAGE_SHIFT))
			return -1;
	}
	return 0;
}

/* Frames that come out of the allocator are used ones from here on. */
static int use_all_frames(struct ladder *l)
{
	uint64_t nr_pages = ARENA_PAGES - PAGES; /* what is left over is for tables */
	gva_t start = core_map(&l->core, nr_pages, MAP_PRIVATE);

	if (!start || mm_populate(l->core.mm, start, nr_pages << PAGE_SHIFT))
		return -1;
	return mm_munmap(l->core.mm, start, nr_pages << PAGE_SHIFT);
}

/* --- leaves --------------------------------------------------------------------------------------------------------- */

/* All that clear a page; with a NULL suffix nothing is told. */
static int clearing_leaves(struct ladder *l, const char *suffix)
{
	gva_t written = map(l, MAP_PRIVATE), read = map(l, MAP_PRIVATE), shared = map(l, MAP_SHARED);
	bool first = suffix && !*suffix;

	return report("anon-write", suffix, leaf_ns(l, FAULT_ANON_WRITE, written, PF_WRITE)) ||
	       report("zero-page", first ? suffix : NULL, leaf_ns(l, FAULT_ANON_ZERO_PAGE, read, 0)) ||
	       report("wp-zero-page", suffix, leaf_ns(l, FAULT_WP_ZERO_PAGE, read, PF_WRITE | PF_PROT)) ||
	       report("shared", suffix, leaf_ns(l, FAULT_SHARED, shared, PF_WRITE)) || unmap_all(l);
}

static void *host_page(struct ladder *l, gva_t address)
{
	pte_t *slot = pgtable_find(&l->core.mm->pgt, address);

	return slot ? page_address(&l->core.frames, pfn_to_page(&l->core.frames, pte_pfn(pte_read(slot))))
		    : NULL;
}

/* Copies the pages under one mapping to those under the other; ns per page, as faults_ns counts. */
static double copy_ns(struct ladder *l, gva_t from, gva_t to)
{
	static void *source[PAGES], *target[PAGES];
	const uint64_t each = PAGES / PARTS;
	double ns[PARTS];

	for (uint64_t i = 0; i < PAGES; i++) {
		source[i] = host_page(l, from + (i << PAGE_SHIFT));
		target[i] = host_page(l, to + (i << PAGE_SHIFT));
		if (!source[i] || !target[i])
			return 0;
	}
	for (uint64_t part = 0; part < PARTS; part++) {
		uint64_t begin = clock_now_ns();
		for (uint64_t i = part * each; i < (part + 1) * each; i++)
			memcpy(target[i], source[i], PAGE_SIZE);
		ns[part] = (double)(clock_now_ns() - begin) / (double)each;
	}
	return median(ns, PARTS);
}

static int report_copying(struct ladder *l, const char *name, double ns, gva_t from, gva_t to)
{
	if (report(name, "-copying", ns))
		return -1;
	double bare = ns - copy_ns(l, from, to);
	return report(name, "", bare > 0 ? bare : 0.1);
}

/* The first mapping brings the file into the cache. */
static int file_leaves(struct ladder *l)
{
	gva_t first = map_file(l, MAP_PRIVATE);

	if (report("first read", NULL, leaf_ns(l, FAULT_READ, first, 0)))
		return -1;
	gva_t read = map_file(l, MAP_PRIVATE), cow = map_file(l, MAP_PRIVATE);
	if (report("read", "", leaf_ns(l, FAULT_READ, read, 0)) ||
	    report_copying(l, "cow", leaf_ns(l, FAULT_COW, cow, PF_WRITE), first, cow) ||
	    report_copying(l, "wp-copy", leaf_ns(l, FAULT_WP_COPY, read, PF_WRITE | PF_PROT), first, read))
		return -1;
	/* The first write to a clean page of a shared mapping: page_mkwrite, and it is dirty from here on. */
	gva_t shared = map_file(l, MAP_SHARED);
	if (leaf_ns(l, FAULT_READ, shared, 0) < 0)
		return report("shared file", NULL, -1);
	return report("wp-shared-file", "", leaf_ns(l, FAULT_WP_SHARED, shared, PF_WRITE | PF_PROT)) ||
	       unmap_all(l);
}

/* Takes the right to write out of every entry, as a fork does that has its pages to itself again. */
static void make_read_only(struct ladder *l, gva_t start)
{
	for (uint64_t i = 0; start && i < PAGES; i++) {
		pte_t *slot = pgtable_find(&l->core.mm->pgt, start + (i << PAGE_SHIFT));
		pte_set(slot, pte_read(slot) & ~PTE_WRITE);
	}
}

static int present_leaves(struct ladder *l)
{
	gva_t own = map(l, MAP_PRIVATE), shared = map(l, MAP_SHARED);

	if (leaf_ns(l, FAULT_ANON_WRITE, own, PF_WRITE) < 0 || leaf_ns(l, FAULT_SHARED, shared, PF_WRITE) < 0)
		return report("present pages", NULL, -1);
	make_read_only(l, own);
	make_read_only(l, shared);
	return report("wp-reuse", "", leaf_ns(l, FAULT_WP_REUSE, own, PF_WRITE | PF_PROT)) ||
	       report("wp-shared", "", leaf_ns(l, FAULT_WP_SHARED, shared, PF_WRITE | PF_PROT)) ||
	       report("spurious", "", leaf_ns(l, FAULT_SPURIOUS, own, PF_WRITE | PF_PROT)) || unmap_all(l);
}

/* Each fault is at the page below the stack. */
static int stack_leaf(struct ladder *l, const char *suffix)
{
	const struct mmap_request r = {.address = STACK_TOP - PAGE_SIZE,
				       .length = PAGE_SIZE,
				       .prot = PROT_BITS_READ | PROT_BITS_WRITE,
				       .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED};

	if (mm_mmap(l->core.mm, &r) < 0)
		return -1;
	double ns = faults_ns(l, FAULT_STACK_GROWTH, STACK_TOP - 2 * PAGE_SIZE, -(int64_t)PAGE_SIZE,
			      STACK_PAGES, PF_USER | PF_WRITE);
	return report("stack-growth", suffix, ns) ||
	       mm_munmap(l->core.mm, STACK_TOP - (STACK_PAGES + 1) * PAGE_SIZE,
			 (STACK_PAGES + 1) * PAGE_SIZE);
}

/* --- the empty call ------------------------------------------------------------------------------------------------- */

static struct fault_signal do_nothing(struct mm *mm, gva_t address, uint32_t error_code)
{
	(void)mm, (void)address, (void)error_code;
	return (struct fault_signal){0};
}

static int run_floor(void)
{
	static volatile fault_fn fault = do_nothing;
	const uint64_t nr = 16u << 20;
	uint64_t begin = clock_now_ns();

	for (uint64_t i = 0; i < nr; i++)
		if (fault(NULL, i << PAGE_SHIFT, PF_USER).signo)
			return 1;
	printf("* %.2f\n", (double)(clock_now_ns() - begin) / (double)nr);
	return 0;
}

int main(int argc, char **argv)
{
	static struct ladder l;

	if (argc == 2 && !strcmp(argv[1], "floor"))
		return run_floor();
	if (argc != 1)
		return 2;
	if (core_init(&l.core, ARENA_PAGES, CORE_ARENA_TOUCHED)) {
		fputs("core_ladder: no memory\n", stderr);
		return 1;
	}
	l.file.ops = &file_ops;
	backing_init(&l.file, &l.core.host, &file_ops);
	if (clearing_leaves(&l, "") || stack_leaf(&l, "") || use_all_frames(&l) ||
	    clearing_leaves(&l, "-zeroing") || stack_leaf(&l, "-zeroing") || file_leaves(&l) ||
	    present_leaves(&l)) {
		fputs("core_ladder: out of memory, or a leaf failed\n", stderr);
		return 1;
	}
	backing_put(&l.file);
	mmput(l.core.mm);
	return 0;
}
