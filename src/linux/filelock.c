/* SPDX-License-Identifier: MIT */
/* filelock.c - record locks of processes. See filelock.h. */
#include "filelock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "host_wait.h"
#include "path.h"
#include "task.h"

#define DEADLOCK_STEPS 10 /* as Linux: whoever waits in a longer chain waits */

/* [start, end] and F_RDLCK, F_WRLCK or F_UNLCK. */
struct extent {
	int64_t start, end;
	int type;
};

struct range {
	struct list_head node;
	struct extent x;
	int pid; /* who set it */
};

/* What one table has locked of one file. */
struct owner {
	struct list_head node;	 /* in its table's */
	struct list_head all;	 /* in all_owners */
	struct list_head ranges; /* in no order, none of them overlapping */
	struct filelocks *locks; /* NULL: the file was closed meanwhile */
	struct extent wanted;	 /* what a thread waits for; type F_UNLCK: nothing */
	uint64_t dev, ino;	 /* (C) */
	int fd;			 /* the description that holds the locks */
	int mode;		 /* its access mode */
	unsigned int refs;	 /* the table's, and calls under way */
};

static pthread_mutex_t filelock_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct list_head all_owners = {&all_owners, &all_owners};

void filelocks_init(struct filelocks *l)
{
	list_init(&l->owners);
	atomic_store(&l->nr, 0);
}

/* --- ranges ---------------------------------------------------------------------------------- */

static bool overlaps(const struct extent *a, const struct extent *b)
{
	return a->start <= b->end && b->start <= a->end;
}

static bool conflicts(const struct extent *a, const struct extent *b)
{
	return overlaps(a, b) && (a->type == F_WRLCK || b->type == F_WRLCK);
}

static void range_add(struct owner *o, const struct extent *x, int pid)
{
	struct range *r = malloc(sizeof(*r));

	if (!r) /* the host has it; that nobody can name its owner is all that is lost */
		return;
	*r = (struct range){.x = *x, .pid = pid};
	list_add_tail(&r->node, &o->ranges);
}

/* Takes [start, end] out of all ranges, which may leave two pieces of one. */
static void ranges_cut(struct owner *o, const struct extent *x)
{
	struct range *r, *next;

	list_for_each_entry_safe (r, next, &o->ranges, node) {
		struct extent old = r->x;
		if (!overlaps(&old, x))
			continue;
		list_del(&r->node);
		if (old.start < x->start)
			range_add(o, &(struct extent){old.start, x->start - 1, old.type}, r->pid);
		if (old.end > x->end)
			range_add(o, &(struct extent){x->end + 1, old.end, old.type}, r->pid);
		free(r);
	}
}

static void ranges_set(struct owner *o, const struct extent *x, int pid)
{
	ranges_cut(o, x);
	if (x->type != F_UNLCK)
		range_add(o, x, pid);
}

/* --- owners; filelock_mutex is held ---------------------------------------------------------- */

static void owner_put(struct owner *o)
{
	struct range *r, *next;

	if (--o->refs)
		return;
	list_del(&o->all);
	list_for_each_entry_safe (r, next, &o->ranges, node)
		free(r);
	close(o->fd); /* and the host lets go of its locks */
	free(o);
}

/* The file was closed: from now on it holds nothing, whoever still waits with it. */
static void owner_leave(struct owner *o)
{
	const struct extent all = {0, INT64_MAX, F_UNLCK};
	struct flock none = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	list_del(&o->node);
	atomic_fetch_sub(&o->locks->nr, 1);
	o->locks = NULL;
	ranges_cut(o, &all);
	fcntl(o->fd, F_OFD_SETLK, &none);
	owner_put(o);
}

static struct owner *owner_find(const struct filelocks *l, const struct stat *st)
{
	struct owner *o;

	list_for_each_entry (o, &l->owners, node)
		if (o->dev == st->st_dev && o->ino == st->st_ino)
			return o;
	return NULL;
}

