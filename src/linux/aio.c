/* SPDX-License-Identifier: MIT */
/* aio.c - see aio.h. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../mm/lock.h"
#include "../mm/shmem.h"
#include "aio.h"
#include "sleep.h"
#include "task.h"

#define RING_PATH	 "/[aio] (deleted)"
#define RING_MAGIC	 0xa10a10a1u
#define RING_BYTES_LIMIT 0x10000000u
#define EVENTS_AT_ONCE	 32
#define EVENTS_PER_PAGE	 (PAGE_SIZE / sizeof(struct io_event))

/* What libraries know of the ring: it takes the place of one event. */
struct aio_ring {
	uint32_t id;
	uint32_t nr;
	uint32_t head; /* the guest may write it */
	uint32_t tail;
	uint32_t magic, compat, incompat, header_bytes;
};

_Static_assert(sizeof(struct aio_ring) == sizeof(struct io_event), "the head takes the place of one event");

/* A task that waits for events. */
struct aio_waiter {
	struct list_head node; /* (ctx->lock) */
	struct task *task;
	struct aio_context *ctx;
	bool any; /* also without an event */
};

static struct vm_operations aio_vm_ops;
static pthread_once_t aio_vm_ops_once = PTHREAD_ONCE_INIT;

/* --- the sandbox's --------------------------------------------------------------------------------------------------- */

struct aio_ns *aio_ns_create(void)
{
	struct aio_ns *ns = calloc(1, sizeof(*ns));

	if (!ns)
		return NULL;
	pthread_mutex_init(&ns->lock, NULL);
	ns->max_nr = AIO_DEFAULT_MAX_NR;
	aio_poller_init(&ns->poller);
	return ns;
}

void aio_ns_destroy(struct aio_ns *ns)
{
	if (!ns)
		return;
	aio_poller_destroy(&ns->poller);
	pthread_mutex_destroy(&ns->lock);
	free(ns);
}

static uint64_t read_locked(struct aio_ns *ns, const uint64_t *value)
{
	pthread_mutex_lock(&ns->lock);
	uint64_t now = *value;
	pthread_mutex_unlock(&ns->lock);
	return now;
}

uint64_t aio_ns_nr(struct aio_ns *ns)
{
	return read_locked(ns, &ns->nr);
}

uint64_t aio_ns_max_nr(struct aio_ns *ns)
{
	return read_locked(ns, &ns->max_nr);
}

void aio_ns_set_max_nr(struct aio_ns *ns, uint64_t max_nr)
{
	pthread_mutex_lock(&ns->lock);
	ns->max_nr = max_nr;
	pthread_mutex_unlock(&ns->lock);
}

bool aio_ns_is_empty(struct aio_ns *ns)
{
	pthread_mutex_lock(&ns->lock);
	bool empty = !ns->nr_contexts;
	pthread_mutex_unlock(&ns->lock);
	return empty;
}

/* Counts a context: 0, or -EAGAIN. */
static int ns_add(struct aio_ns *ns, unsigned int nr)
{
	int err = -EAGAIN;

	pthread_mutex_lock(&ns->lock);
	if (ns->nr + nr <= ns->max_nr) {
		ns->nr += nr;
		ns->nr_contexts++;
		err = 0;
	}
	pthread_mutex_unlock(&ns->lock);
	return err;
}

static void ns_remove(struct aio_ns *ns, unsigned int nr)
{
	pthread_mutex_lock(&ns->lock);
	ns->nr -= nr;
	ns->nr_contexts--;
	pthread_mutex_unlock(&ns->lock);
}

/* --- references ------------------------------------------------------------------------------------------------------ */

struct aio_context *aio_share(struct aio_context *ctx)
{
	atomic_fetch_add(&ctx->refs, 1);
	return ctx;
}

void aio_put(struct aio_context *ctx)
{
	if (atomic_fetch_sub(&ctx->refs, 1) != 1)
		return;
	mmdrop(ctx->mm);
	ns_remove(ctx->ns, ctx->max_nr);
	pthread_mutex_destroy(&ctx->lock);
	free(ctx);
}

static void wake_waiters(struct aio_context *ctx)
{
	struct aio_waiter *w;

	list_for_each_entry (w, &ctx->waiters, node)
		task_wake(w->task);
}

/* It takes no more, and what waits in it is forgotten. False: that was so before. */
static bool kill_context(struct aio_context *ctx)
{
	pthread_mutex_lock(&ctx->lock);
	bool was_live = ctx->live;
	ctx->live = false;
	aio_poll_drop_all(ctx);
	wake_waiters(ctx);
	pthread_mutex_unlock(&ctx->lock);
	return was_live;
}

/* --- the area of a ring ---------------------------------------------------------------------------------------------- */

