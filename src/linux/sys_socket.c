/* SPDX-License-Identifier: MIT */
/*
 * sys_socket.c - the system calls on sockets: making, naming, connecting, sending, receiving. Options: sockopt.c.
 *
 * AF_UNIX is always there. AF_INET, AF_INET6 and the kernel's routing socket are as on a kernel without a network (EAFNOSUPPORT),
 * unless the sandbox was given one; and then streams and datagrams only.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host_wait.h"
#include "sleep.h"
#include "sockmsg.h"
#include "syscall.h"

#define SOCK_TYPE  0xf
#define TYPE_FLAGS (SOCK_CLOEXEC | SOCK_NONBLOCK)
#define MAX_VECTOR 1024 /* UIO_MAXIOV */

/* struct user_msghdr of the kernel; libc's is the same on this architecture. */
struct guest_msghdr {
	gva_t name;
	int name_bytes, pad;
	gva_t iov;
	uint64_t nr_iov;
	gva_t control;
	uint64_t control_bytes;
	uint32_t flags, pad2;
};

struct guest_mmsghdr {
	struct guest_msghdr h;
	uint32_t bytes, pad;
};

/* The socket behind a guest descriptor, or NULL and *err. */
static struct guest_file *socket_get(struct task *t, uint64_t guest_fd, int *err)
{
	struct guest_file *file = files_get_open(t->files, (int)guest_fd);

	*err = !file ? -EBADF : file->socket_domain ? 0 : -ENOTSOCK;
	return *err ? NULL : file;
}

/* --- making ---------------------------------------------------------------------------------- */

static int check_inet(const struct task *t, int domain, int type, int protocol)
{
	if (sockets_net(t->sandbox->sockets) == LODGE_NET_NONE)
		return -EAFNOSUPPORT;
	if (domain == AF_NETLINK)
		return protocol == NETLINK_ROUTE ? 0 : -EPROTONOSUPPORT;
	if (type == SOCK_RAW)
		return -EPERM;
	if (type != SOCK_STREAM && type != SOCK_DGRAM)
		return -ESOCKTNOSUPPORT;
	if (type == SOCK_DGRAM && protocol == IPPROTO_UDPLITE)
		return 0;
	return protocol == 0 || protocol == (type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP)
		       ? 0
		       : -EPROTONOSUPPORT;
}

static int check_domain(const struct task *t, int domain, int type, int protocol)
{
	switch (domain) {
	case AF_UNIX:
		return 0;
	case AF_INET:
	case AF_INET6:
	case AF_NETLINK:
		return check_inet(t, domain, type, protocol);
	default:
		return -EAFNOSUPPORT;
	}
}

static int64_t sys_socket(struct task *t, const uint64_t a[6])
{
	int domain = (int)a[0], type = (int)a[1], host_fd, err;

	if (type & ~(SOCK_TYPE | TYPE_FLAGS))
		return -EINVAL;
	err = check_domain(t, domain, type & SOCK_TYPE, (int)a[2]);
	if (err)
		return err;
	host_fd = socket(domain, type | SOCK_CLOEXEC, (int)a[2]);
	return host_fd < 0 ? -errno : files_install(t->files, host_fd, type & SOCK_CLOEXEC, 0, NULL);
}

/* Two numbers stand where the guest wants them before it is known whether there can be such sockets. */
static int64_t socketpair_numbers(struct task *t, gva_t to)
{
	int guest[2];

	guest[0] = files_next(t->files, 0);
	if (guest[0] < 0)
		return guest[0];
	guest[1] = files_next(t->files, guest[0] + 1);
	if (guest[1] < 0)
		return guest[1];
	return copy_to_user(t->mm, to, guest, sizeof(guest)) ? -EFAULT : 0;
}

