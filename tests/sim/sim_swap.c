/* SPDX-License-Identifier: MIT */
/* sim_swap.c - see sim_swap.h. */
#include "sim_swap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Whether this page is the n-th. */
static bool is_turn(struct sim_swap *s, unsigned int every)
{
	return every && (atomic_fetch_add(&s->turn, 1) + 1) % every == 0;
}

static int write_page(struct sim_swap *s, uint64_t slot, const void *from, uint64_t tag)
{
	if (is_turn(s, s->fail_write_every))
		return -EIO;
	bool torn = is_turn(s, s->torn_every);
	memcpy(s->data + slot * PAGE_SIZE, from, torn ? PAGE_SIZE / 2 : PAGE_SIZE);
	s->tag[slot] = torn ? ~tag : tag;
	s->nr_writes++;
	return 0;
}

static int read_page(struct sim_swap *s, uint64_t slot, void *to, uint64_t tag)
{
	if (is_turn(s, s->fail_read_every))
		return -EIO;
	s->nr_reads++;
	memcpy(to, s->data + slot * PAGE_SIZE, PAGE_SIZE);
	if (s->holds_pages || s->tag[slot] == tag)
		return 0;
	s->nr_wrong += s->tag[slot] != ~tag;
	return -EBADMSG;
}

static void transfer(struct sim_swap *s, struct swap_io *io)
{
	io->result = 0;
	s->nr_transfers++;
	for (io->nr_done = 0; io->nr_done < io->nr && !io->result;) {
		unsigned int i = io->nr_done;
		char *page = io->iov[i].iov_base;

		io->result = io->write ? write_page(s, io->slot + i, page, io->tags[i])
				       : read_page(s, io->slot + i, page, io->tags[i]);
		io->nr_done += !io->result;
	}
	s->nr_failed += io->nr - io->nr_done;
	io->done(io);
}

/* --- transfers that wait ------------------------------------------------------------------------------------------- */

static struct swap_io *take_waiting(struct sim_swap *s, unsigned int which)
{
	struct swap_io *io = s->waiting[which];

	s->waiting[which] = s->waiting[--s->nr_waiting];
	return io;
}

unsigned int sim_swap_complete(struct sim_swap *s)
{
	unsigned int nr = 0;

	for (;; nr++) {
		pthread_mutex_lock(&s->lock);
		struct swap_io *io = s->nr_waiting ? take_waiting(s, 0) : NULL;
		pthread_mutex_unlock(&s->lock);
		if (!io)
			return nr;
		transfer(s, io);
	}
}

static void *run(void *arg)
{
	struct sim_swap *s = arg;
	unsigned int turn = 0;

	pthread_mutex_lock(&s->lock);
	while (!s->stop || s->nr_waiting) {
		if (!s->nr_waiting) {
			pthread_cond_wait(&s->wake, &s->lock);
			continue;
		}
		struct swap_io *io = take_waiting(s, turn++ * 7 % s->nr_waiting);
		s->busy = true;
		pthread_mutex_unlock(&s->lock);
		transfer(s, io);
		pthread_mutex_lock(&s->lock);
		s->busy = false;
		pthread_cond_broadcast(&s->settled);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

void sim_swap_settle(struct sim_swap *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->busy || s->nr_waiting)
		pthread_cond_wait(&s->settled, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

static void submit(struct swap_device *d, struct swap_io **io, unsigned int nr)
{
	struct sim_swap *s = (struct sim_swap *)d;

	for (unsigned int i = 0; i < nr; i++) {
		if (!s->held && !s->threaded && !(s->held_ahead && io[i]->ahead)) {
			transfer(s, io[i]);
			continue;
		}
		pthread_mutex_lock(&s->lock);
		s->waiting[s->nr_waiting++] = io[i];
		pthread_cond_signal(&s->wake);
		pthread_mutex_unlock(&s->lock);
	}
}

static void discard(struct swap_device *d, uint64_t slot, uint64_t nr)
{
	struct sim_swap *s = (struct sim_swap *)d;

	memset(s->data + slot * PAGE_SIZE, 0xdd, nr * PAGE_SIZE);
	memset(s->tag + slot, 0, nr * sizeof(*s->tag));
	s->nr_discards += nr;
}

static void release(struct swap_device *d)
{
	((struct sim_swap *)d)->released++;
}

/* --- on and off ---------------------------------------------------------------------------------------------------- */

static const struct swap_device_ops ops = {.submit = submit, .discard = discard, .release = release};

int sim_swap_on(struct sim_swap *s, struct mm_host *h, uint64_t slots, void (*configure)(struct sim_swap *s))
{
	memset(s, 0, sizeof(*s));
	s->device.ops = &ops;
	s->device.path = "/sim/swap";
	s->device.nr_slots = slots;
	if (configure)
		configure(s);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	pthread_cond_init(&s->settled, NULL);
	s->data = calloc(slots, PAGE_SIZE);
	s->tag = calloc(slots, sizeof(*s->tag));
	if (!s->data || !s->tag)
		return -ENOMEM;
	if (s->threaded && pthread_create(&s->thread, NULL, run, s))
		return -EAGAIN;
	return s->holds_pages ? swap_on_image(h, &s->device) : swap_on(h, &s->device);
}

int sim_swap_off(struct sim_swap *s)
{
	int err = swap_off(&s->device);

	if (err)
		return err;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	if (s->threaded)
		pthread_join(s->thread, NULL);
	free(s->data);
	free(s->tag);
	return 0;
}
