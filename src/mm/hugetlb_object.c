/* SPDX-License-Identifier: MIT */
/* hugetlb_object.c - what lies behind areas of 2 MiB pages. See hugetlb_object.h. */
#include "hugetlb_object.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "block.h"
#include "hugetlb.h"
#include "i_mmap.h"
#include "memcg.h"

#define ANONYMOUS_PATH "/anon_hugepage (deleted)"

/* What stands in `reserved` for a page that is promised: any address that is not NULL. */
static struct page *mark(const struct hugetlb_object *h)
{
	return h->frames->zero_page;
}

/* --- promises ---------------------------------------------------------------------------------- */

bool hugetlb_object_use(struct hugetlb_object *h, uint64_t index)
{
	pthread_mutex_lock(&h->lock);
	bool was = radix_remove(&h->reserved, index);
	pthread_mutex_unlock(&h->lock);
	return was;
}

void hugetlb_object_unuse(struct hugetlb_object *h, uint64_t index)
{
	pthread_mutex_lock(&h->lock);
	int err = radix_insert(&h->reserved, index, mark(h));
	pthread_mutex_unlock(&h->lock);
	if (err) /* nobody remembers it: then nobody has it */
		hugetlb_pool_unreserve(h->frames, h->memcg, 1);
}

/* The lock is held. How many were promised. */
static uint64_t drop_marks(struct hugetlb_object *h, uint64_t first, uint64_t end)
{
	uint64_t dropped = 0;

	for (uint64_t index = first; radix_next(&h->reserved, &index) && index < end; index++, dropped++)
		radix_remove(&h->reserved, index);
	return dropped;
}

void hugetlb_object_drop(struct hugetlb_object *h, uint64_t first, uint64_t nr)
{
	pthread_mutex_lock(&h->lock);
	uint64_t dropped = drop_marks(h, first, first + nr);
	pthread_mutex_unlock(&h->lock);
	if (dropped)
		hugetlb_pool_unreserve(h->frames, h->memcg, dropped);
}

static bool is_promised_or_there(const struct hugetlb_object *h, uint64_t index)
{
	return radix_find(&h->reserved, index) || radix_find(&h->blocks, index);
}

/* What is new carries a tag until all of it is there. */
#define RADIX_NEW RADIX_DIRTY

static void settle_marks(struct hugetlb_object *h, int err)
{
	for (uint64_t index = 0; radix_next_tagged(&h->reserved, &index, RADIX_NEW); index++) {
		if (err)
			radix_remove(&h->reserved, index);
		else
			radix_tag_clear(&h->reserved, index, RADIX_NEW);
	}
}

static int add_marks(struct hugetlb_object *h, uint64_t first, uint64_t end)
{
	int err = 0;

	for (uint64_t index = first; index < end && !err; index++) {
		if (is_promised_or_there(h, index))
			continue;
		err = radix_insert(&h->reserved, index, mark(h));
		if (!err)
			radix_tag_set(&h->reserved, index, RADIX_NEW);
	}
	settle_marks(h, err);
	return err;
}

int hugetlb_object_reserve(struct hugetlb_object *h, uint64_t first, uint64_t nr)
{
	uint64_t wanted = 0;
	int err = 0;

	pthread_mutex_lock(&h->lock);
	for (uint64_t i = 0; i < nr; i++)
		wanted += !is_promised_or_there(h, first + i);
	if (wanted)
		err = hugetlb_pool_reserve(h->frames, h->memcg, wanted);
	if (wanted && !err) {
		err = add_marks(h, first, first + nr);
		if (err)
			hugetlb_pool_unreserve(h->frames, h->memcg, wanted);
	}
	pthread_mutex_unlock(&h->lock);
	return err;
}

/* --- blocks ------------------------------------------------------------------------------------ */

struct page *hugetlb_object_find(struct hugetlb_object *h, uint64_t index)
{
	pthread_mutex_lock(&h->lock);
	struct page *head = hugetlb_object_has(h, index) ? radix_find(&h->blocks, index) : NULL;
	if (head)
		block_get(head);
	pthread_mutex_unlock(&h->lock);
	return head;
}

struct page *hugetlb_object_add(struct hugetlb_object *h, uint64_t index, struct page *head)
{
	for (unsigned int i = 0; i < BLOCK_PAGES; i++) {
		head[i].index = index * BLOCK_PAGES + i;
		__atomic_store_n(&head[i].mapping, &h->backing.cache, __ATOMIC_RELEASE);
	}
	pthread_mutex_lock(&h->lock);
	struct page *there = hugetlb_object_has(h, index) ? radix_find(&h->blocks, index) : NULL;
	if (!there && hugetlb_object_has(h, index) && !radix_insert(&h->blocks, index, head)) {
		block_make(head); /* the object is its first user */
		there = head;
	}
	if (there)
		block_get(there);
	pthread_mutex_unlock(&h->lock);
	if (there != head)
		hugetlb_pool_put(h->frames, head);
	return there;
}

