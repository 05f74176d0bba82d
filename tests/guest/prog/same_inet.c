/* SPDX-License-Identifier: MIT */
/*
 * same_inet.c - the loopback network, for --net=local: TCP and UDP over IPv4 and IPv6, and what the machine's interfaces are.
 */
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "case.h"

static void told(const char *what, long ret)
{
	if (ret < 0)
		printf("%-52s %s\n", what, strerrorname_np(errno));
	else
		printf("%-52s %ld\n", what, ret);
}

#define TELL(call)    told(#call, (long)(call))
#define TELL_OK(call) told(#call, (long)(call) < 0 ? -1 : 0)

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static socklen_t loopback(union address *a, int family, uint16_t port)
{
	*a = (union address){.any.sa_family = (sa_family_t)family};
	a->in.sin_port = port; /* in the same place in both */
	if (family == AF_INET)
		a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		a->in6.sin6_addr = in6addr_loopback;
	return family == AF_INET ? sizeof(a->in) : sizeof(a->in6);
}

static uint16_t port_of(int fd)
{
	union address a;
	socklen_t bytes = sizeof(a);

	getsockname(fd, &a.any, &bytes);
	return a.in.sin_port;
}

static int bound(int family, int type)
{
	union address a;
	socklen_t bytes = loopback(&a, family, 0);
	int fd = socket(family, type, 0);

	TELL(bind(fd, &a.any, bytes));
	return fd;
}

static char large[1 << 20];

static void *feed(void *arg)
{
	printf("fed %zd\n", send(*(int *)arg, large, sizeof(large), 0));
	shutdown(*(int *)arg, SHUT_WR);
	return NULL;
}

static void stream(int family)
{
	int listener = bound(family, SOCK_STREAM), client = socket(family, SOCK_STREAM, 0), server, on = 1;
	union address a, from;
	socklen_t bytes = loopback(&a, family, port_of(listener)), room = sizeof(from);
	size_t sum = 0;
	char buffer[70000];
	pthread_t thread;
	ssize_t n;

	TELL(listen(listener, 5));
	TELL(connect(client, &a.any, bytes));
	TELL(connect(client, &a.any, bytes));
	TELL_OK(server = accept(listener, &from.any, &room));
	printf("from family %d, its port: %d, %u bytes\n", from.any.sa_family,
	       from.in.sin_port == port_of(client), room);
	TELL(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
	pthread_create(&thread, NULL, feed, &client);
	while ((n = read(server, buffer, sizeof(buffer))) > 0)
		sum += (size_t)n;
	pthread_join(thread, NULL);
	printf("%zu bytes\n", sum);
	TELL(send(server, "back", 4, MSG_MORE));
	close(server);
	TELL(recv(client, buffer, 10, MSG_WAITALL));
	TELL(recv(client, buffer, 10, 0));
	close(listener);
	TELL(connect(socket(family, SOCK_STREAM, 0), &a.any, bytes));
	close(client);
}

static void streams(void)
{
	stream(AF_INET);
}

static void streams6(void)
{
	stream(AF_INET6);
}

static void datagrams(void)
{
	int server = bound(AF_INET, SOCK_DGRAM), client = socket(AF_INET, SOCK_DGRAM, 0);
	union address a, from;
	socklen_t bytes = loopback(&a, AF_INET, port_of(server)), room = sizeof(from);
	char buffer[16];

	TELL(sendto(client, "ask", 3, 0, &a.any, bytes));
	TELL(socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE) >= 0);
	TELL(socket(AF_INET, SOCK_STREAM, IPPROTO_UDPLITE));
	TELL(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
	TELL(recvfrom(server, buffer, sizeof(buffer), 0, &from.any, &room));
	printf("its port: %d\n", from.in.sin_port == port_of(client));
	TELL(sendto(server, "answer", 6, 0, &from.any, room));
	TELL(recv(client, buffer, 3, MSG_TRUNC));
	TELL(connect(client, &a.any, bytes));
	TELL(write(client, "more", 4));
	TELL(read(server, buffer, sizeof(buffer)));
	a.any.sa_family = AF_UNSPEC;
	TELL(connect(client, &a.any, bytes));
	TELL(write(client, "more", 4));
	TELL(sendto(client, "x", 1, 0, &a.any, 4));
	TELL(send(client, large, 70000, 0));
	close(client);
	close(server);
}

static void nonblocking(void)
{
	int listener = bound(AF_INET, SOCK_STREAM), client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	union address a;
	socklen_t bytes = loopback(&a, AF_INET, port_of(listener)), error_bytes = sizeof(int);
	struct pollfd p = {.fd = client, .events = POLLOUT};
	int error = -1;

	listen(listener, 5);
	TELL(connect(client, &a.any, bytes));
	TELL(poll(&p, 1, 5000));
	TELL(getsockopt(client, SOL_SOCKET, SO_ERROR, &error, &error_bytes));
	printf("error %d\n", error);
	TELL(recv(client, &error, 1, 0));
	close(client);
	close(listener);
}

static void interfaces(void)
{
	struct ifaddrs *all, *i;

	if (getifaddrs(&all)) {
		printf("getifaddrs: %s\n", strerrorname_np(errno));
		return;
	}
	for (i = all; i; i = i->ifa_next)
		printf("%s %x %d\n", i->ifa_name, i->ifa_flags, i->ifa_addr ? i->ifa_addr->sa_family : -1);
	freeifaddrs(all);
	printf("lo is %u\n", if_nametoindex("lo"));
}

static const struct guest_case cases[] = {
	{"inet: TCP over IPv4 [J2]", streams},
	{"inet: TCP over IPv6 [J2]", streams6},
	{"inet: UDP [J2]", datagrams},
	{"inet: a connection that nobody waits for [J2]", nonblocking},
	{"inet: what interfaces there are [J2]", interfaces},
};

int main(int argc, char **argv)
{
	if (cases_listed(argc, argv, cases, NR_CASES(cases)))
		return 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	alarm(50);
	cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
