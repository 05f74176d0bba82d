/* SPDX-License-Identifier: MIT */
/* mqueue.c - see mqueue.h, and the system calls. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host_poll.h"
#include "host_wait.h"
#include "ipc.h"
#include "mqueue.h"
#include "path.h"
#include "sleep.h"
#include "syscall.h"

#define PRIORITIES 32768 /* MQ_PRIO_MAX */

/* Whom to tell of the first message. */
struct mqueue_notice {
	uint64_t process; /* its serial number; 0: nobody */
	int notify;	  /* SIGEV_NONE, SIGEV_SIGNAL */
	int signo;
	union sigval value;
};

struct mqueue {
	struct ipc_object object;
	struct list_head node;	 /* (ns->lock) in ns->mqueues */
	struct ipc_ns *ns;	 /* (C) */
	unsigned int refs;	 /* (ns->lock) of descriptors; one for the name */
	char name[NAME_MAX + 1]; /* (ns->lock) empty: it has none any more */
	int host_fd;		 /* (C) for reading and writing */
	long message_bytes;	 /* (C) the longest */
	pthread_mutex_t lock;
	unsigned int nr_waiting;     /* (lock) for messages */
	struct mqueue_notice notice; /* (lock) */
};

/* --- queues ---------------------------------------------------------------------------------- */

struct mqueue *mqueue_share(struct mqueue *q)
{
	if (!q)
		return NULL;
	pthread_mutex_lock(&q->ns->lock);
	q->refs++;
	pthread_mutex_unlock(&q->ns->lock);
	return q;
}

static void free_queue(struct mqueue *q)
{
	list_del(&q->node);
	close(q->host_fd);
	pthread_mutex_destroy(&q->lock);
	free(q);
}

static void drop_locked(struct mqueue *q)
{
	if (!--q->refs)
		free_queue(q);
}

void mqueue_drop(struct mqueue *q)
{
	struct ipc_ns *ns = q ? q->ns : NULL;

	if (!q)
		return;
	pthread_mutex_lock(&ns->lock);
	drop_locked(q);
	pthread_mutex_unlock(&ns->lock);
}

void mqueue_free_all(struct ipc_ns *ns)
{
	struct mqueue *q, *next;

	list_for_each_entry_safe (q, next, &ns->mqueues, node)
		free_queue(q);
}

void mqueue_flush(struct mqueue *q, const struct task *t)
{
	if (!q)
		return;
	pthread_mutex_lock(&q->lock);
	if (q->notice.process == t->process->serial)
		q->notice.process = 0;
	pthread_mutex_unlock(&q->lock);
}

/* The lock is held. */
static struct mqueue *find_named(struct ipc_ns *ns, const char *name)
{
	struct mqueue *q;

	list_for_each_entry (q, &ns->mqueues, node)
		if (!strcmp(q->name, name))
			return q;
	return NULL;
}

/* A queue of the host that nobody else can open; attributes NULL: the host's. */
static int host_queue(const struct mq_attr *attr)
{
	char name[40];
	uint64_t word[2];
	mqd_t fd;

	if (getrandom(word, sizeof(word), 0) != sizeof(word))
		return -EIO;
	snprintf(name, sizeof(name), "/%016lx%016lx", word[0], word[1]);
	fd = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, (struct mq_attr *)attr);
	if (fd < 0)
		return -errno;
	mq_unlink(name);
	return fd;
}

/* With ns->lock held, known by its name, which holds the one reference. */
static int new_queue(struct task *t, const char *name, mode_t mode, const struct mq_attr *attr,
		     struct mqueue **result)
{
	struct ipc_ns *ns = t->sandbox->ipc;
	struct mqueue *q = calloc(1, sizeof(*q));
	struct mq_attr got;

	if (!q)
		return -ENOMEM;
	q->host_fd = host_queue(attr);
	if (q->host_fd < 0 || mq_getattr(q->host_fd, &got)) {
		int err = q->host_fd < 0 ? q->host_fd : -errno;
		if (q->host_fd >= 0)
			close(q->host_fd);
		free(q);
		return err;
	}
	q->ns = ns;
	q->message_bytes = got.mq_msgsize;
	q->object.perm = (struct ipc_perm){.uid = t->cred.uid.fs,
					   .cuid = t->cred.uid.fs,
					   .gid = t->cred.gid.fs,
					   .cgid = t->cred.gid.fs,
					   .mode = (unsigned short)(mode & ~t->fs->umask & 0777)};
	q->refs = 1;
	strcpy(q->name, name);
	pthread_mutex_init(&q->lock, NULL);
	list_add(&q->node, &ns->mqueues);
	*result = q;
	return 0;
}

