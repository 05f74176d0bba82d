/* SPDX-License-Identifier: MIT */
/*
 * alloc_fuzz SECONDS [SEED [ROUND]] - random requests to the page allocator and to the object allocators, each against a
 * model that cannot be wrong: an owner for every frame, a bit for every 8 bytes of objects.
 *
 * Rounds take turns: pages on a new layout of zones, then objects over each back-end in turn. Time is looked at between
 * rounds only. The last line counts the operations: ten million take about ten seconds of one processor. The first
 * violation ends it: seed, round, step, and what. A round is drawn from seed and number alone, so ROUND begins at once
 * with the one that failed.
 */
#include <sched.h>
#include <time.h>

#include "../harness.h"
#include "../sim/sim_cpu.h"

#include "../../src/mm/compaction.h"
#include "../../src/mm/kmalloc.h"
#include "../../src/mm/memcg.h"
#include "../../src/mm/mempolicy.h"
#include "../../src/mm/page_alloc.h"
#include "../../src/mm/pcp.h"
#include "../../src/mm/reclaim.h"
#include "../../src/mm/watermark.h"
#include "../../src/mm/zeropool.h"

#define ROUND_STEPS   250000u
#define CHECK_STEPS   100000u
#define BULK	      64u
#define BLOCKS	      4096u
#define OBJECTS	      3000u
#define OBJECT_CACHES 4u

static struct {
	uint64_t seed, random, step, page_ops, object_ops;
	unsigned int round;
	const char *kind;
} fuzz;

static __attribute__((noreturn)) void violated(const char *what, uint64_t where)
{
	printf("alloc_fuzz: seed %llu, round %u (%s), step %llu: %s (%#llx)\n", (unsigned long long)fuzz.seed,
	       fuzz.round, fuzz.kind, (unsigned long long)fuzz.step, what, (unsigned long long)where);
	exit(1);
}

static inline void promise(bool kept, const char *what, uint64_t where)
{
	if (!kept)
		violated(what, where);
}

static void complain_violated(const char *what, uint64_t where)
{
	violated(what, where);
}

static uint64_t below(uint64_t bound)
{
	return random_below(&fuzz.random, bound);
}

static bool one_in(uint64_t n)
{
	return !below(n);
}

