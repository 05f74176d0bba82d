/* SPDX-License-Identifier: MIT */
/*
 * sys_aio.c - native asynchronous I/O: io_setup, io_destroy, io_submit, io_cancel, io_getevents, io_pgetevents.
 *
 * Reads, writes and syncs are over when io_submit returns; what is wrong with them is told by the call where Linux does so before
 * it asks the file, otherwise by the event.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "aio.h"
#include "path.h"
#include "sleep.h"
#include "sys_file.h"
#include "sys_ioprio.h"
#include "syscall.h"
#include "uio.h"

#define RW_FLAGS     0xff /* RWF_ that Linux 6.18 knows */
#define SIGSET_BYTES 8
#define KIOCB_KEY    0 /* what the kernel writes into aio_key */

static int64_t sys_io_setup(struct task *t, const uint64_t a[6])
{
	uint64_t ctx;
	gva_t at;
	int err;

	if (copy_from_user(t->mm, &ctx, a[1], sizeof(ctx)))
		return -EFAULT;
	if (ctx || !(uint32_t)a[0])
		return -EINVAL;
	err = aio_create(t, (uint32_t)a[0], &at);
	if (!err && put_u64(t, a[1], at)) {
		aio_destroy(t, at);
		err = -EFAULT;
	}
	return err;
}

static int64_t sys_io_destroy(struct task *t, const uint64_t a[6])
{
	return aio_destroy(t, a[0]);
}

/* --- one operation --------------------------------------------------------------------------------------------------- */

struct submission {
	struct task *t;
	struct aio_context *ctx;
	struct iocb cb;
	gva_t at; /* of the guest's */
	struct guest_file *file, *resfd;
};

static void submission_over(const struct submission *s, int64_t result)
{
	const struct io_event event = {.data = s->cb.aio_data, .obj = s->at, .res = result};

	aio_complete(s->ctx, &event, s->resfd);
}

static bool is_anonymous(const struct guest_file *file, const char *kind)
{
	char path[PATH_MAX];

	return path_of_fd(file->host_fd, path) >= 0 && !strcmp(path, kind);
}

static bool is_eventfd(const struct guest_file *file)
{
	return !guest_file_only_tells(file) && is_anonymous(file, "anon_inode:[eventfd]");
}

/* Directories, and what has only the old way of reading or writing. */
static bool cannot_move(const struct guest_file *file, const struct stat *st, bool to_file)
{
	if (S_ISDIR(st->st_mode) || file->process_serial)
		return true;
	if (S_ISREG(st->st_mode) || file->stream || file->proc.kind == PROC_FILE)
		return false;
	return to_file ? file->signalfd || is_eventfd(file) : is_anonymous(file, "anon_inode:inotify");
}

/* As Linux's rw_verify_area. */
static int64_t check_range(int64_t offset, uint64_t bytes)
{
	return offset < 0 || (int64_t)((uint64_t)offset + bytes) < 0 ? -EINVAL : 0;
}

static int64_t check_priority(const struct submission *s)
{
	if (!(s->cb.aio_flags & IOCB_FLAG_IOPRIO))
		return 0;
	return ioprio_check(s->cb.aio_reqprio);
}

static int64_t transfer(const struct submission *s, bool to_file, bool vectored)
{
	const struct iocb *cb = &s->cb;
	struct uio_transfer x = {.guest_fd = (int)cb->aio_fildes,
				 .to_file = to_file,
				 .flags = (int)cb->aio_rw_flags & ~RWF_HIPRI};
	int access = fcntl(s->file->host_fd, F_GETFL) & O_ACCMODE;
	int64_t ret = check_priority(s);
	struct stat st;
	struct uio u;

	if (ret)
		return ret;
	if (cb->aio_rw_flags & ~RW_FLAGS)
		return -EOPNOTSUPP;
	if (access == (to_file ? O_RDONLY : O_WRONLY))
		return -EBADF;
	if (fstat(s->file->host_fd, &st))
		return -errno;
	if (cannot_move(s->file, &st, to_file))
		return -EINVAL;
	ret = vectored ? uio_import(s->t, &u, cb->aio_buf, cb->aio_nbytes)
		       : uio_single(&u, cb->aio_buf, cb->aio_nbytes);
	if (ret)
		return ret;
	ret = check_range(cb->aio_offset, u.bytes);
	bool placed = S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) || s->file->proc.kind == PROC_FILE;
	x.offset = placed ? cb->aio_offset : UIO_AT_POSITION;
	if (!ret)
		submission_over(s, uio_run(s->t, &u, &x));
	uio_destroy(&u);
	return ret;
}