static void ring_open(struct vma *vma)
{
	struct aio_context *ctx = aio_share(vma->private_data);

	pthread_mutex_lock(&ctx->ns->lock);
	ctx->nr_areas += vma->mm == ctx->mm;
	pthread_mutex_unlock(&ctx->ns->lock);
}

static void release_ring(struct aio_context *ctx)
{
	struct page **pages;

	kill_context(ctx);
	pthread_mutex_lock(&ctx->lock);
	pages = ctx->pages;
	ctx->pages = NULL;
	pthread_mutex_unlock(&ctx->lock);
	if (pages)
		put_user_pages(ctx->mm, (unsigned int)(ctx->bytes >> PAGE_SHIFT), pages);
	free(pages);
}

static void ring_close(struct vma *vma)
{
	struct aio_context *ctx = vma->private_data;
	bool last;

	pthread_mutex_lock(&ctx->ns->lock);
	last = vma->mm == ctx->mm && !--ctx->nr_areas;
	pthread_mutex_unlock(&ctx->ns->lock);
	if (last)
		release_ring(ctx);
	aio_put(ctx);
}

static void make_vm_ops(void)
{
	aio_vm_ops = shmem_vm_ops;
	aio_vm_ops.open = ring_open;
	aio_vm_ops.close = ring_close;
}

static int64_t map_ring(struct aio_context *ctx)
{
	struct mmap_request r = {.length = ctx->bytes,
				 .prot = PROT_BITS_READ | PROT_BITS_WRITE,
				 .flags = MAP_SHARED,
				 .extra_flags = VM_DONTEXPAND,
				 .vm_ops = &aio_vm_ops,
				 .private_data = ctx};
	int64_t at;

	pthread_once(&aio_vm_ops_once, make_vm_ops);
	r.file = shmem_create(ctx->mm->host, ctx->bytes, RING_PATH);
	if (!r.file)
		return -ENOMEM;
	at = mm_mmap(ctx->mm, &r);
	backing_put(r.file);
	return at;
}

static struct aio_ring *ring_head(const struct aio_context *ctx)
{
	return page_address(ctx->mm->frames, ctx->pages[0]);
}

static struct io_event *ring_event(const struct aio_context *ctx, uint32_t index)
{
	struct page *page = ctx->pages[(index + 1) / EVENTS_PER_PAGE];

	return (struct io_event *)page_address(ctx->mm->frames, page) + (index + 1) % EVENTS_PER_PAGE;
}

/* --- making and ending ----------------------------------------------------------------------------------------------- */

static struct aio_context *context_new(struct task *t, unsigned int nr, uint64_t nr_events)
{
	struct aio_context *ctx = calloc(1, sizeof(*ctx));

	if (!ctx)
		return NULL;
	ctx->ns = t->sandbox->aio;
	ctx->mm = t->mm;
	mmgrab(ctx->mm);
	ctx->max_nr = nr;
	/* One place for the head, and two more; then as many as the pages have. */
	ctx->bytes = page_align_up((nr_events + 3) * sizeof(struct io_event));
	ctx->nr_events = (uint32_t)(ctx->bytes / sizeof(struct io_event) - 1);
	atomic_store(&ctx->refs, 1);
	pthread_mutex_init(&ctx->lock, NULL);
	list_init(&ctx->waiters);
	list_init(&ctx->polls);
	return ctx;
}

/* Holds the ring's frames, writes its head. 0 or -ENOMEM; a guest that unmaps it meanwhile has a context that is dead. */
static int open_ring(struct aio_context *ctx, gva_t at)
{
	unsigned int nr = (unsigned int)(ctx->bytes >> PAGE_SHIFT);
	struct page **pages = calloc(nr, sizeof(struct page *));
	int64_t got = pages ? get_user_pages(ctx->mm, at, nr, GUP_WRITE, pages) : 0;
	bool mapped;

	if (got < (int64_t)nr) {
		if (got > 0)
			put_user_pages(ctx->mm, (unsigned int)got, pages);
		free(pages);
		return -ENOMEM;
	}
	pthread_mutex_lock(&ctx->ns->lock);
	pthread_mutex_lock(&ctx->lock);
	mapped = ctx->nr_areas;
	if (mapped) {
		ctx->pages = pages;
		*ring_head(ctx) = (struct aio_ring){.id = (uint32_t)(at >> PAGE_SHIFT),
						    .nr = ctx->nr_events,
						    .magic = RING_MAGIC,
						    .compat = 1,
						    .header_bytes = sizeof(struct aio_ring)};
		ctx->live = true;
	}
	pthread_mutex_unlock(&ctx->lock);
	pthread_mutex_unlock(&ctx->ns->lock);
	if (!mapped) {
		put_user_pages(ctx->mm, nr, pages);
		free(pages);
	}
	return mapped ? 0 : -ENOMEM;
}

