/* SPDX-License-Identifier: MIT */
/*
 * kswapd.h - the thread that makes room ahead of need, so that faults find some.
 *
 *	an account    room below memcg_low_mark --> wakes --> memcg_reclaim until there is twice as much
 *	a node        a zone below WMARK_LOW    --> wakes --> all accounts in turn, until its zones are above WMARK_HIGH (watermark.h)
 *
 * It takes only what was not used for two epochs. Where there is none of that it ends an epoch, to learn what is in use, and looks again
 * later: after a tenth of a second, then two, up to some seconds, until something goes again. So a program that needs all that it has
 * is left in peace.
 *
 * Who had to reclaim for himself has shown that memory is needed: as the next ones would, it then takes whatever was not used in the epoch
 * under way, up to half of the limit, so that they need not. After that it is for a fault again to ask.
 * Locking: lock is a leaf; whoever charges may hold anything.
 */
#ifndef LODGE_MM_KSWAPD_H
#define LODGE_MM_KSWAPD_H

#include <pthread.h>

#include "types.h"

struct memcg;
struct mm_host;

struct kswapd {
	struct mm_host *host;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool running, stop, woken;    /* (lock) */
	_Atomic uint32_t nodes;	      /* (A) that are short of memory, a bit each */
	_Atomic uint64_t nr_wakes;    /* (A) */
	uint64_t nr_rounds;	      /* (the thread) */
	_Atomic uint64_t nr_balanced; /* (A) times that it found, or made, enough room */
	_Atomic uint32_t pause_ms;    /* (A) after it came round in vain the first time */
};

/* 0 or -ENOMEM; *k is for kswapd_stop. Accounts made afterwards wake it; the thread begins when one does. */
int kswapd_start(struct mm_host *h, struct kswapd **k);

/* Returns when the thread has ended. No account of the host may be in use any more. */
void kswapd_stop(struct kswapd *k);

void kswapd_wake(struct kswapd *k, struct memcg *cg);
void kswapd_wake_node(struct kswapd *k, unsigned int nid);
/* A fault had to reclaim: see above. An account without a kswapd does without. */
void kswapd_ask(struct memcg *cg);

#endif
