/* SPDX-License-Identifier: MIT */
/*
 * mremap.c - resizing and moving a mapping.
 *
 * A move makes every table it needs at the new place first; then entries change hands one by one, which cannot fail.
 */
#include <errno.h>
#include <sys/mman.h>

#include "area.h"
#include "rmap.h"
#include "zap.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4 /* Linux 5.7 */
#endif

struct mremap {
	struct mm *mm;
	gva_t old, new;
	uint64_t old_len, new_len;
	unsigned int flags;
};

/* The area that [old, old + old_len) lies in, or NULL with *err. */
static struct vma *resizable_area(const struct mremap *m, int *err)
{
	struct vma *vma = vma_find(&m->mm->vmas, m->old);
	uint64_t kept = m->flags & MREMAP_DONTUNMAP ? 0 : m->old_len;
	uint64_t growth = m->new_len > kept ? (m->new_len - kept) >> PAGE_SHIFT : 0;

	*err = 0;
	if (!vma || vma->start > m->old) {
		*err = -EFAULT;
		return NULL;
	}
	if (!m->old_len && !(vma->flags & VM_SHARED))
		*err = -EINVAL;
	else if ((m->flags & MREMAP_DONTUNMAP) && (vma->flags & (VM_DONTEXPAND | VM_PFNMAP)))
		*err = -EINVAL;
	else if (m->old_len > vma->end - m->old)
		*err = -EFAULT;
	else if (vma->pgoff + (m->new_len >> PAGE_SHIFT) < vma->pgoff)
		*err = -EINVAL;
	else if (!may_expand_vm(m->mm, growth))
		*err = -ENOMEM;
	return vma;
}

static bool can_grow_in_place(const struct mremap *m, const struct vma *vma)
{
	return m->old_len && m->old + m->old_len == vma->end && m->old + m->new_len <= m->mm->task_size &&
	       (!vma->next || m->old + m->new_len <= vma_start_gap(vma->next));
}

static int64_t grow_in_place(struct mremap *m, struct vma *vma)
{
	m->mm->total_vm_pages += (m->new_len - m->old_len) >> PAGE_SHIFT;
	area_resize(m->mm, vma, vma->start, m->old + m->new_len);
	area_merge(m->mm, vma);
	return (int64_t)m->old;
}

/* The copy of an area at its new place, linked; NULL: no memory. */
static struct vma *make_copy(struct mremap *m, const struct vma *vma)
{
	struct vma *copy = kmem_cache_alloc(&m->mm->host->vma_cache);

	if (!copy)
		return NULL;
	*copy = *vma;
	copy->start = m->new;
	copy->end = m->new + m->new_len;
	/* Pages keep their index when they move; an area without any is as good as a new one. */
	copy->pgoff = vma->mapping || vma->anon_vma ? vma_linear_index(vma, m->old) : m->new >> PAGE_SHIFT;
	copy->window_end = 0;
	if (anon_vma_clone(copy, vma)) {
		kmem_cache_free(&m->mm->host->vma_cache, copy);
		return NULL;
	}
	area_hold_mapping(copy);
	area_link(m->mm, copy);
	m->mm->total_vm_pages += m->new_len >> PAGE_SHIFT;
	return copy;
}

static int make_tables(struct mremap *m)
{
	uint64_t length = min_u64(m->old_len, m->new_len);
	int err = 0;

	pthread_mutex_lock(&m->mm->page_table_lock);
	for (uint64_t done = 0; done < length && !err;) {
		gva_t from = m->old + done;
		uint64_t step = min_u64(min_u64(PMD_SIZE - (from & ~PMD_MASK), length - done),
					PMD_SIZE - ((m->new + done) & ~PMD_MASK));
		if (pgtable_find(&m->mm->pgt, from) && !pgtable_alloc(&m->mm->pgt, m->new + done))
			err = -ENOMEM;
		done += step;
	}
	pthread_mutex_unlock(&m->mm->page_table_lock);
	return err;
}

struct move {
	struct gather gather;
	struct mremap *m;
};

static void move_entry(void *ctx, pte_t *slot, gva_t address)
{
	struct move *v = ctx;
	pte_t *to = pgtable_find(&v->m->mm->pgt, v->m->new + (address - v->m->old));
	pte_t pte = pte_exchange(slot, 0);

	if (pte & PTE_PRESENT)
		gather_entry(&v->gather, slot, address);
	pte_set(to, pte);
}

/* A walk must not look at the new place before an entry comes there and at the old one after it went. */
static void move_entries(struct mremap *m, struct vma *vma)
{
	struct move v = {.m = m};

	vma_interval_lock(vma);
	gather_begin(&v.gather, m->mm);
	pthread_mutex_lock(&m->mm->page_table_lock);
	pte_walk(m->mm, m->old, m->old + min_u64(m->old_len, m->new_len), move_entry, &v);
	pthread_mutex_unlock(&m->mm->page_table_lock);
	vma_interval_unlock(vma);
	gather_end(&v.gather);
}