int aio_create(struct task *t, unsigned int nr, gva_t *at)
{
	uint64_t least = (uint64_t)sysconf(_SC_NPROCESSORS_CONF) * 4, nr_events = max_u64(nr, least) * 2;
	struct aio_context *ctx;
	int64_t ret;

	if (nr_events > RING_BYTES_LIMIT / sizeof(struct io_event))
		return -EINVAL;
	ret = ns_add(t->sandbox->aio, nr);
	if (ret)
		return (int)ret;
	ctx = context_new(t, nr, nr_events);
	if (!ctx) {
		ns_remove(t->sandbox->aio, nr);
		return -ENOMEM;
	}
	ret = map_ring(ctx);
	if (ret >= 0) {
		*at = (gva_t)ret;
		ret = open_ring(ctx, *at);
		if (ret)
			mm_munmap(t->mm, *at, ctx->bytes);
	}
	aio_put(ctx);
	return (int)ret;
}

struct aio_context *aio_get(struct task *t, gva_t at)
{
	struct aio_context *ctx = NULL;
	const struct vma *vma;

	mm_read_lock(t->mm);
	vma = vma_find(&t->mm->vmas, at);
	if (vma && vma->start == at && vma->vm_ops == &aio_vm_ops && !vma->pgoff)
		ctx = vma->private_data;
	ctx = ctx && ctx->mm == t->mm ? aio_share(ctx) : NULL;
	mm_read_unlock(t->mm);
	if (!ctx)
		return NULL;
	pthread_mutex_lock(&ctx->lock);
	bool live = ctx->live;
	pthread_mutex_unlock(&ctx->lock);
	if (live)
		return ctx;
	aio_put(ctx);
	return NULL;
}

int aio_destroy(struct task *t, gva_t at)
{
	struct aio_context *ctx = aio_get(t, at);
	bool ended = ctx && kill_context(ctx);

	if (ended)
		mm_munmap(t->mm, at, ctx->bytes);
	if (ctx)
		aio_put(ctx);
	return ended ? 0 : -EINVAL;
}

/* --- events ---------------------------------------------------------------------------------------------------------- */

static uint32_t load_head(const struct aio_context *ctx)
{
	return __atomic_load_n(&ring_head(ctx)->head, __ATOMIC_ACQUIRE);
}

/* How many nobody has taken. A tail that the guest has written counts for taking, ours for room. */
static uint32_t nr_unread(const struct aio_context *ctx, uint32_t tail)
{
	uint32_t head = load_head(ctx);

	return head == tail
		       ? 0
		       : (tail % ctx->nr_events + ctx->nr_events - head % ctx->nr_events) % ctx->nr_events;
}

static uint32_t load_tail(const struct aio_context *ctx)
{
	return __atomic_load_n(&ring_head(ctx)->tail, __ATOMIC_ACQUIRE);
}

bool aio_reserve(struct aio_context *ctx)
{
	pthread_mutex_lock(&ctx->lock);
	bool room = ctx->live && ctx->nr_under_way + nr_unread(ctx, ctx->tail) < ctx->nr_events - 1;
	ctx->nr_under_way += room;
	pthread_mutex_unlock(&ctx->lock);
	return room;
}

void aio_unreserve(struct aio_context *ctx)
{
	pthread_mutex_lock(&ctx->lock);
	ctx->nr_under_way--;
	pthread_mutex_unlock(&ctx->lock);
}

void aio_complete_locked(struct aio_context *ctx, const struct io_event *event)
{
	ctx->nr_under_way--;
	if (!ctx->live)
		return;
	*ring_event(ctx, ctx->tail) = *event;
	ctx->tail = (ctx->tail + 1) % ctx->nr_events;
	__atomic_store_n(&ring_head(ctx)->tail, ctx->tail, __ATOMIC_RELEASE);
	wake_waiters(ctx);
}

/* One that is full counts no further, rather than have us wait. */
void aio_tell(const struct guest_file *resfd)
{
	struct pollfd room = {.fd = resfd->host_fd, .events = POLLOUT};
	const uint64_t one = 1;

	if (poll(&room, 1, 0) == 1 && write(resfd->host_fd, &one, sizeof(one)) < 0)
		return;
}

void aio_complete(struct aio_context *ctx, const struct io_event *event, const struct guest_file *resfd)
{
	pthread_mutex_lock(&ctx->lock);
	aio_complete_locked(ctx, event);
	pthread_mutex_unlock(&ctx->lock);
	if (resfd)
		aio_tell(resfd);
}

