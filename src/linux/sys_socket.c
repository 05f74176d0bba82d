/* SPDX-License-Identifier: MIT */
/*
 * sys_socket.c - sockets: guests have no network. Making one is refused; what is asked of other descriptors has Linux's
 * answer. A socket that the caller passed as 0, 1 or 2 can be read, written and polled like a pipe, and no more.
 */
#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "syscall.h"

static int64_t sys_socket(struct task *t, const uint64_t a[6])
{
	(void)t, (void)a;
	return -EACCES;
}

static int64_t sys_socketpair(struct task *t, const uint64_t a[6])
{
	return sys_socket(t, a);
}

/* Every other call names a descriptor first. */
static int64_t sys_of_socket(struct task *t, const uint64_t a[6])
{
	int host_fd = files_host_fd(t->files, (int)a[0]);
	struct stat st;

	if (host_fd < 0 || fstat(host_fd, &st))
		return -EBADF;
	return S_ISSOCK(st.st_mode) ? -EACCES : -ENOTSOCK;
}

#define OF_SOCKET(name)                          \
	{                                        \
		SYS_##name, sys_of_socket, #name \
	}

const struct syscall_entry sys_socket_calls[] = {
	SYSCALL_ENTRY(socket),
	SYSCALL_ENTRY(socketpair),
	OF_SOCKET(connect),
	OF_SOCKET(bind),
	OF_SOCKET(listen),
	OF_SOCKET(accept),
	OF_SOCKET(accept4),
	OF_SOCKET(sendto),
	OF_SOCKET(recvfrom),
	OF_SOCKET(sendmsg),
	OF_SOCKET(recvmsg),
	OF_SOCKET(sendmmsg),
	OF_SOCKET(recvmmsg),
	OF_SOCKET(shutdown),
	OF_SOCKET(getsockname),
	OF_SOCKET(getpeername),
	OF_SOCKET(getsockopt),
	OF_SOCKET(setsockopt),
	{0},
};
