/* SPDX-License-Identifier: MIT */
/* pressure.c - see pressure.h. */
#include "pressure.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../mm/clock.h"
#include "../mm/quiet_thread.h"
#include "task.h"

#define TEXT_BYTES	   32 /* what is looked at of what is written */
#define WINDOW_MAX_US	   10000000u
#define LOOKS_PER_WINDOW   10
#define UNPRIVILEGED_US	   2000000u /* windows are a multiple of that, and so often it is looked at */
#define US_NS		   1000ull
#define THREAD_STACK_BYTES (64u << 10)

struct pressure {
	_Atomic uint32_t refs;
	struct pressure_monitor *monitor; /* (C) */
	struct memcg *cg;		  /* (C) one reference */
	bool privileged;		  /* (C) */
	int ready_fd;			  /* (C) the host's file, or -1 */
	/* The rest: the monitor's lock. */
	struct list_head node;
	bool epolled;
	int pair[2]; /* [0] is polled, [1] told; -1: no trigger was set */
	enum stall_kind kind;
	uint64_t threshold_ns, window_ns, next_ns; /* next_ns: when it is looked at again */
	uint64_t start_ns, start_total_ns;	   /* of the window under way */
	uint64_t before_ns;			   /* what the one before it had */
	uint64_t seen_total_ns, last_event_ns;
	bool pending; /* an event that waits for the end of the last one's window */
	bool told;    /* out-of-band data are there */
};

/* --- the thread ------------------------------------------------------------------------------ */

/* What the last window's worth of time had: the window under way, and of the one before in proportion. */
static uint64_t window_growth(struct pressure *p, uint64_t now, uint64_t total)
{
	uint64_t elapsed = now - p->start_ns, growth = total - p->start_total_ns;

	if (elapsed <= p->window_ns)
		return growth + (uint64_t)((double)p->before_ns * (double)(p->window_ns - elapsed) /
					   (double)p->window_ns);
	p->start_ns = now;
	p->start_total_ns = total;
	p->before_ns = growth;
	return growth;
}

