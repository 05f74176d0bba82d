/* SPDX-License-Identifier: MIT */
/* mmap, munmap, mprotect, mremap, madvise and brk: results, errors, and areas that join and split. */
#include "../sim/fixture.h"

#define A  0x10000000ull
#define P  PAGE_SIZE
#define RW (PROT_READ | PROT_WRITE)

static void assert_areas(struct fixture *x, unsigned int nr)
{
	assert_int_equal(x->mm->vmas.nr, nr);
	assert_mm_sound(x->mm);
}

static void assert_area(struct fixture *x, gva_t start, gva_t end, uint64_t access)
{
	const struct vma *vma = vma_find(&x->mm->vmas, start);

	assert_non_null(vma);
	assert_int_equal(vma->start, start);
	assert_int_equal(vma->end, end);
	assert_int_equal(vma->flags & VM_ACCESS_FLAGS, access);
}

static void placement(void **state)
{
	struct fixture *x = *state;
	gva_t base = x->mm->mmap_base;

	assert_int_equal(base, 0x7ffff7fff000);
	assert_int_equal(fixture_map(x, 0, 1, RW, 0), base - P);
	assert_int_equal(fixture_map(x, 0, 1, PROT_READ, 0), base - 2 * P);
	assert_int_equal(fixture_map(x, 0, 4, RW, 0), base - 6 * P);
	assert_int_equal(fixture_map(x, A + 123, 1, RW, 0), A);
	assert_int_equal(fixture_map(x, A, 1, RW, 0), base - 7 * P);
	assert_areas(x, 4);
}

static void sixteen_bytes(void **state)
{
	struct fixture *x = *state;
	struct mmap_request r = {.length = 16, .prot = RW, .flags = MAP_PRIVATE | MAP_ANONYMOUS};
	int64_t at = mm_mmap(x->mm, &r);

	assert_true(at > 0);
	assert_int_equal(at & (P - 1), 0);
	assert_area(x, (gva_t)at, (gva_t)at + 0x1000, VM_READ | VM_WRITE);
	fixture_store(x, (gva_t)at + 0xff8, 1);
	r.length = 4;
	assert_int_equal(mm_mmap(x->mm, &r), at - 0x1000);
	assert_int_equal(x->mm->total_vm_pages, 2);
}

static void bad_requests(void **state)
{
	struct fixture *x = *state;
	static const struct {
		gva_t address;
		uint64_t length;
		unsigned int flags;
		int error;
	} row[] = {
		{0, 0, 0, -EINVAL},
		{0, ~0ull, 0, -ENOMEM},
		{0, 1ull << 47, 0, -ENOMEM},
		{0, ~0xfffull, 0, -ENOMEM},
		{A + 1, P, MAP_FIXED, -EINVAL},
		{0, P, MAP_FIXED, -EPERM},
		{0x1000, P, MAP_FIXED, -EPERM},
		{0xf000, P, MAP_FIXED, -EPERM},
		{TASK_SIZE, P, MAP_FIXED, -ENOMEM},
		{TASK_SIZE - P, 2 * P, MAP_FIXED, -ENOMEM},
		{0x800000000000, P, MAP_FIXED, -ENOMEM},
		{0xffff800000000000, P, MAP_FIXED, -ENOMEM},
		{~0xfffull, P, MAP_FIXED, -ENOMEM},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(row); i++) {
		struct mmap_request r = {.address = row[i].address, .length = row[i].length, .prot = RW};

		r.flags = row[i].flags | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
		assert_int_equal(mm_mmap(x->mm, &r), row[i].error);
		assert_areas(x, 0);
	}
	assert_int_equal(fixture_map(x, 0x10000, 1, RW, MAP_FIXED), 0x10000);
	assert_int_equal(fixture_map(x, TASK_SIZE - P, 1, RW, MAP_FIXED), TASK_SIZE - P);
	fixture_store(x, TASK_SIZE - 8, 3);
	assert_int_equal(fixture_map(x, TASK_SIZE - P, 1, RW, MAP_FIXED_NOREPLACE), -EEXIST);
	assert_int_equal(fixture_load(x, TASK_SIZE - 8), 3);
}

