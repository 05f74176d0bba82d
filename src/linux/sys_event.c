/* SPDX-License-Identifier: MIT */
/*
 * sys_event.c - descriptors that events come from: eventfd, timerfd, epoll.
 *
 * The descriptors are the host's. epoll is asked about host descriptors, and the guest's own word travels with each.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "path.h"
#include "host_poll.h"
#include "pressure.h"
#include "sleep.h"
#include "syscall.h"

#define SIGSET_BYTES	 8
#define EPOLL_MAX_EVENTS NR_OPEN_MAX /* at once: as many as a table of files has places */

/* Takes a host descriptor, or the errno of not having got one. */
static int64_t install(struct task *t, int host_fd, bool cloexec)
{
	return host_fd < 0 ? -errno : files_install(t->files, host_fd, cloexec, 0, NULL);
}

/* --- eventfd and timerfd -------------------------------------------------------------------- */

static int64_t sys_eventfd2(struct task *t, const uint64_t a[6])
{
	int flags = (int)a[1];

	return install(t, eventfd((unsigned int)a[0], flags | EFD_CLOEXEC), flags & EFD_CLOEXEC);
}

static int64_t sys_eventfd(struct task *t, const uint64_t a[6])
{
	return sys_eventfd2(t, (const uint64_t[6]){a[0]});
}

static int64_t sys_timerfd_create(struct task *t, const uint64_t a[6])
{
	int flags = (int)a[1];

	return install(t, timerfd_create((int)a[0], flags | TFD_CLOEXEC), flags & TFD_CLOEXEC);
}

#define TIMERFD_FLAGS (TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)

static bool is_span(const struct timespec *ts)
{
	return ts->tv_sec >= 0 && ts->tv_nsec >= 0 && ts->tv_nsec < 1000000000;
}

static int64_t sys_timerfd_settime(struct task *t, const uint64_t a[6])
{
	struct itimerspec new, old;
	int fd;

	if (copy_from_user(t->mm, &new, a[2], sizeof(new)))
		return -EFAULT;
	if (((int)a[1] & ~TIMERFD_FLAGS) || !is_span(&new.it_value) || !is_span(&new.it_interval))
		return -EINVAL;
	fd = files_host_fd(t->files, (int)a[0]);
	if (fd < 0)
		return -EBADF;
	if (timerfd_settime(fd, (int)a[1], &new, &old))
		return -errno;
	return a[3] && copy_to_user(t->mm, a[3], &old, sizeof(old)) ? -EFAULT : 0;
}

static int64_t sys_timerfd_gettime(struct task *t, const uint64_t a[6])
{
	int fd = files_host_fd(t->files, (int)a[0]);
	struct itimerspec now;

	if (fd < 0)
		return -EBADF;
	if (timerfd_gettime(fd, &now))
		return -errno;
	return copy_to_user(t->mm, a[1], &now, sizeof(now)) ? -EFAULT : 0;
}

/* --- epoll ---------------------------------------------------------------------------------- */

static int64_t sys_epoll_create1(struct task *t, const uint64_t a[6])
{
	int flags = (int)a[0];

	return install(t, epoll_create1(flags | EPOLL_CLOEXEC), flags & EPOLL_CLOEXEC);
}

static int64_t sys_epoll_create(struct task *t, const uint64_t a[6])
{
	if ((int)a[0] <= 0)
		return -EINVAL;
	return sys_epoll_create1(t, (const uint64_t[6]){0});
}