static void tell(struct pressure *p)
{
	if (!p->told && send(p->pair[1], "", 1, MSG_OOB | MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
		p->told = true;
}

static void look_at(struct pressure *p, uint64_t now)
{
	struct stall_times times[NR_STALL_KINDS];

	p->next_ns = now + (p->privileged ? p->window_ns / LOOKS_PER_WINDOW : UNPRIVILEGED_US * US_NS);
	stall_read(&p->cg->stall, times);
	uint64_t total = times[p->kind].total_ns;
	if (total != p->seen_total_ns)
		p->pending |= window_growth(p, now, total) >= p->threshold_ns;
	p->seen_total_ns = total;
	if (!p->pending || now < p->last_event_ns + p->window_ns)
		return;
	p->pending = false;
	p->last_event_ns = now;
	tell(p);
}

/* When the next one is to be looked at. The lock is held. */
static uint64_t look_at_all(struct pressure_monitor *m)
{
	uint64_t now = clock_now_ns(), next = ~0ull;
	struct pressure *p;

	list_for_each_entry (p, &m->triggers, node) {
		if (now >= p->next_ns)
			look_at(p, now);
		next = min_u64(next, p->next_ns);
	}
	return next;
}

static void *monitor(void *arg)
{
	struct pressure_monitor *m = arg;

	pthread_setname_np(pthread_self(), "psimon");
	pthread_mutex_lock(&m->lock);
	while (!m->stop) {
		uint64_t next = look_at_all(m);
		const struct timespec until = {.tv_sec = (time_t)(next / 1000000000u),
					       .tv_nsec = (long)(next % 1000000000u)};
		if (next == ~0ull)
			pthread_cond_wait(&m->changed, &m->lock);
		else
			pthread_cond_clockwait(&m->changed, &m->lock, CLOCK_MONOTONIC, &until);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

void pressure_monitor_init(struct pressure_monitor *m)
{
	*m = (struct pressure_monitor){0};
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->changed, NULL);
	list_init(&m->triggers);
}

void pressure_monitor_destroy(struct pressure_monitor *m)
{
	pthread_mutex_lock(&m->lock);
	m->stop = true;
	pthread_cond_signal(&m->changed);
	bool running = m->running;
	pthread_mutex_unlock(&m->lock);
	if (running)
		pthread_join(m->thread, NULL);
	pthread_mutex_destroy(&m->lock);
	pthread_cond_destroy(&m->changed);
}

/* --- open files ------------------------------------------------------------------------------ */

struct pressure *pressure_create(struct task *t)
{
	struct pressure *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->refs = 1;
	p->monitor = &t->process->sandbox->pressure;
	p->privileged = cred_capable(&t->cred, CAP_SYS_RESOURCE);
	p->ready_fd = open("/proc/pressure/memory", O_RDONLY | O_CLOEXEC);
	p->pair[0] = p->pair[1] = -1;
	p->cg = t->mm->memcg;
	memcg_get(p->cg);
	list_init(&p->node);
	return p;
}

struct pressure *pressure_share(struct pressure *p)
{
	if (p)
		atomic_fetch_add(&p->refs, 1);
	return p;
}

void pressure_drop(struct pressure *p)
{
	if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
		return;
	pthread_mutex_lock(&p->monitor->lock);
	list_del(&p->node);
	pthread_mutex_unlock(&p->monitor->lock);
	for (unsigned int i = 0; i < 2; i++)
		if (p->pair[i] >= 0)
			close(p->pair[i]);
	if (p->ready_fd >= 0)
		close(p->ready_fd);
	memcg_put(p->cg);
	free(p);
}

/* --- setting --------------------------------------------------------------------------------- */

/* As the kernel reads it: the last byte that it looks at is the end of the text, whatever stands there. */
static int parse(struct pressure *p, const char *from, size_t bytes)
{
	static const char *const formats[NR_STALL_KINDS] = {"some %u %u", "full %u %u"};
	unsigned int threshold_us = 0, window_us = 0, kind = 0;
	char text[TEXT_BYTES];

	if (!bytes)
		return -EINVAL;
	bytes = min_u64(bytes, sizeof(text));
	memcpy(text, from, bytes);
	text[bytes - 1] = '\0';
	while (kind < NR_STALL_KINDS && sscanf(text, formats[kind], &threshold_us, &window_us) != 2)
		kind++;
	if (kind == NR_STALL_KINDS || (!p->privileged && window_us % UNPRIVILEGED_US) || !window_us ||
	    window_us > WINDOW_MAX_US || !threshold_us || threshold_us > window_us)
		return -EINVAL;
	p->kind = (enum stall_kind)kind;
	p->threshold_ns = threshold_us * US_NS;
	p->window_ns = window_us * US_NS;
	return 0;
}

/* A pair of sockets; what is read of the first is never taken out. */
static int make_pair(int pair[2])
{
	char c;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -errno;
	if (send(pair[1], "", 1, MSG_NOSIGNAL) == 1 && send(pair[1], "", 1, MSG_OOB | MSG_NOSIGNAL) == 1 &&
	    recv(pair[0], &c, 1, MSG_OOB) == 1)
		return 0;
	close(pair[0]);
	close(pair[1]);
	return -EOPNOTSUPP; /* a host without out-of-band data of such sockets */
}

static int start_thread(struct pressure_monitor *m)
{
	int err = m->running ? 0 : quiet_thread_create(&m->thread, THREAD_STACK_BYTES, 0, monitor, m);

	m->running = !err;
	return err ? -ENOMEM : 0;
}

/* The lock is held. */
static int set_trigger(struct pressure *p, const char *text, size_t bytes)
{
	struct stall_times times[NR_STALL_KINDS];
	int pair[2], err = p->pair[0] >= 0 ? -EBUSY : parse(p, text, bytes);

	if (!err)
		err = make_pair(pair);
	if (err)
		return err;
	err = start_thread(p->monitor);
	if (err) {
		close(pair[0]);
		close(pair[1]);
		return err;
	}
	memcpy(p->pair, pair, sizeof(pair));
	stall_read(&p->cg->stall, times);
	p->start_ns = p->next_ns = clock_now_ns();
	p->start_total_ns = p->seen_total_ns = times[p->kind].total_ns;
	list_add_tail(&p->node, &p->monitor->triggers);
	pthread_cond_signal(&p->monitor->changed);
	return 0;
}

int64_t pressure_write(struct pressure *p, const char *text, size_t bytes)
{
	pthread_mutex_lock(&p->monitor->lock);
	int err = bytes ? set_trigger(p, text, bytes) : -EINVAL;
	pthread_mutex_unlock(&p->monitor->lock);
	return err ? err : (int64_t)bytes;
}

/* --- polling --------------------------------------------------------------------------------- */

int pressure_poll_fd(struct pressure *p)
{
	pthread_mutex_lock(&p->monitor->lock);
	int fd = p->pair[0] >= 0 ? p->pair[0] : p->ready_fd;
	pthread_mutex_unlock(&p->monitor->lock);
	return fd;
}

void pressure_seen(struct pressure_monitor *m, int poll_fd)
{
	struct pressure *p;
	char c;

	pthread_mutex_lock(&m->lock);
	list_for_each_entry (p, &m->triggers, node) {
		if (p->told && (poll_fd < 0 ? p->epolled : p->pair[0] == poll_fd) &&
		    recv(p->pair[0], &c, 1, MSG_OOB | MSG_DONTWAIT) == 1)
			p->told = false;
	}
	pthread_mutex_unlock(&m->lock);
}

void pressure_epolled(struct pressure *p)
{
	pthread_mutex_lock(&p->monitor->lock);
	p->epolled = true;
	pthread_mutex_unlock(&p->monitor->lock);
}