/* Per-CPU lists and nodes depend on where the thread runs: a seed decides that, not the scheduler. */
static void change_processor(void)
{
	static cpu_set_t allowed;
	cpu_set_t one;

	if (!CPU_COUNT(&allowed))
		sched_getaffinity(0, sizeof(allowed), &allowed);
	uint64_t n = below((uint64_t)CPU_COUNT(&allowed));
	for (unsigned int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || n--)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

/* --- pages --------------------------------------------------------------------------------------------------------- */

struct block {
	struct page *page; /* NULL: the place is free */
	unsigned int order;
	bool charged, anon;
	uint32_t mark; /* first and last word of each frame, with the frame's number in the block */
};

struct pages {
	struct sim_machine *m;
	struct frames *f;
	uint32_t *owner; /* by pfn: place of its block + 1; 0: nobody's */
	struct block block[BLOCKS];
	unsigned int nr_blocks; /* how many of the places are used in this round */
	struct page *contig;	/* from the contiguous area */
	uint64_t nr_contig, used[NR_ZONES], charged;
	struct memcg cg;
	struct mempolicy policy[2];
};

#define OWNER_CONTIG (BLOCKS + 1)

static uint64_t *words_of(struct pages *p, struct page *page)
{
	return page_address(p->f, page);
}

static uint64_t mark_of(const struct block *b, unsigned int i)
{
	return (uint64_t)b->mark << 32 | 0x80000000u | i;
}

static void own(struct pages *p, struct page *page, uint64_t nr, uint32_t from, uint32_t to)
{
	pfn_t pfn = page_to_pfn(p->f, page);

	for (uint64_t i = 0; i < nr; i++) {
		promise(p->owner[pfn + i] == from, to ? "frame handed out twice" : "frame lost its owner",
			pfn + i);
		p->owner[pfn + i] = to;
	}
	p->used[page_zone_type(page)] += to ? nr : -nr;
}

static void check_zeroed(struct pages *p, const struct block *b)
{
	static const char zeroes[PAGE_SIZE];

	for (unsigned int i = 0; i < 1u << b->order; i++)
		promise(!memcmp(words_of(p, b->page + i), zeroes, PAGE_SIZE), "frame is not zeroed",
			page_to_pfn(p->f, b->page + i));
}

static void check_place(struct pages *p, const struct block *b, gfp_t gfp)
{
	const struct zone *z = page_zone(p->f, b->page);
	pfn_t pfn = page_to_pfn(p->f, b->page);

	promise(!(pfn & ((1ull << b->order) - 1)), "block is not aligned", pfn);
	promise(pfn >= z->start_pfn && pfn + (1ull << b->order) <= z->limit_pfn, "block leaves its zone",
		pfn);
	promise(z->type <= gfp_zone(gfp), "zone above what was asked for", pfn);
	promise(zone_is_guest(gfp_zone(gfp)) == zone_is_guest(z->type) &&
			(zone_is_guest(z->type) || z->type == gfp_zone(gfp)),
		"guests, tables and objects mixed", pfn);
	promise((gfp & __GFP_MOVABLE) || pfn >= z->cma_end_pfn || pfn < z->cma_start_pfn,
		"unmovable block in the contiguous area", pfn);
}

static void stamp(struct pages *p, struct block *b)
{
	for (unsigned int i = 0; i < 1u << b->order; i++) {
		uint64_t *word = words_of(p, b->page + i);
		promise(atomic_load(&b->page[i].refs) == 1, "new frame has not one reference",
			page_to_pfn(p->f, b->page + i));
		word[0] = word[511] = word[1 + b->mark % 510] = mark_of(b, i);
	}
}

static void check_stamp(struct pages *p, const struct block *b)
{
	for (unsigned int i = 0; i < 1u << b->order; i++) {
		const uint64_t *word = words_of(p, b->page + i);
		promise(word[0] == mark_of(b, i) && word[511] == mark_of(b, i), "frame in use was written to",
			page_to_pfn(p->f, b->page + i));
	}
}

static unsigned int random_order(void)
{
	return one_in(200) ? (unsigned int)(8 + below(3))
	       : one_in(4) ? (unsigned int)below(8) >> below(3)
			   : 0;
}

static gfp_t random_gfp(unsigned int order)
{
	static const gfp_t base[] = {
		GFP_TRANSHUGE_LIGHT,
		GFP_HIGHUSER_MOVABLE & ~__GFP_RECLAIM,
		GFP_HIGHUSER_MOVABLE & ~__GFP_DIRECT_RECLAIM,
		GFP_NOWAIT,
		GFP_NOWAIT | __GFP_RECLAIMABLE,
		GFP_ATOMIC,
		GFP_NOWAIT | __GFP_DMA32,
		GFP_NOWAIT | __GFP_MOVABLE,
		GFP_TABLE,
		GFP_OBJECT,
		GFP_NOWAIT | __GFP_WRITE,
		GFP_NOWAIT | __GFP_THISNODE,
	};
	gfp_t gfp = base[below(ARRAY_SIZE(base))] | __GFP_NOWARN;

	if (one_in(3))
		gfp |= __GFP_ZERO;
	/* Who may wait compacts: dear when memory is short, so seldom. */
	if (order && one_in(64) && !(gfp & (__GFP_ATOMIC | __GFP_TABLE | __GFP_OBJECT)))
		gfp |= __GFP_DIRECT_RECLAIM;
	return gfp;
}

static void keep(struct pages *p, struct block *b, gfp_t gfp)
{
	check_place(p, b, gfp);
	own(p, b->page, 1ull << b->order, 0, (uint32_t)(b - p->block) + 1);
	if (gfp & __GFP_ZERO)
		check_zeroed(p, b);
	b->mark = (uint32_t)random_next(&fuzz.random);
	stamp(p, b);
	b->anon = !b->order && !b->charged && (gfp & __GFP_MOVABLE);
	if (b->anon)
		page_set_anon(b->page, NULL, 0);
}

static void take_for_task(struct pages *p, struct block *b, gfp_t gfp)
{
	nodemask_t exist = (1u << p->f->nr_nodes) - 1;
	struct alloc_task task = {.policy = one_in(2) ? &p->policy[below(2)] : NULL,
				  .mems_allowed = one_in(2) ? 1u + (nodemask_t)below(exist) : 0,
				  .memcg = &p->cg,
				  .oom_victim = one_in(8)};

	b->charged = one_in(2) && zone_is_guest(gfp_zone(gfp));
	if (b->charged)
		gfp |= __GFP_ACCOUNT;
	if (task.mems_allowed)
		gfp |= __GFP_HARDWALL;
	b->page = page_alloc_task(p->f, &task, gfp, b->order);
	if (!b->page)
		return;
	if (task.mems_allowed && zone_is_guest(gfp_zone(gfp)) && !task.oom_victim)
		promise(task.mems_allowed & 1u << page_zone(p->f, b->page)->node, "node is not allowed",
			page_to_pfn(p->f, b->page));
	keep(p, b, gfp);
	p->charged += b->charged ? 1ull << b->order : 0;
	for (unsigned int i = 0; i < 1u << b->order; i++)
		promise(b->page[i].memcg == (b->charged ? &p->cg : NULL), "frame on the wrong account",
			page_to_pfn(p->f, b->page + i));
}

static void take_block(struct pages *p, struct block *b)
{
	b->order = random_order();
	gfp_t gfp = random_gfp(b->order);

	b->charged = false;
	if (one_in(8)) {
		take_for_task(p, b, gfp);
		return;
	}
	b->page = page_alloc(p->f, gfp, b->order);
	if (b->page)
		keep(p, b, gfp);
}

/* The ways in which an owner may give a block back: at once, or frame by frame. */
static void give_block(struct pages *p, struct block *b)
{
	struct page *page = b->page;
	bool by_frame = b->charged || one_in(16);

	check_stamp(p, b);
	own(p, page, 1ull << b->order, (uint32_t)(b - p->block) + 1, 0);
	p->charged -= b->charged ? 1ull << b->order : 0;
	b->page = NULL;
	if (!by_frame) {
		page_free_block(p->f, page, b->order);
		return;
	}
	for (unsigned int i = 0; i < 1u << b->order; i++)
		page_put(p->f, page + i);
}

static void take_many(struct pages *p)
{
	struct page *page[BULK];
	unsigned int place[BULK], nr = 0, at = (unsigned int)below(p->nr_blocks);
	gfp_t gfp = random_gfp(0);

	for (unsigned int i = 0; i < BULK; i++, at = (at + 1) % p->nr_blocks)
		if (!p->block[at].page)
			place[nr++] = at;
	unsigned int got = page_alloc_bulk(p->f, gfp, nr, page);
	promise(got <= nr, "more frames than asked for", got);
	for (unsigned int i = 0; i < got; i++) {
		p->block[place[i]] = (struct block){.page = page[i]};
		keep(p, &p->block[place[i]], gfp);
	}
	fuzz.page_ops += got;
}

static void give_many(struct pages *p)
{
	struct page *page[BULK];
	unsigned int nr = 0, at = (unsigned int)below(p->nr_blocks);

	for (unsigned int i = 0; i < BULK; i++, at = (at + 1) % p->nr_blocks) {
		struct block *b = &p->block[at];
		if (!b->page || b->order || b->charged)
			continue;
		check_stamp(p, b);
		own(p, b->page, 1, at + 1, 0);
		page[nr++] = b->page;
		b->page = NULL;
	}
	page_free_bulk(p->f, nr, page);
	fuzz.page_ops += nr;
}

static int migrate(void *ctx, struct page *from, struct page *to)
{
	struct pages *p = ctx;
	pfn_t old = page_to_pfn(p->f, from), new = page_to_pfn(p->f, to);
	uint32_t owner = p->owner[old];

	if (one_in(50))
		return -EBUSY;
	if (!page_get_unless_zero(from))
		return -EAGAIN;
	promise(owner && owner <= BLOCKS && p->block[owner - 1].page == from && p->block[owner - 1].anon,
		"frame moves that is nobody's to move", old);
	promise(!p->owner[new], "frame moves to one in use", new);
	memcpy(words_of(p, to), words_of(p, from), PAGE_SIZE);
	to->mapping = from->mapping;
	p->used[page_zone_type(from)]--;
	p->used[page_zone_type(to)]++;
	p->owner[old] = 0;
	p->owner[new] = owner;
	p->block[owner - 1].page = to;
	atomic_fetch_sub(&from->refs, 1);
	return 0;
}

static const struct reclaim_ops page_ops = {.migrate = migrate};

static void take_or_give_contig(struct pages *p)
{
	if (p->contig) {
		own(p, p->contig, p->nr_contig, OWNER_CONTIG, 0);
		cma_release(p->f, p->contig, p->nr_contig);
		p->contig = NULL;
		return;
	}
	p->nr_contig = 1 + below(1024);
	p->contig = cma_alloc(p->f, p->nr_contig, (unsigned int)below(5));
	if (p->contig)
		own(p, p->contig, p->nr_contig, 0, OWNER_CONTIG);
}

static void check_pages(struct pages *p)
{
	for (enum zone_type z = 0; z < NR_ZONES; z++) {
		zone_check(p->f, z, complain_violated);
		promise(zone_used_pages(p->f, z) == p->used[z], "frames in use differ from the model",
			zone_used_pages(p->f, z) - p->used[z]);
	}
	promise(p->cg.usage_pages == p->charged, "account differs from the model", p->cg.usage_pages);
	promise(!p->f->event[BAD_PAGE], "a frame was called bad", p->f->event[BAD_PAGE]);
}

static void rare_step(struct pages *p)
{
	switch (below(8)) {
	case 0:
		pcp_drain_all(p->f);
		break;
	case 1:
		zeropool_fill(p->f, below(64));
		break;
	case 2:
		change_processor();
		break;
	case 3:
		p->f->fail_in = (long)below(30);
		break;
	case 4:
		if (one_in(16))
			take_or_give_contig(p);
		break;
	case 5:
		if (one_in(16))
			watermarks_set(p->f, one_in(2) ? 0 : below(4096));
		break;
	case 6:
		if (one_in(32))
			compact_zone(p->f, &p->f->zone[ZONE_NORMAL], (unsigned int)(1 + below(10)),
				     (enum compact_priority)below(3));
		break;
	default:
		take_many(p);
		give_many(p);
	}
}

static void page_step(struct pages *p)
{
	struct block *b = &p->block[below(p->nr_blocks)];

	if (one_in(128))
		rare_step(p);
	else if (b->page)
		give_block(p, b);
	else
		take_block(p, b);
	fuzz.page_ops++;
}

static struct pages *pages_new(void)
{
	unsigned int nodes = (unsigned int)(1 + below(3));
	struct sim_config config = {.nodes = nodes,
				    .table_pages = 1024,
				    .object_pages = 1024,
				    .normal_pages = nodes * 1024 * (2 + below(6)),
				    .dma32_pages = 512 * below(4),
				    .movable_pages = 512 * below(3),
				    .cma_pages = 1024 * below(2),
				    .no_pcp = one_in(3)};
	struct pages *p = calloc(1, sizeof(*p));

	promise(p && (p->m = sim_frames_new(&config)), "no memory for a machine", 0);
	p->f = &p->m->frames;
	p->owner = calloc(p->f->max_pfn, sizeof(*p->owner));
	promise(p->owner, "no memory for the model", 0);
	p->nr_blocks = (unsigned int)(256 + below(BLOCKS - 255));
	reclaim_set_ops(p->f, &page_ops, p);
	memcg_init(&p->cg, one_in(2) ? 500 : ~0ull >> 1, NULL);
	mempolicy_init(&p->policy[0], p->f, MPOL_BIND, 1u + (nodemask_t)below((1u << nodes) - 1));
	mempolicy_init(&p->policy[1], p->f, MPOL_INTERLEAVE, (1u << nodes) - 1);
	if (one_in(2))
		watermarks_set(p->f, MIN_FREE_BY_FORMULA);
	if (one_in(6))
		p->f->debug = FRAMES_POISON;
	if (one_in(8))
		p->f->page_group_by_mobility_disabled = true;
	return p;
}

/* What processors and pools had at hand is on the lists again, and lists and fresh frames are all there is. */
static void check_all_came_back(struct pages *p)
{
	pcp_drain_all(p->f);
	for (unsigned int i = 0; i < p->f->nr_nodes * NR_ZONES; i++) {
		struct zone *z = &p->f->zone[i];
		zeropool_drain(p->f, z);
		promise(z->nr_free_pages + z->bank_end_pfn - z->fresh_pfn == z->present_pages,
			"frames did not come back", i);
	}
	promise(!frames_leaked(p->f), "frames leaked", frames_leaked(p->f));
	check_pages(p);
}

static void page_round(void)
{
	struct pages *p = pages_new();

	fuzz.kind = "pages";
	for (fuzz.step = 1; fuzz.step <= ROUND_STEPS; fuzz.step++) {
		page_step(p);
		if (fuzz.step % CHECK_STEPS == 0)
			check_pages(p);
	}
	for (unsigned int i = 0; i < p->nr_blocks; i++)
		if (p->block[i].page)
			give_block(p, &p->block[i]);
	if (p->contig)
		take_or_give_contig(p);
	check_all_came_back(p);
	sim_frames_free(p->m);
	free(p->owner);
	free(p);
}

/* --- objects ------------------------------------------------------------------------------------------------------- */

struct object {
	uint8_t *at; /* NULL: the place is free */
	size_t bytes;
	struct kmem_cache *cache; /* NULL: kmalloc's */
	uint8_t mark;
};

struct objects {
	struct sim_machine *m;
	struct kmalloc kmalloc;
	struct kmem_cache cache[OBJECT_CACHES];
	uint32_t align[OBJECT_CACHES];
	struct object object[OBJECTS];
	uint64_t *taken; /* a bit for each 8 bytes of the object zone */
	const char *zone_start;
	uint64_t zone_bytes;
	bool may_defer;
};

#define EDGE 16u /* bytes at both ends that are stamped */

static void mark_taken(struct objects *s, const struct object *o, bool taken)
{
	uint64_t from = (uint64_t)((const char *)o->at - s->zone_start) / 8, to = from + (o->bytes + 7) / 8;

	promise((const char *)o->at >= s->zone_start && to * 8 <= s->zone_bytes, "object outside its zone",
		(uint64_t)(uintptr_t)o->at);
	for (uint64_t i = from; i < to; i++) {
		promise(!(s->taken[i / 64] >> i % 64 & 1) == taken, "objects overlap", i * 8);
		s->taken[i / 64] ^= 1ull << i % 64;
	}
}

static size_t edge_of(size_t bytes)
{
	return bytes < EDGE ? bytes : EDGE;
}

static void fill_object(const struct object *o)
{
	size_t edge = edge_of(o->bytes);

	memset(o->at, o->mark, edge);
	memset(o->at + o->bytes - edge, o->mark, edge);
}

static void check_bytes(const struct object *o, size_t from, size_t nr)
{
	for (size_t i = from; i < from + nr; i++)
		promise(o->at[i] == o->mark, "object in use was written to", (uint64_t)(uintptr_t)o->at);
}

static void check_object(const struct object *o)
{
	size_t edge = edge_of(o->bytes);

	check_bytes(o, 0, edge);
	check_bytes(o, o->bytes - edge, edge);
}

static void object_add(struct objects *s, struct object *o, void *at, size_t bytes, struct kmem_cache *c)
{
	*o = (struct object){.at = at,
			     .bytes = bytes,
			     .cache = c,
			     .mark = (uint8_t)random_next(&fuzz.random)};
	mark_taken(s, o, true);
	fill_object(o);
	uint64_t align = c ? s->align[c - s->cache] : 8;
	promise(!((uintptr_t)at & (align - 1)), "object is not aligned", (uint64_t)(uintptr_t)at);
	if (!c)
		promise(ksize(&s->kmalloc, at) >= bytes, "object smaller than asked for", bytes);
}

static size_t random_bytes(void)
{
	return one_in(256) ? 8192 + below(60000) : one_in(8) ? below(8193) : below(1025);
}

static void take_object(struct objects *s, struct object *o)
{
	struct kmem_cache *c = one_in(2) ? &s->cache[below(OBJECT_CACHES)] : NULL;
	size_t bytes = c ? c->object_bytes : random_bytes();
	bool zero = one_in(16);
	uint8_t *at = c ? (zero ? kmem_cache_zalloc(c) : kmem_cache_alloc(c))
			: (zero ? kzalloc(&s->kmalloc, bytes) : kmalloc(&s->kmalloc, bytes));

	for (size_t i = 0; at && zero && i < bytes; i++)
		promise(!at[i], "object is not zeroed", i);
	if (at)
		object_add(s, o, at, bytes, c);
}

static void give_object(struct objects *s, struct object *o)
{
	check_object(o);
	mark_taken(s, o, false);
	if (!o->cache)
		kfree(&s->kmalloc, o->at);
	else if (s->may_defer && one_in(32))
		kmem_cache_free_deferred(o->cache, o->at);
	else
		kmem_cache_free(o->cache, o->at);
	o->at = NULL;
}

static void resize_object(struct objects *s, struct object *o)
{
	size_t bytes = random_bytes(), kept = o->bytes < bytes ? o->bytes : bytes;
	uint8_t *at;

	check_object(o);
	mark_taken(s, o, false);
	at = krealloc(&s->kmalloc, o->at, bytes);
	if (!at) {
		mark_taken(s, o, true); /* as it was */
		check_object(o);
		return;
	}
	o->at = at;
	size_t old = o->bytes;
	check_bytes(o, 0, edge_of(kept));
	if (kept == old)
		check_bytes(o, old - edge_of(old), edge_of(old));
	object_add(s, o, at, bytes, NULL);
}

static void take_bulk(struct objects *s)
{
	struct kmem_cache *c = &s->cache[below(OBJECT_CACHES)];
	unsigned int place[BULK], nr = 0, at = (unsigned int)below(OBJECTS);
	void *p[BULK];

	for (unsigned int i = 0; i < BULK; i++, at = (at + 1) % OBJECTS)
		if (!s->object[at].at)
			place[nr++] = at;
	size_t got = kmem_cache_alloc_bulk(c, nr, p);
	promise(got == nr || !got, "part of a batch", got);
	for (size_t i = 0; i < got; i++)
		object_add(s, &s->object[place[i]], p[i], c->object_bytes, c);
	fuzz.object_ops += got;
}

static void give_bulk(struct objects *s)
{
	struct kmem_cache *c = &s->cache[below(OBJECT_CACHES)];
	unsigned int nr = 0, at = (unsigned int)below(OBJECTS);
	void *p[BULK];

	for (unsigned int i = 0; i < 4 * BULK && nr < BULK; i++, at = (at + 1) % OBJECTS) {
		struct object *o = &s->object[at];
		if (!o->at || o->cache != c)
			continue;
		check_object(o);
		mark_taken(s, o, false);
		p[nr++] = o->at;
		o->at = NULL;
	}
	kmem_cache_free_bulk(c, nr, p);
	fuzz.object_ops += nr;
}

static struct kmem_cache *any_cache(struct objects *s)
{
	return one_in(2) ? &s->cache[below(OBJECT_CACHES)] : &s->kmalloc.cache[below(KMALLOC_CLASSES)];
}

static void rare_object_step(struct objects *s)
{
	switch (below(8)) {
	case 0:
		kmem_cache_shrink(any_cache(s));
		break;
	case 1:
		kmem_cache_reap(any_cache(s));
		break;
	case 2:
		kmem_cache_fail_every(&s->cache[below(OBJECT_CACHES)], one_in(2) ? 0 : (uint32_t)below(20));
		break;
	case 3:
		s->m->frames.fail_in = (long)below(30);
		break;
	case 4:
		kmem_thread_set_node((unsigned int)below(2));
		break;
	case 5:
		kmalloc_fail_every(&s->kmalloc, one_in(4) ? (uint32_t)below(20) : 0);
		break;
	case 6:
		take_bulk(s);
		break;
	default:
		give_bulk(s);
	}
}

static void object_step(struct objects *s)
{
	struct object *o = &s->object[below(OBJECTS)];

	if (one_in(64))
		rare_object_step(s);
	else if (o->at && !o->cache && one_in(3))
		resize_object(s, o);
	else if (o->at)
		give_object(s, o);
	else
		take_object(s, o);
	fuzz.object_ops++;
}

static void check_objects(struct objects *s)
{
	zone_check(&s->m->frames, ZONE_OBJECT, complain_violated);
	for (unsigned int i = 0; i < OBJECTS; i++)
		if (s->object[i].at)
			check_object(&s->object[i]);
	for (unsigned int i = 0; i < OBJECT_CACHES; i++) {
		struct kmem_cache *c = &s->cache[i];
		struct kmem_info info;
		uint64_t nr = 0;

		kmem_cache_shrink(c); /* deferred frees come home */
		kmem_cache_check(c, complain_violated);
		kmem_cache_info(c, &info);
		for (unsigned int j = 0; j < OBJECTS; j++)
			nr += s->object[j].at && s->object[j].cache == c;
		promise(info.active_objects == nr, "objects in use differ from the model",
			info.active_objects);
	}
	for (unsigned int i = 0; i < KMALLOC_CLASSES; i++)
		kmem_cache_check(&s->kmalloc.cache[i], complain_violated);
}

static void report(const struct kmem_report *r)
{
	static const char *const name[NR_KMEM_PROBLEMS] = {
		"double free reported",	 "wrong cache reported", "bad pointer reported", "red zone reported",
		"poisoned hit reported", "free list reported",	 "leak reported",
	};

	violated(name[r->problem], (uint64_t)(uintptr_t)r->object);
}

static struct objects *objects_new(enum kmem_backend backend)
{
	static const uint32_t flag_sets[] = {0,
					     0,
					     KMEM_HWCACHE_ALIGN,
					     KMEM_CONSISTENCY,
					     KMEM_CONSISTENCY | KMEM_RED_ZONE | KMEM_POISON,
					     KMEM_POISON};
	struct sim_config config = {.object_pages = 1024 << below(3), .normal_pages = 512};
	struct objects *s = aligned_alloc(64, (sizeof(*s) + 63) & ~63ull);
	uint32_t flags = flag_sets[below(ARRAY_SIZE(flag_sets))];

	promise(s, "no memory for a machine", 0);
	memset(s, 0, sizeof(*s));
	promise((s->m = sim_frames_new(&config)), "no memory for a machine", 0);
	const struct zone *z = &s->m->frames.zone[ZONE_OBJECT];
	s->zone_start = pfn_address(&s->m->frames, z->start_pfn);
	s->zone_bytes = config.object_pages << PAGE_SHIFT;
	s->taken = calloc(s->zone_bytes / 512, sizeof(*s->taken));
	s->may_defer = one_in(2);
	promise(s->taken && !kmalloc_init(&s->kmalloc, &s->m->frames, backend, flags), "kmalloc_init", 0);
	for (unsigned int i = 0; i < OBJECT_CACHES; i++) {
		struct kmem_args args = {.frames = &s->m->frames,
					 .name = "fuzz",
					 .object_bytes = 8 + below(i ? 300 : 3000),
					 .align = one_in(2) ? 0 : 8u << below(6),
					 .flags = flags,
					 .backend = backend,
					 .nodes = (unsigned int)(1 + below(2))};
		s->align[i] = args.align ? (uint32_t)args.align : 8;
		promise(!kmem_cache_init(&s->cache[i], &args), "kmem_cache_init", i);
	}
	return s;
}

static void object_round(enum kmem_backend backend)
{
	static const char *const name[NR_KMEM_BACKENDS] = {"slub", "slab", "slob", "magazine"};
	struct objects *s = objects_new(backend);

	fuzz.kind = name[backend];
	for (fuzz.step = 1; fuzz.step <= ROUND_STEPS; fuzz.step++) {
		object_step(s);
		if (fuzz.step % CHECK_STEPS == 0)
			check_objects(s);
	}
	for (unsigned int i = 0; i < OBJECTS; i++)
		if (s->object[i].at)
			give_object(s, &s->object[i]);
	check_objects(s);
	for (unsigned int i = 0; i < OBJECT_CACHES; i++)
		promise(!kmem_cache_destroy(&s->cache[i]), "objects leaked", i);
	promise(!kmalloc_destroy(&s->kmalloc), "objects of kmalloc leaked", 0);
	promise(!zone_used_pages(&s->m->frames, ZONE_OBJECT), "frames of caches leaked",
		zone_used_pages(&s->m->frames, ZONE_OBJECT));
	zone_check(&s->m->frames, ZONE_OBJECT, complain_violated);
	kmem_thread_set_node(0);
	sim_frames_free(s->m);
	free(s->taken);
	free(s);
}

/* --- rounds -------------------------------------------------------------------------------------------------------- */

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

int main(int argc, char **argv)
{
	time_t end = now() + (argc > 1 ? atoi(argv[1]) : 1);

	fuzz.seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
	printf("alloc_fuzz: seed %llu\n", (unsigned long long)fuzz.seed);
	fflush(stdout);
	fuzz.round = argc > 3 ? (unsigned int)atoi(argv[3]) : 0;
	unsigned int first = fuzz.round;
	kmem_report_to(report);
	do {
		fuzz.random = random_seed(fuzz.seed * 0x100000 + fuzz.round);
		change_processor();
		if (fuzz.round % 2)
			object_round((enum kmem_backend)(fuzz.round / 2 % NR_KMEM_BACKENDS));
		else
			page_round();
		fuzz.round++;
	} while (now() < end);
	printf("alloc_fuzz: %llu operations in %u rounds (%llu on pages, %llu on objects), seed %llu\n",
	       (unsigned long long)(fuzz.page_ops + fuzz.object_ops), fuzz.round - first,
	       (unsigned long long)fuzz.page_ops, (unsigned long long)fuzz.object_ops,
	       (unsigned long long)fuzz.seed);
	return 0;
}