static int64_t sys_socketpair(struct task *t, const uint64_t a[6])
{
	int type = (int)a[1], host[2], guest[2];
	int64_t err;

	if (type & ~(SOCK_TYPE | TYPE_FLAGS))
		return -EINVAL;
	err = socketpair_numbers(t, a[3]);
	if (!err)
		err = check_domain(t, (int)a[0], type & SOCK_TYPE, (int)a[2]);
	if (err)
		return err;
	if (socketpair((int)a[0], type | SOCK_CLOEXEC, (int)a[2], host))
		return -errno;
	guest[0] = files_install(t->files, host[0], type & SOCK_CLOEXEC, 0, NULL);
	guest[1] = files_install(t->files, host[1], type & SOCK_CLOEXEC, 0, NULL);
	if (guest[0] >= 0 && guest[1] >= 0 && !copy_to_user(t->mm, a[3], guest, sizeof(guest)))
		return 0;
	files_close(t->files, guest[0]);
	files_close(t->files, guest[1]);
	return guest[1] < 0 ? guest[1] : -EFAULT;
}

/* --- naming and connecting ------------------------------------------------------------------- */

static int64_t sys_bind(struct task *t, const uint64_t a[6])
{
	struct sock_address address;
	int err;
	const struct guest_file *file = socket_get(t, a[0], &err);

	if (!err)
		err = sock_address_get(t, a[1], (int)a[2], &address);
	return err ? err : sock_bind(t, file->host_fd, file->socket_domain, &address);
}

static int64_t sys_listen(struct task *t, const uint64_t a[6])
{
	int err;
	const struct guest_file *file = socket_get(t, a[0], &err);

	if (!err && file->socket_type == SOCK_STREAM)
		err = sock_bind_loopback(t, file->host_fd, file->socket_domain, NULL);
	if (err)
		return err;
	return listen(file->host_fd, (int)a[1]) ? -errno : 0;
}

/*
 * A connection that goes on in the background while nobody waits is waited for again by the same call. The host's own timeout begins
 * anew with each kick: the deadline is ours.
 */
static int64_t connect_waiting(struct task *t, int host_fd, const struct sock_address *address)
{
	struct poll_deadline d;
	struct host_wait wait;
	int64_t ret;

	sock_deadline(host_fd, SO_SNDTIMEO, &d);
	host_wait_begin(&wait);
	do {
		ret = connect(host_fd, &address->any, address->bytes) ? -errno : 0;
		if (ret == -EINTR && d.set) {
			struct timespec left = sleep_left(CLOCK_MONOTONIC, &d.at);
			if (!left.tv_sec && !left.tv_nsec)
				ret = address->any.sa_family == AF_UNIX ? -EAGAIN : -EINPROGRESS;
		}
	} while (ret == -EINTR && !task_interrupted(t));
	host_wait_end(&wait);
	if (ret != -EINTR)
		return ret;
	return d.set ? -EINTR : host_wait_interrupted(t);
}

static int64_t sys_connect(struct task *t, const uint64_t a[6])
{
	struct sock_address address = {.held = -1};
	int64_t ret;
	int err;
	const struct guest_file *file = socket_get(t, a[0], &err);

	/* The address is read before it is known whether there is a socket to connect. */
	ret = err == -EBADF ? err : sock_address_get(t, a[1], (int)a[2], &address);
	if (ret || err)
		return ret ? ret : err;
	ret = sock_address_to_host(t, file->socket_domain, SOCK_CONNECT, &address);
	if (!ret)
		ret = connect_waiting(t, file->host_fd, &address);
	sock_address_release(&address);
	return ret;
}

/* --- accepting ------------------------------------------------------------------------------- */

/* Somebody else may take what there was: then the host's call waits, within its brackets. */
static int64_t accept_host(struct task *t, int host_fd, int flags, struct sock_address *from)
{
	struct host_wait wait;
	int fd;

	host_wait_begin(&wait);
	do {
		from->bytes = sizeof(from->storage);
		fd = accept4(host_fd, &from->any, &from->bytes, flags | SOCK_CLOEXEC);
	} while (fd < 0 && errno == EINTR && !task_interrupted(t));
	fd = fd < 0 ? -errno : fd;
	host_wait_end(&wait);
	return fd;
}