static int64_t sys_epoll_ctl(struct task *t, const uint64_t a[6])
{
	int epoll = files_host_fd(t->files, (int)a[0]);
	const struct guest_file *file = files_get(t->files, (int)a[2]);
	int fd = file ? guest_file_poll_fd(file) : -EBADF;
	struct epoll_event event = {0};

	if ((int)a[1] != EPOLL_CTL_DEL && copy_from_user(t->mm, &event, a[3], sizeof(event)))
		return -EFAULT;
	if (epoll < 0 || fd < 0)
		return -EBADF;
	/* It would keep lodge's machine awake, not the guest's. */
	event.events &= ~(uint32_t)EPOLLWAKEUP;
	if (file && guest_file_only_tells(file))
		event.events &= ~(uint32_t)(EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
	if (file && file->pressure) {
		event.events &= ~(uint32_t)PRESSURE_NEVER;
		pressure_epolled(file->pressure);
	}
	return epoll_ctl(epoll, (int)a[1], fd, &event) ? -errno : 0;
}

struct epoll_set {
	int fd, nr;
	struct epoll_event *events;
};

/* In whole milliseconds, and no longer than about ten days at once. */
static int wait_for_events(void *ctx, const struct timespec *left, const sigset_t *mask)
{
	const struct epoll_set *set = ctx;
	int64_t ms = -1;

	if (left)
		ms = (int64_t)min_u64((uint64_t)left->tv_sec, 1000000) * 1000 +
		     (left->tv_nsec + 999999) / 1000000;
	return epoll_pwait(set->fd, set->events, set->nr, (int)ms, mask);
}

/* span NULL: for ever. */
static int64_t do_epoll_wait(struct task *t, const uint64_t a[6], const struct timespec *span)
{
	const struct guest_file *file = files_get_open(t->files, (int)a[0]);
	int nr = (int)a[2], fd;
	struct epoll_event events[EPOLL_MAX_EVENTS];
	struct poll_deadline deadline = {0};
	int64_t ret;

	if (!file)
		return -EBADF;
	fd = file->host_fd;
	if (nr <= 0 || nr > (int)(INT32_MAX / sizeof(*events)))
		return -EINVAL;
	if (!access_ok(a[1], (uint64_t)nr * sizeof(*events)))
		return -EFAULT;
	nr = nr < EPOLL_MAX_EVENTS ? nr : EPOLL_MAX_EVENTS;
	if (span)
		poll_deadline_set(&deadline, span);
	ret = host_wait_masked(t, wait_for_events, &(struct epoll_set){fd, nr, events}, &deadline);
	for (int64_t i = 0; i < ret; i++)
		if (events[i].events & EPOLLPRI)
			pressure_seen(&t->process->sandbox->pressure, -1);
	if (ret > 0 && copy_to_user(t->mm, a[1], events, (size_t)ret * sizeof(*events)))
		ret = -EFAULT;
	return ret;
}

static int64_t epoll_wait_ms(struct task *t, const uint64_t a[6])
{
	int ms = (int)a[3];
	const struct timespec span = {ms / 1000, ms % 1000 * 1000000l};

	return do_epoll_wait(t, a, ms < 0 ? NULL : &span);
}

static int64_t sys_epoll_wait(struct task *t, const uint64_t a[6])
{
	return epoll_wait_ms(t, a);
}

/* The mask stays until a handler has run when the wait was interrupted. */
static int64_t with_mask(struct task *t, gva_t mask, uint64_t bytes, const uint64_t a[6],
			 const struct timespec *span, bool by_span)
{
	uint64_t set;
	int64_t ret;

	if (mask) {
		if (bytes != SIGSET_BYTES)
			return -EINVAL;
		if (copy_from_user(t->mm, &set, mask, sizeof(set)))
			return -EFAULT;
		t->sig.saved_mask = t->sig.blocked;
		signal_set_blocked(t, set);
	}
	ret = by_span ? do_epoll_wait(t, a, span) : epoll_wait_ms(t, a);
	if (mask && ret == -EINTR)
		t->sig.restore_mask = true;
	else if (mask)
		signal_set_blocked(t, t->sig.saved_mask);
	return ret;
}

static int64_t sys_epoll_pwait(struct task *t, const uint64_t a[6])
{
	return with_mask(t, a[4], a[5], a, NULL, false);
}

static int64_t sys_epoll_pwait2(struct task *t, const uint64_t a[6])
{
	struct timespec span;
	int err = a[3] ? sleep_get_timespec(t, a[3], &span) : 0;

	return err ? err : with_mask(t, a[4], a[5], a, a[3] ? &span : NULL, true);
}

/* --- inotify -------------------------------------------------------------------------------- */

static int64_t sys_inotify_init1(struct task *t, const uint64_t a[6])
{
	int flags = (int)a[0];

	return install(t, inotify_init1(flags | IN_CLOEXEC), flags & IN_CLOEXEC);
}

static int64_t sys_inotify_init(struct task *t, const uint64_t a[6])
{
	(void)a;
	return sys_inotify_init1(t, (const uint64_t[6]){0});
}

/* The object that the guest's path leads to is watched, not the path. */
/* What says anything at all. */
#define INOTIFY_BITS                                                                             \
	(IN_ALL_EVENTS | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_ONLYDIR | IN_DONT_FOLLOW | \
	 IN_EXCL_UNLINK | IN_MASK_ADD | IN_MASK_CREATE | IN_ISDIR | IN_ONESHOT)

static int64_t sys_inotify_add_watch(struct task *t, const uint64_t a[6])
{
	uint32_t mask = (uint32_t)a[2];
	unsigned int how =
		(mask & IN_DONT_FOLLOW ? PATH_NOFOLLOW : 0) | (mask & IN_ONLYDIR ? PATH_DIRECTORY : 0);
	int host_fd = files_host_fd(t->files, (int)a[0]), ret;
	struct path_target target;
	struct path p;

	if (!(mask & INOTIFY_BITS) ||
	    (mask & (IN_MASK_ADD | IN_MASK_CREATE)) == (IN_MASK_ADD | IN_MASK_CREATE))
		return -EINVAL;
	if (!files_get_open(t->files, (int)a[0]))
		return -EBADF;
	ret = path_get(t, AT_FDCWD, a[1], &p);
	if (!ret)
		ret = path_target(t, &p, how, &target);
	if (ret)
		return ret;
	ret = inotify_add_watch(host_fd, path_link(target.fd).text, mask & ~(uint32_t)IN_DONT_FOLLOW);
	if (ret < 0)
		ret = -errno;
	close(target.fd);
	return ret;
}

static int64_t sys_inotify_rm_watch(struct task *t, const uint64_t a[6])
{
	int host_fd = files_host_fd(t->files, (int)a[0]);

	if (host_fd < 0)
		return -EBADF;
	return inotify_rm_watch(host_fd, (int)a[1]) ? -errno : 0;
}

const struct syscall_entry sys_event_calls[] = {
	SYSCALL_ENTRY(inotify_init),	  SYSCALL_ENTRY(inotify_init1),
	SYSCALL_ENTRY(inotify_add_watch), SYSCALL_ENTRY(inotify_rm_watch),
	SYSCALL_ENTRY(eventfd),		  SYSCALL_ENTRY(eventfd2),
	SYSCALL_ENTRY(timerfd_create),	  SYSCALL_ENTRY(timerfd_settime),
	SYSCALL_ENTRY(timerfd_gettime),	  SYSCALL_ENTRY(epoll_create),
	SYSCALL_ENTRY(epoll_create1),	  SYSCALL_ENTRY(epoll_ctl),
	SYSCALL_ENTRY(epoll_wait),	  SYSCALL_ENTRY(epoll_pwait),
	SYSCALL_ENTRY(epoll_pwait2),	  {0},
};