/* Takes back a copy that has no pages yet. */
static void undo_copy(struct mremap *m, struct vma *copy)
{
	struct spare_areas none;

	spare_none(&none);
	area_unmap(m->mm, copy->start, copy->end, &none);
}

static int64_t move_area(struct mremap *m, struct vma *vma)
{
	struct mm *mm = m->mm;
	struct spare_areas spare;
	gva_t old_end = m->old + m->old_len;
	bool unmap_old = m->old_len && !(m->flags & MREMAP_DONTUNMAP);
	unsigned int cuts = unmap_old ? area_cuts(mm, m->old, old_end) : 0;

	if (mm->vmas.nr + 1 + cuts > mm->max_map_count)
		return -ENOMEM;
	spare_none(&spare);
	if (unmap_old && spare_get(mm, &spare, m->old, old_end))
		return -ENOMEM;
	struct vma *copy = make_copy(m, vma);
	if (!copy) {
		spare_put(mm, &spare);
		return -ENOMEM;
	}
	if (make_tables(m)) {
		undo_copy(m, copy);
		spare_put(mm, &spare);
		return -ENOMEM;
	}
	move_entries(m, vma);
	if (unmap_old)
		area_unmap(mm, m->old, old_end, &spare);
	spare_put(mm, &spare);
	area_merge(mm, copy);
	return (int64_t)m->new;
}

static int unmap_part(struct mm *mm, gva_t start, gva_t end)
{
	struct spare_areas spare;

	if (spare_get(mm, &spare, start, end))
		return -ENOMEM;
	area_unmap(mm, start, end, &spare);
	spare_put(mm, &spare);
	return 0;
}

/* MREMAP_FIXED: makes room at the wanted place. */
static int clear_target(struct mremap *m)
{
	struct mm *mm = m->mm;

	if (m->new < mm->mmap_min_addr)
		return -EPERM;
	if (mm->vmas.nr + 2 >= mm->max_map_count - 3)
		return -ENOMEM;
	return unmap_part(mm, m->new, m->new + m->new_len);
}

static int64_t do_mremap(struct mremap *m)
{
	struct mm *mm = m->mm;
	bool place_given = m->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);
	int err = 0;

	struct vma *vma = vma_find(&mm->vmas, m->old);
	if (!vma || vma->start > m->old)
		return -EFAULT;
	if (m->flags & MREMAP_FIXED) {
		err = clear_target(m);
		if (err)
			return err;
	}
	if (m->old_len > m->new_len || (m->old_len == m->new_len && !place_given)) {
		if (m->old_len > m->new_len)
			err = unmap_part(mm, m->old + m->new_len, m->old + m->old_len);
		if (err || !place_given)
			return err ? err : (int64_t)m->old;
		m->old_len = m->new_len;
	}
	vma = resizable_area(m, &err);
	if (err)
		return err;
	if (!place_given && can_grow_in_place(m, vma))
		return grow_in_place(m, vma);
	if (!(m->flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	if (!(m->flags & MREMAP_FIXED)) {
		int64_t room = area_find_room(mm, m->flags & MREMAP_DONTUNMAP ? m->new : 0, m->new_len, 0);
		if (room < 0)
			return room;
		m->new = (gva_t)room;
	}
	return move_area(m, vma);
}

/* What can be told from the numbers alone. */
static int check_numbers(const struct mremap *m)
{
	const unsigned int known = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
	uint64_t task_size = m->mm->task_size;

	if (m->flags & ~known || m->old & ~PAGE_MASK || !m->new_len)
		return -EINVAL;
	if ((m->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && !(m->flags & MREMAP_MAYMOVE))
		return -EINVAL;
	if ((m->flags & MREMAP_DONTUNMAP) && m->old_len != m->new_len)
		return -EINVAL;
	if (m->new_len > task_size)
		return -EINVAL;
	if (m->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		if (m->new & ~PAGE_MASK || m->new > task_size - m->new_len)
			return -EINVAL;
		if (m->old + m->old_len > m->new && m->new + m->new_len > m->old)
			return -EINVAL;
	}
	return m->old > task_size || m->old_len > task_size - m->old ? -EFAULT : 0;
}

int64_t mm_mremap(struct mm *mm, gva_t old, uint64_t old_len, uint64_t new_len, unsigned int flags,
		  gva_t new_address)
{
	struct mremap m = {mm, old, new_address, page_align_up(old_len), page_align_up(new_len), flags};
	int err = check_numbers(&m);

	if (err)
		return err;
	pthread_rwlock_wrlock(&mm->mmap_lock);
	int64_t result = do_mremap(&m);
	pthread_rwlock_unlock(&mm->mmap_lock);
	if (result >= 0 && new_len > old_len) {
		struct vma *vma;
		pthread_rwlock_rdlock(&mm->mmap_lock);
		vma = vma_find(&mm->vmas, (gva_t)result);
		bool locked = vma && (vma->flags & VM_LOCKED);
		pthread_rwlock_unlock(&mm->mmap_lock);
		if (locked)
			mm_populate(mm, (gva_t)result, new_len);
	}
	return result;
}
