/* SPDX-License-Identifier: MIT */
/*
 * sockets.c - see sockets.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../mm/list.h"
#include "memfd.h"
#include "sockets.h"

#define MAX_DIRS       256 /* directories that sockets were bound in */
#define MAX_LONG_NAMES 1024
#define MAX_FLIGHTS    4096 /* memfds in messages that nobody has received */
#define NAMES	       (1u << 20)
#define SUN_BYTES      sizeof(((struct sockaddr_un *)0)->sun_path)

struct sock_dir {
	int fd; /* O_PATH */
	dev_t dev;
	ino_t ino;
	char prefix[SUN_BYTES + 1];
};

struct flight {
	struct list_head node;
	struct memfd *memfd;
};

/* A name that is too long to stand behind a word. */
struct long_name {
	size_t bytes;
	char text[SUN_BYTES];
};

struct sockets {
	enum lodge_net net;		/* (C) */
	char word[8];			/* (C) */
	pthread_mutex_t lock;		/* for what follows */
	struct sock_dir *dir[MAX_DIRS]; /* entries are constant */
	unsigned int nr_dirs;
	struct list_head flights;
	unsigned int nr_flights;
	unsigned int next_name;
	struct long_name *long_name[MAX_LONG_NAMES]; /* entries are constant */
	unsigned int nr_long_names;
};

struct sockets *sockets_create(enum lodge_net net)
{
	struct sockets *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->net = net;
	if (getrandom(s->word, sizeof(s->word), 0) != sizeof(s->word)) {
		free(s);
		return NULL;
	}
	pthread_mutex_init(&s->lock, NULL);
	list_init(&s->flights);
	return s;
}

void sockets_destroy(struct sockets *s)
{
	struct flight *f, *next;

	if (!s)
		return;
	for (unsigned int i = 0; i < s->nr_dirs; i++) {
		close(s->dir[i]->fd);
		free(s->dir[i]);
	}
	for (unsigned int i = 0; i < s->nr_long_names; i++)
		free(s->long_name[i]);
	list_for_each_entry_safe (f, next, &s->flights, node) {
		memfd_drop(f->memfd);
		free(f);
	}
	pthread_mutex_destroy(&s->lock);
	free(s);
}

enum lodge_net sockets_net(const struct sockets *s)
{
	return s->net;
}

/* --- abstract names -------------------------------------------------------------------------- */

/* "\0", the word, how many zeros the name ends with, the rest: programs like to fill all of sun_path with zeros. */
#define HEAD_BYTES (1 + sizeof(((struct sockets *)0)->word) + 1)

/* In the place of that number: the name is one of a table, whose index follows. */
#define IS_LONG	   0xff

/* Its index, which it keeps; or -errno. */
static int long_name_index(struct sockets *s, const char *name, size_t bytes)
{
	struct long_name *n;
	unsigned int i = 0;
	int ret;

	pthread_mutex_lock(&s->lock);
	while (i < s->nr_long_names &&
	       (s->long_name[i]->bytes != bytes || memcmp(s->long_name[i]->text, name, bytes)))
		i++;
	ret = i < MAX_LONG_NAMES ? (int)i : -EINVAL;
	if (i == s->nr_long_names && i < MAX_LONG_NAMES) {
		n = calloc(1, sizeof(*n));
		if (n) {
			n->bytes = bytes;
			memcpy(n->text, name, bytes);
			s->long_name[s->nr_long_names++] = n;
		} else {
			ret = -ENOMEM;
		}
	}
	pthread_mutex_unlock(&s->lock);
	return ret;
}

static int long_name_to_host(struct sockets *s, const char *name, size_t bytes, char host[SUN_BYTES])
{
	int index = long_name_index(s, name, bytes);

	if (index < 0)
		return index;
	host[HEAD_BYTES - 1] = (char)IS_LONG;
	memcpy(host + HEAD_BYTES, &index, sizeof(index));
	return (int)(HEAD_BYTES + sizeof(index));
}

static int long_name_to_guest(struct sockets *s, const char *host, size_t bytes, char name[SUN_BYTES])
{
	const struct long_name *n = NULL;
	unsigned int index;

	if (bytes != HEAD_BYTES + sizeof(index))
		return -EINVAL;
	memcpy(&index, host + HEAD_BYTES, sizeof(index));
	pthread_mutex_lock(&s->lock);
	if (index < s->nr_long_names)
		n = s->long_name[index];
	pthread_mutex_unlock(&s->lock);
	if (!n)
		return -EINVAL;
	memcpy(name, n->text, n->bytes);
	return (int)n->bytes;
}

