/* SPDX-License-Identifier: MIT */
/*
 * mmap.c - mmap, munmap and brk.
 *
 *	mm_mmap				mm_populate afterwards, when the pages are wanted at once
 *	  do_mmap			checks in Linux's order
 *	    get_unmapped_area		where
 *	    mmap_region			limits, what is in the way, merge or link
 *
 * Each takes all it may need (the new area, spares for cuts, the shared object) before it changes anything, so that out of
 * memory leaves the space as it was.
 */
#include <errno.h>
#include <sys/mman.h>

#include "area.h"
#include "lock.h"
#include "retry.h"
#include "shmem.h"
#include "unmapped_area.h"
#include "vma_merge.h"
#include "zap.h"

/* Newer than, or left out of, the headers we build with; the values are Linux's for x86-64. */
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000 /* Linux 4.17 */
#endif
#ifndef MAP_UNINITIALIZED
#define MAP_UNINITIALIZED 0x4000000
#endif
#ifndef MAP_ABOVE4G
#define MAP_ABOVE4G 0x80 /* Linux 6.6 */
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x8 /* Linux 6.11: a type */
#endif

#define HUGE_SIZE_SHIFT 26

/* A heap that grows by more than this is left to faults. */
#define HEAP_STEP_PAGES 64

/* What every kernel took before MAP_SHARED_VALIDATE came to refuse the rest. */
#define LEGACY_MAP_MASK                                                                                 \
	(MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE | MAP_EXECUTABLE |        \
	 MAP_UNINITIALIZED | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | \
	 MAP_STACK | MAP_HUGETLB | MAP_32BIT | MAP_ABOVE4G | (21u << HUGE_SIZE_SHIFT) |                 \
	 (30u << HUGE_SIZE_SHIFT))

/* A request whose place and flags are settled. */
struct mmap_region {
	struct mm *mm;
	const struct mmap_request *request;
	gva_t start, end;
	uint64_t vm_flags;
};

uint64_t prot_vm_flags(unsigned int prot)
{
	return (prot & PROT_BITS_READ ? VM_READ : 0) | (prot & PROT_BITS_WRITE ? VM_WRITE : 0) |
	       (prot & PROT_BITS_EXEC ? VM_EXEC : 0);
}

static uint64_t request_vm_flags(const struct mm *mm, const struct mmap_request *r)
{
	uint64_t flags = prot_vm_flags(r->prot) | r->extra_flags | mm->def_flags | VM_MAYREAD | VM_MAYWRITE |
			 VM_MAYEXEC;

	if (r->flags & MAP_GROWSDOWN)
		flags |= VM_GROWSDOWN;
	if (r->flags & MAP_LOCKED)
		flags |= VM_LOCKED;
	if (r->flags & MAP_STACK)
		flags |= VM_NOHUGEPAGE;
	if ((r->flags & MAP_NORESERVE) && mm->memcg->overcommit_memory != OVERCOMMIT_NEVER)
		flags |= VM_NORESERVE;
	return flags;
}

/* MAP_SHARED_VALIDATE refuses what it does not know; MAP_SHARED never looked. */
static int check_shared_file(const struct mmap_request *r, uint64_t *vm_flags)
{
	if ((r->flags & MAP_TYPE) == MAP_SHARED_VALIDATE && (r->flags & ~LEGACY_MAP_MASK))
		return -EOPNOTSUPP;
	if ((r->prot & PROT_BITS_WRITE) && r->may_not_write)
		return -EACCES;
	*vm_flags |= VM_SHARED | VM_MAYSHARE;
	if (r->may_not_write)
		*vm_flags &= ~(VM_MAYWRITE | VM_SHARED);
	return 0;
}

static int check_file(const struct mmap_request *r, uint64_t length, uint64_t *vm_flags)
{
	unsigned int type = r->flags & MAP_TYPE;
	int err = 0;

	/* No file is longer than a signed offset can say. */
	if (length > INT64_MAX || (r->pgoff << PAGE_SHIFT) > INT64_MAX - length)
		return -EOVERFLOW;
	if (type == MAP_SHARED || type == MAP_SHARED_VALIDATE)
		err = check_shared_file(r, vm_flags);
	else if (type != MAP_PRIVATE)
		return -EINVAL;
	if (err)
		return err;
	if (r->may_not_read)
		return -EACCES;
	return *vm_flags & VM_GROWSDOWN ? -EINVAL : 0;
}

