/* SPDX-License-Identifier: MIT */
/* anon_vma.c - see anon_vma.h. The rules of reuse are Linux's. */
#include <errno.h>

#include "anon_vma.h"
#include "block.h"
#include "lock_rank.h"

/* --- lifetime ------------------------------------------------------------------------------------------------------ */

static struct anon_vma *anon_vma_new(struct mm_host *h)
{
	struct anon_vma *av = kmem_cache_zalloc(&h->anon_vma_cache);

	if (!av)
		return NULL;
	av->root = av->parent = av;
	pthread_mutex_init(&av->lock, NULL);
	lock_set_rank(&av->lock, LOCK_ANON_VMA);
	atomic_store_explicit(&av->refs, 1, memory_order_relaxed);
	interval_tree_init(&av->tree);
	return av;
}

void anon_vma_put(struct mm_host *h, struct anon_vma *av)
{
	while (atomic_fetch_sub_explicit(&av->refs, 1, memory_order_acq_rel) == 1) {
		struct anon_vma *root = av->root;
		pthread_mutex_destroy(&av->lock);
		kmem_cache_free_deferred(&h->anon_vma_cache, av);
		if (root == av)
			return;
		av = root;
	}
}

static bool get_unless_zero(struct anon_vma *av)
{
	uint32_t refs = atomic_load_explicit(&av->refs, memory_order_relaxed);

	while (refs && !atomic_compare_exchange_weak(&av->refs, &refs, refs + 1))
		;
	return refs;
}

/* A mapped page's anon_vma is alive; when the page is still mapped after we saw it, it was alive then. */
struct anon_vma *page_get_anon_vma(const struct page *page)
{
	struct anon_vma *av = NULL;

	kmem_read_lock();
	uintptr_t word = page_mapping_word(page);
	if ((word & PAGE_MAPPING_ANON) && (atomic_load(&page->mapcount) || page_in_block(page))) {
		av = (struct anon_vma *)(word & ~PAGE_MAPPING_ANON);
		if (av && !get_unless_zero(av))
			av = NULL;
	}
	kmem_read_unlock();
	return av;
}

/* --- chains -------------------------------------------------------------------------------------------------------- */

static uint64_t last_index(const struct vma *vma)
{
	return vma->pgoff + vma_pages(vma) - 1;
}

/* The root's lock is held. */
static void chain_link(struct anon_vma_chain *c, struct vma *vma, struct anon_vma *av)
{
	c->vma = vma;
	c->anon_vma = av;
	list_add(&c->same_vma, &vma->anon_vma_chain);
	interval_tree_insert(&av->tree, &c->node, vma->pgoff, last_index(vma));
}

static int chains_get(struct mm_host *h, struct list_head *spare, unsigned int nr)
{
	while (nr--) {
		struct anon_vma_chain *c = kmem_cache_alloc(&h->chain_cache);
		if (!c)
			return -ENOMEM;
		list_add_tail(&c->same_vma, spare);
	}
	return 0;
}

static struct anon_vma_chain *chain_take(struct list_head *spare)
{
	struct anon_vma_chain *c = list_entry(spare->next, struct anon_vma_chain, same_vma);

	list_del(&c->same_vma);
	return c;
}

static unsigned int nr_chains(const struct vma *vma)
{
	const struct anon_vma_chain *c;
	unsigned int nr = 0;

	list_for_each_entry (c, &vma->anon_vma_chain, same_vma)
		nr++;
	return nr;
}

void anon_vma_interval_remove(struct vma *vma)
{
	struct anon_vma_chain *c;

	list_for_each_entry (c, &vma->anon_vma_chain, same_vma)
		interval_tree_remove(&c->anon_vma->tree, &c->node);
}

void anon_vma_interval_insert(struct vma *vma)
{
	struct anon_vma_chain *c;

	list_for_each_entry (c, &vma->anon_vma_chain, same_vma)
		interval_tree_insert(&c->anon_vma->tree, &c->node, vma->pgoff, last_index(vma));
}

/* --- the first page ------------------------------------------------------------------------------------------------ */

/* Two neighbours that differ in nothing but what may be done with them now. */
static bool differ_in_access_only(const struct vma *a, const struct vma *b)
{
	return a && b && a->end == b->start && a->file == b->file && a->mapping == b->mapping &&
	       !((a->flags ^ b->flags) & ~(uint64_t)VM_ACCESS_FLAGS) && a->pgoff + vma_pages(a) == b->pgoff;
}

/* One that came by a fork stays with its own area: others would keep its family alive for nothing. */
static struct anon_vma *reusable(const struct vma *neighbour)
{
	return list_is_singular(&neighbour->anon_vma_chain) ? vma_anon_vma(neighbour) : NULL;
}

static struct anon_vma *find_mergeable(struct vma *vma)
{
	struct anon_vma *av = NULL;

