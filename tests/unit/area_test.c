/* SPDX-License-Identifier: MIT */
/* Areas that join and part: the eight ways to merge; what is counted, locked and promised, and the limits on it; seals. */
#include "../../src/mm/account.h"
#include "../../src/mm/unmapped_area.h"
#include "../sim/fixture.h"

#define A  0x10000000ull
#define P  PAGE_SIZE
#define R  PROT_READ
#define RW (PROT_READ | PROT_WRITE)

static const struct vma *area_at(struct fixture *x, gva_t address)
{
	return vma_find(&x->mm->vmas, address);
}

static void assert_areas(struct fixture *x, unsigned int nr)
{
	assert_int_equal(x->mm->vmas.nr, nr);
	assert_mm_sound(x->mm);
}

static void assert_bounds(struct fixture *x, gva_t address, uint64_t first, uint64_t end)
{
	assert_int_equal(area_at(x, address)->start, A + first * P);
	assert_int_equal(area_at(x, address)->end, A + end * P);
	assert_mm_sound(x->mm);
}

static void map_rw(struct fixture *x, uint64_t first, uint64_t nr)
{
	assert_int_equal(fixture_map(x, A + first * P, nr, RW, MAP_FIXED), A + first * P);
}

/* --- merging -------------------------------------------------------------------------------------------------------- */

static void merge_free_range(void **state)
{
	struct fixture *x = *state;

	map_rw(x, 0, 4);
	map_rw(x, 8, 4);
	map_rw(x, 4, 2); /* case 2: prev grows */
	assert_bounds(x, A, 0, 6);
	map_rw(x, 7, 1); /* case 3: next grows */
	assert_bounds(x, A + 8 * P, 7, 12);
	map_rw(x, 6, 1); /* case 1: both */
	assert_bounds(x, A, 0, 12);
	assert_areas(x, 1);
}

/* Three areas RW, R, RW of four pages each, with a page of its own in each. */
static void three_areas(struct fixture *x)
{
	map_rw(x, 0, 12);
	for (unsigned int i = 0; i < 12; i++)
		fixture_store(x, A + i * P, i + 1);
	assert_int_equal(mm_mprotect(x->mm, A + 4 * P, 4 * P, R), 0);
	assert_areas(x, 3);
}

static void assert_contents(struct fixture *x)
{
	for (unsigned int i = 0; i < 12; i++)
		assert_int_equal(fixture_load(x, A + i * P), i + 1);
}

static void merge_parts(void **state)
{
	struct fixture *x = *state;
	const struct vma *prev, *middle, *next;

	three_areas(x);
	prev = area_at(x, A);
	middle = area_at(x, A + 4 * P);
	next = area_at(x, A + 8 * P);
	assert_int_equal(mm_mprotect(x->mm, A + 4 * P, P, RW), 0); /* case 4 */
	assert_bounds(x, A, 0, 5);
	assert_ptr_equal(area_at(x, A), prev);
	assert_ptr_equal(area_at(x, A + 5 * P), middle);
	assert_int_equal(mm_mprotect(x->mm, A + 7 * P, P, RW), 0); /* case 5 */
	assert_bounds(x, A + 7 * P, 7, 12);
	assert_ptr_equal(area_at(x, A + 7 * P), next);
	assert_areas(x, 3);
	assert_contents(x);
}

static void merge_wholes(void **state)
{
	struct fixture *x = *state;

	three_areas(x);
	assert_int_equal(mm_mprotect(x->mm, A + 4 * P, 4 * P, RW), 0); /* case 6: both */
	assert_bounds(x, A, 0, 12);
	assert_int_equal(mm_mprotect(x->mm, A + 4 * P, 8 * P, R), 0);
	assert_int_equal(mm_mprotect(x->mm, A + 8 * P, 4 * P, PROT_NONE), 0);
	assert_int_equal(mm_mprotect(x->mm, A + 4 * P, 4 * P, RW), 0); /* case 7: prev */
	assert_bounds(x, A, 0, 8);
	assert_int_equal(mm_mprotect(x->mm, A, 4 * P, R), 0);
	assert_int_equal(mm_mprotect(x->mm, A + 8 * P, 4 * P, RW), 0); /* case 8: joins 4-8 */
	assert_bounds(x, A + 4 * P, 4, 12);
	assert_int_equal(mm_mprotect(x->mm, A, 4 * P, RW), 0); /* case 8 again, as next */
	assert_bounds(x, A, 0, 12);
	assert_contents(x);
}