static int64_t accept_waiting(struct task *t, int host_fd, int flags, struct sock_address *from)
{
	struct pollfd p = {.fd = host_fd, .events = POLLIN};
	struct poll_deadline d;
	int listens = 0;
	socklen_t bytes = sizeof(listens);
	int64_t ret = 1;

	getsockopt(host_fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &bytes);
	sock_deadline(host_fd, SO_RCVTIMEO, &d);
	if (listens && sock_may_wait(host_fd, 0))
		ret = host_poll(t, &p, 1, &d);
	if (!ret)
		return -EAGAIN;
	if (ret > 0)
		ret = accept_host(t, host_fd, flags, from);
	return ret == -EINTR && !d.set ? host_wait_interrupted(t) : ret;
}

static int64_t do_accept(struct task *t, const uint64_t a[6], int flags)
{
	struct sock_address from = {.held = -1};
	int64_t host_fd, guest_fd;
	int err;
	const struct guest_file *file = socket_get(t, a[0], &err);

	if (flags & ~TYPE_FLAGS)
		return err == -EBADF ? err : -EINVAL;
	if (err)
		return err;
	guest_fd = files_next(t->files, 0);
	if (guest_fd < 0)
		return guest_fd;
	host_fd = accept_waiting(t, file->host_fd, flags & SOCK_NONBLOCK, &from);
	if (host_fd < 0)
		return host_fd;
	sock_address_to_guest(t->sandbox->sockets, &from);
	err = a[1] ? sock_address_put(t, &from, a[1], a[2]) : 0;
	if (!err)
		return files_install(t->files, (int)host_fd, flags & SOCK_CLOEXEC, 0, NULL);
	close((int)host_fd);
	return err;
}

static int64_t sys_accept(struct task *t, const uint64_t a[6])
{
	return do_accept(t, a, 0);
}

static int64_t sys_accept4(struct task *t, const uint64_t a[6])
{
	return do_accept(t, a, (int)a[3]);
}

/* --- what a socket is ------------------------------------------------------------------------ */

static int64_t put_name(struct task *t, const uint64_t a[6],
			int (*name)(int fd, struct sockaddr *address, socklen_t *bytes))
{
	struct sock_address address = {.bytes = sizeof(address.storage), .held = -1};
	int err;
	const struct guest_file *file = socket_get(t, a[0], &err);

	if (err)
		return err;
	if (name(file->host_fd, &address.any, &address.bytes))
		return -errno;
	sock_address_to_guest(t->sandbox->sockets, &address);
	return sock_address_put(t, &address, a[1], a[2]);
}

static int host_getsockname(int fd, struct sockaddr *address, socklen_t *bytes)
{
	return getsockname(fd, address, bytes);
}

static int host_getpeername(int fd, struct sockaddr *address, socklen_t *bytes)
{
	return getpeername(fd, address, bytes);
}

static int64_t sys_getsockname(struct task *t, const uint64_t a[6])
{
	return put_name(t, a, host_getsockname);
}

static int64_t sys_getpeername(struct task *t, const uint64_t a[6])
{
	return put_name(t, a, host_getpeername);
}

static int64_t sys_shutdown(struct task *t, const uint64_t a[6])
{
	int err;
	const struct guest_file *file = socket_get(t, a[0], &err);

	if (err)
		return err;
	return shutdown(file->host_fd, (int)a[1]) ? -errno : 0;
}

/* --- one message ----------------------------------------------------------------------------- */

static void msg_release(struct sock_msg *m)
{
	sock_address_release(&m->address);
	uio_destroy(&m->uio);
	free(m->control);
}

/* Unlike that of read() and write(), the range is cut before it is looked at. */
static int64_t range_get(struct uio *u, gva_t address, uint64_t bytes)
{
	return uio_single(u, address, min_u64(bytes, UIO_MAX_BYTES));
}

static int64_t sys_sendto(struct task *t, const uint64_t a[6])
{
	struct sock_msg m = {.flags = (int)a[3], .address.held = -1};
	int64_t ret = range_get(&m.uio, a[1], a[2]);
	int err = 0;
	const struct guest_file *file = ret ? NULL : socket_get(t, a[0], &err);

	if (ret || err)
		return ret ? ret : err;
	if (a[4])
		err = sock_address_get(t, a[4], (int)a[5], &m.address);
	ret = err ? err : sock_send(t, file, &m);
	msg_release(&m);
	return ret;
}

