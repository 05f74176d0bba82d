/* SPDX-License-Identifier: MIT */
/* stall.c - time lost for want of memory. See stall.h. */
#include <string.h>
#include <time.h>

#include "stall.h"

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void stall_init(struct stall *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
}

/* The time since the last change goes to what it was like; the lock is held. */
static void settle(struct stall *s)
{
	uint64_t now = now_ns();

	if (s->nr_stalled)
		s->some_ns += now - s->since_ns;
	if (s->nr_stalled && s->nr_stalled >= s->nr_tasks)
		s->full_ns += now - s->since_ns;
	s->since_ns = now;
}

static void change(struct stall *s, unsigned int *nr, int by)
{
	pthread_mutex_lock(&s->lock);
	settle(s);
	*nr += (unsigned int)by;
	pthread_mutex_unlock(&s->lock);
}

void stall_begin(struct stall *s)
{
	change(s, &s->nr_stalled, 1);
}

void stall_end(struct stall *s)
{
	change(s, &s->nr_stalled, -1);
}

void stall_task_begin(struct stall *s)
{
	change(s, &s->nr_tasks, 1);
}

void stall_task_end(struct stall *s)
{
	change(s, &s->nr_tasks, -1);
}

void stall_times(struct stall *s, uint64_t *some_ns, uint64_t *full_ns)
{
	pthread_mutex_lock(&s->lock);
	settle(s);
	*some_ns = s->some_ns;
	*full_ns = s->full_ns;
	pthread_mutex_unlock(&s->lock);
}
