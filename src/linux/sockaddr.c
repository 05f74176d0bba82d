/* SPDX-License-Identifier: MIT */
/*
 * sockaddr.c - addresses of sockets, between what a guest says and what the host is told. See sockets.h.
 *
 * An address whose family or length makes no sense is handed on as it is: the host's error is the guest's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "open.h"
#include "path.h"
#include "sockets.h"
#include "task.h"

#define SUN_HEAD     offsetof(struct sockaddr_un, sun_path)
#define SUN_BYTES    sizeof(((struct sockaddr_un *)0)->sun_path)
#define IN6_LEAST    24 /* SIN6_LEN_RFC2133 */
#define FD_PREFIX    "/proc/self/fd/"
#define NAMES_TO_TRY 1024

int sock_address_get(struct task *t, gva_t from, int bytes, struct sock_address *a)
{
	memset(a, 0, sizeof(*a));
	a->held = -1;
	if (bytes < 0 || (size_t)bytes > sizeof(a->storage))
		return -EINVAL;
	a->bytes = (socklen_t)bytes;
	return bytes && copy_from_user(t->mm, &a->storage, from, (size_t)bytes) ? -EFAULT : 0;
}

void sock_address_release(struct sock_address *a)
{
	if (a->held >= 0)
		close(a->held);
	a->held = -1;
}

int sock_address_put(struct task *t, const struct sock_address *a, gva_t to, gva_t bytes)
{
	int room;

	if (copy_from_user(t->mm, &room, bytes, sizeof(room)))
		return -EFAULT;
	if (room < 0)
		return -EINVAL;
	if ((socklen_t)room > a->bytes)
		room = (int)a->bytes;
	if (room && copy_to_user(t->mm, to, &a->storage, (size_t)room))
		return -EFAULT;
	return copy_to_user(t->mm, bytes, &a->bytes, sizeof(a->bytes)) ? -EFAULT : 0;
}

/* --- AF_UNIX --------------------------------------------------------------------------------- */

static bool is_unix_name(const struct sock_address *a)
{
	return a->any.sa_family == AF_UNIX && a->bytes > SUN_HEAD && a->bytes <= sizeof(a->un);
}

static int abstract_to_host(struct task *t, struct sock_address *a)
{
	char host[SUN_BYTES];
	int n = sockets_name_to_host(t->sandbox->sockets, a->un.sun_path + 1, a->bytes - SUN_HEAD - 1, host);

	if (n < 0)
		return n;
	memcpy(a->un.sun_path, host, (size_t)n);
	a->bytes = (socklen_t)(SUN_HEAD + (size_t)n);
	return 0;
}

static void unix_text(const struct sock_address *a, char text[SUN_BYTES + 1])
{
	size_t bytes = strnlen(a->un.sun_path, a->bytes - SUN_HEAD);

	memcpy(text, a->un.sun_path, bytes);
	text[bytes] = '\0';
}

/* N2. The right to write is asked for before what it is, as in the kernel. */
static int check_socket_file(struct task *t, int fd)
{
	struct stat st;

	if (fstat(fd, &st) || faccessat(fd, "", W_OK, AT_EMPTY_PATH | AT_EACCESS))
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ECONNREFUSED;
	return path_check_writable(t->files->view, fd) ? -EACCES : 0;
}

static int socket_file_to_host(struct task *t, struct sock_address *a)
{
	char text[SUN_BYTES + 1];
	struct path_target target;
	struct path p;
	int err;

	unix_text(a, text);
	path_from_text(t, text, &p);
	err = path_target(t, &p, 0, &target);
	if (err)
		return err;
	a->held = target.fd;
	err = check_socket_file(t, a->held);
	if (err)
		return err;
	strcpy(a->un.sun_path, path_link(a->held).text);
	a->bytes = (socklen_t)(SUN_HEAD + strlen(a->un.sun_path) + 1);
	return 0;
}

