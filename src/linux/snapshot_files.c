/* SPDX-License-Identifier: MIT */
/*
 * snapshot_files.c - open files of a snapshot: see snapshot.h. What a clone can have (files_clone.h) a snapshot can, by name instead of by
 * descriptor; so a file that has no name any more, or another by now, is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "files_clone.h"
#include "memfd.h"
#include "snapshot.h"
#include "task.h"
#include "view.h"

#define MAX_FILES     65536u
#define MAX_INTERESTS 65536u
#define MAX_PIPE      (1u << 20)
#define OPEN_KEPT                                                                                    \
	(O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECT | O_DIRECTORY | O_DSYNC | O_SYNC | O_NOATIME | \
	 O_PATH | O_NOFOLLOW)
#define PIPE_KEPT (O_NONBLOCK | O_APPEND | O_DIRECT)

enum file_kind {
	FILE_CALLER,	 /* the caller's `number` itself */
	FILE_CALLER_DUP, /* a dup of that */
	FILE_DUP,	 /* a dup of the file with this number */
	FILE_PATH,
	FILE_PIPE, /* `number`: what pipe */
	FILE_EVENTFD,
	FILE_TIMERFD,
	FILE_EPOLL,
	FILE_MEMFD, /* `number`: what object */
	NR_FILE_KINDS
};

struct file_record {
	uint32_t kind, number, flags, semaphore;
	int64_t offset; /* FILE_PATH, FILE_MEMFD; FILE_TIMERFD: its clock */
	uint64_t count; /* FILE_EVENTFD */
	struct itimerspec timer;
};

/* --- writing: what it is ------------------------------------------------------------------------------ */

static int path_of(int fd, char path[PATH_MAX])
{
	char link[40];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, PATH_MAX - 1);
	path[n < 0 ? 0 : n] = '\0';
	return n < 0 ? -errno : 0;
}

static bool is_callers(const struct snapshot *n, const struct guest_file *f, struct file_record *r)
{
	const int *fds = n->sandbox->caller_fds;
	struct stat st;

	for (uint32_t i = 0; i < 3; i++) {
		if (fds[i] < 0 || fstat(fds[i], &st) || st.st_dev != f->dev || st.st_ino != f->ino)
			continue;
		bool own = !f->owned && f->host_fd == fds[i];
		if (!own && !S_ISFIFO(st.st_mode) && !file_same_description(fds[i], f->host_fd))
			continue;
		r->kind = own ? FILE_CALLER : FILE_CALLER_DUP;
		r->number = i;
		return true;
	}
	return false;
}

static bool is_dup(const struct snapshot *n, const struct guest_file *f, uint32_t own, struct file_record *r)
{
	for (uint32_t i = 0; i < own; i++) {
		const struct guest_file *o = n->file.at[i];
		if (o->dev != f->dev || o->ino != f->ino || !file_same_description(o->host_fd, f->host_fd))
			continue;
		r->kind = FILE_DUP;
		r->number = i;
		return true;
	}
	return false;
}

/* The first file of the same pipe gives it its number. */
static uint32_t pipe_number(const struct snapshot *n, const struct guest_file *f)
{
	uint32_t i = 0;

	for (const struct guest_file *o = n->file.at[0]; o->dev != f->dev || o->ino != f->ino;)
		o = n->file.at[++i];
	return i;
}

static int describe_named(struct snapshot *n, const struct guest_file *f, struct file_record *r)
{
	char path[PATH_MAX];
	struct stat st;

	path_of(f->host_fd, path);
	if (stat(path, &st) || st.st_dev != f->dev || st.st_ino != f->ino)
		return snapshot_refuse(n, -ENOTSUP, "%s, which is open, cannot be found again", path);
	r->kind = FILE_PATH;
	r->offset = r->flags & O_PATH ? 0 : lseek(f->host_fd, 0, SEEK_CUR);
	return 0;
}