/* --- taking events --------------------------------------------------------------------------------------------------- */

/* Nobody else takes, and there is something to take, or the context is gone: we do. */
static bool claim(void *arg)
{
	struct aio_waiter *w = arg;
	struct aio_context *ctx = w->ctx;

	pthread_mutex_lock(&ctx->lock);
	bool claimed = !ctx->taking && (w->any || !ctx->live || nr_unread(ctx, load_tail(ctx)));
	ctx->taking |= claimed;
	pthread_mutex_unlock(&ctx->lock);
	return claimed;
}

static void unclaim(struct aio_context *ctx)
{
	pthread_mutex_lock(&ctx->lock);
	ctx->taking = false;
	wake_waiters(ctx);
	pthread_mutex_unlock(&ctx->lock);
}

/* Copies events from *head on, which it moves: how many, 0: there are no more, -EINVAL: the context is gone. */
static int copy_events(struct aio_context *ctx, uint32_t *head, struct io_event *to, int most)
{
	int n = 0;

	pthread_mutex_lock(&ctx->lock);
	if (ctx->live) {
		uint32_t tail = load_tail(ctx) % ctx->nr_events;
		for (; n < most && *head != tail; n++) {
			to[n] = *ring_event(ctx, *head);
			*head = (*head + 1) % ctx->nr_events;
		}
	} else {
		n = -EINVAL;
	}
	pthread_mutex_unlock(&ctx->lock);
	return n;
}

/* The head before, or false: nothing is there. */
static bool begin_taking(struct aio_context *ctx, uint32_t *head)
{
	pthread_mutex_lock(&ctx->lock);
	bool any = ctx->live && nr_unread(ctx, load_tail(ctx));
	*head = any ? load_head(ctx) % ctx->nr_events : 0;
	pthread_mutex_unlock(&ctx->lock);
	return any;
}

static void end_taking(struct aio_context *ctx, uint32_t head)
{
	pthread_mutex_lock(&ctx->lock);
	if (ctx->live)
		__atomic_store_n(&ring_head(ctx)->head, head, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&ctx->lock);
}

/* What is there, up to `most`, with the claim: how many, or -errno, and none is taken. */
static int64_t take_some(struct task *t, struct aio_context *ctx, gva_t to, int64_t most)
{
	struct io_event events[EVENTS_AT_ONCE];
	int64_t taken = 0;
	uint32_t head;

	if (!begin_taking(ctx, &head))
		return 0;
	while (taken < most) {
		int n = copy_events(ctx, &head, events,
				    (int)min_u64((uint64_t)(most - taken), EVENTS_AT_ONCE));
		if (n < 0)
			return n;
		if (!n)
			break;
		if (copy_to_user(t->mm, to + (uint64_t)taken * sizeof(*events), events,
				 (size_t)n * sizeof(*events)))
			return -EFAULT;
		taken += n;
	}
	end_taking(ctx, head);
	return taken;
}

static bool is_live(struct aio_context *ctx)
{
	pthread_mutex_lock(&ctx->lock);
	bool live = ctx->live;
	pthread_mutex_unlock(&ctx->lock);
	return live;
}

static int64_t take_until(struct task *t, struct aio_waiter *w, int64_t least, int64_t most, gva_t to,
			  const struct timespec *deadline)
{
	struct sleep sleep = {.done = claim, .ctx = w, .clock = CLOCK_MONOTONIC, .only_death = true};
	int64_t taken = 0, n = 0;

	for (;;) {
		int err = sleep_for(t, &sleep);
		if (err)
			return taken ? taken : err == -ETIMEDOUT ? 0 : err;
		n = is_live(w->ctx) ? take_some(t, w->ctx, to + (uint64_t)taken * sizeof(struct io_event),
						most - taken)
				    : -EINVAL;
		unclaim(w->ctx);
		taken += n > 0 ? n : 0;
		if (n < 0 || taken >= least)
			return taken || n >= 0 ? taken : n;
		/* The first look took what was there. */
		w->any = false;
		sleep.deadline = deadline;
		sleep.only_death = false;
	}
}

int64_t aio_take(struct task *t, struct aio_context *ctx, int64_t least, int64_t most, gva_t to,
		 const struct timespec *deadline)
{
	struct aio_waiter w = {.task = t, .ctx = ctx, .any = true};
	int64_t ret;

	pthread_mutex_lock(&ctx->lock);
	list_add_tail(&w.node, &ctx->waiters);
	pthread_mutex_unlock(&ctx->lock);
	ret = take_until(t, &w, least, most, to, deadline);
	pthread_mutex_lock(&ctx->lock);
	list_del(&w.node);
	pthread_mutex_unlock(&ctx->lock);
	return ret;
}