static int check_anonymous(const struct mmap_request *r, uint64_t *vm_flags)
{
	switch (r->flags & MAP_TYPE) {
	case MAP_SHARED:
		*vm_flags |= VM_SHARED | VM_MAYSHARE;
		return *vm_flags & VM_GROWSDOWN ? -EINVAL : 0;
	case MAP_DROPPABLE:
		if (*vm_flags & VM_LOCKED)
			return -EINVAL;
		*vm_flags |= VM_DROPPABLE | VM_NORESERVE | VM_WIPEONFORK | VM_DONTDUMP;
		return 0;
	case MAP_PRIVATE:
		return 0;
	default:
		return -EINVAL;
	}
}

static uint64_t mapped_pages(const struct mm *mm, gva_t start, gva_t end)
{
	uint64_t sum = 0;

	for (struct vma *v = vma_find_intersection(&mm->vmas, start, end); v && v->start < end; v = v->next)
		sum += (min_u64(v->end, end) - max_u64(v->start, start)) >> PAGE_SHIFT;
	return sum;
}

static void area_take_over(struct vma *vma, const struct mmap_request *r)
{
	vma->vm_ops = r->vm_ops;
	vma->private_data = r->private_data;
	if (vma->vm_ops->open)
		vma->vm_ops->open(vma);
}

