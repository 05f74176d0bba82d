/* SPDX-License-Identifier: MIT */
/*
 * latency.h - how often something took how long: counts by powers of two.
 *
 *	bucket 0   below 1 us
 *	bucket i   from 2^(i-1) us to below 2^i us
 *	the last   all that took longer
 */
#ifndef LODGE_MM_LATENCY_H
#define LODGE_MM_LATENCY_H

#include <stdatomic.h>
#include <stdint.h>

#define LATENCY_BUCKETS 24u /* the last: from 4.2 s on */

struct latency {
	_Atomic uint64_t bucket[LATENCY_BUCKETS]; /* (A) */
};

static inline unsigned int latency_bucket(uint64_t ns)
{
	uint64_t us = ns / 1000;
	unsigned int bucket = us ? 64u - (unsigned int)__builtin_clzll(us) : 0;

	return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

static inline void latency_add(struct latency *l, uint64_t ns)
{
	atomic_fetch_add_explicit(&l->bucket[latency_bucket(ns)], 1, memory_order_relaxed);
}

#endif
