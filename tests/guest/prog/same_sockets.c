/* SPDX-License-Identifier: MIT */
/*
 * same_sockets.c - AF_UNIX: streams, datagrams and packets, their names, control messages, waits, and what is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "case.h"

/* The compiler must not see that it is none. */
static void *volatile nowhere = (void *)16;

#define NOWHERE	 (nowhere)
#define SUN_HEAD offsetof(struct sockaddr_un, sun_path)

/* A result that is a number, or the name of its error. */
static void told(const char *what, long ret)
{
	if (ret < 0)
		printf("%-52s %s\n", what, strerrorname_np(errno));
	else
		printf("%-52s %ld\n", what, ret);
}

#define TELL(call)    told(#call, (long)(call))
#define TELL_OK(call) told(#call, (long)(call) < 0 ? -1 : 0)

static socklen_t named(struct sockaddr_un *a, const char *name, size_t bytes)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(a->sun_path, name, bytes);
	return (socklen_t)(SUN_HEAD + bytes);
}

static int bound(int type, const char *name, size_t bytes)
{
	struct sockaddr_un a;
	socklen_t length = named(&a, name, bytes);
	int fd = socket(AF_UNIX, type, 0);

	if (bind(fd, (void *)&a, length))
		printf("bind: %s\n", strerrorname_np(errno));
	return fd;
}

static int connected(int type, const char *name, size_t bytes)
{
	struct sockaddr_un a;
	socklen_t length = named(&a, name, bytes);
	int fd = socket(AF_UNIX, type, 0);

	if (connect(fd, (void *)&a, length))
		printf("connect: %s\n", strerrorname_np(errno));
	return fd;
}

static void say_address(const char *what, const struct sockaddr_un *a, socklen_t bytes)
{
	printf("%s: %u bytes, family %d, \"", what, bytes, a->sun_family);
	for (size_t i = 0; SUN_HEAD + i < bytes && i < sizeof(a->sun_path); i++)
		printf(a->sun_path[i] ? "%c" : "\\0", a->sun_path[i]);
	puts("\"");
}

static void say_name(const char *what, int fd, int (*get)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_un a = {0};
	socklen_t bytes = sizeof(a);

	if (get(fd, (void *)&a, &bytes))
		printf("%s: %s\n", what, strerrorname_np(errno));
	else
		say_address(what, &a, bytes);
}

static int own_name(int fd, struct sockaddr *a, socklen_t *bytes)
{
	return getsockname(fd, a, bytes);
}

static int peer_name(int fd, struct sockaddr *a, socklen_t *bytes)
{
	return getpeername(fd, a, bytes);
}

/* --- making ---------------------------------------------------------------------------------- */

static void making(void)
{
	int pair[2], type = 0;
	socklen_t bytes = sizeof(type);

	TELL_OK(socket(AF_UNIX, SOCK_STREAM, 0));
	TELL_OK(socket(AF_UNIX, SOCK_DGRAM, AF_UNIX));
	TELL(socket(AF_UNIX, SOCK_STREAM, 7));
	TELL(socket(AF_UNIX, SOCK_RDM, 0));
	TELL(socket(AF_UNIX, SOCK_STREAM | 0x100, 0));
	TELL(socket(1000, SOCK_STREAM, 0));
	TELL(socketpair(AF_UNIX, SOCK_STREAM | 0x100, 0, pair));
	TELL(socketpair(AF_UNIX, SOCK_STREAM, 0, NOWHERE));
	TELL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
	printf("flags %x %x\n", fcntl(pair[0], F_GETFD), fcntl(pair[0], F_GETFL));
	TELL(getsockopt(pair[0], SOL_SOCKET, SO_TYPE, &type, &bytes));
	printf("type %d in %u bytes\n", type, bytes);
	TELL(read(pair[0], &type, 4));
	TELL(lseek(pair[0], 0, SEEK_CUR));
	TELL(pread(pair[0], &type, 4, 0));
	TELL(ftruncate(pair[0], 0));
	TELL(listen(1, 5));
	TELL(listen(99, 5));
	TELL(connect(1, NOWHERE, 10));
	TELL(getsockname(99, NULL, NULL));
}

/* --- streams --------------------------------------------------------------------------------- */

static char large[1 << 20];

static void *feed(void *arg)
{
	int fd = *(int *)arg;

	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (char)(i * 7);
	printf("fed %zd\n", send(fd, large, sizeof(large), 0));
	shutdown(fd, SHUT_WR);
	return NULL;
}