/* Shifting a border needs no new area, so it works when there may be none. */
static void merge_at_map_count(void **state)
{
	struct fixture *x = *state;

	three_areas(x);
	x->mm->max_map_count = 3;
	assert_int_equal(mm_mprotect(x->mm, A + 4 * P, P, RW), 0);
	assert_int_equal(mm_mprotect(x->mm, A + 6 * P, P, RW), -ENOMEM);
	assert_int_equal(mm_madvise(x->mm, A, P, MADV_RANDOM), -EAGAIN);
	assert_int_equal(mm_mlock(x->mm, A, P, 0), -ENOMEM);
	assert_int_equal(mm_munmap(x->mm, A + P, P), -ENOMEM);
	assert_int_equal(fixture_map(x, A + 20 * P, 1, RW, MAP_FIXED), A + 20 * P); /* one more, as Linux */
	assert_int_equal(fixture_map(x, A + 30 * P, 1, RW, MAP_FIXED), -ENOMEM);
	assert_areas(x, 4);
	assert_contents(x);
}

/* --- counts --------------------------------------------------------------------------------------------------------- */

static void counts(void **state)
{
	struct fixture *x = *state;
	struct mm *mm = x->mm;

	map_rw(x, 0, 10);
	assert_int_equal(fixture_map(x, A + 0x100000, 5, R | PROT_EXEC, MAP_FIXED), A + 0x100000);
	assert_int_equal(fixture_map(x, A + 0x800000, 3, RW, MAP_FIXED | MAP_GROWSDOWN), A + 0x800000);
	assert_int_equal(fixture_map(x, A + 0x200000, 7, RW, MAP_FIXED | MAP_SHARED), A + 0x200000);
	assert_int_equal(fixture_map(x, A + 0x300000, 6, RW, MAP_FIXED | MAP_NORESERVE), A + 0x300000);
	assert_int_equal(mm->total_vm_pages, 31);
	assert_int_equal(mm->data_vm_pages, 16);
	assert_int_equal(mm->exec_vm_pages, 5);
	assert_int_equal(mm->stack_vm_pages, 3);
	assert_int_equal(mm->committed_pages, 13);
	assert_int_equal(atomic_load(&mm->memcg->committed_pages), 13);
	assert_int_equal(atomic_load(&x->machine->host.committed_pages), 13);
	mm_mprotect(mm, A, 4 * P, R | PROT_EXEC); /* untouched: what was promised is given back */
	assert_int_equal(mm->exec_vm_pages, 9);
	assert_int_equal(mm->committed_pages, 9);
	fixture_store(x, A + 4 * P, 1);
	mm_mprotect(mm, A + 4 * P, 6 * P, R); /* touched: it stays promised */
	assert_int_equal(mm->data_vm_pages, 6);
	assert_int_equal(mm->committed_pages, 9);
	assert_int_equal(mm_mremap(mm, A + 0x300000, 6 * P, 8 * P, 0, 0), A + 0x300000);
	assert_int_equal(mm->data_vm_pages, 8);
	assert_mm_sound(mm);
	mm_munmap(mm, 0x10000, 1ull << 40);
	assert_int_equal(mm->total_vm_pages + mm->data_vm_pages + mm->exec_vm_pages + mm->stack_vm_pages, 0);
	assert_int_equal(atomic_load(&x->machine->host.committed_pages), 0);
}