int sockets_name_to_host(struct sockets *s, const char *name, size_t bytes, char host[SUN_BYTES])
{
	size_t kept = bytes;

	while (kept && !name[kept - 1])
		kept--;
	host[0] = '\0';
	memcpy(host + 1, s->word, sizeof(s->word));
	if (HEAD_BYTES + kept > SUN_BYTES)
		return long_name_to_host(s, name, bytes, host);
	host[HEAD_BYTES - 1] = (char)(bytes - kept);
	memcpy(host + HEAD_BYTES, name, kept);
	return (int)(HEAD_BYTES + kept);
}

int sockets_name_to_guest(struct sockets *s, const char *host, size_t bytes, char name[SUN_BYTES])
{
	size_t kept, zeros;

	if (bytes < HEAD_BYTES || memcmp(host + 1, s->word, sizeof(s->word)))
		return -EINVAL;
	if ((unsigned char)host[HEAD_BYTES - 1] == IS_LONG)
		return long_name_to_guest(s, host, bytes, name);
	kept = bytes - HEAD_BYTES;
	zeros = (unsigned char)host[HEAD_BYTES - 1];
	if (kept + zeros >= SUN_BYTES)
		return -EINVAL;
	memcpy(name, host + HEAD_BYTES, kept);
	memset(name + kept, 0, zeros);
	return (int)(kept + zeros);
}

unsigned int sockets_next_name(struct sockets *s)
{
	unsigned int n;

	pthread_mutex_lock(&s->lock);
	n = s->next_name++ % NAMES;
	pthread_mutex_unlock(&s->lock);
	return n;
}

/* --- directories ----------------------------------------------------------------------------- */

static struct sock_dir *dir_new(int dir_fd, const struct stat *st, const char *prefix, size_t prefix_bytes)
{
	struct sock_dir *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->dev = st->st_dev;
	d->ino = st->st_ino;
	memcpy(d->prefix, prefix, prefix_bytes);
	d->fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
	if (d->fd >= 0)
		return d;
	free(d);
	return NULL;
}

/* The lock is held. */
static struct sock_dir *dir_find(struct sockets *s, const struct stat *st, const char *prefix, size_t bytes)
{
	for (unsigned int i = 0; i < s->nr_dirs; i++) {
		struct sock_dir *d = s->dir[i];
		if (d->dev == st->st_dev && d->ino == st->st_ino && strlen(d->prefix) == bytes &&
		    !memcmp(d->prefix, prefix, bytes))
			return d;
	}
	return NULL;
}

int sockets_dir(struct sockets *s, int dir_fd, const char *prefix, size_t prefix_bytes)
{
	struct sock_dir *d;
	struct stat st;

	if (prefix_bytes > SUN_BYTES)
		return -EINVAL;
	if (fstat(dir_fd, &st))
		return -errno;
	pthread_mutex_lock(&s->lock);
	d = dir_find(s, &st, prefix, prefix_bytes);
	if (!d && s->nr_dirs < MAX_DIRS) {
		d = dir_new(dir_fd, &st, prefix, prefix_bytes);
		if (d)
			s->dir[s->nr_dirs++] = d;
	}
	pthread_mutex_unlock(&s->lock);
	return d ? d->fd : -ENOBUFS;
}

const char *sockets_dir_prefix(struct sockets *s, int fd)
{
	const char *prefix = NULL;

	pthread_mutex_lock(&s->lock);
	for (unsigned int i = 0; i < s->nr_dirs && !prefix; i++)
		if (s->dir[i]->fd == fd)
			prefix = s->dir[i]->prefix;
	pthread_mutex_unlock(&s->lock);
	return prefix;
}

/* --- memfds in messages ---------------------------------------------------------------------- */

int sockets_sent(struct sockets *s, int host_fd)
{
	struct memfd *m = memfd_adopt(host_fd);
	struct flight *f = m ? malloc(sizeof(*f)) : NULL;
	bool room = false;

	if (!m)
		return 0;
	if (f) {
		f->memfd = m;
		pthread_mutex_lock(&s->lock);
		room = s->nr_flights < MAX_FLIGHTS;
		if (room) {
			list_add(&f->node, &s->flights);
			s->nr_flights++;
		}
		pthread_mutex_unlock(&s->lock);
	}
	if (room)
		return 0;
	free(f);
	memfd_drop(m);
	return -ETOOMANYREFS;
}

void sockets_received(struct sockets *s, int host_fd)
{
	struct memfd *m = memfd_adopt(host_fd);
	struct flight *f, *found = NULL;

	if (!m)
		return;
	pthread_mutex_lock(&s->lock);
	list_for_each_entry (f, &s->flights, node) {
		if (f->memfd != m)
			continue;
		found = f;
		list_del(&f->node);
		s->nr_flights--;
		break;
	}
	pthread_mutex_unlock(&s->lock);
	memfd_drop(m);
	if (found) {
		memfd_drop(found->memfd);
		free(found);
	}
}
