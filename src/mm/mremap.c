/* SPDX-License-Identifier: MIT */
/*
 * mremap.c - resizing and moving a mapping.
 *
 * A move makes every table it needs at the new place first; then entries change hands one by one, which cannot fail.
 */
#include <errno.h>
#include <sys/mman.h>

#include "area.h"
#include "gather.h"
#include "pagewalk.h"
#include "retry.h"
#include "rmap.h"
#include "unmapped_area.h"
#include "vma_lock.h"
#include "vma_merge.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4 /* Linux 5.7 */
#endif

struct mremap {
	struct mm *mm;
	gva_t old, new;
	uint64_t old_len, new_len;
	unsigned int flags;
	uint64_t moved; /* of a range of several areas: what is at its new place already */
};

static bool place_given(const struct mremap *m)
{
	return m->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);
}

static uint64_t growth_pages(const struct mremap *m)
{
	return m->new_len > m->old_len ? (m->new_len - m->old_len) >> PAGE_SHIFT : 0;
}

/* Whether `vma`, which holds m->old, can be what the request makes of it. 0 or -errno. */
static int check_area(const struct mremap *m, const struct vma *vma)
{
	/* A shrinking range may reach over the end of the area: what goes is unmapped, whatever it is. */
	uint64_t kept = min_u64(m->old_len, m->new_len);

	if (vma->flags & VM_SEALED)
		return -EPERM;
	if (m->new_len <= m->old_len && !place_given(m))
		return 0;
	if (!m->old_len && !(vma->flags & (VM_SHARED | VM_MAYSHARE)))
		return -EINVAL;
	if ((m->flags & MREMAP_DONTUNMAP) && (vma->flags & (VM_DONTEXPAND | VM_PFNMAP)))
		return -EINVAL;
	if (kept > vma->end - m->old)
		return -EFAULT;
	if (m->new_len <= m->old_len)
		return 0;
	if (vma_linear_index(vma, m->old) + (m->new_len >> PAGE_SHIFT) < vma_linear_index(vma, m->old))
		return -EINVAL;
	if (vma->flags & (VM_DONTEXPAND | VM_PFNMAP))
		return -EFAULT;
	if (!mlock_future_ok(m->mm, vma->flags, growth_pages(m)))
		return -EAGAIN;
	return may_expand_vm(m->mm, vma->flags, growth_pages(m)) ? 0 : -ENOMEM;
}

/* Whether what the request adds to the promises of the space is granted. */
static bool may_commit(const struct mremap *m, const struct vma *vma)
{
	uint64_t pages = m->flags & MREMAP_DONTUNMAP ? m->new_len >> PAGE_SHIFT : growth_pages(m);

	return !(vma->flags & VM_ACCOUNT) || vm_enough_memory(m->mm, pages);
}

static bool can_grow_in_place(const struct mremap *m, const struct vma *vma)
{
	gva_t end = m->old + m->new_len;

	return m->old + m->old_len == vma->end && end <= m->mm->task_size &&
	       !vma_find_intersection(&m->mm->vmas, vma->end, end);
}

static int64_t grow_in_place(struct mremap *m, struct vma *vma)
{
	if (!may_commit(m, vma))
		return -ENOMEM;
	vm_stat_account(m->mm, vma->flags, (int64_t)growth_pages(m));
	area_resize(m->mm, vma, vma->start, m->old + m->new_len);
	/* With what it reaches now; the area before it stays apart if it was, as in Linux. */
	struct vma_merge merge = vma_merge_part(m->mm, vma, vma->start, vma->end, vma->flags);
	merge.prev = NULL;
	vma_merge(&merge);
	return (int64_t)m->old;
}

/* The copy of an area at its new place, linked; NULL: no memory. */
static struct vma *make_copy(struct mremap *m, const struct vma *vma)
{
	struct vma *copy = kmem_cache_alloc(&m->mm->host->vma_cache);

	if (!copy)
		return NULL;
	vma_copy(copy, vma);
	copy->start = m->new;
	copy->end = m->new + m->new_len;
	/* Anonymous memory without pages yet is numbered as if it had been mapped here, so that it joins what is here. */
	bool untouched = vma_is_anonymous(vma) && !vma_anon_vma(vma);
	copy->pgoff = untouched ? m->new >> PAGE_SHIFT : vma_linear_index(vma, m->old);
	copy->window_end = 0;
	if (anon_vma_clone(copy, vma)) {
		kmem_cache_free(&m->mm->host->vma_cache, copy);
		return NULL;
	}
	area_hold_mapping(copy);
	area_link(m->mm, copy);
	vm_stat_account(m->mm, copy->flags, (int64_t)vma_pages(copy));
	return copy;
}

