/* SPDX-License-Identifier: MIT */
/*
 * mmap.c - mmap, munmap and brk.
 *
 * Each takes all it may need (the new area, spares for cuts, the shared object) before it changes anything, so that out of
 * memory leaves the space as it was.
 */
#include <errno.h>
#include <sys/mman.h>

#include "area.h"
#include "fault.h"
#include "shmem.h"
#include "zap.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000 /* Linux 4.17 */
#endif

/* MAP_SHARED_VALIDATE is MAP_SHARED | MAP_PRIVATE: not a bit of its own. */
static bool is_shared(unsigned int flags)
{
	return flags & MAP_SHARED;
}

uint64_t prot_vm_flags(unsigned int prot)
{
	return (prot & PROT_BITS_READ ? VM_READ : 0) | (prot & PROT_BITS_WRITE ? VM_WRITE : 0) |
	       (prot & PROT_BITS_EXEC ? VM_EXEC : 0);
}

static uint64_t request_vm_flags(const struct mmap_request *r)
{
	uint64_t flags = prot_vm_flags(r->prot) | r->extra_flags | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;

	if (is_shared(r->flags)) {
		flags |= VM_SHARED | VM_MAYSHARE;
		if (r->may_not_write)
			flags &= ~VM_MAYWRITE;
	}
	if (r->flags & MAP_GROWSDOWN)
		flags |= VM_GROWSDOWN;
	if (r->flags & MAP_LOCKED)
		flags |= VM_LOCKED;
	if (r->flags & MAP_NORESERVE)
		flags |= VM_NORESERVE;
	return flags;
}

/* One request for more memory than there is at all is refused; anything else is promised (overcommit mode 0). */
static bool is_obvious_overcommit(const struct mm *mm, uint64_t vm_flags, uint64_t nr_pages)
{
	return (vm_flags & (VM_WRITE | VM_SHARED | VM_NORESERVE)) == VM_WRITE &&
	       nr_pages > frames_guest_pages(mm->frames);
}

/* Where the request goes: an address, or -errno. */
static int64_t choose_address(struct mm *mm, const struct mmap_request *r, uint64_t length)
{
	bool fixed = r->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);

	if (!fixed)
		return area_find_room(mm, r->address, length, r->flags);
	if (length > mm->task_size || r->address > mm->task_size - length)
		return -ENOMEM;
	if (r->address & ~PAGE_MASK)
		return -EINVAL;
	if (r->address < mm->mmap_min_addr)
		return -EPERM;
	if ((r->flags & MAP_FIXED_NOREPLACE) &&
	    vma_find_intersection(&mm->vmas, r->address, r->address + length))
		return -EEXIST;
	return (int64_t)r->address;
}

static uint64_t mapped_pages(const struct mm *mm, gva_t start, gva_t end)
{
	uint64_t sum = 0;

	for (struct vma *v = vma_find_intersection(&mm->vmas, start, end); v && v->start < end; v = v->next)
		sum += (min_u64(v->end, end) - max_u64(v->start, start)) >> PAGE_SHIFT;
	return sum;
}

/* Gives a new area what its request maps: a file, a shared object, or nothing. 0 or -errno. */
static int area_open(struct mm *mm, const struct mmap_request *r, struct vma *vma)
{
	if (r->file) {
		vma->mapping = &r->file->cache;
		vma->pgoff = r->pgoff;
		vma->vm_ops = r->file->cache.shmem ? &shmem_vm_ops : &filemap_vm_ops;
		int err = r->file->ops->mmap ? r->file->ops->mmap(r->file, vma) : 0;
		if (!err)
			vma->file = backing_get(r->file);
		return err;
	}
	if (!is_shared(r->flags)) {
		vma->pgoff = vma->start >> PAGE_SHIFT;
		return 0;
	}
	vma->vm_ops = &shmem_vm_ops;
	vma->file = shmem_create(mm->host, vma->end - vma->start, NULL);
	if (!vma->file)
		return -ENOMEM;
	vma->mapping = &vma->file->cache;
	return 0;
}

/* A new area, not linked yet, with its share of file or shared object. 0 or -errno. */
static int make_area(struct mm *mm, const struct mmap_request *r, gva_t start, uint64_t length,
		     struct vma **result)
{
	struct vma *vma = kmem_cache_alloc(&mm->host->vma_cache);

	if (!vma)
		return -ENOMEM;
	*vma = (struct vma){.start = start,
			    .end = start + length,
			    .flags = request_vm_flags(r),
			    .mm = mm,
			    .name = r->name};
	list_init(&vma->anon_vma_chain);
	int err = area_open(mm, r, vma);
	if (err) {
		kmem_cache_free(&mm->host->vma_cache, vma);
		return err;
	}
	*result = vma;
	return 0;
}

