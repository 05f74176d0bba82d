/* SPDX-License-Identifier: MIT */
/*
 * same_sweep_sockets.c - the calls on sockets of this machine, with every interesting argument.
 */
#include <linux/netlink.h>
#include <netinet/in.h>

#include "sweep.h"

#define A(name)                         \
	{                               \
#name, (uintptr_t)&name \
	}
#define UNIX_NAME(text)                                 \
	{                                               \
		.sun_family = AF_UNIX, .sun_path = text \
	}

static const struct sockaddr_un name_new = UNIX_NAME("new"), name_socket = UNIX_NAME("socket"),
				name_file = UNIX_NAME("file"), name_none = UNIX_NAME("none/x"),
				name_dir = UNIX_NAME("dir"), name_loop = UNIX_NAME("loop/x"),
				name_empty = UNIX_NAME("");
static const struct sockaddr family_none = {.sa_family = AF_UNSPEC}, family_odd = {.sa_family = 77};
static const struct sockaddr_in inet = {.sin_family = AF_INET};
static const struct sweep_value names[] = {
	A(name_new),   A(name_socket), A(name_file),  A(name_none), A(name_dir), A(name_loop),
	A(name_empty), A(family_none), A(family_odd), A(inet),	    {"NULL", 0}, {"hole", AT_HOLE},
};
/* Not bound by name: who calls with a long one makes a file. */
static const struct sweep_value name_sizes[] = {
	{"110", 110}, {"0", 0},	  {"-1", -1ul}, {"1", 1},     {"2", 2},
	{"3", 3},     {"16", 16}, {"111", 111}, {"128", 128}, {"129", 129},
};
static const int ten = 10, minus = -1, zero, small = 1;
static const struct sweep_value lengths[] = {
	A(ten), A(minus), A(zero), A(small), {"NULL", 0}, {"hole", AT_HOLE},
};
static struct iovec vector = {(void *)AT_RW, 4}, bad_vector = {(void *)AT_HOLE, 4},
		    long_vector = {(void *)AT_RW, -1ul};
static char odd_control[CMSG_SPACE(4)], rights[CMSG_SPACE(sizeof(int))];
static struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1},
		     no_vector = {.msg_iov = NULL, .msg_iovlen = 1},
		     many_vectors = {.msg_iov = &vector, .msg_iovlen = 1025},
		     into_hole = {.msg_iov = &bad_vector, .msg_iovlen = 1},
		     too_long = {.msg_iov = &long_vector, .msg_iovlen = 1},
		     empty = {.msg_iov = &vector, .msg_iovlen = 0},
		     bad_control = {.msg_iov = &vector,
				    .msg_iovlen = 1,
				    .msg_control = (void *)AT_HOLE,
				    .msg_controllen = 16},
		     short_control = {.msg_iov = &vector,
				      .msg_iovlen = 1,
				      .msg_control = odd_control,
				      .msg_controllen = 4},
		     zero_control = {.msg_iov = &vector,
				     .msg_iovlen = 1,
				     .msg_control = odd_control,
				     .msg_controllen = sizeof(odd_control)},
		     bad_rights = {.msg_iov = &vector,
				   .msg_iovlen = 1,
				   .msg_control = rights,
				   .msg_controllen = sizeof(rights)},
		     to_file = {.msg_name = (void *)&name_file,
				.msg_namelen = sizeof(name_file),
				.msg_iov = &vector,
				.msg_iovlen = 1},
		     long_name = {.msg_name = (void *)&name_file,
				  .msg_namelen = 500,
				  .msg_iov = &vector,
				  .msg_iovlen = 1},
		     minus_name = {.msg_name = (void *)&name_file,
				   .msg_namelen = (socklen_t)-1,
				   .msg_iov = &vector,
				   .msg_iovlen = 1};
static const struct sweep_value messages[] = {
	A(message), A(no_vector),   A(many_vectors),  A(into_hole),    A(too_long),
	A(empty),   A(bad_control), A(short_control), A(zero_control), A(bad_rights),
	A(to_file), A(long_name),   A(minus_name),    {"NULL", 0},     {"hole", AT_HOLE},
};
static struct mmsghdr two[2] = {{.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1}},
				{.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1}}},
		      second_bad[2] = {{.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1}},
				       {.msg_hdr = {.msg_iov = &bad_vector, .msg_iovlen = 1}}};
