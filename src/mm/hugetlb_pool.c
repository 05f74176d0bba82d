/* SPDX-License-Identifier: MIT */
/* hugetlb_pool.c - blocks kept for MAP_HUGETLB. See hugetlb_pool.h. */
#include <errno.h>

#include "block.h"
#include "memcg.h"

enum grow_how {
	GROW_AT_ONCE,	/* what there is: the caller may have a page_table_lock */
	GROW_BY_MOVING, /* the caller has no lock inside LOCK_MMAP but the pool's, and looks at the pool anew */
};

#define GFP_AT_ONCE ((GFP_HIGHUSER | __GFP_NOWARN) & ~__GFP_RECLAIM)

void hugetlb_pool_init(struct hugetlb_pool *p)
{
	*p = (struct hugetlb_pool){.nr_blocks = 0};
	pthread_mutex_init(&p->lock, NULL);
	list_init(&p->free);
	list_init(&p->pinned);
}

/* --- with the lock held ------------------------------------------------------------------------------------------------------- */

/* Moving pages out of the way takes locks that are outside the pool's: it is released meanwhile, and its numbers may change. */
static struct page *alloc_unlocked(struct frames *f, struct memcg *cg)
{
	pthread_mutex_unlock(&cg->hugetlb.lock);
	struct page *head = page_alloc(f, GFP_HIGHUSER, BLOCK_ORDER);
	pthread_mutex_lock(&cg->hugetlb.lock);
	return head;
}

/* One block more, which is on no list. NULL: no room in the account, or no frames. */
static struct page *grow(struct frames *f, struct memcg *cg, enum grow_how how)
{
	if (!memcg_charge(cg, BLOCK_PAGES))
		return NULL;
	struct page *head =
		how == GROW_BY_MOVING ? alloc_unlocked(f, cg) : page_alloc(f, GFP_AT_ONCE, BLOCK_ORDER);
	if (!head) {
		memcg_uncharge(cg, BLOCK_PAGES);
		return NULL;
	}
	for (unsigned int i = 0; i < BLOCK_PAGES; i++) {
		head[i].memcg = cg;
		atomic_fetch_or(&head[i].flags, PG_HUGETLB);
	}
	cg->hugetlb.nr_blocks++;
	return head;
}

/* The opposite. */
static void shrink(struct frames *f, struct memcg *cg, struct page *head)
{
	cg->hugetlb.nr_blocks--;
	for (unsigned int i = 0; i < BLOCK_PAGES; i++) {
		head[i].memcg = NULL;
		atomic_fetch_and(&head[i].flags, ~(uint32_t)PG_HUGETLB);
	}
	page_free_block(f, head, BLOCK_ORDER);
	memcg_uncharge(cg, BLOCK_PAGES);
}

static void add_free(struct hugetlb_pool *p, struct page *head)
{
	list_add(&head->node, &p->free);
	p->nr_free++;
}

static struct page *take_free(struct hugetlb_pool *p)
{
	struct page *head = list_entry(p->free.next, struct page, node);

	list_del(&head->node);
	p->nr_free--;
	return head;
}

static void enqueue(struct frames *f, struct memcg *cg, struct page *head)
{
	struct hugetlb_pool *p = &cg->hugetlb;

	if (!p->nr_surplus) {
		add_free(p, head);
		return;
	}
	p->nr_surplus--;
	shrink(f, cg, head);
}

static bool is_pinned(const struct page *head)
{
	bool pinned = false;

	for (unsigned int i = 0; i < BLOCK_PAGES && !pinned; i++)
		pinned = atomic_load(&head[i].refs) != 1;
	return pinned;
}

static void lock(struct frames *f, struct memcg *cg)
{
	struct hugetlb_pool *p = &cg->hugetlb;

	pthread_mutex_lock(&p->lock);
	for (struct list_head *at = p->pinned.next, *next; at != &p->pinned; at = next) {
		struct page *head = list_entry(at, struct page, node);
		next = at->next;
		if (is_pinned(head))
			continue;
		list_del(&head->node);
		enqueue(f, cg, head);
	}
}

static void unlock(struct memcg *cg)
{
	pthread_mutex_unlock(&cg->hugetlb.lock);
}

/* Surplus that nobody uses or has reserved goes, up to nr blocks. */
static void return_surplus(struct frames *f, struct memcg *cg, uint64_t nr)
{
	struct hugetlb_pool *p = &cg->hugetlb;

	for (; nr && p->nr_surplus && p->nr_free > p->nr_reserved; nr--) {
		p->nr_surplus--;
		shrink(f, cg, take_free(p));
	}
}

/* --- the pool ----------------------------------------------------------------------------------------------------------------- */

