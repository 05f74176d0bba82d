/* SPDX-License-Identifier: MIT */
/*
 * sockopt.c - options of sockets: those that concern the socket alone.
 *
 * What takes a privilege on Linux is EPERM, whoever runs lodge; what is in no row is ENOPROTOOPT. A close never waits: SO_LINGER with
 * a time counts as without, with no time it resets the connection as ever.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "sockets.h"
#include "syscall.h"

#define OPTION_MAX_BYTES 512
#define MAX_PRIORITY	 6 /* higher ones take a privilege */

/* Linux 4.18 to 5.0; libc has some of them in headers that cannot be included together. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO	    104
#endif
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72 /* Linux 5.14 */
#endif
#define UDPLITE_SEND_CSCOV_ 10
#define UDPLITE_RECV_CSCOV_ 11
#define NETLINK_LEVEL	    270
#define NETLINK_PKTINFO_    3
#define NETLINK_CAP_ACK_    10
#define NETLINK_EXT_ACK_    11
#define NETLINK_STRICT_CHK_ 12

enum { GET = 1, SET = 2, BOTH = 3, WITH_HOST = 4 };

struct sock_option {
	int level, name;
	unsigned int may; /* WITH_HOST: only with all of the host's network */
};

static const struct sock_option options[] = {
	{SOL_SOCKET, SO_DEBUG, BOTH},
	{SOL_SOCKET, SO_NO_CHECK, BOTH},
	{SOL_SOCKET, SO_BSDCOMPAT, BOTH},
	{SOL_SOCKET, SO_PASSSEC, BOTH},
	{SOL_SOCKET, SO_MARK, GET},
	{SOL_SOCKET, SO_PEEK_OFF, BOTH},
	{SOL_SOCKET, SO_NOFCS, BOTH},
	{SOL_SOCKET, SO_LOCK_FILTER, BOTH},
	{SOL_SOCKET, SO_BUSY_POLL, BOTH},
	{SOL_SOCKET, SO_BUF_LOCK, BOTH},
	{SOL_SOCKET, SO_REUSEADDR, BOTH},
	{SOL_SOCKET, SO_REUSEPORT, BOTH},
	{SOL_SOCKET, SO_TYPE, GET},
	{SOL_SOCKET, SO_ERROR, GET},
	{SOL_SOCKET, SO_DOMAIN, GET},
	{SOL_SOCKET, SO_PROTOCOL, GET},
	{SOL_SOCKET, SO_ACCEPTCONN, GET},
	{SOL_SOCKET, SO_DONTROUTE, BOTH},
	{SOL_SOCKET, SO_BROADCAST, BOTH},
	{SOL_SOCKET, SO_SNDBUF, BOTH},
	{SOL_SOCKET, SO_RCVBUF, BOTH},
	{SOL_SOCKET, SO_KEEPALIVE, BOTH},
	{SOL_SOCKET, SO_OOBINLINE, BOTH},
	{SOL_SOCKET, SO_PRIORITY, BOTH},
	{SOL_SOCKET, SO_LINGER, BOTH},
	{SOL_SOCKET, SO_PASSCRED, BOTH},
	{SOL_SOCKET, SO_PEERCRED, GET},
	{SOL_SOCKET, SO_PEERGROUPS, GET},
	{SOL_SOCKET, SO_RCVLOWAT, BOTH},
	{SOL_SOCKET, SO_SNDLOWAT, GET},
	{SOL_SOCKET, SO_RCVTIMEO, BOTH},
	{SOL_SOCKET, SO_SNDTIMEO, BOTH},
	{SOL_SOCKET, SO_TIMESTAMP, BOTH},
	{SOL_SOCKET, SO_TIMESTAMPNS, BOTH},
	{SOL_SOCKET, SO_RXQ_OVFL, BOTH},
	{SOL_SOCKET, SO_INCOMING_CPU, GET},
	{SOL_SOCKET, SO_COOKIE, GET},
	{SOL_SOCKET, SO_MEMINFO, GET},
	{IPPROTO_TCP, TCP_NODELAY, BOTH},
	{IPPROTO_TCP, TCP_MAXSEG, BOTH},
	{IPPROTO_TCP, TCP_CORK, BOTH},
	{IPPROTO_TCP, TCP_KEEPIDLE, BOTH},
	{IPPROTO_TCP, TCP_KEEPINTVL, BOTH},
	{IPPROTO_TCP, TCP_KEEPCNT, BOTH},
	{IPPROTO_TCP, TCP_SYNCNT, BOTH},
	{IPPROTO_TCP, TCP_LINGER2, BOTH},
	{IPPROTO_TCP, TCP_DEFER_ACCEPT, BOTH},
	{IPPROTO_TCP, TCP_WINDOW_CLAMP, BOTH},
	{IPPROTO_TCP, TCP_INFO, GET},
	{IPPROTO_TCP, TCP_QUICKACK, BOTH},
	{IPPROTO_TCP, TCP_CONGESTION, GET},
	{IPPROTO_TCP, TCP_USER_TIMEOUT, BOTH},
	{IPPROTO_TCP, TCP_FASTOPEN, BOTH},
	{IPPROTO_TCP, TCP_NOTSENT_LOWAT, BOTH},
	{IPPROTO_UDP, UDP_CORK, BOTH},
	{IPPROTO_UDP, UDP_SEGMENT, BOTH},
	{IPPROTO_UDP, UDP_GRO, BOTH},
	{IPPROTO_UDPLITE, UDPLITE_SEND_CSCOV_, BOTH},
	{IPPROTO_UDPLITE, UDPLITE_RECV_CSCOV_, BOTH},
	{IPPROTO_IP, IP_TOS, BOTH},
	{IPPROTO_IP, IP_TTL, BOTH},
	{IPPROTO_IP, IP_RECVTOS, BOTH},
	{IPPROTO_IP, IP_RECVTTL, BOTH},
	{IPPROTO_IP, IP_PKTINFO, BOTH},
	{IPPROTO_IP, IP_MTU_DISCOVER, BOTH},
	{IPPROTO_IP, IP_MTU, GET},
	{IPPROTO_IP, IP_RECVERR, BOTH},
	{IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, GET},
	{IPPROTO_IP, IP_MULTICAST_TTL, BOTH},
	{IPPROTO_IP, IP_MULTICAST_LOOP, BOTH},
	{IPPROTO_IP, IP_MULTICAST_IF, BOTH | WITH_HOST},
	{IPPROTO_IP, IP_ADD_MEMBERSHIP, SET | WITH_HOST},
	{IPPROTO_IP, IP_DROP_MEMBERSHIP, SET | WITH_HOST},
	{IPPROTO_IPV6, IPV6_V6ONLY, BOTH},
	{IPPROTO_IPV6, IPV6_UNICAST_HOPS, BOTH},
	{IPPROTO_IPV6, IPV6_TCLASS, BOTH},
	{IPPROTO_IPV6, IPV6_RECVTCLASS, BOTH},
	{IPPROTO_IPV6, IPV6_RECVPKTINFO, BOTH},
	{IPPROTO_IPV6, IPV6_RECVHOPLIMIT, BOTH},
	{IPPROTO_IPV6, IPV6_MTU_DISCOVER, BOTH},
	{IPPROTO_IPV6, IPV6_MTU, GET},
	{IPPROTO_IPV6, IPV6_RECVERR, BOTH},
	{IPPROTO_IPV6, IPV6_MULTICAST_HOPS, BOTH},
	{IPPROTO_IPV6, IPV6_MULTICAST_LOOP, BOTH},
	{IPPROTO_IPV6, IPV6_MULTICAST_IF, BOTH | WITH_HOST},
	{IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, SET | WITH_HOST},
	{IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, SET | WITH_HOST},
	{NETLINK_LEVEL, NETLINK_PKTINFO_, BOTH},
	{NETLINK_LEVEL, NETLINK_CAP_ACK_, BOTH},
	{NETLINK_LEVEL, NETLINK_EXT_ACK_, BOTH},
	{NETLINK_LEVEL, NETLINK_STRICT_CHK_, BOTH},
};

