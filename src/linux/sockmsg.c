/* SPDX-License-Identifier: MIT */
/*
 * sockmsg.c - see sockmsg.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>

#include "host_wait.h"
#include "sleep.h"
#include "sockmsg.h"
#include "task.h"

#define FIRST_WINDOW_BYTES (64ul << 10)
#define LAST_WINDOW_BYTES  (USER_PIN_MAX_PAGES * PAGE_SIZE)
#define NETLINK_MAX_BYTES  (32ul << 10)
#define UNIX_HEAD_BYTES	   32 /* of a send buffer, not for data */

#define SEND_FLAGS	   (MSG_OOB | MSG_DONTROUTE | MSG_DONTWAIT | MSG_EOR | MSG_NOSIGNAL | MSG_MORE | MSG_CONFIRM)
#define RECEIVE_FLAGS	   (MSG_OOB | MSG_PEEK | MSG_DONTWAIT | MSG_WAITALL | MSG_TRUNC | MSG_ERRQUEUE)

void sock_deadline(int host_fd, int option, struct poll_deadline *d)
{
	struct timeval tv = {0};
	socklen_t bytes = sizeof(tv);

	*d = (struct poll_deadline){0};
	if (!getsockopt(host_fd, SOL_SOCKET, option, &tv, &bytes) && (tv.tv_sec || tv.tv_usec))
		poll_deadline_set(d, &(struct timespec){tv.tv_sec, tv.tv_usec * 1000});
}

bool sock_may_wait(int host_fd, int flags)
{
	return !(flags & MSG_DONTWAIT) && !(fcntl(host_fd, F_GETFL) & O_NONBLOCK);
}

/* A socket with a timeout of its own is not tried again after a signal. */
static int64_t interrupted(struct task *t, const struct poll_deadline *d)
{
	return d->set ? -EINTR : host_wait_interrupted(t);
}

static bool is_over(const struct poll_deadline *d)
{
	struct timespec left;

	if (!d->set)
		return false;
	left = sleep_left(CLOCK_MONOTONIC, &d->at);
	return !left.tv_sec && !left.tv_nsec;
}

/* --- sending --------------------------------------------------------------------------------- */

struct sending {
	struct task *t;
	const struct guest_file *file;
	struct sock_msg *m;
	struct poll_deadline deadline;
	bool has_deadline; /* deadline was asked for */
};

static int64_t host_send(const struct sending *s, const struct msghdr *h, int more)
{
	ssize_t n = sendmsg(s->file->host_fd, h, (s->m->flags & SEND_FLAGS) | MSG_NOSIGNAL | more);

	return n < 0 ? -errno : n;
}

static int64_t send_waiting(struct sending *s, const struct msghdr *h)
{
	struct host_wait wait;
	int64_t n;

	if (!s->has_deadline)
		sock_deadline(s->file->host_fd, SO_SNDTIMEO, &s->deadline);
	s->has_deadline = true;
	host_wait_begin(&wait);
	do {
		n = task_interrupted(s->t) ? -EINTR : host_send(s, h, 0);
		if (n == -EINTR && is_over(&s->deadline))
			n = -EAGAIN;
	} while (n == -EINTR && !task_interrupted(s->t));
	host_wait_end(&wait);
	return n;
}

static int64_t send_some(struct sending *s, const struct msghdr *h)
{
	int64_t n = host_send(s, h, MSG_DONTWAIT);

	return n == -EAGAIN && sock_may_wait(s->file->host_fd, s->m->flags) ? send_waiting(s, h) : n;
}

/* The header of the next piece: address and control messages go with the first. */
static struct msghdr send_header(const struct sending *s)
{
	struct msghdr h = {0};

	if (s->m->uio.done)
		return h;
	h.msg_name = s->m->address.bytes ? &s->m->address.storage : NULL;
	h.msg_namelen = s->m->address.bytes;
	h.msg_control = s->m->control_bytes ? s->m->control : NULL;
	h.msg_controllen = s->m->control_bytes;
	return h;
}

static bool is_stream(const struct guest_file *file)
{
	return file->socket_type == SOCK_STREAM;
}

/* A message that the kernel refuses before it looks at where it stands. */
static bool is_too_long(const struct sending *s)
{
	int bytes = 0;
	socklen_t size = sizeof(bytes);

	if (s->file->socket_domain != AF_UNIX || is_stream(s->file))
		return false;
	getsockopt(s->file->host_fd, SOL_SOCKET, SO_SNDBUF, &bytes, &size);
	return (int64_t)s->m->uio.bytes > bytes - UNIX_HEAD_BYTES;
}

