/* SPDX-License-Identifier: MIT */
/*
 * files.c - see files.h.
 *
 * A dup is a dup on the host too, so that guest descriptors share an offset exactly where Linux shares it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "files.h"
#include "memfd.h"
#include "mqueue.h"
#include "notice.h"
#include "pressure.h"
#include "signalfd.h"
#include "tty.h"
#include "view.h"

#define UMASK_UNKNOWN 022
#define MEM_MAJOR     1 /* /dev/null, /dev/zero and kin: never wait */

/* The process's umask, which could otherwise be read only by changing it under the feet of other threads. */
static mode_t host_umask(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	unsigned int mask = UMASK_UNKNOWN;
	char line[128];

	while (status && fgets(line, sizeof(line), status))
		if (sscanf(line, "Umask: %o", &mask) == 1)
			break;
	if (status)
		fclose(status);
	return mask & 0777;
}

static int socket_option(int host_fd, int option)
{
	int value = 0;
	socklen_t bytes = sizeof(value);

	getsockopt(host_fd, SOL_SOCKET, option, &value, &bytes);
	return value;
}

static void know_identity(struct guest_file *file, const struct stat *st)
{
	file->regular = S_ISREG(st->st_mode);
	file->dev = st->st_dev;
	file->ino = st->st_ino;
	file->known = true;
}

void guest_file_know(struct guest_file *like, const struct stat *st)
{
	if (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode))
		know_identity(like, st);
}

/* What kind of thing the host has behind the descriptor. */
static void look_at(struct guest_file *file)
{
	struct stat st;

	file->only_path = (unsigned int)fcntl(file->host_fd, F_GETFL) & O_PATH;
	if (fstat(file->host_fd, &st))
		return;
	know_identity(file, &st);
	if (file->regular || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))
		return;
	file->stream = !S_ISCHR(st.st_mode) || major(st.st_rdev) != MEM_MAJOR;
	file->records = !(st.st_mode & S_IFMT);
	if (!S_ISSOCK(st.st_mode))
		return;
	file->socket_domain = socket_option(file->host_fd, SO_DOMAIN);
	file->socket_type = socket_option(file->host_fd, SO_TYPE);
}

/* The same as of another descriptor of the same thing. */
static void know_like(struct guest_file *file, const struct guest_file *like)
{
	file->known = true;
	file->only_path = like->only_path;
	file->regular = like->regular;
	file->dev = like->dev;
	file->ino = like->ino;
	file->stream = like->stream;
	file->records = like->records;
	file->socket_domain = like->socket_domain;
	file->socket_type = like->socket_type;
}

/* --- open files ------------------------------------------------------------------------------ */

/* Takes host_fd over; NULL: no memory, and it is still the caller's. */
static struct guest_file *file_new(int host_fd, bool owned, const struct guest_file *like)
{
	struct guest_file *file = malloc(sizeof(*file));

	if (!file)
		return NULL;
	*file = (struct guest_file){.refs = 1, .host_fd = host_fd, .owned = owned};
	if (like && like->known)
		know_like(file, like);
	else
		look_at(file);
	if (owned && file->regular)
		file->memfd = memfd_adopt_object(file->dev, file->ino);
	return file;
}

struct guest_file *guest_file_new(int host_fd, bool owned)
{
	return file_new(host_fd, owned, NULL);
}

struct guest_file *guest_file_share(struct guest_file *file)
{
	atomic_fetch_add(&file->refs, 1);
	return file;
}

/* 0, or what the host said about closing. */
int guest_file_put(struct guest_file *file)
{
	int ret = 0;

	if (atomic_fetch_sub(&file->refs, 1) != 1)
		return 0;
	notice_drop(file->notice);
	memfd_drop(file->memfd);
	signalfd_drop(file->signalfd);
	mqueue_drop(file->mqueue);
	pressure_drop(file->pressure);
	struct tty *tty = file->tty;
	bool master = file->tty_master;
	if (file->owned && close(file->host_fd))
		ret = -errno;
	free(file);
	tty_drop(tty, master);
	return ret;
}