static bool is_privileged(int level, int name)
{
	static const int privileged[] = {SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_MARK, SO_BINDTODEVICE};

	for (unsigned int i = 0; level == SOL_SOCKET && i < ARRAY_SIZE(privileged); i++)
		if (name == privileged[i])
			return true;
	return false;
}

/* 0: it may be got or set. */
static int check_option(const struct task *t, int level, int name, unsigned int what)
{
	bool host = sockets_net(t->sandbox->sockets) == LODGE_NET_HOST;

	for (unsigned int i = 0; i < ARRAY_SIZE(options); i++) {
		const struct sock_option *o = &options[i];
		if (o->level != level || o->name != name || !(o->may & what))
			continue;
		return (o->may & WITH_HOST) && !host ? -ENOPROTOOPT : 0;
	}
	if (what == SET && level == SOL_SOCKET && name == SO_DETACH_FILTER)
		return -ENOENT;
	return what == SET && is_privileged(level, name) ? -EPERM : -ENOPROTOOPT;
}

/* What its family has no options of is told first. */
static int host_socket(struct task *t, int guest_fd, int level)
{
	const struct guest_file *file = files_get_open(t->files, guest_fd);

	if (!file)
		return -EBADF;
	if (!file->socket_domain)
		return -ENOTSOCK;
	return file->socket_domain == AF_UNIX && level != SOL_SOCKET ? -EOPNOTSUPP : file->host_fd;
}

