/* SPDX-License-Identifier: MIT */
/*
 * sys_io.c - the system calls that move data: read, write and kin, sendfile, copy_file_range.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "coherent.h"
#include "host_wait.h"
#include "memfd.h"
#include "syscall.h"
#include "uio.h"

#define SENDFILE_PIECE_BYTES (64ul << 10)

static int64_t transfer_single(struct task *t, const uint64_t a[6], bool to_file, int64_t offset)
{
	struct uio_transfer x = {.guest_fd = (int)a[0], .to_file = to_file, .offset = offset};
	struct uio u;
	int err;

	const struct guest_file *file = files_get_open(t->files, x.guest_fd);
	if (!file)
		return -EBADF;
	if (file->process_serial) /* it cannot be read or written at all, which comes before any address */
		return -EINVAL;
	err = uio_single(&u, a[1], a[2]);
	return err ? err : uio_run(t, &u, &x);
}

static int64_t transfer_vector(struct task *t, const uint64_t a[6], bool to_file, int64_t offset, int flags)
{
	struct uio_transfer x = {.guest_fd = (int)a[0], .to_file = to_file, .offset = offset, .flags = flags};
	struct uio u;
	int64_t n;

	if (!files_get_open(t->files, x.guest_fd))
		return -EBADF;
	n = uio_import(t, &u, a[1], a[2]);
	if (n < 0)
		return n;
	n = uio_run(t, &u, &x);
	uio_destroy(&u);
	return n;
}

static int64_t sys_read(struct task *t, const uint64_t a[6])
{
	return transfer_single(t, a, false, UIO_AT_POSITION);
}

static int64_t sys_write(struct task *t, const uint64_t a[6])
{
	return transfer_single(t, a, true, UIO_AT_POSITION);
}

static int64_t sys_pread64(struct task *t, const uint64_t a[6])
{
	return (int64_t)a[3] < 0 ? -EINVAL : transfer_single(t, a, false, (int64_t)a[3]);
}

static int64_t sys_pwrite64(struct task *t, const uint64_t a[6])
{
	return (int64_t)a[3] < 0 ? -EINVAL : transfer_single(t, a, true, (int64_t)a[3]);
}

static int64_t sys_readv(struct task *t, const uint64_t a[6])
{
	return transfer_vector(t, a, false, UIO_AT_POSITION, 0);
}

static int64_t sys_writev(struct task *t, const uint64_t a[6])
{
	return transfer_vector(t, a, true, UIO_AT_POSITION, 0);
}

static int64_t sys_preadv(struct task *t, const uint64_t a[6])
{
	return (int64_t)a[3] < 0 ? -EINVAL : transfer_vector(t, a, false, (int64_t)a[3], 0);
}

static int64_t sys_pwritev(struct task *t, const uint64_t a[6])
{
	return (int64_t)a[3] < 0 ? -EINVAL : transfer_vector(t, a, true, (int64_t)a[3], 0);
}

/* An offset of -1 is none, which is what UIO_AT_POSITION says too. */
static int64_t transfer_with_flags(struct task *t, const uint64_t a[6], bool to_file)
{
	if ((int64_t)a[3] < UIO_AT_POSITION)
		return -EINVAL;
	return transfer_vector(t, a, to_file, (int64_t)a[3], (int)a[5]);
}

static int64_t sys_preadv2(struct task *t, const uint64_t a[6])
{
	return transfer_with_flags(t, a, false);
}

static int64_t sys_pwritev2(struct task *t, const uint64_t a[6])
{
	return transfer_with_flags(t, a, true);
}

/* --- from descriptor to descriptor ----------------------------------------------------------- */

/* Reads the file offset that a pointer argument names; NULL stays NULL. */
static int offset_get(struct task *t, gva_t from, off_t *offset, off_t **pointer)
{
	*pointer = from ? offset : NULL;
	return from && copy_from_user(t->mm, offset, from, sizeof(*offset)) ? -EFAULT : 0;
}

static int offset_put(struct task *t, gva_t to, const off_t *offset)
{
	return to && copy_to_user(t->mm, to, offset, sizeof(*offset)) ? -EFAULT : 0;
}

struct sendfile_op {
	int out, in;
	off_t *offset;
	size_t bytes;
};

/* One call until it is not merely interrupted. The host reads the file that is sent: it must have what was stored. */
static int64_t sendfile_piece(struct task *t, const struct sendfile_op *op, size_t bytes)
{
	struct coherent_change change;
	uint64_t start = 0;
	bool handled;
	ssize_t n;

	n = coherent_copy(t, op->in, op->offset, op->out, NULL, bytes, &handled);
	if (handled)
		return n;
	coherent_flush(t, op->in);
	coherent_begin(&change, t, op->out);
	do
		n = sendfile(op->out, op->in, op->offset, bytes);
	while (n < 0 && errno == EINTR && !task_interrupted(t));
	if (n < 0)
		n = -errno;
	else if (change.b)
		start = coherent_written_at(op->out, -1, (uint64_t)n);
	coherent_end(&change, start, n > 0 ? start + (uint64_t)n : start);
	return n;
}

