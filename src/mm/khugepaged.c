/* SPDX-License-Identifier: MIT */
/* khugepaged.c - collapsing in the background. See khugepaged.h. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "collapse.h"
#include "khugepaged.h"

/* A step holds mmap_lock for reading: it copies no more than 16 MiB. */
#define STEP_TABLES 8
#define PAUSE_MS    20

static bool must_stop(struct khugepaged *k)
{
	pthread_mutex_lock(&k->lock);
	bool stop = k->stop;
	pthread_mutex_unlock(&k->lock);
	return stop;
}

/* False: it was told to stop. */
static bool pause_a_while(struct khugepaged *k)
{
	uint32_t ms = atomic_load_explicit(&k->pause_ms, memory_order_relaxed);
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&k->lock);
	while (!k->stop)
		if (pthread_cond_timedwait(&k->wake, &k->lock, &until))
			break;
	bool stop = k->stop;
	pthread_mutex_unlock(&k->lock);
	return !stop;
}

/* All of one space, a step at a time, unless everybody else left it. False: it was told to stop. */
static bool scan_space(struct khugepaged *k, struct mm *mm)
{
	gva_t cursor = 0;

	do {
		atomic_fetch_add(&k->nr_collapsed, collapse_scan(mm, &cursor, STEP_TABLES));
		if (cursor && !pause_a_while(k))
			return false;
	} while (cursor && atomic_load(&mm->mm_users) > 1);
	return true;
}

static void *khugepaged(void *arg)
{
	struct khugepaged *k = arg;
	bool go_on;

	pthread_setname_np(pthread_self(), "khugepaged");
	do {
		struct mm *mm = NULL;
		while (!must_stop(k) && (mm = mm_next_space(k->host, mm)) && scan_space(k, mm))
			;
		mmput(mm); /* where the round was cut short */
		go_on = pause_a_while(k);
		atomic_fetch_add(&k->full_scans, go_on);
	} while (go_on);
	return NULL;
}

int khugepaged_start(struct mm_host *h, struct khugepaged **result)
{
	struct khugepaged *k = calloc(1, sizeof(*k));
	sigset_t all, before;

	if (!k)
		return -ENOMEM;
	k->host = h;
	atomic_store(&k->pause_ms, PAUSE_MS);
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->wake, NULL);
	/* Signals are for the threads of guests. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = pthread_create(&k->thread, NULL, khugepaged, k);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err) {
		free(k);
		return -err;
	}
	*result = k;
	return 0;
}

void khugepaged_stop(struct khugepaged *k)
{
	pthread_mutex_lock(&k->lock);
	k->stop = true;
	pthread_cond_signal(&k->wake);
	pthread_mutex_unlock(&k->lock);
	pthread_join(k->thread, NULL);
	pthread_mutex_destroy(&k->lock);
	pthread_cond_destroy(&k->wake);
	free(k);
}