/* A message of its own cannot be cut. */
static int check_whole(const struct sending *s, const struct user_pin *pin)
{
	if (is_stream(s->file) || pin->bytes == s->m->uio.bytes)
		return 0;
	if (is_too_long(s))
		return -EMSGSIZE;
	return pin->nr_pages == USER_PIN_MAX_PAGES ? -EMSGSIZE : -EFAULT;
}

static int64_t send_window(struct sending *s)
{
	struct uio *u = &s->m->uio;
	struct msghdr h = send_header(s);
	struct user_pin pin;
	int64_t n;

	if (!u->bytes)
		return send_some(s, &h);
	n = is_stream(s->file) ? uio_pin_with_faults(s->t, u, LAST_WINDOW_BYTES, false, &pin)
			       : uio_pin(s->t, u, LAST_WINDOW_BYTES, false, &pin);
	if (n)
		return n == -EFAULT && is_too_long(s) ? -EMSGSIZE : n;
	n = check_whole(s, &pin);
	h.msg_iov = pin.iov;
	h.msg_iovlen = pin.nr_iov;
	if (!n)
		n = send_some(s, &h);
	user_pin_release(s->t->mm, &pin);
	if (n > 0)
		uio_advance(u, (size_t)n);
	return n;
}

static int64_t send_all(struct sending *s)
{
	struct uio *u = &s->m->uio;
	int64_t n;

	do
		n = send_window(s);
	while (n > 0 && is_stream(s->file) && u->done < u->bytes);
	if (u->done)
		return (int64_t)u->done;
	if (n == -EPIPE && is_stream(s->file) && !(s->m->flags & MSG_NOSIGNAL))
		signal_send(s->t, SIGPIPE, NULL);
	return n == -EINTR ? interrupted(s->t, &s->deadline) : n;
}

/* What goes to the kernel is looked at in a copy, and the copy is sent. */
static int64_t send_netlink(struct sending *s)
{
	struct uio *u = &s->m->uio;
	struct msghdr h = send_header(s);
	char *data;
	int64_t n = 0;
	size_t at = 0;

	if (u->bytes > NETLINK_MAX_BYTES)
		return -EMSGSIZE;
	data = malloc(u->bytes + 1);
	if (!data)
		return -ENOMEM;
	for (unsigned int i = 0; i < u->nr && !n; at += u->iov[i++].iov_len)
		if (copy_from_user(s->t->mm, data + at, (gva_t)u->iov[i].iov_base, u->iov[i].iov_len))
			n = -EFAULT;
	if (!n)
		n = netlink_check(data, u->bytes);
	h.msg_iov = &(struct iovec){data, u->bytes};
	h.msg_iovlen = 1;
	if (!n)
		n = send_some(s, &h);
	free(data);
	return n == -EINTR ? interrupted(s->t, &s->deadline) : n;
}

int64_t sock_send(struct task *t, const struct guest_file *file, struct sock_msg *m)
{
	struct sending s = {.t = t, .file = file, .m = m};
	int64_t ret = 0;

	/* One that has a peer takes no address: the host refuses it, or does not look at it. */
	if (file->socket_domain == AF_UNIX && file->socket_type != SOCK_DGRAM)
		m->address.bytes = min_u64(m->address.bytes, 1);
	else if (m->address.bytes) {
		ret = sock_address_to_host(t, file->socket_domain, SOCK_SEND, &m->address);
		if (!ret && !is_stream(file))
			ret = sock_bind_loopback(t, file->host_fd, file->socket_domain, &m->address);
	}
	if (!ret)
		ret = sock_control_to_host(t, file->socket_domain, m);
	if (ret)
		return ret;
	ret = file->socket_domain == AF_NETLINK ? send_netlink(&s) : send_all(&s);
	if (ret < 0)
		sock_control_not_sent(t, m);
	return ret;
}

/* --- receiving ------------------------------------------------------------------------------- */

struct receiving {
	struct task *t;
	const struct guest_file *file;
	struct sock_msg *m;
	struct poll_deadline deadline;
	bool has_deadline;
	int peek;		  /* MSG_PEEK: whatever was asked for */
	struct sock_address from; /* of the first piece */
	struct msghdr first;
};

static int64_t receive_once(struct receiving *r, struct msghdr *h, int more)
{
	int flags = (r->m->flags & RECEIVE_FLAGS & ~MSG_WAITALL) | MSG_CMSG_CLOEXEC | r->peek | more;
	ssize_t n;

	if (!r->m->uio.done) {
		h->msg_name = &r->from.storage;
		h->msg_namelen = sizeof(r->from.storage);
		h->msg_control = r->m->control;
		h->msg_controllen = r->m->control_bytes;
	}
	n = recvmsg(r->file->host_fd, h, flags);
	return n < 0 ? -errno : n;
}

