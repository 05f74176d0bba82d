/* SPDX-License-Identifier: MIT */
/* vmscan.c - memory for an account that is full. See vmscan.h. */
#include <time.h>

#include "ageing.h"
#include "evict.h"
#include "filemap_shrink.h"
#include "kswapd.h"
#include "migrate.h"
#include "pcp.h"
#include "reclaim.h"
#include "shmem_shrink.h"
#include "swap_io.h"
#include "vmscan.h"
#include "watermark.h"
#include "workingset.h"
#include "zswap.h"

/* An epoch ends when this part of what the account has was evicted in it, so that four to five ages are told apart. */
#define EPOCH_PART  4
#define MAX_AGE	    8
#define MIN_AGE	    1 /* what was used in the epoch under way stays */

/* Indices of shared memory that are looked at before anything else. */
#define SHMEM_LOOKS 4096

struct scan {
	struct mm_host *host;
	struct memcg *cg;
	uint64_t wanted, freed, scanned;
	unsigned int flags;
	unsigned int min_age;
};

static struct reclaim_hand *hand_of(const struct scan *s, enum reclaim_type type)
{
	return &s->cg->ageing.hand[type];
}

/* Whatever was old enough is one epoch older now. */
static void end_epoch(struct scan *s)
{
	ageing_close(s->host, s->cg);
	for (unsigned int i = 0; i < NR_RECLAIM_TYPES; i++)
		if (hand_of(s, i)->age < MAX_AGE)
			hand_of(s, i)->age++;
}

static bool epoch_is_over(const struct scan *s)
{
	return s->cg->ageing.nr_evicted >= atomic_load(&s->cg->usage_pages) / EPOCH_PART;
}

static unsigned int max_age(const struct scan *s, unsigned int age)
{
	return age > s->min_age ? age : s->min_age;
}

/* Until so many have gone in all: the oldest first, and younger ones when the hand has come round. */
static void evict_type(struct scan *s, enum reclaim_type type, uint64_t target)
{
	struct reclaim_hand *hand = hand_of(s, type);
	uint64_t in_vain = 0, all = atomic_load(&s->cg->usage_pages);

	while (s->freed < target) {
		struct evict e = {.host = s->host,
				  .cg = s->cg,
				  .type = type,
				  .min_age = max_age(s, hand->age),
				  .wanted = (unsigned int)min_u64(target - s->freed, EVICT_BATCH)};
		evict_turn(&e);
		s->freed += e.nr_freed;
		s->scanned += e.nr_scanned;
		in_vain = e.nr_freed ? 0 : in_vain + e.nr_scanned;
		bool done = e.dry || in_vain > all; /* a full device takes nothing, however much is found */
		if (done && hand->age <= s->min_age)
			return;
		if (done) {
			hand->age--;
			in_vain = 0;
		}
	}
}

/* Pages that could go: into slots that are free, or that have one still and were not written since. */
static uint64_t swap_room(const struct scan *s)
{
	struct swap_totals t;

	swap_totals(s->host, &t);
	return t.total - t.used + t.cached;
}

/*
 * get_scan_count: the kind whose pages came back pays less of the rest, by what came back of each, weighed by swappiness; the part of
 * the wanted pages that anonymous memory gives.
 */
static uint64_t anon_share(const struct scan *s)
{
	uint64_t file = workingset_cost(s->cg, RECLAIM_FILE), anon = workingset_cost(s->cg, RECLAIM_ANON);
	uint64_t weight = min_u64(atomic_load(&s->cg->swappiness), SWAPPINESS_MAX);
	uint64_t ap = weight * (file + anon + 1) / (anon + 1),
		 fp = (SWAPPINESS_MAX - weight) * (file + anon + 1) / (file + 1);

	return s->wanted * ap / max_u64(ap + fp, 1);
}