static void lowest_address_is_a_knob(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(x->mm->mmap_min_addr, 65536);
	x->mm->mmap_min_addr = 0x4000;
	assert_int_equal(fixture_map(x, 0x3000, 1, RW, MAP_FIXED), -EPERM);
	assert_int_equal(fixture_map(x, 0x4000, 1, RW, MAP_FIXED), 0x4000);
}

static void merging(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 1, RW, MAP_FIXED);
	fixture_map(x, A + P, 1, RW, MAP_FIXED); /* joins the one before */
	assert_areas(x, 1);
	assert_area(x, A, A + 2 * P, VM_READ | VM_WRITE);
	fixture_map(x, A + 10 * P, 1, RW, MAP_FIXED);
	fixture_map(x, A + 9 * P, 1, RW, MAP_FIXED); /* joins the one behind */
	assert_areas(x, 2);
	assert_area(x, A + 9 * P, A + 11 * P, VM_READ | VM_WRITE);
	fixture_map(x, A + 2 * P, 7, RW, MAP_FIXED); /* fills the gap between two */
	assert_areas(x, 1);
	assert_area(x, A, A + 11 * P, VM_READ | VM_WRITE);
}

static void no_merging(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;

	sim_file_init(&file, x->machine, 16 * P);
	fixture_map(x, A, 1, RW, MAP_FIXED);
	fixture_map(x, A + P, 1, PROT_READ, MAP_FIXED);
	assert_areas(x, 2);
	fixture_map(x, A + 2 * P, 1, PROT_READ, MAP_FIXED | MAP_SHARED);
	fixture_map(x, A + 3 * P, 1, PROT_READ, MAP_FIXED | MAP_SHARED); /* another object */
	assert_areas(x, 4);
	fixture_map_file(x, &file, A + 4 * P, 1, 0, PROT_READ, MAP_PRIVATE | MAP_FIXED);
	fixture_map_file(x, &file, A + 5 * P, 1, 2, PROT_READ,
			 MAP_PRIVATE | MAP_FIXED); /* not the next page */
	assert_areas(x, 6);
	fixture_map_file(x, &file, A + 6 * P, 1, 3, PROT_READ, MAP_PRIVATE | MAP_FIXED); /* the next page */
	assert_areas(x, 6);
	mm_munmap(x->mm, A, 7 * P);
	assert_areas(x, 0);
	backing_put(&file.backing);
	assert_int_equal(file.releases, 1);
}

static void next_page_extends(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, 0x7ffff7ffa000, 4, PROT_READ, MAP_FIXED);
	fixture_map(x, 0x7ffff7ffe000, 1, PROT_READ | PROT_EXEC, MAP_FIXED);
	assert_int_equal(fixture_map(x, 0, 1, RW, 0), 0x7ffff7ff9000);
	assert_areas(x, 3);
	assert_int_equal(fixture_map(x, 0, 1, RW, 0), 0x7ffff7ff8000);
	assert_areas(x, 3);
	assert_area(x, 0x7ffff7ff8000, 0x7ffff7ffa000, VM_READ | VM_WRITE);
}

static void fixed_replaces(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 10, RW, MAP_FIXED);
	for (unsigned int i = 0; i < 10; i++)
		fixture_store(x, A + i * P, i + 1);
	assert_int_equal(fixture_map(x, A + 3 * P, 4, PROT_READ, MAP_FIXED), A + 3 * P);
	assert_areas(x, 3);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(fixture_load(x, A + i * P), i >= 3 && i < 7 ? 0 : i + 1);
	assert_int_equal(x->mm->total_vm_pages, 10);
	assert_signal(x, SIM_STORE, A + 3 * P, SIGSEGV, SEGV_ACCERR);
}

