/* SPDX-License-Identifier: MIT */
/*
 * inet_reach.c - tries to reach addresses that are not the machine's own, in every way that takes an address. One line for each.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static socklen_t parse(union address *a, const char *text)
{
	memset(a, 0, sizeof(*a));
	a->in.sin_port = htons(9);
	if (inet_pton(AF_INET, text, &a->in.sin_addr) == 1) {
		a->any.sa_family = AF_INET;
		return sizeof(a->in);
	}
	a->any.sa_family = AF_INET6;
	inet_pton(AF_INET6, text, &a->in6.sin6_addr);
	return sizeof(a->in6);
}

static void told(const char *what, const char *address, long ret)
{
	printf("%s %s: %s\n", what, address, ret < 0 ? strerrorname_np(errno) : "ok");
}

static void try_address(const char *text)
{
	union address a;
	socklen_t bytes = parse(&a, text);
	struct msghdr h = {.msg_name = &a, .msg_namelen = bytes};
	struct mmsghdr m = {.msg_hdr = h};
	int family = a.any.sa_family;

	told("connect", text, connect(socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0), &a.any, bytes));
	told("connect, UDP", text, connect(socket(family, SOCK_DGRAM, 0), &a.any, bytes));
	told("sendto", text, sendto(socket(family, SOCK_DGRAM, 0), "x", 1, 0, &a.any, bytes));
	told("sendmsg", text, sendmsg(socket(family, SOCK_DGRAM, 0), &h, 0));
	told("sendmmsg", text, sendmmsg(socket(family, SOCK_DGRAM, 0), &m, 1, 0));
	told("fast open", text,
	     sendto(socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0), "x", 1, MSG_FASTOPEN, &a.any, bytes));
	if (family == AF_INET) {
		told("sendto by IPv6", text,
		     sendto(socket(AF_INET6, SOCK_DGRAM, 0), "x", 1, 0, &a.any, bytes));
		a.any.sa_family = AF_UNSPEC;
		told("sendto without family", text,
		     sendto(socket(family, SOCK_DGRAM, 0), "x", 1, 0, &a.any, bytes));
		a.any.sa_family = AF_INET;
	}
	a.in.sin_port = 0;
	told("bind", text, bind(socket(family, SOCK_STREAM, 0), &a.any, bytes));
}

/* What binding to all addresses, or to none, came to. */
static void say_bound(const char *what, int fd)
{
	char text[64] = "?";
	union address a;
	socklen_t bytes = sizeof(a);

	getsockname(fd, &a.any, &bytes);
	inet_ntop(a.any.sa_family,
		  a.any.sa_family == AF_INET ? (void *)&a.in.sin_addr : (void *)&a.in6.sin6_addr, text,
		  sizeof(text));
	printf("%s: %s\n", what, text);
}

static void try_all_addresses(int family, const char *text, const char *loopback)
{
	int a = socket(family, SOCK_STREAM, 0), b = socket(family, SOCK_STREAM, 0),
	    c = socket(family, SOCK_DGRAM, 0);
	union address any, to;
	socklen_t bytes = parse(&any, text), to_bytes = parse(&to, loopback);

	any.in.sin_port = 0;
	told("bind", text, bind(a, &any.any, bytes));
	say_bound("bound", a);
	told("listen", "nowhere", listen(b, 1));
	say_bound("listens at", b);
	told("sendto", loopback, sendto(c, "x", 1, 0, &to.any, to_bytes));
	say_bound("sent from", c);
}

static void try_netlink(void)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} m = {{sizeof(m), RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 0, 0}, {.ifi_index = 1, .ifi_change = 1}};
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	told("netlink", "send", send(fd, &m, sizeof(m), 0));
	told("netlink", "write", write(fd, &m, sizeof(m)));
	m.h.nlmsg_len = 8;
	told("netlink", "short", send(fd, &m, sizeof(m), 0));
	m.h = (struct nlmsghdr){sizeof(m.h) + sizeof(struct rtgenmsg), RTM_GETLINK, NLM_F_REQUEST, 0, 0};
	told("netlink", "two", send(fd, (char[64]){0}, 64, 0));
	told("netlink", "other", socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
}

int main(void)
{
	static const char *const addresses[] = {"8.8.8.8", "::ffff:8.8.8.8", "2001:db8::1", "10.0.0.1",
						"224.0.0.1"};

	told("socket", "raw", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	told("socket", "packet", socket(AF_PACKET, SOCK_RAW, 0));
	told("socket", "IPv4", socket(AF_INET, SOCK_STREAM, 0));
	if (socket(AF_INET, SOCK_STREAM, 0) < 0) {
		told("socket", "IPv6", socket(AF_INET6, SOCK_STREAM, 0));
		told("socket", "netlink", socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
		return 0;
	}
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
		try_address(addresses[i]);
	try_all_addresses(AF_INET, "0.0.0.0", "127.0.0.1");
	if (socket(AF_INET6, SOCK_STREAM, 0) >= 0)
		try_all_addresses(AF_INET6, "::", "::ffff:127.0.0.1");
	try_netlink();
	return 0;
}