static void streams(void)
{
	int pair[2], left = 0;
	size_t sum = 0, wrong = 0;
	char buffer[70000];
	pthread_t thread;
	ssize_t n;

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	TELL(write(pair[0], "hello", 5));
	TELL(ioctl(pair[1], FIONREAD, &left));
	printf("%d bytes wait\n", left);
	TELL(recv(pair[1], buffer, 2, 0));
	TELL(recv(pair[1], buffer, 3, MSG_PEEK));
	TELL(recv(pair[1], buffer, 100, MSG_DONTWAIT));
	TELL(recv(pair[1], buffer, 100, MSG_DONTWAIT));
	TELL(read(pair[1], buffer, 0));
	TELL(write(pair[1], buffer, 0));
	TELL(recv(pair[1], NOWHERE, 100, MSG_DONTWAIT));
	TELL(send(pair[0], NOWHERE, 100, 0));
	TELL(send(pair[0], (void *)-1l, 100, 0));
	TELL(recv(pair[1], large, (size_t)-1, MSG_DONTWAIT));
	pthread_create(&thread, NULL, feed, &pair[0]);
	while ((n = recv(pair[1], buffer, sizeof(buffer), MSG_WAITALL)) > 0)
		for (ssize_t i = 0; i < n; i++, sum++)
			wrong += buffer[i] != (char)(sum * 7);
	pthread_join(thread, NULL);
	printf("%zu bytes, %zu of them wrong, then %zd\n", sum, wrong, n);
	close(pair[0]);
	close(pair[1]);
}

static void shutdowns(void)
{
	struct pollfd p = {.events = POLLIN | POLLOUT | POLLRDHUP};
	struct iovec v[2] = {{(char *)"ab", 2}, {(char *)"cde", 3}};
	char buffer[16] = "";
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	TELL(writev(pair[0], v, 2));
	TELL(shutdown(pair[0], SHUT_WR));
	TELL(shutdown(pair[0], 7));
	p.fd = pair[1];
	TELL(poll(&p, 1, 0));
	printf("events %x\n", p.revents);
	TELL(read(pair[1], buffer, sizeof(buffer)));
	printf("%s\n", buffer);
	TELL(read(pair[1], buffer, sizeof(buffer)));
	TELL(write(pair[0], "x", 1));
	TELL(send(pair[0], "x", 1, MSG_NOSIGNAL));
	close(pair[0]);
	TELL(poll(&p, 1, 0));
	printf("events %x\n", p.revents);
	TELL(write(pair[1], "x", 1));
	close(pair[1]);
	signal(SIGPIPE, SIG_DFL);
}

static volatile sig_atomic_t nr_caught;

static void caught(int signo)
{
	(void)signo;
	nr_caught++;
}

static void sigpipes(void)
{
	int pair[2], status;

	nr_caught = 0;
	signal(SIGPIPE, caught);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	close(pair[1]);
	TELL(send(pair[0], "x", 1, MSG_NOSIGNAL));
	printf("%d signals\n", nr_caught);
	TELL(send(pair[0], "x", 1, 0));
	printf("%d signals\n", nr_caught);
	TELL(write(pair[0], "x", 1));
	printf("%d signals\n", nr_caught);
	close(pair[0]);
	socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair);
	close(pair[1]);
	TELL(send(pair[0], "x", 1, 0));
	printf("%d signals\n", nr_caught);
	close(pair[0]);
	signal(SIGPIPE, SIG_DFL);
	if (!fork()) {
		socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
		close(pair[1]);
		_exit((int)write(pair[0], "x", 1));
	}
	wait(&status);
	printf("a child ends by signal %d\n", WTERMSIG(status));
}

/* --- messages -------------------------------------------------------------------------------- */

