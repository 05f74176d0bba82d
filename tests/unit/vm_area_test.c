/* SPDX-License-Identifier: MIT */
/* What an area says of itself: its place in its object, its file, its flags, its neighbours; and the order in which mmap makes one. */
#include "../../src/mm/unmapped_area.h"
#include "../sim/fixture.h"

#define A  0x10000000ull
#define RW (PROT_READ | PROT_WRITE)

static struct vma *area_at(struct fixture *x, gva_t address)
{
	struct vma *vma = vma_find(&x->mm->vmas, address);

	assert_non_null(vma);
	assert_true(vma->start <= address);
	return vma;
}

/* Offset 0x1000 in maps is page 1; a part that is cut off counts on; anonymous memory counts from address 0. */
static void offset_in_pages(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;

	sim_file_init(&file, x->machine, 16 * PAGE_SIZE);
	fixture_map_file(x, &file, A, 8, 1, PROT_READ, MAP_PRIVATE | MAP_FIXED);
	assert_int_equal(area_at(x, A)->pgoff, 1);
	assert_int_equal(vma_linear_index(area_at(x, A), A + 2 * PAGE_SIZE + 5), 3);
	assert_int_equal(fixture_load(x, A + 2 * PAGE_SIZE), sim_file_word(3 * PAGE_SIZE));
	assert_int_equal(mm_munmap(x->mm, A + PAGE_SIZE, PAGE_SIZE), 0);
	assert_int_equal(area_at(x, A)->pgoff, 1);
	assert_int_equal(area_at(x, A + 2 * PAGE_SIZE)->pgoff, 3);
	assert_int_equal(fixture_load(x, A + 3 * PAGE_SIZE), sim_file_word(4 * PAGE_SIZE));
	fixture_map(x, A + PAGE_SIZE, 1, RW, MAP_FIXED);
	assert_int_equal(area_at(x, A + PAGE_SIZE)->pgoff, (A + PAGE_SIZE) >> PAGE_SHIFT);
	mm_munmap(x->mm, A, 8 * PAGE_SIZE);
	backing_put(&file.backing);
	assert_int_equal(file.releases, 1);
}

/* Every area of a file has a reference of it, and the last one lets it go. */
static void file_or_none(void **state)
{
	struct fixture *x = *state;
	static struct sim_file file;

	sim_file_init(&file, x->machine, 16 * PAGE_SIZE);
	fixture_map(x, A, 1, RW, MAP_FIXED);
	assert_null(area_at(x, A)->file);
	assert_null(area_at(x, A)->mapping);
	fixture_map_file(x, &file, A, 3, 0, PROT_READ, MAP_SHARED | MAP_FIXED);
	assert_ptr_equal(area_at(x, A)->file, &file.backing);
	assert_ptr_equal(area_at(x, A)->mapping, &file.backing.cache);
	assert_int_equal(file.backing.refs, 2);
	assert_int_equal(mm_munmap(x->mm, A + PAGE_SIZE, PAGE_SIZE), 0);
	assert_int_equal(file.backing.refs, 3);
	backing_put(&file.backing);
	mm_munmap(x->mm, A, PAGE_SIZE);
	assert_int_equal(file.releases, 0);
	mm_munmap(x->mm, A, 3 * PAGE_SIZE);
	assert_int_equal(file.releases, 1);
	fixture_map(x, A, 1, RW, MAP_FIXED | MAP_SHARED);
	assert_non_null(area_at(x, A)->file); /* an object of its own */
}

/* 0x100173, as the kernel has it: rw, may be all, grows down, accounted. It stays so where it grows. */
static void flags_of_a_stack(void **state)
{
	struct fixture *x = *state;
	gva_t top = x->mm->task_size, start = top - 0x21000;
	const struct mmap_request r = {.address = start,
				       .length = top - start,
				       .prot = RW,
				       .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				       .extra_flags = VM_STACK_FLAGS};

	assert_int_equal(VM_STACK_FLAGS, VM_GROWSDOWN | VM_ACCOUNT);
	assert_int_equal(mm_mmap(x->mm, &r), start);
	assert_int_equal(area_at(x, start)->flags, 0x100173);
	assert_int_equal(x->mm->stack_vm_pages, 33);
	assert_int_equal(x->mm->data_vm_pages, 0);
	assert_int_equal(x->mm->committed_pages, 33);
	fixture_store(x, start - 3 * PAGE_SIZE, 1);
	assert_int_equal(area_at(x, start)->start, start - 3 * PAGE_SIZE);
	assert_int_equal(area_at(x, start)->flags, 0x100173);
	assert_int_equal(x->mm->stack_vm_pages, 36);
	assert_int_equal(x->mm->committed_pages, 36);
	fixture_map(x, A, 1, RW, MAP_FIXED | MAP_GROWSDOWN);
	assert_int_equal(area_at(x, A)->flags, 0x100173);
}

/* mm->vmas.first leads through all areas by address, whatever was mapped, cut and joined in which order. */
static void list_by_address(void **state)
{
	struct fixture *x = *state;
	uint64_t rng = random_seed(3), most = 0;

	for (unsigned int step = 0; step < 2000; step++) {
		gva_t at = A + (random_below(&rng, 512) << PAGE_SHIFT);
		uint64_t pages = 1 + random_below(&rng, 8), n = 0;
		const struct vma *vma, *prev = NULL;

		if (random_below(&rng, 3))
			fixture_map(x, at, pages, random_below(&rng, 2) ? RW : PROT_READ, MAP_FIXED);
		else
			mm_munmap(x->mm, at, pages << PAGE_SHIFT);
		vma_for_each (vma, &x->mm->vmas) {
			assert_ptr_equal(vma->prev, prev);
			assert_true(!prev || prev->end <= vma->start);
			assert_ptr_equal(vma_find(&x->mm->vmas, prev ? prev->end : 0), vma);
			prev = vma;
			n++;
		}
		assert_int_equal(n, x->mm->vmas.nr);
		most = max_u64(most, n);
	}
	assert_true(most > 50);
	assert_mm_sound(x->mm);
}

