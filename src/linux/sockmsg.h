/* SPDX-License-Identifier: MIT */
/*
 * sockmsg.h - messages through sockets: data between the guest's pages and the host's socket, addresses, control messages.
 *
 * Everything of the guest's is copied or pinned once, before it is looked at. A wait ends with a signal, a kill or the socket's own
 * timeout: what is received is waited for by host_poll, what is sent within the brackets of host_wait (a datagram's room is
 * that of its receiver, which no poll tells).
 */
#ifndef LODGE_LINUX_SOCKMSG_H
#define LODGE_LINUX_SOCKMSG_H

#include "host_poll.h"
#include "sockets.h"
#include "uio.h"

struct guest_file;

struct sock_msg {
	struct uio uio;
	int flags;		     /* as the guest gave them; after receiving: msg_flags */
	struct sock_address address; /* to: without bytes for none; from: as the guest sees it */
	void *control;		     /* owned: see sock_control_get */
	size_t control_bytes;	     /* after receiving: as msg_controllen tells it */
};

/* Bytes, or -errno. SIGPIPE is sent where it is due. */
int64_t sock_send(struct task *t, const struct guest_file *file, struct sock_msg *m);
int64_t sock_receive(struct task *t, const struct guest_file *file, struct sock_msg *m);

/* read() and write() on a socket. */
int64_t sock_transfer(struct task *t, const struct guest_file *file, struct uio *u, bool to_file);

/* SO_RCVTIMEO or SO_SNDTIMEO from now. */
void sock_deadline(int host_fd, int option, struct poll_deadline *d);
bool sock_may_wait(int host_fd, int flags);

/* --- control messages (sockcmsg.c) ----------------------------------------------------------- */

/* Room for what is received, or (from not 0) a copy of what is sent. 0, -ENOBUFS, -EFAULT, -ENOMEM. Free m->control. */
int sock_control_get(struct task *t, struct sock_msg *m, gva_t from, uint64_t bytes);

/* Checks and translates what is sent, in place. Memfds in it count as sent when it succeeds. 0 or -errno. */
int sock_control_to_host(struct task *t, int domain, struct sock_msg *m);
/* Nothing was sent after all. */
void sock_control_not_sent(struct task *t, struct sock_msg *m);

/* Translates what was received, in place: descriptors get numbers of the guest. peek: they are still under way, too. */
void sock_control_to_guest(struct task *t, struct sock_msg *m, bool cloexec, bool peek);

/* Messages to the kernel's routing socket: 0 when all of them only ask, else -EPERM. */
int netlink_check(const void *data, size_t bytes);

#endif