/* A description of the same file for what the guest's can do at least. -1: the host does not open it again. */
static int reopen(int host_fd, int *mode)
{
	*mode = fcntl(host_fd, F_GETFL) & O_ACCMODE;
	return path_reopen(host_fd, *mode | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static struct owner *owner_new(struct filelocks *l, const struct stat *st, int host_fd)
{
	struct owner *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->fd = reopen(host_fd, &o->mode);
	if (o->fd < 0) {
		free(o);
		return NULL;
	}
	list_init(&o->ranges);
	o->dev = st->st_dev;
	o->ino = st->st_ino;
	o->locks = l;
	o->wanted.type = F_UNLCK;
	o->refs = 1;
	list_add_tail(&o->node, &l->owners);
	list_add_tail(&o->all, &all_owners);
	atomic_fetch_add(&l->nr, 1);
	return o;
}

static struct flock to_flock(const struct extent *x)
{
	return (struct flock){.l_type = (short)x->type,
			      .l_whence = SEEK_SET,
			      .l_start = x->start,
			      .l_len = x->end == INT64_MAX ? 0 : x->end - x->start + 1};
}

/* Makes the description one that can do both; what it holds goes along. 0 or -ENOLCK. */
static int owner_widen(struct owner *o, int host_fd, int type)
{
	struct range *r;
	int fd, both = O_RDWR;

	if (o->mode == O_RDWR || o->mode == (type == F_WRLCK ? O_WRONLY : O_RDONLY))
		return 0;
	fd = path_reopen(host_fd, both | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -ENOLCK;
	/* Ours are all of one type here. Readers do not mind one another, and a writer has to let go first. */
	list_for_each_entry (r, &o->ranges, node) {
		struct flock lock = to_flock(&r->x), none = lock;
		none.l_type = F_UNLCK;
		if (r->x.type == F_WRLCK)
			fcntl(o->fd, F_OFD_SETLK, &none);
		fcntl(fd, F_OFD_SETLK, &lock);
	}
	close(o->fd);
	o->fd = fd;
	o->mode = both;
	return 0;
}

/* --- who waits for whom; filelock_mutex is held ---------------------------------------------- */

/* Would whoever wants this wait for `self`, at last? */
static bool waits_for(const struct owner *who, const struct extent *wanted, const struct filelocks *self,
		      unsigned int steps)
{
	const struct owner *o, *w;
	const struct range *r;

	if (!steps)
		return false;
	list_for_each_entry (o, &all_owners, all) {
		if (o->dev != who->dev || o->ino != who->ino || o->locks == who->locks || !o->locks)
			continue;
		bool blocks = false;
		list_for_each_entry (r, &o->ranges, node)
			blocks |= conflicts(&r->x, wanted);
		if (!blocks)
			continue;
		if (o->locks == self)
			return true;
		/* It stands in the way: does it wait itself, with any file? */
		list_for_each_entry (w, &o->locks->owners, node)
			if (w->wanted.type != F_UNLCK && waits_for(w, &w->wanted, self, steps - 1))
				return true;
	}
	return false;
}

/* --- calls ----------------------------------------------------------------------------------- */

/* As the kernel's flock_to_posix_lock. */
static int extent_of(int host_fd, const struct flock *lock, struct extent *x)
{
	struct stat st;
	int64_t base = 0;

	switch (lock->l_whence) {
	case SEEK_SET:
		break;
	case SEEK_CUR:
		base = lseek(host_fd, 0, SEEK_CUR);
		base = base < 0 ? 0 : base;
		break;
	case SEEK_END:
		base = fstat(host_fd, &st) ? 0 : st.st_size;
		break;
	default:
		return -EINVAL;
	}
	if (__builtin_add_overflow(base, lock->l_start, &x->start))
		return -EOVERFLOW;
	if (x->start < 0)
		return -EINVAL;
	x->end = INT64_MAX;
	if (lock->l_len > 0 && __builtin_add_overflow(x->start, lock->l_len - 1, &x->end))
		return -EOVERFLOW;
	if (lock->l_len < 0) {
		if (x->start + lock->l_len < 0)
			return -EINVAL;
		x->end = x->start - 1;
		x->start += lock->l_len;
	}
	x->type = lock->l_type;
	return x->type == F_RDLCK || x->type == F_WRLCK || x->type == F_UNLCK ? 0 : -EINVAL;
}

/* Who of ours holds what the host has found in the way; 0: a process outside, -1: an OFD lock. */
static int holder(const struct filelocks *self, const struct flock *found, const struct stat *st)
{
	struct extent x = {found->l_start, found->l_len ? found->l_start + found->l_len - 1 : INT64_MAX,
			   found->l_type};
	const struct owner *o;
	const struct range *r;

	if (found->l_pid != -1)
		return 0;
	list_for_each_entry (o, &all_owners, all) {
		if (o->dev != st->st_dev || o->ino != st->st_ino || o->locks == self)
			continue;
		list_for_each_entry (r, &o->ranges, node)
			if (overlaps(&r->x, &x) && r->x.type == x.type)
				return r->pid;
	}
	return -1;
}

static int64_t get_lock(struct filelocks *l, int host_fd, const struct stat *st, const struct extent *x,
			struct flock *lock)
{
	struct flock found = to_flock(x);
	int64_t ret = 0;
	int mode;

	if (x->type == F_UNLCK)
		return -EINVAL;
	pthread_mutex_lock(&filelock_mutex);
	const struct owner *o = owner_find(l, st);
	int fd = o ? o->fd : reopen(host_fd, &mode);
	if (fcntl(fd, F_OFD_GETLK, &found))
		ret = -errno;
	else if (found.l_type == F_UNLCK)
		lock->l_type = F_UNLCK;
	else {
		found.l_pid = holder(l, &found, st);
		*lock = found;
	}
	if (!o && fd >= 0)
		close(fd);
	pthread_mutex_unlock(&filelock_mutex);
	return ret;
}

/* One try. 0, -EAGAIN, -EDEADLK when it would have to wait for itself (only if it would wait), or what the host says. */
static int64_t try_lock(struct task *t, struct owner *o, const struct extent *x, bool waits)
{
	struct flock lock = to_flock(x);
	int64_t ret = 0;

	pthread_mutex_lock(&filelock_mutex);
	o->wanted.type = F_UNLCK;
	if (!o->locks)
		ret = -EBADF;
	else if (!fcntl(o->fd, F_OFD_SETLK, &lock))
		ranges_set(o, x, t->pid);
	else
		ret = errno == EACCES ? -EAGAIN : -errno;
	if (ret == -EAGAIN && waits) {
		if (waits_for(o, x, o->locks, DEADLOCK_STEPS))
			ret = -EDEADLK;
		else
			o->wanted = *x;
	}
	pthread_mutex_unlock(&filelock_mutex);
	return ret;
}

/*
 * The host's queue wakes us; what it gave is given back at once if the file was closed meanwhile. host_wait ends the wait now and
 * then: then others may have come to wait for us.
 */
static int64_t wait_for_lock(struct task *t, struct owner *o, const struct extent *x)
{
	struct flock lock = to_flock(x);
	struct host_wait wait;
	int64_t ret;

	for (;;) {
		ret = try_lock(t, o, x, true);
		if (ret != -EAGAIN)
			return ret;
		host_wait_begin(&wait);
		int got = fcntl(o->fd, F_OFD_SETLKW, &lock);
		int err = got ? errno : 0;
		host_wait_end(&wait);
		if (err && err != EINTR)
			return -err;
		if (!err || !task_interrupted(t))
			continue; /* what the host has given, the next try finds to be ours */
		pthread_mutex_lock(&filelock_mutex);
		o->wanted.type = F_UNLCK;
		pthread_mutex_unlock(&filelock_mutex);
		return host_wait_interrupted(t);
	}
}

/* The owner for a change, with a reference; NULL and *err. */
static struct owner *owner_get(struct filelocks *l, int host_fd, const struct stat *st,
			       const struct extent *x, int *err)
{
	struct owner *o;

	*err = 0;
	pthread_mutex_lock(&filelock_mutex);
	o = owner_find(l, st);
	if (!o && x->type != F_UNLCK) {
		o = owner_new(l, st, host_fd);
		*err = o ? 0 : -ENOLCK;
	}
	if (o && x->type != F_UNLCK)
		*err = owner_widen(o, host_fd, x->type);
	if (o)
		o->refs++;
	pthread_mutex_unlock(&filelock_mutex);
	return o;
}

static int64_t set_lock(struct task *t, int host_fd, const struct stat *st, const struct extent *x,
			bool waits)
{
	int mode = fcntl(host_fd, F_GETFL) & O_ACCMODE, err;

	if ((x->type == F_RDLCK && mode == O_WRONLY) || (x->type == F_WRLCK && mode == O_RDONLY))
		return -EBADF;
	struct owner *o = owner_get(&t->files->locks, host_fd, st, x, &err);
	int64_t ret = err;
	if (o && !err)
		ret = waits && x->type != F_UNLCK ? wait_for_lock(t, o, x) : try_lock(t, o, x, false);
	if (o) {
		pthread_mutex_lock(&filelock_mutex);
		owner_put(o);
		pthread_mutex_unlock(&filelock_mutex);
	}
	return ret;
}

int64_t filelock_fcntl(struct task *t, int host_fd, int cmd, struct flock *lock)
{
	struct extent x;
	struct stat st;

	if ((fcntl(host_fd, F_GETFL) & O_PATH) || fstat(host_fd, &st))
		return -EBADF;
	if (cmd == F_GETLK && lock->l_type != F_RDLCK && lock->l_type != F_WRLCK)
		return -EINVAL;
	int err = extent_of(host_fd, lock, &x);
	if (err)
		return err;
	return cmd == F_GETLK ? get_lock(&t->files->locks, host_fd, &st, &x, lock)
			      : set_lock(t, host_fd, &st, &x, cmd == F_SETLKW);
}

/* --- tables ---------------------------------------------------------------------------------- */

void filelocks_closed(struct filelocks *l, int host_fd)
{
	struct stat st;

	if (!atomic_load(&l->nr) || fstat(host_fd, &st))
		return;
	pthread_mutex_lock(&filelock_mutex);
	struct owner *o = owner_find(l, &st);
	if (o)
		owner_leave(o);
	pthread_mutex_unlock(&filelock_mutex);
}

void filelocks_drop(struct filelocks *l)
{
	struct owner *o, *next;

	if (!atomic_load(&l->nr))
		return;
	pthread_mutex_lock(&filelock_mutex);
	list_for_each_entry_safe (o, next, &l->owners, node)
		owner_leave(o);
	pthread_mutex_unlock(&filelock_mutex);
}

void filelocks_move(struct filelocks *to, struct filelocks *from)
{
	struct owner *o, *next;

	if (!atomic_load(&from->nr))
		return;
	pthread_mutex_lock(&filelock_mutex);
	list_for_each_entry_safe (o, next, &from->owners, node) {
		list_del(&o->node);
		list_add_tail(&o->node, &to->owners);
		o->locks = to;
		atomic_fetch_sub(&from->nr, 1);
		atomic_fetch_add(&to->nr, 1);
	}
	pthread_mutex_unlock(&filelock_mutex);
}
