/* SPDX-License-Identifier: MIT */
/* i_mmap.c - see i_mmap.h. */
#include <errno.h>

#include "anon_vma.h"
#include "i_mmap.h"
#include "zap.h"

void vma_interval_lock(struct vma *vma)
{
	if (vma->mapping)
		pthread_mutex_lock(&vma->mapping->i_mmap_lock);
	if (vma_anon_vma(vma))
		anon_vma_lock(vma->anon_vma);
}

void vma_interval_unlock(struct vma *vma)
{
	if (vma_anon_vma(vma))
		anon_vma_unlock(vma->anon_vma);
	if (vma->mapping)
		pthread_mutex_unlock(&vma->mapping->i_mmap_lock);
}

void vma_interval_insert_locked(struct vma *vma)
{
	if (vma->mapping)
		interval_tree_insert(&vma->mapping->i_mmap, &vma->shared, vma->pgoff,
				     vma->pgoff + vma_pages(vma) - 1);
	anon_vma_interval_insert(vma);
}

void vma_interval_remove_locked(struct vma *vma)
{
	anon_vma_interval_remove(vma);
	if (vma->mapping)
		interval_tree_remove(&vma->mapping->i_mmap, &vma->shared);
}

/* Its chains, if it has any, were linked when they were made. */
void vma_interval_insert(struct vma *vma)
{
	struct address_space *mapping = vma->mapping;

	if (!mapping)
		return;
	pthread_mutex_lock(&mapping->i_mmap_lock);
	interval_tree_insert(&mapping->i_mmap, &vma->shared, vma->pgoff, vma->pgoff + vma_pages(vma) - 1);
	if (vma_is_shared_maywrite(vma->flags))
		atomic_fetch_add(&mapping->i_mmap_writable, 1);
	pthread_mutex_unlock(&mapping->i_mmap_lock);
}

void vma_interval_remove(struct vma *vma)
{
	struct address_space *mapping = vma->mapping;

	if (mapping) {
		pthread_mutex_lock(&mapping->i_mmap_lock);
		interval_tree_remove(&mapping->i_mmap, &vma->shared);
		if (vma_is_shared_maywrite(vma->flags))
			mapping_unmap_writable(mapping);
		pthread_mutex_unlock(&mapping->i_mmap_lock);
	}
	anon_vma_unlink(vma);
}

static bool in_i_mmap(struct vma *vma)
{
	uint64_t last = vma->pgoff + vma_pages(vma) - 1;
	struct interval_node *node;
	bool found = false;

	pthread_mutex_lock(&vma->mapping->i_mmap_lock);
	interval_tree_for_each(node, &vma->mapping->i_mmap, vma->pgoff, last) found |=
		node == &vma->shared && node->start == vma->pgoff && node->last == last;
	found &= interval_tree_check(&vma->mapping->i_mmap);
	pthread_mutex_unlock(&vma->mapping->i_mmap_lock);
	return found;
}

const char *vma_interval_check(struct vma *vma)
{
	if (vma->mapping && !in_i_mmap(vma))
		return "area is not in its mapping's i_mmap as it is";
	return anon_vma_check(vma);
}

void vma_index_range(const struct vma *vma, uint64_t first, uint64_t last, gva_t *start, gva_t *end)
{
	uint64_t from = max_u64(first, vma->pgoff), to = min_u64(last, vma->pgoff + vma_pages(vma) - 1);

	*start = vma->start + ((from - vma->pgoff) << PAGE_SHIFT);
	*end = vma->start + ((to - vma->pgoff + 1) << PAGE_SHIFT);
}

static void unmap_in(struct vma *vma, uint64_t first, uint64_t last, enum unmap_what what)
{
	gva_t start, end;
	struct gather g;

	if (what == UNMAP_UNLOCKED && (vma->flags & VM_LOCKED))
		return;
	vma_index_range(vma, first, last, &start, &end);
	gather_begin(&g, vma->mm);
	if (what == UNMAP_EVEN_COWS)
		zap_range(&g, start, end);
	else
		zap_cache_range(&g, start, end);
	gather_end(&g);
}

void unmap_mapping_range(struct address_space *mapping, uint64_t first, uint64_t last, enum unmap_what what)
{
	struct interval_node *node;

	pthread_mutex_lock(&mapping->i_mmap_lock);
	interval_tree_for_each(node, &mapping->i_mmap, first, last)
		unmap_in(list_entry(node, struct vma, shared), first, last, what);
	pthread_mutex_unlock(&mapping->i_mmap_lock);
}

int mapping_map_writable(struct address_space *mapping)
{
	int32_t n = atomic_load_explicit(&mapping->i_mmap_writable, memory_order_relaxed);

	do {
		if (n < 0)
			return -EPERM;
	} while (!atomic_compare_exchange_weak(&mapping->i_mmap_writable, &n, n + 1));
	return 0;
}

void mapping_unmap_writable(struct address_space *mapping)
{
	atomic_fetch_sub(&mapping->i_mmap_writable, 1);
}

int mapping_deny_writable(struct address_space *mapping)
{
	int32_t n = atomic_load_explicit(&mapping->i_mmap_writable, memory_order_relaxed);

	do {
		if (n > 0)
			return -EBUSY;
	} while (!atomic_compare_exchange_weak(&mapping->i_mmap_writable, &n, n - 1));
	return 0;
}

void mapping_allow_writable(struct address_space *mapping)
{
	atomic_fetch_add(&mapping->i_mmap_writable, 1);
}
