/* SPDX-License-Identifier: MIT */
/*
 * mm.c - making and taking down an address space.
 *
 * Three lifetimes: the contents go with the last user (mmput), the structure with the last that knows of it (mmdrop), and the
 * account with the last page charged to it, since page cache that a space read in may outlive it.
 */
#include <errno.h>
#include <string.h>

#include "account.h"
#include "anon_vma.h"
#include "gather.h"
#include "lock_rank.h"
#include "mm.h"
#include "reclaim.h"
#include "retry.h"
#include "shmem.h"
#include "unmapped_area.h"
#include "vmscan.h"
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

/* An account as spaces have it: it finds its way back to the cache it came from. */
struct host_memcg {
	struct memcg memcg;
	struct mm_host *host;
};

static int make_caches(struct mm_host *h)
{
	const struct {
		struct kmem_cache *cache;
		const char *name;
		size_t bytes;
	} caches[] = {
		{&h->mm_cache, "mm", sizeof(struct mm)},
		{&h->memcg_cache, "memcg", sizeof(struct host_memcg)},
		{&h->vma_cache, "vma", sizeof(struct vma)},
		{&h->mapping_cache, "mapping", sizeof(struct shmem)},
		{&h->node_cache, "radix_node", sizeof(struct radix_node)},
		{&h->anon_vma_cache, "anon_vma", sizeof(struct anon_vma)},
		{&h->chain_cache, "anon_vma_chain", sizeof(struct anon_vma_chain)},
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
	pthread_mutex_init(&h->reclaim_lock, NULL);
	pthread_mutex_init(&h->spaces_lock, NULL);
	list_init(&h->spaces);
	int err = zero_page_init(f);
	if (!err)
		err = make_caches(h);
	if (!err) {
		writeback_init(h);
		swap_init(h);
		pthread_mutex_init(&h->mappings_lock, NULL);
		list_init(&h->mappings);
		list_init(&h->shmem_mappings);
		reclaim_set_ops(f, &mm_reclaim_ops, h);
	}
	return err;
}

uint64_t mm_host_destroy(struct mm_host *h)
{
	writeback_destroy(h);
	swap_destroy(h);
	pthread_mutex_destroy(&h->mappings_lock);
	reclaim_set_ops(h->frames, NULL, NULL);
	pthread_mutex_destroy(&h->spaces_lock);
	pthread_mutex_destroy(&h->reclaim_lock);
	return kmem_cache_destroy(&h->mm_cache) + kmem_cache_destroy(&h->memcg_cache) +
	       kmem_cache_destroy(&h->vma_cache) + kmem_cache_destroy(&h->mapping_cache) +
	       kmem_cache_destroy(&h->node_cache) + kmem_cache_destroy(&h->anon_vma_cache) +
	       kmem_cache_destroy(&h->chain_cache);
}

static void host_memcg_release(struct memcg *cg)
{
	struct host_memcg *m = container_of(cg, struct host_memcg, memcg);

	kmem_cache_free(&m->host->memcg_cache, m);
}

struct mm *mm_create_unseen(struct mm_host *h, struct memcg *cg)
{
	struct mm *mm = kmem_cache_zalloc(&h->mm_cache);

	if (!mm)
		return NULL;
	mm->host = h;
	mm->frames = h->frames;
	if (pgtable_init(&mm->pgt, h->frames, cg, h->levels, h->kernel_entry)) {
		kmem_cache_free(&h->mm_cache, mm);
		return NULL;
	}
	memcg_get(cg);
	mm->memcg = cg;
	atomic_store(&mm->mm_users, 1);
	atomic_store(&mm->mm_count, 1);
	pthread_rwlock_init(&mm->mmap_lock, NULL);
	pthread_mutex_init(&mm->page_table_lock, NULL);
	lock_set_rank(&mm->page_table_lock, LOCK_PTL);
	atomic_init(&mm->lock_seq, 1);
	vma_tree_init(&mm->vmas);
	mm->mmap_base = MMAP_BASE;
	mm->task_size = TASK_SIZE;
	mm->stack_limit_bytes = STACK_LIMIT_BYTES;
	mm->as_limit_bytes = ~0ull;
	mm->data_limit_bytes = ~0ull;
	mm->memlock_limit_bytes = ~0ull;
	mm->get_unmapped_area = arch_get_unmapped_area_topdown;
	mm->mmap_min_addr = DEFAULT_MMAP_MIN_ADDR;
	mm->max_map_count = DEFAULT_MAX_MAP_COUNT;
	mm->fault_around_pages = FAULT_AROUND_PAGES;
	list_init(&mm->mmlist);
	hugetlb_pool_join(cg);
	if (h->swap.zswap)
		memcg_keep_reserve(cg);
	list_init(&mm->host_node);
	list_init(&mm->memcg_node);
	return mm;
}

void mm_show(struct mm *mm)
{
	struct mm_host *h = mm->host;

	pthread_mutex_lock(&h->spaces_lock);
	list_add_tail(&mm->host_node, &h->spaces);
	list_add_tail(&mm->memcg_node, &mm->memcg->spaces);
	pthread_mutex_unlock(&h->spaces_lock);
}

struct mm *mm_create_in(struct mm_host *h, struct memcg *cg)
{
	struct retry retry = retry_begin(h, cg);
	struct mm *mm;

	do
		mm = mm_create_unseen(h, cg);
	while (!mm && retry_with_room(&retry, -ENOMEM));
	if (mm)
		mm_show(mm);
	return mm;
}

bool mm_out_of_memory(struct mm_host *h, struct memcg *cg, unsigned int attempts)
{
	return h->out_of_memory && h->out_of_memory(h->out_of_memory_ctx, cg, attempts);
}

static struct memcg *account_new(struct mm_host *h, uint64_t max_pages)
{
	struct host_memcg *m = kmem_cache_zalloc(&h->memcg_cache);

	if (!m)
		return NULL;
	m->host = h;
	memcg_init(&m->memcg, max_pages, host_memcg_release);
	atomic_init(&m->memcg.kswapd, atomic_load(&h->kswapd));
	return &m->memcg;
}

struct mm *mm_create(struct mm_host *h, uint64_t max_pages)
{
	struct memcg *cg = account_new(h, max_pages);

	if (!cg)
		return NULL;
	struct mm *mm = mm_create_in(h, cg);
	memcg_put(cg); /* from here on the space's alone */
	return mm;
}

struct mm *mm_create_alike(const struct mm *from)
{
	struct memcg *cg = account_new(from->host, atomic_load(&from->memcg->max_pages));

	if (!cg)
		return NULL;
	memcg_copy_settings(cg, from->memcg);
	struct mm *mm = mm_create_unseen(from->host, cg);
	memcg_put(cg);
	return mm;
}

void mmget(struct mm *mm)
{
	atomic_fetch_add_explicit(&mm->mm_users, 1, memory_order_relaxed);
}

bool mmget_not_zero(struct mm *mm)
{
	uint32_t users = atomic_load_explicit(&mm->mm_users, memory_order_relaxed);

	while (users && !atomic_compare_exchange_weak(&mm->mm_users, &users, users + 1))
		;
	return users;
}

void mmput(struct mm *mm)
{
	if (!mm || atomic_fetch_sub_explicit(&mm->mm_users, 1, memory_order_acq_rel) != 1)
		return;
	pthread_mutex_lock(&mm->host->spaces_lock);
	list_del(&mm->host_node);
	list_del(&mm->memcg_node);
	pthread_mutex_unlock(&mm->host->spaces_lock);
	zap_all(mm);
	swap_forget_space(mm);
	hugetlb_pool_leave(mm->frames, mm->memcg);
	pgtable_destroy(&mm->pgt);
	supply_put(mm->supply);
	mm->supply = NULL;
	mmdrop(mm);
}

struct mm *mm_next_space(struct mm_host *h, struct mm *mm)
{
	struct mm *found = NULL;
	struct list_head *at;

	pthread_mutex_lock(&h->spaces_lock);
	for (at = mm ? mm->host_node.next : h->spaces.next; at != &h->spaces && !found; at = at->next) {
		struct mm *next = list_entry(at, struct mm, host_node);
		found = mmget_not_zero(next) ? next : NULL;
	}
	pthread_mutex_unlock(&h->spaces_lock);
	mmput(mm);
	return found;
}

struct mm *mm_next_space_of(struct mm_host *h, struct memcg *cg, struct mm *mm)
{
	struct mm *found = NULL;
	struct list_head *at;

	pthread_mutex_lock(&h->spaces_lock);
	for (at = mm ? mm->memcg_node.next : cg->spaces.next; at != &cg->spaces && !found; at = at->next) {
		struct mm *next = list_entry(at, struct mm, memcg_node);
		found = mmget_not_zero(next) ? next : NULL;
	}
	pthread_mutex_unlock(&h->spaces_lock);
	mmput(mm);
	return found;
}

struct mm *mm_next_with_frames_of(struct mm_host *h, struct memcg *cg, struct mm *mm)
{
	return atomic_load(&cg->cloned) ? mm_next_space(h, mm) : mm_next_space_of(h, cg, mm);
}

void mmgrab(struct mm *mm)
{
	atomic_fetch_add_explicit(&mm->mm_count, 1, memory_order_relaxed);
}

void mmdrop(struct mm *mm)
{
	if (!mm || atomic_fetch_sub_explicit(&mm->mm_count, 1, memory_order_acq_rel) != 1)
		return;
	pthread_rwlock_destroy(&mm->mmap_lock);
	pthread_mutex_destroy(&mm->page_table_lock);
	memcg_put(mm->memcg);
	kmem_cache_free(&mm->host->mm_cache, mm);
}

uint64_t mm_rss_pages(struct mm *mm)
{
	int64_t sum = 0;

	for (unsigned int i = 0; i < MM_HUGETLBPAGES; i++)
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