void hugetlb_pool_resize(struct frames *f, struct memcg *cg, uint64_t nr)
{
	struct hugetlb_pool *p = &cg->hugetlb;
	struct page *head;

	lock(f, cg);
	while (p->nr_surplus && p->nr_blocks - p->nr_surplus < nr)
		p->nr_surplus--; /* it is asked for now */
	while (p->nr_blocks - p->nr_surplus < nr && (head = grow(f, cg, GROW_BY_MOVING)))
		add_free(p, head);
	while (p->nr_blocks - p->nr_surplus > nr && p->nr_free > p->nr_reserved)
		shrink(f, cg, take_free(p));
	if (p->nr_blocks - p->nr_surplus > nr)
		p->nr_surplus = p->nr_blocks - nr; /* what is in use goes when it is free */
	unlock(cg);
}

void hugetlb_pool_set_overcommit(struct memcg *cg, uint64_t nr)
{
	pthread_mutex_lock(&cg->hugetlb.lock);
	cg->hugetlb.nr_overcommit = nr;
	unlock(cg);
}

void hugetlb_pool_join(struct memcg *cg)
{
	pthread_mutex_lock(&cg->hugetlb.lock);
	cg->hugetlb.nr_spaces++;
	unlock(cg);
}

void hugetlb_pool_leave(struct frames *f, struct memcg *cg)
{
	pthread_mutex_lock(&cg->hugetlb.lock);
	bool last = !--cg->hugetlb.nr_spaces;
	unlock(cg);
	if (last)
		hugetlb_pool_resize(f, cg, 0);
}

/* A block beyond what there is. */
static int add_surplus(struct frames *f, struct memcg *cg)
{
	struct hugetlb_pool *p = &cg->hugetlb;
	struct page *head = grow(f, cg, GROW_BY_MOVING);

	if (!head)
		return -ENOMEM;
	if (p->nr_surplus >= p->nr_overcommit) { /* others were faster */
		shrink(f, cg, head);
		return -ENOMEM;
	}
	p->nr_surplus++;
	add_free(p, head);
	return 0;
}

/* How many blocks a reservation of nr is short of. */
static uint64_t missing(const struct hugetlb_pool *p, uint64_t nr)
{
	uint64_t available = p->nr_free - p->nr_reserved;

	return nr > available ? nr - available : 0;
}

int hugetlb_pool_reserve(struct frames *f, struct memcg *cg, uint64_t nr)
{
	struct hugetlb_pool *p = &cg->hugetlb;
	uint64_t got = 0;
	int err = 0;

	lock(f, cg);
	if (missing(p, nr) && p->nr_surplus + missing(p, nr) > p->nr_overcommit)
		err = -ENOMEM;
	for (; !err && missing(p, nr); got += !err)
		err = add_surplus(f, cg);
	if (err)
		return_surplus(f, cg, got);
	else
		p->nr_reserved += nr;
	unlock(cg);
	return err;
}

void hugetlb_pool_unreserve(struct frames *f, struct memcg *cg, uint64_t nr)
{
	lock(f, cg);
	cg->hugetlb.nr_reserved -= nr;
	return_surplus(f, cg, nr);
	unlock(cg);
}

struct page *hugetlb_pool_take(struct frames *f, struct memcg *cg, bool reserved)
{
	struct hugetlb_pool *p = &cg->hugetlb;
	struct page *head = NULL;

	lock(f, cg);
	if (p->nr_free > (reserved ? 0 : p->nr_reserved)) {
		head = take_free(p);
	} else if (p->nr_surplus < p->nr_overcommit && (head = grow(f, cg, GROW_AT_ONCE))) {
		p->nr_surplus++;
	}
	if (head && reserved)
		p->nr_reserved--;
	unlock(cg);
	return head;
}

void hugetlb_pool_put(struct frames *f, struct page *head)
{
	struct memcg *cg = head->memcg;

	for (unsigned int i = 0; i < BLOCK_PAGES; i++)
		__atomic_store_n(&head[i].mapping, NULL, __ATOMIC_RELAXED);
	memcg_get(cg);
	lock(f, cg);
	if (is_pinned(head))
		list_add(&head->node, &cg->hugetlb.pinned);
	else
		enqueue(f, cg, head);
	unlock(cg);
	memcg_put(cg);
}

struct hugetlb_pool_counts hugetlb_pool_counts(struct frames *f, struct memcg *cg)
{
	const struct hugetlb_pool *p = &cg->hugetlb;

	lock(f, cg);
	struct hugetlb_pool_counts c = {p->nr_blocks, p->nr_free, p->nr_reserved, p->nr_surplus,
					p->nr_overcommit};
	unlock(cg);
	return c;
}

unsigned int hugetlb_pool_check(struct memcg *cg)
{
	const struct hugetlb_pool *p = &cg->hugetlb;
	unsigned int bad = 0;
	uint64_t nr = 0;

	pthread_mutex_lock(&cg->hugetlb.lock);
	for (const struct list_head *at = p->free.next; at != &p->free; at = at->next, nr++)
		bad += !(atomic_load(&list_entry(at, struct page, node)->flags) & PG_HUGETLB);
	bad += nr != p->nr_free;
	bad += p->nr_free < p->nr_reserved;
	bad += p->nr_surplus > p->nr_blocks || p->nr_free > p->nr_blocks;
	unlock(cg);
	return bad;
}