static void unix_to_guest(struct sockets *s, struct sock_address *a)
{
	char text[SUN_BYTES + 1], name[SUN_BYTES];
	const char *prefix, *rest;
	char *end;

	if (a->bytes <= SUN_HEAD)
		return;
	if (!a->un.sun_path[0]) {
		int n = sockets_name_to_guest(s, a->un.sun_path, a->bytes - SUN_HEAD, name);
		if (n < 0)
			return;
		memcpy(a->un.sun_path + 1, name, (size_t)n);
		a->bytes = (socklen_t)(SUN_HEAD + 1 + (size_t)n);
		return;
	}
	unix_text(a, text);
	if (strncmp(text, FD_PREFIX, strlen(FD_PREFIX)))
		return;
	prefix = sockets_dir_prefix(s, (int)strtol(text + strlen(FD_PREFIX), &end, 10));
	rest = *end == '/' ? end + 1 : end;
	if (!prefix || strlen(prefix) + strlen(rest) > SUN_BYTES)
		return;
	memcpy(a->un.sun_path, prefix, strlen(prefix));
	memcpy(a->un.sun_path + strlen(prefix), rest, strlen(rest));
	a->bytes = (socklen_t)(SUN_HEAD + strlen(prefix) + strlen(rest));
	/* One byte behind sun_path may hold the end of the text, as in the kernel. */
	((char *)&a->storage)[a->bytes++] = '\0';
}

/* --- AF_INET: what stays within the machine -------------------------------------------------- */

static bool is_loopback4(uint32_t address)
{
	return ntohl(address) >> 24 == IN_LOOPBACKNET;
}

/* What binding to all addresses becomes, and what sending to none is. */
static int loopback4(uint32_t *address)
{
	if (*address == htonl(INADDR_ANY))
		*address = htonl(INADDR_LOOPBACK);
	return is_loopback4(*address) ? 0 : -1;
}

static int loopback6(struct in6_addr *address, bool v4_too)
{
	if (IN6_IS_ADDR_UNSPECIFIED(address)) {
		*address = in6addr_loopback;
		if (v4_too) {
			*address = (struct in6_addr){0};
			address->s6_addr[10] = address->s6_addr[11] = 0xff;
			address->s6_addr32[3] = htonl(INADDR_LOOPBACK);
		}
		return 0;
	}
	if (IN6_IS_ADDR_V4MAPPED(address))
		return loopback4(&address->s6_addr32[3]);
	return IN6_IS_ADDR_LOOPBACK(address) ? 0 : -1;
}

/* The family that the host takes an address for; -1: whatever it is, it leads nowhere. */
static int family_of(const struct sock_address *a, int domain, enum sock_use use)
{
	int family = a->bytes >= sizeof(a->any.sa_family) ? a->any.sa_family : -1;

	if (family == AF_UNSPEC && use == SOCK_CONNECT)
		return -1; /* gives up what it was connected to */
	if (family == AF_UNSPEC && domain == AF_INET)
		family = AF_INET;
	if (family == AF_INET && a->bytes >= sizeof(a->in))
		return AF_INET;
	return family == AF_INET6 && a->bytes >= IN6_LEAST ? AF_INET6 : -1;
}

static bool is_v6only(int host_fd)
{
	int on = 1;
	socklen_t bytes = sizeof(on);

	getsockopt(host_fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, &bytes);
	return on;
}

static int local_to_host(int domain, enum sock_use use, struct sock_address *a, bool v4_too)
{
	int refused = use == SOCK_BIND ? -EADDRNOTAVAIL : -ENETUNREACH;

	switch (family_of(a, domain, use)) {
	case AF_INET:
		return loopback4(&a->in.sin_addr.s_addr) ? refused : 0;
	case AF_INET6:
		return loopback6(&a->in6.sin6_addr, v4_too) ? refused : 0;
	default:
		return 0;
	}
}

static int inet_to_host(struct task *t, int domain, enum sock_use use, struct sock_address *a, bool v4_too)
{
	switch (sockets_net(t->sandbox->sockets)) {
	case LODGE_NET_HOST:
		return 0;
	case LODGE_NET_LOCAL:
		return local_to_host(domain, use, a, v4_too);
	default:
		return -EACCES; /* a socket that came from outside */
	}
}

/* --- all of them ----------------------------------------------------------------------------- */

int sock_address_to_host(struct task *t, int domain, enum sock_use use, struct sock_address *a)
{
	switch (domain) {
	case AF_UNIX:
		if (!is_unix_name(a))
			return 0;
		return a->un.sun_path[0] ? socket_file_to_host(t, a) : abstract_to_host(t, a);
	case AF_INET:
	case AF_INET6:
		return inet_to_host(t, domain, use, a, false);
	case AF_NETLINK:
		return 0;
	default:
		return -EACCES;
	}
}

void sock_address_to_guest(struct sockets *s, struct sock_address *a)
{
	if (a->bytes > sizeof(a->any.sa_family) && a->any.sa_family == AF_UNIX)
		unix_to_guest(s, a);
}