static int describe_unnamed(struct snapshot *n, const struct guest_file *f, struct file_record *r)
{
	char path[PATH_MAX];
	uint64_t clock = 0, semaphore = 0;

	path_of(f->host_fd, path);
	if (file_has_name(f, "anon_inode:[eventfd]")) {
		r->kind = FILE_EVENTFD;
		file_fdinfo(f->host_fd, "eventfd-count", 16, &r->count);
		file_fdinfo(f->host_fd, "eventfd-semaphore", 10, &semaphore);
		r->semaphore = (uint32_t)semaphore;
		return 0;
	}
	if (file_has_name(f, "anon_inode:[timerfd]") && !timerfd_gettime(f->host_fd, &r->timer)) {
		r->kind = FILE_TIMERFD;
		file_fdinfo(f->host_fd, "clockid", 10, &clock);
		r->offset = (int64_t)clock;
		return 0;
	}
	if (!file_has_name(f, "anon_inode:[eventpoll]"))
		return snapshot_refuse(n, -ENOTSUP, "%s cannot be saved", path);
	r->kind = FILE_EPOLL;
	return 0;
}

static int describe_memfd(struct snapshot *n, const struct guest_file *f, struct file_record *r)
{
	struct backing *object = memfd_find(f->host_fd);

	r->kind = FILE_MEMFD;
	r->number = numbered_note(&n->object, object);
	r->offset = r->flags & O_PATH ? 0 : lseek(f->host_fd, 0, SEEK_CUR);
	backing_put(object);
	return 0;
}

static int describe(struct snapshot *n, const struct guest_file *f, uint32_t own, struct file_record *r)
{
	struct stat st;

	memset(r, 0, sizeof(*r));
	r->flags = (uint32_t)fcntl(f->host_fd, F_GETFL);
	if (is_callers(n, f, r) || (!(r->flags & O_PATH) && is_dup(n, f, own, r)))
		return 0;
	if (fstat(f->host_fd, &st))
		return -errno;
	if (f->proc.kind != PROC_NONE)
		return snapshot_refuse(n, -ENOTSUP, "an open entry of /proc cannot be saved");
	if (f->memfd)
		return describe_memfd(n, f, r);
	if (S_ISFIFO(st.st_mode)) {
		r->kind = FILE_PIPE;
		r->number = pipe_number(n, f);
		return 0;
	}
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode) ||
	    S_ISLNK(st.st_mode))
		return describe_named(n, f, r);
	return describe_unnamed(n, f, r);
}

/* What is in the pipe, by way of any end to read from. */
static int drain_pipe(struct snapshot *n, uint32_t number, char **bytes, size_t *nr)
{
	const struct guest_file *of = n->file.at[number];

	*nr = 0;
	*bytes = malloc(MAX_PIPE);
	if (!*bytes)
		return -ENOMEM;
	for (uint32_t i = 0; i < n->file.nr; i++) {
		const struct guest_file *f = n->file.at[i];
		int flags = fcntl(f->host_fd, F_GETFL);
		if (f->dev != of->dev || f->ino != of->ino || (flags & O_ACCMODE) != O_RDONLY)
			continue;
		fcntl(f->host_fd, F_SETFL, flags | O_NONBLOCK);
		for (ssize_t got; (got = read(f->host_fd, *bytes + *nr, MAX_PIPE - *nr)) > 0;)
			*nr += (size_t)got;
		fcntl(f->host_fd, F_SETFL, flags);
		break;
	}
	return 0;
}

static int write_file(struct snapshot *n, uint32_t i)
{
	const struct guest_file *f = n->file.at[i];
	struct file_record r;
	char path[PATH_MAX], *text = path;
	void *bytes = NULL;
	size_t nr = 0;
	int err = describe(n, f, i, &r);

	if (err)
		return err;
	CODE(&n->c, r);
	if (r.kind == FILE_PATH) {
		path_of(f->host_fd, path);
		codec_string(&n->c, &text);
	} else if (r.kind == FILE_PIPE && r.number == i) {
		err = drain_pipe(n, i, (char **)&bytes, &nr);
		codec_block(&n->c, &bytes, &nr, MAX_PIPE);
		free(bytes);
	}
	return err;
}

/* --- reading: making it again ---------------------------------------------------------------------------- */

static bool may_write(const struct snapshot *n, const char *path)
{
	const char *rest;
	const struct mount *m = view_find_host(n->view, path, &rest);
	struct stat st;

	return m && (m->writable || (!stat(path, &st) && S_ISCHR(st.st_mode)));
}

/* What is opened by a name is no pipe, whose other end it might wait for. */
static bool is_opened(int fd, int flags)
{
	struct stat st;

	if (fstat(fd, &st) || S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))
		return false;
	return (flags & (O_PATH | O_NONBLOCK)) || !fcntl(fd, F_SETFL, flags & (int)OPEN_KEPT & ~O_ACCMODE);
}

