/* SPDX-License-Identifier: MIT */
/*
 * sys_poll.c - waiting for descriptors: poll, ppoll, select, pselect6, all by one ppoll of the host.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host_poll.h"
#include "pressure.h"
#include "sleep.h"
#include "syscall.h"

#define SIGSET_BYTES 8
#define NS_PER_MS    1000000l
#define US_PER_S     1000000l
#define MS_PER_S     1000

/* What select means by each of its sets, as in the kernel. */
#define SELECT_IN    (POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR | POLLNVAL)
#define SELECT_OUT   (POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR | POLLNVAL)
#define SELECT_EX    (POLLPRI | POLLNVAL)

/* --- the wait -------------------------------------------------------------------------------- */

/*
 * host_poll on guest descriptors. Closed ones are POLLNVAL, which makes the others not worth waiting for. fds[].fd is the
 * host's afterwards.
 */
static int64_t poll_run(struct task *t, struct pollfd *fds, unsigned int nr, const struct poll_deadline *d)
{
	static const struct poll_deadline now = {.set = true};
	unsigned int nr_closed = 0;
	int64_t ret;

	for (unsigned int i = 0; i < nr; i++) {
		const struct guest_file *file = fds[i].fd < 0 ? NULL : files_get_open(t->files, fds[i].fd);
		int host_fd = file ? guest_file_poll_fd(file) : -1;

		nr_closed += fds[i].fd >= 0 && host_fd < 0;
		/* A closed one is told from one to be ignored by its events, which are not used any more. */
		fds[i].events = fds[i].fd >= 0 && host_fd < 0 ? POLLNVAL : fds[i].events & ~POLLNVAL;
		if (file && guest_file_only_tells(file))
			fds[i].events &= ~(POLLOUT | POLLWRNORM | POLLWRBAND);
		if (file && file->pressure)
			fds[i].events &= ~PRESSURE_NEVER;
		fds[i].fd = host_fd;
		fds[i].revents = 0;
	}
	ret = host_poll(t, fds, nr, nr_closed ? &now : d);
	for (unsigned int i = 0; ret > 0 && i < nr; i++)
		if (fds[i].fd >= 0 && (fds[i].revents & POLLPRI))
			pressure_seen(&t->process->sandbox->pressure, fds[i].fd);
	if (!nr_closed || (ret < 0 && ret != -EINTR))
		return ret;
	for (unsigned int i = 0; i < nr; i++)
		if (fds[i].fd < 0 && (fds[i].events & POLLNVAL))
			fds[i].revents = POLLNVAL;
	return (ret < 0 ? 0 : ret) + nr_closed;
}

/* --- the signal mask of ppoll and pselect6 --------------------------------------------------- */

static int mask_enter(struct task *t, gva_t mask, uint64_t bytes)
{
	uint64_t set;

	if (!mask)
		return 0;
	if (bytes != SIGSET_BYTES)
		return -EINVAL;
	if (copy_from_user(t->mm, &set, mask, sizeof(set)))
		return -EFAULT;
	t->sig.saved_mask = t->sig.blocked;
	signal_set_blocked(t, set);
	return 0;
}

/* After an interruption the mask stays until the handler has run. */
static void mask_leave(struct task *t, gva_t mask, int64_t ret)
{
	if (!mask)
		return;
	if (ret == -EINTR)
		t->sig.restore_mask = true;
	else
		signal_set_blocked(t, t->sig.saved_mask);
}

/* --- poll ------------------------------------------------------------------------------------ */

static int put_revents(struct task *t, gva_t to, const struct pollfd *fds, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		gva_t field = to + i * sizeof(*fds) + offsetof(struct pollfd, revents);
		if (copy_to_user(t->mm, field, &fds[i].revents, sizeof(fds[i].revents)))
			return -EFAULT;
	}
	return 0;
}