static void munmap_cuts(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 10, RW, MAP_FIXED);
	for (unsigned int i = 0; i < 10; i++)
		fixture_store(x, A + i * P, i + 1);
	assert_int_equal(mm_munmap(x->mm, A + 4 * P, 2 * P - 1), 0);
	assert_areas(x, 2);
	assert_int_equal(mm_munmap(x->mm, A, P), 0);
	assert_int_equal(mm_munmap(x->mm, A + 9 * P, P), 0);
	assert_areas(x, 2);
	assert_int_equal(mm_rss_pages(x->mm), 6);
	assert_signal(x, SIM_LOAD, A, SIGSEGV, SEGV_MAPERR);
	assert_signal(x, SIM_LOAD, A + 4 * P, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(fixture_load(x, A + P), 2);
	assert_int_equal(mm_munmap(x->mm, A, 10 * P), 0);
	assert_areas(x, 0);
	assert_int_equal(mm_munmap(x->mm, A, 10 * P), 0);
	assert_int_equal(mm_munmap(x->mm, A + 1, P), -EINVAL);
	assert_int_equal(mm_munmap(x->mm, A, 0), -EINVAL);
	assert_int_equal(mm_munmap(x->mm, TASK_SIZE, P), -EINVAL);
	assert_int_equal(mm_munmap(x->mm, A, ~0ull), -EINVAL);
	assert_int_equal(x->mm->total_vm_pages, 0);
}

static void mprotect_splits_and_joins(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 10, RW, MAP_FIXED);
	assert_int_equal(mm_mprotect(x->mm, A + 2 * P, 3 * P, PROT_READ), 0);
	assert_areas(x, 3);
	assert_area(x, A + 2 * P, A + 5 * P, VM_READ);
	assert_int_equal(mm_mprotect(x->mm, A + 5 * P, P, PROT_READ), 0);
	assert_areas(x, 3);
	assert_area(x, A + 2 * P, A + 6 * P, VM_READ);
	assert_int_equal(mm_mprotect(x->mm, A, 10 * P, RW), 0);
	assert_areas(x, 1);
	assert_int_equal(mm_mprotect(x->mm, A + 1, P, RW), -EINVAL);
	assert_int_equal(mm_mprotect(x->mm, A, 0, RW), 0);
	assert_int_equal(mm_mprotect(x->mm, A + 10 * P, P, RW), -ENOMEM);
	assert_int_equal(mm_mprotect(x->mm, A, ~0xfffull, RW), -ENOMEM);
	assert_area(x, A, A + 10 * P, VM_READ | VM_WRITE);
}

static void shared_file_stays_read_only(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;

	sim_file_init(&file, x->machine, 4 * P);
	assert_int_equal(fixture_map_file(x, &file, A, 1, 0, RW, MAP_SHARED | MAP_FIXED), -EACCES);
	assert_int_equal(fixture_map_file(x, &file, A, 1, 0, PROT_READ, MAP_SHARED | MAP_FIXED), A);
	assert_int_equal(mm_mprotect(x->mm, A, P, RW), -EACCES);
	assert_signal(x, SIM_STORE, A, SIGSEGV, SEGV_ACCERR);
	assert_int_equal(fixture_load(x, A), sim_file_word(0));
	mm_munmap(x->mm, A, P);
	backing_put(&file.backing);
	assert_int_equal(file.releases, 1);
}

static void mremap_in_place(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 4, RW, MAP_FIXED);
	fixture_store(x, A + 3 * P, 4);
	assert_int_equal(mm_mremap(x->mm, A, 4 * P, 8 * P, 0, 0), A);
	assert_area(x, A, A + 8 * P, VM_READ | VM_WRITE);
	assert_int_equal(fixture_load(x, A + 3 * P), 4);
	assert_int_equal(fixture_load(x, A + 7 * P), 0);
	assert_int_equal(mm_mremap(x->mm, A, 8 * P, 2 * P, 0, 0), A);
	assert_area(x, A, A + 2 * P, VM_READ | VM_WRITE);
	assert_int_equal(x->mm->total_vm_pages, 2);
	fixture_map(x, A + 2 * P, 1, PROT_READ, MAP_FIXED);
	assert_int_equal(mm_mremap(x->mm, A, 2 * P, 4 * P, 0, 0), -ENOMEM);
	assert_areas(x, 2);
}