static int64_t sys_recvfrom(struct task *t, const uint64_t a[6])
{
	struct sock_msg m = {.flags = (int)a[3], .address.held = -1};
	int64_t ret = range_get(&m.uio, a[1], a[2]);
	int err = 0;
	const struct guest_file *file = ret ? NULL : socket_get(t, a[0], &err);

	if (ret || err)
		return ret ? ret : err;
	ret = sock_receive(t, file, &m);
	if (ret >= 0 && a[4])
		err = sock_address_put(t, &m.address, a[4], a[5]);
	msg_release(&m);
	return err ? err : ret;
}

/* The header as the kernel reads it, and the ranges that it names. Release m only after success. */
static int msg_import(struct task *t, gva_t from, struct guest_msghdr *h, struct sock_msg *m)
{
	int64_t ret;

	if (copy_from_user(t->mm, h, from, sizeof(*h)))
		return -EFAULT;
	if (!h->name)
		h->name_bytes = 0;
	if (h->name_bytes < 0)
		return -EINVAL;
	if ((size_t)h->name_bytes > sizeof(m->address.storage))
		h->name_bytes = sizeof(m->address.storage);
	if (h->nr_iov > MAX_VECTOR)
		return -EMSGSIZE;
	ret = uio_import(t, &m->uio, h->iov, h->nr_iov);
	return (int)(ret < 0 ? ret : 0);
}

static int64_t send_msg(struct task *t, const struct guest_file *file, gva_t from, int flags)
{
	struct sock_msg m = {.flags = flags, .address.held = -1};
	struct guest_msghdr h;
	int64_t ret = msg_import(t, from, &h, &m);

	if (ret)
		return ret;
	if (h.name_bytes)
		ret = sock_address_get(t, h.name, h.name_bytes, &m.address);
	if (!ret && h.control_bytes > INT32_MAX)
		ret = -ENOBUFS;
	if (!ret && h.control_bytes)
		ret = h.control ? sock_control_get(t, &m, h.control, h.control_bytes) : -EFAULT;
	if (!ret)
		ret = sock_send(t, file, &m);
	msg_release(&m);
	return ret;
}

static int put_results(struct task *t, gva_t to, const struct guest_msghdr *h, const struct sock_msg *m)
{
	uint32_t flags = (uint32_t)m->flags;
	uint64_t control_bytes = m->control_bytes;

	if (control_bytes && copy_to_user(t->mm, h->control, m->control, control_bytes))
		return -EFAULT;
	if (h->name &&
	    sock_address_put(t, &m->address, h->name, to + offsetof(struct guest_msghdr, name_bytes)))
		return -EFAULT;
	return copy_to_user(t->mm, to + offsetof(struct guest_msghdr, flags), &flags, sizeof(flags)) ||
			       copy_to_user(t->mm, to + offsetof(struct guest_msghdr, control_bytes),
					    &control_bytes, sizeof(control_bytes))
		       ? -EFAULT
		       : 0;
}

static int64_t receive_msg(struct task *t, const struct guest_file *file, gva_t to, int flags)
{
	struct sock_msg m = {.flags = flags, .address.held = -1};
	struct guest_msghdr h;
	int64_t ret = msg_import(t, to, &h, &m);

	if (ret)
		return ret;
	ret = sock_control_get(t, &m, 0, h.control ? h.control_bytes : 0);
	if (!ret)
		ret = sock_receive(t, file, &m);
	if (ret >= 0 && put_results(t, to, &h, &m))
		ret = -EFAULT;
	msg_release(&m);
	return ret;
}

/* The flag of calls from programs of 32 bits, of which there are none. */
#define FOR_COMPAT(flags) ((uint32_t)(flags)&0x80000000u)

static int64_t sys_sendmsg(struct task *t, const uint64_t a[6])
{
	int err;
	const struct guest_file *file = socket_get(t, a[0], &err);

	if (FOR_COMPAT(a[2]))
		return -EINVAL;
	return err ? err : send_msg(t, file, a[1], (int)a[2]);
}