static int64_t synchronize(const struct submission *s, bool only_data)
{
	int64_t ret;

	if (s->cb.aio_buf || s->cb.aio_offset || s->cb.aio_nbytes || s->cb.aio_rw_flags)
		return -EINVAL;
	ret = file_sync(s->t, (int)s->cb.aio_fildes, only_data);
	if (ret != -EINVAL)
		submission_over(s, ret);
	return ret == -EINVAL ? ret : 0;
}

static int64_t start_poll(const struct submission *s)
{
	struct aio_poll_request r = {.file = s->file,
				     .resfd = s->resfd,
				     .events = (uint16_t)s->cb.aio_buf | POLLERR | POLLHUP,
				     .event = {.data = s->cb.aio_data, .obj = s->at}};
	int64_t ret;

	if ((uint16_t)s->cb.aio_buf != s->cb.aio_buf)
		return -EINVAL;
	if (s->cb.aio_offset || s->cb.aio_nbytes || s->cb.aio_rw_flags)
		return -EINVAL;
	if (guest_file_only_tells(s->file))
		r.events &= ~(uint32_t)(POLLOUT | POLLWRNORM | POLLWRBAND);
	ret = aio_poll(s->ctx, &r);
	if (ret > 0)
		submission_over(s, ret);
	return ret < 0 ? ret : 0;
}

static int64_t run_operation(const struct submission *s)
{
	switch (s->cb.aio_lio_opcode) {
	case IOCB_CMD_PREAD:
	case IOCB_CMD_PREADV:
		return transfer(s, false, s->cb.aio_lio_opcode == IOCB_CMD_PREADV);
	case IOCB_CMD_PWRITE:
	case IOCB_CMD_PWRITEV:
		return transfer(s, true, s->cb.aio_lio_opcode == IOCB_CMD_PWRITEV);
	case IOCB_CMD_FSYNC:
	case IOCB_CMD_FDSYNC:
		return synchronize(s, s->cb.aio_lio_opcode == IOCB_CMD_FDSYNC);
	case IOCB_CMD_POLL:
		return start_poll(s);
	default:
		return -EINVAL;
	}
}

/* The files of an operation, which the call keeps. */
static int64_t find_files(struct submission *s)
{
	s->file = files_get_open(s->t->files, (int)s->cb.aio_fildes);
	if (!s->file)
		return -EBADF;
	if (!(s->cb.aio_flags & IOCB_FLAG_RESFD))
		return 0;
	s->resfd = files_get_open(s->t->files, (int)s->cb.aio_resfd);
	if (!s->resfd)
		return -EBADF;
	return is_eventfd(s->resfd) ? 0 : -EINVAL;
}

static int64_t submit_one(struct submission *s)
{
	int64_t ret;

	if (copy_from_user(s->t->mm, &s->cb, s->at, sizeof(s->cb)))
		return -EFAULT;
	if (s->cb.aio_reserved2 || (int64_t)s->cb.aio_nbytes < 0)
		return -EINVAL;
	if (!aio_reserve(s->ctx))
		return -EAGAIN;
	ret = find_files(s);
	if (!ret)
		ret = put_u32(s->t, s->at + offsetof(struct iocb, aio_key), KIOCB_KEY);
	if (!ret)
		ret = run_operation(s);
	if (ret)
		aio_unreserve(s->ctx);
	return ret;
}

