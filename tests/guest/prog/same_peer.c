/* SPDX-License-Identifier: MIT */
/*
 * same_peer.c - process_vm_readv and process_vm_writev of the program itself.
 */
#include "window.h"

#include <sys/uio.h>

static long peer_read(char *to, size_t bytes, char *from, size_t remote_bytes)
{
	struct iovec local = {to, bytes}, remote = {from, remote_bytes};

	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
}

static long peer_write(char *from, size_t bytes, char *to, size_t remote_bytes)
{
	struct iovec local = {from, bytes}, remote = {to, remote_bytes};

	return process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
}

static void copies(void)
{
	put(0, 4, RW);
	put(8, 4, RW);
	letters(0, 4);
	COUNT(peer_read(AT(8), 4 * PAGE, AT(0), 4 * PAGE));
	show_letters("read", 8, 4);
	COUNT(peer_write(AT(0), PAGE, AT(9), PAGE));
	show_letters("written", 8, 4);
	COUNT(peer_read(AT(8) + 10, 100, AT(1) - 50, 100));
	printf("%c %c\n", AT(8)[59], AT(8)[60]);
}

static void lengths(void)
{
	put(0, 4, RW);
	letters(0, 4);
	COUNT(peer_read(AT(2), 10, AT(0), 20));
	COUNT(peer_read(AT(2), 20, AT(0), 10));
	COUNT(peer_read(AT(2), 0, AT(0), 10));
	COUNT(peer_read(AT(2), 10, AT(0), 0));
}

static void remote_edge(void)
{
	put(0, 2, RW);
	put(8, 4, RW);
	letters(0, 2);
	COUNT(peer_read(AT(8), 100, AT(2) - 60, 100));
	COUNT(peer_read(AT(8), 3 * PAGE, AT(0), 3 * PAGE));
	COUNT(peer_read(AT(8), 10, AT(2), 10));
	COUNT(peer_write(AT(8), 100, AT(2) - 60, 100));
	COUNT(peer_write(AT(8), 10, AT(2), 10));
	COUNT(peer_read(AT(8), 10, KERNEL, 10));
}

static void local_edge(void)
{
	put(0, 2, RW);
	put(8, 4, RW);
	COUNT(peer_read(AT(2) - 60, 100, AT(8), 100));
	COUNT(peer_read(AT(2), 100, AT(8), 100));
	COUNT(peer_write(AT(2) - 60, 100, AT(8), 100));
	COUNT(peer_write(AT(2), 100, AT(8), 100));
	COUNT(peer_read(KERNEL, 10, AT(8), 10));
}

static void vectors(void)
{
	struct iovec local[2] = {{AT(8), 10}, {AT(9), 30}};
	struct iovec remote[3] = {{AT(0), 20}, {AT(4), 10}, {AT(1), 10}};
	pid_t me = getpid();

	put(0, 2, RW);
	put(8, 2, RW);
	letters(0, 2);
	COUNT(process_vm_readv(me, local, 2, remote, 3, 0));
	remote[1].iov_len = 0;
	COUNT(process_vm_readv(me, local, 2, remote, 3, 0));
	printf("%c %c %c\n", AT(8)[9], AT(9)[9], AT(9)[10]);
	COUNT(process_vm_readv(me, local, 0, remote, 3, 0));
	COUNT(process_vm_readv(me, local, 2, remote, 0, 0));
	COUNT(process_vm_readv(me, local, 2000, remote, 1, 0));
	COUNT(process_vm_readv(me, local, 1, remote, 2000, 0));
	COUNT(process_vm_readv(me, (struct iovec *)KERNEL, 1, remote, 1, 0));
	COUNT(process_vm_readv(me, local, 1, (struct iovec *)KERNEL, 1, 0));
	local[0].iov_len = 1ul << 63;
	COUNT(process_vm_readv(me, local, 1, remote, 1, 0));
}

static void arguments(void)
{
	struct iovec v = {AT(0), 10};

	put(0, 1, RW);
	COUNT(process_vm_readv(getpid(), &v, 1, &v, 1, 1));
	COUNT(process_vm_readv(0x7ffffff0, &v, 1, &v, 1, 0));
	COUNT(process_vm_readv(-1, &v, 1, &v, 1, 0));
	COUNT(process_vm_writev(getpid(), &v, 1, &v, 1, -1ul));
}

static void protections(void)
{
	put(0, 1, RW);
	put(4, 1, R);
	put(6, 1, PROT_NONE);
	put(8, 1, PROT_WRITE);
	COUNT(peer_read(AT(0), 10, AT(4), 10));
	COUNT(peer_write(AT(0), 10, AT(4), 10));
	COUNT(peer_read(AT(0), 10, AT(6), 10));
	COUNT(peer_write(AT(0), 10, AT(6), 10));
	COUNT(peer_write(AT(0), 10, AT(8), 10));
	COUNT(peer_read(AT(0), 10, AT(8), 10));
}

static void untouched_and_shared(void)
{
	int fd = letter_file("peer", 1, 0);

	put(0, 4, RW);
	COUNT(peer_read(AT(0), PAGE, AT(1), PAGE));
	put_file(8, 1, RW, MAP_PRIVATE, fd, 0);
	COUNT(peer_write(AT(2), 10, AT(8), 10));
	printf("mine %d, the file's %c\n", AT(8)[0], byte_of_file(fd, 0));
	put_shared(12, 1, RW);
	COUNT(peer_write(AT(8) + 100, 10, AT(12), 10));
	printf("%c\n", AT(12)[0]);
	close(fd);
}

static const struct guest_case cases[] = {
	{"copies both ways", copies},
	{"the shorter side decides", lengths},
	{"the remote side ends: what was copied counts [P3]", remote_edge},
	{"the local side ends [P3]", local_edge},
	{"vectors of different shapes", vectors},
	{"arguments", arguments},
	{"protections of the remote side hold [P5]", protections},
	{"pages never touched, private and shared [P5]", untouched_and_shared},
};

CASES_MAIN(cases)
