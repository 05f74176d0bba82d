/* SPDX-License-Identifier: MIT */
/*
 * sys_splice.c - splice, tee and vmsplice: from pipe to pipe or file within the host, and pages of the guest by copy.
 *
 * A pipe of the host must not hold frames of a guest, whose life ends with the space: vmsplice reads or writes like readv and writev.
 * What has its data in memory (memfds, /tmp) is EINVAL here, which programs take as "read and write instead".
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "coherent.h"
#include "host_wait.h"
#include "memfd.h"
#include "syscall.h"
#include "uio.h"

#define SPLICE_FLAGS (SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT)

struct splice_op {
	int in, out;
	off_t *in_offset, *out_offset;
	size_t bytes;
	unsigned int flags;
	bool tee;
};

static int64_t host_splice(const struct splice_op *op)
{
	ssize_t n = op->tee ? tee(op->in, op->out, op->bytes, op->flags)
			    : splice(op->in, op->in_offset, op->out, op->out_offset, op->bytes, op->flags);

	return n < 0 ? -errno : n;
}

/* The host reads and writes files: they must have what was stored, and what is mapped must see it. */
static int64_t splice_run(struct task *t, const struct splice_op *op)
{
	struct coherent_change change;
	struct host_wait wait;
	uint64_t start = 0;
	int64_t n;

	coherent_flush(t, op->in);
	coherent_begin(&change, t, op->out);
	host_wait_begin(&wait);
	do
		n = task_interrupted(t) ? -EINTR : host_splice(op);
	while (n == -EINTR && !task_interrupted(t));
	host_wait_end(&wait);
	if (n > 0 && change.b)
		start = op->out_offset ? (uint64_t)*op->out_offset - (uint64_t)n
				       : coherent_written_at(op->out, -1, (uint64_t)n);
	coherent_end(&change, start, n > 0 ? start + (uint64_t)n : start);
	if (n == -EPIPE)
		signal_send(t, SIGPIPE, NULL);
	return n == -EINTR ? host_wait_interrupted(t) : n;
}

/* What the host may not do by itself. */
static bool is_special(const struct guest_file *file)
{
	return file->proc.kind == PROC_FILE || file->socket_domain == AF_NETLINK || memfd_is(file->host_fd);
}

static int splice_files(struct task *t, uint64_t in, uint64_t out, struct splice_op *op)
{
	const struct guest_file *from = files_get_open(t->files, (int)in),
				*to = files_get_open(t->files, (int)out);

	if (!from || !to)
		return -EBADF;
	op->in = from->host_fd;
	op->out = to->host_fd;
	return is_special(from) || is_special(to) ? -EINVAL : 0;
}

static int offset_get(struct task *t, gva_t from, off_t *offset, off_t **pointer)
{
	*pointer = from ? offset : NULL;
	return from && copy_from_user(t->mm, offset, from, sizeof(*offset)) ? -EFAULT : 0;
}

static bool is_pipe(int host_fd)
{
	struct stat st;

	return !fstat(host_fd, &st) && S_ISFIFO(st.st_mode);
}

static int64_t sys_splice(struct task *t, const uint64_t a[6])
{
	struct splice_op op = {.bytes = min_u64(a[4], UIO_MAX_BYTES), .flags = (unsigned int)a[5]};
	off_t in_offset = 0, out_offset = 0;
	int64_t n;
	int err;

	if (!op.bytes)
		return 0;
	if (op.flags & ~SPLICE_FLAGS)
		return -EINVAL;
	err = splice_files(t, a[0], a[2], &op);
	if (!err && ((a[1] && is_pipe(op.in)) || (a[3] && is_pipe(op.out))))
		err = -ESPIPE;
	if (!err)
		err = offset_get(t, a[3], &out_offset, &op.out_offset);
	if (!err)
		err = offset_get(t, a[1], &in_offset, &op.in_offset);
	if (!err && (int64_t)a[4] < 0)
		err = -EINVAL;
	if (err)
		return err;
	n = splice_run(t, &op);
	if (n >= 0 && a[1] && copy_to_user(t->mm, a[1], &in_offset, sizeof(in_offset)))
		n = -EFAULT;
	if (n >= 0 && a[3] && copy_to_user(t->mm, a[3], &out_offset, sizeof(out_offset)))
		n = -EFAULT;
	return n;
}

static int64_t sys_tee(struct task *t, const uint64_t a[6])
{
	struct splice_op op = {.bytes = min_u64(a[2], UIO_MAX_BYTES),
			       .flags = (unsigned int)a[3],
			       .tee = true};
	int err;

	if (op.flags & ~SPLICE_FLAGS)
		return -EINVAL;
	if (!op.bytes)
		return 0;
	err = splice_files(t, a[0], a[1], &op);
	return err ? err : splice_run(t, &op);
}

static int64_t sys_vmsplice(struct task *t, const uint64_t a[6])
{
	const struct guest_file *file = files_get(t->files, (int)a[0]);
	struct uio_transfer x = {.guest_fd = (int)a[0], .offset = UIO_AT_POSITION};
	struct uio u;
	int64_t n;

	if ((unsigned int)a[3] & ~SPLICE_FLAGS)
		return -EINVAL;
	if (!file || !is_pipe(file->host_fd))
		return -EBADF;
	x.by_page = x.to_file = (fcntl(file->host_fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
	n = uio_import(t, &u, a[1], a[2]);
	if (n < 0)
		return n;
	n = uio_run(t, &u, &x);
	uio_destroy(&u);
	return n;
}

const struct syscall_entry sys_splice_calls[] = {
	SYSCALL_ENTRY(splice),
	SYSCALL_ENTRY(tee),
	SYSCALL_ENTRY(vmsplice),
	{0},
};