static void data_limit(void **state)
{
	struct fixture *x = *state;

	x->mm->data_limit_bytes = 8 * P;
	map_rw(x, 0, 6);
	assert_int_equal(fixture_map(x, A + 20 * P, 3, RW, MAP_FIXED), -ENOMEM);
	assert_int_equal(fixture_map(x, A + 20 * P, 3, R, MAP_FIXED), A + 20 * P);
	assert_int_equal(mm_mprotect(x->mm, A + 20 * P, 3 * P, RW), -ENOMEM);
	assert_int_equal(mm_mprotect(x->mm, A + 20 * P, 2 * P, RW), 0);
	assert_int_equal(fixture_map(x, A + 40 * P, 30, RW, MAP_FIXED | MAP_SHARED), A + 40 * P);
	assert_int_equal(mm_mremap(x->mm, A, 6 * P, 7 * P, MREMAP_MAYMOVE, 0), -ENOMEM);
	assert_mm_sound(x->mm);
}

static void overcommit(void **state)
{
	struct fixture *x = *state;
	struct memcg *cg = x->mm->memcg;
	uint64_t all = frames_guest_pages(x->mm->frames);

	x->mm->privileged = true;
	assert_int_equal(fixture_map(x, A, all + 1, RW, MAP_FIXED), -ENOMEM);
	assert_int_equal(fixture_map(x, A, all + 1, RW, MAP_FIXED | MAP_NORESERVE), A);
	cg->overcommit_memory = OVERCOMMIT_ALWAYS;
	assert_int_equal(fixture_map(x, A, all + 1, RW, MAP_FIXED), A);
	assert_int_equal(mm_munmap(x->mm, A, (all + 1) * P), 0);
	cg->overcommit_memory = OVERCOMMIT_NEVER;
	cg->overcommit_kbytes = 400;
	assert_int_equal(vm_commit_limit(x->mm), 100);
	assert_int_equal(fixture_map(x, A, 60, RW, MAP_FIXED | MAP_NORESERVE),
			 A); /* the flag does not help */
	assert_int_equal(fixture_map(x, A + 200 * P, 60, RW, MAP_FIXED), -ENOMEM);
	assert_int_equal(fixture_map(x, A + 200 * P, 60, R, MAP_FIXED), A + 200 * P);
	assert_int_equal(mm_mprotect(x->mm, A + 200 * P, 60 * P, RW), -ENOMEM);
	assert_int_equal(mm_mprotect(x->mm, A + 200 * P, 30 * P, RW), 0);
	assert_int_equal(mm_mremap(x->mm, A, 60 * P, 90 * P, 0, 0), -ENOMEM);
	assert_int_equal(mm_munmap(x->mm, A, 30 * P), 0);
	assert_int_equal(mm_mremap(x->mm, A + 30 * P, 30 * P, 60 * P, 0, 0), A + 30 * P);
	cg->overcommit_kbytes = 0;
	cg->overcommit_ratio = 10;
	x->mm->memcg->max_pages = 1000;
	assert_int_equal(vm_commit_limit(x->mm), min_u64(1000, all) / 10);
	assert_mm_sound(x->mm);
}

/* --- locks ---------------------------------------------------------------------------------------------------------- */