uint64_t hugetlb_object_pages(struct hugetlb_object *h)
{
	pthread_mutex_lock(&h->lock);
	uint64_t nr = h->blocks.nr_pages;
	pthread_mutex_unlock(&h->lock);
	return nr;
}

/* --- size -------------------------------------------------------------------------------------- */

/* Takes the pages [first, last] from all areas. Private ones that have lost theirs are promised others. */
static void unmap(struct hugetlb_object *h, uint64_t first, uint64_t last)
{
	struct address_space *as = &h->backing.cache;
	struct interval_node *node;
	gva_t start, end;

	unmap_mapping_range(as, first, last, UNMAP_EVEN_COWS);
	pthread_mutex_lock(&as->i_mmap_lock);
	interval_tree_for_each(node, &as->i_mmap, first, last)
	{
		struct vma *vma = list_entry(node, struct vma, shared);
		vma_index_range(vma, first, last, &start, &end);
		hugetlb_restore(vma, start, end);
	}
	pthread_mutex_unlock(&as->i_mmap_lock);
}

/* Blocks and promises of [first, end) go. Whoever has them mapped has lost them before, or does now. */
static void remove_range(struct hugetlb_object *h, uint64_t first, uint64_t end)
{
	struct page *head;

	for (uint64_t index = first;; index++) {
		pthread_mutex_lock(&h->lock);
		head = radix_next(&h->blocks, &index);
		if (head && index < end)
			radix_remove(&h->blocks, index);
		pthread_mutex_unlock(&h->lock);
		if (!head || index >= end)
			break;
		unmap(h, index * BLOCK_PAGES, (index + 1) * BLOCK_PAGES - 1);
		block_put(h->frames, head);
	}
	hugetlb_object_drop(h, first, end - first);
}

void hugetlb_object_resize(struct hugetlb_object *h, uint64_t bytes)
{
	const uint64_t last = UINT64_MAX / PAGE_SIZE;

	pthread_rwlock_wrlock(&h->backing.cache.io_lock);
	pthread_mutex_lock(&h->lock);
	uint64_t old = atomic_exchange(&h->size_bytes, bytes);
	pthread_mutex_unlock(&h->lock);
	if (bytes < old) {
		unmap(h, bytes >> PAGE_SHIFT, last);
		remove_range(h, bytes / PMD_SIZE, last / BLOCK_PAGES);
	}
	pthread_rwlock_unlock(&h->backing.cache.io_lock);
}

void hugetlb_object_extend(struct hugetlb_object *h, uint64_t bytes)
{
	pthread_mutex_lock(&h->lock);
	if (bytes > atomic_load(&h->size_bytes))
		atomic_store(&h->size_bytes, bytes);
	pthread_mutex_unlock(&h->lock);
}

static void clear_part(struct hugetlb_object *h, uint64_t start, uint64_t end)
{
	struct page *head = start < end ? hugetlb_object_find(h, start / PMD_SIZE) : NULL;

	if (!head)
		return;
	memset((char *)page_address(h->frames, head) + (start & ~PMD_MASK), 0, end - start);
	block_put(h->frames, head);
}

void hugetlb_object_punch(struct hugetlb_object *h, uint64_t start, uint64_t end)
{
	uint64_t first = (start + PMD_SIZE - 1) & PMD_MASK, last = end & PMD_MASK;

	pthread_rwlock_wrlock(&h->backing.cache.io_lock);
	if (first < last) {
		unmap(h, first >> PAGE_SHIFT, (last >> PAGE_SHIFT) - 1);
		remove_range(h, first / PMD_SIZE, last / PMD_SIZE);
	}
	if (first > last) { /* within one page */
		clear_part(h, start, end);
	} else {
		clear_part(h, start, first);
		clear_part(h, last, end);
	}
	pthread_rwlock_unlock(&h->backing.cache.io_lock);
}

/* A cleared block of the pool for a page of a file. NULL: there is none to be had. */
static struct page *take_cleared(struct hugetlb_object *h, uint64_t index)
{
	bool promised = hugetlb_object_use(h, index);
	struct page *head = hugetlb_pool_take(h->frames, h->memcg, promised);

	if (head)
		memset(page_address(h->frames, head), 0, PMD_SIZE);
	else if (promised)
		hugetlb_object_unuse(h, index);
	return head;
}

