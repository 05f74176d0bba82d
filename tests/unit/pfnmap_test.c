/* SPDX-License-Identifier: MIT */
/* Devices: memory that is mapped at once and never faults, uncached, by the largest entries; and one that wants frames below 4 GiB. */
#include "../../src/mm/fault.h"
#include "../../src/mm/pfnmap.h"
#include "../../src/mm/unmapped_area.h"
#include "../sim/fixture.h"

#define A  0x4000000000ull /* 1 GiB aligned */
#define P  PAGE_SIZE
#define M2 PMD_SIZE
#define G1 (1ull << 30)
#define RW (PROT_READ | PROT_WRITE)

struct device {
	struct backing backing; /* first: the tests' casts rely on it */
	pfn_t pfn;
	uint64_t bytes, cache;
	unsigned int faults;
	struct frames *frames;
	struct page *page; /* of the device that is asked */
};

static int device_mapped(struct backing *b, struct vma *vma)
{
	const struct device *d = (struct device *)b;

	return remap_pfn_range(vma, vma->start, d->pfn, d->bytes ? d->bytes : vma->end - vma->start,
			       d->cache);
}

static int device_mmap(struct backing *b, struct vma *vma)
{
	(void)b;
	vma->vm_ops = NULL;
	vma->mapping = NULL;
	return 0;
}

static int64_t device_size(struct backing *b)
{
	(void)b;
	return (int64_t)G1;
}

static void device_release(struct backing *b)
{
	(void)b;
}

static const struct backing_ops device_ops = {.size = device_size,
					      .release = device_release,
					      .mmap = device_mmap,
					      .mapped = device_mapped};

static void device_init(struct fixture *x, struct device *d, pfn_t pfn)
{
	*d = (struct device){.pfn = pfn, .frames = &x->machine->frames};
	backing_init(&d->backing, &x->machine->host, &device_ops);
}

static int64_t map(struct fixture *x, struct device *d, gva_t at, uint64_t bytes, unsigned int type)
{
	const struct mmap_request r = {
		.address = at, .length = bytes, .prot = RW, .flags = MAP_FIXED | type, .file = &d->backing};

	return mm_mmap(x->mm, &r);
}

static unsigned int level_at(struct fixture *x, gva_t address)
{
	unsigned int level = 9;

	return pgtable_leaf(&x->mm->pgt, address, &level) ? level : 9;
}

static pte_t entry_at(struct fixture *x, gva_t address)
{
	unsigned int level;
	const pte_t *slot = pgtable_leaf(&x->mm->pgt, address, &level);

	return slot ? pte_read(slot) : 0;
}

/* 512 frames in a row that the test plays the device's memory with. */
static struct page *device_memory(struct fixture *x)
{
	struct page *head = page_alloc(&x->machine->frames, GFP_HIGHUSER | __GFP_ZERO, 9);

	assert_non_null(head);
	return head;
}

