/* SPDX-License-Identifier: MIT */
/*
 * sys_process_vm.c - what one process does with the memory of another: process_vm_readv, process_vm_writev, process_madvise.
 *
 * The other's pages are pinned one at a time, with the rights that it has itself, and the caller's side is copied as by any
 * system call; so neither space's lock is held while the other's is wanted.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "patch.h"
#include "pidfd.h"
#include "syscall.h"
#include "uio.h"

/* One transfer under way. */
struct remote_op {
	struct task *t;
	struct mm *mm;	    /* the other space */
	bool write;	    /* into it */
	struct uio local;   /* the caller's side */
	unsigned int index; /* of the local range that comes next, */
	size_t offset;	    /* and how much of it is done */
	size_t left;	    /* of all local ranges */
};

/* The other space, with a user for the caller; NULL: there is no such process. */
static struct mm *remote_mm(struct task *t, int pid)
{
	struct mm *mm = NULL;
	struct process *p;

	pthread_mutex_lock(&t->sandbox->lock);
	p = process_find(t->sandbox, pid);
	if (p && !process_is_zombie(p))
		mm = list_entry(p->threads.next, struct task, thread_node)->mm;
	if (mm)
		mmget(mm);
	pthread_mutex_unlock(&t->sandbox->lock);
	return mm;
}

/* Up to `bytes` between host memory and the local ranges: how many. */
static size_t copy_local(struct remote_op *op, char *host, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		const struct iovec *iov = &op->local.iov[op->index];
		size_t n = min_u64(iov->iov_len - op->offset, bytes - done);
		gva_t user = (gva_t)iov->iov_base + op->offset;
		size_t failed = op->write ? copy_from_user(op->t->mm, host + done, user, n)
					  : copy_to_user(op->t->mm, user, host + done, n);

		done += n - failed;
		op->left -= n - failed;
		op->offset += n - failed;
		if (failed)
			break;
		if (op->offset == iov->iov_len) {
			op->index++;
			op->offset = 0;
		}
	}
	return done;
}

static int copy_page(struct remote_op *op, gva_t address, size_t bytes)
{
	struct frames *f = op->mm->frames;
	struct page *page;

	if (get_user_pages(op->mm, page_align_down(address), 1, op->write ? GUP_WRITE : 0, &page) != 1)
		return -EFAULT;
	char *host = (char *)page_address(f, page) + (address & ~PAGE_MASK);
	size_t done = copy_local(op, host, bytes);
	put_user_pages(op->mm, 1, &page);
	return done == bytes ? 0 : -EFAULT;
}

static int copy_range(struct remote_op *op, const struct iovec *remote)
{
	gva_t at = (gva_t)remote->iov_base;
	uint64_t end = at + min_u64(remote->iov_len, op->left);
	int err = 0;

	if (end < at || !access_ok(at, end - at))
		end = max_u64(at, TASK_SIZE) == at ? at + 1 : TASK_SIZE + 1;
	while (at < end && !err) {
		if (at >= TASK_SIZE)
			return -EFAULT;
		size_t bytes = min_u64(PAGE_SIZE - (at & ~PAGE_MASK), min_u64(end, TASK_SIZE) - at);
		err = copy_page(op, at, bytes);
		at += bytes;
	}
	return err;
}

/* Remote ranges may lie anywhere: a bad one ends the transfer where it comes. */
static int import_remote(struct task *t, gva_t array, uint64_t nr, struct iovec **iov)
{
	*iov = NULL;
	if (nr > IOV_MAX)
		return -EINVAL;
	*iov = calloc(nr ? nr : 1, sizeof(**iov));
	if (!*iov)
		return -ENOMEM;
	if (copy_from_user(t->mm, *iov, array, nr * sizeof(**iov)))
		return -EFAULT;
	for (uint64_t i = 0; i < nr; i++)
		if ((*iov)[i].iov_len > SSIZE_MAX)
			return -EINVAL;
	return 0;
}

