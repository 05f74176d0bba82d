/* SPDX-License-Identifier: MIT */
/*
 * sys_file.c - the system calls on descriptors, beside moving data (sys_io.c), waiting for it (sys_poll.c), fcntl and ioctl.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../mm/writeback.h"
#include "coherent.h"
#include "host_wait.h"
#include "memfd.h"
#include "mqueue.h"
#include "rlimit.h"
#include "sys_file.h"
#include "syscall.h"
#include "view.h"

#define GETDENTS_MAX_BYTES 32768u
/* Within struct linux_dirent64; in the old one the name stands where the type does here. */
#define DIRENT_RECLEN	   16
#define DIRENT64_TYPE	   18
#define DIRENT64_NAME	   19

#define NOTIFICATION_PIPE  O_EXCL /* a watch queue */

/* The kernel's numbers for what libc calls differently or not at all. */
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2u /* Linux 5.9 */
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4u /* Linux 5.11 */
#endif

static int64_t result(long ret)
{
	return ret < 0 ? -errno : ret;
}

/* --- the table of descriptors ---------------------------------------------------------------- */

static int64_t sys_close(struct task *t, const uint64_t a[6])
{
	const struct guest_file *file = files_get(t->files, (int)a[0]);

	if (file)
		mqueue_flush(file->mqueue, t);
	return files_close(t->files, (int)a[0]);
}

static int64_t sys_close_range(struct task *t, const uint64_t a[6])
{
	unsigned int first = (unsigned int)a[0], last = (unsigned int)a[1], flags = (unsigned int)a[2];

	if ((flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) || first > last)
		return -EINVAL;
	if ((flags & CLOSE_RANGE_UNSHARE) && atomic_load(&t->files->refs) > 1) {
		struct files *own = files_copy(t->files);
		if (!own)
			return -ENOMEM;
		files_release(t->files);
		t->files = own;
	}
	int end = files_end(t->files);
	for (unsigned int i = first; i <= last && i < (unsigned int)end; i++) {
		if (flags & CLOSE_RANGE_CLOEXEC)
			files_set_cloexec(t->files, (int)i, true);
		else
			files_close(t->files, (int)i);
	}
	return 0;
}

/* A host descriptor of its own for the same open file, or -errno. */
static int host_dup(struct task *t, int guest_fd)
{
	int host_fd = files_host_fd(t->files, guest_fd);

	return host_fd < 0 ? host_fd : (int)result(fcntl(host_fd, F_DUPFD_CLOEXEC, 0));
}

int64_t file_dup_above(struct task *t, int guest_fd, int min, bool cloexec)
{
	int copy = host_dup(t, guest_fd);

	return copy < 0 ? copy : files_install(t->files, copy, cloexec, min, files_get(t->files, guest_fd));
}

static int64_t dup_to(struct task *t, int guest_fd, int to, bool cloexec)
{
	int copy;

	if (to < 0 || to >= (int)files_limit())
		return -EBADF;
	copy = host_dup(t, guest_fd);
	if (copy < 0)
		return copy;
	copy = files_put(t->files, to, copy, cloexec, files_get(t->files, guest_fd));
	return copy ? copy : to;
}

static int64_t sys_dup(struct task *t, const uint64_t a[6])
{
	return file_dup_above(t, (int)a[0], 0, false);
}

static int64_t sys_dup2(struct task *t, const uint64_t a[6])
{
	if ((int)a[0] == (int)a[1])
		return files_get(t->files, (int)a[0]) ? (int)a[0] : -EBADF;
	return dup_to(t, (int)a[0], (int)a[1], false);
}

static int64_t sys_dup3(struct task *t, const uint64_t a[6])
{
	if (((int)a[2] & ~O_CLOEXEC) || (int)a[0] == (int)a[1])
		return -EINVAL;
	return dup_to(t, (int)a[0], (int)a[1], (int)a[2] & O_CLOEXEC);
}

static int64_t do_pipe(struct task *t, gva_t to, int flags)
{
	int host[2], guest[2];

	if (flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT | NOTIFICATION_PIPE))
		return -EINVAL;
	if (flags & NOTIFICATION_PIPE)
		return -ENOPKG;
	if (pipe2(host, flags | O_CLOEXEC))
		return -errno;
	guest[0] = files_install(t->files, host[0], flags & O_CLOEXEC, 0, NULL);
	guest[1] = files_install(t->files, host[1], flags & O_CLOEXEC, 0, NULL);
	if (guest[1] >= 0 && !copy_to_user(t->mm, to, guest, sizeof(guest)))
		return 0;
	files_close(t->files, guest[0]);
	files_close(t->files, guest[1]);
	return guest[1] < 0 ? -EMFILE : -EFAULT;
}

static int64_t sys_pipe(struct task *t, const uint64_t a[6])
{
	return do_pipe(t, a[0], 0);
}

static int64_t sys_pipe2(struct task *t, const uint64_t a[6])
{
	return do_pipe(t, a[0], (int)a[1]);
}

