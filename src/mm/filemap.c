/* SPDX-License-Identifier: MIT */
/*
 * filemap.c - the page cache of one file. See filemap.h.
 *
 *   C1  a node on the way to a page has at least one slot in use
 *   C2  height is the least that reaches the highest index in the tree
 *   C3  a page in the tree has PG_CACHE, its mapping and its index, and holds one reference of its own
 * A page becomes visible only when it is filled: a reader never waits for one, two readers of one missing page both read
 * and the second one to come back throws its copy away.
 */
#include <errno.h>
#include <string.h>

#include "mm.h"

_Static_assert(sizeof(void *) * (RADIX_SLOTS + 1) == RADIX_NODE_BYTES, "filemap.h tells the size");

struct radix_node {
	void *slot[RADIX_SLOTS]; /* nodes, or pages in the lowest level */
	unsigned int count;
};

void address_space_init(struct address_space *as, struct mm_host *h, struct backing *host)
{
	memset(as, 0, sizeof(*as));
	pthread_mutex_init(&as->lock, NULL);
	as->mm_host = h;
	as->host = host;
}

static unsigned int radix_index(uint64_t index, unsigned int level)
{
	return (index >> (RADIX_SHIFT * level)) & (RADIX_SLOTS - 1);
}

/* True when a tree of `height` levels has a place for `index`. */
static bool radix_covers(unsigned int height, uint64_t index)
{
	return height * RADIX_SHIFT >= 64 || index >> (height * RADIX_SHIFT) == 0;
}

static struct page *radix_find(const struct address_space *as, uint64_t index)
{
	struct radix_node *n = as->root;

	if (!n || !radix_covers(as->height, index))
		return NULL;
	for (unsigned int level = as->height - 1; level > 0 && n; level--)
		n = n->slot[radix_index(index, level)];
	return n ? n->slot[radix_index(index, 0)] : NULL;
}

static int radix_grow(struct address_space *as, uint64_t index)
{
	while (!as->root || !radix_covers(as->height, index)) {
		struct radix_node *n = kmem_cache_zalloc(&as->mm_host->node_cache);
		if (!n)
			return -ENOMEM;
		if (as->root) {
			n->slot[0] = as->root;
			n->count = 1;
		}
		as->root = n;
		as->height++;
	}
	return 0;
}

#define RADIX_MAX_HEIGHT 11

/* The nodes on the way to an index, by level; NULL where the way was not walked. */
struct radix_path {
	struct radix_node *node[RADIX_MAX_HEIGHT];
};

/* Frees the empty nodes at the end of a path, and levels that the tree no longer needs. */
static void radix_trim(struct address_space *as, struct radix_path *path, uint64_t index)
{
	struct kmem_cache *cache = &as->mm_host->node_cache;

	for (unsigned int level = 0; level + 1 < as->height; level++) {
		struct radix_node *n = path->node[level], *parent = path->node[level + 1];
		if (!n)
			continue;
		if (n->count)
			break;
		parent->slot[radix_index(index, level + 1)] = NULL;
		parent->count--;
		kmem_cache_free(cache, n);
	}
	while (as->root &&
	       (!as->root->count || (as->height > 1 && as->root->count == 1 && as->root->slot[0]))) {
		struct radix_node *old = as->root;
		as->root = old->slot[0]; /* NULL in an empty root */
		as->height = as->root ? as->height - 1 : 0;
		kmem_cache_free(cache, old);
	}
}

static int radix_insert(struct address_space *as, uint64_t index, struct page *page)
{
	struct radix_path path = {0};
	int err = radix_grow(as, index);
	struct radix_node *n = as->root;

	for (unsigned int level = as->height; !err && level-- > 0;) {
		void **slot = &n->slot[radix_index(index, level)];
		path.node[level] = n;
		if (!*slot) {
			*slot = level ? kmem_cache_zalloc(&as->mm_host->node_cache) : page;
			if (!*slot)
				err = -ENOMEM;
			else
				n->count++;
		}
		n = *slot;
	}
	if (err)
		radix_trim(as, &path, index);
	else
		as->nr_pages++;
	return err;
}

static struct page *radix_remove(struct address_space *as, uint64_t index)
{
	struct radix_path path = {0};
	struct radix_node *n = as->root;