static int64_t poll_guest(struct task *t, gva_t address, uint64_t count, const struct poll_deadline *d)
{
	unsigned int nr = (unsigned int)count;
	struct pollfd *fds;
	int64_t ret = -EFAULT;

	if (nr > files_limit())
		return -EINVAL;
	fds = calloc(nr ? nr : 1, sizeof(*fds));
	if (!fds)
		return -ENOMEM;
	if (!copy_from_user(t->mm, fds, address, nr * sizeof(*fds)))
		ret = poll_run(t, fds, nr, d);
	if (ret >= 0 && put_revents(t, address, fds, nr))
		ret = -EFAULT;
	free(fds);
	return ret;
}

/* b->arg: address and number of descriptors, whether there is a deadline. */
int64_t poll_again(struct task *t, const struct restart_block *b)
{
	const struct poll_deadline d = {.set = b->arg[2], .at = b->deadline};
	int64_t ret = poll_guest(t, b->arg[0], b->arg[1], &d);

	return ret == -EINTR ? task_restart_with(t, b) : ret;
}

static int64_t sys_poll(struct task *t, const uint64_t a[6])
{
	struct poll_deadline d = {0};
	int ms = (int)a[2];

	if (ms >= 0)
		poll_deadline_set(&d, &(struct timespec){ms / MS_PER_S, ms % MS_PER_S * NS_PER_MS});
	return poll_again(t, &(struct restart_block){.fn = poll_again,
						     .deadline = d.at,
						     .arg = {a[0], a[1], d.set}});
}

/* The kernel stores what is left of the time, and does not mind when it cannot. */
static void put_timespec_left(struct task *t, gva_t to, const struct poll_deadline *d)
{
	struct timespec left;

	if (!d->set)
		return;
	left = sleep_left(CLOCK_MONOTONIC, &d->at);
	(void)copy_to_user(t->mm, to, &left, sizeof(left));
}

static int get_timespec_deadline(struct task *t, gva_t from, struct poll_deadline *d)
{
	struct timespec span;
	int err = from ? sleep_get_timespec(t, from, &span) : 0;

	if (from && !err)
		poll_deadline_set(d, &span);
	return err;
}

static int64_t sys_ppoll(struct task *t, const uint64_t a[6])
{
	struct poll_deadline d = {0};
	int64_t ret = get_timespec_deadline(t, a[2], &d);

	if (!ret)
		ret = mask_enter(t, a[3], a[4]);
	if (ret)
		return ret;
	t->restart = RESTART_NO_HANDLER;
	ret = poll_guest(t, a[0], a[1], &d);
	mask_leave(t, a[3], ret);
	put_timespec_left(t, a[2], &d);
	return ret;
}

/* --- select ---------------------------------------------------------------------------------- */

struct select_set {
	gva_t address; /* 0: not given */
	short events;
	uint64_t bits[NR_OPEN_MAX / 64];
};

struct select_op {
	int nr; /* descriptors 0..nr-1 */
	struct select_set set[3];
	unsigned int nr_fds;
	struct pollfd fds[NR_OPEN_MAX];
	int guest_fd[NR_OPEN_MAX]; /* of fds[] */
};

static bool has_bit(const uint64_t *bits, int n)
{
	return bits[n / 64] >> n % 64 & 1;
}

static size_t set_bytes(int nr)
{
	return ((size_t)nr + 63) / 64 * 8;
}

static int select_get(struct task *t, struct select_op *op)
{
	for (int s = 0; s < 3; s++) {
		memset(op->set[s].bits, 0, set_bytes(op->nr));
		if (op->set[s].address &&
		    copy_from_user(t->mm, op->set[s].bits, op->set[s].address, set_bytes(op->nr)))
			return -EFAULT;
	}
	for (int fd = 0; fd < op->nr; fd++) {
		short events = 0;

		for (int s = 0; s < 3; s++)
			if (has_bit(op->set[s].bits, fd))
				events |= op->set[s].events;
		if (!events)
			continue;
		if (!files_get(t->files, fd))
			return -EBADF;
		op->guest_fd[op->nr_fds] = fd;
		op->fds[op->nr_fds++] = (struct pollfd){.fd = fd, .events = events};
	}
	return 0;
}