/* What moves in one step: never more than one table covers at either place. */
struct step {
	gva_t from, to;
	uint64_t length;
};

static struct step step_at(const struct mremap *m, uint64_t done)
{
	struct step s = {m->old + done, m->new + done, min_u64(m->old_len, m->new_len) - done};

	s.length = min_u64(s.length, PMD_SIZE - (s.from & ~PMD_MASK));
	s.length = min_u64(s.length, PMD_SIZE - (s.to & ~PMD_MASK));
	return s;
}

/* A whole table, or a huge entry, moves as one when it may lie at the new place and nothing is in the way there. */
static bool moves_whole(struct mm *mm, const struct step *s)
{
	const pte_t *pmd = s->length == PMD_SIZE ? pgtable_find_pmd(&mm->pgt, s->to) : NULL;

	return pmd && pte_none(pte_read(pmd));
}

/* Makes what the new place needs and gets entries that cannot move as they are ready. */
static bool prepare_step(struct mm *mm, const struct step *s, struct gather *g)
{
	unsigned int level;

	if (!pgtable_leaf(&mm->pgt, s->from, &level))
		return true; /* there is nothing to move */
	if (s->length == PMD_SIZE && level < 2 && !pgtable_alloc_pmd(&mm->pgt, s->to))
		return false;
	if (level < 2 && moves_whole(mm, s))
		return true;
	return pgtable_own(mm, s->from, g) && pgtable_own(mm, s->to, g);
}

static int make_tables(struct mremap *m)
{
	struct mm *mm = m->mm;
	uint64_t length = min_u64(m->old_len, m->new_len);
	struct gather g;

	gather_begin(&g, mm);
	pthread_mutex_lock(&mm->page_table_lock);
	int err = pgtable_isolate(mm, m->old, m->old + length, ISOLATE_EDGES, &g);
	for (uint64_t done = 0; done < length && !err;) {
		struct step s = step_at(m, done);
		err = prepare_step(mm, &s, &g) ? 0 : -ENOMEM;
		done += s.length;
	}
	gather_end(&g);
	pthread_mutex_unlock(&mm->page_table_lock);
	return err;
}

struct move {
	struct gather gather;
	struct mremap *m;
};

static void move_slot(struct move *v, pte_t *from, pte_t *to, gva_t address, unsigned int level)
{
	pte_t pte = pte_exchange(from, 0);

	if (pte & PTE_PRESENT)
		gather_entry_at(&v->gather, from, address, level);
	pte_set(to, pte);
}

static void move_entry(void *ctx, pte_t *slot, gva_t address)
{
	struct move *v = ctx;

	move_slot(v, slot, pgtable_find(&v->m->mm->pgt, v->m->new + (address - v->m->old)), address, 0);
}

static bool move_table(void *ctx, pte_t *pmd, gva_t address, gva_t end)
{
	struct move *v = ctx;
	struct step s = {address, v->m->new + (address - v->m->old), end - address};

	if ((s.to & ~PMD_MASK) || !moves_whole(v->m->mm, &s))
		return false;
	move_slot(v, pmd, pgtable_find_pmd(&v->m->mm->pgt, s.to), address, 1);
	return true;
}

static void move_huge(void *ctx, pte_t *slot, gva_t address, gva_t end, unsigned int level)
{
	(void)level; /* 1: make_tables split the others */
	move_table(ctx, slot, address, end);
}

/* A walk must not look at the new place before an entry comes there and at the old one after it went. */
static void move_entries(struct mremap *m, struct vma *vma)
{
	static const struct pte_walk_ops ops = {move_entry, move_huge, move_table};
	struct move v = {.m = m};

	vma_write_lock(vma);
	vma_interval_lock(vma);
	gather_begin(&v.gather, m->mm);
	pthread_mutex_lock(&m->mm->page_table_lock);
	pte_walk(m->mm, m->old, m->old + min_u64(m->old_len, m->new_len), &ops, &v);
	gather_end(&v.gather);
	pthread_mutex_unlock(&m->mm->page_table_lock);
	vma_interval_unlock(vma);
}