	pthread_mutex_lock(&vma->mm->page_table_lock);
	if (differ_in_access_only(vma, vma->next))
		av = reusable(vma->next);
	if (!av && differ_in_access_only(vma->prev, vma))
		av = reusable(vma->prev);
	pthread_mutex_unlock(&vma->mm->page_table_lock);
	return av;
}

/* False: another thread's fault was faster. */
static bool adopt(struct vma *vma, struct anon_vma *av, struct anon_vma_chain *c)
{
	bool first;

	anon_vma_lock(av);
	pthread_mutex_lock(&vma->mm->page_table_lock);
	first = !vma->anon_vma;
	if (first) {
		chain_link(c, vma, av);
		av->num_active_vmas++;
		__atomic_store_n(&vma->anon_vma, av, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&vma->mm->page_table_lock);
	anon_vma_unlock(av);
	return first;
}

int anon_vma_prepare(struct vma *vma)
{
	struct mm_host *h = vma->mm->host;

	if (vma_anon_vma(vma))
		return 0;
	struct anon_vma_chain *c = kmem_cache_alloc(&h->chain_cache);
	if (!c)
		return -ENOMEM;
	struct anon_vma *av = find_mergeable(vma), *made = NULL;
	if (!av) {
		made = av = anon_vma_new(h);
		if (!made) {
			kmem_cache_free(&h->chain_cache, c);
			return -ENOMEM;
		}
		made->num_children = 1; /* itself */
	}
	if (!adopt(vma, av, c)) {
		kmem_cache_free(&h->chain_cache, c);
		if (made)
			anon_vma_put(h, made);
	}
	return 0;
}

/* --- copies -------------------------------------------------------------------------------------------------------- */

int anon_vma_reserve(struct mm_host *h, struct list_head *spare, const struct vma *src)
{
	return chains_get(h, spare, nr_chains(src));
}

void anon_vma_unreserve(struct mm_host *h, struct list_head *spare)
{
	while (!list_empty(spare))
		kmem_cache_free(&h->chain_cache, chain_take(spare));
}

/* An ancestor's that nobody has for his own, with at most this one branch below it. */
static bool may_reuse(const struct anon_vma *av)
{
	return av->num_children < 2 && !av->num_active_vmas;
}

/* Links dst to all of src's, oldest first so that the order is the same. The root's lock is held. */
static struct anon_vma *link_all(struct vma *dst, const struct vma *src, struct list_head *spare)
{
	struct anon_vma *unused = NULL;

	for (struct list_head *n = src->anon_vma_chain.prev; n != &src->anon_vma_chain; n = n->prev) {
		struct anon_vma *av = list_entry(n, struct anon_vma_chain, same_vma)->anon_vma;
		chain_link(chain_take(spare), dst, av);
		if (!unused && may_reuse(av))
			unused = av;
	}
	return unused;
}

static void own(struct vma *vma, struct anon_vma *av)
{
	av->num_active_vmas++;
	__atomic_store_n(&vma->anon_vma, av, __ATOMIC_RELEASE);
}

void anon_vma_clone_spare(struct vma *dst, const struct vma *src, struct list_head *spare)
{
	struct anon_vma *av = vma_anon_vma(src);

	list_init(&dst->anon_vma_chain);
	dst->anon_vma = NULL;
	if (!av)
		return;
	anon_vma_lock(av);
	link_all(dst, src, spare);
	own(dst, av);
	anon_vma_unlock(av);
}

int anon_vma_clone(struct vma *dst, const struct vma *src)
{
	struct list_head spare;

	list_init(&spare);
	if (anon_vma_reserve(src->mm->host, &spare, src)) {
		anon_vma_unreserve(src->mm->host, &spare);
		return -ENOMEM;
	}
	anon_vma_clone_spare(dst, src, &spare);
	return 0;
}

/* The root's lock is held. */
static void add_child(struct vma *child, struct anon_vma *parent, struct anon_vma *av,
		      struct list_head *spare)
{
	av->root = parent->root;
	av->parent = parent;
	atomic_fetch_add_explicit(&av->root->refs, 1, memory_order_relaxed);
	parent->num_children++;
	chain_link(chain_take(spare), child, av);
	own(child, av);
}

int anon_vma_fork(struct vma *child, const struct vma *parent)
{
	struct mm_host *h = parent->mm->host;
	struct anon_vma *av = vma_anon_vma(parent), *made;
	struct list_head spare;

	list_init(&child->anon_vma_chain);
	child->anon_vma = NULL;
	if (!av)
		return 0;
	list_init(&spare);
	made = anon_vma_new(h);
	if (!made || chains_get(h, &spare, nr_chains(parent) + 1)) {
		anon_vma_unreserve(h, &spare);
		if (made)
			anon_vma_put(h, made);
		return -ENOMEM;
	}
	anon_vma_lock(av);
	struct anon_vma *unused = link_all(child, parent, &spare);
	if (unused)
		own(child, unused);
	else
		add_child(child, av, made, &spare);
	anon_vma_unlock(av);
	anon_vma_unreserve(h, &spare);
	if (unused)
		anon_vma_put(h, made);
	return 0;
}

/* --- merging and unlinking ----------------------------------------------------------------------------------------- */

bool anon_vma_mergeable(const struct vma *a, const struct vma *b)
{
	if (vma_anon_vma(a) && vma_anon_vma(b))
		return vma_anon_vma(a) == vma_anon_vma(b);
	const struct vma *with = vma_anon_vma(a) ? a : b;
	return !vma_anon_vma(with) || list_is_singular(&with->anon_vma_chain);
}

void anon_vma_merge(struct vma *into, struct vma *from)
{
	struct anon_vma *av = vma_anon_vma(from);

	if (!av || vma_anon_vma(into))
		return;
	anon_vma_lock(av);
	anon_vma_interval_remove(from);
	list_splice_tail(&from->anon_vma_chain, &into->anon_vma_chain);
	struct anon_vma_chain *c;
	list_for_each_entry (c, &into->anon_vma_chain, same_vma)
		c->vma = into;
	anon_vma_interval_insert(into);
	__atomic_store_n(&into->anon_vma, av, __ATOMIC_RELEASE);
	__atomic_store_n(&from->anon_vma, NULL, __ATOMIC_RELEASE);
	anon_vma_unlock(av);
}

/* Takes the chains out of the trees; those that left an anon_vma empty go to `last`. The root's lock is held. */
static void unlink_chains(struct vma *vma, struct list_head *gone, struct list_head *last)
{
	struct anon_vma_chain *c, *next;

	list_for_each_entry_safe (c, next, &vma->anon_vma_chain, same_vma) {
		struct anon_vma *av = c->anon_vma;
		interval_tree_remove(&av->tree, &c->node);
		list_del(&c->same_vma);
		if (interval_tree_empty(&av->tree))
			av->parent->num_children--;
		list_add_tail(&c->same_vma, interval_tree_empty(&av->tree) ? last : gone);
	}
}

void anon_vma_unlink(struct vma *vma)
{
	struct mm_host *h = vma->mm->host;
	struct anon_vma *av = vma_anon_vma(vma);
	struct list_head gone, last;

	if (!av)
		return;
	list_init(&gone);
	list_init(&last);
	struct anon_vma *root = av->root;
	atomic_fetch_add_explicit(&root->refs, 1, memory_order_relaxed); /* its lock outlives the family */
	anon_vma_lock(root);
	unlink_chains(vma, &gone, &last);
	av->num_active_vmas--;
	__atomic_store_n(&vma->anon_vma, NULL, __ATOMIC_RELEASE);
	anon_vma_unlock(root);
	anon_vma_unreserve(h, &gone);
	while (!list_empty(&last)) {
		struct anon_vma_chain *c = chain_take(&last);
		anon_vma_put(h, c->anon_vma);
		kmem_cache_free(&h->chain_cache, c);
	}
	anon_vma_put(h, root);
}

/* --- checking ------------------------------------------------------------------------------------------------------ */

static const char *check_chains(struct vma *vma, const struct anon_vma *own_av)
{
	const struct anon_vma_chain *c;
	bool own_seen = false;

	list_for_each_entry (c, &vma->anon_vma_chain, same_vma) {
		own_seen |= c->anon_vma == own_av;
		if (c->vma != vma)
			return "chain of another area";
		if (c->anon_vma->root != own_av->root)
			return "area with anon_vmas of two families";
		if (c->node.start != vma->pgoff || c->node.last != last_index(vma))
			return "chain's interval is not the area's";
		if (!interval_tree_check(&c->anon_vma->tree))
			return "tree of an anon_vma out of order";
	}
	return own_seen && own_av->num_active_vmas ? NULL : "area not linked to its own anon_vma";
}

bool anon_vma_reaches(const struct vma *vma, const struct page *page, gva_t address)
{
	uintptr_t av = page_mapping_word(page) & ~PAGE_MAPPING_ANON;
	const struct anon_vma_chain *c;

	if (page->index != vma_linear_index(vma, address))
		return false;
	list_for_each_entry (c, &vma->anon_vma_chain, same_vma)
		if ((uintptr_t)c->anon_vma == av)
			return true;
	return false;
}

const char *anon_vma_check(struct vma *vma)
{
	struct anon_vma *av = vma_anon_vma(vma);

	if (!av)
		return list_empty(&vma->anon_vma_chain) ? NULL : "area with chains and no anon_vma";
	anon_vma_lock(av);
	const char *wrong = check_chains(vma, av);
	anon_vma_unlock(av);
	return wrong;
}
