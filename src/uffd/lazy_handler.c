/* SPDX-License-Identifier: MIT */
/*
 * lazy_handler.c - the threads that answer touches. See lazy.h.
 *
 * A handler takes one message at a time, so that the next one is another's. Each sees at its end whether it was to end; if not, all that
 * handlers have promised is broken (Z4).
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../mm/quiet_thread.h"
#include "lazy_internal.h"

#define STACK_BYTES (256u << 10)

bool lazy_is_broken(struct lazy *z)
{
	pthread_mutex_lock(&z->lock);
	bool broken = z->broken;
	pthread_mutex_unlock(&z->lock);
	return broken;
}

/* --- the end of one ------------------------------------------------------------------------------- */

/* A source that has not failed yet, with a reference to its supply; NULL: there is none. One that is being released needs no word. */
static struct lazy_source *next_sound(struct lazy *z)
{
	struct lazy_source *s;

	pthread_mutex_lock(&z->lock);
	list_for_each_entry (s, &z->sources, node) {
		uint64_t refs = atomic_load(&s->supply.refs);
		while (refs && !supply_cause(&s->supply))
			if (atomic_compare_exchange_weak(&s->supply.refs, &refs, refs + 1)) {
				pthread_mutex_unlock(&z->lock);
				return s;
			}
	}
	pthread_mutex_unlock(&z->lock);
	return NULL;
}

static void break_all(struct lazy *z)
{
	struct lazy_source *s;

	pthread_mutex_lock(&z->lock);
	z->broken = true;
	pthread_mutex_unlock(&z->lock);
	while ((s = next_sound(z))) {
		lazy_fail(s, "the thread that brings its memory is gone");
		lazy_disarm_all(s);
		supply_put(&s->supply);
	}
}

static void stop_serving(struct lazy_handler *h)
{
	struct lazy_block *b = h->serving;

	if (!b)
		return;
	h->serving = NULL;
	pthread_mutex_unlock(&b->lock);
	lazy_block_put(h->lazy, b);
}

void lazy_handler_end(void *arg)
{
	struct lazy_handler *h = arg;

	stop_serving(h);
	if (!h->over)
		break_all(h->lazy);
}

/* --- messages ------------------------------------------------------------------------------------- */

/* True: answer it. */
static bool without_trouble(struct lazy *z, struct lazy_block *b, char *page)
{
	struct lazy_source *s = b->source;

	switch (b->armed && s->ops->trouble ? s->ops->trouble(s) : LAZY_NO_TROUBLE) {
	case LAZY_DROP:
		userfault_wake(&z->door, page, PAGE_SIZE);
		return false;
	case LAZY_DIE:
		pthread_exit(NULL);
	case LAZY_NO_TROUBLE:
		break;
	}
	return true;
}

static void answer(struct lazy_handler *h, char *page)
{
	struct lazy *z = h->lazy;
	struct lazy_block *b = lazy_find(z, page);

	atomic_fetch_add(&z->faults, 1);
	if (!b) { /* it was disarmed while the message was on its way */
		userfault_wake(&z->door, page, PAGE_SIZE);
		return;
	}
	pthread_mutex_lock(&b->lock);
	h->serving = b;
	if (without_trouble(z, b, page))
		lazy_serve(z, b, (unsigned int)((uint64_t)(page - b->at) / PAGE_SIZE), h->buffer);
	stop_serving(h);
}

/* Somebody else waits already, and nobody is free. */
static void get_help(struct lazy *z)
{
	struct pollfd p = {.fd = z->door.fd, .events = POLLIN};

	pthread_mutex_lock(&z->lock);
	bool wanted = !z->nr_idle && !z->stop && z->nr_handlers < LAZY_MAX_HANDLERS &&
		      z->nr_handlers < (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
	pthread_mutex_unlock(&z->lock);
	if (wanted && poll(&p, 1, 0) == 1)
		lazy_add_handler(z); /* without it everybody waits a little longer */
}

static void take_message(struct lazy_handler *h)
{
	struct uffd_msg m;

	if (userfault_read(&h->lazy->door, &m, 1) != 1)
		return; /* another was faster */
	get_help(h->lazy);
	if (m.event == UFFD_EVENT_PAGEFAULT) /* no other was asked for */
		answer(h, (char *)(uintptr_t)userfault_page(&m));
}

/* False: this is the end. */
static bool wait_for_work(struct lazy *z, struct pollfd *p)
{
	pthread_mutex_lock(&z->lock);
	z->nr_idle++;
	bool stop = z->stop;
	pthread_mutex_unlock(&z->lock);
	if (!stop)
		poll(p, 2, -1);
	pthread_mutex_lock(&z->lock);
	z->nr_idle--;
	stop = z->stop;
	pthread_mutex_unlock(&z->lock);
	return !stop;
}

static void *handler_main(void *arg)
{
	struct lazy_handler *h = arg;
	struct lazy *z = h->lazy;
	struct pollfd p[2] = {{.fd = z->door.fd, .events = POLLIN}, {.fd = z->bell, .events = POLLIN}};

	if (pthread_setspecific(z->key, h))
		break_all(z); /* its end would not be seen */
	while (wait_for_work(z, p))
		take_message(h);
	h->over = true;
	return NULL;
}

/* --- more and fewer ---------------------------------------------------------------------------------- */

/* Aligned, so that a huge page serves. */
static char *new_buffer(void)
{
	char *at =
		mmap(NULL, 2 * LAZY_BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	char *aligned = (char *)(((uintptr_t)at + LAZY_BLOCK_BYTES - 1) & ~(LAZY_BLOCK_BYTES - 1));
	if (aligned != at)
		munmap(at, (size_t)(aligned - at));
	munmap(aligned + LAZY_BLOCK_BYTES, (size_t)(at + LAZY_BLOCK_BYTES - aligned));
	madvise(aligned, LAZY_BLOCK_BYTES, MADV_HUGEPAGE); /* a hint */
	return aligned;
}

int lazy_add_handler(struct lazy *z)
{
	int err = 0;

	pthread_mutex_lock(&z->lock);
	if (!z->stop && z->nr_handlers < LAZY_MAX_HANDLERS) {
		struct lazy_handler *h = &z->handler[z->nr_handlers];
		*h = (struct lazy_handler){.lazy = z, .buffer = new_buffer()};
		err = h->buffer ? quiet_thread_create(&h->thread, STACK_BYTES, 0, handler_main, h) : -ENOMEM;
		if (!err)
			z->nr_handlers++;
		else if (h->buffer)
			munmap(h->buffer, LAZY_BLOCK_BYTES);
	}
	pthread_mutex_unlock(&z->lock);
	return err;
}

void lazy_destroy(struct lazy *z)
{
	if (!z)
		return;
	pthread_mutex_lock(&z->lock);
	z->stop = true;
	pthread_mutex_unlock(&z->lock);
	eventfd_write(z->bell, 1);
	for (unsigned int i = 0; i < z->nr_handlers; i++) { /* none comes any more */
		pthread_join(z->handler[i].thread, NULL);
		munmap(z->handler[i].buffer, LAZY_BLOCK_BYTES);
	}
	userfault_close(&z->door);
	lazy_free(z);
}
