/* SPDX-License-Identifier: MIT */
/*
 * aio.h - contexts of native asynchronous I/O: rings of events in the guest's memory, each named by its address.
 *
 * What does not wait for others is done when it is submitted (sys_aio.c), which the interface allows; a poll that has to wait is handed
 * to a thread of the sandbox (aio_poll.c).
 *
 *   I1  a context lives while an area of its own space shows its ring. The child of a fork sees the ring and has no context
 *   I2  the frames of the ring are held: events are written whatever the guest does to the area
 *   I3  operations under way and events that nobody has taken leave one place of the ring free, unless the guest writes its head
 * Locking: ns->lock and ctx->lock, both inside mmap_lock, ctx->lock inside ns->lock; guest memory is touched under neither.
 * Not here: cancelling what is not a poll (EINVAL, as in Linux for files).
 */
#ifndef LODGE_LINUX_AIO_H
#define LODGE_LINUX_AIO_H

#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "../mm/list.h"
#include "../mm/mm.h"

#define AIO_DEFAULT_MAX_NR 65536

struct aio_ring;
struct guest_file;
struct task;

/* Who waits for polls of a sandbox. */
struct aio_poller {
	pthread_mutex_t lock; /* a leaf */
	bool running, stop;   /* (lock) */
	pthread_t thread;
	int epoll_fd, wake_fd;	  /* (C) while it runs */
	struct list_head retired; /* (lock) struct aio_poll that are over, for the thread to free */
};

struct aio_ns {
	pthread_mutex_t lock;
	unsigned int nr_contexts; /* (lock) */
	uint64_t nr;		  /* (lock) operations that all contexts have room for: aio-nr */
	uint64_t max_nr;	  /* (lock) aio-max-nr */
	struct aio_poller poller;
};

struct aio_context {
	_Atomic uint32_t refs; /* areas, polls, calls */
	struct aio_ns *ns;     /* (C) */
	struct mm *mm;	       /* (C) whose it is; grabbed */
	unsigned int max_nr;   /* (C) as io_setup was told */
	uint32_t nr_events;    /* (C) places of the ring */
	uint64_t bytes;	       /* (C) of the ring */
	unsigned int nr_areas; /* (ns->lock) of mm */
	pthread_mutex_t lock;
	bool live;		  /* (lock) */
	struct page **pages;	  /* (lock) of the ring; NULL: it has none, and is not live */
	uint32_t tail;		  /* (lock) where the next event goes; the ring's own is a copy */
	uint32_t nr_under_way;	  /* (lock) */
	bool taking;		  /* (lock) somebody takes events */
	struct list_head waiters; /* (lock) struct aio_waiter */
	struct list_head polls;	  /* (lock) struct aio_poll that wait */
};

struct aio_ns *aio_ns_create(void);
/* Nobody is in it any more. NULL is allowed. */
void aio_ns_destroy(struct aio_ns *ns);
bool aio_ns_is_empty(struct aio_ns *ns);
/* aio-nr and aio-max-nr. */
uint64_t aio_ns_nr(struct aio_ns *ns);
uint64_t aio_ns_max_nr(struct aio_ns *ns);
void aio_ns_set_max_nr(struct aio_ns *ns, uint64_t max_nr);

/* A context with room for nr operations: 0 and its address, -EINVAL, -EAGAIN: more than there may be, -ENOMEM. */
int aio_create(struct task *t, unsigned int nr, gva_t *at);
/* Ends what waits in it and takes the ring away. 0 or -EINVAL. */
int aio_destroy(struct task *t, gva_t at);

/* The context of the caller's space at an address, with a reference; or NULL. */
struct aio_context *aio_get(struct task *t, gva_t at);
struct aio_context *aio_share(struct aio_context *ctx);
void aio_put(struct aio_context *ctx);

/* Room for the event of an operation: false, and there is none. */
bool aio_reserve(struct aio_context *ctx);
/* It is not needed after all. */
void aio_unreserve(struct aio_context *ctx);
/* It is: the operation is over. resfd: an eventfd that counts it, or NULL. */
void aio_complete(struct aio_context *ctx, const struct io_event *event, const struct guest_file *resfd);
/* The same with ctx->lock held, and without the eventfd. */
void aio_complete_locked(struct aio_context *ctx, const struct io_event *event);
void aio_tell(const struct guest_file *resfd);

/* At least `least` events, when nothing comes before, and at most `most`; deadline NULL: for ever. A count, or -errno. */
int64_t aio_take(struct task *t, struct aio_context *ctx, int64_t least, int64_t most, gva_t to,
		 const struct timespec *deadline);

/* --- aio_poll.c ----------------------------------------------------------------------------------------------------- */

/* A poll that was submitted. */
struct aio_poll_request {
	struct guest_file *file, *resfd; /* resfd may be NULL */
	uint32_t events;
	struct io_event event; /* but for its result */
};

/*
 * For an operation that room was reserved for: the events that are there already (and nothing else has happened), 0: it waits, and
 * completes later, or -errno.
 */
int64_t aio_poll(struct aio_context *ctx, const struct aio_poll_request *r);
/* Ends the poll that was submitted as `object`: -EINPROGRESS, and there is an event; or -EINVAL. */
int64_t aio_poll_cancel(struct aio_context *ctx, uint64_t object);
/* Ends all polls of a context without a word. The context's lock is held. */
void aio_poll_drop_all(struct aio_context *ctx);

void aio_poller_init(struct aio_poller *p);
void aio_poller_destroy(struct aio_poller *p);

#endif