static _Thread_local struct files_holds *holds;

void files_holds_enter(struct files_holds *h)
{
	holds = h;
}

void files_holds_drop(struct files_holds *h)
{
	while (h->nr)
		guest_file_put(h->file[--h->nr]);
}

/* Keeps a file that others could close until the end of the call. False: too many. */
static bool hold(struct guest_file *file, bool shared)
{
	if (!shared || !holds)
		return true;
	if (holds->nr == FILES_MAX_HOLDS)
		return false;
	holds->file[holds->nr++] = guest_file_share(file);
	return true;
}

/* --- tables ---------------------------------------------------------------------------------- */

struct files *files_new(struct view *view)
{
	struct files *f = calloc(1, sizeof(*f));

	if (f) {
		atomic_store(&f->refs, 1);
		pthread_mutex_init(&f->lock, NULL);
		filelocks_init(&f->locks);
		f->view = view_share(view);
	}
	return f;
}

static void find_tty(const struct files *f, struct guest_file *file)
{
	if (file->stream && !file->socket_domain)
		file->tty = tty_adopt(f->sandbox, file->host_fd, &file->tty_master);
}

void files_enter_sandbox(struct files *f, struct sandbox *s)
{
	f->sandbox = s;
	for (int i = 0; i < f->end; i++)
		if (f->fd[i].file && !f->fd[i].file->tty)
			find_tty(f, f->fd[i].file);
}

static int take_caller_fds(struct files *f, const int fds[3])
{
	for (int i = 0; i < 3; i++) {
		if (fds[i] < 0 || fcntl(fds[i], F_GETFD) < 0)
			continue;
		files_set(f, i, guest_file_new(fds[i], false), false);
		if (!f->fd[i].file)
			return -ENOMEM;
		find_tty(f, f->fd[i].file);
		view_note_stranger(f->view, fds[i]);
	}
	return 0;
}

int files_create(const int fds[3], struct view *view, struct sandbox *s, struct files **result)
{
	struct files *f = files_new(view);
	int err;

	if (!f)
		return -ENOMEM;
	f->sandbox = s;
	err = take_caller_fds(f, fds);
	if (err)
		files_release(f);
	else
		*result = f;
	return err;
}

struct files *files_share(struct files *f)
{
	atomic_fetch_add(&f->refs, 1);
	return f;
}

struct files *files_copy(struct files *f)
{
	struct files *copy = files_new(f->view);

	if (!copy)
		return NULL;
	copy->sandbox = f->sandbox;
	pthread_mutex_lock(&f->lock);
	for (int i = 0; i < f->end; i++)
		if (f->fd[i].file)
			files_set(copy, i, guest_file_share(f->fd[i].file), f->fd[i].cloexec);
	pthread_mutex_unlock(&f->lock);
	return copy;
}

