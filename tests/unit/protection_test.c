/* SPDX-License-Identifier: MIT */
/* What the processor is told for each access that an area allows: the kernel's protection_map, by its sixteen rows. */
#include "../../src/mm/fault.h"
#include "../sim/fixture.h"

#define A    0x10000000ull

/* A row: the low four bits of vma->flags. */
#define ROWS 16u

static unsigned int row_prot(unsigned int row)
{
	return (row & VM_READ ? PROT_READ : 0) | (row & VM_WRITE ? PROT_WRITE : 0) |
	       (row & VM_EXEC ? PROT_EXEC : 0);
}

static int64_t map_row(struct fixture *x, unsigned int row)
{
	return fixture_map(x, A, 1, row_prot(row), MAP_FIXED | (row & VM_SHARED ? MAP_SHARED : 0));
}

/* Before any access: present, the user's, not to be run unless VM_EXEC says so, and never writable: a write has to be seen. */
static void bits_of_each_row(void **state)
{
	(void)state;
	for (unsigned int row = 0; row < ROWS; row++) {
		uint64_t pte = vma_pte_flags(row);

		if (row & VM_ACCESS_FLAGS) {
			assert_int_equal(pte & ~PTE_NX, PTE_PRESENT | PTE_USER | PTE_ACCESSED);
			assert_int_equal(!(pte & PTE_NX), !!(row & VM_EXEC));
		} else {
			assert_int_equal(pte, PTE_PROTNONE | PTE_ACCESSED);
		}
		assert_int_equal(vma_pte_flags(row | VM_GROWSDOWN | VM_LOCKED | VM_ACCOUNT), pte);
	}
}

static int access_of_row(struct fixture *x, enum sim_access kind)
{
	uint64_t value = 1;
	struct fault_signal sig = sim_access(x->cpu, kind, A, &value, 1);

	if (sig.signo)
		assert_int_equal(sig.code, SEGV_ACCERR);
	return sig.signo;
}

/* x86: whatever may be accessed can be read. */
static void accesses_of_each_row(void **state)
{
	struct fixture *x = *state;

	for (unsigned int row = 0; row < ROWS; row++) {
		assert_int_equal(map_row(x, row), A);
		assert_int_equal(vma_find(&x->mm->vmas, A)->flags & (ROWS - 1), row);
		assert_int_equal(access_of_row(x, SIM_LOAD), row & VM_ACCESS_FLAGS ? 0 : SIGSEGV);
		assert_int_equal(access_of_row(x, SIM_FETCH), row & VM_EXEC ? 0 : SIGSEGV);
		assert_int_equal(access_of_row(x, SIM_STORE), row & VM_WRITE ? 0 : SIGSEGV);
	}
}

static void entries_of_each_row(void **state)
{
	struct fixture *x = *state;

	for (unsigned int row = 0; row < ROWS; row++) {
		map_row(x, row);
		access_of_row(x, SIM_LOAD);
		pte_t read = fixture_pte(x, A);
		access_of_row(x, SIM_STORE);
		pte_t stored = fixture_pte(x, A);
		if (!(row & VM_ACCESS_FLAGS)) {
			assert_int_equal(read | stored, 0);
			continue;
		}
		assert_int_equal(read & (PTE_PRESENT | PTE_USER | PTE_NX),
				 vma_pte_flags(row) & (PTE_PRESENT | PTE_USER | PTE_NX));
		if (!(row & VM_SHARED))
			assert_false(pte_write(read)); /* a copy is due first */
		assert_int_equal(pte_write(stored), !!(row & VM_WRITE));
		assert_int_equal(stored & PTE_NX, row & VM_EXEC ? 0 : PTE_NX);
	}
}

/* mprotect from each row to each other: an entry that was there follows at once, and a page without access keeps its contents. */
static void every_row_to_every_row(void **state)
{
	struct fixture *x = *state;

	for (unsigned int from = 0; from < 8; from++) {
		for (unsigned int to = 0; to < 8; to++) {
			fixture_map(x, A, 1, PROT_READ | PROT_WRITE, MAP_FIXED);
			fixture_store(x, A, 0x100 * from + to);
			assert_int_equal(mm_mprotect(x->mm, A, PAGE_SIZE, row_prot(from)), 0);
			assert_int_equal(mm_mprotect(x->mm, A, PAGE_SIZE, row_prot(to)), 0);
			pte_t pte = fixture_pte(x, A);
			assert_int_equal(!!(pte & PTE_PRESENT), !!to);
			assert_int_equal(!!(pte & PTE_PROTNONE), !to);
			assert_true(!pte_write(pte) || (to & VM_WRITE));
			assert_int_equal(access_of_row(x, SIM_FETCH), to & VM_EXEC ? 0 : SIGSEGV);
			if (to)
				assert_int_equal(fixture_load(x, A), 0x100 * from + to);
			assert_int_equal(access_of_row(x, SIM_STORE), to & VM_WRITE ? 0 : SIGSEGV);
		}
	}
	assert_mm_sound(x->mm);
}

#define T(title, fn)                                             \
	{                                                        \
		title, fn, fixture_setup, fixture_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("protection: the bits of all sixteen rows [H4]", bits_of_each_row),
		T("protection: what each row allows and refuses [H4]", accesses_of_each_row),
		T("protection: the entries that reads and writes leave in each row [H4]",
		  entries_of_each_row),
		T("protection: mprotect from every row to every row [H4]", every_row_to_every_row),
	};

	return cmocka_run_group_tests_name("protection", tests, NULL, NULL);
}
