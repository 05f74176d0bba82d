/* SPDX-License-Identifier: MIT */
/*
 * vvar.h - keeps the page that the vDSO makes times from: struct vvar of guest/abi.h.
 *
 * A clock is a line over the host's time stamp counter, which guests read too. A line is valid for a short while; then the vDSO makes the
 * system call, and the call draws the line anew: no thread, no timer, nothing to do for programs that ask for no time.
 *
 *   W1  a line begins where the one before it ended, or later: VVAR_MONOTONIC and VVAR_RAW never go back
 *   W2  a line is drawn for at most half as long as the rate was measured, so that its end is as exact as the measurement was
 *   W3  CLOCK_REALTIME, CLOCK_BOOTTIME and CLOCK_TAI are CLOCK_MONOTONIC and something that changes when they are set
 * Where the host's own clock is not its time stamp counter there are no lines, and times are system calls.
 */
#ifndef LODGE_LINUX_VVAR_H
#define LODGE_LINUX_VVAR_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "../vmm/vcpu.h"

/* What a clock and the counter showed at once. */
struct vvar_point {
	uint64_t cycles, ns;
};

/* A clock with a rate of its own. */
struct vvar_rate {
	clockid_t clock;
	struct vvar_point old, recent; /* the rate is measured from the older one */
	uint64_t mult;		       /* 2^-32 ns per cycle, of the line that is drawn */
	unsigned __int128 base;	       /* 2^-32 ns, where it begins */
};

enum vvar_counter { VVAR_COUNTER_UNKNOWN, VVAR_COUNTER_TSC, VVAR_COUNTER_NONE };

struct vvar_source {
	struct vvar *page;
	pthread_mutex_t lock; /* guards all else; nothing is taken under it */
	enum vvar_counter counter;
	struct vvar_rate rate[2];      /* as page->mult */
	int64_t realtime_ns, other_ns; /* REALTIME and BOOTTIME less MONOTONIC */
};

/* The page is zeroed; nothing is valid in it before the first refresh. */
void vvar_init(struct vvar_source *s, struct vvar *page);
void vvar_destroy(struct vvar_source *s);

/* Draws new lines, unless the ones there are good for a while or another thread is at it. */
void vvar_refresh(struct vvar_source *s);

/* By how much the coarse clocks are behind the others. */
uint32_t vvar_tick_ns(void);

#endif
