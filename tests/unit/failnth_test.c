/* SPDX-License-Identifier: MIT */
/*
 * Fail the Nth allocation, for every N: the operation fails, the space is as it was, and nothing is lost. Then the same
 * operation, without a failure, works. An operation that never came to an allocation fails its test.
 */
#include "../../src/mm/special_mapping.h"
#include "../sim/failnth.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#define MADV_GUARD_REMOVE  103
#endif

#define A  FAILNTH_AT
#define P  PAGE_SIZE
#define RW (PROT_READ | PROT_WRITE)
static int op_mmap(struct scene *s)
{
	return fixture_map(s->x, A + 0x400000, 4, PROT_READ, MAP_FIXED) < 0;
}

static int op_mmap_over(struct scene *s)
{
	return fixture_map(s->x, A + 3 * P, 4, PROT_READ, MAP_FIXED) < 0;
}

static int op_mmap_shared(struct scene *s)
{
	return fixture_map(s->x, A + 0x400000, 4, RW, MAP_FIXED | MAP_SHARED) < 0;
}

static int op_special(struct scene *s)
{
	static struct special_mapping mapping[2];

	mapping[0] = mapping[1] = (struct special_mapping){.name = "[zero]",
							   .vm_flags = VM_READ | VM_MAYREAD,
							   .nr_pages = 2,
							   .nr_frames = 1};
	mapping[0].pfn = mapping[1].pfn = page_to_pfn(s->x->mm->frames, s->x->mm->frames->zero_page);
	return install_special_mappings(s->x->mm, mapping, 2) < 0;
}

static int op_mmap_file(struct scene *s)
{
	return fixture_map_file(s->x, &s->file, A + 0x400000, 4, 3, RW, MAP_FIXED | MAP_PRIVATE) < 0;
}

static int op_munmap_hole(struct scene *s)
{
	return mm_munmap(s->x->mm, A + 3 * P, 2 * P);
}

static int op_munmap_several(struct scene *s)
{
	return mm_munmap(s->x->mm, A + 3 * P, 0x100000);
}

static int op_mprotect(struct scene *s)
{
	return mm_mprotect(s->x->mm, A + 3 * P, 2 * P, PROT_READ);
}

static int op_mremap_move(struct scene *s)
{
	return mm_mremap(s->x->mm, A, 20 * P, 30 * P, MREMAP_MAYMOVE, 0) < 0;
}

static int op_mremap_part(struct scene *s)
{
	return mm_mremap(s->x->mm, A + 4 * P, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED, 0x7f0000000000) <
	       0;
}

static int op_mremap_shrink(struct scene *s)
{
	return mm_mremap(s->x->mm, A + 2 * P, 8 * P, 4 * P, 0, 0) < 0;
}

static int op_brk(struct scene *s)
{
	gva_t want = 0x600000 + 10 * P;

	return mm_brk(s->x->mm, want) != want;
}

/* A heap that has become one area with what lies behind it, so that shrinking must cut. */
static void prepare_brk_shrink(struct scene *s)
{
	mm_brk(s->x->mm, 0x600000 + 8 * P);
	fixture_map(s->x, 0x600000 + 8 * P, 8, RW, MAP_FIXED);
}

static int op_brk_shrink(struct scene *s)
{
	gva_t want = 0x600000 + 4 * P;

	return mm_brk(s->x->mm, want) != want;
}

static int store_at(struct scene *s, gva_t address)
{
	uint64_t word = 77;
	struct fault_signal sig = sim_store(s->x->cpu, address, &word, 8);

	assert_true(sig.signo == 0 || sig.signo == SIGKILL);
	return sig.signo;
}

static int load_at(struct scene *s, gva_t address)
{
	uint64_t word;
	struct fault_signal sig = sim_load(s->x->cpu, address, &word, 8);

	assert_true(sig.signo == 0 || sig.signo == SIGKILL);
	return sig.signo;
}