static void packets(int type)
{
	static char big[400000];
	struct msghdr h = {0};
	struct iovec v[2];
	char buffer[16];
	int pair[2];

	socketpair(AF_UNIX, type, 0, pair);
	TELL(send(pair[0], "one", 3, 0));
	TELL(send(pair[0], "", 0, 0));
	TELL(write(pair[0], "three", 5));
	TELL(send(pair[0], "longer than two", 15, 0));
	TELL(recv(pair[1], buffer, sizeof(buffer), 0));
	TELL(recv(pair[1], buffer, sizeof(buffer), 0));
	TELL(read(pair[1], buffer, 2));
	TELL(recv(pair[1], buffer, 2, MSG_PEEK | MSG_TRUNC));
	v[0] = (struct iovec){buffer, 1};
	v[1] = (struct iovec){buffer + 1, 2};
	h.msg_iov = v;
	h.msg_iovlen = 2;
	TELL(recvmsg(pair[1], &h, 0));
	printf("flags %x, \"%.3s\"\n", h.msg_flags, buffer);
	TELL(recv(pair[1], buffer, 2, MSG_DONTWAIT));
	TELL(send(pair[0], big, sizeof(big), 0));
	TELL(send(pair[0], big, 100000, 0));
	TELL(recv(pair[1], big, sizeof(big), 0));
	TELL(send(pair[0], (char *)NOWHERE, 10, 0));
	TELL(recv(pair[1], NOWHERE, 10, MSG_DONTWAIT));
	close(pair[0]);
	TELL(recv(pair[1], buffer, 2, MSG_DONTWAIT));
	close(pair[1]);
}

static void datagrams(void)
{
	packets(SOCK_DGRAM);
}

static void seqpackets(void)
{
	packets(SOCK_SEQPACKET);
}

static void vectors_of_messages(void)
{
	char out[3][4] = {"one", "two", "six"}, in[4][4] = {{0}};
	struct mmsghdr m[4] = {0};
	struct timespec late = {0};
	struct iovec v[4];
	int pair[2];

	socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
	for (int i = 0; i < 3; i++) {
		v[i] = (struct iovec){out[i], 3};
		m[i].msg_hdr = (struct msghdr){.msg_iov = &v[i], .msg_iovlen = 1};
	}
	TELL(sendmmsg(pair[0], m, 3, 0));
	printf("%u %u %u\n", m[0].msg_len, m[1].msg_len, m[2].msg_len);
	for (int i = 0; i < 4; i++)
		v[i] = (struct iovec){in[i], 3};
	m[3].msg_hdr = (struct msghdr){.msg_iov = &v[3], .msg_iovlen = 1};
	TELL(recvmmsg(pair[1], m, 4, MSG_WAITFORONE, NULL));
	printf("%s %s %s\n", in[0], in[1], in[2]);
	TELL(recvmmsg(pair[1], m, 4, MSG_DONTWAIT, NULL));
	TELL(sendmmsg(pair[0], m, 2, 0));
	TELL(recvmmsg(pair[1], m, 4, 0, &late));
	late.tv_nsec = -1;
	TELL(recvmmsg(pair[1], m, 4, 0, &late));
	m[1].msg_hdr.msg_iov = NOWHERE;
	TELL(sendmmsg(pair[0], m, 3, 0));
	TELL(sendmmsg(pair[0], m + 1, 2, 0));
	TELL(sendmmsg(pair[0], NOWHERE, 2, 0));
	TELL(sendmmsg(1, m, 2, 0));
	close(pair[0]);
	close(pair[1]);
}

static void headers(void)
{
	struct msghdr h = {0};
	struct iovec v = {(char *)"x", 1};
	int pair[2];

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	TELL(sendmsg(pair[0], NOWHERE, 0));
	h.msg_iovlen = 2000;
	TELL(sendmsg(pair[0], &h, 0));
	h.msg_iovlen = 1;
	TELL(sendmsg(pair[0], &h, 0));
	h.msg_iov = &v;
	h.msg_namelen = (socklen_t)-1;
	TELL(sendmsg(pair[0], &h, 0));
	h.msg_name = NOWHERE;
	TELL(sendmsg(pair[0], &h, 0));
	h.msg_namelen = 8;
	TELL(sendmsg(pair[0], &h, 0));
	h.msg_namelen = 0;
	TELL(sendmsg(pair[0], &h, 0));
	h.msg_control = NOWHERE;
	h.msg_controllen = 16;
	TELL(sendmsg(pair[0], &h, 0));
	h.msg_controllen = 1ul << 33;
	TELL(sendmsg(pair[0], &h, 0));
	h.msg_controllen = 1ul << 30;
	TELL(sendmsg(pair[0], &h, 0));
	h.msg_control = NULL;
	h.msg_controllen = 0;
	v.iov_len = (size_t)-1;
	TELL(sendmsg(pair[0], &h, 0));
	close(pair[0]);
	close(pair[1]);
}

/* --- names ----------------------------------------------------------------------------------- */

