/* SPDX-License-Identifier: MIT */
/* The operations of an area: a device that hands out frames of its own, counts who shows it, and is asked before writes. */
#include "../../src/mm/fault.h"
#include "../sim/fixture.h"

#define A	  0x10000000ull
#define P	  PAGE_SIZE
#define RW	  (PROT_READ | PROT_WRITE)
#define DEV_PAGES 8

struct device {
	struct backing backing; /* first: the tests' casts rely on it */
	struct frames *frames;
	struct page *page[DEV_PAGES];
	unsigned int faults, mkwrites, areas, opens, closes;
	enum vm_fault_result answer; /* of page_mkwrite */
	int mmap_error;
};

static struct device *device_of(const struct vma *vma)
{
	return vma->private_data;
}

static enum vm_fault_result device_fault(struct vm_fault *vmf)
{
	struct device *d = device_of(vmf->vma);

	d->faults++;
	if (vmf->pgoff >= DEV_PAGES)
		return VM_FAULT_SIGBUS;
	if (!d->page[vmf->pgoff])
		d->page[vmf->pgoff] = page_alloc(d->frames, GFP_HIGHUSER | __GFP_ZERO, 0);
	if (!d->page[vmf->pgoff])
		return VM_FAULT_OOM;
	page_get(d->page[vmf->pgoff]);
	vmf->page = d->page[vmf->pgoff];
	return VM_FAULT_DONE;
}

static enum vm_fault_result device_mkwrite(struct vm_fault *vmf)
{
	struct device *d = device_of(vmf->vma);

	assert_ptr_equal(vmf->page, d->page[vmf->pgoff]);
	d->mkwrites++;
	return d->answer;
}

static void device_open(struct vma *vma)
{
	device_of(vma)->opens++;
	device_of(vma)->areas++;
}

static void device_close(struct vma *vma)
{
	device_of(vma)->closes++;
	device_of(vma)->areas--;
}

static const struct vm_operations device_vm_ops = {
	.open = device_open,
	.close = device_close,
	.fault = device_fault,
	.page_mkwrite = device_mkwrite,
};

static int device_mmap(struct backing *b, struct vma *vma)
{
	struct device *d = (struct device *)b;

	if (d->mmap_error)
		return d->mmap_error;
	vma->vm_ops = &device_vm_ops;
	vma->private_data = d;
	vma->mapping = NULL;
	d->areas++;
	return 0;
}

static void device_release(struct backing *b)
{
	struct device *d = (struct device *)b;

	for (unsigned int i = 0; i < DEV_PAGES; i++)
		if (d->page[i])
			page_put(d->frames, d->page[i]);
}

static int64_t device_size(struct backing *b)
{
	(void)b;
	return DEV_PAGES * P;
}

static const struct backing_ops device_ops = {.size = device_size,
					      .release = device_release,
					      .mmap = device_mmap};

static void device_init(struct fixture *x, struct device *d)
{
	memset(d, 0, sizeof(*d));
	d->frames = &x->machine->frames;
	backing_init(&d->backing, &x->machine->host, &device_ops);
}

static int64_t map_device(struct fixture *x, struct device *d, gva_t at, uint64_t pages, unsigned int flags)
{
	struct mmap_request r = {.address = at, .length = pages * P, .prot = RW, .file = &d->backing};

	r.flags = MAP_FIXED | flags;
	return mm_mmap(x->mm, &r);
}

static void open_and_close_balance(void **state)
{
	struct fixture *x = *state;
	struct device d;

	device_init(x, &d);
	assert_int_equal(map_device(x, &d, A, 8, MAP_SHARED), A);
	assert_int_equal(d.areas, 1);
	assert_int_equal(d.opens, 0); /* mmap itself is the first */
	assert_int_equal(mm_munmap(x->mm, A + 3 * P, P), 0);
	assert_int_equal(d.areas, 2);
	assert_int_equal(mm_mprotect(x->mm, A, P, PROT_READ), 0);
	assert_int_equal(d.areas, 3);
	assert_int_equal(mm_mremap(x->mm, A + 4 * P, 2 * P, 2 * P, MREMAP_MAYMOVE | MREMAP_FIXED, A + 32 * P),
			 A + 32 * P);
	assert_int_equal(d.areas, 4);
	assert_mm_sound(x->mm);
	assert_int_equal(mm_munmap(x->mm, A, 64 * P), 0);
	assert_int_equal(d.areas, 0);
	assert_int_equal(d.closes, d.opens + 1);
	backing_put(&d.backing);
}