static int op_fault_anon_write(struct scene *s)
{
	return store_at(s, A + 15 * P);
}

static int op_fault_zero_then_write(struct scene *s)
{
	return load_at(s, A + 16 * P) || store_at(s, A + 16 * P);
}

static void prepare_fault_new_tables(struct scene *s)
{
	assert_int_equal(fixture_map(s->x, 0x500000000000, 1, RW, MAP_FIXED), 0x500000000000);
}

static int op_fault_new_tables(struct scene *s)
{
	return store_at(s, 0x500000000000);
}

static int op_fault_shared(struct scene *s)
{
	return store_at(s, A + 0x100000 + 12 * P);
}

static int op_fault_file_read(struct scene *s)
{
	return load_at(s, A + 0x200000 + 9 * P);
}

static int op_fault_cow(struct scene *s)
{
	return store_at(s, A + 0x200000 + 10 * P);
}

static int op_fault_wp_copy(struct scene *s)
{
	return store_at(s, A + 0x200000 + P);
}

static int op_copy_to_user(struct scene *s)
{
	char bytes[64] = {1};

	return copy_to_user(s->x->mm, A + 17 * P - 32, bytes, sizeof(bytes)) != 0;
}

static int op_user_pin(struct scene *s)
{
	struct iovec guest = {(void *)(A + 12 * P), P};
	struct user_pin pin;
	int err = user_pin(s->x->mm, &guest, 1, 0, true, &pin);

	if (!err)
		user_pin_release(s->x->mm, &pin);
	return err;
}

static int op_populate(struct scene *s)
{
	return mm_populate(s->x->mm, A + 10 * P, 10 * P);
}

static int op_mm_create(struct scene *s)
{
	struct mm *mm = mm_create(&s->x->machine->host, 100);

	mmput(mm);
	return !mm;
}

static int op_fork(struct scene *s)
{
	struct mm *child = NULL;
	int err = mm_fork(s->x->mm, &child);

	mmput(child);
	return err;
}

/* Areas that the child gets empty or not at all, so that tables are copied entry by entry. */
static void prepare_fork_by_entries(struct scene *s)
{
	assert_int_equal(mm_madvise(s->x->mm, A + 4 * P, 2 * P, MADV_WIPEONFORK), 0);
	assert_int_equal(mm_madvise(s->x->mm, A + 8 * P, P, MADV_DONTFORK), 0);
}

static int op_fork_pinned(struct scene *s)
{
	struct iovec guest = {(void *)(A + 2 * P), 2 * P};
	struct user_pin pin;
	struct mm *child = NULL;
	long fail_in = s->x->machine->frames.fail_in;
	int err;

	s->x->machine->frames.fail_in = 0;
	assert_int_equal(user_pin(s->x->mm, &guest, 1, 0, true, &pin), 0);
	s->x->machine->frames.fail_in = fail_in;
	err = mm_fork(s->x->mm, &child);
	user_pin_release(s->x->mm, &pin);
	mmput(child);
	return err;
}

static int op_write_shared_table(struct scene *s)
{
	return store_at(s, A + 2 * P);
}

static int op_zero_page_in_shared_table(struct scene *s)
{
	return load_at(s, A + 16 * P);
}

static int op_dontneed(struct scene *s)
{
	return mm_madvise(s->x->mm, A + 3 * P, 2 * P, MADV_DONTNEED);
}

static int op_guard(struct scene *s)
{
	return mm_madvise(s->x->mm, A + 3 * P, 2 * P, MADV_GUARD_INSTALL);
}

static int op_guard_shared(struct scene *s)
{
	return mm_madvise(s->x->mm, A + 0x100000 + 3 * P, 2 * P, MADV_GUARD_INSTALL);
}

static int op_unguard(struct scene *s)
{
	return mm_madvise(s->x->mm, A + 3 * P, 2 * P, MADV_GUARD_REMOVE);
}