	if (!radix_find(as, index))
		return NULL;
	for (unsigned int level = as->height; level-- > 0;) {
		path.node[level] = n;
		if (level)
			n = n->slot[radix_index(index, level)];
	}
	struct page *page = n->slot[radix_index(index, 0)];
	n->slot[radix_index(index, 0)] = NULL;
	n->count--;
	as->nr_pages--;
	radix_trim(as, &path, index);
	return page;
}

struct page *filemap_find(struct address_space *as, uint64_t index)
{
	pthread_mutex_lock(&as->lock);
	struct page *page = radix_find(as, index);
	if (page)
		page_get(page);
	pthread_mutex_unlock(&as->lock);
	return page;
}

static struct page *cache_page_alloc(struct address_space *as, struct memcg *cg)
{
	if (!memcg_charge(cg, 1))
		return NULL;
	struct page *page = page_alloc(as->mm_host->frames, GFP_HIGHUSER_MOVABLE | __GFP_ZERO, 0);
	if (!page) {
		memcg_uncharge(cg, 1);
		return NULL;
	}
	page->memcg = cg;
	return page;
}

/*
 * Makes a filled page visible and returns the page that is in the tree now, with a reference for the caller: the given one,
 * or another that was faster. NULL: no memory; the page is gone.
 */
static struct page *cache_add(struct address_space *as, uint64_t index, struct page *page)
{
	struct frames *f = as->mm_host->frames;

	pthread_mutex_lock(&as->lock);
	struct page *other = radix_find(as, index);
	int err = other ? -EEXIST : radix_insert(as, index, page);
	if (!err) {
		page->mapping = as;
		page->index = index;
		atomic_fetch_or(&page->flags, PG_CACHE | PG_UPTODATE);
	}
	struct page *result = other ? other : err ? NULL : page;
	if (result)
		page_get(result);
	pthread_mutex_unlock(&as->lock);
	if (err)
		page_put(f, page);
	return result;
}

/* Fills [0, bytes) at buffer from the file; what lies beyond its end stays as it is. -ENXIO: nothing of it exists. */
static int64_t read_fully(struct backing *b, char *buffer, uint64_t bytes, uint64_t offset)
{
	uint64_t done = 0;

	while (done < bytes) {
		ssize_t n = b->ops->read(b, buffer + done, bytes - done, offset + done);
		if (n < 0)
			return n;
		if (n == 0)
			break;
		done += (uint64_t)n;
	}
	return done ? (int64_t)done : -ENXIO;
}

int filemap_get(struct address_space *as, uint64_t index, struct memcg *cg, struct page **result, bool *major)
{
	struct page *page = filemap_find(as, index);

	*major = false;
	if (!page && !as->host && index >= as->size_pages)
		return -ENXIO;
	if (!page) {
		page = cache_page_alloc(as, cg);
		if (!page)
			return -ENOMEM;
		if (as->host) {
			char *to = page_address(as->mm_host->frames, page);
			int64_t n = read_fully(as->host, to, PAGE_SIZE, index << PAGE_SHIFT);
			if (n < 0) {
				page_put(as->mm_host->frames, page);
				return (int)n;
			}
			*major = true;
		}
		page = cache_add(as, index, page);
		if (!page)
			return -ENOMEM;
	}
	*result = page;
	return 0;
}

/* How many pages from index on are missing in a row, at most nr. */
static unsigned int missing_run(struct address_space *as, uint64_t index, unsigned int nr)
{
	unsigned int n = 0;

	pthread_mutex_lock(&as->lock);
	while (n < nr && !radix_find(as, index + n))
		n++;
	pthread_mutex_unlock(&as->lock);
	return n;
}

/* Reads up to a power of two of missing pages into one block; returns how many pages it dealt with, 0 to give up. */
static unsigned int read_run(struct address_space *as, uint64_t index, unsigned int nr, struct memcg *cg)
{
	struct frames *f = as->mm_host->frames;
	unsigned int order = 31u - (unsigned int)__builtin_clz(nr);
	struct page *block = NULL;

	nr = 1u << order;
	if (memcg_room(cg) < 2 * nr || !memcg_charge(cg, nr))
		return 0;
	block = page_alloc(f, GFP_TRANSHUGE_LIGHT | __GFP_ZERO, order);
	if (!block) {
		memcg_uncharge(cg, nr);
		return 0;
	}
	int64_t bytes = read_fully(as->host, page_address(f, block), nr * PAGE_SIZE, index << PAGE_SHIFT);
	unsigned int filled = bytes > 0 ? (unsigned int)BYTES_TO_PAGES(bytes) : 0;
	for (unsigned int i = 0; i < nr; i++) {
		block[i].memcg = cg;
		struct page *page = i < filled ? cache_add(as, index + i, &block[i]) : &block[i];
		if (page)
			page_put(f, page);
	}
	return filled == nr ? nr : 0;
}