/* --- the chain of mmap --------------------------------------------------------------------------------------------- */

static struct {
	char steps[256];
	struct mm *mm;
	gva_t start;
} heard;

static void hear(const char *step)
{
	strncat(heard.steps, step, sizeof(heard.steps) - strlen(heard.steps) - 1);
}

static int64_t hear_place(const struct mm *mm, const struct unmapped_request *r)
{
	assert_int_equal(r->length, 2 * PAGE_SIZE); /* 16 bytes more than a page, rounded up by do_mmap */
	assert_int_equal(mm->vmas.nr, 0);
	hear("get_unmapped_area ");
	return arch_get_unmapped_area_topdown(mm, r);
}

/* The file's own mmap: the place is settled, the area nobody's yet. */
static int hear_mmap(struct backing *b, struct vma *vma)
{
	(void)b;
	assert_ptr_equal(vma->mm, heard.mm);
	assert_int_equal(heard.mm->vmas.nr, 0);
	heard.start = vma->start;
	hear("mmap_region ");
	return 0;
}

static ssize_t hear_read(struct backing *b, void *buffer, size_t bytes, uint64_t offset)
{
	(void)b;
	(void)offset;
	assert_int_equal(heard.mm->vmas.nr, 1);
	hear("mm_populate ");
	memset(buffer, 7, bytes);
	return (ssize_t)bytes;
}

static int64_t two_pages(struct backing *b)
{
	(void)b;
	return 2 * PAGE_SIZE;
}

static void chain_of_mmap(void **state)
{
	static const struct backing_ops ops = {.read = hear_read, .size = two_pages, .mmap = hear_mmap};
	struct fixture *x = *state;
	static struct sim_file file;
	struct mmap_request r = {.length = PAGE_SIZE + 16,
				 .prot = PROT_READ,
				 .flags = MAP_PRIVATE | MAP_POPULATE,
				 .file = &file.backing};

	sim_file_init(&file, x->machine, 2 * PAGE_SIZE);
	const struct backing_ops *own = file.backing.ops;
	file.backing.ops = &ops;
	x->mm->get_unmapped_area = hear_place;
	memset(&heard, 0, sizeof(heard));
	heard.mm = x->mm;
	int64_t at = mm_mmap(x->mm, &r);
	assert_true(at > 0);
	assert_int_equal(at, heard.start);
	assert_memory_equal(heard.steps, "get_unmapped_area mmap_region mm_populate ", 42);
	assert_true(x->mm->maj_flt > 0);
	assert_true(fixture_pte(x, (gva_t)at + PAGE_SIZE) & PTE_PRESENT);
	x->mm->get_unmapped_area = arch_get_unmapped_area_topdown;
	mm_munmap(x->mm, (gva_t)at, 2 * PAGE_SIZE);
	file.backing.ops = own;
	backing_put(&file.backing);
}

/* A step that fails is the last. */
static void chain_that_breaks(void **state)
{
	static const struct backing_ops ops = {.read = hear_read, .size = two_pages, .mmap = hear_mmap};
	struct fixture *x = *state;
	static struct sim_file file;
	struct mmap_request r = {.length = 0,
				 .prot = PROT_READ,
				 .flags = MAP_PRIVATE | MAP_POPULATE,
				 .file = &file.backing};

	sim_file_init(&file, x->machine, 2 * PAGE_SIZE);
	const struct backing_ops *own = file.backing.ops;
	file.backing.ops = &ops;
	x->mm->get_unmapped_area = hear_place;
	memset(&heard, 0, sizeof(heard));
	heard.mm = x->mm;
	assert_int_equal(mm_mmap(x->mm, &r), -EINVAL);
	assert_string_equal(heard.steps, "");
	r.length = 2 * PAGE_SIZE;
	r.flags = MAP_PRIVATE | MAP_FIXED | MAP_POPULATE; /* at 0: too low, and the hook is not asked */
	assert_int_equal(mm_mmap(x->mm, &r), -EPERM);
	assert_string_equal(heard.steps, "");
	r.flags = MAP_PRIVATE;
	r.may_not_read = true; /* found out after a place */
	assert_int_equal(mm_mmap(x->mm, &r), -EACCES);
	assert_string_equal(heard.steps, "get_unmapped_area ");
	assert_int_equal(x->mm->vmas.nr, 0);
	x->mm->get_unmapped_area = arch_get_unmapped_area_topdown;
	file.backing.ops = own;
	backing_put(&file.backing);
}

#define T(title, fn)                                             \
	{                                                        \
		title, fn, fixture_setup, fixture_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("area: its offset is in pages, also of a part cut off [H5]", offset_in_pages),
		T("area: it holds the file it maps, or none [H6]", file_or_none),
		T("area: a stack has the kernel's flags 0x100173, also where it grows [H12]",
		  flags_of_a_stack),
		T("area: the list of a space is in order of address over 2000 random calls [G3]",
		  list_by_address),
		T("mmap: a place, then the region, then its pages, then the address [J3]", chain_of_mmap),
		T("mmap: the step that fails is the last [J3]", chain_that_breaks),
	};

	return cmocka_run_group_tests_name("vm_area", tests, NULL, NULL);
}