static void path_names(void)
{
	int listener = bound(SOCK_STREAM, "name", 5), client, server;
	struct sockaddr_un a, from = {0};
	socklen_t bytes = named(&a, "name", 5), room = 5;
	struct stat st;

	TELL(listen(listener, 3));
	stat("name", &st);
	printf("mode %o\n", st.st_mode);
	say_name("listener", listener, own_name);
	TELL(bind(listener, (void *)&a, bytes));
	TELL(bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a, bytes));
	client = connected(SOCK_STREAM, "name", 4);
	server = accept4(listener, (void *)&from, &room, SOCK_CLOEXEC);
	printf("accepted from %u bytes, flags %x\n", room, fcntl(server, F_GETFD));
	say_name("server", server, own_name);
	say_name("server's peer", server, peer_name);
	say_name("client", client, own_name);
	say_name("client's peer", client, peer_name);
	TELL(connect(client, (void *)&a, bytes));
	TELL(unlink("name"));
	say_name("unlinked", listener, own_name);
	TELL(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a, bytes));
	TELL(accept(client, NULL, NULL));
	close(listener);
	close(client);
	close(server);
}

static void lookups(void)
{
	int dir, fd, bytes;
	struct sockaddr_un a;

	umask(027);
	mkdir("d", 0755);
	fd = bound(SOCK_DGRAM, "./d/../d/s", 11);
	umask(022);
	say_name("by a way around", fd, own_name);
	symlink("d/s", "link");
	TELL_OK(connected(SOCK_DGRAM, "link", 5));
	fd = connected(SOCK_DGRAM, "link", 5);
	say_name("peer", fd, peer_name);
	close(open("file", O_CREAT | O_WRONLY, 0644));
	bytes = (int)named(&a, "file", 5);
	TELL(connect(fd, (void *)&a, (socklen_t)bytes));
	bytes = (int)named(&a, "none", 5);
	TELL(connect(fd, (void *)&a, (socklen_t)bytes));
	bytes = (int)named(&a, "file/none", 10);
	TELL(connect(fd, (void *)&a, (socklen_t)bytes));
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	TELL(bind(fd, (void *)&a, (socklen_t)bytes));
	bytes = (int)named(&a, "none/s", 7);
	TELL(bind(fd, (void *)&a, (socklen_t)bytes));
	bytes = (int)named(&a, "link", 5);
	TELL(bind(fd, (void *)&a, (socklen_t)bytes));
	bytes = (int)named(&a, "d/s", 4);
	TELL(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a, (socklen_t)bytes));
	dir = open("d", O_RDONLY | O_DIRECTORY);
	fchdir(dir);
	TELL_OK(connected(SOCK_DGRAM, "s", 1));
	chdir("..");
	unlink("d/s");
	unlink("link");
	unlink("file");
	rmdir("d");
}

/* Names as long as there can be, which differ at their ends. */
static void longest_names(void)
{
	char one[108], two[108];
	int a, b, c;

	memset(one, 'l', sizeof(one));
	memset(two, 'l', sizeof(two));
	one[0] = two[0] = '\0';
	two[107] = 'm';
	a = bound(SOCK_STREAM, one, sizeof(one));
	b = bound(SOCK_STREAM, two, sizeof(two));
	say_name("the longest", a, own_name);
	say_name("another", b, own_name);
	TELL(listen(b, 1));
	c = connected(SOCK_STREAM, two, sizeof(two));
	say_name("its client's peer", c, peer_name);
	bound(SOCK_STREAM, one, sizeof(one));
	close(a);
	a = bound(SOCK_STREAM, one, sizeof(one));
	say_name("once more", a, own_name);
	close(a);
	close(b);
	close(c);
}

static void abstract_names(void)
{
	char full[108] = {0, 'f', 'u', 'l', 'l'};
	int listener = bound(SOCK_STREAM, "\0name", 5), client, a, b;
	struct sockaddr_un other;
	socklen_t bytes = named(&other, "\0name2", 6);

	TELL(listen(listener, 3));
	say_name("listener", listener, own_name);
	TELL(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&other, bytes));
	client = connected(SOCK_STREAM, "\0name", 5);
	say_name("client's peer", client, peer_name);
	a = bound(SOCK_STREAM, full, sizeof(full));
	say_name("filled with zeros", a, own_name);
	TELL(listen(a, 1));
	b = connected(SOCK_STREAM, full, sizeof(full));
	say_name("its client's peer", b, peer_name);
	TELL(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&other, 5));
	close(a);
	a = bound(SOCK_DGRAM, "", 0);
	TELL(bind(a, (void *)&other, bytes));
	bytes = sizeof(other);
	TELL(getsockname(a, (void *)&other, &bytes));
	printf("chosen: %u bytes\n", bytes);
	TELL(connect(b, NOWHERE, 10));
	TELL(connect(b, (void *)&other, 200));
	TELL(connect(b, (void *)&other, 1));
	TELL(bind(b, (void *)&other, 111));
	other.sun_family = AF_INET;
	TELL(bind(b, (void *)&other, 16));
	close(a);
	close(b);
	close(client);
	close(listener);
}

