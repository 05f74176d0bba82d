/* SPDX-License-Identifier: MIT */
/* files_clone.c - see files_clone.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "files_clone.h"
#include "memfd.h"
#include "object_twins.h"
#include "signalfd.h"
#include "tty.h"

#define PROC_FD_BYTES 40
/* What open() would do again; and what only says how it was opened. */
#define OPEN_ONCE     (O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW | (O_TMPFILE & ~O_DIRECTORY))

static int refuse(struct file_twins *w, const struct file_twin *t, const char *what)
{
	char link[PROC_FD_BYTES], name[96] = "?";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", t->old->host_fd);
	ssize_t n = readlink(link, name, sizeof(name) - 1);
	name[n < 0 ? 0 : n] = '\0';
	snprintf(w->why, sizeof(w->why), "descriptor %d (%s) %s", t->guest_fd, name, what);
	return -ENOTSUP;
}

/* --- what there is ---------------------------------------------------------------------------- */

static struct file_twin *find(const struct file_twins *w, const struct guest_file *old)
{
	for (unsigned int i = 0; i < w->nr; i++)
		if (w->twin[i].old == old)
			return &w->twin[i];
	return NULL;
}

static int note(struct file_twins *w, struct guest_file *old, int guest_fd)
{
	if (find(w, old))
		return 0;
	if (w->nr == w->room) {
		unsigned int room = w->room ? 2 * w->room : 16;
		struct file_twin *more = realloc(w->twin, room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		w->twin = more;
		w->room = room;
	}
	w->twin[w->nr++] = (struct file_twin){.old = old, .guest_fd = guest_fd};
	return 0;
}

int file_twins_add(struct file_twins *w, struct files *f)
{
	int err = 0;

	for (int fd = 0; fd < f->end && !err; fd++)
		if (f->fd[fd].file)
			err = note(w, f->fd[fd].file, fd);
	return err;
}

/* --- open file descriptions -------------------------------------------------------------------- */

bool file_same_description(int a, int b)
{
	static pid_t self;

	if (!self)
		self = getpid();
	return !syscall(SYS_kcmp, self, self, KCMP_FILE, a, b);
}

static int duplicate(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return copy < 0 ? -errno : copy;
}

static bool same_object(int a, const struct guest_file *b)
{
	struct stat st;

	return !fstat(a, &st) && st.st_dev == b->dev && st.st_ino == b->ino;
}

/*
 * A dup of what the clone has for the description behind an old file already, or for a pipe of the caller's. -ENOENT: nothing yet.
 * What is open by its path alone has no state, and nothing to share.
 */
static int find_description(const struct file_twins *w, const struct file_twin *t, bool pipe)
{
	for (int i = 0; i < 3; i++) {
		int fd = w->old_caller_fds[i];
		if (fd >= 0 && same_object(fd, t->old) &&
		    (pipe || file_same_description(fd, t->old->host_fd)))
			return w->new_caller_fds[i] < 0 ? -EBADF : duplicate(w->new_caller_fds[i]);
	}
	for (const struct file_twin *o = w->twin; o < t; o++)
		if (o->new && o->old->dev == t->old->dev &&
		    o->old->ino == t->old->ino &&file_same_description(o->old->host_fd, t->old->host_fd))
			return duplicate(o->new->host_fd);
	return -ENOENT;
}

/* --- files ------------------------------------------------------------------------------------- */

static int open_again(struct file_twins *w, const struct file_twin *t, int flags)
{
	char path[PROC_FD_BYTES];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", t->old->host_fd);
	int fd = open(path, (flags & ~OPEN_ONCE) | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 && errno != EMFILE && errno != ENOMEM)
		return refuse(w, t, "cannot be opened again");
	if (fd < 0)
		return -errno;
	off_t at = lseek(t->old->host_fd, 0, SEEK_CUR);
	if (at > 0)
		lseek(fd, at, SEEK_SET);
	return fd;
}

/* --- pipes ------------------------------------------------------------------------------------- */

static struct pipe_twin *find_pipe(struct file_twins *w, const struct guest_file *old)
{
	for (unsigned int i = 0; i < w->nr_pipes; i++)
		if (w->pipe[i].dev == old->dev && w->pipe[i].ino == old->ino)
			return &w->pipe[i];
	return NULL;
}

static struct pipe_twin *new_pipe(struct file_twins *w, const struct guest_file *old)
{
	int bytes = fcntl(old->host_fd, F_GETPIPE_SZ);

	if (w->nr_pipes == w->pipe_room) {
		unsigned int room = w->pipe_room ? 2 * w->pipe_room : 8;
		struct pipe_twin *more = realloc(w->pipe, room * sizeof(*more));
		if (!more)
			return NULL;
		w->pipe = more;
		w->pipe_room = room;
	}
	struct pipe_twin *p = &w->pipe[w->nr_pipes];
	*p = (struct pipe_twin){.dev = old->dev, .ino = old->ino};
	if (pipe2(p->end, O_CLOEXEC))
		return NULL;
	w->nr_pipes++;
	if (bytes > 0)
		fcntl(p->end[0], F_SETPIPE_SZ, bytes);
	return p;
}

static bool is_end(const struct file_twin *t, const struct guest_file *of, int mode)
{
	return t->old->dev == of->dev && t->old->ino == of->ino &&
	       (fcntl(t->old->host_fd, F_GETFL) & O_ACCMODE) == mode;
}

static const struct file_twin *find_end(const struct file_twins *w, const struct guest_file *of, int mode)
{
	for (unsigned int i = 0; i < w->nr; i++)
		if (is_end(&w->twin[i], of, mode))
			return &w->twin[i];
	return NULL;
}

/* Nobody else has the other end: it is ours, or closed. */
static bool is_whole(const struct file_twins *w, const struct file_twin *t, int mode)
{
	struct pollfd p = {.fd = t->old->host_fd, .events = mode == O_RDONLY ? POLLIN : POLLOUT};

	if (find_end(w, t->old, mode == O_RDONLY ? O_WRONLY : O_RDONLY))
		return true;
	return poll(&p, 1, 0) >= 0 && (p.revents & (mode == O_RDONLY ? POLLHUP : POLLERR));
}

/* What is in it stays there as well. */
static bool fill_pipe(const struct file_twins *w, struct pipe_twin *p, const struct guest_file *old)
{
	const struct file_twin *reader = find_end(w, old, O_RDONLY);
	int bytes = 0;

	p->filled = true;
	if (!reader || ioctl(reader->old->host_fd, FIONREAD, &bytes) || !bytes)
		return true;
	return tee(reader->old->host_fd, p->end[1], INT_MAX, SPLICE_F_NONBLOCK) == bytes;
}

static int clone_pipe(struct file_twins *w, const struct file_twin *t, int flags)
{
	int mode = flags & O_ACCMODE;
	struct pipe_twin *p = find_pipe(w, t->old);

	if (mode == O_RDWR)
		return refuse(w, t, "is a pipe that is open for both");
	if (!is_whole(w, t, mode))
		return refuse(w, t, "is a pipe whose other end somebody else has");
	if (!p)
		p = new_pipe(w, t->old);
	if (!p)
		return -EMFILE;
	if (!p->filled && !fill_pipe(w, p, t->old))
		return refuse(w, t, "is a pipe whose contents cannot be had twice");
	int fd = duplicate(p->end[mode == O_WRONLY]);
	if (fd >= 0)
		fcntl(fd, F_SETFL, flags & ~OPEN_ONCE);
	return fd;
}

/* --- what has no name --------------------------------------------------------------------------- */

bool file_fdinfo(int fd, const char *name, int base, uint64_t *value)
{
	char path[PROC_FD_BYTES], line[256];
	size_t length = strlen(name);
	bool found = false;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	FILE *f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = !strncmp(line, name, length) && line[length] == ':';
	if (found)
		*value = strtoull(line + length + 1, NULL, base);
	if (f)
		fclose(f);
	return found;
}

static int clone_eventfd(const struct file_twin *t, int flags)
{
	uint64_t count = 0, semaphore = 0;

	if (!file_fdinfo(t->old->host_fd, "eventfd-count", 16, &count))
		return -ENOTSUP;
	file_fdinfo(t->old->host_fd, "eventfd-semaphore", 10, &semaphore); /* Linux 6.7 */
	int fd = eventfd(0, EFD_CLOEXEC | (semaphore ? EFD_SEMAPHORE : 0) | (flags & O_NONBLOCK));
	if (fd >= 0 && count)
		eventfd_write(fd, count);
	return fd < 0 ? -errno : fd;
}

/* One that has rung and was not read yet rings at once. */
static int clone_timerfd(const struct file_twin *t, int flags)
{
	uint64_t ticks = 0, clock;
	struct itimerspec left;

	if (!file_fdinfo(t->old->host_fd, "clockid", 10, &clock) || timerfd_gettime(t->old->host_fd, &left))
		return -ENOTSUP;
	file_fdinfo(t->old->host_fd, "ticks", 10, &ticks);
	if (ticks)
		left.it_value = (struct timespec){.tv_nsec = 1};
	int fd = timerfd_create((int)clock, TFD_CLOEXEC | (flags & O_NONBLOCK));
	if (fd >= 0)
		timerfd_settime(fd, 0, &left, NULL);
	return fd < 0 ? -errno : fd;
}

bool file_has_name(const struct guest_file *file, const char *name)
{
	char path[PROC_FD_BYTES], link[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file->host_fd);
	return readlink(path, link, sizeof(link) - 1) > 0 && !strcmp(link, name);
}

/* --- epoll: when all others are there ------------------------------------------------------------ */

static const struct file_twin *find_host_fd(const struct file_twins *w, int host_fd)
{
	for (unsigned int i = 0; i < w->nr; i++)
		if (w->twin[i].old->host_fd == host_fd && w->twin[i].new)
			return &w->twin[i];
	return NULL;
}

static bool copy_interest(const struct file_twins *w, const struct file_twin *t, const char *line)
{
	struct epoll_event event;
	unsigned long long data;
	unsigned int events;
	int fd;

	if (sscanf(line, "tfd: %d events: %x data: %llx", &fd, &events, &data) != 3)
		return true;
	const struct file_twin *of = find_host_fd(w, fd);
	event.events = events;
	event.data.u64 = data;
	return of && !epoll_ctl(t->new->host_fd, EPOLL_CTL_ADD, of->new->host_fd, &event);
}

static int copy_interests(struct file_twins *w, const struct file_twin *t)
{
	char path[PROC_FD_BYTES], line[256];
	bool ok = true;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", t->old->host_fd);
	FILE *f = fopen(path, "re");
	if (!f)
		return -EMFILE;
	while (ok && fgets(line, sizeof(line), f))
		ok = copy_interest(w, t, line);
	fclose(f);
	return ok ? 0 : refuse(w, t, "waits for a file that has no number any more");
}

/* --- one file ------------------------------------------------------------------------------------ */

static bool is_epoll(const struct guest_file *file)
{
	return file_has_name(file, "anon_inode:[eventpoll]");
}

static int clone_unnamed(struct file_twins *w, const struct file_twin *t, int flags)
{
	if (file_has_name(t->old, "anon_inode:[eventfd]"))
		return clone_eventfd(t, flags);
	if (file_has_name(t->old, "anon_inode:[timerfd]"))
		return clone_timerfd(t, flags);
	if (!is_epoll(t->old))
		return refuse(w, t, "cannot be cloned");
	int fd = epoll_create1(EPOLL_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* --- memfds -------------------------------------------------------------------------------------- */

/* Another description of what the clone has for the same memfd already; -ENOENT: nothing yet. */
static int open_twin(const struct file_twins *w, const struct file_twin *t, int flags)
{
	char path[PROC_FD_BYTES];

	for (const struct file_twin *o = w->twin; o < t; o++) {
		if (!o->new || o->old->memfd != t->old->memfd)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", o->new->host_fd);
		int fd = open(path, (flags & ~OPEN_ONCE) | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	return -ENOENT;
}

/* The first one makes the twin of its object, which is filled when there are spaces to pay for it. */
static int new_memfd(struct file_twins *w, struct file_twin *t)
{
	struct memfd_shape shape;
	struct memfd *m = NULL;
	int fd, err = memfd_describe(t->old->host_fd, &shape);

	if (err)
		return err == -ENOTSUP ? refuse(w, t, "is a file in memory, and cannot be cloned") : err;
	fd = memfd_build(w->mm_host, &shape, &m);
	if (fd < 0)
		return fd;
	struct backing *old = memfd_find(t->old->host_fd), *new = memfd_find(fd);
	err = object_twins_add(w->object, old, new);
	backing_put(old);
	backing_put(new);
	t->memfd = m;
	if (!err)
		return fd;
	close(fd);
	return err;
}

static int clone_memfd(struct file_twins *w, struct file_twin *t, int flags)
{
	int fd = flags & O_PATH ? -ENOENT : find_description(w, t, false);

	if (fd == -ENOENT)
		fd = open_twin(w, t, flags);
	if (fd == -ENOENT)
		fd = new_memfd(w, t);
	if (fd >= 0)
		lseek(fd, lseek(t->old->host_fd, 0, SEEK_CUR), SEEK_SET);
	return fd;
}

static int clone_by_kind(struct file_twins *w, struct file_twin *t)
{
	int flags = fcntl(t->old->host_fd, F_GETFL);
	struct stat st;

	if (t->old->memfd)
		return clone_memfd(w, t, flags);
	if (t->old->signalfd || t->old->process_serial || t->old->proc.kind == PROC_FILE)
		return refuse(w, t, "cannot be cloned");
	if (t->old->tty && t->old->tty->pair)
		return refuse(w, t, "is a terminal that was made inside, and cannot be cloned");
	if (flags < 0 || fstat(t->old->host_fd, &st))
		return -errno;
	if (flags & O_PATH)
		return duplicate(t->old->host_fd);
	int fd = find_description(w, t, S_ISFIFO(st.st_mode));
	if (fd != -ENOENT)
		return fd;
	if (S_ISFIFO(st.st_mode))
		return clone_pipe(w, t, flags);
	if (S_ISSOCK(st.st_mode))
		return refuse(w, t, "cannot be cloned");
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		return open_again(w, t, flags);
	return clone_unnamed(w, t, flags);
}

/* The caller's own: not taken over, and not closed. */
static int twin_of_caller(const struct file_twins *w, struct file_twin *t)
{
	int fd = t->old->host_fd;

	for (int i = 0; i < 3; i++)
		if (w->old_caller_fds[i] == t->old->host_fd)
			fd = w->new_caller_fds[i];
	if (fd < 0)
		return 0;
	t->new = guest_file_new(fd, false);
	return t->new ? 0 : -ENOMEM;
}

static int make_twin(struct file_twins *w, struct file_twin *t)
{
	if (!t->old->owned)
		return twin_of_caller(w, t);
	int fd = clone_by_kind(w, t);
	if (fd == -EBADF) /* a dup of what the clone's caller has closed */
		return 0;
	if (fd < 0)
		return fd;
	t->new = guest_file_new(fd, true);
	if (!t->new) {
		close(fd);
		return -ENOMEM;
	}
	t->new->proc = t->old->proc;
	return 0;
}

int file_twins_make(struct file_twins *w)
{
	int err = 0;

	for (unsigned int i = 0; i < w->nr && !err; i++)
		err = make_twin(w, &w->twin[i]);
	for (unsigned int i = 0; i < w->nr && !err; i++)
		if (w->twin[i].new &&is_epoll(w->twin[i].old))
			err = copy_interests(w, &w->twin[i]);
	return err;
}

struct files *file_twins_table(const struct file_twins *w, struct files *f)
{
	struct files *table = files_new(f->view);

	for (int fd = 0; table && fd < f->end; fd++) {
		const struct file_twin *t = f->fd[fd].file ? find(w, f->fd[fd].file) : NULL;
		if (t && t->new)
			files_set(table, fd, guest_file_share(t->new), f->fd[fd].cloexec);
	}
	return table;
}

void file_twins_destroy(struct file_twins *w)
{
	for (unsigned int i = 0; i < w->nr; i++) {
		memfd_drop(w->twin[i].memfd);
		if (w->twin[i].new)
			guest_file_put(w->twin[i].new);
	}
	for (unsigned int i = 0; i < w->nr_pipes; i++) {
		close(w->pipe[i].end[0]);
		close(w->pipe[i].end[1]);
	}
	free(w->twin);
	free(w->pipe);
}
