/* SPDX-License-Identifier: MIT */
/* signalfd.c - see signalfd.h. The calls that make descriptors are here too. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host_poll.h"
#include "signalfd.h"
#include "syscall.h"
#include "uio.h"

#define SIGSET_BYTES 8

/* --- what is readable (the lock is held) ----------------------------------------------------- */

static void set_readable(struct signalfd *s, bool readable)
{
	struct pollfd p = {.fd = s->event, .events = POLLIN};
	bool was = poll(&p, 1, 0) == 1;
	eventfd_t n;

	if (readable && !was)
		eventfd_write(s->event, 1);
	else if (!readable && was)
		eventfd_read(s->event, &n);
}

static bool has_it(const struct process *p, const struct signalfd *s)
{
	const struct task *t;

	list_for_each_entry (t, &p->threads, thread_node)
		if (t->files && files_have_signalfd(t->files, s))
			return true;
	return false;
}

static uint64_t waiting_for(struct process *p)
{
	uint64_t pending = p->pending.pending;
	struct task *t;

	list_for_each_entry (t, &p->threads, thread_node)
		pending |= t->sig.queue.pending;
	return pending;
}

static void settle_one(struct signalfd *s)
{
	bool readable = false;
	struct process *p;

	list_for_each_entry (p, &s->sandbox->processes, node)
		readable |= (waiting_for(p) & s->set) && has_it(p, s);
	set_readable(s, readable);
}

void signalfd_settle(struct sandbox *sandbox)
{
	struct signalfd *s;

	list_for_each_entry (s, &sandbox->signalfds, node)
		settle_one(s);
}

void signalfd_signal(struct process *p, int signo)
{
	struct signalfd *s;

	list_for_each_entry (s, &p->sandbox->signalfds, node)
		if ((s->set & signal_bit(signo)) && has_it(p, s))
			set_readable(s, true);
}

/* --- life ------------------------------------------------------------------------------------ */

struct signalfd *signalfd_share(struct signalfd *s)
{
	if (s)
		atomic_fetch_add(&s->refs, 1);
	return s;
}

void signalfd_drop(struct signalfd *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	pthread_mutex_lock(&s->sandbox->lock);
	list_del(&s->node);
	pthread_mutex_unlock(&s->sandbox->lock);
	close(s->event);
	free(s);
}

static struct signalfd *signalfd_create(struct sandbox *sandbox, int host_fd, uint64_t set)
{
	struct signalfd *s = malloc(sizeof(*s));
	int event = s ? fcntl(host_fd, F_DUPFD_CLOEXEC, 0) : -1;

	if (event < 0) {
		free(s);
		return NULL;
	}
	*s = (struct signalfd){.refs = 1, .sandbox = sandbox, .set = set, .event = event};
	pthread_mutex_lock(&sandbox->lock);
	list_add_tail(&s->node, &sandbox->signalfds);
	pthread_mutex_unlock(&sandbox->lock);
	return s;
}

/* --- reading --------------------------------------------------------------------------------- */

/* What the kernel tells of a signal, by its kind. */
static void describe(const siginfo_t *info, struct signalfd_siginfo *out)
{
	memset(out, 0, sizeof(*out));
	out->ssi_signo = (uint32_t)info->si_signo;
	out->ssi_errno = info->si_errno;
	out->ssi_code = info->si_code;
	if (info->si_code == SI_TIMER) {
		out->ssi_tid = (uint32_t)info->si_timerid;
		out->ssi_overrun = (uint32_t)info->si_overrun;
		out->ssi_ptr = (uintptr_t)info->si_value.sival_ptr;
		out->ssi_int = info->si_value.sival_int;
		return;
	}
	out->ssi_pid = (uint32_t)info->si_pid;
	out->ssi_uid = info->si_uid;
	if (info->si_signo == SIGCHLD && info->si_code > 0) {
		out->ssi_status = info->si_status;
		out->ssi_utime = (uint64_t)info->si_utime;
		out->ssi_stime = (uint64_t)info->si_stime;
	} else if (info->si_code < 0) {
		out->ssi_ptr = (uintptr_t)info->si_value.sival_ptr;
		out->ssi_int = info->si_value.sival_int;
	}
}