/* 0: there may be something now. */
static int64_t receive_wait(struct receiving *r)
{
	struct pollfd p = {.fd = r->file->host_fd, .events = POLLIN};
	int64_t ret;

	if (!r->has_deadline)
		sock_deadline(r->file->host_fd, SO_RCVTIMEO, &r->deadline);
	r->has_deadline = true;
	ret = host_poll(r->t, &p, 1, &r->deadline);
	return ret > 0 ? 0 : ret ? ret : -EAGAIN;
}

/* Waits in the call itself. */
static int64_t receive_waiting(struct receiving *r, struct msghdr *h)
{
	struct host_wait wait;
	int64_t n;

	host_wait_begin(&wait);
	do {
		n = task_interrupted(r->t) ? -EINTR : receive_once(r, h, 0);
		if (n == -EINTR && is_over(&r->deadline))
			n = -EAGAIN;
	} while (n == -EINTR && !task_interrupted(r->t));
	host_wait_end(&wait);
	return n;
}

/* A socket that was readable and gives nothing may be so for ever: it has what this call does not want. */
static int64_t receive_some(struct receiving *r, struct msghdr *h, bool wait)
{
	int64_t n = receive_once(r, h, MSG_DONTWAIT), err;

	if (n != -EAGAIN || !wait || (r->m->flags & (MSG_OOB | MSG_ERRQUEUE)))
		return n;
	err = receive_wait(r);
	if (err)
		return err;
	n = receive_once(r, h, MSG_DONTWAIT);
	return n == -EAGAIN ? receive_waiting(r, h) : n;
}

/* One piece; *full: there may be more that belongs to it. */
static int64_t receive_window(struct receiving *r, size_t window, bool wait, bool *full)
{
	struct uio *u = &r->m->uio;
	bool is_first = !u->done;
	struct msghdr h = {0};
	struct user_pin pin = {0};
	int64_t n = u->bytes ? uio_pin_with_faults(r->t, u, window, true, &pin) : 0;

	if (n)
		return n;
	h.msg_iov = pin.iov;
	h.msg_iovlen = pin.nr_iov;
	n = receive_some(r, &h, wait);
	*full = n == (int64_t)pin.bytes;
	if (u->bytes)
		user_pin_release(r->t->mm, &pin);
	if (n >= 0 && is_first)
		r->first = h;
	if (n > 0)
		uio_advance(u, min_u64((uint64_t)n, u->bytes - u->done));
	return n;
}

/* A stream gives what it has, in pieces; all other messages, and what comes with control messages, are had by one call. */
static int64_t receive_all(struct receiving *r)
{
	bool pieces = is_stream(r->file) && !r->m->control_bytes &&
		      !(r->m->flags & (MSG_PEEK | MSG_TRUNC | MSG_OOB | MSG_ERRQUEUE));
	bool may_wait = sock_may_wait(r->file->host_fd, r->m->flags), full = false;
	bool all = is_stream(r->file) && (r->m->flags & MSG_WAITALL) && !(r->m->flags & MSG_PEEK);
	struct uio *u = &r->m->uio;
	int64_t n;

	do
		n = receive_window(r, pieces ? FIRST_WINDOW_BYTES : LAST_WINDOW_BYTES,
				   may_wait && (all || !u->done), &full);
	while (n > 0 && u->done < u->bytes && (all || (pieces && full)));
	if (pieces && u->done)
		return (int64_t)u->done;
	if (all && u->done)
		return (int64_t)u->done;
	return n == -EINTR ? interrupted(r->t, &r->deadline) : n;
}

int64_t sock_receive(struct task *t, const struct guest_file *file, struct sock_msg *m)
{
	struct receiving r = {.t = t, .file = file, .m = m};
	bool cloexec = m->flags & MSG_CMSG_CLOEXEC, peek = m->flags & MSG_PEEK;
	int64_t n = receive_all(&r);

	if (n < 0)
		return n;
	m->address = r.from;
	m->address.held = -1;
	m->address.bytes = r.first.msg_namelen;
	sock_address_to_guest(t->sandbox->sockets, &m->address);
	m->control_bytes = r.first.msg_controllen;
	m->flags = (r.first.msg_flags & ~MSG_CMSG_CLOEXEC) | (cloexec ? MSG_CMSG_CLOEXEC : 0);
	sock_control_to_guest(t, m, cloexec, peek);
	return n;
}

int64_t sock_transfer(struct task *t, const struct guest_file *file, struct uio *u, bool to_file)
{
	struct sock_msg m = {.uio = *u, .address.held = -1};

	if (u->iov == u->fast)
		m.uio.iov = m.uio.fast;
	if (!u->bytes && (!to_file || is_stream(file)))
		return 0;
	return to_file ? sock_send(t, file, &m) : sock_receive(t, file, &m);
}