/* A value that is not handed on as it is. */
static int64_t adjust(int level, int name, void *value, size_t bytes)
{
	struct linger *linger = value;

	if (level != SOL_SOCKET)
		return 0;
	if (name == SO_LINGER && bytes >= sizeof(*linger) && linger->l_onoff && linger->l_linger)
		linger->l_onoff = 0;
	if (name == SO_DEBUG && bytes >= sizeof(int) && *(int *)value)
		return -EACCES;
	if (name == SO_BUSY_POLL && bytes >= sizeof(int) && *(int *)value > 0)
		return -EPERM;
	if (name == SO_PRIORITY && bytes >= sizeof(int) &&
	    (*(int *)value < 0 || *(int *)value > MAX_PRIORITY))
		return -EPERM;
	return 0;
}

static int64_t sys_setsockopt(struct task *t, const uint64_t a[6])
{
	int level = (int)a[1], fd = host_socket(t, (int)a[0], level), name = (int)a[2], bytes = (int)a[4];
	char value[OPTION_MAX_BYTES] __attribute__((aligned(8)));
	int64_t ret;

	if (fd < 0 && fd != -EOPNOTSUPP)
		return fd;
	if (bytes < 0)
		return -EINVAL;
	if (fd < 0)
		return fd;
	/* Options of any socket are numbers at least. */
	if (level == SOL_SOCKET && bytes < (int)sizeof(int))
		return -EINVAL;
	if (level == SOL_SOCKET && copy_from_user(t->mm, value, a[3], sizeof(int)))
		return -EFAULT;
	ret = check_option(t, level, name, SET);
	if (ret)
		return ret;
	bytes = bytes < OPTION_MAX_BYTES ? bytes : OPTION_MAX_BYTES;
	if (bytes && copy_from_user(t->mm, value, a[3], (size_t)bytes))
		return -EFAULT;
	ret = adjust(level, name, value, (size_t)bytes);
	if (ret)
		return ret;
	return setsockopt(fd, level, name, value, (socklen_t)bytes) ? -errno : 0;
}

static int64_t sys_getsockopt(struct task *t, const uint64_t a[6])
{
	int fd = host_socket(t, (int)a[0], (int)a[1]), bytes;
	char value[OPTION_MAX_BYTES] __attribute__((aligned(8))) = {0};
	socklen_t got;
	int64_t ret;

	if (fd < 0)
		return fd;
	if (copy_from_user(t->mm, &bytes, a[4], sizeof(bytes)))
		return -EFAULT;
	if (bytes < 0)
		return -EINVAL;
	ret = check_option(t, (int)a[1], (int)a[2], GET);
	if (ret)
		return ret;
	got = (socklen_t)(bytes < OPTION_MAX_BYTES ? bytes : OPTION_MAX_BYTES);
	if (getsockopt(fd, (int)a[1], (int)a[2], value, &got))
		return -errno;
	if ((int)a[1] == SOL_SOCKET && (int)a[2] == SO_PEERCRED && got == sizeof(struct ucred))
		identity_show_ucred(&t->sandbox->identity, (void *)value);
	if (got && copy_to_user(t->mm, a[3], value, got <= OPTION_MAX_BYTES ? got : OPTION_MAX_BYTES))
		return -EFAULT;
	return copy_to_user(t->mm, a[4], &got, sizeof(got)) ? -EFAULT : 0;
}

const struct syscall_entry sys_sockopt_calls[] = {
	SYSCALL_ENTRY(setsockopt),
	SYSCALL_ENTRY(getsockopt),
	{0},
};
