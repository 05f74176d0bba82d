/* SPDX-License-Identifier: MIT */
/*
 * uio.c - see uio.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coherent.h"
#include "host_wait.h"
#include "rlimit.h"
#include "sockmsg.h"
#include "signalfd.h"
#include "task.h"
#include "tty.h"
#include "uio.h"

#define FIRST_WINDOW_BYTES (64ul << 10) /* what a pipe holds */
/* What changes nothing where the data is in memory here: it is there at once, and in nobody's way. */
#define CACHED_FLAGS	   (RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT)
#define WORD_BYTES	   8u
#define LAST_WINDOW_BYTES  (USER_PIN_MAX_PAGES * PAGE_SIZE)

/* --- the guest's iovecs ---------------------------------------------------------------------- */

int uio_single(struct uio *u, gva_t address, uint64_t bytes)
{
	if (!access_ok(address, bytes))
		return -EFAULT;
	u->bytes = min_u64(bytes, UIO_MAX_BYTES);
	u->fast[0] = (struct iovec){.iov_base = (void *)address, .iov_len = u->bytes};
	u->iov = u->fast;
	u->nr = 1;
	u->index = 0;
	u->done = 0;
	u->single = true;
	return 0;
}

/* The checks of the kernel's import_iovec: a negative length anywhere comes before a bad address. */
static int uio_check(struct uio *u)
{
	for (unsigned int i = 0; i < u->nr; i++)
		if (u->iov[i].iov_len > SSIZE_MAX)
			return -EINVAL;
	u->bytes = 0;
	if (u->nr == 1) /* one range is cut first, as that of read() is not */
		u->iov->iov_len = min_u64(u->iov->iov_len, UIO_MAX_BYTES);
	for (unsigned int i = 0; i < u->nr; i++) {
		if (!access_ok((gva_t)u->iov[i].iov_base, u->iov[i].iov_len))
			return -EFAULT;
		u->iov[i].iov_len = min_u64(u->iov[i].iov_len, UIO_MAX_BYTES - u->bytes);
		u->bytes += u->iov[i].iov_len;
	}
	return 0;
}

int uio_import(struct task *t, struct uio *u, gva_t array, uint64_t nr)
{
	int err;

	if (nr > IOV_MAX)
		return -EINVAL;
	u->nr = (unsigned int)nr;
	u->index = 0;
	u->done = 0;
	u->single = false;
	u->iov = nr > UIO_FAST_IOV ? calloc(nr, sizeof(*u->iov)) : u->fast;
	if (!u->iov)
		return -ENOMEM;
	err = copy_from_user(t->mm, u->iov, array, nr * sizeof(*u->iov)) ? -EFAULT : uio_check(u);
	if (err)
		uio_destroy(u);
	return err;
}

void uio_destroy(struct uio *u)
{
	if (u->iov != u->fast)
		free(u->iov);
}

void uio_advance(struct uio *u, size_t bytes)
{
	u->done += bytes;
	for (; u->index < u->nr; u->index++) {
		struct iovec *iov = &u->iov[u->index];

		if (bytes < iov->iov_len) {
			iov->iov_base = (char *)iov->iov_base + bytes;
			iov->iov_len -= bytes;
			return;
		}
		bytes -= iov->iov_len;
	}
}

/* By cutting the iovec that the window ends in for a moment. */
int uio_pin(struct task *t, struct uio *u, size_t window, bool write, struct user_pin *pin)
{
	unsigned int last = u->index;
	size_t before = 0, saved;
	int err;

	while (last + 1 < u->nr && before + u->iov[last].iov_len < window)
		before += u->iov[last++].iov_len;
	saved = u->iov[last].iov_len;
	u->iov[last].iov_len = min_u64(saved, window - before);
	err = user_pin(t->mm, &u->iov[u->index], last + 1 - u->index, 0, write, pin);
	u->iov[last].iov_len = saved;
	return err;
}

static size_t window_bytes(const struct uio *u, size_t window)
{
	return min_u64(window, u->bytes - u->done);
}