int snapshot_open(struct snapshot *n, const char *path, int flags)
{
	const char *rest;

	if (path[0] != '/' || !view_find_host(n->view, path, &rest) || !strncmp(path, "/proc/", 6))
		return snapshot_refuse(n, -EACCES, "%s is not in the view of the space", path);
	if (!(flags & O_PATH) && (flags & O_ACCMODE) != O_RDONLY && !may_write(n, path))
		return snapshot_refuse(n, -EROFS, "%s may not be written: see --rw", path);
	int fd = open(path, (flags & (int)OPEN_KEPT) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return snapshot_refuse(n, -errno, "%s: %s", path, strerror(errno));
	if (is_opened(fd, flags))
		return fd;
	close(fd);
	return snapshot_refuse(n, -EBADMSG, "%s is not what was open", path);
}

static int open_named(struct snapshot *n, const struct file_record *r)
{
	char *path;

	codec_string(&n->c, &path);
	if (!path)
		return -EBADMSG;
	int fd = snapshot_open(n, path, (int)r->flags);
	free(path);
	if (fd >= 0 && r->offset > 0)
		lseek(fd, r->offset, SEEK_SET);
	return fd;
}

static int duplicate(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return copy < 0 ? -errno : copy;
}

/* The ends of the pipes, by number: those are the file numbers of the first ends. */
struct pipes {
	int (*end)[2];
	uint32_t nr;
};

static int fill_pipe(struct snapshot *n, int end[2])
{
	void *bytes;
	size_t nr;

	codec_block(&n->c, &bytes, &nr, MAX_PIPE);
	if (n->c.bad || pipe2(end, O_CLOEXEC | O_NONBLOCK)) {
		free(bytes);
		return n->c.bad ? -EBADMSG : -errno;
	}
	if (nr > 65536)
		fcntl(end[1], F_SETPIPE_SZ, (int)nr);
	bool whole = !nr || write(end[1], bytes, nr) == (ssize_t)nr;
	free(bytes);
	return whole ? 0 : -ENOMEM;
}

static int make_pipe(struct snapshot *n, const struct file_record *r, uint32_t own, struct pipes *p)
{
	int err = 0;

	if (r->number > own)
		return -EBADMSG;
	if (r->number == own)
		err = fill_pipe(n, p->end[own]);
	else if (p->end[r->number][0] < 0)
		err = -EBADMSG;
	if (err)
		return err;
	int fd = duplicate(p->end[r->number][(r->flags & O_ACCMODE) == O_WRONLY]);
	if (fd >= 0)
		fcntl(fd, F_SETFL, r->flags & PIPE_KEPT);
	return fd;
}

static int make_timerfd(const struct file_record *r)
{
	int fd = timerfd_create((int)r->offset, TFD_CLOEXEC | ((int)r->flags & O_NONBLOCK));

	if (fd >= 0)
		timerfd_settime(fd, 0, &r->timer, NULL);
	return fd < 0 ? -errno : fd;
}

static int make_eventfd(const struct file_record *r)
{
	int fd = eventfd(0, EFD_CLOEXEC | (r->semaphore ? EFD_SEMAPHORE : 0) | ((int)r->flags & O_NONBLOCK));

	if (fd >= 0 && r->count && r->count != UINT64_MAX)
		eventfd_write(fd, r->count);
	return fd < 0 ? -errno : fd;
}

static int make_fd(struct snapshot *n, const struct file_record *r, uint32_t own, struct pipes *p)
{
	const struct guest_file *of = r->kind == FILE_DUP && r->number < own ? n->file.at[r->number] : NULL;
	int fd;

	switch ((enum file_kind)r->kind) {
	case FILE_CALLER_DUP:
		fd = r->number < 3 ? n->sandbox->caller_fds[r->number] : -1;
		return fd < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : duplicate(fd);
	case FILE_DUP:
		return of ? duplicate(of->host_fd) : -EBADMSG;
	case FILE_PATH:
		return open_named(n, r);
	case FILE_PIPE:
		return make_pipe(n, r, own, p);
	case FILE_EVENTFD:
		return make_eventfd(r);
	case FILE_TIMERFD:
		return make_timerfd(r);
	case FILE_EPOLL:
		fd = epoll_create1(EPOLL_CLOEXEC);
		return fd < 0 ? -errno : fd;
	case FILE_MEMFD:
		fd = snapshot_open_object(n, r->number, (int)r->flags);
		if (fd >= 0 && r->offset > 0)
			lseek(fd, r->offset, SEEK_SET);
		return fd;
	case FILE_CALLER:
	case NR_FILE_KINDS:
		break;
	}
	return -EBADMSG;
}

static int read_file(struct snapshot *n, uint32_t own, struct pipes *p)
{
	struct guest_file *f;
	struct file_record r;
	bool owned;
	int fd;

	CODE(&n->c, r);
	if (n->c.bad)
		return -EBADMSG;
	owned = r.kind != FILE_CALLER;
	if (owned)
		fd = make_fd(n, &r, own, p);
	else
		fd = r.number < 3 ? n->sandbox->caller_fds[r.number] : -1;
	if (!owned && fd < 0) { /* the caller has it closed */
		owned = true;
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	}
	if (fd < 0)
		return fd;
	f = guest_file_new(fd, owned);
	if (f && numbered_add(&n->file, f))
		return 0;
	if (f)
		guest_file_put(f);
	else if (owned)
		close(fd);
	return -ENOMEM;
}

/* --- epoll ------------------------------------------------------------------------------------------------ */

struct interest {
	uint64_t data;
	uint32_t file, events;
};

static bool is_epoll(const struct guest_file *f)
{
	return file_has_name(f, "anon_inode:[eventpoll]");
}

/* The number of the file behind a descriptor of the host. */
static uint32_t find_host_fd(const struct snapshot *n, int fd)
{
	uint32_t i = 0;

	while (i < n->file.nr && ((struct guest_file *)n->file.at[i])->host_fd != fd)
		i++;
	return i;
}

/* All interests that the host tells of: their number; *list is the caller's. */
static uint32_t list_interests(const struct snapshot *n, const struct guest_file *f, struct interest **list)
{
	char path[40], line[256];
	unsigned long long data;
	unsigned int events;
	uint32_t nr = 0;
	int fd;

	*list = NULL;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", f->host_fd);
	FILE *info = fopen(path, "re");
	while (info && fgets(line, sizeof(line), info)) {
		if (sscanf(line, "tfd: %d events: %x data: %llx", &fd, &events, &data) != 3)
			continue;
		struct interest *more = realloc(*list, (nr + 1ul) * sizeof(*more));
		if (!more)
			break;
		*list = more;
		memset(&more[nr], 0, sizeof(*more));
		more[nr].data = data;
		more[nr].file = find_host_fd(n, fd);
		more[nr++].events = events;
	}
	if (info)
		fclose(info);
	return nr;
}

static int write_interests(struct snapshot *n, const struct guest_file *f)
{
	struct interest *list;
	uint32_t nr = list_interests(n, f, &list);

	codec_count(&n->c, nr, MAX_INTERESTS);
	codec_bytes(&n->c, list, nr * sizeof(*list));
	free(list);
	return 0;
}

static int read_interests(struct snapshot *n, const struct guest_file *f)
{
	uint32_t nr = codec_count(&n->c, 0, MAX_INTERESTS);
	struct interest x;

	for (uint32_t i = 0; i < nr; i++) {
		CODE(&n->c, x);
		const struct guest_file *of = numbered_get(&n->file, x.file);
		struct epoll_event event = {.events = x.events, .data.u64 = x.data};
		if (n->c.bad || !of || epoll_ctl(f->host_fd, EPOLL_CTL_ADD, of->host_fd, &event))
			return snapshot_refuse(n, -EBADMSG, "an epoll waits for a file that is not there");
	}
	return 0;
}

/* --- tables and directories --------------------------------------------------------------------------------- */

static int write_table(struct snapshot *n, const struct files *f)
{
	uint32_t nr = 0;

	for (uint32_t fd = 0; fd < NR_OPEN_MAX; fd++)
		nr += f->fd[fd].file != NULL;
	codec_count(&n->c, nr, NR_OPEN_MAX);
	for (uint32_t fd = 0; fd < NR_OPEN_MAX; fd++) {
		if (!f->fd[fd].file)
			continue;
		uint32_t number = numbered_note(&n->file, f->fd[fd].file), cloexec = f->fd[fd].cloexec;
		CODE(&n->c, fd);
		CODE(&n->c, number);
		CODE(&n->c, cloexec);
	}
	return 0;
}

static int read_table(struct snapshot *n)
{
	struct files *f = files_new(n->view);
	uint32_t nr = codec_count(&n->c, 0, NR_OPEN_MAX), fd, number, cloexec;

	if (!f || !numbered_add(&n->files, f)) {
		files_release(f);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < nr; i++) {
		CODE(&n->c, fd);
		CODE(&n->c, number);
		CODE(&n->c, cloexec);
		struct guest_file *file = numbered_get(&n->file, number);
		if (n->c.bad || fd >= NR_OPEN_MAX || f->fd[fd].file || !file)
			return -EBADMSG;
		files_set(f, (int)fd, guest_file_share(file), cloexec);
	}
	files_enter_sandbox(f, n->sandbox);
	return 0;
}

static void write_directory(struct snapshot *n, struct fs *fs)
{
	uint32_t umask = atomic_load(&fs->umask);
	char path[PATH_MAX], *text = path;

	path_of(fs->cwd->host_fd, path);
	CODE(&n->c, umask);
	codec_string(&n->c, &text);
}

static int read_directory(struct snapshot *n)
{
	uint32_t umask;
	struct fs *fs;
	char *path;
	int err;

	CODE(&n->c, umask);
	codec_string(&n->c, &path);
	if (!path)
		return -EBADMSG;
	int fd = snapshot_open(n, path, O_PATH | O_DIRECTORY);
	free(path);
	if (fd < 0)
		return fd;
	err = fs_create(n->view, "/", &fs);
	if (err) {
		close(fd);
		return err;
	}
	err = fs_set_cwd(fs, fd);
	atomic_store(&fs->umask, umask & 0777);
	if (!err && numbered_add(&n->fs, fs))
		return 0;
	fs_release(fs);
	return -ENOMEM;
}

/* --- all ------------------------------------------------------------------------------------------------------ */

int snapshot_note_files(struct snapshot *n)
{
	for (uint32_t i = 0; i < n->files.nr; i++) {
		const struct files *f = n->files.at[i];
		for (uint32_t fd = 0; fd < NR_OPEN_MAX; fd++)
			if (f->fd[fd].file && numbered_note(&n->file, f->fd[fd].file) == UINT32_MAX)
				return -ENOMEM;
	}
	return 0;
}

static int write_all(struct snapshot *n)
{
	int err = 0;

	codec_count(&n->c, n->file.nr, MAX_FILES);
	for (uint32_t i = 0; i < n->file.nr && !err; i++)
		err = write_file(n, i);
	for (uint32_t i = 0; i < n->file.nr && !err; i++)
		if (is_epoll(n->file.at[i]))
			err = write_interests(n, n->file.at[i]);
	codec_count(&n->c, n->files.nr, SNAPSHOT_MAX_TASKS);
	for (uint32_t i = 0; i < n->files.nr && !err; i++)
		err = write_table(n, n->files.at[i]);
	codec_count(&n->c, n->fs.nr, SNAPSHOT_MAX_TASKS);
	for (uint32_t i = 0; i < n->fs.nr; i++)
		write_directory(n, n->fs.at[i]);
	return err;
}

static int read_files(struct snapshot *n)
{
	uint32_t nr = codec_count(&n->c, 0, MAX_FILES);
	struct pipes p = {.end = calloc(nr + 1ul, sizeof(*p.end)), .nr = nr};
	int err = p.end ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < nr && p.end; i++)
		p.end[i][0] = p.end[i][1] = -1;
	for (uint32_t i = 0; i < nr && !err; i++)
		err = read_file(n, i, &p);
	for (uint32_t i = 0; i < nr && p.end; i++) {
		if (p.end[i][0] < 0)
			continue;
		close(p.end[i][0]);
		close(p.end[i][1]);
	}
	free(p.end);
	for (uint32_t i = 0; i < nr && !err; i++)
		if (is_epoll(n->file.at[i]))
			err = read_interests(n, n->file.at[i]);
	return err;
}

static int read_all(struct snapshot *n)
{
	int err = read_files(n);
	uint32_t nr = err ? 0 : codec_count(&n->c, 0, SNAPSHOT_MAX_TASKS);

	for (uint32_t i = 0; i < nr && !err; i++)
		err = read_table(n);
	nr = err ? 0 : codec_count(&n->c, 0, SNAPSHOT_MAX_TASKS);
	for (uint32_t i = 0; i < nr && !err; i++)
		err = read_directory(n);
	return err;
}

int snapshot_code_files(struct snapshot *n)
{
	return n->c.writing ? write_all(n) : read_all(n);
}