static void senders(void)
{
	int receiver = bound(SOCK_DGRAM, "\0to", 3), sender = bound(SOCK_DGRAM, "from", 5), other;
	struct sockaddr_un a, from = {0};
	socklen_t bytes = named(&a, "\0to", 3), room = sizeof(from);
	struct msghdr h = {0};
	char buffer[16];
	struct iovec v = {buffer, sizeof(buffer)};

	TELL(send(sender, "x", 1, 0));
	TELL(sendto(sender, "abc", 3, 0, (void *)&a, bytes));
	TELL(recvfrom(receiver, buffer, sizeof(buffer), 0, (void *)&from, &room));
	say_address("from", &from, room);
	TELL(sendto(receiver, "reply", 5, 0, (void *)&from, room));
	h = (struct msghdr){.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &v, .msg_iovlen = 1};
	TELL(recvmsg(sender, &h, 0));
	say_address("from", &from, h.msg_namelen);
	other = socket(AF_UNIX, SOCK_DGRAM, 0);
	TELL(sendto(other, "y", 1, 0, (void *)&a, bytes));
	room = sizeof(from);
	TELL(recvfrom(receiver, buffer, sizeof(buffer), 0, (void *)&from, &room));
	printf("from %u bytes\n", room);
	TELL(connect(sender, (void *)&a, bytes));
	TELL(send(sender, "z", 1, 0));
	a.sun_family = AF_UNSPEC;
	TELL(connect(sender, (void *)&a, bytes));
	TELL(send(sender, "z", 1, 0));
	TELL(recvfrom(receiver, buffer, sizeof(buffer), 0, (void *)&a, NOWHERE));
	close(receiver);
	a.sun_family = AF_UNIX;
	TELL(sendto(sender, "abc", 3, 0, (void *)&a, bytes));
	close(sender);
	close(other);
	unlink("from");
}

/* --- control messages ------------------------------------------------------------------------ */

/* Sends one byte with `nr` descriptors under a header that says `length` (0: the right one). */
static long send_fds(int to, const int *fd, size_t nr, size_t length)
{
	char control[CMSG_SPACE(sizeof(int) * 300)] __attribute__((aligned(8))) = {0};
	struct iovec v = {(char *)"x", 1};
	struct msghdr h = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = CMSG_SPACE(sizeof(int) * nr)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);

	*c = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS,
			      .cmsg_len = length ? length : CMSG_LEN(sizeof(int) * nr)};
	memcpy(CMSG_DATA(c), fd, sizeof(int) * nr);
	return sendmsg(to, &h, 0);
}

/* Receives with room for that many bytes of control messages; the descriptors. */
static size_t receive_fds(int from, size_t room, int flags, int *fd)
{
	char control[1024] __attribute__((aligned(8)));
	char data[4];
	struct iovec v = {data, sizeof(data)};
	struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
	long n = recvmsg(from, &h, flags);
	struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&h);
	size_t nr = c ? (c->cmsg_len - sizeof(*c)) / sizeof(int) : 0;

	printf("%ld bytes, flags %x, %zu of control, %zu descriptors\n", n, h.msg_flags,
	       (size_t)h.msg_controllen, nr);
	for (size_t i = 0; i < nr && i < 4; i++)
		memcpy(&fd[i], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	return nr;
}