static void locking(void **state)
{
	struct fixture *x = *state;
	struct mm *mm = x->mm;

	mm->memlock_limit_bytes = 4 * P;
	map_rw(x, 0, 8);
	assert_int_equal(mm_mlock(mm, A + P + 5, P, 0), 0); /* rounded outwards: two pages */
	assert_int_equal(mm->locked_vm_pages, 2);
	assert_int_equal(mm_rss_pages(mm), 2);
	assert_int_equal(mm_mlock(mm, A, 4 * P, 0), 0); /* two of them count already */
	assert_int_equal(mm->locked_vm_pages, 4);
	assert_int_equal(mm_mlock(mm, A, 5 * P, 0), -ENOMEM);
	assert_areas(x, 2);
	assert_int_equal(mm_mlock(mm, A, 2 * P, MLOCK_ONFAULT), 0);
	assert_int_equal(mm_mlock(mm, A, 2 * P, 2), -EINVAL);
	assert_areas(x, 3);
	assert_int_equal(mm->locked_vm_pages, 4);
	struct mmap_request r = {.length = P, .prot = RW, .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED};
	assert_int_equal(mm_mmap(mm, &r), -EAGAIN);
	assert_int_equal(mm_mremap(mm, A, 4 * P, 5 * P, MREMAP_MAYMOVE, 0), -EFAULT);
	assert_int_equal(mm_mremap(mm, A + 2 * P, 2 * P, 3 * P, MREMAP_MAYMOVE, 0), -EAGAIN);
	assert_int_equal(mm_munlock(mm, A, 8 * P), 0);
	assert_int_equal(mm->locked_vm_pages, 0);
	assert_areas(x, 1);
	mm->memlock_limit_bytes = 0;
	assert_int_equal(mm_mlock(mm, A, P, 0), -EPERM);
	assert_int_equal(mm_mlockall(mm, MCL_CURRENT), -EPERM);
	assert_int_equal(mm_mmap(mm, &r), -EPERM);
	mm->privileged = true;
	assert_int_equal(mm_mlock(mm, A, P, 0), 0);
	assert_int_equal(mm_mlock(mm, A + 7 * P, 2 * P, 0), -ENOMEM); /* a hole */
	assert_true(area_at(x, A + 7 * P)->flags &
		    VM_LOCKED); /* what lies before it is locked, as in Linux */
}

static void locking_all(void **state)
{
	struct fixture *x = *state;
	struct mm *mm = x->mm;

	mm->start_brk = mm->brk = 0x600000;
	map_rw(x, 0, 4);
	mm->memlock_limit_bytes = 3 * P;
	assert_int_equal(mm_mlockall(mm, MCL_CURRENT), -ENOMEM);
	assert_int_equal(mm_mlockall(mm, MCL_ONFAULT), -EINVAL);
	assert_int_equal(mm_mlockall(mm, 0), -EINVAL);
	assert_int_equal(mm_mlockall(mm, MCL_FUTURE), 0);
	assert_int_equal(mm->locked_vm_pages, 0);
	map_rw(x, 8, 2);
	assert_int_equal(mm->locked_vm_pages, 2);
	assert_int_equal(mm_rss_pages(mm), 2);
	assert_int_equal(mm_brk(mm, 0x600000 + P), 0x600000 + P); /* the break locks, too */
	assert_int_equal(mm_rss_pages(mm), 3);
	assert_int_equal(mm_brk(mm, 0x600000 + 2 * P), 0x600000 + P);
	mm->memlock_limit_bytes = ~0ull;
	assert_int_equal(mm_mlockall(mm, MCL_CURRENT | MCL_FUTURE), 0);
	assert_int_equal(mm->locked_vm_pages, 7);
	assert_int_equal(mm_rss_pages(mm), 7);
	mm_munlockall(mm);
	assert_int_equal(mm->locked_vm_pages, 0);
	assert_int_equal(mm->def_flags, 0);
	assert_mm_sound(mm);
}

static void locked_stack(void **state)
{
	struct fixture *x = *state;

	x->mm->memlock_limit_bytes = 4 * P;
	assert_int_equal(fixture_map(x, A, 2, RW, MAP_FIXED | MAP_GROWSDOWN), A);
	assert_int_equal(mm_mlock(x->mm, A, 2 * P, 0), 0);
	fixture_store(x, A - 2 * P, 1);
	assert_int_equal(x->mm->locked_vm_pages, 4);
	assert_signal(x, SIM_STORE, A - 3 * P, SIGSEGV, SEGV_MAPERR);
	assert_mm_sound(x->mm);
}

/* --- placement ------------------------------------------------------------------------------------------------------ */

static int64_t always_there(const struct mm *mm, const struct unmapped_request *r)
{
	(void)mm;
	assert_int_equal(r->length, 3 * P);
	return 0x5000000;
}

