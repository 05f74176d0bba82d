/* SPDX-License-Identifier: MIT */
/* vmscan.c - memory for an account that is full. See vmscan.h. */
#include "ageing.h"
#include "evict.h"
#include "filemap_shrink.h"
#include "mm.h"
#include "vmscan.h"

/* An epoch ends when this part of what the account has was evicted in it, so that four to five ages are told apart. */
#define EPOCH_PART 4
#define MAX_AGE	   8
#define MIN_AGE	   1 /* what was used in the epoch under way stays */

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

/* The oldest first, and younger ones when the hand has come round; false: there are none. */
static void evict_type(struct scan *s, enum reclaim_type type)
{
	struct reclaim_hand *hand = hand_of(s, type);

	while (s->freed < s->wanted) {
		struct evict e = {.host = s->host,
				  .cg = s->cg,
				  .type = type,
				  .min_age = hand->age > s->min_age ? hand->age : s->min_age,
				  .wanted = (unsigned int)min_u64(s->wanted - s->freed, EVICT_BATCH)};
		evict_turn(&e);
		s->freed += e.nr_freed;
		s->scanned += e.nr_scanned;
		if (e.dry && hand->age <= s->min_age)
			return;
		if (e.dry)
			hand->age--;
	}
}

static void shrink(struct scan *s)
{
	if (epoch_is_over(s))
		end_epoch(s);
	evict_type(s, RECLAIM_FILE);
	if (s->freed < s->wanted)
		s->freed += filemap_shrink_unmapped(s->host, s->cg, s->wanted - s->freed, s->min_age);
}

static void reclaim(struct scan *s)
{
	s->freed = filemap_shrink_unmapped(s->host, s->cg, s->wanted, NO_AGE);
	if (s->freed < s->wanted)
		shrink(s);
	if (s->freed || (s->flags & RECLAIM_KSWAPD))
		return;
	end_epoch(s);
	shrink(s);
	if (!s->freed)
		s->freed = filemap_shrink(s->host, s->cg, s->wanted);
}

uint64_t memcg_reclaim(struct mm_host *h, struct memcg *cg, uint64_t nr_pages, unsigned int flags)
{
	struct scan s = {.host = h, .cg = cg, .wanted = nr_pages, .flags = flags};
	bool kswapd = flags & RECLAIM_KSWAPD;

	s.min_age = kswapd ? MIN_AGE + 1 : MIN_AGE;
	if (pthread_mutex_trylock(&cg->ageing.lock)) {
		pthread_mutex_lock(&cg->ageing.lock);
		uint64_t room = kswapd ? 0 : memcg_room(cg);
		if (room) { /* somebody else made it */
			pthread_mutex_unlock(&cg->ageing.lock);
			return room;
		}
	}
	reclaim(&s);
	pthread_mutex_unlock(&cg->ageing.lock);
	frames_count(h->frames, kswapd ? PGSCAN_KSWAPD : PGSCAN_DIRECT, s.scanned);
	frames_count(h->frames, kswapd ? PGSTEAL_KSWAPD : PGSTEAL_DIRECT, s.freed);
	return s.freed;
}