static void descriptors(void)
{
	int pair[2], ends[2], got[4] = {0}, many[300];
	char buffer[8] = "";

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	pipe(ends);
	for (int i = 0; i < 300; i++)
		many[i] = ends[0];
	TELL(send_fds(pair[0], ends, 2, 0));
	receive_fds(pair[1], CMSG_SPACE(2 * sizeof(int)), 0, got);
	printf("flags %x %x\n", fcntl(got[0], F_GETFD), fcntl(got[1], F_GETFD));
	TELL(write(got[1], "pipe", 4));
	TELL(read(ends[0], buffer, sizeof(buffer)));
	close(got[0]);
	close(got[1]);
	TELL(send_fds(pair[0], ends, 2, 0));
	receive_fds(pair[1], CMSG_LEN(sizeof(int)), MSG_CMSG_CLOEXEC, got);
	printf("flags %x\n", fcntl(got[0], F_GETFD));
	close(got[0]);
	TELL(send_fds(pair[0], ends, 2, 0));
	receive_fds(pair[1], 0, 0, got);
	TELL(send_fds(pair[0], ends, 1, 0));
	receive_fds(pair[1], 64, MSG_PEEK, got);
	close(got[0]);
	receive_fds(pair[1], 64, 0, got);
	close(got[0]);
	TELL(send_fds(pair[0], many, 253, 0));
	TELL(send_fds(pair[0], many, 254, 0));
	TELL(send_fds(pair[0], (int[]){99}, 1, 0));
	TELL(send_fds(pair[0], (int[]){-1}, 1, 0));
	TELL(send_fds(pair[0], ends, 1, 15));
	TELL(send_fds(pair[0], ends, 1, 25));
	TELL(send_fds(pair[0], ends, 1, (size_t)-1));
	TELL(send_fds(pair[0], ends, 1, 16));
	close(pair[0]);
	close(pair[1]);
	TELL(dup(1) - dup(1) + 1);
	for (int i = 3; i < 100; i++)
		close(i);
}

/* A memfd that exists only in a message keeps what is in it. */
static void memory_on_its_way(void)
{
	int pair[2], got[4] = {0}, memfd = memfd_create("shared", 0);
	char *mapped;

	socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
	TELL(write(memfd, "kept in the message", 20));
	TELL(send_fds(pair[0], &memfd, 1, 0));
	close(memfd);
	if (!fork()) {
		receive_fds(pair[1], 64, 0, got);
		mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, got[0], 0);
		puts(mapped);
		strcpy(mapped, "seen");
		TELL(send_fds(pair[1], got, 1, 0));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	receive_fds(pair[0], 64, 0, got);
	mapped = mmap(NULL, 4096, PROT_READ, MAP_SHARED, got[0], 0);
	puts(mapped);
	munmap(mapped, 4096);
	close(got[0]);
	close(pair[0]);
	close(pair[1]);
}

static void credentials(void)
{
	char control[CMSG_SPACE(sizeof(struct ucred))] __attribute__((aligned(8))) = {0};
	struct ucred *cred, peer;
	struct iovec v = {control, 1};
	struct msghdr h = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);
	socklen_t bytes = sizeof(peer);
	int pair[2], on = 1;

	socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
	TELL(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &peer, &bytes));
	printf("%d %d %d\n", peer.pid == getpid(), peer.uid == getuid(), peer.gid == getgid());
	TELL(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	TELL(send(pair[0], "x", 1, 0));
	TELL(recvmsg(pair[1], &h, 0));
	cred = (void *)CMSG_DATA(c);
	printf("type %d, %d %d %d\n", c->cmsg_type, cred->pid == getpid(), cred->uid == getuid(),
	       cred->gid == getgid());
	TELL(sendmsg(pair[0], &h, 0));
	TELL(recvmsg(pair[1], &h, 0));
	c->cmsg_len--;
	TELL(sendmsg(pair[0], &h, 0));
	close(pair[0]);
	close(pair[1]);
}

/* --- waits ----------------------------------------------------------------------------------- */

static volatile sig_atomic_t poking;

/* Until it is told to stop: a signal that comes before the call does not count. */
static void *poke(void *arg)
{
	pthread_t thread = *(pthread_t *)arg;

	while (poking) {
		usleep(10000);
		pthread_kill(thread, SIGUSR1);
	}
	return NULL;
}

static pthread_t poke_me(void)
{
	static pthread_t self;
	pthread_t thread;

	self = pthread_self();
	poking = 1;
	pthread_create(&thread, NULL, poke, &self);
	return thread;
}

static void poke_no_more(pthread_t thread)
{
	poking = 0;
	pthread_join(thread, NULL);
}

static void handle(int flags)
{
	struct sigaction action = {.sa_handler = caught, .sa_flags = flags};

	nr_caught = 0;
	sigaction(SIGUSR1, &action, NULL);
}

