/* SPDX-License-Identifier: MIT */
/*
 * khugepaged.h - the thread that goes round the spaces of a host and collapses tables that are full enough (collapse_scan).
 *
 * It is a user of the space that it looks at (mmput), so a space whose last other user leaves in that moment is emptied by it, some
 * milliseconds later. Stop it before the host's frames are counted.
 */
#ifndef LODGE_MM_KHUGEPAGED_H
#define LODGE_MM_KHUGEPAGED_H

#include "mm.h"

struct khugepaged {
	struct mm_host *host;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;		       /* (lock) */
	_Atomic uint64_t full_scans;   /* (A) times that it came round all spaces */
	_Atomic uint64_t nr_collapsed; /* (A) */
	_Atomic uint32_t pause_ms;     /* (A) between two steps */
};

/* 0 or -errno; *k is for khugepaged_stop. */
int khugepaged_start(struct mm_host *h, struct khugepaged **k);

/* Returns when the thread has ended. */
void khugepaged_stop(struct khugepaged *k);

#endif
