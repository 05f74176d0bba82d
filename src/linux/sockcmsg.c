/* SPDX-License-Identifier: MIT */
/*
 * sockcmsg.c - control messages, and what may be said to the kernel's routing socket. See sockmsg.h.
 *
 * A control message is translated in place, for what lodge puts there has the size of what stood there. Lengths are those of a copy
 * that nobody else writes, and each is checked against what is left.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sockmsg.h"
#include "task.h"
#include "view.h"

#define CONTROL_MAX_BYTES (128u << 10) /* net.core.optmem_max */
#define CONTROL_ROOM	  (16u << 10)  /* more than anything that the host has to say */
#define MAX_FDS		  253	       /* SCM_MAX_FD */

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103 /* Linux 4.18 */
#endif

int sock_control_get(struct task *t, struct sock_msg *m, gva_t from, uint64_t bytes)
{
	m->control_bytes = from || bytes <= CONTROL_ROOM ? bytes : CONTROL_ROOM;
	if (!bytes)
		return 0;
	if (m->control_bytes > CONTROL_MAX_BYTES)
		return -ENOBUFS;
	m->control = calloc(1, m->control_bytes);
	if (!m->control)
		return -ENOMEM;
	return from && copy_from_user(t->mm, m->control, from, bytes) ? -EFAULT : 0;
}

/* --- one after the other --------------------------------------------------------------------- */

/* The message at `at`, or NULL when what is left cannot hold one; *bad: it says that it is longer. */
static struct cmsghdr *cmsg_at(const struct sock_msg *m, size_t at, bool *bad)
{
	struct cmsghdr *c = (void *)((char *)m->control + at);

	*bad = false;
	if (at >= m->control_bytes || m->control_bytes - at < sizeof(*c))
		return NULL;
	*bad = c->cmsg_len < sizeof(*c) || c->cmsg_len > m->control_bytes - at;
	return *bad ? NULL : c;
}

static size_t cmsg_room(const struct cmsghdr *c)
{
	return CMSG_ALIGN(c->cmsg_len);
}

static bool is_rights(const struct cmsghdr *c)
{
	return c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS;
}

static bool is_credentials(const struct cmsghdr *c)
{
	return c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS &&
	       c->cmsg_len == CMSG_LEN(sizeof(struct ucred));
}

static size_t nr_rights(const struct cmsghdr *c)
{
	return (c->cmsg_len - sizeof(*c)) / sizeof(int);
}

/* --- what is sent ---------------------------------------------------------------------------- */

static int rights_to_host(struct task *t, struct cmsghdr *c, size_t *nr_all)
{
	size_t nr = nr_rights(c);
	int *fd = (void *)CMSG_DATA(c);

	*nr_all += nr;
	if (*nr_all > MAX_FDS)
		return -EINVAL;
	for (size_t i = 0; i < nr; i++) {
		fd[i] = files_host_fd(t->files, fd[i]);
		if (fd[i] < 0)
			return -EBADF;
	}
	return 0;
}

static bool is_one_of(const struct cred_ids *ids, uint32_t id)
{
	return id == ids->real || id == ids->effective || id == ids->saved;
}

/* Of all the guest's numbers the host knows the one of lodge. */
static int credentials_to_host(struct task *t, struct cmsghdr *c)
{
	struct ucred *cred = (void *)CMSG_DATA(c);

	if (c->cmsg_len != CMSG_LEN(sizeof(*cred)))
		return -EINVAL;
	if (cred->pid != t->pid || !is_one_of(&t->cred.uid, cred->uid) || !is_one_of(&t->cred.gid, cred->gid))
		return -EPERM;
	*cred = (struct ucred){getpid(), getuid(), getgid()};
	return 0;
}

static int unix_to_host(struct task *t, struct cmsghdr *c, size_t *nr_fds)
{
	if (c->cmsg_level != SOL_SOCKET)
		return 0; /* the kernel skips it */
	switch (c->cmsg_type) {
	case SCM_RIGHTS:
		return rights_to_host(t, c, nr_fds);
	case SCM_CREDENTIALS:
		return credentials_to_host(t, c);
	default:
		return -EINVAL;
	}
}