static void interruptions(void)
{
	pthread_t thread;
	int pair[2], listener = bound(SOCK_STREAM, "\0wait", 5);
	struct timeval tv = {.tv_usec = 200000};
	char buffer[8];

	listen(listener, 1);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	handle(0);
	thread = poke_me();
	TELL(recv(pair[0], buffer, 1, 0));
	poke_no_more(thread);
	thread = poke_me();
	TELL(accept(listener, NULL, NULL));
	poke_no_more(thread);
	thread = poke_me();
	printf("filled, then %d\n", send(pair[0], large, sizeof(large), 0) < (ssize_t)sizeof(large));
	poke_no_more(thread);
	thread = poke_me();
	TELL(send(pair[0], large, sizeof(large), 0));
	poke_no_more(thread);
	handle(SA_RESTART);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	TELL(recv(pair[0], buffer, 1, 0));
	TELL(read(pair[0], buffer, 1));
	TELL(send(pair[0], large, sizeof(large), 0));
	tv.tv_sec = 30;
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	thread = poke_me();
	TELL(recv(pair[0], buffer, 1, 0));
	poke_no_more(thread);
	close(pair[0]);
	close(pair[1]);
	close(listener);
}

/* What is there is not what the call wants: it waits, and can be interrupted. */
static void readable_for_others(void)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
	struct timeval tv = {.tv_usec = 200000};
	int pair[2], behind = 4;
	pthread_t thread;
	char buffer[8];

	handle(0);
	for (int i = 0; i < 3; i++) {
		socketpair(AF_UNIX, types[i], 0, pair);
		TELL(setsockopt(pair[0], SOL_SOCKET, SO_PEEK_OFF, &behind, sizeof(behind)));
		TELL(send(pair[1], "ab", 2, 0));
		thread = poke_me();
		TELL(recv(pair[0], buffer, sizeof(buffer), MSG_PEEK));
		poke_no_more(thread);
		setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
		TELL(recv(pair[0], buffer, sizeof(buffer), MSG_PEEK));
		TELL(recv(pair[0], buffer, sizeof(buffer), 0));
		close(pair[0]);
		close(pair[1]);
	}
}

static void *late_client(void *arg)
{
	int fd;

	(void)arg;
	usleep(150000);
	fd = connected(SOCK_STREAM, "\0late", 5);
	usleep(100000);
	write(fd, "data", 4);
	return (void *)(intptr_t)fd;
}

/* SA_RESTART: the signals come and the calls go on. */
static void restarts(void)
{
	int listener = bound(SOCK_STREAM, "\0late", 5), server;
	pthread_t poker, client;
	char buffer[8] = "";
	void *fd;

	listen(listener, 1);
	handle(SA_RESTART);
	pthread_create(&client, NULL, late_client, NULL);
	poker = poke_me();
	TELL_OK(server = accept(listener, NULL, NULL));
	TELL(recv(server, buffer, sizeof(buffer), 0));
	poke_no_more(poker);
	pthread_join(client, &fd);
	printf("%s, signals: %d\n", buffer, nr_caught > 0);
	close((int)(intptr_t)fd);
	close(server);
	close(listener);
}

static void killed_while_waiting(void)
{
	int pair[2], status;
	char byte;

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();
		if (!pid && i == 0)
			_exit((int)recv(pair[0], &byte, 1, 0));
		if (!pid && i == 1)
			for (;;)
				send(pair[0], large, sizeof(large), 0);
		if (!pid)
			_exit(accept(bound(SOCK_STREAM, "\0k", 2), NULL, NULL) < 0);
		usleep(50000);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		printf("signal %d status %d\n", WTERMSIG(status), WEXITSTATUS(status));
	}
	close(pair[0]);
	close(pair[1]);
}

static void nonblocking(void)
{
	int listener = bound(SOCK_STREAM | SOCK_NONBLOCK, "\0n", 2), fd, server, nr = 0;
	struct sockaddr_un a;
	socklen_t bytes = named(&a, "\0n", 2);
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = 7}, got[2];
	int ep = epoll_create1(0);
	char buffer[8];
	fd_set set;

	TELL(listen(listener, 0));
	TELL(accept(listener, NULL, NULL));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	TELL(connect(fd, (void *)&a, bytes));
	TELL(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	TELL(epoll_wait(ep, got, 2, 0));
	printf("events %x of %u\n", got[0].events, got[0].data.u32);
	TELL(connect(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), (void *)&a, bytes));
	FD_ZERO(&set);
	FD_SET(listener, &set);
	TELL(select(listener + 1, &set, NULL, NULL, NULL));
	TELL_OK(server = accept(listener, NULL, NULL));
	TELL(recv(fd, buffer, 8, 0));
	while (send(fd, large, 100000, 0) > 0)
		nr++;
	printf("filled: %d, %s\n", nr > 0, strerrorname_np(errno));
	TELL(send(server, "x", 1, 0));
	TELL(epoll_wait(ep, got, 2, -1));
	printf("events %x\n", got[0].events);
	close(server);
	TELL(epoll_wait(ep, got, 2, -1));
	printf("events %x\n", got[0].events);
	close(fd);
	close(ep);
	close(listener);
}