static void mremap_moves(void **state)
{
	struct fixture *x = *state;
	gva_t to;

	fixture_map(x, A, 600, RW, MAP_FIXED);
	for (unsigned int i = 0; i < 600; i += 7)
		fixture_store(x, A + i * P, i + 1);
	fixture_map(x, A + 600 * P, 1, PROT_READ, MAP_FIXED);
	to = (gva_t)mm_mremap(x->mm, A, 600 * P, 700 * P, MREMAP_MAYMOVE, 0);
	assert_int_equal(to, x->mm->mmap_base - 700 * P);
	assert_mm_sound(x->mm);
	for (unsigned int i = 0; i < 600; i++)
		assert_int_equal(fixture_load(x, to + i * P), i % 7 ? 0 : i + 1);
	assert_signal(x, SIM_LOAD, A, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(mm_mremap(x->mm, to, 700 * P, 10 * P, MREMAP_MAYMOVE | MREMAP_FIXED, A + 3 * P),
			 A + 3 * P);
	assert_int_equal(fixture_load(x, A + 10 * P), 8);
	assert_int_equal(x->mm->total_vm_pages, 11);
	assert_signal(x, SIM_LOAD, to, SIGSEGV, SEGV_MAPERR);
	assert_mm_sound(x->mm);
}

static void mremap_errors(void **state)
{
	struct fixture *x = *state;
	static const struct {
		gva_t old;
		uint64_t old_len, new_len;
		unsigned int flags;
		gva_t new_address;
		int error;
	} row[] = {
		{A + 1, P, 2 * P, 0, 0, -EINVAL},
		{A, P, 0, 0, 0, -EINVAL},
		{A, P, 2 * P, MREMAP_FIXED, A + 0x100000, -EINVAL},
		{A, P, 2 * P, 0x80, 0, -EINVAL},
		{A, P, P, MREMAP_FIXED | MREMAP_MAYMOVE, A + 0x100001, -EINVAL},
		{A, 2 * P, 2 * P, MREMAP_FIXED | MREMAP_MAYMOVE, A + P, -EINVAL},
		{A, P, P, MREMAP_FIXED | MREMAP_MAYMOVE, TASK_SIZE, -EINVAL},
		{A + 0x100000, P, 2 * P, MREMAP_MAYMOVE, 0, -EFAULT},
		{A, 5 * P, 6 * P, MREMAP_MAYMOVE, 0, -EFAULT},
		{A, 0, P, MREMAP_MAYMOVE, 0, -EINVAL},
		{A, 4 * P, 1ull << 47, MREMAP_MAYMOVE, 0, -EINVAL},
		{A, 4 * P, TASK_SIZE, MREMAP_MAYMOVE, 0, -ENOMEM},
	};

	fixture_map(x, A, 4, RW, MAP_FIXED);
	fixture_store(x, A, 9);
	for (unsigned int i = 0; i < ARRAY_SIZE(row); i++) {
		assert_int_equal(mm_mremap(x->mm, row[i].old, row[i].old_len, row[i].new_len, row[i].flags,
					   row[i].new_address),
				 row[i].error);
		assert_areas(x, 1);
		assert_int_equal(fixture_load(x, A), 9);
	}
}

static void madvise_dontneed(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 8, RW, MAP_FIXED);
	for (unsigned int i = 0; i < 8; i++)
		fixture_store(x, A + i * P, i + 1);
	assert_int_equal(mm_madvise(x->mm, A + 2 * P, 3 * P, MADV_DONTNEED), 0);
	assert_int_equal(mm_rss_pages(x->mm), 5);
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(fixture_load(x, A + i * P), i >= 2 && i < 5 ? 0 : i + 1);
	assert_int_equal(mm_madvise(x->mm, A + 1, P, MADV_DONTNEED), -EINVAL);
	assert_int_equal(mm_madvise(x->mm, A, 0, MADV_DONTNEED), 0);
	assert_int_equal(mm_madvise(x->mm, A, P, 12345), -EINVAL);
	assert_int_equal(mm_madvise(x->mm, A + 8 * P, P, MADV_DONTNEED), -ENOMEM);
	assert_areas(x, 1);
}