/* Of the rest only what changes nothing but the packet; where it comes from is for those to say who may use all addresses. */
static int inet_to_host(const struct task *t, const struct cmsghdr *c)
{
	static const struct {
		int level, type;
		bool with_host;
	} known[] = {{IPPROTO_IP, IP_TOS, false},	 {IPPROTO_IP, IP_TTL, false},
		     {IPPROTO_IPV6, IPV6_TCLASS, false}, {IPPROTO_IPV6, IPV6_HOPLIMIT, false},
		     {IPPROTO_UDP, UDP_SEGMENT, false},	 {IPPROTO_IP, IP_PKTINFO, true},
		     {IPPROTO_IPV6, IPV6_PKTINFO, true}};
	bool host = sockets_net(t->sandbox->sockets) == LODGE_NET_HOST;

	for (unsigned int i = 0; i < ARRAY_SIZE(known); i++)
		if (c->cmsg_level == known[i].level && c->cmsg_type == known[i].type)
			return host || !known[i].with_host ? 0 : -EINVAL;
	return -EINVAL;
}

static void count_sent(struct task *t, const struct sock_msg *m, size_t end, int *err)
{
	bool bad;

	for (size_t at = 0; at < end;) {
		struct cmsghdr *c = cmsg_at(m, at, &bad);
		if (!c)
			return;
		for (size_t i = 0; is_rights(c) && i < nr_rights(c); i++) {
			int fd = ((int *)(void *)CMSG_DATA(c))[i];
			if (!err)
				sockets_received(t->sandbox->sockets, fd);
			else if (!*err)
				*err = sockets_sent(t->sandbox->sockets, fd);
		}
		at += cmsg_room(c);
	}
}

int sock_control_to_host(struct task *t, int domain, struct sock_msg *m)
{
	size_t nr_fds = 0, at = 0;
	struct cmsghdr *c;
	bool bad = false;
	int err = 0;

	while (!err && (c = cmsg_at(m, at, &bad))) {
		err = domain == AF_UNIX ? unix_to_host(t, c, &nr_fds) : inet_to_host(t, c);
		at += cmsg_room(c);
	}
	if (!err && bad)
		err = -EINVAL;
	if (!err && nr_fds)
		count_sent(t, m, m->control_bytes, &err);
	return err;
}

void sock_control_not_sent(struct task *t, struct sock_msg *m)
{
	if (m->control_bytes)
		count_sent(t, m, m->control_bytes, NULL);
}

/* --- what is received ------------------------------------------------------------------------ */

/* As many as the table has room for; the rest is closed, and the message says so. */
static void rights_to_guest(struct task *t, struct sock_msg *m, struct cmsghdr *c, bool cloexec, bool peek)
{
	int *fd = (void *)CMSG_DATA(c);
	size_t nr = nr_rights(c), kept = 0;

	for (size_t i = 0; i < nr; i++) {
		int host_fd = fd[i], number = -1;
		if (kept == i) {
			view_note_stranger(t->files->view, host_fd);
			number = files_install(t->files, host_fd, cloexec, 0, NULL);
			if (number >= 0 && !peek)
				sockets_received(t->sandbox->sockets, files_host_fd(t->files, number));
		} else {
			close(host_fd);
		}
		if (number >= 0)
			fd[kept++] = number;
	}
	if (kept == nr)
		return;
	m->flags |= MSG_CTRUNC;
	c->cmsg_len = CMSG_LEN(kept * sizeof(int));
}

void sock_control_to_guest(struct task *t, struct sock_msg *m, bool cloexec, bool peek)
{
	size_t at = 0;
	struct cmsghdr *c;
	bool bad;

	while ((c = cmsg_at(m, at, &bad))) {
		at += cmsg_room(c);
		if (is_rights(c))
			rights_to_guest(t, m, c, cloexec, peek);
		else if (is_credentials(c))
			identity_show_ucred(&t->sandbox->identity, (void *)CMSG_DATA(c));
	}
}

/* --- netlink --------------------------------------------------------------------------------- */

static bool only_asks(int type)
{
	switch (type) {
	case NLMSG_NOOP:
	case RTM_GETLINK:
	case RTM_GETADDR:
	case RTM_GETROUTE:
	case RTM_GETNEIGH:
	case RTM_GETRULE:
		return true;
	default:
		return false;
	}
}

int netlink_check(const void *data, size_t bytes)
{
	const char *at = data;
	struct nlmsghdr h;

	while (bytes >= sizeof(h)) {
		memcpy(&h, at, sizeof(h));
		if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > bytes || !only_asks(h.nlmsg_type))
			return -EPERM;
		size_t whole = min_u64(NLMSG_ALIGN((size_t)h.nlmsg_len), bytes);
		at += whole;
		bytes -= whole;
	}
	return 0;
}