/* mmap_region: clears what is in the way, links the area, joins it with its neighbours. */
static int64_t map_region(struct mm *mm, const struct mmap_request *r, gva_t start, uint64_t length)
{
	gva_t end = start + length;
	struct spare_areas spare;

	if (!may_expand_vm(mm, (length >> PAGE_SHIFT) - mapped_pages(mm, start, end)))
		return -ENOMEM;
	unsigned int cuts = area_cuts(mm, start, end);
	if (mm->vmas.nr + cuts > mm->max_map_count)
		return -ENOMEM;
	if (spare_get(mm, &spare, start, end))
		return -ENOMEM;
	struct vma *vma = NULL;
	int err = make_area(mm, r, start, length, &vma);
	if (!err) {
		area_unmap(mm, start, end, &spare);
		area_link(mm, vma);
		mm->total_vm_pages += length >> PAGE_SHIFT;
		area_merge(mm, vma);
	}
	spare_put(mm, &spare);
	return err ? err : (int64_t)start;
}

static int64_t do_mmap(struct mm *mm, const struct mmap_request *r)
{
	uint64_t length = page_align_up(r->length), vm_flags = request_vm_flags(r);

	if (!r->length)
		return -EINVAL;
	if (!length)
		return -ENOMEM;
	if (r->file && r->pgoff + (length >> PAGE_SHIFT) < r->pgoff)
		return -EOVERFLOW;
	if ((vm_flags & VM_WRITE) && !(vm_flags & VM_MAYWRITE))
		return -EACCES;
	if (is_obvious_overcommit(mm, vm_flags, length >> PAGE_SHIFT))
		return -ENOMEM;
	int64_t start = choose_address(mm, r, length);
	return start < 0 ? start : map_region(mm, r, (gva_t)start, length);
}

int64_t mm_mmap(struct mm *mm, const struct mmap_request *r)
{
	pthread_rwlock_wrlock(&mm->mmap_lock);
	int64_t start = do_mmap(mm, r);
	pthread_rwlock_unlock(&mm->mmap_lock);
	bool populate = (r->flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE || (r->flags & MAP_LOCKED);
	if (start >= 0 && populate && r->prot)
		mm_populate(mm, (gva_t)start,
			    r->length); /* as Linux: the mapping stands even if this fails */
	return start;
}

static int do_munmap(struct mm *mm, gva_t start, uint64_t length)
{
	struct spare_areas spare;
	unsigned int cuts = area_cuts(mm, start, start + length);

	/* Only a hole in the middle of an area leaves more areas than there were. */
	if (cuts == 2 && vma_find(&mm->vmas, start)->end > start + length && mm->vmas.nr >= mm->max_map_count)
		return -ENOMEM;
	if (spare_get(mm, &spare, start, start + length))
		return -ENOMEM;
	area_unmap(mm, start, start + length, &spare);
	spare_put(mm, &spare);
	return 0;
}

int mm_munmap(struct mm *mm, gva_t start, uint64_t length)
{
	int err = check_range(mm, start, &length);

	if (err)
		return err;
	pthread_rwlock_wrlock(&mm->mmap_lock);
	err = do_munmap(mm, start, length);
	pthread_rwlock_unlock(&mm->mmap_lock);
	return err;
}

static bool brk_within_limits(const struct mm *mm, gva_t brk)
{
	uint64_t data = mm->end_data - mm->start_data, heap = brk - mm->start_brk;

	return brk >= mm->start_brk && brk < mm->task_size &&
	       (mm->data_limit_bytes == ~0ull ||
		(heap <= mm->data_limit_bytes && data <= mm->data_limit_bytes - heap));
}

static int grow_heap(struct mm *mm, gva_t from, gva_t to)
{
	struct vma *next = vma_find(&mm->vmas, from);
	struct mmap_request r = {.prot = PROT_BITS_READ | PROT_BITS_WRITE,
				 .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED};

	if (next && to + PAGE_SIZE > vma_start_gap(next))
		return -ENOMEM;
	if (is_obvious_overcommit(mm, VM_WRITE, (to - from) >> PAGE_SHIFT))
		return -ENOMEM;
	int64_t at = map_region(mm, &r, from, to - from);
	return at < 0 ? (int)at : 0;
}

gva_t mm_brk(struct mm *mm, gva_t brk)
{
	pthread_rwlock_wrlock(&mm->mmap_lock);
	if (brk_within_limits(mm, brk)) {
		gva_t old = page_align_up(mm->brk), new = page_align_up(brk);
		int err = 0;
		if (new > old)
			err = grow_heap(mm, old, new);
		else if (new < old)
			err = do_munmap(mm, new, old - new);
		if (!err)
			mm->brk = brk;
	}
	gva_t result = mm->brk;
	pthread_rwlock_unlock(&mm->mmap_lock);
	return result;
}
