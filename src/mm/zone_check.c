/* SPDX-License-Identifier: MIT */
/* zone_check.c - recounting a zone: what its lists and counters say against what its frames say. */
#include "buddy.h"
#include "page_alloc.h"
#include "pcp.h"
#include "zeropool.h"

struct check {
	struct frames *f;
	struct zone *z;
	void (*complain)(const char *what, pfn_t pfn);
	unsigned int bad;
	uint64_t listed, listed_cma, listed_reported;
};

static void violation(struct check *c, const char *what, pfn_t pfn)
{
	c->bad++;
	if (c->complain)
		c->complain(what, pfn);
}

static bool is_free_block(const struct page *page, unsigned int order)
{
	return (atomic_load(&page->flags) & PG_BUDDY) && page->order == order;
}

static bool must_stay_apart(const struct check *c, pfn_t a, pfn_t b, unsigned int order)
{
	enum migratetype x = pageblock_migratetype(c->f, a), y = pageblock_migratetype(c->f, b);

	return order >= PAGEBLOCK_ORDER && x != y && (x >= MIGRATE_PCPTYPES || y >= MIGRATE_PCPTYPES);
}

static const char *fault_of_block(struct check *c, struct page *page, unsigned int order, unsigned int mt)
{
	pfn_t pfn = page_to_pfn(c->f, page);
	const struct page *buddy = pfn_to_page(c->f, pfn ^ (1ull << order));

	if (!is_free_block(page, order))
		return "block on a list without its order";
	if (page->migratetype != mt)
		return "block on the list of another type";
	if (pfn & ((1ull << order) - 1))
		return "free block not aligned";
	if (pfn < c->z->start_pfn || pfn + (1ull << order) > atomic_load(&c->z->fresh_pfn))
		return "free block of another zone";
	for (unsigned int i = 0; i < 1u << order; i++) {
		uint32_t flags = atomic_load(&page[i].flags);
		if (atomic_load(&page[i].refs))
			return "free block is referenced";
		if (!(flags & PG_FREE) || (i && (flags & PG_BUDDY)) || page[i].zone != c->z->id)
			return "frame of a free block is not free";
	}
	if (order < MAX_ORDER - 1 && is_free_block(buddy, order) && buddy->zone == page->zone &&
	    !must_stay_apart(c, pfn, pfn ^ (1ull << order), order))
		return "two free buddies not merged";
	return NULL;
}

static void check_area(struct check *c, unsigned int order)
{
	struct free_area *area = &c->z->free_area[order];
	uint64_t nr = 0;
	struct page *page;

	for (unsigned int mt = 0; mt < MIGRATE_TYPES; mt++) {
		if (list_empty(&area->free_list[mt]) == !!(atomic_load(&area->types) & 1u << mt))
			violation(c, "types of free blocks differ from the lists", order);
		list_for_each_entry (page, &area->free_list[mt], node) {
			const char *what = fault_of_block(c, page, order, mt);
			nr++;
			c->listed_reported += atomic_load(&page->flags) & PG_REPORTED ? 1ull << order : 0;
			c->listed_cma += mt == MIGRATE_CMA ? 1ull << order : 0;
			if (what)
				violation(c, what, page_to_pfn(c->f, page));
		}
	}
	c->listed += nr << order;
	if (nr != area->nr_free)
		violation(c, "nr_free differs from its list", order);
}

static void check_frames(struct check *c, uint64_t at_hand)
{
	const struct zone *z = c->z;
	uint64_t used = 0, bad = 0, heads = 0;

	for (pfn_t pfn = z->start_pfn; pfn < atomic_load(&z->fresh_pfn); pfn++) {
		const struct page *p = pfn_to_page(c->f, pfn);
		uint32_t flags = atomic_load(&p->flags);
		bad += (flags & PG_BAD) != 0;
		used += !(flags & (PG_BAD | PG_FREE));
		heads += flags & PG_BUDDY ? 1ull << p->order : 0;
		if (!(flags & PG_BAD) && !atomic_load(&p->refs) != !!(flags & PG_FREE))
			violation(c, "frame both free and in use, or neither", pfn);
	}
	if (heads != c->listed)
		violation(c, "free blocks by their heads differ from the lists", heads);
	if (bad != z->nr_bad_pages)
		violation(c, "bad frames differ from their count", bad);
	if (c->listed + at_hand + used + bad + (z->bank_end_pfn - atomic_load(&z->fresh_pfn)) !=
	    z->present_pages)
		violation(c, "free, used and fresh frames do not add up", c->listed);
}

static void check_highatomic(struct check *c)
{
	uint64_t nr = 0;

	for (pfn_t pfn = c->z->start_pfn; pfn < atomic_load(&c->z->fresh_pfn); pfn += PAGEBLOCK_PAGES)
		nr += pageblock_migratetype(c->f, pfn) == MIGRATE_HIGHATOMIC ? PAGEBLOCK_PAGES : 0;
	if (nr != atomic_load(&c->z->nr_reserved_highatomic))
		violation(c, "highatomic pageblocks differ from their count", nr);
}

static unsigned int check_zone(struct frames *f, struct zone *z,
			       void (*complain)(const char *what, pfn_t pfn))
{
	struct check c = {.f = f, .z = z, .complain = complain};
	uint64_t at_hand = pcp_pages(f, z) + zeropool_pages(z);

	pthread_mutex_lock(&z->lock);
	for (unsigned int o = 0; o < MAX_ORDER; o++)
		check_area(&c, o);
	if (c.listed != atomic_load(&z->nr_free_pages))
		violation(&c, "nr_free_pages differs from the lists", c.listed);
	if (c.listed_cma != atomic_load(&z->nr_free_cma))
		violation(&c, "nr_free_cma differs from the lists", c.listed_cma);
	if (c.listed_reported != atomic_load(&z->nr_reported_pages))
		violation(&c, "nr_reported_pages differs from the lists", c.listed_reported);
	check_frames(&c, at_hand + atomic_load(&z->nr_reporting_pages));
	check_highatomic(&c);
	pthread_mutex_unlock(&z->lock);
	return c.bad;
}

unsigned int zone_check(struct frames *f, enum zone_type type, void (*complain)(const char *what, pfn_t pfn))
{
	unsigned int bad = 0;

	for (unsigned int nid = 0; nid < f->nr_nodes; nid++)
		bad += check_zone(f, node_zone(f, nid, type), complain);
	return bad;
}

uint64_t zone_used_pages(struct frames *f, enum zone_type type)
{
	uint64_t used = 0;

	for (unsigned int nid = 0; nid < f->nr_nodes; nid++) {
		struct zone *z = node_zone(f, nid, type);
		uint64_t at_hand = pcp_pages(f, z) + zeropool_pages(z);
		pthread_mutex_lock(&z->lock);
		used += z->present_pages - (z->bank_end_pfn - atomic_load(&z->fresh_pfn)) -
			atomic_load(&z->nr_free_pages) - atomic_load(&z->nr_reporting_pages) - at_hand -
			z->nr_bad_pages;
		pthread_mutex_unlock(&z->lock);
	}
	return used;
}
