/* SPDX-License-Identifier: MIT */
/* progress.c - see progress.h. */
#include "progress.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../include/lodge.h"

#define TICK_MS	       250
#define TICKS_PER_S    (1000 / TICK_MS)
#define PATIENCE_TICKS 4  /* before the first word */
#define LEAST_PAGES    16 /* written in a tick: less is nothing to wait for */
#define ERASE	       "\r\033[K"

/* What the thread knows. */
struct row {
	bool shown;
	unsigned int ticks; /* that it has been going on */
	uint64_t begin_pages, last_pages;
};

static double mebibytes(uint64_t pages)
{
	return (double)pages / 256;
}

static void put(const char *text)
{
	ssize_t n = write(STDERR_FILENO, text, strlen(text));

	(void)n; /* it was for information */
}

static void erase(struct row *r)
{
	if (r->shown)
		put(ERASE);
	*r = (struct row){.last_pages = r->last_pages};
}

static void show_swap(struct row *r, const struct lodge_stats *s)
{
	char text[160];
	uint64_t pages = s->swap_out_pages - r->begin_pages;

	snprintf(text, sizeof(text), ERASE "lodge: to swap: %.0f MiB written, %.1f MiB/s; %.0f MiB there",
		 mebibytes(pages), mebibytes(pages) * TICKS_PER_S / r->ticks, mebibytes(s->swap_pages));
	put(text);
	r->shown = true;
}

static void look_at_run(struct row *r, struct lodge_space *space)
{
	struct lodge_stats s;

	lodge_space_stats(space, &s);
	bool busy = s.swap_out_pages >= r->last_pages + LEAST_PAGES;
	if (busy && !r->ticks++)
		r->begin_pages = r->last_pages;
	r->last_pages = s.swap_out_pages;
	if (!busy)
		erase(r);
	else if (r->ticks >= PATIENCE_TICKS)
		show_swap(r, &s);
}

static void look_at_end(struct row *r, uint64_t left_pages)
{
	char text[96];

	if (++r->ticks < PATIENCE_TICKS)
		return;
	snprintf(text, sizeof(text), ERASE "lodge: giving back %.0f MiB, %u s", mebibytes(left_pages),
		 r->ticks / TICKS_PER_S);
	put(text);
	r->shown = true;
}

/* The lock is held. False: to stop. */
static bool wait_for_tick(struct progress *p)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += TICK_MS * 1000000l;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while (!p->stop && !pthread_cond_timedwait(&p->wake, &p->lock, &until))
		;
	return !p->stop;
}

static void *progress_thread(void *arg)
{
	struct progress *p = arg;
	struct row r = {0};
	bool ended = false;

	pthread_mutex_lock(&p->lock);
	while (wait_for_tick(p)) {
		if (!p->space && !ended)
			erase(&r);
		ended = !p->space;
		if (ended)
			look_at_end(&r, p->left_pages);
		else
			look_at_run(&r, p->space);
	}
	pthread_mutex_unlock(&p->lock);
	erase(&r);
	return NULL;
}

void progress_start(struct progress *p, struct lodge_space *space)
{
	sigset_t all, old;

	if (!isatty(STDERR_FILENO))
		return;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	p->space = space;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	p->running = !pthread_create(&p->thread, NULL, progress_thread, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void progress_end_of_run(struct progress *p)
{
	struct lodge_stats s;

	if (!p->running)
		return;
	pthread_mutex_lock(&p->lock);
	lodge_space_stats(p->space, &s);
	p->left_pages = s.usage_pages;
	p->space = NULL;
	pthread_mutex_unlock(&p->lock);
}

void progress_stop(struct progress *p)
{
	if (!p->running)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	p->running = false;
}