int hugetlb_object_allocate(struct hugetlb_object *h, uint64_t start, uint64_t end, enum hugetlb_grow grow)
{
	uint64_t old = atomic_load(&h->size_bytes), whole = (end + PMD_SIZE - 1) & PMD_MASK;
	int err = 0;

	pthread_rwlock_wrlock(&h->backing.cache.io_lock);
	hugetlb_object_extend(h, whole); /* so that there is room for them */
	for (uint64_t index = start / PMD_SIZE; index < whole / PMD_SIZE && !err; index++) {
		struct page *head = hugetlb_object_find(h, index);
		if (!head) {
			head = take_cleared(h, index);
			if (head)
				head = hugetlb_object_add(h, index, head);
		}
		if (head)
			block_put(h->frames, head);
		else
			err = -ENOSPC;
	}
	if ((err || grow == HUGETLB_KEEP_SIZE) &&
	    old < whole) /* unless a mapping has made it longer meanwhile */
		atomic_compare_exchange_strong(&h->size_bytes, &whole, old);
	pthread_rwlock_unlock(&h->backing.cache.io_lock);
	return err;
}

/* --- reading ----------------------------------------------------------------------------------- */

/* Bytes of one page into a part of a buffer; a hole reads as zero. */
static void read_part(struct hugetlb_object *h, char *to, uint64_t offset, uint64_t bytes)
{
	struct page *head = hugetlb_object_find(h, offset / PMD_SIZE);

	if (!head) {
		memset(to, 0, bytes);
		return;
	}
	memmove(to, (char *)page_address(h->frames, head) + (offset & ~PMD_MASK), bytes);
	block_put(h->frames, head);
}

int64_t hugetlb_object_read(struct hugetlb_object *h, const struct iovec *iov, unsigned int nr,
			    uint64_t offset)
{
	uint64_t size = atomic_load(&h->size_bytes), at = offset;

	for (unsigned int i = 0; i < nr && at < size; i++) {
		for (uint64_t done = 0; done < iov[i].iov_len && at < size;) {
			uint64_t part = min_u64(iov[i].iov_len - done, PMD_SIZE - (at & ~PMD_MASK));
			part = min_u64(part, size - at);
			read_part(h, (char *)iov[i].iov_base + done, at, part);
			done += part;
			at += part;
		}
	}
	return (int64_t)(at - offset);
}

/* --- life -------------------------------------------------------------------------------------- */

static int64_t object_size(struct backing *b)
{
	return (int64_t)atomic_load(&container_of(b, struct hugetlb_object, backing)->size_bytes);
}

static void object_release(struct backing *b)
{
	struct hugetlb_object *h = container_of(b, struct hugetlb_object, backing);
	uint64_t index = 0;
	struct page *head;

	while ((head = radix_next(&h->blocks, &index))) {
		radix_remove(&h->blocks, index);
		block_put(h->frames, head);
	}
	hugetlb_object_drop(h, 0, UINT64_MAX / PMD_SIZE);
	memcg_put(h->memcg);
	if (h->below)
		backing_put(&h->below->backing);
	pthread_mutex_destroy(&h->lock);
	free(h->path);
	free(h);
}

static const struct backing_ops object_ops = {
	.size = object_size,
	.release = object_release,
	.mmap = hugetlb_file_mmap,
	.get_unmapped_area = hugetlb_get_unmapped_area,
};

struct hugetlb_object *hugetlb_object_of(struct backing *b)
{
	return b->ops == &object_ops ? container_of(b, struct hugetlb_object, backing) : NULL;
}

static struct hugetlb_object *create(struct mm_host *host, struct memcg *cg)
{
	struct hugetlb_object *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	backing_init(&h->backing, host, &object_ops);
	h->frames = host->frames;
	h->memcg = cg;
	memcg_get(cg);
	pthread_mutex_init(&h->lock, NULL);
	radix_init(&h->reserved, &host->node_cache);
	radix_init(&h->blocks, &host->node_cache);
	return h;
}

struct hugetlb_object *hugetlb_object_create(struct mm_host *host, struct memcg *cg, uint64_t bytes,
					     const char *path)
{
	struct hugetlb_object *h = create(host, cg);

	if (!h)
		return NULL;
	h->backing.dev = makedev(0, 15);
	h->backing.ino = atomic_fetch_add(&host->shmem_ino, 1) + 1;
	h->path = path ? strdup(path) : NULL;
	h->backing.path = path ? h->path : ANONYMOUS_PATH;
	atomic_store(&h->size_bytes, bytes);
	if (path && !h->path) {
		backing_put(&h->backing);
		return NULL;
	}
	return h;
}

struct hugetlb_object *hugetlb_object_over(struct hugetlb_object *file)
{
	struct hugetlb_object *h = create(file->backing.cache.mm_host, file->memcg);

	if (!h)
		return NULL;
	backing_get(&file->backing);
	h->below = file;
	h->backing.dev = file->backing.dev;
	h->backing.ino = file->backing.ino;
	h->backing.path = file->backing.path;
	return h;
}