void filemap_readahead(struct address_space *as, uint64_t index, unsigned int nr_pages, struct memcg *cg)
{
	int64_t size = as->host ? as->host->ops->size(as->host) : -1;

	if (size < 0 || index >= BYTES_TO_PAGES(size))
		return;
	uint64_t end = min_u64(index + nr_pages, BYTES_TO_PAGES(size));
	while (index < end) {
		unsigned int run = missing_run(as, index, (unsigned int)(end - index));
		unsigned int done = run ? read_run(as, index, run, cg) : 1;
		if (!done)
			return;
		index += done;
	}
}

/* The first page of the tree at or after *index, which it is stored to; NULL: none. Goes by nodes, not by indices. */
static struct page *radix_next(const struct address_space *as, uint64_t *index)
{
	for (uint64_t at = *index; as->root && radix_covers(as->height, at);) {
		const struct radix_node *n = as->root;
		unsigned int level = as->height - 1;
		while (n->slot[radix_index(at, level)] && level)
			n = n->slot[radix_index(at, level--)];
		struct page *page = n->slot[radix_index(at, level)];
		if (page) {
			*index = at;
			return page;
		}
		/* Nothing below this slot: on to the next one of the node, or, by carry, of those above it. */
		uint64_t span = 1ull << (RADIX_SHIFT * level), next = (at | (span - 1)) + 1;
		if (next <= at)
			break;
		at = next;
	}
	return NULL;
}

uint64_t filemap_drop(struct address_space *as, uint64_t first, uint64_t last)
{
	uint64_t dropped = 0, index = first;
	struct page *page;

	pthread_mutex_lock(&as->lock);
	while (index <= last && (page = radix_next(as, &index)) && index <= last) {
		/* One reference is the tree's: any other is a pin or a mapping. */
		if (atomic_load(&page->refs) == 1) {
			radix_remove(as, index);
			page_put(as->mm_host->frames, page);
			dropped++;
		}
		if (++index == 0)
			break;
	}
	pthread_mutex_unlock(&as->lock);
	return dropped;
}

static void destroy_node(struct address_space *as, struct radix_node *n, unsigned int level)
{
	for (unsigned int i = 0; i < RADIX_SLOTS; i++) {
		if (!n->slot[i])
			continue;
		if (level)
			destroy_node(as, n->slot[i], level - 1);
		else
			page_put(as->mm_host->frames, n->slot[i]);
	}
	kmem_cache_free(&as->mm_host->node_cache, n);
}

void address_space_destroy(struct address_space *as)
{
	if (as->root)
		destroy_node(as, as->root, as->height - 1);
	as->root = NULL;
	as->height = 0;
	as->nr_pages = 0;
	pthread_mutex_destroy(&as->lock);
}

void backing_init(struct backing *b, struct mm_host *h, const struct backing_ops *ops)
{
	b->ops = ops;
	atomic_store(&b->refs, 1);
	address_space_init(&b->cache, h, b);
}

void backing_put(struct backing *b)
{
	if (atomic_fetch_sub(&b->refs, 1) != 1)
		return;
	address_space_destroy(&b->cache);
	b->ops->release(b);
}

struct address_space *shmem_create(struct mm_host *h, uint64_t nr_pages)
{
	struct address_space *as = kmem_cache_zalloc(&h->mapping_cache);

	if (as) {
		address_space_init(as, h, NULL);
		as->size_pages = nr_pages;
		atomic_store(&as->refs, 1);
	}
	return as;
}

void shmem_get(struct address_space *as)
{
	atomic_fetch_add(&as->refs, 1);
}

void shmem_put(struct mm_host *h, struct address_space *as)
{
	if (atomic_fetch_sub(&as->refs, 1) != 1)
		return;
	address_space_destroy(as);
	kmem_cache_free(&h->mapping_cache, as);
}
