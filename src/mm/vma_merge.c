/* SPDX-License-Identifier: MIT */
/*
 * vma_merge.c - joining areas that nothing tells apart.
 *
 * A is the range, P, X and N are prev, middle and next:
 *
 *	no middle (mmap, brk, a move)        all of middle                    part of middle
 *
 *	    AAAA                                 AAAA                          AAAA            AAAA
 *	PPPP....NNNN                         PPPPXXXXNNNN                  PPPPXXXXXX      XXXXXXNNNN
 *	PPPPPPPPPPPP  1: both                PPPPPPPPPPPP  6: both         PPPPPPPPXX      XXNNNNNNNN
 *	PPPPPPPPNNNN  2: prev                PPPPPPPPNNNN  7: prev         4: prev takes   5: next takes
 *	PPPPNNNNNNNN  3: next                PPPPNNNNNNNN  8: next         the head        the tail
 *
 * Bounds move in an order in which areas never overlap in the tree: what gives way shrinks or goes first.
 */
#include "area.h"
#include "rmap.h"
#include "vma_lock.h"
#include "vma_merge.h"
#include "zap.h"

bool vma_mergeable(const struct vma *a, const struct vma *b)
{
	if (a->end != b->start || a->flags != b->flags || a->file != b->file || a->name != b->name)
		return false;
	if (!mempolicy_equal(a->policy, b->policy))
		return false;
	if ((a->flags & VM_SPECIAL) || a->pgoff + vma_pages(a) != b->pgoff || !anon_vma_mergeable(a, b))
		return false;
	/* Two areas of one file have the same operations, whether or not its mmap has been asked yet. */
	return a->file || a->vm_ops == b->vm_ops;
}

bool vma_removable(const struct vma *vma)
{
	return !vma->vm_ops || !vma->vm_ops->close;
}

/* `into` covers the range of `gone`, which left the tree: walks find its pages in both for a moment, never in none. */
static void take_over(struct mm *mm, struct vma *into, struct vma *gone)
{
	anon_vma_merge(into, gone);
	vma_interval_remove(gone);
	vma_free(mm, gone);
}

/* Cases 1 to 3 and 6 to 8: the areas that vanish leave the tree, the one that stays is stretched, then has their pages. */
static struct vma *merge_whole(struct vma_merge *m, bool left, bool right)
{
	struct vma *into = left ? m->prev : m->next;
	struct vma *next = left && right ? m->next : NULL;
	gva_t start = left ? m->prev->start : m->like.start;
	gva_t end = right ? m->next->end : m->like.end;

	if (m->middle)
		area_leave(m->mm, m->middle);
	if (next)
		area_leave(m->mm, next);
	area_resize(m->mm, into, start, end);
	if (m->middle)
		take_over(m->mm, into, m->middle);
	if (next)
		take_over(m->mm, into, next);
	return into;
}

/* Moves the border between two neighbours that show the same thing. Walks see it before or after. */
static void move_border(struct mm *mm, struct vma *lower, struct vma *upper, gva_t border)
{
	bool down = border < upper->start;

	vma_interval_lock(lower); /* their locks are the same ones */
	vma_interval_remove_locked(lower);
	vma_interval_remove_locked(upper);
	if (down)
		vma_resize(&mm->vmas, lower, lower->start, border);
	upper->pgoff += (uint64_t)((int64_t)(border - upper->start) / (int64_t)PAGE_SIZE);
	vma_resize(&mm->vmas, upper, border, upper->end);
	if (!down)
		vma_resize(&mm->vmas, lower, lower->start, border);
	vma_interval_insert_locked(lower);
	vma_interval_insert_locked(upper);
	vma_interval_unlock(lower);
}

/* Cases 4 and 5. NULL: no memory for the links to the pages that change sides. */
static struct vma *merge_part(struct vma_merge *m, bool left)
{
	struct vma *into = left ? m->prev : m->next, *from = m->middle;

	vma_write_lock(into);
	vma_write_lock(from);
	if (!vma_anon_vma(into) && anon_vma_clone(into, from))
		return NULL;
	if (left)
		move_border(m->mm, into, from, m->like.end);
	else
		move_border(m->mm, from, into, m->like.start);
	return into;
}

struct vma *vma_merge(struct vma_merge *m)
{
	bool left = m->prev && vma_mergeable(m->prev, &m->like);
	bool right = m->next && vma_mergeable(&m->like, m->next);

	/* Each may go with the range and not with one another: the lower one has it then. */
	if (left && right && (!anon_vma_mergeable(m->prev, m->next) || !vma_removable(m->next)))
		right = false;
	if (!left && !right)
		return NULL;
	if (m->middle && (m->like.start != m->middle->start || m->like.end != m->middle->end))
		return merge_part(m, left);
	return m->middle && !vma_removable(m->middle) ? NULL : merge_whole(m, left, right);
}

struct vma_merge vma_merge_part(struct mm *mm, struct vma *vma, gva_t start, gva_t end, uint64_t flags)
{
	struct vma_merge m = {.mm = mm, .middle = vma};

	vma_copy(&m.like, vma);
	m.prev = start == vma->start ? vma->prev : NULL;
	m.next = end == vma->end ? vma->next : NULL;
	m.like.start = start;
	m.like.end = end;
	m.like.pgoff = vma_linear_index(vma, start);
	m.like.flags = flags;
	return m;
}