void files_release(struct files *f)
{
	if (!f || atomic_fetch_sub(&f->refs, 1) != 1)
		return;
	filelocks_drop(&f->locks);
	for (int i = 0; i < f->end; i++)
		if (f->fd[i].file)
			guest_file_put(f->fd[i].file);
	view_release(f->view);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static bool in_table(int guest_fd)
{
	return guest_fd >= 0 && guest_fd < NR_OPEN_MAX;
}

int files_end(struct files *f)
{
	pthread_mutex_lock(&f->lock);
	int end = f->end;
	pthread_mutex_unlock(&f->lock);
	return end;
}

struct guest_file *files_get(struct files *f, int guest_fd)
{
	struct guest_file *file = NULL;

	if (!in_table(guest_fd))
		return NULL;
	pthread_mutex_lock(&f->lock);
	file = f->fd[guest_fd].file;
	if (file && !hold(file, atomic_load(&f->refs) > 1))
		file = NULL;
	pthread_mutex_unlock(&f->lock);
	return file;
}

struct guest_file *files_get_open(struct files *f, int guest_fd)
{
	struct guest_file *file = files_get(f, guest_fd);

	return file && !file->only_path ? file : NULL;
}

int files_host_fd(struct files *f, int guest_fd)
{
	const struct guest_file *file = files_get(f, guest_fd);

	return file ? file->host_fd : -EBADF;
}

int guest_file_poll_fd(const struct guest_file *file)
{
	int fd = file->pressure ? pressure_poll_fd(file->pressure) : -1;

	return fd >= 0 ? fd : file->host_fd;
}

bool files_have_signalfd(struct files *f, const struct signalfd *s)
{
	bool have = false;

	pthread_mutex_lock(&f->lock);
	for (int i = 0; i < f->end && !have; i++)
		have = f->fd[i].file && f->fd[i].file->signalfd == s;
	pthread_mutex_unlock(&f->lock);
	return have;
}

bool files_cloexec(struct files *f, int guest_fd)
{
	bool on;

	if (!in_table(guest_fd))
		return false;
	pthread_mutex_lock(&f->lock);
	on = f->fd[guest_fd].file && f->fd[guest_fd].cloexec;
	pthread_mutex_unlock(&f->lock);
	return on;
}

void files_set_cloexec(struct files *f, int guest_fd, bool on)
{
	if (!in_table(guest_fd))
		return;
	pthread_mutex_lock(&f->lock);
	f->fd[guest_fd].cloexec = on;
	pthread_mutex_unlock(&f->lock);
}

void files_close_on_exec(struct files *f)
{
	for (int i = files_end(f) - 1; i >= 0; i--)
		if (files_cloexec(f, i))
			files_close(f, i);
}

static _Thread_local const _Atomic uint32_t *limit;

void files_limit_enter(const _Atomic uint32_t *nr_open)
{
	limit = nr_open;
}

uint32_t files_limit(void)
{
	return limit ? atomic_load_explicit(limit, memory_order_relaxed) : NR_OPEN_DEFAULT;
}

/* The lock is held. */
static int next_free(struct files *f, int min)
{
	for (int i = min; i < (int)files_limit(); i++)
		if (!f->fd[i].file)
			return i;
	return -EMFILE;
}

int files_next(struct files *f, int min)
{
	int n;

	pthread_mutex_lock(&f->lock);
	n = next_free(f, min);
	pthread_mutex_unlock(&f->lock);
	return n;
}

static int install(struct files *f, struct guest_file *file, bool cloexec, int min)
{
	int n;

	pthread_mutex_lock(&f->lock);
	n = next_free(f, min);
	if (n >= 0)
		files_set(f, n, file, cloexec);
	pthread_mutex_unlock(&f->lock);
	if (n < 0)
		guest_file_put(file);
	return n;
}

/* An open file that is lodge's own kind of thing where `like` is. NULL: no memory, and host_fd is closed. */
static struct guest_file *file_create_like(const struct files *f, int host_fd, const struct guest_file *like)
{
	struct guest_file *file = file_new(host_fd, true, like);

	if (!file)
		close(host_fd);
	else
		find_tty(f, file);
	if (file && like) {
		file->proc = like->proc;
		file->process_serial = like->process_serial;
		file->signalfd = signalfd_share(like->signalfd);
		file->mqueue = mqueue_share(like->mqueue);
		file->pressure = pressure_share(like->pressure);
	}
	return file;
}

int files_install(struct files *f, int host_fd, bool cloexec, int min, const struct guest_file *like)
{
	struct guest_file *file = file_create_like(f, host_fd, like);

	return file ? install(f, file, cloexec, min) : -ENOMEM;
}

/* Puts a file, or nothing, under a number and returns what was there. */
static struct guest_file *replace(struct files *f, int guest_fd, struct guest_file *file, bool cloexec)
{
	struct guest_file *old;

	pthread_mutex_lock(&f->lock);
	old = f->fd[guest_fd].file;
	files_set(f, guest_fd, file, cloexec);
	pthread_mutex_unlock(&f->lock);
	return old;
}

/* What the table lets go of, and with it its locks on the file. */
static int close_file(struct files *f, struct guest_file *old)
{
	filelocks_closed(&f->locks, old->host_fd);
	return guest_file_put(old);
}

int files_put(struct files *f, int guest_fd, int host_fd, bool cloexec, const struct guest_file *like)
{
	struct guest_file *file = file_create_like(f, host_fd, like), *old;

	if (!file)
		return -ENOMEM;
	old = replace(f, guest_fd, file, cloexec);
	if (old)
		close_file(f, old);
	return 0;
}

int files_close(struct files *f, int guest_fd)
{
	struct guest_file *old = in_table(guest_fd) ? replace(f, guest_fd, NULL, false) : NULL;

	return old ? close_file(f, old) : -EBADF;
}

/* --- the working directory ------------------------------------------------------------------- */

static struct fs *fs_new(struct guest_file *cwd, mode_t umask, mode_t host_umask)
{
	struct fs *fs = malloc(sizeof(*fs));

	if (!fs)
		return NULL;
	*fs = (struct fs){.refs = 1, .cwd = cwd, .umask = umask, .host_umask = host_umask};
	pthread_mutex_init(&fs->lock, NULL);
	return fs;
}

/* An O_PATH descriptor, or -errno. */
static int open_cwd(const struct view *view, const char *cwd)
{
	char own[PATH_MAX] = "/";
	struct view_end end;
	int fd;

	if (cwd)
		return view_open(view, AT_FDCWD, cwd, O_DIRECTORY, &end);
	if (view->plain) { /* without a look at its name: it may have none */
		fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	if (!getcwd(own, sizeof(own)) || own[0] != '/' || view_guest_path(view, own) < 0)
		strcpy(own, "/");
	fd = view_open(view, AT_FDCWD, own, O_DIRECTORY, &end);
	return fd < 0 ? view_open(view, AT_FDCWD, "/", O_DIRECTORY, &end) : fd;
}

int fs_create(const struct view *view, const char *cwd, struct fs **result)
{
	int fd = open_cwd(view, cwd);
	struct guest_file *file = fd < 0 ? NULL : guest_file_new(fd, true);
	mode_t mask = host_umask();

	if (fd < 0)
		return fd;
	if (!file) {
		close(fd);
		return -ENOMEM;
	}
	*result = fs_new(file, mask, mask);
	if (*result)
		return 0;
	guest_file_put(file);
	return -ENOMEM;
}

struct fs *fs_share(struct fs *fs)
{
	atomic_fetch_add(&fs->refs, 1);
	return fs;
}

struct fs *fs_copy(struct fs *fs)
{
	struct guest_file *cwd;
	struct fs *copy;

	pthread_mutex_lock(&fs->lock);
	cwd = guest_file_share(fs->cwd);
	pthread_mutex_unlock(&fs->lock);
	copy = fs_new(cwd, atomic_load(&fs->umask), fs->host_umask);
	if (!copy)
		guest_file_put(cwd);
	return copy;
}

void fs_release(struct fs *fs)
{
	if (!fs || atomic_fetch_sub(&fs->refs, 1) != 1)
		return;
	guest_file_put(fs->cwd);
	pthread_mutex_destroy(&fs->lock);
	free(fs);
}

int fs_set_cwd(struct fs *fs, int host_fd)
{
	struct guest_file *cwd = guest_file_new(host_fd, true), *old;

	if (!cwd) {
		close(host_fd);
		return -ENOMEM;
	}
	pthread_mutex_lock(&fs->lock);
	old = fs->cwd;
	fs->cwd = cwd;
	pthread_mutex_unlock(&fs->lock);
	guest_file_put(old);
	return 0;
}

int fs_cwd(struct fs *fs)
{
	int fd;

	pthread_mutex_lock(&fs->lock);
	fd = hold(fs->cwd, atomic_load(&fs->refs) > 1) ? fs->cwd->host_fd : -EBADF;
	pthread_mutex_unlock(&fs->lock);
	return fd;
}