/* --- opening --------------------------------------------------------------------------------- */

/* As the last component of a path in the file system of queues. */
static int get_name(struct task *t, gva_t from, char name[NAME_MAX + 1])
{
	char text[PATH_MAX];
	int64_t len = strncpy_from_user(t->mm, text, from, sizeof(text));

	if (len < 0)
		return (int)len;
	text[sizeof(text) - 1] = '\0';
	if (!text[0])
		return -ENOENT;
	if (!strcmp(text, ".") || !strcmp(text, "..") || strchr(text, '/'))
		return -EACCES;
	if (strlen(text) > NAME_MAX)
		return -ENAMETOOLONG;
	strcpy(name, text);
	return 0;
}

static int check_rights(struct task *t, const struct mqueue *q, int flags)
{
	static const unsigned int rights[] = {[O_RDONLY] = 0444, [O_WRONLY] = 0222, [O_RDWR] = 0666};

	if ((flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	return ipc_check(t, &q->object, rights[flags & O_ACCMODE]);
}

/* With ns->lock held: a descriptor of the host for what was asked for, and the queue with a reference. */
static int open_locked(struct task *t, const char *name, int flags, mode_t mode, const struct mq_attr *attr,
		       struct mqueue **result)
{
	struct mqueue *q = find_named(t->sandbox->ipc, name);
	bool is_new = !q;
	int err = 0, fd;

	if (!q && !(flags & O_CREAT))
		return -ENOENT;
	if (!q)
		err = new_queue(t, name, mode, attr, &q);
	else if ((flags & O_CREAT) && (flags & O_EXCL))
		err = -EEXIST;
	else
		err = check_rights(t, q, flags);
	if (err)
		return err;
	fd = path_reopen(q->host_fd, (flags & (O_ACCMODE | O_NONBLOCK)) | O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		if (is_new)
			drop_locked(q);
		return err;
	}
	q->refs++;
	*result = q;
	return fd;
}

static int64_t sys_mq_open(struct task *t, const uint64_t a[6])
{
	struct ipc_ns *ns = t->sandbox->ipc;
	char name[NAME_MAX + 1];
	struct mq_attr attr;
	struct mqueue *q = NULL;
	int fd, err;

	if (a[3] && copy_from_user(t->mm, &attr, a[3], sizeof(attr)))
		return -EFAULT;
	err = get_name(t, a[0], name);
	if (err)
		return err;
	fd = files_next(t->files, 0);
	if (fd < 0)
		return fd;
	pthread_mutex_lock(&ns->lock);
	fd = open_locked(t, name, (int)a[1], (mode_t)a[2], a[3] ? &attr : NULL, &q);
	pthread_mutex_unlock(&ns->lock);
	if (fd >= 0)
		fd = files_install(t->files, fd, true, 0, &(struct guest_file){.mqueue = q});
	mqueue_drop(q);
	return fd;
}

static int64_t sys_mq_unlink(struct task *t, const uint64_t a[6])
{
	struct ipc_ns *ns = t->sandbox->ipc;
	char name[NAME_MAX + 1];
	struct mqueue *q;
	int err = get_name(t, a[0], name);

	if (err)
		return err;
	pthread_mutex_lock(&ns->lock);
	q = find_named(ns, name);
	err = q ? ipc_check_owner(t, &q->object) : -ENOENT;
	if (!err) {
		q->name[0] = '\0';
		drop_locked(q);
	}
	pthread_mutex_unlock(&ns->lock);
	return err;
}

/* --- messages -------------------------------------------------------------------------------- */

/* One call that sends or receives. */
struct mqueue_op {
	struct task *t;
	struct mqueue *queue;
	int host_fd;
	bool may_wait, sends;
	char *message;
	size_t bytes;
	unsigned int priority;
	bool has_deadline;
	struct timespec deadline; /* CLOCK_REALTIME */
	bool waits;		  /* counted in queue->nr_waiting */
};

/* A queue of the guest, open for `access`: O_RDONLY, O_WRONLY or (-1) whatever. */
static int queue_get(struct task *t, uint64_t guest_fd, int access, struct mqueue_op *op)
{
	const struct guest_file *file = files_get_open(t->files, (int)guest_fd);
	int flags;

	if (!file || !file->mqueue)
		return -EBADF;
	flags = fcntl(file->host_fd, F_GETFL);
	if (access >= 0 && (flags & O_ACCMODE) != access && (flags & O_ACCMODE) != O_RDWR)
		return -EBADF;
	op->t = t;
	op->queue = file->mqueue;
	op->host_fd = file->host_fd;
	op->may_wait = !(flags & O_NONBLOCK);
	return 0;
}

/* Whom a message in an empty queue, for which nobody waits, is to be told to. */
static bool takes_notice(const struct mqueue *q)
{
	struct mq_attr now;

	return q->notice.process && !q->nr_waiting && !mq_getattr(q->host_fd, &now) && !now.mq_curmsgs;
}

/* -EAGAIN: not now. */
static int64_t try_once(struct mqueue_op *op, struct mqueue_notice *notice)
{
	static const struct timespec long_ago;
	struct mqueue *q = op->queue;
	int64_t ret;

	pthread_mutex_lock(&q->lock);
	q->nr_waiting -= op->waits;
	op->waits = false;
	bool tells = op->sends && takes_notice(q);
	if (op->sends)
		ret = mq_timedsend(op->host_fd, op->message, op->bytes, op->priority, &long_ago);
	else
		ret = mq_timedreceive(op->host_fd, op->message, (size_t)q->message_bytes, &op->priority,
				      &long_ago);
	if (ret < 0)
		ret = errno == ETIMEDOUT ? -EAGAIN : -errno;
	if (ret == -EAGAIN && !op->sends && op->may_wait) {
		op->waits = true;
		q->nr_waiting++;
	}
	if (ret >= 0 && tells) {
		*notice = q->notice;
		q->notice.process = 0;
	}
	pthread_mutex_unlock(&q->lock);
	return ret;
}

static void tell(struct task *t, const struct mqueue_notice *notice)
{
	siginfo_t info = {.si_signo = notice->signo, .si_code = SI_MESGQ};
	struct process *p;

	if (!notice->process || notice->notify != SIGEV_SIGNAL || !notice->signo)
		return;
	info.si_pid = t->pid;
	info.si_uid = t->cred.uid.real;
	info.si_value = notice->value;
	pthread_mutex_lock(&t->sandbox->lock);
	p = process_find_serial(t->sandbox, notice->process);
	if (p)
		signal_send_process(p, notice->signo, &info);
	pthread_mutex_unlock(&t->sandbox->lock);
}

static int64_t wait_until_ready(struct mqueue_op *op)
{
	struct pollfd p = {.fd = op->host_fd, .events = op->sends ? POLLOUT : POLLIN};
	struct poll_deadline d = {0};
	int64_t ret;

	if (op->has_deadline) {
		struct timespec left = sleep_left(CLOCK_REALTIME, &op->deadline);
		poll_deadline_set(&d, &left);
	}
	ret = host_poll(op->t, &p, 1, &d);
	if (ret == -EINTR)
		return host_wait_interrupted(op->t);
	return ret > 0 ? 0 : ret ? ret : -ETIMEDOUT;
}

/* What was received, or 0; or -errno. */
static int64_t transfer(struct mqueue_op *op)
{
	struct mqueue_notice notice = {0};
	int64_t ret, err = 0;

	do {
		ret = try_once(op, &notice);
		if (ret == -EAGAIN && op->may_wait)
			err = wait_until_ready(op);
	} while (ret == -EAGAIN && op->may_wait && !err);
	tell(op->t, &notice);
	if (!op->waits)
		return err ? err : ret;
	pthread_mutex_lock(&op->queue->lock);
	op->queue->nr_waiting--;
	pthread_mutex_unlock(&op->queue->lock);
	return err;
}

static int get_deadline(struct task *t, gva_t from, struct mqueue_op *op)
{
	op->has_deadline = from;
	return from ? sleep_get_timespec(t, from, &op->deadline) : 0;
}

static int64_t sys_mq_timedsend(struct task *t, const uint64_t a[6])
{
	struct mqueue_op op = {.sends = true, .bytes = a[2], .priority = (unsigned int)a[3]};
	int64_t ret = get_deadline(t, a[4], &op);

	if (!ret && op.priority >= PRIORITIES)
		ret = -EINVAL;
	if (!ret)
		ret = queue_get(t, a[0], O_WRONLY, &op);
	if (!ret && op.bytes > (size_t)op.queue->message_bytes)
		ret = -EMSGSIZE;
	if (ret)
		return ret;
	op.message = malloc(op.bytes + 1);
	if (!op.message)
		return -ENOMEM;
	ret = op.bytes && copy_from_user(t->mm, op.message, a[1], op.bytes) ? -EFAULT : transfer(&op);
	free(op.message);
	return ret;
}

static int64_t sys_mq_timedreceive(struct task *t, const uint64_t a[6])
{
	struct mqueue_op op = {0};
	int64_t ret = get_deadline(t, a[4], &op);

	if (!ret)
		ret = queue_get(t, a[0], O_RDONLY, &op);
	if (!ret && a[2] < (uint64_t)op.queue->message_bytes)
		ret = -EMSGSIZE;
	if (ret)
		return ret;
	op.message = malloc((size_t)op.queue->message_bytes + 1);
	if (!op.message)
		return -ENOMEM;
	ret = transfer(&op);
	if (ret >= 0 && ((a[3] && put_u32(t, a[3], op.priority)) ||
			 (ret && copy_to_user(t->mm, a[1], op.message, (size_t)ret))))
		ret = -EFAULT;
	free(op.message);
	return ret;
}

/* --- attributes and notices ------------------------------------------------------------------ */

static int64_t sys_mq_getsetattr(struct task *t, const uint64_t a[6])
{
	struct mq_attr new, old;
	struct mqueue_op op;
	int err;

	if (a[1] && copy_from_user(t->mm, &new, a[1], sizeof(new)))
		return -EFAULT;
	if (a[1] && (new.mq_flags & ~O_NONBLOCK))
		return -EINVAL;
	err = queue_get(t, a[0], -1, &op);
	if (err)
		return err;
	if (syscall(SYS_mq_getsetattr, op.host_fd, a[1] ? &new : NULL, &old))
		return -errno;
	return a[2] && copy_to_user(t->mm, a[2], &old, sizeof(old)) ? -EFAULT : 0;
}

/* One process at a time; one that has ended is none. The locks of the sandbox and of the queue are held. */
static int set_notice(struct task *t, struct mqueue *q, const struct sigevent *event)
{
	uint64_t own = t->process->serial;

	if (!event) {
		if (q->notice.process == own)
			q->notice.process = 0;
		return 0;
	}
	struct process *other = q->notice.process ? process_find_serial(t->sandbox, q->notice.process) : NULL;
	if (other && !process_is_zombie(other))
		return -EBUSY;
	q->notice = (struct mqueue_notice){.process = own,
					   .notify = event->sigev_notify,
					   .signo = event->sigev_signo,
					   .value = event->sigev_value};
	return 0;
}

static int64_t sys_mq_notify(struct task *t, const uint64_t a[6])
{
	struct sigevent event;
	struct mqueue_op op;
	int64_t ret;

	if (a[1] && copy_from_user(t->mm, &event, a[1], sizeof(event)))
		return -EFAULT;
	if (a[1] && event.sigev_notify != SIGEV_NONE && event.sigev_notify != SIGEV_SIGNAL)
		return -EINVAL;
	if (a[1] && event.sigev_notify == SIGEV_SIGNAL &&
	    (event.sigev_signo < 0 || event.sigev_signo > NR_SIGNALS))
		return -EINVAL;
	ret = queue_get(t, a[0], -1, &op);
	if (ret)
		return ret;
	pthread_mutex_lock(&t->sandbox->lock);
	pthread_mutex_lock(&op.queue->lock);
	ret = set_notice(t, op.queue, a[1] ? &event : NULL);
	pthread_mutex_unlock(&op.queue->lock);
	pthread_mutex_unlock(&t->sandbox->lock);
	return ret;
}

const struct syscall_entry mqueue_calls[] = {
	SYSCALL_ENTRY(mq_open),
	SYSCALL_ENTRY(mq_unlink),
	SYSCALL_ENTRY(mq_timedsend),
	SYSCALL_ENTRY(mq_timedreceive),
	SYSCALL_ENTRY(mq_getsetattr),
	SYSCALL_ENTRY(mq_notify),
	{0},
};