static void brk_moves(void **state)
{
	struct fixture *x = *state;
	gva_t start = 0x4c4000;

	x->mm->start_brk = x->mm->brk = start;
	assert_int_equal(mm_brk(x->mm, 0), start);
	assert_int_equal(mm_brk(x->mm, start + 0x24000), 0x4e8000);
	assert_area(x, 0x4c4000, 0x4e8000, VM_READ | VM_WRITE);
	assert_string_equal(mm_vma_name(x->mm, vma_find(&x->mm->vmas, start)), "[heap]");
	fixture_store(x, start, 1);
	assert_int_equal(mm_brk(x->mm, start + 5), start + 5);
	assert_area(x, start, start + P, VM_READ | VM_WRITE);
	assert_int_equal(fixture_load(x, start), 1);
	assert_int_equal(mm_brk(x->mm, start - 1), start + 5);
	fixture_map(x, start + 16 * P, 1, RW, MAP_FIXED);
	assert_int_equal(mm_brk(x->mm, start + 15 * P), start + 15 * P);
	assert_int_equal(mm_brk(x->mm, start + 16 * P), start + 15 * P);
	assert_int_equal(mm_brk(x->mm, start), start);
	assert_int_equal(mm_brk(x->mm, ~0ull), start);
	assert_int_equal(mm_brk(x->mm, TASK_SIZE), start);
	assert_areas(x, 1);
	mm_munmap(x->mm, start, 32 * P);
	x->mm->data_limit_bytes = 4 * P;
	assert_int_equal(mm_brk(x->mm, start + 4 * P), start + 4 * P);
	assert_int_equal(mm_brk(x->mm, start + 4 * P + 1), start + 4 * P);
}

static void limits(void **state)
{
	struct fixture *x = *state;

	x->mm->as_limit_bytes = 8 * P;
	assert_int_equal(fixture_map(x, A, 8, RW, MAP_FIXED), A);
	assert_int_equal(fixture_map(x, 0, 1, RW, 0), -ENOMEM);
	assert_int_equal(fixture_map(x, A, 8, PROT_READ, MAP_FIXED), A); /* replaces: no growth */
	assert_int_equal(mm_mremap(x->mm, A, 8 * P, 9 * P, MREMAP_MAYMOVE, 0), -ENOMEM);
	mm_munmap(x->mm, A, 8 * P);
	x->mm->as_limit_bytes = ~0ull;
	x->mm->max_map_count = 3;
	fixture_map(x, A, 10, RW, MAP_FIXED);
	assert_int_equal(mm_mprotect(x->mm, A + 4 * P, P, PROT_READ), 0);
	assert_areas(x, 3);
	assert_int_equal(mm_mprotect(x->mm, A + P, P, PROT_READ), -ENOMEM);
	assert_int_equal(mm_munmap(x->mm, A + P, P), -ENOMEM);
	assert_areas(x, 3);
	assert_int_equal(mm_munmap(x->mm, A, 10 * P), 0);
	assert_areas(x, 0);
}

static void populate(void **state)
{
	struct fixture *x = *state;

	fixture_map(x, A, 32, RW, MAP_FIXED | MAP_POPULATE);
	assert_int_equal(mm_rss_pages(x->mm), 32);
	for (unsigned int i = 0; i < 32; i++)
		fixture_store(x, A + i * P, i);
	assert_int_equal(x->cpu->nr_faults, 0);
	fixture_map(x, A + 32 * P, 4, RW, MAP_FIXED);
	assert_int_equal(mm_populate(x->mm, A + 32 * P, 4 * P), 0);
	assert_int_equal(mm_rss_pages(x->mm), 36);
	assert_int_equal(mm_populate(x->mm, A + 36 * P, P), 0); /* holes are passed over */
	assert_int_equal(mm_rss_pages(x->mm), 36);
}