/* Room for one iovec of a pin without pages. */
static int pin_nothing(struct user_pin *pin)
{
	*pin = (struct user_pin){.pages = malloc(sizeof(*pin->iov))};
	pin->iov = (struct iovec *)(void *)pin->pages;
	return pin->pages ? 0 : -ENOMEM;
}

int uio_pin_with_faults(struct task *t, struct uio *u, size_t window, bool write, struct user_pin *pin)
{
	const gva_t nowhere = (gva_t)u->iov[u->index].iov_base & ~PAGE_MASK;
	int err = uio_pin(t, u, window, write, pin);
	size_t rest;

	if (err == -EFAULT)
		err = pin_nothing(pin);
	if (err)
		return err;
	rest = window_bytes(u, window) - pin->bytes;
	/* What was pinned up to the limit, or ended with a page, leaves room for one iovec more. */
	if (rest && pin->nr_pages < USER_PIN_MAX_PAGES)
		pin->iov[pin->nr_iov++] = (struct iovec){(void *)(pin->bytes ? 0 : nowhere), rest};
	return 0;
}

/* --- one transfer ---------------------------------------------------------------------------- */

/* The state of a transfer under way. */
struct uio_op {
	struct task *t;
	struct uio *u;
	int host_fd;
	struct backing *cache; /* of a file that is mapped too, or NULL */
	bool to_file;
	bool by_page;
	bool records; /* reads give whole records, each into one buffer */
	bool faulted; /* nothing of the guest's memory could be had */
	int64_t offset;
	int flags; /* RWF_ */
};

static int64_t uio_call(const struct uio_op *op, const struct iovec *iov, unsigned int nr, int flags)
{
	off_t offset = op->offset == UIO_AT_POSITION ? -1 : op->offset + (off_t)op->u->done;

	if (op->cache)
		return op->to_file ? coherent_write(op->t, op->cache, op->host_fd, iov, nr, offset)
				   : coherent_read(op->cache, op->host_fd, iov, nr, offset);
	flags |= op->flags;
	ssize_t n = op->to_file ? pwritev2(op->host_fd, iov, (int)nr, offset, flags)
				: preadv2(op->host_fd, iov, (int)nr, offset, flags);

	return n < 0 ? -errno : n;
}

/* The same call until it is not merely interrupted. */
static int64_t uio_call_waiting(const struct uio_op *op, const struct iovec *iov, unsigned int nr)
{
	struct host_wait wait;
	int64_t n;

	host_wait_begin(&wait);
	do
		n = task_interrupted(op->t) ? -EINTR : uio_call(op, iov, nr, 0);
	while (n == -EINTR && !task_interrupted(op->t));
	host_wait_end(&wait);
	return n;
}

/* Most transfers need no waiting, and then no preparation for it. Terminals and old pipes do not know RWF_NOWAIT. */
static int64_t uio_call_stream(const struct uio_op *op, const struct iovec *iov, unsigned int nr)
{
	int64_t n = uio_call(op, iov, nr, RWF_NOWAIT);

	if (n == -EAGAIN && ((op->flags & RWF_NOWAIT) || (fcntl(op->host_fd, F_GETFL) & O_NONBLOCK)))
		return n;
	if (n == -EOPNOTSUPP && op->flags)
		return n;
	return n == -EAGAIN || n == -EOPNOTSUPP ? uio_call_waiting(op, iov, nr) : n;
}

static size_t iov_bytes(const struct iovec *iov, unsigned int nr)
{
	size_t bytes = 0;

	for (unsigned int i = 0; i < nr; i++)
		bytes += iov[i].iov_len;
	return bytes;
}

/* An eventfd takes its eight bytes from one buffer alone, and two pages are none. */
static int64_t write_word(const struct uio_op *op, const struct user_pin *pin)
{
	char word[WORD_BYTES];
	struct iovec one = {word, 0};

	for (unsigned int i = 0; i < pin->nr_iov && one.iov_len < pin->bytes; i++) {
		memcpy(word + one.iov_len, pin->iov[i].iov_base, pin->iov[i].iov_len);
		one.iov_len += pin->iov[i].iov_len;
	}
	if (pin->bytes < op->u->bytes)
		one = (struct iovec){NULL, op->u->bytes};
	return uio_call_stream(op, &one, 1);
}