static void prepare_guards_and_fork(struct scene *s)
{
	assert_int_equal(op_guard(s), 0);
	failnth_fork(s);
}

static int op_mlock(struct scene *s)
{
	return mm_mlock(s->x->mm, A + 3 * P, 9 * P, 0);
}

static int op_dontfork(struct scene *s)
{
	return mm_madvise(s->x->mm, A + 3 * P, 2 * P, MADV_DONTFORK);
}

static int op_mprotect_none(struct scene *s)
{
	return mm_mprotect(s->x->mm, A + 3 * P, 2 * P, PROT_NONE);
}

FAIL(mmap, true)
FAIL(mmap_over, true)
FAIL(mmap_shared, true)
FAIL(mmap_file, true)
FAIL(special, true)
FAIL(munmap_hole, true)
FAIL(munmap_several, true)
FAIL(mprotect, true)
FAIL(mremap_move, true)
FAIL(mremap_part, true)
FAIL(mremap_shrink, true)
FAIL(brk, true)
FAIL(fault_anon_write, true)
FAIL(fault_zero_then_write, false)
FAIL(fault_shared, true)
FAIL(fault_file_read, true)
FAIL(fault_cow, true)
FAIL(fault_wp_copy, true)
FAIL(copy_to_user, false)
FAIL(user_pin, true)
FAIL(populate, false)
FAIL(mm_create, true)
FAIL_AFTER(brk_shrink, prepare_brk_shrink, true)
FAIL_AFTER(fault_new_tables, prepare_fault_new_tables, true)

FAIL(fork, true)
static void fail_fork_by_entries(void **state)
{
	(void)state;
	failnth_run(prepare_fork_by_entries, op_fork, true);
}

FAIL(fork_pinned, true)
FAIL(mlock, false)
FAIL(dontfork, true)
FAIL(guard_shared, true)
FAIL_AFTER(unguard, prepare_guards_and_fork, true)
FORKED(write_shared_table, true)
FORKED(zero_page_in_shared_table, true)
FORKED(fault_anon_write, true)
FORKED(fault_cow, true)
FORKED(fault_wp_copy, true)
FORKED(munmap_hole, true)
FORKED(munmap_several, true)
FORKED(mprotect, true)
FORKED(mprotect_none, true)
FORKED(mremap_move, true)
FORKED(mremap_part, true)
FORKED(mremap_shrink, true)
FORKED(dontneed, true)
FORKED(user_pin, true)
FORKED(fork, true)
FORKED(guard, true)