static uint64_t set_of(struct signalfd *s)
{
	uint64_t set;

	pthread_mutex_lock(&s->sandbox->lock);
	set = s->set;
	pthread_mutex_unlock(&s->sandbox->lock);
	return set;
}

/* Waits until it is readable: 0, -EAGAIN where it does not wait, -EINTR. */
static int64_t wait_readable(struct task *t, int host_fd)
{
	static const struct poll_deadline never;
	struct pollfd p = {.fd = host_fd, .events = POLLIN};
	int64_t n;

	if (fcntl(host_fd, F_GETFL) & O_NONBLOCK)
		return -EAGAIN;
	n = host_poll(t, &p, 1, &never);
	if (n == -EINTR)
		t->restart = RESTART_CALL;
	return n < 0 ? n : 0;
}

/* Copies one to where the transfer stands, which may lie across its ranges. 0 or -EFAULT. */
static int put(struct task *t, struct uio *u, const struct signalfd_siginfo *info)
{
	size_t done = 0;

	while (done < sizeof(*info)) {
		const struct iovec *iov = &u->iov[u->index];
		size_t n = min_u64(iov->iov_len, sizeof(*info) - done);
		if (copy_to_user(t->mm, (gva_t)iov->iov_base, (const char *)info + done, n))
			return -EFAULT;
		uio_advance(u, n);
		done += n;
	}
	return 0;
}

int64_t signalfd_read(struct task *t, struct signalfd *s, int host_fd, struct uio *u)
{
	struct signalfd_siginfo one;
	size_t done = 0;
	siginfo_t info;
	int64_t err = 0;

	if (u->bytes < sizeof(one))
		return -EINVAL;
	while (!err && u->bytes - done >= sizeof(one)) {
		if (signal_dequeue(t, set_of(s), &info)) {
			describe(&info, &one);
			err = put(t, u, &one);
			done += err ? 0 : sizeof(one);
		} else if (done) {
			break;
		} else {
			err = wait_readable(t, host_fd);
		}
	}
	return done ? (int64_t)done : err;
}

/* --- the calls ------------------------------------------------------------------------------- */

static int64_t change_set(struct task *t, int guest_fd, uint64_t set)
{
	const struct guest_file *file = files_get_open(t->files, guest_fd);

	if (!file)
		return -EBADF;
	if (!file->signalfd)
		return -EINVAL;
	pthread_mutex_lock(&t->sandbox->lock);
	file->signalfd->set = set;
	signalfd_settle(t->sandbox);
	pthread_mutex_unlock(&t->sandbox->lock);
	return guest_fd;
}

static int64_t new_descriptor(struct task *t, uint64_t set, int flags)
{
	int fd = eventfd(0, EFD_CLOEXEC | (flags & SFD_NONBLOCK ? EFD_NONBLOCK : 0));
	struct signalfd *s;
	int64_t ret;

	if (fd < 0)
		return -errno;
	s = signalfd_create(t->sandbox, fd, set);
	if (!s) {
		close(fd);
		return -ENOMEM;
	}
	ret = files_install(t->files, fd, flags & SFD_CLOEXEC, 0, &(struct guest_file){.signalfd = s});
	pthread_mutex_lock(&t->sandbox->lock);
	signalfd_settle(t->sandbox);
	pthread_mutex_unlock(&t->sandbox->lock);
	signalfd_drop(s);
	return ret;
}

static int64_t sys_signalfd4(struct task *t, const uint64_t a[6])
{
	int flags = (int)a[3];
	uint64_t set;

	if (a[2] != SIGSET_BYTES)
		return -EINVAL;
	if (copy_from_user(t->mm, &set, a[1], sizeof(set)))
		return -EFAULT;
	if (flags & ~(SFD_CLOEXEC | SFD_NONBLOCK))
		return -EINVAL;
	set &= ~(signal_bit(SIGKILL) | signal_bit(SIGSTOP));
	return (int)a[0] == -1 ? new_descriptor(t, set, flags) : change_set(t, (int)a[0], set);
}

static int64_t sys_signalfd(struct task *t, const uint64_t a[6])
{
	return sys_signalfd4(t, (const uint64_t[6]){a[0], a[1], a[2]});
}

const struct syscall_entry sys_signalfd_calls[] = {
	SYSCALL_ENTRY(signalfd),
	SYSCALL_ENTRY(signalfd4),
	{0},
};
