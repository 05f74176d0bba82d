/* SPDX-License-Identifier: MIT */
/*
 * mbind.c - policies of a space and of its areas: which nodes their pages come from.
 *
 * An area with a policy of its own goes by that, any other by the space's. Areas are cut and joined by their policies.
 * Not here: pages that are there already (move_pages.h).
 */
#include <errno.h>

#include "area.h"
#include "fault.h"
#include "lock.h"

int mm_mempolicy_next(struct mm *mm)
{
	struct mempolicy policy = mempolicy_of(mm_mempolicy(mm), atomic_load(&mm->policy_turn));
	nodemask_t nodes = policy.nodes;

	return (int)mempolicy_node(&policy, mm->frames, 0, &nodes);
}

int mm_vma_mempolicy(struct mm *mm, gva_t address, struct mempolicy_setting *s)
{
	mm_read_lock(mm);
	const struct vma *vma = vma_find_intersection(&mm->vmas, address, address + 1);
	if (vma && vma->policy.mode != MPOL_DEFAULT)
		*s = vma->policy;
	mm_read_unlock(mm);
	return vma ? 0 : -EFAULT;
}

int mm_node_of(struct mm *mm, gva_t address)
{
	struct page *page;
	int node;

	if (get_user_pages(mm, page_align_down(address), 1, 0, &page) != 1)
		return -EFAULT;
	node = (int)page_zone(mm->frames, page)->node;
	put_user_pages(mm, 1, &page);
	return node;
}

static bool all_mapped(const struct mm *mm, gva_t start, gva_t end)
{
	for (const struct vma *v = vma_find(&mm->vmas, start); v && v->start <= start && start < end;
	     v = v->next)
		start = v->end;
	return start >= end;
}

/* Taking policies away passes over holes, as long as there is anything; giving one needs every page. */
static bool may_bind(const struct mm *mm, gva_t start, gva_t end, struct mempolicy_setting s)
{
	return s.mode == MPOL_DEFAULT ? vma_find_intersection(&mm->vmas, start, end) != NULL
				      : all_mapped(mm, start, end);
}

static int do_mbind(struct mm *mm, gva_t start, gva_t end, struct mempolicy_setting s)
{
	if (!may_bind(mm, start, end, s))
		return -EFAULT;
	for (struct vma *vma; start < end && (vma = vma_find_intersection(&mm->vmas, start, end));) {
		start = max_u64(start, vma->start);
		gva_t stop = min_u64(vma->end, end);
		int err = area_may_cut(vma, start, stop);
		if (err)
			return err;
		if (!mempolicy_equal(vma->policy, s) &&
		    !area_change(mm, vma, start, stop, (struct area_change){vma->flags, s}))
			return -ENOMEM;
		start = stop;
	}
	return 0;
}

int mm_mbind(struct mm *mm, gva_t start, uint64_t length, struct mempolicy_setting s)
{
	mm_write_lock(mm);
	int err = do_mbind(mm, start, start + length, s);
	mm_write_unlock(mm);
	return err;
}