/* Gives a new area what its request maps: a file, a shared object, or nothing. 0 or -errno. */
static int area_open(struct mm *mm, const struct mmap_request *r, struct vma *vma)
{
	if (r->file) {
		vma->file = backing_get(r->file);
		vma->mapping = &r->file->cache;
		vma->pgoff = r->pgoff;
		vma->vm_ops = r->file->cache.shmem ? &shmem_vm_ops : &filemap_vm_ops;
		int err = r->file->ops->mmap ? r->file->ops->mmap(r->file, vma) : 0;
		if (err) {
			backing_put(vma->file);
			return err;
		}
		if (r->vm_ops)
			area_take_over(vma, r);
		return 0;
	}
	if (!(vma->flags & VM_SHARED)) {
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
static int make_area(const struct mmap_region *g, struct vma **result)
{
	struct vma *vma = kmem_cache_alloc(&g->mm->host->vma_cache);

	if (!vma)
		return -ENOMEM;
	*vma = (struct vma){.start = g->start,
			    .end = g->end,
			    .flags = g->vm_flags,
			    .mm = g->mm,
			    .name = g->request->name};
	list_init(&vma->anon_vma_chain);
	int err = area_open(g->mm, g->request, vma);
	if (err) {
		kmem_cache_free(&g->mm->host->vma_cache, vma);
		return err;
	}
	*result = vma;
	return 0;
}

/* Links an area of a file that has something to map there itself. What was there before is gone, even if that fails. */
static int insert_mapped(struct mm *mm, struct vma *vma)
{
	struct spare_areas none;

	area_link(mm, vma);
	int err = vma->file->ops->mapped(vma->file, vma);
	spare_none(&none);
	if (err)
		area_unmap(mm, vma->start, vma->end, &none);
	return err;
}

/* Links a new area, or makes its neighbours swallow it. */
static int insert_area(struct mm *mm, struct vma *vma)
{
	struct vma_merge m = {.mm = mm, .like = *vma};

	vm_stat_account(mm, vma->flags, (int64_t)vma_pages(vma));
	if (vma->file && vma->file->ops->mapped)
		return insert_mapped(mm, vma);
	m.next = vma_find(&mm->vmas, vma->start);
	m.prev = m.next ? m.next->prev : vma_last(&mm->vmas);
	if (vma_merge(&m))
		vma_free(mm, vma);
	else
		area_link(mm, vma);
	return 0;
}

/* Memory without a file whose size is promised by its object, not by the area. */
static bool is_shared_memory(const struct mmap_region *g)
{
	return !g->request->file && !g->request->vm_ops && (g->vm_flags & VM_SHARED) &&
	       !(g->vm_flags & VM_NORESERVE);
}

/* What the limits say about the region, once what lies there is gone. 0 or -errno. */
static int charge_region(struct mmap_region *g)
{
	uint64_t pages = (g->end - g->start) >> PAGE_SHIFT;

	if (!may_expand_vm(g->mm, g->vm_flags, pages - mapped_pages(g->mm, g->start, g->end)))
		return -ENOMEM;
	int err = area_may_unmap(g->mm, g->start, g->end);
	if (err)
		return err;
	bool accountable = vm_accountable(g->vm_flags);
	if (!accountable && !is_shared_memory(g))
		return 0;
	if (!vm_enough_memory(g->mm, pages))
		return -ENOMEM;
	g->vm_flags |= accountable ? VM_ACCOUNT : 0;
	return 0;
}

/* Clears what is in the way, links the area, joins it with its neighbours. */
static int64_t mmap_region(struct mmap_region *g)
{
	struct mm *mm = g->mm;
	struct spare_areas spare;
	struct vma *vma = NULL;
	int err = charge_region(g);

	if (err)
		return err;
	if (area_unmap_prepare(mm, g->start, g->end, &spare))
		return -ENOMEM;
	err = make_area(g, &vma);
	if (!err) {
		area_unmap(mm, g->start, g->end, &spare);
		err = insert_area(mm, vma);
	}
	spare_put(mm, &spare);
	return err ? err : (int64_t)g->start;
}

static int64_t do_mmap(struct mm *mm, const struct mmap_request *r, uint64_t *vm_flags)
{
	struct unmapped_request u = {.address = r->address,
				     .length = page_align_up(r->length),
				     .flags = r->flags};

	if (!r->length)
		return -EINVAL;
	if (!u.length)
		return -ENOMEM;
	if (r->pgoff + (u.length >> PAGE_SHIFT) < r->pgoff)
		return -EOVERFLOW;
	if (mm->vmas.nr > mm->max_map_count)
		return -ENOMEM;
	if (u.flags & MAP_FIXED_NOREPLACE)
		u.flags |= MAP_FIXED;
	u.pgoff = r->pgoff;
	u.file = r->file;
	*vm_flags = request_vm_flags(mm, r);
	int64_t at = get_unmapped_area(mm, &u);
	if (at < 0)
		return at;
	struct mmap_region g = {mm, r, (gva_t)at, (gva_t)at + u.length, 0};
	if ((r->flags & MAP_FIXED_NOREPLACE) && vma_find_intersection(&mm->vmas, g.start, g.end))
		return -EEXIST;
	if ((r->flags & MAP_LOCKED) && !can_do_mlock(mm))
		return -EPERM;
	if (!mlock_future_ok(mm, *vm_flags, u.length >> PAGE_SHIFT))
		return -EAGAIN;
	int err = r->file ? check_file(r, u.length, vm_flags) : check_anonymous(r, vm_flags);
	if (err)
		return err;
	g.vm_flags = *vm_flags;
	return mmap_region(&g);
}

int64_t mm_mmap(struct mm *mm, const struct mmap_request *r)
{
	struct retry retry = retry_begin(mm->host, mm->memcg);
	uint64_t vm_flags = 0;
	int64_t start;

	do {
		mm_write_lock(mm);
		start = do_mmap(mm, r, &vm_flags);
		mm_write_unlock(mm);
	} while (retry_with_room(&retry, start));
	/* As Linux: the mapping stands even if this fails. */
	if (start >= 0 && !r->stays_empty &&
	    ((vm_flags & VM_LOCKED) || (r->flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE))
		mm_populate(mm, (gva_t)start, r->length);
	return start;
}

/* The area that [start, end) lies in, alone or with others that show the same in the same way; NULL: there is none. */
static struct vma *remappable(const struct mm *mm, gva_t start, gva_t end)
{
	struct vma *first = vma_find(&mm->vmas, start), *v = first;

	if (!first || first->start > start || !(first->flags & VM_SHARED))
		return NULL;
	while (v->end < end) {
		const struct vma *next = v->next;
		if (!next || next->start != v->end || next->file != first->file ||
		    next->flags != first->flags)
			return NULL;
		v = v->next;
	}
	return first;
}

int mm_remap_file_pages(struct mm *mm, gva_t start, uint64_t length, unsigned int prot, uint64_t pgoff,
			unsigned int flags)
{
	struct mmap_request r = {.address = page_align_down(start),
				 .length = page_align_down(length),
				 .pgoff = pgoff};
	uint64_t vm_flags = 0;
	int64_t at = -EINVAL;

	if (prot || r.address + r.length <= r.address || pgoff + (r.length >> PAGE_SHIFT) < pgoff)
		return -EINVAL;
	mm_write_lock(mm);
	struct vma *vma = remappable(mm, r.address, r.address + r.length);
	if (vma) {
		r.prot = (vma->flags & VM_READ ? PROT_BITS_READ : 0) |
			 (vma->flags & VM_WRITE ? PROT_BITS_WRITE : 0) |
			 (vma->flags & VM_EXEC ? PROT_BITS_EXEC : 0);
		r.flags = (flags & MAP_NONBLOCK) | MAP_SHARED | MAP_FIXED | MAP_POPULATE |
			  (vma->flags & VM_LOCKED ? MAP_LOCKED : 0);
		r.may_not_write = !(vma->flags & VM_MAYWRITE);
		r.file = backing_get(vma->file);
		at = do_mmap(mm, &r, &vm_flags);
	}
	mm_write_unlock(mm);
	if (at >= 0 && !(flags & MAP_NONBLOCK))
		mm_populate(mm, r.address, r.length);
	if (r.file)
		backing_put(r.file);
	return at < 0 ? (int)at : 0;
}

static int do_munmap(struct mm *mm, gva_t start, uint64_t length)
{
	struct spare_areas spare;
	int err = area_may_unmap(mm, start, start + length);

	if (err)
		return err;
	if (area_unmap_prepare(mm, start, start + length, &spare))
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
	struct retry retry = retry_begin(mm->host, mm->memcg);
	do {
		mm_write_lock(mm);
		err = do_munmap(mm, start, length);
		mm_write_unlock(mm);
	} while (retry_with_room(&retry, err));
	return err;
}

static bool brk_within_limits(const struct mm *mm, gva_t brk)
{
	uint64_t data = mm->end_data - mm->start_data, heap = brk - mm->start_brk;

	return brk >= mm->start_brk &&
	       (mm->data_limit_bytes == ~0ull ||
		(heap <= mm->data_limit_bytes && data <= mm->data_limit_bytes - heap));
}

static int grow_heap(struct mm *mm, gva_t from, gva_t to)
{
	const struct mmap_request r = {.prot = PROT_BITS_READ | PROT_BITS_WRITE,
				       .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED};
	struct mmap_region g = {mm, &r, from, to, request_vm_flags(mm, &r)};
	const struct vma *next = vma_find(&mm->vmas, from);

	if (to > mm->task_size || !mlock_future_ok(mm, g.vm_flags, (to - from) >> PAGE_SHIFT))
		return -ENOMEM;
	if (next && to + PAGE_SIZE > vma_start_gap(next))
		return -ENOMEM;
	if (mm->vmas.nr > mm->max_map_count)
		return -ENOMEM;
	int64_t at = mmap_region(&g);
	return at < 0 ? (int)at : 0;
}

/* What is below the break is in use, so that what comes above it will be in a moment: a fault for each step would cost more. */
static bool is_used_up_to(struct mm *mm, gva_t brk)
{
	pte_t *slot, pte;

	if (brk == mm->start_brk)
		return false;
	pthread_mutex_lock(&mm->page_table_lock);
	pte = pgtable_translate(&mm->pgt, brk - PAGE_SIZE, &slot);
	pthread_mutex_unlock(&mm->page_table_lock);
	return pte_present(pte) && pte_write(pte);
}

static bool heap_comes_at_once(struct mm *mm, gva_t old, gva_t new)
{
	uint64_t pages = (new - old) >> PAGE_SHIFT;

	return pages <= min_u64(HEAP_STEP_PAGES, mm->fault_around_pages) &&
	       memcg_room(mm->memcg) >= 4 * pages && is_used_up_to(mm, old);
}

/* Moves the break; *resident_bytes says how much of the new area is to be made resident, since areas to come are locked, or in use soon. */
static int do_brk(struct mm *mm, gva_t brk, uint64_t *resident_bytes)
{
	gva_t old = page_align_up(mm->brk), new = page_align_up(brk);
	int err = 0;

	if (new > old)
		err = grow_heap(mm, old, new);
	else if (new < old)
		err = do_munmap(mm, new, old - new);
	if (err)
		return err;
	mm->brk = brk;
	if (new > old && ((mm->def_flags & VM_LOCKED) || heap_comes_at_once(mm, old, new)))
		*resident_bytes = new - old;
	return 0;
}

gva_t mm_brk(struct mm *mm, gva_t brk)
{
	struct retry retry = retry_begin(mm->host, mm->memcg);
	uint64_t resident_bytes = 0;
	gva_t result;
	int err;

	do {
		err = 0;
		mm_write_lock(mm);
		if (brk_within_limits(mm, brk) && page_align_up(brk) >= brk)
			err = do_brk(mm, brk, &resident_bytes);
		result = mm->brk;
		mm_write_unlock(mm);
	} while (retry_with_room(&retry, err));
	if (resident_bytes)
		mm_populate(mm, page_align_up(result) - resident_bytes, resident_bytes);
	return result;
}
