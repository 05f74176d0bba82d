/* SPDX-License-Identifier: MIT */
/* kswapd.c - room ahead of need. See kswapd.h. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "kswapd.h"
#include "mm.h"
#include "pcp.h"
#include "swap_io.h"
#include "vmscan.h"
#include "watermark.h"

#define BATCH_PAGES 512
#define CREDIT_PART 2 /* of the limit */
#define PAUSE_MS    100
#define PAUSES_MOST 7 /* doublings: 12.8 s */

static void *kswapd(void *arg);

/* The lock is held. Without a thread those who need memory reclaim for themselves. */
static void start_thread(struct kswapd *k)
{
	sigset_t all, before;

	/* Signals are for the threads of guests. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	k->running = !pthread_create(&k->thread, NULL, kswapd, k);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* --- waking ---------------------------------------------------------------------------------------------------------- */

static void wake(struct kswapd *k)
{
	pthread_mutex_lock(&k->lock);
	k->woken = true;
	if (!k->running && !k->stop)
		start_thread(k);
	pthread_cond_signal(&k->wake);
	pthread_mutex_unlock(&k->lock);
	atomic_fetch_add_explicit(&k->nr_wakes, 1, memory_order_relaxed);
}

void kswapd_wake(struct kswapd *k, struct memcg *cg)
{
	if (!atomic_load_explicit(&cg->kswapd_woken, memory_order_relaxed) &&
	    !atomic_exchange(&cg->kswapd_woken, true))
		wake(k);
}

void kswapd_ask(struct memcg *cg)
{
	struct kswapd *k = atomic_load(&cg->kswapd);

	if (!k)
		return;
	atomic_store(&cg->kswapd_credit_pages, atomic_load(&cg->max_pages) / CREDIT_PART);
	atomic_store(&cg->kswapd_woken, true);
	wake(k);
}

void kswapd_wake_node(struct kswapd *k, unsigned int nid)
{
	if (!(atomic_fetch_or(&k->nodes, 1u << nid) & 1u << nid))
		wake(k);
}

/* Sleeps until it is woken, or for a while when there is something left to do. False: it was told to stop. */
static bool sleep_until_woken(struct kswapd *k, uint64_t pause_ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (long)(pause_ms % 1000) * 1000000;
	until.tv_sec += (time_t)(pause_ms / 1000) + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&k->lock);
	while (!k->stop && !k->woken)
		if (!pause_ms)
			pthread_cond_wait(&k->wake, &k->lock);
		else if (pthread_cond_timedwait(&k->wake, &k->lock, &until))
			break;
	k->woken = false;
	bool stop = k->stop;
	pthread_mutex_unlock(&k->lock);
	return !stop;
}

/* --- one account, one node --------------------------------------------------------------------------------------------- */

static bool told_to_stop(struct kswapd *k)
{
	pthread_mutex_lock(&k->lock);
	bool stop = k->stop;
	pthread_mutex_unlock(&k->lock);
	return stop;
}

/* Nothing young is taken but on credit. False: nothing goes. */
static bool take_pages(struct kswapd *k, struct memcg *cg, uint64_t wanted)
{
	uint64_t credit = atomic_load(&cg->kswapd_credit_pages);
	uint64_t nr = memcg_reclaim(k->host, cg, wanted, RECLAIM_KSWAPD | (credit ? RECLAIM_YOUNG : 0));

	/* Who was asked for more meanwhile keeps that. */
	atomic_compare_exchange_strong(&cg->kswapd_credit_pages, &credit, credit - min_u64(credit, nr));
	return nr;
}

/* True when there is room enough. What is on its way to a device counts, so that more can be queued behind it, but is waited for. */
static bool balance_account(struct kswapd *k, struct memcg *cg)
{
	const uint64_t enough = 2 * memcg_low_mark(cg);

	for (uint64_t room = memcg_room(cg); room < enough; room = memcg_room(cg)) {
		uint64_t coming = room + atomic_load(&cg->nr_swap_writes);
		if (coming >= enough && swap_wait(k->host))
			continue;
		uint64_t wanted = enough - (coming < enough ? coming : room);
		if (told_to_stop(k) || !take_pages(k, cg, min_u64(wanted, BATCH_PAGES)))
			return false;
	}
	atomic_fetch_add(&k->nr_balanced, 1);
	return true;
}