static int64_t sendfile_run(struct task *t, const struct sendfile_op *op)
{
	struct host_wait wait;
	size_t done = 0;
	int64_t n;

	host_wait_begin(&wait);
	do {
		n = sendfile_piece(t, op, min_u64(op->bytes - done, SENDFILE_PIECE_BYTES));
		if (n > 0)
			done += (size_t)n;
	} while (n > 0 && done < op->bytes && !task_interrupted(t));
	host_wait_end(&wait);
	if (n == -EPIPE)
		signal_send(t, SIGPIPE, NULL);
	if (done)
		return (int64_t)done;
	return n == -EINTR ? host_wait_interrupted(t) : n;
}

static int64_t sys_sendfile(struct task *t, const uint64_t a[6])
{
	struct sendfile_op op = {.out = files_host_fd(t->files, (int)a[0]),
				 .in = files_host_fd(t->files, (int)a[1]),
				 .bytes = min_u64(a[3], UIO_MAX_BYTES)};
	off_t offset = 0;
	int64_t n;

	if (offset_get(t, a[2], &offset, &op.offset))
		return -EFAULT;
	if (op.in < 0 || files_get(t->files, (int)a[1])->only_path)
		return -EBADF;
	if ((int64_t)a[3] < 0)
		return -EINVAL;
	if (op.out < 0 || op.in < 0)
		return -EBADF;
	if (files_get(t->files, (int)a[1])->proc.kind == PROC_FILE) /* its text is made for read() */
		return -EINVAL;
	if (files_get(t->files, (int)a[0])->socket_domain == AF_NETLINK) /* nobody would look at it */
		return -EINVAL;
	n = fcntl(op.out, F_GETFL);
	if ((n & O_PATH) || (n & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	if (n & O_APPEND)
		return -EINVAL;
	n = sendfile_run(t, &op);
	return offset_put(t, a[2], &offset) ? -EFAULT : n;
}

static int64_t sys_copy_file_range(struct task *t, const uint64_t a[6])
{
	int in = files_host_fd(t->files, (int)a[0]), out = files_host_fd(t->files, (int)a[2]);
	off_t in_offset, out_offset, *in_pointer, *out_pointer;
	struct coherent_change change;
	uint64_t start = 0;
	bool handled;
	int64_t n;

	if (!files_get_open(t->files, (int)a[0]) || !files_get_open(t->files, (int)a[2]))
		return -EBADF;
	if (files_get(t->files, (int)a[0])->proc.kind == PROC_FILE)
		return -EINVAL;
	if (offset_get(t, a[1], &in_offset, &in_pointer) || offset_get(t, a[3], &out_offset, &out_pointer))
		return -EFAULT;
	if (!a[5] && memfd_is(in) && memfd_is(out)) {
		n = coherent_copy(t, in, in_pointer, out, out_pointer, min_u64(a[4], UIO_MAX_BYTES),
				  &handled);
		if (n < 0)
			return n;
		return offset_put(t, a[1], &in_offset) || offset_put(t, a[3], &out_offset) ? -EFAULT : n;
	}
	if (memfd_is(in) != memfd_is(out)) /* the host would copy what it does not have */
		return -EXDEV;
	coherent_flush(t, in);
	coherent_begin(&change, t, out);
	do
		n = copy_file_range(in, in_pointer, out, out_pointer, min_u64(a[4], UIO_MAX_BYTES),
				    (unsigned int)a[5]);
	while (n < 0 && errno == EINTR && !task_interrupted(t));
	int err = errno;
	if (n > 0 && change.b)
		start = out_pointer ? (uint64_t)out_offset - (uint64_t)n
				    : coherent_written_at(out, -1, (uint64_t)n);
	coherent_end(&change, start, n > 0 ? start + (uint64_t)n : start);
	errno = err;
	if (n < 0)
		return errno == EINTR ? host_wait_interrupted(t) : -errno;
	return offset_put(t, a[1], &in_offset) || offset_put(t, a[3], &out_offset) ? -EFAULT : n;
}

const struct syscall_entry sys_io_calls[] = {
	SYSCALL_ENTRY(read),
	SYSCALL_ENTRY(write),
	SYSCALL_ENTRY(pread64),
	SYSCALL_ENTRY(pwrite64),
	SYSCALL_ENTRY(readv),
	SYSCALL_ENTRY(writev),
	SYSCALL_ENTRY(preadv),
	SYSCALL_ENTRY(pwritev),
	SYSCALL_ENTRY(preadv2),
	SYSCALL_ENTRY(pwritev2),
	SYSCALL_ENTRY(sendfile),
	SYSCALL_ENTRY(copy_file_range),
	{0},
};