/*
 * What gives records fills a single buffer with as many as fit; two pages would be two buffers to it, and a record that fits neither an
 * error.
 */
static int64_t read_records(const struct uio_op *op, const struct user_pin *pin)
{
	struct iovec one = {malloc(pin->bytes), pin->bytes};
	size_t at = 0;
	int64_t n = one.iov_base ? uio_call_stream(op, &one, 1) : -ENOMEM;

	for (unsigned int i = 0; n > 0 && at < (size_t)n; i++) {
		size_t bytes = min_u64(pin->iov[i].iov_len, (size_t)n - at);
		memcpy(pin->iov[i].iov_base, (char *)one.iov_base + at, bytes);
		at += bytes;
	}
	free(one.iov_base);
	return n;
}

static int64_t uio_stream_window(const struct uio_op *op, const struct user_pin *pin)
{
	bool torn = op->u->single && pin->nr_iov > 1;

	if (torn && op->to_file && op->u->bytes <= WORD_BYTES)
		return write_word(op, pin);
	if (torn && !op->to_file && op->records && pin->bytes == iov_bytes(pin->iov, pin->nr_iov))
		return read_records(op, pin);
	return uio_call_stream(op, pin->iov, pin->nr_iov);
}

/* One window: bytes moved or -errno; *complete tells whether that was all of it. */
static int64_t uio_window(struct uio_op *op, size_t window, bool stream, bool *complete)
{
	struct user_pin pin;
	int64_t n = op->cache || op->by_page ? uio_pin(op->t, op->u, window, !op->to_file, &pin)
					     : uio_pin_with_faults(op->t, op->u, window, !op->to_file, &pin);

	op->faulted = n == -EFAULT;
	if (n < 0)
		return n;
	n = stream ? uio_stream_window(op, &pin) : uio_call(op, pin.iov, pin.nr_iov, 0);
	*complete = n == (int64_t)iov_bytes(pin.iov, pin.nr_iov);
	user_pin_release(op->t->mm, &pin);
	if (n > 0)
		uio_advance(op->u, (size_t)n);
	return n;
}

/* A file ends at the first short count, a stream that is read after one piece; a stream takes all that is written. */
static int64_t uio_loop(struct uio_op *op, bool stream)
{
	size_t window = FIRST_WINDOW_BYTES;
	bool complete = true;
	int64_t n = 0;

	while (op->u->done < op->u->bytes && n >= 0) {
		n = uio_window(op, window, stream, &complete);
		if (n == 0 || (!stream && !complete) || (stream && !op->to_file))
			break;
		window = min_u64(stream ? window : window * 2, LAST_WINDOW_BYTES);
	}
	return n;
}

/* Nothing to move: the descriptor may still have an error to tell. A single buffer it gets to see, an array of none not. */
static int64_t uio_probe(const struct uio_op *op)
{
	struct iovec none = {.iov_base = (void *)&none};
	struct host_wait wait;
	int64_t n;

	if (op->cache || !op->u->single || op->offset != UIO_AT_POSITION)
		return uio_call(op, &none, 1, 0);
	host_wait_begin(&wait);
	do {
		n = task_interrupted(op->t) ? -EINTR
		    : op->to_file	    ? write(op->host_fd, &none, 0)
					    : read(op->host_fd, &none, 0);
		if (n < 0 && !task_interrupted(op->t))
			n = -errno;
	} while (n == -EINTR && !task_interrupted(op->t));
	host_wait_end(&wait);
	return n;
}

/* Memory that is ours alone: what a read finds there without moving the position. 0: the end of the file. */
static int64_t uio_peek(const struct uio_op *op)
{
	struct uio_op peek = *op;
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};

	if (op->offset == UIO_AT_POSITION)
		peek.offset = lseek(op->host_fd, 0, SEEK_CUR);
	return uio_call(&peek, &iov, 1, 0);
}

/*
 * The guest's memory cannot be had at all. Errors of the descriptor, and a file that has nothing to give, come before that: the
 * host is asked with an address of nobody in a buffer of the same shape; a file that is memory copies by itself.
 */