/* Takes back a copy that has no pages yet: the edges of a new area need no preparation, for nothing is mapped there. */
static void undo_copy(struct mremap *m, struct vma *copy)
{
	struct spare_areas none;

	spare_none(&none);
	area_unmap(m->mm, copy->start, copy->end, &none);
}

/* What MREMAP_DONTUNMAP leaves behind is empty, and no longer locked. */
static void unlock_area(struct mm *mm, gva_t address)
{
	struct vma *vma = vma_find(&mm->vmas, address);

	if (vma->flags & VM_LOCKED_MASK)
		area_modify(mm, vma, vma->start, vma->end, vma->flags & ~VM_LOCKED_MASK);
}

static int64_t move_area(struct mremap *m, struct vma *vma)
{
	struct mm *mm = m->mm;
	struct spare_areas spare;
	gva_t old_end = m->old + m->old_len;
	bool unmap_old = m->old_len && !(m->flags & MREMAP_DONTUNMAP);

	if (mm->vmas.nr + 3 >= mm->max_map_count)
		return -ENOMEM;
	int err = area_may_cut(vma, m->old, old_end);
	if (err)
		return err;
	if (!may_commit(m, vma))
		return -ENOMEM;
	spare_none(&spare);
	if (unmap_old && area_unmap_prepare(mm, m->old, old_end, &spare))
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
	if (m->flags & MREMAP_DONTUNMAP)
		unlock_area(mm, m->old);
	return (int64_t)m->new;
}

static int unmap_part(struct mm *mm, gva_t start, gva_t end)
{
	struct spare_areas spare;
	int err;

	if (end < start || end > mm->task_size) /* an old length is any number */
		return -EINVAL;
	err = area_may_unmap(mm, start, end);
	if (err)
		return err;
	if (area_unmap_prepare(mm, start, end, &spare))
		return -ENOMEM;
	area_unmap(mm, start, end, &spare);
	spare_put(mm, &spare);
	return 0;
}

static int64_t find_place(const struct mremap *m, const struct vma *vma)
{
	struct unmapped_request u = {.address = place_given(m) ? m->new : 0,
				     .length = m->new_len,
				     .pgoff = vma_linear_index(vma, m->old),
				     .file = vma->file};

	u.flags = (m->flags & MREMAP_FIXED ? MAP_FIXED : 0) | (vma->flags & VM_MAYSHARE ? MAP_SHARED : 0);
	return get_unmapped_area(m->mm, &u);
}

static int64_t move_somewhere(struct mremap *m, struct vma *vma)
{
	int64_t at = find_place(m, vma);

	if (at < 0)
		return at;
	m->new = (gva_t)at;
	return move_area(m, vma);
}

/* A place was given: room is made there, what is not wanted any more goes, the rest moves. */
static int64_t mremap_to(struct mremap *m, struct vma *vma)
{
	struct mm *mm = m->mm;
	int err = 0;

	if (m->flags & MREMAP_FIXED) {
		if (m->new < mm->mmap_min_addr)
			return -EPERM;
		err = unmap_part(mm, m->new, m->new + m->new_len);
	}
	if (!err && m->old_len > m->new_len)
		err = unmap_part(mm, m->old + m->new_len, m->old + m->old_len);
	if (err)
		return err;
	m->old_len = min_u64(m->old_len, m->new_len);
	vma = vma_find(&mm->vmas, m->old); /* it may have been cut */
	if (!vma || vma->start > m->old)
		return -EFAULT;
	if ((m->flags & MREMAP_DONTUNMAP) && !may_expand_vm(mm, vma->flags, m->old_len >> PAGE_SHIFT))
		return -ENOMEM;
	return move_somewhere(m, vma);
}

/* Memory of 2 MiB pages moves and shrinks by such, and never grows. */
static int round_to_blocks(struct mremap *m)
{
	m->old_len = (m->old_len + PMD_SIZE - 1) & PMD_MASK;
	m->new_len = (m->new_len + PMD_SIZE - 1) & PMD_MASK;
	if (m->old & ~PMD_MASK || (place_given(m) && (m->new & ~PMD_MASK)) || m->new_len > m->old_len)
		return -EINVAL;
	return 0;
}