/* --- files ----------------------------------------------------------------------------------- */

static int64_t sys_lseek(struct task *t, const uint64_t a[6])
{
	const struct guest_file *file = files_get(t->files, (int)a[0]);
	int host_fd, whence = (int)(unsigned int)a[2];
	struct backing *b;
	int64_t ret;

	if (!file)
		return -EBADF;
	host_fd = file->host_fd;
	if (file->process_serial)
		return (unsigned int)whence > SEEK_HOLE ? -EINVAL : -ESPIPE;
	b = whence == SEEK_DATA || whence == SEEK_HOLE ? memfd_find(host_fd) : NULL;
	if (!b)
		return result(lseek(host_fd, (off_t)a[1], whence));
	ret = memfd_seek(b, host_fd, (int64_t)a[1], whence);
	backing_put(b);
	return ret;
}

/* Entries as the older call has them, which are as long as the others: their kind stands at the end. */
static void entries_to_old(char *entries, int64_t bytes)
{
	uint16_t reclen;

	for (int64_t at = 0; at < bytes; at += reclen) {
		char *e = entries + at, kind = e[DIRENT64_TYPE];

		memcpy(&reclen, e + DIRENT_RECLEN, sizeof(reclen));
		memmove(e + DIRENT64_TYPE, e + DIRENT64_NAME, reclen - DIRENT64_NAME);
		e[reclen - 1] = kind;
	}
}

/* A buffer that cannot be written leaves the position where it was. */
static int64_t do_getdents(struct task *t, const uint64_t a[6], bool old)
{
	const struct guest_file *file = files_get_open(t->files, (int)a[0]);
	size_t bytes = min_u64((unsigned int)a[2], GETDENTS_MAX_BYTES);
	int host_fd = file ? file->host_fd : -1;
	_Alignas(uint64_t) char entries[GETDENTS_MAX_BYTES];
	off_t before;
	int64_t n;

	if (!file)
		return -EBADF;
	if ((int)a[2] < 0)
		return result(syscall(SYS_getdents64, host_fd, NULL, (unsigned int)a[2]));
	before = lseek(host_fd, 0, SEEK_CUR);
	if (file->proc.kind != PROC_NONE && file->proc.kind != PROC_FILE)
		n = procfs_getdents(t, file, entries, bytes);
	else
		n = result(syscall(SYS_getdents64, host_fd, entries, bytes));
	if (n > 0 && old)
		entries_to_old(entries, n);
	if (n > 0 && copy_to_user(t->mm, a[1], entries, (size_t)n)) {
		lseek(host_fd, before, SEEK_SET);
		n = -EFAULT;
	}
	return n;
}

static int64_t sys_getdents64(struct task *t, const uint64_t a[6])
{
	return do_getdents(t, a, false);
}

static int64_t sys_getdents(struct task *t, const uint64_t a[6])
{
	return do_getdents(t, a, true);
}

static int64_t sys_ftruncate(struct task *t, const uint64_t a[6])
{
	int host_fd = files_host_fd(t->files, (int)a[0]);

	struct coherent_change change;
	int64_t ret;

	if ((int64_t)a[1] < 0)
		return -EINVAL;
	if (host_fd < 0)
		return -EBADF;
	if (rlimit_refuses_size(t, a[1]))
		return -EFBIG;
	coherent_begin(&change, t, host_fd);
	ret = result(ftruncate(host_fd, (off_t)a[1]));
	coherent_end(&change, 0, 0);
	return ret;
}

/* Modes that move what follows: the whole rest of the file is different. */
static bool moves_the_rest(int mode)
{
	return mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE);
}

static int64_t sys_fallocate(struct task *t, const uint64_t a[6])
{
	int host_fd = files_host_fd(t->files, (int)a[0]);
	struct coherent_change change;
	struct backing *memfd;
	int64_t ret;

	if (host_fd < 0)
		return -EBADF;
	if ((int64_t)a[2] >= 0 && (int64_t)a[3] > 0 && !((int)a[1] & FALLOC_FL_KEEP_SIZE) &&
	    rlimit_refuses_size(t, a[2] + a[3]))
		return -EFBIG;
	memfd = memfd_find(host_fd);
	if (memfd) {
		ret = memfd_fallocate(memfd, t->mm->memcg, host_fd, (int)a[1], (int64_t)a[2], (int64_t)a[3]);
		backing_put(memfd);
		return ret;
	}
	if (moves_the_rest((int)a[1]))
		coherent_flush(t, host_fd);
	coherent_begin(&change, t, host_fd);
	do
		ret = result(fallocate(host_fd, (int)a[1], (off_t)a[2], (off_t)a[3]));
	while (ret == -EINTR && !task_interrupted(t));
	coherent_end(&change, a[2], ret ? 0 : moves_the_rest((int)a[1]) ? ~0ull : a[2] + a[3]);
	return ret == -EINTR ? host_wait_interrupted(t) : ret;
}

