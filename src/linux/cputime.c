/* SPDX-License-Identifier: MIT */
/* cputime.c - see cputime.h. */
#include <time.h>

#include "cputime.h"
#include "task.h"

#define NS_PER_S  1000000000ull
#define NS_PER_US 1000ull

uint64_t cputime_task(const struct task *t)
{
	clockid_t clock = CLOCK_THREAD_CPUTIME_ID;
	struct timespec now;
	uint64_t ns;

	if (t->running && !pthread_equal(t->thread, pthread_self()) &&
	    pthread_getcpuclockid(t->thread, &clock))
		return 0;
	if (clock_gettime(clock, &now))
		return 0;
	ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec + (uint64_t)task_more_cpu_ns(t);
	return ns > t->cpu_before_ns ? ns - t->cpu_before_ns : 0;
}

/* A task that stands in its process but has not begun has used nothing. */
static uint64_t live_ns(struct process *p)
{
	uint64_t ns = 0;
	struct task *t;

	list_for_each_entry (t, &p->threads, thread_node)
		if (t->running)
			ns += cputime_task(t);
	return ns;
}

uint64_t cputime_process(struct process *p)
{
	return p->cpu_ns + live_ns(p);
}

uint64_t cputime_process_user(struct process *p)
{
	const struct timeval *user = &p->usage.ru_utime;

	return (uint64_t)user->tv_sec * NS_PER_S + (uint64_t)user->tv_usec * NS_PER_US + live_ns(p);
}