/* One area of a range, or what of it is in the range. */
static int64_t move_one(struct mremap *m, struct vma *vma, gva_t end)
{
	uint64_t length = min_u64(end, vma->end) - (m->old + m->moved);
	struct mremap one = {m->mm, m->old + m->moved, m->new + m->moved, length, length, m->flags, 0};
	int err = vma->flags & VM_HUGETLB ? round_to_blocks(&one) : 0;

	/* Whatever is chosen for such memory keeps no distances. */
	if (!err && (vma->flags & VM_HUGETLB) && (m->moved || vma->end < end))
		err = -EFAULT;
	if (!err)
		err = check_area(&one, vma);
	return err ? err : mremap_to(&one, vma);
}

/*
 * All areas of a range go to a place, with the holes between them; the first must be there. An error leaves those before it where they
 * went, as in Linux 6.17.
 */
static int64_t move_range(struct mremap *m)
{
	gva_t end = m->old + m->old_len;
	int64_t at;

	for (;;) {
		gva_t from = m->old + m->moved;
		struct vma *vma = vma_find(&m->mm->vmas, from);

		if (!vma || vma->start >= end || from >= end)
			return m->moved ? (int64_t)m->new : -EFAULT;
		if (vma->start > from) {
			if (!m->moved)
				return -EFAULT;
			m->moved = vma->start - m->old;
		}
		gva_t next = min_u64(end, vma->end);
		at = move_one(m, vma, end);
		if (at < 0)
			return at;
		m->moved = next - m->old;
	}
}

static int64_t do_mremap(struct mremap *m)
{
	struct vma *vma;

	if ((m->flags & MREMAP_FIXED) && m->old_len == m->new_len)
		return move_range(m);
	vma = vma_find(&m->mm->vmas, m->old);
	if (!vma || vma->start > m->old)
		return -EFAULT;
	int err = vma->flags & VM_HUGETLB ? round_to_blocks(m) : 0;
	if (!err)
		err = check_area(m, vma);
	if (err)
		return err;
	if (place_given(m))
		return mremap_to(m, vma);
	if (m->new_len <= m->old_len) {
		if (m->new_len < m->old_len)
			err = unmap_part(m->mm, m->old + m->new_len, m->old + m->old_len);
		return err ? err : (int64_t)m->old;
	}
	if (can_grow_in_place(m, vma))
		return grow_in_place(m, vma);
	return m->flags & MREMAP_MAYMOVE ? move_somewhere(m, vma) : -ENOMEM;
}

/* What can be told from the numbers alone. */
static int check_numbers(const struct mremap *m)
{
	const unsigned int known = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
	uint64_t task_size = m->mm->task_size;

	if (m->flags & ~known || m->old & ~PAGE_MASK || !m->new_len || m->new_len > task_size)
		return -EINVAL;
	if (!place_given(m))
		return 0;
	if (m->new > task_size - m->new_len || m->new & ~PAGE_MASK || !(m->flags & MREMAP_MAYMOVE))
		return -EINVAL;
	if ((m->flags & MREMAP_DONTUNMAP) && m->old_len != m->new_len)
		return -EINVAL;
	if (m->old + m->old_len > m->new && m->new + m->new_len > m->old)
		return -EINVAL;
	return 0;
}

int64_t mm_mremap(struct mm *mm, gva_t old, uint64_t old_len, uint64_t new_len, unsigned int flags,
		  gva_t new_address)
{
	struct mremap m = {mm, old, new_address, page_align_up(old_len), page_align_up(new_len), flags, 0};
	int err = check_numbers(&m);

	if (err)
		return err;
	struct retry retry = retry_begin(mm->host, mm->memcg);
	bool grows, locked = false;
	uint64_t had;
	int64_t result;
	do {
		mm_write_lock(mm);
		grows = growth_pages(&m);
		had = m.old_len;
		/* A move needs up to three areas more for a moment. */
		result = place_given(&m) && mm->vmas.nr + 5 >= mm->max_map_count ? -ENOMEM : do_mremap(&m);
		if (result >= 0 && grows)
			locked = vma_find(&mm->vmas, (gva_t)result)->flags & VM_LOCKED;
		mm_write_unlock(mm);
	} while (retry_with_room(&retry, result));
	if (locked)
		mm_populate(mm, (gva_t)result + had, m.new_len - had);
	return result;
}