static int64_t uio_fault(const struct uio_op *op, bool stream)
{
	const struct iovec *iov = &op->u->iov[op->u->index];
	struct iovec nowhere = {.iov_base = (void *)((gva_t)iov->iov_base & ~PAGE_MASK),
				.iov_len = iov->iov_len};
	bool ours = op->cache && op->cache->cache.shmem;
	int64_t told;

	if (!stream && !ours)
		return uio_call(op, &nowhere, 1, 0);
	told = ours && !op->to_file ? uio_peek(op) : uio_probe(op);
	return told < 0 || (ours && !op->to_file && !told) ? told : -EFAULT;
}

static int64_t uio_result(struct uio_op *op, int64_t n, bool stream)
{
	if (n == -EPIPE)
		signal_send(op->t, SIGPIPE, NULL);
	if (op->u->done)
		return (int64_t)op->u->done;
	if (n == -EINTR)
		return host_wait_interrupted(op->t);
	return n == -EFAULT && op->faulted ? uio_fault(op, stream) : n;
}

/* Cuts what would grow a file beyond RLIMIT_FSIZE; true, and the signal: there is room for nothing. */
static bool limit_size(const struct uio_op *op)
{
	uint64_t limit = rlimit_get(op->t, RLIMIT_FSIZE).rlim_cur;
	struct stat st;
	off_t at = op->offset;

	if (limit == RLIM_INFINITY)
		return false;
	if (fcntl(op->host_fd, F_GETFL) & O_APPEND)
		at = fstat(op->host_fd, &st) ? 0 : st.st_size;
	else if (at == UIO_AT_POSITION)
		at = lseek(op->host_fd, 0, SEEK_CUR);
	if ((uint64_t)at >= limit)
		return rlimit_refuses_size(op->t, (uint64_t)at + 1);
	op->u->bytes = min_u64(op->u->bytes, limit - (uint64_t)at);
	for (unsigned int i = 0, left = (unsigned int)op->u->bytes; i < op->u->nr; i++) {
		op->u->iov[i].iov_len = min_u64(op->u->iov[i].iov_len, left);
		left -= (unsigned int)op->u->iov[i].iov_len;
	}
	return false;
}

int64_t uio_run(struct task *t, struct uio *u, const struct uio_transfer *x)
{
	const struct guest_file *file = files_get(t->files, x->guest_fd);
	struct uio_op op = {.t = t,
			    .u = u,
			    .to_file = x->to_file,
			    .offset = x->offset,
			    .flags = x->flags,
			    .by_page = x->by_page,
			    .records = file && file->records};
	int64_t n;

	if (!file)
		return -EBADF;
	op.host_fd = file->host_fd;
	if (x->to_file && file->regular && u->bytes && limit_size(&op))
		return -EFBIG;
	if (file->proc.kind == PROC_FILE && procfs_transfer(t, file, u, x, &n))
		return n;
	if (file->signalfd && !x->to_file && x->offset == UIO_AT_POSITION)
		return signalfd_read(t, file->signalfd, op.host_fd, u);
	if (file->signalfd || file->process_serial)
		return x->offset == UIO_AT_POSITION || file->process_serial ? -EINVAL : -ESPIPE;
	if (file->socket_domain)
		return x->offset == UIO_AT_POSITION ? sock_transfer(t, file, u, x->to_file) : -ESPIPE;
	if (!u->bytes)
		return uio_probe(&op);
	/*
	 * A broken pipe raises SIGPIPE for our thread as well; the thread that runs a task keeps it blocked (task.c), so
	 * that only the guest gets its own.
	 */
	n = tty_check_transfer(t, file, x->to_file);
	if (n)
		return n;
	op.cache = file->stream ? NULL : coherent_find_open(t, file);
	if (op.cache && (op.flags & ~CACHED_FLAGS)) {
		backing_put(op.cache);
		return -EOPNOTSUPP;
	}
	n = uio_loop(&op, file->stream);
	if (x->to_file)
		tty_written(t, file, u, u->done);
	if (op.cache)
		backing_put(op.cache);
	op.cache = NULL;
	return uio_result(&op, n, file->stream);
}