/* Giving memory back must need none. */
static void madvise_needs_nothing(void **state)
{
	struct scene *s = failnth_scene_new();

	(void)state;
	s->x->machine->frames.fail_in = 1;
	assert_int_equal(mm_madvise(s->x->mm, A, 20 * P, MADV_DONTNEED), 0);
	assert_int_equal(mm_munmap(s->x->mm, A, 24 * P), 0);
	assert_int_equal(s->x->machine->frames.nr_fail, 0);
	s->x->machine->frames.fail_in = 0;
	assert_mm_sound(s->x->mm);
	failnth_scene_free(s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"failnth: mmap", fail_mmap, NULL, NULL, NULL},
		{"failnth: mmap over the middle of an area", fail_mmap_over, NULL, NULL, NULL},
		{"failnth: mmap of shared memory", fail_mmap_shared, NULL, NULL, NULL},
		{"failnth: mmap of a file", fail_mmap_file, NULL, NULL, NULL},
		{"failnth: special mappings", fail_special, NULL, NULL, NULL},
		{"failnth: munmap of a hole", fail_munmap_hole, NULL, NULL, NULL},
		{"failnth: munmap across areas", fail_munmap_several, NULL, NULL, NULL},
		{"failnth: mprotect of the middle of an area", fail_mprotect, NULL, NULL, NULL},
		{"failnth: mremap that moves and grows", fail_mremap_move, NULL, NULL, NULL},
		{"failnth: mremap of a part to a fixed place", fail_mremap_part, NULL, NULL, NULL},
		{"failnth: mremap that shrinks the middle of an area", fail_mremap_shrink, NULL, NULL, NULL},
		{"failnth: brk that grows", fail_brk, NULL, NULL, NULL},
		{"failnth: brk that shrinks within a joined area", fail_brk_shrink, NULL, NULL, NULL},
		{"failnth: fault, anonymous write", fail_fault_anon_write, NULL, NULL, NULL},
		{"failnth: fault, zero page and then a write", fail_fault_zero_then_write, NULL, NULL, NULL},
		{"failnth: fault where no tables are [B24]", fail_fault_new_tables, NULL, NULL, NULL},
		{"failnth: fault, shared memory", fail_fault_shared, NULL, NULL, NULL},
		{"failnth: fault, file read", fail_fault_file_read, NULL, NULL, NULL},
		{"failnth: fault, copy of a file page", fail_fault_cow, NULL, NULL, NULL},
		{"failnth: fault, copy of a present file page", fail_fault_wp_copy, NULL, NULL, NULL},
		{"failnth: copy_to_user", fail_copy_to_user, NULL, NULL, NULL},
		{"failnth: user_pin", fail_user_pin, NULL, NULL, NULL},
		{"failnth: populate", fail_populate, NULL, NULL, NULL},
		{"failnth: mm_create", fail_mm_create, NULL, NULL, NULL},
		{"failnth: fork", fail_fork, NULL, NULL, NULL},
		{"failnth: fork that copies entry by entry", fail_fork_by_entries, NULL, NULL, NULL},
		{"failnth: fork with pinned pages [P5][P6]", fail_fork_pinned, NULL, NULL, NULL},
		{"failnth: mlock of the middle of an area", fail_mlock, NULL, NULL, NULL},
		{"failnth: madvise that cuts an area", fail_dontfork, NULL, NULL, NULL},
		{"failnth: a write where the table is shared", forked_write_shared_table, NULL, NULL, NULL},
		{"failnth: the zero page where the table is shared", forked_zero_page_in_shared_table, NULL,
		 NULL, NULL},
		{"failnth: a new page where the table is shared", forked_fault_anon_write, NULL, NULL, NULL},
		{"failnth: a copy of a file page where the table is shared", forked_fault_cow, NULL, NULL,
		 NULL},
		{"failnth: a copy of a present file page where the table is shared", forked_fault_wp_copy,
		 NULL, NULL, NULL},
		{"failnth: munmap of a hole in a shared table", forked_munmap_hole, NULL, NULL, NULL},
		{"failnth: munmap across shared tables", forked_munmap_several, NULL, NULL, NULL},
		{"failnth: mprotect in a shared table", forked_mprotect, NULL, NULL, NULL},
		{"failnth: mprotect to nothing in a shared table", forked_mprotect_none, NULL, NULL, NULL},
		{"failnth: mremap of a shared table's area", forked_mremap_move, NULL, NULL, NULL},
		{"failnth: mremap of a part of a shared table", forked_mremap_part, NULL, NULL, NULL},
		{"failnth: mremap that shrinks in a shared table", forked_mremap_shrink, NULL, NULL, NULL},
		{"failnth: madvise in a shared table", forked_dontneed, NULL, NULL, NULL},
		{"failnth: guards over shared memory [J12]", fail_guard_shared, NULL, NULL, NULL},
		{"failnth: guards in a shared table [J12]", forked_guard, NULL, NULL, NULL},
		{"failnth: guards taken out of a shared table [J12]", fail_unguard, NULL, NULL, NULL},
		{"failnth: user_pin in a shared table", forked_user_pin, NULL, NULL, NULL},
		{"failnth: fork of a fork", forked_fork, NULL, NULL, NULL},
		{"failnth: giving memory back needs none", madvise_needs_nothing, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests_name("failnth", tests, NULL, NULL);
}