static void fault_asks_the_device(void **state)
{
	struct fixture *x = *state;
	struct device d;

	device_init(x, &d);
	map_device(x, &d, A, DEV_PAGES + 1, MAP_SHARED);
	map_device(x, &d, A + 32 * P, DEV_PAGES, MAP_SHARED);
	assert_false(vma_is_anonymous(vma_find(&x->mm->vmas, A)));
	fixture_store(x, A + P, 77);
	assert_int_equal(d.faults, 1);
	assert_int_equal(fixture_load(x, A + P), 77);
	assert_int_equal(d.faults, 1);
	assert_int_equal(fixture_load(x, A + 33 * P), 77);
	assert_int_equal(d.faults, 2);
	assert_int_equal(mm_counter(x->mm, MM_FILEPAGES), 2);
	assert_signal(x, SIM_LOAD, A + DEV_PAGES * P, SIGBUS, BUS_ADRERR);
	assert_mm_sound(x->mm);
	mm_munmap(x->mm, A, 64 * P);
	backing_put(&d.backing);
}

static void private_copies(void **state)
{
	struct fixture *x = *state;
	struct device d;

	device_init(x, &d);
	map_device(x, &d, A, 4, MAP_PRIVATE);
	map_device(x, &d, A + 32 * P, 4, MAP_SHARED);
	assert_int_equal(fixture_load(x, A), 0);
	fixture_store(x, A, 5);
	fixture_store(x, A + P, 6);
	assert_int_equal(fixture_load(x, A + 32 * P), 0);
	assert_int_equal(fixture_load(x, A + 33 * P), 0);
	assert_int_equal(fixture_load(x, A), 5);
	assert_int_equal(fixture_load(x, A + P), 6);
	assert_int_equal(d.mkwrites, 0);
	assert_mm_sound(x->mm);
	mm_munmap(x->mm, A, 64 * P);
	backing_put(&d.backing);
}

static void mkwrite_once(void **state)
{
	struct fixture *x = *state;
	struct device d;

	device_init(x, &d);
	map_device(x, &d, A, 4, MAP_SHARED);
	assert_int_equal(fixture_load(x, A), 0);
	assert_int_equal(d.mkwrites, 0);
	fixture_store(x, A, 1);
	fixture_store(x, A, 2);
	assert_int_equal(d.mkwrites, 1);
	fixture_store(x, A + P, 3); /* no read before */
	fixture_store(x, A + P, 4);
	assert_int_equal(d.mkwrites, 2);
	/* Taking the right away and giving it back makes the next write a first one again. */
	mm_mprotect(x->mm, A, P, PROT_READ);
	mm_mprotect(x->mm, A, P, RW);
	assert_int_equal(d.mkwrites, 2);
	fixture_store(x, A, 5);
	assert_int_equal(d.mkwrites, 3);
	d.answer = VM_FAULT_SIGBUS;
	assert_int_equal(fixture_load(x, A + 2 * P), 0);
	assert_signal(x, SIM_STORE, A + 2 * P, SIGBUS, BUS_ADRERR);
	assert_signal(x, SIM_STORE, A + 3 * P, SIGBUS, BUS_ADRERR);
	assert_mm_sound(x->mm);
	mm_munmap(x->mm, A, 64 * P);
	backing_put(&d.backing);
}

static void mmap_hook_refuses(void **state)
{
	struct fixture *x = *state;
	struct device d;

	device_init(x, &d);
	d.mmap_error = -ENODEV;
	assert_int_equal(map_device(x, &d, A, 4, MAP_SHARED), -ENODEV);
	assert_int_equal(x->mm->vmas.nr, 0);
	assert_int_equal(atomic_load(&d.backing.refs), 1);
	backing_put(&d.backing);
}

#define T(name, fn)                                             \
	{                                                       \
		name, fn, fixture_setup, fixture_teardown, NULL \
	}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T("vm_ops: open and close count the areas that show a device [H18 J6]",
		  open_and_close_balance),
		T("vm_ops: a first touch asks fault for the page; NULL operations are anonymous [H19 H23]",
		  fault_asks_the_device),
		T("vm_ops: writes to a private mapping of a device stay private", private_copies),
		T("vm_ops: page_mkwrite is asked once before a page becomes writable [H22]", mkwrite_once),
		T("vm_ops: the file's own mmap may refuse, and nothing is left [J6]", mmap_hook_refuses),
	};

	return cmocka_run_group_tests_name("vm_ops", tests, NULL, NULL);
}