/* With swappiness 0 none go, as on Linux. */
static void shrink(struct scan *s)
{
	uint64_t room = atomic_load(&s->cg->swappiness) ? swap_room(s) : 0, begin = s->freed;

	if (epoch_is_over(s))
		end_epoch(s);
	if (room) {
		uint64_t share = min_u64(anon_share(s), room);
		s->freed += shmem_shrink(s->host, s->cg, share, max_age(s, hand_of(s, RECLAIM_ANON)->age),
					 SHMEM_LOOKS);
		evict_type(s, RECLAIM_ANON, min_u64(begin + share, s->wanted));
	}
	evict_type(s, RECLAIM_FILE, s->wanted);
	if (room && s->freed < s->wanted)
		evict_type(s, RECLAIM_ANON, min_u64(s->freed + room, s->wanted));
	if (room && s->freed < s->wanted)
		s->freed += shmem_shrink(s->host, s->cg, s->wanted - s->freed, s->min_age, SHMEM_SHRINK_ALL);
	if (s->freed < s->wanted)
		s->freed += filemap_shrink_unmapped(s->host, s->cg, s->wanted - s->freed, s->min_age);
}

/* What its owner gave up. Marks are counted, and not what becomes of them: a hand that finds none puts the count right. */
static void drop_lazyfree(struct scan *s)
{
	_Atomic uint64_t *marked = &s->cg->ageing.nr_lazyfree;

	while (s->freed < s->wanted && atomic_load(marked)) {
		struct evict e = {.host = s->host,
				  .cg = s->cg,
				  .type = RECLAIM_LAZYFREE,
				  .wanted = (unsigned int)min_u64(s->wanted - s->freed, EVICT_BATCH)};
		uint64_t before = atomic_load(marked);
		evict_turn(&e);
		s->freed += e.nr_freed;
		s->scanned += e.nr_scanned;
		atomic_compare_exchange_strong(marked, &before,
					       e.dry ? 0 : before - min_u64(e.nr_freed, before));
	}
}

static void reclaim(struct scan *s)
{
	drop_lazyfree(s);
	if (s->freed < s->wanted)
		s->freed += filemap_shrink_unmapped(s->host, s->cg, s->wanted - s->freed, NO_AGE);
	if (s->freed < s->wanted)
		shrink(s);
	if (s->freed || s->min_age > MIN_AGE)
		return;
	end_epoch(s);
	shrink(s);
	if (!s->freed) {
		atomic_store(&s->cg->ageing.uses_do_not_count, true);
		shrink(s);
		atomic_store(&s->cg->ageing.uses_do_not_count, false);
	}
	if (!s->freed)
		s->freed = zswap_write_back(s->host, s->cg, s->wanted);
	if (!s->freed && !(s->flags & RECLAIM_KSWAPD))
		s->freed = filemap_shrink(s->host, s->cg, s->wanted);
}

/* What satisfies an operation that makes a few tables at once: an account with less is short for somebody. */
#define ENOUGH_ROOM 16

/* False: somebody else had it, and there is room now. */
static bool lock_account(struct memcg *cg, bool kswapd, uint64_t *room)
{
	if (!pthread_mutex_trylock(&cg->ageing.lock))
		return true;
	pthread_mutex_lock(&cg->ageing.lock);
	*room = kswapd ? 0 : memcg_room(cg);
	if (*room < ENOUGH_ROOM)
		return true;
	pthread_mutex_unlock(&cg->ageing.lock);
	return false;
}

/* Until there is room, or nothing is under way that could make some. True: something was. */
static bool wait_for_writes(const struct scan *s)
{
	bool waited = false;

	while (!memcg_room(s->cg) && (s->freed || atomic_load(&s->cg->nr_swap_writes)) && swap_wait(s->host))
		waited = true;
	return waited;
}

/* Whoever has nothing but pages that are on their way waits for them, and looks again at those that came back. */
static uint64_t reclaim_and_wait(struct scan *s)
{
	bool waited;

	do {
		reclaim(s);
		waited = wait_for_writes(s);
	} while (!s->freed && waited && !memcg_room(s->cg));
	return s->freed ? s->freed : waited ? memcg_room(s->cg) : 0;
}

