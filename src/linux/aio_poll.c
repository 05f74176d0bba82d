/* SPDX-License-Identifier: MIT */
/*
 * aio_poll.c - polls that wait: one thread of the sandbox sleeps in an epoll for all of them. See aio.h.
 *
 * A poll waits on a descriptor of its own, so that two can wait for one file. Whoever ends it (the thread, or who cancels it) takes it
 * off its context's list under the context's lock; only the thread frees it, when it holds no more events of the epoll.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../mm/quiet_thread.h"
#include "aio.h"
#include "files.h"

#define EVENTS_AT_ONCE	   16
#define THREAD_STACK_BYTES (64ul << 10)

struct aio_poll {
	struct list_head node;	   /* (ctx->lock) in ctx->polls, then (poller.lock) in poller.retired */
	struct aio_context *ctx;   /* (C) one reference */
	struct aio_poll_request r; /* (C) with references of the files */
	int fd;			   /* (C) our own */
	bool waits;		   /* (ctx->lock) */
};

/* --- the end of one -------------------------------------------------------------------------------------------------- */

static void poll_free(struct aio_poll *p)
{
	close(p->fd);
	guest_file_put(p->r.file);
	if (p->r.resfd)
		guest_file_put(p->r.resfd);
	aio_put(p->ctx);
	free(p);
}

static void wake_thread(struct aio_poller *poller)
{
	const uint64_t one = 1;

	if (write(poller->wake_fd, &one, sizeof(one)) < 0) /* it counts already, and the thread wakes */
		return;
}

/* Nothing will come of it any more. The context's lock is held. */
static void retire(struct aio_poll *p)
{
	struct aio_poller *poller = &p->ctx->ns->poller;

	p->waits = false;
	list_del(&p->node);
	epoll_ctl(poller->epoll_fd, EPOLL_CTL_DEL, p->fd, NULL);
	pthread_mutex_lock(&poller->lock);
	list_add_tail(&p->node, &poller->retired);
	wake_thread(poller);
	pthread_mutex_unlock(&poller->lock);
}

static void complete(struct aio_poll *p, uint32_t events)
{
	struct io_event event = p->r.event;

	event.res = events;
	aio_complete_locked(p->ctx, &event);
	if (p->r.resfd)
		aio_tell(p->r.resfd);
	retire(p);
}

void aio_poll_drop_all(struct aio_context *ctx)
{
	struct aio_poll *p, *next;

	list_for_each_entry_safe (p, next, &ctx->polls, node) {
		ctx->nr_under_way--;
		retire(p);
	}
}

int64_t aio_poll_cancel(struct aio_context *ctx, uint64_t object)
{
	int64_t ret = -EINVAL;
	struct aio_poll *p;

	pthread_mutex_lock(&ctx->lock);
	list_for_each_entry (p, &ctx->polls, node) {
		if (p->r.event.obj != object)
			continue;
		complete(p, 0);
		ret = -EINPROGRESS;
		break;
	}
	pthread_mutex_unlock(&ctx->lock);
	return ret;
}

/* --- the thread ------------------------------------------------------------------------------------------------------ */

/* Linux tells what the file has said, not only what was asked for: pipes and sockets say the same thing in two ways. */
static uint32_t as_told(const struct aio_poll *p, uint32_t events)
{
	if (p->r.file->stream && (events & (POLLIN | POLLRDNORM)) && !(events & POLLHUP))
		events |= POLLIN | POLLRDNORM;
	if (p->r.file->stream && (events & (POLLOUT | POLLWRNORM)) && !(events & POLLERR))
		events |= POLLOUT | POLLWRNORM;
	return events;
}

static void has_happened(struct aio_poll *p, uint32_t events)
{
	struct aio_context *ctx = p->ctx; /* p keeps it until it is freed, which only this thread does */

	pthread_mutex_lock(&ctx->lock);
	if (p->waits)
		complete(p, as_told(p, events));
	pthread_mutex_unlock(&ctx->lock);
}

/* False: it is to end. */
static bool free_retired(struct aio_poller *poller)
{
	struct aio_poll *p, *next;
	struct list_head retired;
	bool go_on;

	list_init(&retired);
	pthread_mutex_lock(&poller->lock);
	list_for_each_entry_safe (p, next, &poller->retired, node) {
		list_del(&p->node);
		list_add_tail(&p->node, &retired);
	}
	go_on = !poller->stop;
	pthread_mutex_unlock(&poller->lock);
	list_for_each_entry_safe (p, next, &retired, node)
		poll_free(p);
	return go_on;
}