static const struct sweep_value vectors[] = {
	A(two),
	A(second_bad),
	{"NULL", 0},
	{"hole", AT_HOLE},
};
static const struct sweep_value numbers[] = {
	{"2", 2},
	{"0", 0},
	{"1", 1},
};
static const struct timespec at_once = {0, 0}, negative = {-1, 0}, many = {0, 1000000000};
static const struct sweep_value spans[] = {
	{"NULL", 0}, A(at_once), A(negative), A(many), {"hole", AT_HOLE},
};
/* Flags that do not make a call wait. */
#define WAITS_NOT MSG_DONTWAIT
static const struct sweep_value flags[] = {
	{"DONTWAIT", MSG_DONTWAIT},
	{"OOB", MSG_OOB | WAITS_NOT},
	{"-1", 0xffffffff & ~MSG_ERRQUEUE},
	{"PEEK", MSG_PEEK | WAITS_NOT},
	{"TRUNC", MSG_TRUNC | WAITS_NOT},
	{"WAITALL", MSG_WAITALL | WAITS_NOT},
	{"NOSIGNAL", MSG_NOSIGNAL | WAITS_NOT},
	{"CMSG_CLOEXEC", MSG_CMSG_CLOEXEC | WAITS_NOT},
	{"CTRUNC", MSG_CTRUNC | WAITS_NOT},
	{"EOR", MSG_EOR | WAITS_NOT},
	{"MORE", MSG_MORE | WAITS_NOT},
	{"ERRQUEUE", MSG_ERRQUEUE | WAITS_NOT},
	{"CONFIRM", MSG_CONFIRM | WAITS_NOT},
	{"DONTROUTE", MSG_DONTROUTE | WAITS_NOT},
	{"FASTOPEN", MSG_FASTOPEN | WAITS_NOT},
	{"compat", 0x80000000 | WAITS_NOT},
	{"ZEROCOPY", 0x4000000 | WAITS_NOT},
	{"0x400", 0x400 | WAITS_NOT},
	{"WAITFORONE", MSG_WAITFORONE | WAITS_NOT},
};
static const struct sweep_value types[] = {
	{"stream", SOCK_STREAM},
	{"dgram", SOCK_DGRAM},
	{"0", 0},
	{"-1", -1ul},
	{"raw", SOCK_RAW},
	{"rdm", SOCK_RDM},
	{"seqpacket", SOCK_SEQPACKET},
	{"dccp", SOCK_DCCP},
	{"packet", SOCK_PACKET},
	{"11", 11},
	{"cloexec", SOCK_STREAM | SOCK_CLOEXEC},
	{"nonblock", SOCK_STREAM | SOCK_NONBLOCK},
	{"1<<4", SOCK_STREAM | 1 << 4},
};
static const struct sweep_value families[] = {
	{"unix", AF_UNIX},
	{"-1", -1ul},
	{"0", 0},
	{"99", 99},
};
static const struct sweep_value ints[] = {
	{"0", 0}, {"-1", -1ul}, {"1", 1}, {"2", 2}, {"3", 3}, {"100", 100},
};
static const struct sweep_value levels[] = {
	{"SOCKET", SOL_SOCKET}, {"-1", -1ul}, {"0", 0}, {"6", 6}, {"41", 41},
};
static const struct sweep_value option_sizes[] = {
	{"4", 4}, {"0", 0}, {"-1", -1ul}, {"1", 1}, {"3", 3}, {"8", 8}, {"16", 16}, {"INT_MAX", INT_MAX},
};
static int length_4 = 4, length_0 = 0, length_1 = 1, length_16 = 16, length_minus = -1;
static const struct sweep_value option_lengths[] = {
	A(length_4), A(length_minus), A(length_0), A(length_1), A(length_16), {"NULL", 0}, {"hole", AT_HOLE},
};
/* By number: what sockets of this machine have. */
static const struct sweep_value options[] = {
	{"REUSEADDR", SO_REUSEADDR},
	{"-1", -1ul},
	{"0", 0},
	{"DEBUG", SO_DEBUG},
	{"TYPE", SO_TYPE},
	{"ERROR", SO_ERROR},
	{"DONTROUTE", SO_DONTROUTE},
	{"BROADCAST", SO_BROADCAST},
	{"SNDBUF", SO_SNDBUF},
	{"RCVBUF", SO_RCVBUF},
	{"KEEPALIVE", SO_KEEPALIVE},
	{"OOBINLINE", SO_OOBINLINE},
	{"NO_CHECK", SO_NO_CHECK},
	{"PRIORITY", SO_PRIORITY},
	{"LINGER", SO_LINGER},
	{"BSDCOMPAT", SO_BSDCOMPAT},
	{"REUSEPORT", SO_REUSEPORT},
	{"PASSCRED", SO_PASSCRED},
	{"PEERCRED", SO_PEERCRED},
	{"RCVLOWAT", SO_RCVLOWAT},
	{"SNDLOWAT", SO_SNDLOWAT},
	{"RCVTIMEO", SO_RCVTIMEO},
	{"SNDTIMEO", SO_SNDTIMEO},
	{"DETACH_FILTER", SO_DETACH_FILTER},
	{"TIMESTAMP", SO_TIMESTAMP},
	{"ACCEPTCONN", SO_ACCEPTCONN},
	{"PEERSEC", SO_PEERSEC},
	{"SNDBUFFORCE", SO_SNDBUFFORCE},
	{"RCVBUFFORCE", SO_RCVBUFFORCE},
	{"PASSSEC", SO_PASSSEC},
	{"MARK", SO_MARK},
	{"PROTOCOL", SO_PROTOCOL},
	{"DOMAIN", SO_DOMAIN},
	{"RXQ_OVFL", SO_RXQ_OVFL},
	{"PEEK_OFF", SO_PEEK_OFF},
	{"NOFCS", SO_NOFCS},
	{"LOCK_FILTER", SO_LOCK_FILTER},
	{"BUSY_POLL", SO_BUSY_POLL},
	{"PEERGROUPS", 59},
	{"BUF_LOCK", 72},

	{"999", 999},
};