uint64_t memcg_reclaim(struct mm_host *h, struct memcg *cg, uint64_t nr_pages, unsigned int flags)
{
	bool kswapd = flags & RECLAIM_KSWAPD, own = !(flags & (RECLAIM_KSWAPD | RECLAIM_HOST));
	struct scan s = {.host = h,
			 .cg = cg,
			 .wanted = nr_pages,
			 .flags = flags,
			 .min_age = kswapd && !(flags & RECLAIM_YOUNG) ? MIN_AGE + 1 : MIN_AGE};
	uint64_t room;

	if (own)
		stall_begin(&cg->stall);
	if (lock_account(cg, !own, &room)) {
		if (own)
			room = reclaim_and_wait(&s);
		else
			reclaim(&s);
		pthread_mutex_unlock(&cg->ageing.lock);
		room = own ? room : s.freed;
	}
	if (own)
		stall_end(&cg->stall);
	if (own && s.freed)
		kswapd_ask(cg);
	frames_count(h->frames, kswapd ? PGSCAN_KSWAPD : PGSCAN_DIRECT, s.scanned);
	frames_count(h->frames, kswapd ? PGSTEAL_KSWAPD : PGSTEAL_DIRECT, s.freed);
	return room;
}

/* --- the host's own shortage ------------------------------------------------------------------------------------------- */

typedef void account_fn(struct mm_host *h, struct memcg *cg, void *ctx);

/* Accounts are found by their spaces, of which several may have the same. reclaim_lock is held. */
static void each_account(struct mm_host *h, account_fn *fn, void *ctx)
{
	struct mm *mm = NULL;

	h->reclaim_round++;
	while ((mm = mm_next_space(h, mm))) {
		if (mm->memcg->host_round == h->reclaim_round)
			continue;
		mm->memcg->host_round = h->reclaim_round;
		fn(h, mm->memcg, ctx);
	}
}

static void add_usage(struct mm_host *h, struct memcg *cg, void *total)
{
	(void)h;
	*(uint64_t *)total += atomic_load(&cg->usage_pages);
}

struct contribution {
	uint64_t wanted, total, freed;
};

static void contribute(struct mm_host *h, struct memcg *cg, void *ctx)
{
	struct contribution *c = ctx;
	uint64_t share = c->wanted * atomic_load(&cg->usage_pages) / max_u64(c->total, 1);

	c->freed += memcg_reclaim(h, cg, share + 1, RECLAIM_HOST);
}

static bool has_free_frames(const struct mm_host *h)
{
	const struct frames *f = h->frames;

	for (unsigned int i = 0; i < f->nr_nodes * NR_ZONES; i++)
		if (zone_is_guest(f->zone[i].type) &&
		    zone_free_pages(&f->zone[i]) > wmark_pages(&f->zone[i], WMARK_MIN))
			return true;
	return false;
}

uint64_t host_reclaim(struct mm_host *h, uint64_t nr_pages)
{
	struct contribution c = {.wanted = nr_pages};

	pthread_mutex_lock(&h->reclaim_lock);
	each_account(h, add_usage, &c.total);
	each_account(h, contribute, &c);
	pthread_mutex_unlock(&h->reclaim_lock);
	pcp_drain_all(h->frames); /* what is at hand for a processor is not free for all */
	while (c.freed && !has_free_frames(h) && swap_wait(h))
		;
	return c.freed;
}

#define ROOM_ATTEMPTS 16 /* others may take what was made */
#define PAUSES	      11 /* from half a millisecond on, each twice as long: a second in all */
#define PAUSE_NS      500000
#define LITTLE_ROOM   64 /* pages: with more than that an account is not what is short */
#define HOST_BATCH    512

static uint64_t reclaim_what_is_short(struct mm_host *h, struct memcg *cg)
{
	return memcg_room(cg) < LITTLE_ROOM ? memcg_reclaim(h, cg, memcg_reclaim_batch(cg), 0)
					    : host_reclaim(h, HOST_BATCH);
}