static void *poller_thread(void *arg)
{
	struct aio_poller *poller = arg;
	struct epoll_event events[EVENTS_AT_ONCE];
	uint64_t count;

	do {
		int n = epoll_wait(poller->epoll_fd, events, EVENTS_AT_ONCE, -1);
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				has_happened(events[i].data.ptr, events[i].events);
			else if (read(poller->wake_fd, &count, sizeof(count)) < 0)
				continue; /* nobody has woken us any more */
		}
	} while (free_retired(poller));
	return NULL;
}

void aio_poller_init(struct aio_poller *p)
{
	pthread_mutex_init(&p->lock, NULL);
	list_init(&p->retired);
	p->epoll_fd = p->wake_fd = -1;
}

static void close_fds(struct aio_poller *p)
{
	if (p->epoll_fd >= 0)
		close(p->epoll_fd);
	if (p->wake_fd >= 0)
		close(p->wake_fd);
	p->epoll_fd = p->wake_fd = -1;
}

static int open_fds(struct aio_poller *p)
{
	struct epoll_event wake = {.events = EPOLLIN};

	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->epoll_fd >= 0 && p->wake_fd >= 0 && !epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->wake_fd, &wake))
		return 0;
	close_fds(p);
	return -EAGAIN;
}

/* There is a thread from now on. 0 or -EAGAIN. */
static int poller_start(struct aio_poller *p)
{
	int err = 0;

	pthread_mutex_lock(&p->lock);
	if (!p->running) {
		err = open_fds(p);
		if (!err)
			err = quiet_thread_create(&p->thread, THREAD_STACK_BYTES, 0, poller_thread, p);
		if (err)
			close_fds(p);
		p->running = !err;
	}
	pthread_mutex_unlock(&p->lock);
	return err;
}

void aio_poller_destroy(struct aio_poller *p)
{
	if (p->running) {
		pthread_mutex_lock(&p->lock);
		p->stop = true;
		wake_thread(p);
		pthread_mutex_unlock(&p->lock);
		pthread_join(p->thread, NULL);
		close_fds(p);
	}
	pthread_mutex_destroy(&p->lock);
}

/* --- the beginning of one -------------------------------------------------------------------------------------------- */

static struct aio_poll *poll_new(struct aio_context *ctx, const struct aio_poll_request *r)
{
	struct aio_poll *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->fd = fcntl(guest_file_poll_fd(r->file), F_DUPFD_CLOEXEC, 0);
	if (p->fd < 0) {
		free(p);
		return NULL;
	}
	p->ctx = aio_share(ctx);
	p->r = *r;
	guest_file_share(r->file);
	if (r->resfd)
		guest_file_share(r->resfd);
	p->waits = true;
	return p;
}

/* -EINVAL also for a file that cannot be waited for: that is always ready for what it will ever be. */
static int64_t poll_begin(struct aio_context *ctx, struct aio_poll *p)
{
	struct epoll_event event = {.events = p->r.events | EPOLLONESHOT, .data.ptr = p};
	int64_t err = 0;

	pthread_mutex_lock(&ctx->lock);
	if (!ctx->live)
		err = -EINVAL;
	else if (epoll_ctl(ctx->ns->poller.epoll_fd, EPOLL_CTL_ADD, p->fd, &event))
		err = errno == EPERM ? -EINVAL : -EAGAIN;
	else
		list_add_tail(&p->node, &ctx->polls);
	pthread_mutex_unlock(&ctx->lock);
	return err;
}

int64_t aio_poll(struct aio_context *ctx, const struct aio_poll_request *r)
{
	struct pollfd now = {.fd = guest_file_poll_fd(r->file), .events = (short)r->events};
	struct aio_poll *p;
	int64_t err;

	if (poll(&now, 1, 0) == 1)
		return now.revents;
	err = poller_start(&ctx->ns->poller);
	if (err)
		return err;
	p = poll_new(ctx, r);
	if (!p)
		return -EAGAIN;
	err = poll_begin(ctx, p);
	if (err)
		poll_free(p);
	return err;
}
