/* SPDX-License-Identifier: MIT */
/*
 * sockets.h - what the sockets of a sandbox have in common: how far they reach, and the names of its own.
 *
 * A guest's socket is one of the host. Names of AF_UNIX that are no paths begin, on the host, with a word of the sandbox, so that
 * nobody outside has them and two sandboxes do not meet. A path is bound and connected to through a descriptor of its
 * directory (bound) or of itself (connected to), so that the host's walk cannot lead anywhere else and the length of host paths does not
 * matter:
 *
 *	guest                    host
 *	"\0name"                 "\0" word, number of zeros at the end, name without them; of the longest: an index
 *	"run/redis.sock"         "/proc/self/fd/57/redis.sock"   57: the directory, kept; "run/" stands beside it in a table
 *
 * so what getsockname and its kin say is turned back exactly.
 *
 *   N1  without LODGE_NET_HOST no address but a loopback one reaches bind, connect or a send; nor does an unbound socket that would
 *       be bound to all addresses by its first use
 *   N2  a socket file can be connected to only where the guest may write
 * Locking: one mutex over the tables, innermost.
 */
#ifndef LODGE_LINUX_SOCKETS_H
#define LODGE_LINUX_SOCKETS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../../include/lodge.h"
#include "../mm/types.h"

struct memfd;
struct sockets;
struct task;

/* With no references but the sandbox's. NULL: no memory, or no random word. */
struct sockets *sockets_create(enum lodge_net net);
void sockets_destroy(struct sockets *s);

/* How far AF_INET and kin reach. */
enum lodge_net sockets_net(const struct sockets *s);

/* --- addresses (sockaddr.c) ------------------------------------------------------------------ */

struct sock_address {
	union {
		struct sockaddr any;
		struct sockaddr_un un;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_storage storage;
	};
	socklen_t bytes;
	int held; /* a descriptor that the host's address goes through, or -1 */
};

enum sock_use { SOCK_BIND, SOCK_CONNECT, SOCK_SEND };

/* Reads an address argument: 0, -EINVAL, -EFAULT. */
int sock_address_get(struct task *t, gva_t from, int bytes, struct sock_address *a);

/* Turns it into what the host is given for `use` on a socket of `domain`. 0 or -errno. Release it in either case. */
int sock_address_to_host(struct task *t, int domain, enum sock_use use, struct sock_address *a);
void sock_address_release(struct sock_address *a);

/* Turns what the host said into what the guest sees. */
void sock_address_to_guest(struct sockets *s, struct sock_address *a);

/* Stores an address as getsockname does: `bytes` holds an int, the room, and is told the whole length. 0, -EFAULT, -EINVAL. */
int sock_address_put(struct task *t, const struct sock_address *a, gva_t to, gva_t bytes);

/* bind() with all that it means for AF_UNIX: the socket file, a name that the kernel chooses. 0 or -errno. */
int sock_bind(struct task *t, int host_fd, int domain, struct sock_address *a);

/* N1: gives a socket that has none a loopback address, one from which `to` is reached (NULL: to listen at). 0 or -errno. */
int sock_bind_loopback(struct task *t, int host_fd, int domain, const struct sock_address *to);

/* --- names and memfds that are on their way (sockets.c) -------------------------------------- */

/* A guest's abstract name (without its first zero) as the host has it, and back: bytes, or -EINVAL when there are too many long ones or it is not ours. */
int sockets_name_to_host(struct sockets *s, const char *name, size_t bytes,
			 char host[sizeof(((struct sockaddr_un *)0)->sun_path)]);
int sockets_name_to_guest(struct sockets *s, const char *host, size_t bytes,
			  char name[sizeof(((struct sockaddr_un *)0)->sun_path)]);

/* A number for the next name that the kernel chooses, below 1 << 20. */
unsigned int sockets_next_name(struct sockets *s);

/* A descriptor that stays, for the directory behind dir_fd under the text by which the guest names it; or -errno. */
int sockets_dir(struct sockets *s, int dir_fd, const char *prefix, size_t prefix_bytes);
/* The text of such a descriptor; NULL: it is none. Constant while the sandbox lives. */
const char *sockets_dir_prefix(struct sockets *s, int fd);

/*
 * Memfds that a message carries: their memory has to stay although no descriptor of a guest may be left. send: 0, or -ETOOMANYREFS;
 * received says that one has arrived.
 */
int sockets_sent(struct sockets *s, int host_fd);
void sockets_received(struct sockets *s, int host_fd);

#endif