static void layouts(void **state)
{
	struct fixture *x = *state;

	x->mm->get_unmapped_area = always_there;
	assert_int_equal(fixture_map(x, 0, 3, RW, 0), 0x5000000);
	assert_int_equal(fixture_map(x, A, 1, RW, MAP_FIXED), A);
	x->mm->get_unmapped_area = arch_get_unmapped_area;
	assert_int_equal(fixture_map(x, 0, 1, RW, 0), page_align_down(TASK_SIZE / 3));
	assert_int_equal(fixture_map(x, 0, 1, R, 0), page_align_down(TASK_SIZE / 3) + P);
	assert_int_equal(fixture_map(x, 0, 1, RW, MAP_32BIT), 0x40000000);
	assert_mm_sound(x->mm);
}

static void aligned(void **state)
{
	struct fixture *x = *state;
	gva_t base = x->mm->mmap_base;
	int64_t a = fixture_map(x, 0, 512, RW, 0);

	assert_int_equal(a & ~PMD_MASK, 0);
	assert_true((gva_t)a + PMD_SIZE <= base && (gva_t)a + 2 * PMD_SIZE > base);
	assert_int_equal(fixture_map(x, 0, 512, RW, 0), a - (int64_t)PMD_SIZE);
	assert_int_equal(fixture_map(x, 0, 1, RW, 0), base - P); /* what is too small goes to the top */
	assert_int_equal(fixture_map(x, 0, 513, R, 0) & (int64_t)~PMD_MASK, PMD_SIZE - P);
}

/* --- seals ---------------------------------------------------------------------------------------------------------- */

static void seals(void **state)
{
	struct fixture *x = *state;

	map_rw(x, 0, 6);
	assert_int_equal(mm_mseal(x->mm, A + 2 * P, 2 * P, 0), 0);
	assert_areas(x, 3);
	assert_int_equal(mm_munmap(x->mm, A, 6 * P), -EPERM);
	assert_int_equal(mm_mprotect(x->mm, A, 6 * P, R), -EPERM); /* what lies before has changed */
	assert_int_equal(area_at(x, A)->flags & VM_ACCESS_FLAGS, VM_READ);
	assert_int_equal(fixture_map(x, A + P, 2, RW, MAP_FIXED), -EPERM);
	assert_int_equal(mm_mremap(x->mm, A + 2 * P, P, P, MREMAP_MAYMOVE | MREMAP_FIXED, A + 32 * P),
			 -EPERM);
	assert_int_equal(mm_mremap(x->mm, A, P, P, MREMAP_MAYMOVE | MREMAP_FIXED, A + 3 * P), -EPERM);
	assert_int_equal(mm_mseal(x->mm, A + 5 * P, 2 * P, 0), -ENOMEM);
	assert_false(area_at(x, A + 5 * P)->flags & VM_SEALED);
	assert_int_equal(mm_mseal(x->mm, A, 6 * P, 0), 0);
	assert_areas(x, 2);
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
		T("area: a free range joins the one before, the one behind, or both [I13 Y7]",
		  merge_free_range),
		T("area: the head or the tail of an area goes to its neighbour [I13 Y7]", merge_parts),
		S("area: the head or the tail of an area goes to its neighbour [I13 Y7]", merge_parts),
		T("area: a whole area goes to one neighbour or joins both [I13 Y7]", merge_wholes),
		S("area: a whole area goes to one neighbour or joins both [I13 Y7]", merge_wholes),
		T("area: max_map_count refuses cuts, and borders still move [Y7]", merge_at_map_count),
		T("account: total, data, exec, stack and promised pages follow every change [G15 R7]",
		  counts),
		T("account: RLIMIT_DATA holds for mmap, mprotect and mremap [Y7]", data_limit),
		T("account: overcommit by guess, always, never [Y7]", overcommit),
		T("mlock: locked pages are counted and limited [H11 G16 Y15]", locking),
		T("mlockall: areas that are there and areas to come [H11 J1]", locking_all),
		T("mlock: a locked stack grows as far as the limit [H11 Y13]", locked_stack),
		T("get_unmapped_area: the space's own hook, and the legacy layout [G6 J4]", layouts),
		T("get_unmapped_area: what could be huge begins at 2 MiB [J5]", aligned),
		T("mseal: sealed areas stay as they are", seals),
	};

	return cmocka_run_group_tests_name("area", tests, NULL, NULL);
}