static int64_t sys_fadvise64(struct task *t, const uint64_t a[6])
{
	int host_fd = files_host_fd(t->files, (int)a[0]);

	return host_fd < 0 ? -EBADF : -posix_fadvise(host_fd, (off_t)a[1], (off_t)a[2], (int)a[3]);
}

/* The host reads, and checks; and what is mapped here is read into the cache that mappings use. */
static int64_t sys_readahead(struct task *t, const uint64_t a[6])
{
	int host_fd = files_host_fd(t->files, (int)a[0]);
	int64_t ret = host_fd < 0 ? -EBADF : result(readahead(host_fd, (off_t)a[1], a[2]));
	struct backing *b = ret || (int64_t)a[1] < 0 ? NULL : coherent_find(t, host_fd);

	if (!b)
		return ret;
	filemap_readahead(&b->cache, a[1] >> PAGE_SHIFT,
			  BYTES_TO_PAGES((a[1] & ~PAGE_MASK) + min_u64(a[2], INT64_MAX)), t->mm->memcg);
	backing_put(b);
	return 0;
}

int64_t file_sync(struct task *t, int guest_fd, bool only_data)
{
	int host_fd = files_host_fd(t->files, guest_fd);
	struct backing *b;
	int64_t ret, err = 0;

	if (host_fd < 0)
		return -EBADF;
	b = coherent_find(t, host_fd);
	if (b) {
		err = writeback_sync(&b->cache, 0, ~0ull);
		backing_put(b);
	}
	ret = result(only_data ? fdatasync(host_fd) : fsync(host_fd));
	return err ? err : ret;
}

static int64_t sys_fsync(struct task *t, const uint64_t a[6])
{
	return file_sync(t, (int)a[0], false);
}

static int64_t sys_fdatasync(struct task *t, const uint64_t a[6])
{
	return file_sync(t, (int)a[0], true);
}

/* A guest can have written in its writable mounts only; the rest of the machine is not its to wait for. */
static int64_t sys_sync(struct task *t, const uint64_t a[6])
{
	(void)a;
	writeback_all(t->mm->host);
	for (unsigned int i = 0; i < t->files->view->nr; i++) {
		const struct mount *m = &t->files->view->mount[i];
		int fd = m->writable && !m->memory ? openat(m->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
						   : -1;
		if (fd < 0)
			continue;
		syncfs(fd);
		close(fd);
	}
	return 0;
}

static int64_t sys_syncfs(struct task *t, const uint64_t a[6])
{
	int host_fd = files_host_fd(t->files, (int)a[0]);

	if (host_fd < 0 || (fcntl(host_fd, F_GETFL) & O_PATH))
		return -EBADF;
	writeback_all(t->mm->host);
	return result(syncfs(host_fd));
}

static int64_t sys_sync_file_range(struct task *t, const uint64_t a[6])
{
	int host_fd = files_host_fd(t->files, (int)a[0]);

	if (host_fd < 0)
		return -EBADF;
	if (a[3] & (SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER))
		coherent_flush(t, host_fd);
	return result(sync_file_range(host_fd, (off_t)a[1], (off_t)a[2], (unsigned int)a[3]));
}

#define MEMFD_NAME_BYTES 250 /* with its NUL */

static int64_t sys_memfd_create(struct task *t, const uint64_t a[6])
{
	char name[MEMFD_NAME_BYTES];
	int64_t len = strncpy_from_user(t->mm, name, a[0], sizeof(name));
	unsigned int flags = (unsigned int)a[1];
	struct memfd *m;
	int fd;

	if (len == -EFAULT && !memfd_flags_valid(flags))
		return -EINVAL;
	if (len < 0)
		return len == -ENAMETOOLONG ? -EINVAL : len;
	fd = memfd_new(t->mm->host, t->mm->memcg, name, flags, &m);
	if (fd >= 0)
		fd = files_install(t->files, fd, flags & MFD_CLOEXEC, 0, NULL);
	memfd_drop(m);
	return fd;
}

const struct syscall_entry sys_file_calls[] = {
	SYSCALL_ENTRY(close),
	SYSCALL_ENTRY(close_range),
	SYSCALL_ENTRY(dup),
	SYSCALL_ENTRY(dup2),
	SYSCALL_ENTRY(dup3),
	SYSCALL_ENTRY(pipe),
	SYSCALL_ENTRY(pipe2),
	SYSCALL_ENTRY(lseek),
	SYSCALL_ENTRY(getdents64),
	SYSCALL_ENTRY(getdents),
	SYSCALL_ENTRY(ftruncate),
	SYSCALL_ENTRY(fallocate),
	SYSCALL_ENTRY(fadvise64),
	SYSCALL_ENTRY(readahead),
	SYSCALL_ENTRY(fsync),
	SYSCALL_ENTRY(fdatasync),
	SYSCALL_ENTRY(sync),
	SYSCALL_ENTRY(memfd_create),
	SYSCALL_ENTRY(syncfs),
	SYSCALL_ENTRY(sync_file_range),
	{0},
};