static void mapped_at_once(void **state)
{
	struct fixture *x = *state;
	struct page *memory = device_memory(x);
	struct device d;

	device_init(x, &d, page_to_pfn(x->mm->frames, memory) + 3);
	assert_int_equal(map(x, &d, A, 8 * P, MAP_SHARED), A);
	const struct vma *vma = vma_find(&x->mm->vmas, A);
	assert_int_equal(vma->flags & (VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP),
			 VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	for (unsigned int i = 0; i < 8; i++)
		fixture_store(x, A + i * P, i + 1);
	assert_int_equal(x->cpu->nr_faults, 0);
	assert_int_equal(((uint64_t *)page_address(x->mm->frames, memory))[5 * P / 8], 3);
	assert_true(entry_at(x, A) & PTE_SPECIAL);
	assert_int_equal(mm_rss_pages(x->mm), 0);
	assert_int_equal(atomic_load(&memory[3].mapcount), 0);
	assert_mm_sound(x->mm);
	assert_int_equal(mm_munmap(x->mm, A + 2 * P, P), 0);
	assert_signal(x, SIM_LOAD, A + 2 * P, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(fixture_load(x, A + 3 * P), 4);
	assert_int_equal(mm_mremap(x->mm, A, 2 * P, 4 * P, MREMAP_MAYMOVE, 0), -EFAULT);
	assert_int_equal(mm_madvise(x->mm, A, P, MADV_DONTNEED), -EINVAL);
	struct page *page;
	assert_int_equal(get_user_pages(x->mm, A, 1, 0, &page), -EFAULT);
	assert_int_equal(mm_munmap(x->mm, A, 8 * P), 0);
	page_free_block(x->mm->frames, memory, 9);
	backing_put(&d.backing);
}

static void uncached(void **state)
{
	struct fixture *x = *state;
	struct page *memory = device_memory(x);
	struct device d;

	device_init(x, &d, page_to_pfn(x->mm->frames, memory));
	d.cache = PTE_PCD | PTE_PWT;
	assert_int_equal(map(x, &d, A, M2, MAP_SHARED), A);
	assert_int_equal(level_at(x, A), 1);
	assert_int_equal(entry_at(x, A) & 0x18, 0x18);
	fixture_store(x, A, 1);
	assert_int_equal(mm_mprotect(x->mm, A, M2, PROT_READ), 0);
	assert_signal(x, SIM_STORE, A, SIGSEGV, SEGV_ACCERR);
	assert_int_equal(mm_mprotect(x->mm, A, M2, RW), 0);
	fixture_store(x, A + P, 2);
	assert_int_equal(entry_at(x, A) & 0x18, 0x18);
	assert_int_equal(mm_mprotect(x->mm, A + P, P, PROT_READ), 0);
	assert_int_equal(level_at(x, A), 0);
	for (unsigned int i = 0; i < 512; i++)
		assert_int_equal(entry_at(x, A + i * P) & 0x18, 0x18);
	assert_int_equal(mm_mprotect(x->mm, A + P, P, RW), 0);
	fixture_store(x, A + P, 3);
	assert_mm_sound(x->mm);
	d.cache = PTE_DIRTY;
	assert_int_equal(map(x, &d, A, M2, MAP_SHARED), -EINVAL);
	assert_int_equal(mm_munmap(x->mm, A, M2), 0);
	page_free_block(x->mm->frames, memory, 9);
	backing_put(&d.backing);
}

/* Frames that the machine does not have: nothing touches them. */
static void by_largest_entries(void **state)
{
	struct fixture *x = *state;
	const pfn_t pfn = 1ull << (40 - PAGE_SHIFT); /* 1 GiB aligned */
	struct device d;
	gpa_t gpa = 0;

	device_init(x, &d, pfn - 1 - 512);
	assert_int_equal(map(x, &d, A - M2 - P, M2 + P + G1 + M2 + P, MAP_SHARED), A - M2 - P);
	assert_int_equal(level_at(x, A - M2 - P), 0);
	assert_int_equal(level_at(x, A - M2), 1);
	assert_int_equal(level_at(x, A), 2);
	assert_int_equal(level_at(x, A + G1 - P), 2);
	assert_int_equal(level_at(x, A + G1), 1);
	assert_int_equal(level_at(x, A + G1 + M2), 0);
	assert_int_equal(sim_translate(x->cpu, SIM_STORE, A + G1 - 5, &gpa), 0);
	assert_int_equal(gpa, (pfn << PAGE_SHIFT) + G1 - 5);
	assert_mm_sound(x->mm);
	/* A hole in the middle leaves 2 MiB entries around it, and 4 KiB ones where it begins and ends. */
	assert_int_equal(mm_munmap(x->mm, A + 16 * M2 + P, P), 0);
	assert_int_equal(level_at(x, A + 15 * M2), 1);
	assert_int_equal(level_at(x, A + 16 * M2), 0);
	assert_int_equal(level_at(x, A + 17 * M2), 1);
	assert_int_equal(sim_translate(x->cpu, SIM_LOAD, A + 16 * M2 + 2 * P, &gpa), 0);
	assert_int_equal(gpa, (pfn << PAGE_SHIFT) + 16 * M2 + 2 * P);
	assert_int_equal(sim_translate(x->cpu, SIM_LOAD, A + 100 * M2 + 7, &gpa), 0);
	assert_int_equal(gpa, (pfn << PAGE_SHIFT) + 100 * M2 + 7);
	assert_true(sim_translate(x->cpu, SIM_LOAD, A + 16 * M2 + P, &gpa) & SIM_FAULTED);
	assert_mm_sound(x->mm);
	struct mm *child;
	assert_int_equal(mm_fork(x->mm, &child), 0);
	assert_mm_sound(child);
	mmput(child);
	assert_int_equal(mm_munmap(x->mm, A - 2 * M2, 2 * G1), 0);
	assert_int_equal(x->mm->pgt.nr_tables, 0);
	backing_put(&d.backing);
}

static void private_copies(void **state)
{
	struct fixture *x = *state;
	struct page *memory = device_memory(x);
	uint64_t *word = page_address(x->mm->frames, memory);
	struct device d;

	*word = 11;
	device_init(x, &d, page_to_pfn(x->mm->frames, memory));
	assert_int_equal(map(x, &d, A, 4 * P, MAP_PRIVATE), A);
	assert_int_equal(fixture_load(x, A), 11);
	fixture_store(x, A + 8, 12);
	assert_int_equal(word[1], 0);
	assert_int_equal(fixture_load(x, A), 11);
	assert_int_equal(mm_counter(x->mm, MM_ANONPAGES), 1);
	assert_mm_sound(x->mm);
	d.bytes = 2 * P;
	assert_int_equal(map(x, &d, A, 4 * P, MAP_PRIVATE), -EINVAL);
	assert_int_equal(x->mm->vmas.nr, 0);
	page_free_block(x->mm->frames, memory, 9);
	backing_put(&d.backing);
}

static void without_memory(void **state)
{
	struct fixture *x = *state;
	struct device d;
	unsigned int refused = 0;
	bool failed;
	long n = 0;

	device_init(x, &d, 1ull << (40 - PAGE_SHIFT));
	do {
		x->machine->frames.fail_in = ++n;
		int64_t at = map(x, &d, A + P, M2, MAP_SHARED);
		failed = x->machine->frames.fail_in <= 0;
		x->machine->frames.fail_in = 0;
		assert_mm_sound(x->mm);
		assert_int_equal(at, at < 0 ? -ENOMEM : (int64_t)(A + P));
		assert_int_equal(x->mm->vmas.nr, at >= 0);
		assert_true(failed || at >= 0);
		refused += at < 0;
		assert_int_equal(mm_munmap(x->mm, A, G1), 0);
	} while (failed);
	assert_true(refused >= 2);
	backing_put(&d.backing);
}

/* --- a device that is asked for each page ---------------------------------------------------------------------------- */

static enum vm_fault_result dma_fault(struct vm_fault *vmf)
{
	struct device *d = vmf->vma->private_data;

	d->faults++;
	vmf->page = page_alloc(d->frames, GFP_USER | __GFP_DMA32 | __GFP_ZERO, 0);
	if (!vmf->page)
		return VM_FAULT_OOM;
	d->page = vmf->page;
	return VM_FAULT_DONE;
}

static const struct vm_operations dma_vm_ops = {.fault = dma_fault};

static int dma_mmap(struct backing *b, struct vma *vma)
{
	vma->vm_ops = &dma_vm_ops;
	vma->private_data = b;
	vma->mapping = NULL;
	return 0;
}

static const struct backing_ops dma_ops = {.size = device_size, .release = device_release, .mmap = dma_mmap};

static int setup_dma32(void **state)
{
	*state = fixture_new(&(struct sim_config){.dma32_pages = 1024});
	return !*state;
}

static void below_4_gib(void **state)
{
	struct fixture *x = *state;
	struct device d = {.frames = &x->machine->frames};

	backing_init(&d.backing, &x->machine->host, &dma_ops);
	assert_int_equal(map(x, &d, A, 4 * P, MAP_SHARED), A);
	fixture_store(x, A + P, 5);
	assert_int_equal(d.faults, 1);
	assert_true(page_to_pfn(d.frames, d.page) < NORMAL_START_PFN);
	assert_int_equal(*(uint64_t *)page_address(d.frames, d.page), 5);
	assert_int_equal(fixture_load(x, A + 2 * P), 0);
	assert_mm_sound(x->mm);
	assert_int_equal(mm_munmap(x->mm, A + P, P), 0);
	d.frames->fail_in = 1;
	struct fault_signal sig = sim_load(x->cpu, A, &(uint64_t){0}, 8);
	d.frames->fail_in = 0;
	assert_int_equal(sig.signo, SIGKILL); /* VM_FAULT_OOM */
	assert_int_equal(mm_munmap(x->mm, A, 4 * P), 0);
	backing_put(&d.backing);
}

/* A file whose bytes are memory of the machine (ext4_file_mmap on DAX): its areas ask for huge entries and are aligned for them. */
static int dax_mmap(struct backing *b, struct vma *vma)
{
	vma->flags |= VM_HUGEPAGE;
	return device_mmap(b, vma);
}

static int64_t dax_get_unmapped_area(struct backing *b, struct mm *mm, const struct unmapped_request *r)
{
	struct unmapped_request padded = *r;

	(void)b;
	padded.length += M2 - P;
	int64_t at = mm->get_unmapped_area(mm, &padded);
	return at < 0 ? at : (int64_t)(((gva_t)at + M2 - 1) & PMD_MASK);
}

static const struct backing_ops dax_ops = {.size = device_size,
					   .release = device_release,
					   .mmap = dax_mmap,
					   .mapped = device_mapped,
					   .get_unmapped_area = dax_get_unmapped_area};

static void dax_is_huge(void **state)
{
	struct fixture *x = *state;
	struct device d = {.pfn = 1ull << 28, .frames = &x->machine->frames};

	backing_init(&d.backing, &x->machine->host, &dax_ops);
	const struct mmap_request r = {.length = 2 * M2 + P,
				       .prot = RW,
				       .flags = MAP_SHARED,
				       .file = &d.backing};
	int64_t at = mm_mmap(x->mm, &r);
	assert_true(at > 0);
	assert_int_equal((gva_t)at & ~PMD_MASK, 0);
	const struct vma *vma = vma_find(&x->mm->vmas, (gva_t)at);
	assert_true(vma->flags & VM_HUGEPAGE);
	assert_int_equal(level_at(x, (gva_t)at), 1);
	assert_int_equal(level_at(x, (gva_t)at + M2), 1);
	assert_int_equal(level_at(x, (gva_t)at + 2 * M2), 0);
	assert_int_equal(pte_pfn(entry_at(x, (gva_t)at + M2)), (1ull << 28) + 512);
	assert_int_equal(x->cpu->nr_faults, 0);
	/* A cut splits the entry that it goes through, and no other. */
	assert_int_equal(mm_munmap(x->mm, (gva_t)at + 5 * P, P), 0);
	assert_int_equal(level_at(x, (gva_t)at), 0);
	assert_int_equal(level_at(x, (gva_t)at + M2), 1);
	assert_true(vma_find(&x->mm->vmas, (gva_t)at + 6 * P)->flags & VM_HUGEPAGE);
	assert_mm_sound(x->mm);
}

#define T(name, fn)                                             \
	{                                                       \
		name, fn, fixture_setup, fixture_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("pfnmap: a device's memory is there when mmap returns, without faults or counts [J15]",
		  mapped_at_once),
		{"pfnmap: the same on a shadow MMU", mapped_at_once, fixture_setup_shadow, fixture_teardown,
		 NULL},
		T("pfnmap: entries of device memory are uncached and stay so [B16]", uncached),
		T("pfnmap: 4 KiB, 2 MiB and 1 GiB entries as alignment allows; each splits [B19][J15]",
		  by_largest_entries),
		{"pfnmap: 1 GiB entries with 5 levels of tables [B19]", by_largest_entries,
		 fixture_setup_5_levels, fixture_teardown, NULL},
		T("pfnmap: areas of a DAX file are VM_HUGEPAGE, aligned, and mapped by 2 MiB [H14][J5]",
		  dax_is_huge),
		T("pfnmap: a write to a private area copies the device's page", private_copies),
		T("pfnmap: no memory, no area", without_memory),
		{"device: a fault handler that takes frames below 4 GiB; none left is out of memory [J16]",
		 below_4_gib, setup_dma32, fixture_teardown, NULL},
	};

	return cmocka_run_group_tests_name("pfnmap", tests, NULL, NULL);
}
