/* SPDX-License-Identifier: MIT */
/*
 * mm.c - making and taking down an address space.
 *
 * A struct mm lives as long as anything is charged to its account: the space itself, or page cache that it read in and
 * that other spaces still use.
 */
#include <errno.h>
#include <string.h>

#include "gather.h"
#include "mm.h"
#include "zap.h"

/* mmap_base with the layout that is not randomised: 128 MiB below the stack's end. */
#define MMAP_BASE	   0x7ffff7fff000ull

#define FAULT_AROUND_PAGES 512

static int zero_page_init(struct frames *f)
{
	if (f->zero_page)
		return 0;
	f->zero_page = page_alloc(f, GFP_HIGHUSER_MOVABLE | __GFP_ZERO, 0);
	if (!f->zero_page)
		return -ENOMEM;
	atomic_fetch_or(&f->zero_page->flags, PG_RESERVED);
	return 0;
}

static int make_caches(struct mm_host *h)
{
	const struct {
		struct kmem_cache *cache;
		const char *name;
		size_t bytes;
	} caches[] = {
		{&h->mm_cache, "mm", sizeof(struct mm)},
		{&h->vma_cache, "vma", sizeof(struct vma)},
		{&h->mapping_cache, "mapping", sizeof(struct address_space)},
		{&h->node_cache, "radix_node", RADIX_NODE_BYTES},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(caches); i++) {
		struct kmem_args args = {.frames = h->frames,
					 .name = caches[i].name,
					 .object_bytes = caches[i].bytes,
					 .backend = h->frames->kmem_backend};
		int err = kmem_cache_init(caches[i].cache, &args);
		if (err) {
			while (i-- > 0)
				kmem_cache_destroy(caches[i].cache);
			return err;
		}
	}
	return 0;
}

int mm_host_init(struct mm_host *h, struct frames *f, const struct mmu_ops *ops, void *ctx)
{
	*h = (struct mm_host){.frames = f, .mmu_ops = ops, .mmu_ctx = ctx, .levels = 4};
	int err = zero_page_init(f);
	if (err)
		return err;
	return make_caches(h);
}

uint64_t mm_host_destroy(struct mm_host *h)
{
	return kmem_cache_destroy(&h->mm_cache) + kmem_cache_destroy(&h->vma_cache) +
	       kmem_cache_destroy(&h->mapping_cache) + kmem_cache_destroy(&h->node_cache);
}

static void mm_release(struct memcg *cg)
{
	struct mm *mm = container_of(cg, struct mm, memcg);

	kmem_cache_free(&mm->host->mm_cache, mm);
}

struct mm *mm_create(struct mm_host *h, uint64_t max_pages)
{
	struct mm *mm = kmem_cache_zalloc(&h->mm_cache);

	if (!mm)
		return NULL;
	mm->host = h;
	mm->frames = h->frames;
	memcg_init(&mm->memcg, max_pages, mm_release);
	if (pgtable_init(&mm->pgt, h->frames, &mm->memcg, h->levels, h->kernel_entry)) {
		memcg_put(&mm->memcg);
		return NULL;
	}
	pthread_rwlock_init(&mm->mmap_lock, NULL);
	pthread_mutex_init(&mm->page_table_lock, NULL);
	vma_tree_init(&mm->vmas);
	mm->mmap_base = MMAP_BASE;
	mm->task_size = TASK_SIZE;
	mm->stack_limit_bytes = STACK_LIMIT_BYTES;
	mm->as_limit_bytes = ~0ull;
	mm->data_limit_bytes = ~0ull;
	mm->mmap_min_addr = DEFAULT_MMAP_MIN_ADDR;
	mm->max_map_count = DEFAULT_MAX_MAP_COUNT;
	mm->fault_around_pages = FAULT_AROUND_PAGES;
	return mm;
}

void mm_destroy(struct mm *mm)
{
	if (!mm)
		return;
	zap_all(mm);
	pgtable_destroy(&mm->pgt);
	pthread_rwlock_destroy(&mm->mmap_lock);
	pthread_mutex_destroy(&mm->page_table_lock);
	memcg_put(&mm->memcg);
}

uint64_t mm_rss_pages(struct mm *mm)
{
	int64_t sum = 0;

	for (unsigned int i = 0; i < NR_MM_COUNTERS; i++)
		sum += mm_counter(mm, i);
	return sum > 0 ? (uint64_t)sum : 0;
}

const char *mm_vma_name(const struct mm *mm, const struct vma *vma)
{
	if (vma->name || vma->file)
		return vma->name;
	if (vma->start <= mm->brk && vma->end >= mm->start_brk)
		return "[heap]";
	if (vma->start <= mm->start_stack && vma->end >= mm->start_stack)
		return "[stack]";
	return NULL;
}