/* Leaves in the sets what was in them and is ready; returns how many bits that is. */
static int64_t select_put(struct task *t, struct select_op *op)
{
	int64_t nr_ready = 0;

	for (int s = 0; s < 3; s++) {
		uint64_t ready[NR_OPEN_MAX / 64];

		memset(ready, 0, set_bytes(op->nr));
		for (unsigned int i = 0; i < op->nr_fds; i++) {
			if (!has_bit(op->set[s].bits, op->guest_fd[i]) ||
			    !(op->fds[i].revents & op->set[s].events))
				continue;
			ready[op->guest_fd[i] / 64] |= 1ull << op->guest_fd[i] % 64;
			nr_ready++;
		}
		if (op->set[s].address && copy_to_user(t->mm, op->set[s].address, ready, set_bytes(op->nr)))
			return -EFAULT;
	}
	return nr_ready;
}

/* Linux looks at no more of a set than it has places for files; a table here begins with the first 1024. */
static int select_bits(struct task *t, int nr)
{
	int places = files_end(t->files);

	places = places > NR_OPEN_DEFAULT ? places : NR_OPEN_DEFAULT;
	return nr < places ? nr : places;
}

static int64_t select_guest(struct task *t, const uint64_t a[6], const struct poll_deadline *d)
{
	static const short events[3] = {SELECT_IN, SELECT_OUT, SELECT_EX};
	struct select_op op; /* what is large of it is not cleared */
	int64_t ret;

	if ((int)a[0] < 0)
		return -EINVAL;
	op.nr = select_bits(t, (int)a[0]);
	op.nr_fds = 0;
	for (int s = 0; s < 3; s++) {
		op.set[s].address = a[1 + s];
		op.set[s].events = events[s];
	}
	ret = select_get(t, &op);
	if (ret)
		return ret;
	ret = poll_run(t, op.fds, op.nr_fds, d);
	return ret < 0 ? ret : select_put(t, &op);
}

static int get_timeval_deadline(struct task *t, gva_t from, struct poll_deadline *d)
{
	struct timeval tv;
	struct timespec span;

	if (!from)
		return 0;
	if (copy_from_user(t->mm, &tv, from, sizeof(tv)))
		return -EFAULT;
	/* Microseconds may be more than a second, as the kernel has it. */
	if (__builtin_add_overflow(tv.tv_sec, tv.tv_usec / US_PER_S, &span.tv_sec))
		return -EINVAL;
	span.tv_nsec = tv.tv_usec % US_PER_S * 1000;
	if (span.tv_sec < 0 || span.tv_nsec < 0)
		return -EINVAL;
	poll_deadline_set(d, &span);
	return 0;
}

static int64_t sys_select(struct task *t, const uint64_t a[6])
{
	struct poll_deadline d = {0};
	int64_t ret = get_timeval_deadline(t, a[4], &d);

	if (ret)
		return ret;
	t->restart = RESTART_NO_HANDLER;
	ret = select_guest(t, a, &d);
	if (d.set) {
		struct timespec left = sleep_left(CLOCK_MONOTONIC, &d.at);
		struct timeval tv = {.tv_sec = left.tv_sec, .tv_usec = left.tv_nsec / 1000};
		(void)copy_to_user(t->mm, a[4], &tv, sizeof(tv));
	}
	return ret;
}

static int64_t sys_pselect6(struct task *t, const uint64_t a[6])
{
	struct poll_deadline d = {0};
	uint64_t mask[2] = {0}; /* address and size */
	int64_t ret;

	if (a[5] && copy_from_user(t->mm, mask, a[5], sizeof(mask)))
		return -EFAULT;
	ret = get_timespec_deadline(t, a[4], &d);
	if (!ret)
		ret = mask_enter(t, mask[0], mask[1]);
	if (ret)
		return ret;
	t->restart = RESTART_NO_HANDLER;
	ret = select_guest(t, a, &d);
	mask_leave(t, mask[0], ret);
	put_timespec_left(t, a[4], &d);
	return ret;
}

const struct syscall_entry sys_poll_calls[] = {
	SYSCALL_ENTRY(poll), SYSCALL_ENTRY(ppoll), SYSCALL_ENTRY(select), SYSCALL_ENTRY(pselect6), {0},
};