static const struct sweep_call calls[] = {
	CALL(socket, MAKES_FD, WITH(families, AF_UNIX), WITH(types, SOCK_STREAM), WITH(ints, 0)),
	CALL(socketpair, CHANGES, WITH(families, AF_UNIX), WITH(types, SOCK_STREAM), WITH(ints, 0), OUT),
	CALL(bind, FRESH | FILES, FD_OF(FD_DGRAM), WITH(names, &name_new), WITH(name_sizes, 110)),
	CALL(connect, FRESH | FILES, FD_OF(FD_DGRAM), WITH(names, &name_socket), WITH(name_sizes, 110)),
	CALL(listen, FRESH, FD_OF(FD_LISTEN), INT(1)),
	CALL(accept, FRESH, FD_OF(FD_LISTEN), OUT, WITH(lengths, &ten)),
	CALL(accept4, FRESH, FD_OF(FD_LISTEN), OUT, WITH(lengths, &ten), BITS(0)),
	CALL(getsockname, FRESH, FD_OF(FD_LISTEN), OUT, WITH(lengths, &ten)),
	CALL(getpeername, FRESH, FD_OF(FD_SOCKET), OUT, WITH(lengths, &ten)),
	CALL(shutdown, FRESH, FD_OF(FD_SOCKET), INT(0)),
	CALL(sendto, FRESH | VALUE, FD_OF(FD_SOCKET), IN(AT_RW), SIZE_OF(4), WITH(flags, MSG_DONTWAIT), IN(0),
	     ONLY(0)),
	CALL(sendto, FRESH | VALUE, FD_OF(FD_DGRAM), IN(AT_RW), SIZE_OF(4), ONLY(MSG_DONTWAIT),
	     WITH(names, &name_socket), WITH(name_sizes, 110)),
	CALL(recvfrom, FRESH | VALUE, FD_OF(FD_SOCKET), OUT, SIZE_OF(4), WITH(flags, MSG_DONTWAIT), IN(0),
	     WITH(lengths, 0)),
	CALL(recvfrom, FRESH | VALUE, FD_OF(FD_SOCKET), OUT, SIZE_OF(4), ONLY(MSG_DONTWAIT), IN(AT_RW + 512),
	     WITH(lengths, &ten)),
	CALL(sendmsg, FRESH | VALUE, FD_OF(FD_SOCKET), WITH(messages, &message), WITH(flags, MSG_DONTWAIT)),
	CALL(recvmsg, FRESH | VALUE, FD_OF(FD_SOCKET), WITH(messages, &message), WITH(flags, MSG_DONTWAIT)),
	CALL(sendmmsg, FRESH | VALUE, FD_OF(FD_SOCKET), WITH(vectors, two), WITH(numbers, 2),
	     WITH(flags, MSG_DONTWAIT)),
	CALL(recvmmsg, FRESH | VALUE, FD_OF(FD_SOCKET), WITH(vectors, two), WITH(numbers, 2),
	     WITH(flags, MSG_DONTWAIT), WITH(spans, 0)),
	CALL(getsockopt, FRESH, FD_OF(FD_SOCKET), WITH(levels, SOL_SOCKET), WITH(options, SO_REUSEADDR), OUT,
	     WITH(option_lengths, &length_4)),
	CALL(setsockopt, FRESH, FD_OF(FD_SOCKET), WITH(levels, SOL_SOCKET), WITH(options, SO_REUSEADDR),
	     IN(AT_RW), WITH(option_sizes, 4)),
};

int main(int argc, char **argv)
{
	return sweep_main(argc, argv, calls, ARRAY_SIZE(calls));
}
