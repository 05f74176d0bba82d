/* SPDX-License-Identifier: MIT */
/*
 * space_clone.c - lodge_space_clone, lodge_space_reset and lodge_space_dirty.
 *
 * A reset makes the sandbox anew as a clone of the one to go back to, on the account that the space has, and drops what was: that costs
 * what a clone costs, and the frames that were written. Nothing has to be looked for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../mm/diff.h"
#include "../vmm/vm.h"
#include "aio.h"
#include "patch.h"
#include "pause.h"
#include "ipc.h"
#include "prefetch.h"
#include "report.h"
#include "sandbox_clone.h"
#include "shm.h"
#include "space.h"
#include "task.h"

static bool has_filters(struct sandbox *s)
{
	pthread_mutex_lock(&s->lock);
	bool has = seccomp_is_used(s);
	pthread_mutex_unlock(&s->lock);
	return has;
}

static int stop(struct lodge_space *space, struct lodge_error *err)
{
	int ret = pause_begin(space->sandbox);

	if (ret == -ESRCH)
		return report_error(err, -EINVAL, "the program has ended");
	if (ret)
		return report_error(err, ret, "a task is in a call that does not end");
	if (!space->sandbox->first->exe_path)
		ret = report_error(err, -EINVAL, "no program is loaded");
	else if (!ipc_ns_is_empty(space->sandbox->ipc))
		ret = report_error(err, -ENOTSUP, "semaphores and message queues cannot be cloned");
	else if (!aio_ns_is_empty(space->sandbox->aio))
		ret = report_error(err, -ENOTSUP, "contexts of asynchronous I/O cannot be cloned");
	else if (has_filters(space->sandbox))
		ret = report_error(err, -ENOTSUP, "filters of system calls cannot be cloned");
	if (ret)
		pause_end(space->sandbox);
	return ret;
}

/* A sandbox like that of `from`, with segments of its own in `shm`. */
static int clone_into(struct shm_ns *shm, struct lodge_space *from, const int *fds, struct memcg *account,
		      struct sandbox **result, struct lodge_error *err)
{
	const struct sandbox_clone_setup setup = {
		.from = from->sandbox, .fds = fds, .account = account, .from_shm = from->shm, .shm = shm};
	int ret = stop(from, err);

	if (ret)
		return ret;
	ret = sandbox_clone(&setup, result, err);
	pause_end(from->sandbox);
	return ret;
}

int lodge_space_clone(struct lodge_space *space, const int fds[3], struct lodge_space **result,
		      struct lodge_error *err)
{
	struct lodge_space *clone = calloc(1, sizeof(*clone));
	int ret = -ENOMEM;

	if (!clone)
		return report_error(err, -ENOMEM, "out of memory");
	clone->host = space->host;
	clone->shm = shm_ns_create(vm_mm_host(space->host->vm));
	if (clone->shm)
		ret = clone_into(clone->shm, space, fds, NULL, &clone->sandbox, err);
	else
		report_error(err, -ENOMEM, "out of memory");
	if (ret) {
		lodge_space_destroy(clone);
		return ret;
	}
	clone->loaded = true;
	*result = clone;
	return 0;
}

int lodge_space_reset(struct lodge_space *space, struct lodge_space *to, struct lodge_error *err)
{
	struct sandbox *old = space->sandbox, *new;
	struct shm_ns *old_shm = space->shm, *shm;
	int ret;

	if (space == to || space->host != to->host)
		return report_error(err, -EINVAL, "a space is reset to another one of its host");
	if (sandbox_is_running(old))
		return report_error(err, -EBUSY, "the space runs");
	shm = shm_ns_create(vm_mm_host(space->host->vm));
	if (!shm)
		return report_error(err, -ENOMEM, "out of memory");
	ret = clone_into(shm, to, old->caller_fds, old->first_mm->memcg, &new, err);
	if (ret) {
		shm_ns_destroy(shm);
		return ret;
	}
	prefetch_destroy(space->prefetch);
	space->prefetch = NULL;
	space->sandbox = new;
	space->shm = shm;
	space->loaded = true;
	space->ended = false;
	sandbox_destroy(old);
	shm_ns_destroy(old_shm);
	return 0;
}

/* --- what was written ------------------------------------------------------------------------- */

struct dirty {
	struct lodge_dirty *at;
	size_t max;
	int64_t nr; /* also those that `at` has no room for */
	struct lodge_dirty last;
};

static void end_range(struct dirty *d)
{
	if (!d->last.pages)
		return;
	if ((uint64_t)d->nr < d->max)
		d->at[d->nr] = d->last;
	d->nr++;
	d->last.pages = 0;
}

static void note_page(void *ctx, gva_t address)
{
	struct dirty *d = ctx;

	if (d->last.pages && d->last.address + (d->last.pages << PAGE_SHIFT) != address)
		end_range(d);
	if (!d->last.pages)
		d->last.address = address;
	d->last.pages++;
}

static struct mm *mm_of(const struct process *p)
{
	return list_entry(p->threads.next, struct task, thread_node)->mm;
}

/* Both stand still. */
static void compare(struct dirty *d, struct sandbox *s, struct sandbox *since)
{
	const struct process *p, *before;

	list_for_each_entry (p, &s->processes, node) {
		before = process_find(since, p->pid);
		if (process_is_zombie(p) || !before || process_is_zombie(before))
			continue;
		patch_undo(mm_of(p));
		d->last.pid = p->pid;
		mm_diff(mm_of(p), mm_of(before), note_page, d);
		end_range(d);
	}
}

int64_t lodge_space_dirty(struct lodge_space *space, struct lodge_space *since, struct lodge_dirty *ranges,
			  size_t max, struct lodge_error *err)
{
	struct dirty d = {.at = ranges, .max = max};
	int ret;

	if (space == since || space->host != since->host)
		return report_error(err, -EINVAL, "a space is compared with another one of its host");
	ret = stop(since, err);
	if (ret)
		return ret;
	ret = stop(space, err);
	if (!ret) {
		compare(&d, space->sandbox, since->sandbox);
		pause_end(space->sandbox);
	}
	pause_end(since->sandbox);
	return ret ? ret : d.nr;
}