static int64_t transfer(struct remote_op *op, const struct iovec *remote, uint64_t nr, int pid)
{
	size_t wanted = op->left, bytes = 0;
	int err = 0;

	for (uint64_t i = 0; i < nr; i++)
		bytes |= remote[i].iov_len;
	if (!bytes)
		return 0;
	op->mm = remote_mm(op->t, pid);
	if (!op->mm)
		return -ESRCH;
	patch_undo(op->mm);
	for (uint64_t i = 0; i < nr && op->left && !err; i++)
		err = copy_range(op, &remote[i]);
	mmput(op->mm);
	return op->left < wanted ? (int64_t)(wanted - op->left) : err;
}

static int64_t process_vm(struct task *t, const uint64_t a[6], bool write)
{
	struct remote_op op = {.t = t, .write = write};
	struct iovec *remote;
	int64_t ret;

	if (a[5])
		return -EINVAL;
	ret = uio_import(t, &op.local, a[1], a[2]);
	if (ret)
		return ret;
	op.left = op.local.bytes;
	if (op.left) {
		ret = import_remote(t, a[3], a[4], &remote);
		if (!ret)
			ret = transfer(&op, remote, a[4], (int)a[0]);
		free(remote);
	}
	uio_destroy(&op.local);
	return ret;
}

static int64_t sys_process_vm_readv(struct task *t, const uint64_t a[6])
{
	return process_vm(t, a, false);
}

static int64_t sys_process_vm_writev(struct task *t, const uint64_t a[6])
{
	return process_vm(t, a, true);
}

/* --- advice ---------------------------------------------------------------------------------- */

#ifndef MADV_COLD
#define MADV_COLD    20 /* Linux 5.4 */
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

/* What changes nothing that another process could notice but by its speed. */
static bool is_harmless(int advice)
{
	return advice == MADV_COLD || advice == MADV_PAGEOUT || advice == MADV_WILLNEED ||
	       advice == MADV_COLLAPSE;
}

/* The space behind a pidfd, with a user for the caller, or NULL and *err. */
static struct mm *mm_of_pidfd(struct task *t, int guest_fd, int *err)
{
	struct mm *mm = NULL;

	pthread_mutex_lock(&t->sandbox->lock);
	struct process *p = pidfd_process(t, guest_fd, err);
	if (p && process_is_zombie(p))
		*err = -ESRCH;
	else if (p)
		mm = list_entry(p->threads.next, struct task, thread_node)->mm;
	if (mm)
		mmget(mm);
	pthread_mutex_unlock(&t->sandbox->lock);
	return mm;
}

/* The bytes of the ranges before the first that was refused, or its error. */
static int64_t advise_ranges(struct mm *mm, const struct uio *u, int advice)
{
	int64_t done = 0;
	int err = 0;

	for (unsigned int i = 0; i < u->nr && !err; i++) {
		err = mm_madvise(mm, (gva_t)u->iov[i].iov_base, u->iov[i].iov_len, advice);
		done += err ? 0 : (int64_t)u->iov[i].iov_len;
	}
	return done ? done : err;
}

static int64_t sys_process_madvise(struct task *t, const uint64_t a[6])
{
	struct uio ranges;
	int err, advice = (int)a[3];

	if (a[4])
		return -EINVAL;
	int64_t ret = uio_import(t, &ranges, a[1], a[2]);
	if (ret)
		return ret;
	struct mm *mm = mm_of_pidfd(t, (int)a[0], &err);
	if (!mm)
		ret = err;
	else
		ret = mm != t->mm && !is_harmless(advice) ? -EINVAL : advise_ranges(mm, &ranges, advice);
	mmput(mm);
	uio_destroy(&ranges);
	return ret;
}

const struct syscall_entry sys_process_vm_calls[] = {
	SYSCALL_ENTRY(process_vm_readv),
	SYSCALL_ENTRY(process_vm_writev),
	SYSCALL_ENTRY(process_madvise),
	{0},
};