static int host_bind(int host_fd, const struct sock_address *a)
{
	return bind(host_fd, &a->any, a->bytes) ? -errno : 0;
}

/* A name that the kernel chooses: five hexadecimal digits. */
static int bind_unnamed(struct task *t, int host_fd)
{
	struct sock_address a;
	int err = -EADDRINUSE;

	for (int i = 0; err == -EADDRINUSE && i < NAMES_TO_TRY; i++) {
		a = (struct sock_address){.un.sun_family = AF_UNIX, .held = -1};
		snprintf(a.un.sun_path + 1, SUN_BYTES - 1, "%05x", sockets_next_name(t->sandbox->sockets));
		a.bytes = SUN_HEAD + 1 + 5;
		err = abstract_to_host(t, &a);
		if (!err)
			err = host_bind(host_fd, &a);
	}
	return err;
}

/* The socket file has the rights that the guest's umask leaves of those of the socket. */
static int bind_in(struct task *t, int host_fd, const struct path_parent *parent, int dir_fd,
		   const struct sock_address *a)
{
	struct stat st;
	int err;

	if (fstat(host_fd, &st))
		return -errno;
	fchmod(host_fd, st.st_mode & 07777 & ~t->fs->umask);
	err = host_bind(host_fd, a);
	fchmod(host_fd, st.st_mode & 07777);
	return err ? err : open_fix_mode(t, dir_fd, parent->name, st.st_mode);
}

static int bind_at(struct task *t, int host_fd, const struct path_parent *parent, const char *text)
{
	struct sock_address a = {.un.sun_family = AF_UNIX, .held = -1};
	int dir_fd = path_writable(t->files->view, parent->fd, O_DIRECTORY), kept, n;
	struct stat st;

	if (dir_fd < 0)
		return fstatat(parent->fd, parent->name, &st, AT_SYMLINK_NOFOLLOW) ? dir_fd : -EADDRINUSE;
	kept = sockets_dir(t->sandbox->sockets, dir_fd, text, strlen(text) - strlen(parent->name));
	n = kept < 0 ? kept : snprintf(a.un.sun_path, SUN_BYTES, "%s/%s", path_link(kept).text, parent->name);
	if (n >= (int)SUN_BYTES)
		n = -ENAMETOOLONG;
	if (n >= 0) {
		a.bytes = (socklen_t)(SUN_HEAD + (size_t)n + 1);
		n = bind_in(t, host_fd, parent, dir_fd, &a);
	}
	close(dir_fd);
	return n;
}

static int bind_path(struct task *t, int host_fd, const struct sock_address *a)
{
	char text[SUN_BYTES + 1];
	struct path_parent parent;
	struct path p;
	int err;

	unix_text(a, text);
	path_from_text(t, text, &p);
	err = path_parent(&p, &parent);
	if (err)
		return err;
	err = parent.slash ? -ENOENT : bind_at(t, host_fd, &parent, text);
	close(parent.fd);
	return err;
}

int sock_bind(struct task *t, int host_fd, int domain, struct sock_address *a)
{
	bool v4_too = domain == AF_INET6 && !is_v6only(host_fd);
	int err;

	if (domain == AF_UNIX && a->bytes == SUN_HEAD && a->any.sa_family == AF_UNIX)
		return bind_unnamed(t, host_fd);
	if (domain == AF_UNIX && is_unix_name(a) && a->un.sun_path[0])
		return bind_path(t, host_fd, a);
	err = domain == AF_INET || domain == AF_INET6 ? inet_to_host(t, domain, SOCK_BIND, a, v4_too)
						      : sock_address_to_host(t, domain, SOCK_BIND, a);
	return err ? err : host_bind(host_fd, a);
}

int sock_bind_loopback(struct task *t, int host_fd, int domain, const struct sock_address *to)
{
	struct sock_address now = {.held = -1, .bytes = sizeof(now.storage)}, a = {.held = -1};

	if (sockets_net(t->sandbox->sockets) != LODGE_NET_LOCAL || (domain != AF_INET && domain != AF_INET6))
		return 0;
	if (getsockname(host_fd, &now.any, &now.bytes))
		return -errno;
	if (now.in.sin_port) /* in the same place in both */
		return 0;
	a.any.sa_family = (sa_family_t)domain;
	a.bytes = domain == AF_INET ? sizeof(a.in) : sizeof(a.in6);
	if (to && to->any.sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&to->in6.sin6_addr))
		a.in6.sin6_addr = in6addr_loopback;
	return sock_bind(t, host_fd, domain, &a);
}