static int64_t sys_io_submit(struct task *t, const uint64_t a[6])
{
	int64_t nr = (int64_t)a[1], done = 0, ret = 0;
	struct aio_context *ctx;

	if (nr < 0)
		return -EINVAL;
	ctx = aio_get(t, a[0]);
	if (!ctx)
		return -EINVAL;
	for (; done < nr && done < ctx->nr_events; done++) {
		struct submission s = {.t = t, .ctx = ctx};

		if (copy_from_user(t->mm, &s.at, a[2] + (uint64_t)done * sizeof(s.at), sizeof(s.at))) {
			ret = -EFAULT;
			break;
		}
		ret = submit_one(&s);
		if (ret)
			break;
	}
	aio_put(ctx);
	return done ? done : ret;
}

static int64_t sys_io_cancel(struct task *t, const uint64_t a[6])
{
	struct aio_context *ctx;
	uint32_t key;
	int64_t ret;

	if (copy_from_user(t->mm, &key, a[1] + offsetof(struct iocb, aio_key), sizeof(key)))
		return -EFAULT;
	ctx = key == KIOCB_KEY ? aio_get(t, a[0]) : NULL;
	if (!ctx)
		return -EINVAL;
	ret = aio_poll_cancel(ctx, a[1]);
	aio_put(ctx);
	return ret;
}

/* --- events ---------------------------------------------------------------------------------------------------------- */

/* Negative times overflow in Linux, and are for ever. */
static int64_t get_events(struct task *t, const uint64_t a[6], const struct timespec *span)
{
	int64_t least = (int64_t)a[1], most = (int64_t)a[2], ret = -EINVAL;
	struct aio_context *ctx = aio_get(t, a[0]);
	struct timespec deadline;
	bool ends = span && span->tv_sec >= 0 && span->tv_nsec >= 0;

	if (!ctx)
		return -EINVAL;
	if (ends)
		deadline = sleep_deadline(CLOCK_MONOTONIC, span);
	if (least <= most && least >= 0)
		ret = aio_take(t, ctx, least, most, a[3], ends ? &deadline : NULL);
	aio_put(ctx);
	return ret;
}

static int64_t sys_io_getevents(struct task *t, const uint64_t a[6])
{
	struct timespec span;

	if (a[4] && copy_from_user(t->mm, &span, a[4], sizeof(span)))
		return -EFAULT;
	return get_events(t, a, a[4] ? &span : NULL);
}

/* The mask of the wait: 0 and whether there is one, or -errno. */
static int enter_mask(struct task *t, gva_t from, bool *masked)
{
	uint64_t argument[2] = {0}, set; /* where it is, and its size */

	if (from && copy_from_user(t->mm, argument, from, sizeof(argument)))
		return -EFAULT;
	*masked = argument[0];
	if (!*masked)
		return 0;
	if (argument[1] != SIGSET_BYTES)
		return -EINVAL;
	if (copy_from_user(t->mm, &set, argument[0], sizeof(set)))
		return -EFAULT;
	t->sig.saved_mask = t->sig.blocked;
	signal_set_blocked(t, set);
	return 0;
}

static int64_t sys_io_pgetevents(struct task *t, const uint64_t a[6])
{
	struct timespec span;
	bool masked = false;
	int64_t ret;

	if (a[4] && copy_from_user(t->mm, &span, a[4], sizeof(span)))
		return -EFAULT;
	ret = enter_mask(t, a[5], &masked);
	if (ret)
		return ret;
	ret = get_events(t, a, a[4] ? &span : NULL);
	if (ret == -EINTR)
		t->restart = RESTART_NO_HANDLER;
	/* After an interruption the mask stays until the handler has run. */
	if (masked && task_interrupted(t))
		t->sig.restore_mask = true;
	else if (masked)
		signal_set_blocked(t, t->sig.saved_mask);
	return ret;
}

const struct syscall_entry sys_aio_calls[] = {
	SYSCALL_ENTRY(io_setup),
	SYSCALL_ENTRY(io_destroy),
	SYSCALL_ENTRY(io_submit),
	SYSCALL_ENTRY(io_cancel),
	SYSCALL_ENTRY(io_getevents),
	SYSCALL_ENTRY(io_pgetevents),
	{0},
};