static bool zone_is_balanced(const struct zone *z)
{
	return !zone_populated(z) || !zone_is_guest(z->type) ||
	       zone_free_pages(z) >= wmark_pages(z, WMARK_HIGH);
}

static bool node_is_balanced(const struct frames *f, unsigned int nid)
{
	for (unsigned int t = 0; t < NR_ZONES; t++)
		if (!zone_is_balanced(&f->zone[nid * NR_ZONES + t]))
			return false;
	return true;
}

static bool nodes_are_balanced(struct kswapd *k, uint32_t nodes)
{
	const struct frames *f = k->host->frames;

	for (unsigned int nid = 0; nid < f->nr_nodes; nid++)
		if ((nodes & 1u << nid) && !node_is_balanced(f, nid))
			return false;
	return true;
}

static void unboost(struct frames *f, uint32_t nodes)
{
	for (unsigned int i = 0; i < f->nr_nodes * NR_ZONES; i++)
		if (nodes & 1u << f->zone[i].node)
			watermark_unboost(&f->zone[i]);
}

/* --- the round ----------------------------------------------------------------------------------------------------------- */

/* What one round came to. */
struct round {
	uint32_t nodes; /* that are short */
	bool in_vain;	/* somebody has too little room, and nothing to give */
};

static void visit_account(struct kswapd *k, struct memcg *cg, struct round *r)
{
	bool short_node = r->nodes && !nodes_are_balanced(k, r->nodes);

	if (cg->kswapd_round == k->nr_rounds)
		return;
	cg->kswapd_round = k->nr_rounds;
	if (short_node) {
		r->in_vain |= !memcg_reclaim(k->host, cg, BATCH_PAGES, RECLAIM_KSWAPD);
		pcp_drain_all(k->host->frames); /* what is at hand for a processor is not free for all */
	}
	if (!atomic_load(&cg->kswapd_woken))
		return;
	if (balance_account(k, cg)) {
		atomic_store(&cg->kswapd_woken, false);
	} else {
		memcg_end_epoch(k->host, cg);
		r->in_vain = true;
	}
}

/* Accounts are found by their spaces: several may have one account. */
static struct round go_round(struct kswapd *k)
{
	struct round r = {.nodes = atomic_load(&k->nodes)};
	struct mm *mm = NULL;

	k->nr_rounds++;
	while ((mm = mm_next_space(k->host, mm)))
		visit_account(k, mm->memcg, &r);
	if (r.nodes && nodes_are_balanced(k, r.nodes)) {
		unboost(k->host->frames, r.nodes);
		atomic_fetch_and(&k->nodes, ~r.nodes);
		atomic_fetch_add(&k->nr_balanced, 1);
	} else if (r.nodes) {
		r.in_vain = true;
	}
	return r;
}

static void *kswapd(void *arg)
{
	struct kswapd *k = arg;
	unsigned int pauses = 0;
	uint64_t pause_ms = 0;

	pthread_setname_np(pthread_self(), "kswapd");
	while (sleep_until_woken(k, pause_ms)) {
		struct round r = go_round(k);
		pause_ms = r.in_vain ? (uint64_t)atomic_load(&k->pause_ms) << pauses : 0;
		pauses = !r.in_vain ? 0 : pauses < PAUSES_MOST ? pauses + 1 : PAUSES_MOST;
	}
	return NULL;
}

int kswapd_start(struct mm_host *h, struct kswapd **result)
{
	struct kswapd *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->host = h;
	atomic_store(&k->pause_ms, PAUSE_MS);
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->wake, NULL);
	atomic_store(&h->kswapd, k);
	*result = k;
	return 0;
}

void kswapd_stop(struct kswapd *k)
{
	atomic_store(&k->host->kswapd, NULL);
	pthread_mutex_lock(&k->lock);
	k->stop = true;
	pthread_cond_signal(&k->wake);
	bool running = k->running;
	pthread_mutex_unlock(&k->lock);
	if (running)
		pthread_join(k->thread, NULL);
	pthread_mutex_destroy(&k->lock);
	pthread_cond_destroy(&k->wake);
	free(k);
}