static void options(void)
{
	int pair[2], value = 70000, copy = 0;
	socklen_t bytes = sizeof(value);
	struct timeval tv = {.tv_sec = 3, .tv_usec = 1000001};

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	TELL(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &value, bytes));
	TELL(getsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &value, &bytes));
	printf("%d\n", value);
	TELL(getsockopt(pair[0], SOL_SOCKET, SO_ERROR, &value, &bytes));
	TELL(getsockopt(pair[0], SOL_SOCKET, SO_ACCEPTCONN, &value, &bytes));
	bytes = 2;
	TELL(getsockopt(pair[0], SOL_SOCKET, SO_DOMAIN, &value, &bytes));
	printf("%d in %u bytes\n", value & 0xffff, bytes);
	bytes = (socklen_t)-1;
	TELL(getsockopt(pair[0], SOL_SOCKET, SO_DOMAIN, &value, &bytes));
	TELL(getsockopt(pair[0], SOL_SOCKET, SO_DOMAIN, &value, NOWHERE));
	TELL(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	TELL(setsockopt(pair[0], SOL_SOCKET, SO_KEEPALIVE, &value, 2));
	TELL(setsockopt(pair[0], SOL_SOCKET, SO_KEEPALIVE, NOWHERE, 4));
	TELL(setsockopt(pair[0], SOL_SOCKET, SO_KEEPALIVE, &value, (socklen_t)-1));
	TELL(setsockopt(pair[0], SOL_SOCKET, 9999, &value, 4));
	TELL(setsockopt(1, SOL_SOCKET, SO_KEEPALIVE, &value, 4));
	TELL(write(pair[0], "xyz", 3));
	TELL(ioctl(pair[1], FIONREAD, &copy));
	TELL(fcntl(pair[1], F_SETFL, O_NONBLOCK));
	TELL(recv(pair[1], &value, 3, 0));
	TELL(recv(pair[1], &value, 3, 0));
	close(pair[0]);
	close(pair[1]);
}

static void files_through_them(void)
{
	int pair[2], fd = open("file", O_CREAT | O_RDWR, 0644);
	char buffer[16] = "";

	write(fd, "from a file", 11);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	TELL(sendfile(pair[0], fd, &(off_t){5}, 6));
	TELL(recv(pair[1], buffer, 16, 0));
	puts(buffer);
	close(fd);
	unlink("file");
	TELL(dup2(pair[0], 50));
	close(pair[0]);
	TELL(send(50, "dup", 3, 0));
	TELL(recv(pair[1], buffer, 16, 0));
	close(50);
	TELL(recv(pair[1], buffer, 16, 0));
	close(pair[1]);
}

static const struct guest_case cases[] = {
	{"sockets: what can be made, and calls on what is none [J2]", making},
	{"sockets: a stream, large and in pieces [J2][P3]", streams},
	{"sockets: shutdown and the other end's close [J2]", shutdowns},
	{"sockets: SIGPIPE from streams alone, and not with MSG_NOSIGNAL [J2]", sigpipes},
	{"sockets: datagrams keep their borders [J2]", datagrams},
	{"sockets: so do packets in sequence [J2]", seqpackets},
	{"sockets: sendmmsg and recvmmsg [J2]", vectors_of_messages},
	{"sockets: headers that point nowhere [J2][P2]", headers},
	{"sockets: names in the file system [J2]", path_names},
	{"sockets: links, ways around, and what is no socket [J2]", lookups},
	{"sockets: the longest abstract names [J2]", longest_names},
	{"sockets: abstract names, full ones, and one that the kernel chooses [J2]", abstract_names},
	{"sockets: who sent a datagram [J2]", senders},
	{"sockets: descriptors in messages [J2][P2]", descriptors},
	{"sockets: memory that only a message holds [J2]", memory_on_its_way},
	{"sockets: credentials [J2]", credentials},
	{"sockets: waits that a signal or a timeout ends [J2]", interruptions},
	{"sockets: waits for what is not there yet, beside what is [J2]", readable_for_others},
	{"sockets: waits that go on after a signal [J2]", restarts},
	{"sockets: waits that end with their process [J2]", killed_while_waiting},
	{"sockets: without waiting, by epoll and select [J2]", nonblocking},
	{"sockets: options [J2][P2]", options},
	{"sockets: sendfile, dup [J2]", files_through_them},
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