bool memcg_may_swap(struct mm_host *h, struct memcg *cg)
{
	struct swap_totals t;

	swap_totals(h, &t);
	return t.total > t.used && atomic_load(&cg->swappiness);
}

/*
 * By now: what was on its way has come back since the caller was refused. Each time that was not enough twice as much is asked for, since
 * a fork needs a dozen tables where a fault needs a page.
 */
static bool has_room(const struct mm_host *h, const struct memcg *cg, unsigned int attempts)
{
	return memcg_room(cg) >= min_u64(1ull << attempts, ENOUGH_ROOM) && has_free_frames(h);
}

bool memcg_make_room(struct mm_host *h, struct memcg *cg, bool refused, unsigned int attempts)
{
	bool room = refused && has_room(h, cg, attempts);

	if (!attempts)
		atomic_fetch_add_explicit(&cg->nr_made_room, 1, memory_order_relaxed);
	if (attempts >= ROOM_ATTEMPTS)
		return false;
	stall_begin(&cg->stall);
	for (unsigned int i = 0; !room; i++) {
		room = reclaim_what_is_short(h, cg) || (refused && has_room(h, cg, attempts));
		/* A page that did not go may the next moment: its space was locked, or its entries were being changed. */
		if (room || i == PAUSES || !memcg_may_swap(h, cg))
			break;
		nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS << i}, NULL);
	}
	stall_end(&cg->stall);
	return room;
}

void memcg_end_epoch(struct mm_host *h, struct memcg *cg)
{
	struct scan s = {.host = h, .cg = cg};

	pthread_mutex_lock(&cg->ageing.lock);
	end_epoch(&s);
	pthread_mutex_unlock(&cg->ageing.lock);
}

/* --- memory.high ----------------------------------------------------------------------------------------------------- */

#define PENALTY_MIN_NS 10000000ull   /* not worth a wait */
#define PENALTY_MAX_NS 2000000000ull /* at once; the next fault waits again */

/* mem_cgroup_handle_over_high: the square of the part that is too much, so that a little costs nothing and a tenth half a second. */
static uint64_t penalty_ns(const struct memcg *cg)
{
	uint64_t usage = atomic_load(&cg->usage_pages), high = max_u64(atomic_load(&cg->high_pages), 1);

	if (usage <= high)
		return 0;
	uint64_t over = min_u64(((usage - high) << 20) / high, 1ull << 21);
	return min_u64((over * over >> 20) * 1000000000ull >> 14, PENALTY_MAX_NS);
}

void memcg_handle_over_high(struct mm_host *h, struct memcg *cg)
{
	uint64_t usage = atomic_load(&cg->usage_pages), high = atomic_load(&cg->high_pages);

	if (usage <= high)
		return;
	memcg_reclaim(h, cg, min_u64(usage - high, memcg_reclaim_batch(cg)), 0);
	uint64_t ns = penalty_ns(cg);
	if (ns < PENALTY_MIN_NS)
		return;
	atomic_fetch_add_explicit(&cg->nr_throttled, 1, memory_order_relaxed);
	stall_begin(&cg->stall);
	nanosleep(&(struct timespec){.tv_sec = (time_t)(ns / 1000000000u),
				     .tv_nsec = (long)(ns % 1000000000u)},
		  NULL); /* a signal ends it */
	stall_end(&cg->stall);
}

/* --- the page allocator's hooks ---------------------------------------------------------------------------------------- */

static void wake_kswapd(void *ctx, unsigned int nid, unsigned int order, enum zone_type highest)
{
	struct mm_host *h = ctx;
	struct kswapd *k = atomic_load(&h->kswapd);

	(void)order;
	(void)highest;
	if (k)
		kswapd_wake_node(k, nid);
}

const struct reclaim_ops mm_reclaim_ops = {.wake_kswapd = wake_kswapd, .migrate = page_migrate_held};