/* More tables and more pages than one batch holds: none of them may be forgotten on the way. */
static void many_tables(void **state)
{
	struct fixture *x = *state;
	const unsigned int tables = 3 * MMU_BATCH_TABLES, each = 3;

	fixture_map(x, A, tables * PMD_PAGES, RW, MAP_FIXED | MAP_NORESERVE);
	for (unsigned int i = 0; i < tables * each; i++)
		fixture_store(x, A + i / each * PMD_SIZE + i % each * 17 * P, i);
	assert_int_equal(mm_mprotect(x->mm, A, tables * PMD_SIZE, PROT_READ), 0);
	for (unsigned int i = 0; i < tables * each; i++)
		assert_signal(x, SIM_STORE, A + i / each * PMD_SIZE + i % each * 17 * P, SIGSEGV,
			      SEGV_ACCERR);
	assert_int_equal(mm_madvise(x->mm, A, tables * PMD_SIZE, MADV_DONTNEED), 0);
	for (unsigned int i = 0; i < tables * each; i++)
		assert_int_equal(fixture_load(x, A + i / each * PMD_SIZE + i % each * 17 * P), 0);
	assert_int_equal(mm_munmap(x->mm, A, tables * PMD_SIZE), 0);
	for (unsigned int i = 0; i < tables * each; i++)
		assert_signal(x, SIM_LOAD, A + i / each * PMD_SIZE + i % each * 17 * P, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(x->mm->pgt.nr_tables, 0);
	assert_int_equal(x->machine->nr_bad_batches, 0);
}

#define T(name, fn)                                             \
	{                                                       \
		name, fn, fixture_setup, fixture_teardown, NULL \
	}
#define S(name, fn)                                                                \
	{                                                                          \
		name " (shadow)", fn, fixture_setup_shadow, fixture_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("mmap: top down below mmap_base, or where the hint is free [F7 G7]", placement),
		T("mmap: 16 bytes and 4 bytes are a page each [J17]", sixteen_bytes),
		T("mmap: bad requests change nothing [F8 F10 J10]", bad_requests),
		T("mmap: the lowest address is a knob [F10]", lowest_address_is_a_knob),
		T("mmap: a new area joins the one before, the one behind, or both [I13]", merging),
		T("mmap: what differs does not join [I14 I15]", no_merging),
		T("mmap: two one-page mappings below vvar are one area of two pages [I8 I13]",
		  next_page_extends),
		T("mmap: a fixed mapping cuts what it overlaps [I16]", fixed_replaces),
		T("munmap: cuts heads, tails and holes, and takes nothing twice [J1]", munmap_cuts),
		T("mprotect: splits and joins areas, and refuses holes [J1]", mprotect_splits_and_joins),
		T("mprotect: a shared file that is not open for writing stays read-only",
		  shared_file_stays_read_only),
		T("mremap: grows and shrinks in place", mremap_in_place),
		T("mremap: moves pages with their contents", mremap_moves),
		T("mremap: errors change nothing", mremap_errors),
		T("madvise: DONTNEED gives the pages back and they read as zero", madvise_dontneed),
		T("brk: grows, shrinks, and answers with the old break when it cannot [J1 Q2 G14]",
		  brk_moves),
		T("mmap: RLIMIT_AS and max_map_count hold for every operation", limits),
		T("mmap: MAP_POPULATE leaves nothing to fault [J7]", populate),
		T("mmap: a change across 192 tables is seen in all of them", many_tables),
		S("mmap: a change across 192 tables is seen in all of them", many_tables),
		S("mmap: a fixed mapping cuts what it overlaps [I16]", fixed_replaces),
		S("munmap: cuts heads, tails and holes, and takes nothing twice", munmap_cuts),
		S("mremap: moves pages with their contents", mremap_moves),
		S("madvise: DONTNEED gives the pages back and they read as zero", madvise_dontneed),
	};

	return cmocka_run_group_tests_name("mmap", tests, NULL, NULL);
}