static int64_t sys_recvmsg(struct task *t, const uint64_t a[6])
{
	int err;
	const struct guest_file *file = socket_get(t, a[0], &err);

	if (FOR_COMPAT(a[2]))
		return -EINVAL;
	return err ? err : receive_msg(t, file, a[1], (int)a[2]);
}

/* --- many messages --------------------------------------------------------------------------- */

/* How many were sent or received; an error only when it is the first's. */
static int64_t sys_sendmmsg(struct task *t, const uint64_t a[6])
{
	unsigned int nr = (unsigned int)min_u64((unsigned int)a[2], MAX_VECTOR), done = 0;
	int64_t n = 0;
	int err;
	const struct guest_file *file = socket_get(t, a[0], &err);

	if (FOR_COMPAT(a[3]))
		return -EINVAL;
	for (; !err && done < nr; done++) {
		gva_t at = a[1] + done * sizeof(struct guest_mmsghdr);
		n = send_msg(t, file, at, (int)a[3]);
		if (n >= 0 &&
		    copy_to_user(t->mm, at + offsetof(struct guest_mmsghdr, bytes), &n, sizeof(uint32_t)))
			n = -EFAULT;
		if (n < 0)
			break;
	}
	if (err)
		return err;
	if (done)
		t->restart = RESTART_NOT;
	return done ? done : n;
}

/* The time is looked at after each message only, as in the kernel. */
static bool is_late(const struct poll_deadline *d)
{
	struct timespec left;

	if (!d->set)
		return false;
	left = sleep_left(CLOCK_MONOTONIC, &d->at);
	return !left.tv_sec && !left.tv_nsec;
}

static int64_t receive_many(struct task *t, const struct guest_file *file, const uint64_t a[6],
			    const struct poll_deadline *d)
{
	unsigned int nr = (unsigned int)min_u64((unsigned int)a[2], MAX_VECTOR), done = 0;
	int flags = (int)a[3];
	int64_t n = 0;

	while (done < nr) {
		gva_t at = a[1] + done * sizeof(struct guest_mmsghdr);
		n = receive_msg(t, file, at, flags & ~MSG_WAITFORONE);
		if (n >= 0 &&
		    copy_to_user(t->mm, at + offsetof(struct guest_mmsghdr, bytes), &n, sizeof(uint32_t)))
			n = -EFAULT;
		if (n < 0)
			break;
		done++;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
		if (is_late(d))
			break;
	}
	if (done)
		t->restart = RESTART_NOT;
	return done ? done : n;
}

static int64_t sys_recvmmsg(struct task *t, const uint64_t a[6])
{
	struct poll_deadline d = {0};
	struct timespec span;
	int64_t ret;
	int err = a[4] ? sleep_get_timespec(t, a[4], &span) : 0;
	const struct guest_file *file = err ? NULL : socket_get(t, a[0], &err);

	if (FOR_COMPAT(a[3]))
		return -EINVAL;
	if (err)
		return err;
	if (a[4])
		poll_deadline_set(&d, &span);
	ret = receive_many(t, file, a, &d);
	if (ret <= 0 || !d.set)
		return ret;
	span = sleep_left(CLOCK_MONOTONIC, &d.at);
	return copy_to_user(t->mm, a[4], &span, sizeof(span)) ? -EFAULT : ret;
}

const struct syscall_entry sys_socket_calls[] = {
	SYSCALL_ENTRY(socket),
	SYSCALL_ENTRY(socketpair),
	SYSCALL_ENTRY(bind),
	SYSCALL_ENTRY(listen),
	SYSCALL_ENTRY(connect),
	SYSCALL_ENTRY(accept),
	SYSCALL_ENTRY(accept4),
	SYSCALL_ENTRY(getsockname),
	SYSCALL_ENTRY(getpeername),
	SYSCALL_ENTRY(shutdown),
	SYSCALL_ENTRY(sendto),
	SYSCALL_ENTRY(recvfrom),
	SYSCALL_ENTRY(sendmsg),
	SYSCALL_ENTRY(recvmsg),
	SYSCALL_ENTRY(sendmmsg),
	SYSCALL_ENTRY(recvmmsg),
	{0},
};
