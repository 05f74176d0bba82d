/* SPDX-License-Identifier: MIT */
/*
 * sys_membarrier.c - membarrier: what the other threads of a space have seen when the call returns.
 *
 * A processor that leaves the guest and comes back has executed everything before and serialized, so one push out of the
 * guest is every kind of barrier. Restartable sequences do not exist (rseq is ENOSYS), nor do their commands.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "../vmm/vm.h"
#include "syscall.h"

#define GET_REGISTRATIONS (1 << 9) /* Linux 6.3 */

#define SUPPORTED                                                                                 \
	(MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED |                                \
	 MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED | MEMBARRIER_CMD_PRIVATE_EXPEDITED |            \
	 MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED | MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE | \
	 MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE | GET_REGISTRATIONS)

static int64_t barrier(struct task *t)
{
	vm_barrier(t->vm, t->mm);
	return 0;
}

static int64_t enlist(struct task *t, uint32_t what)
{
	atomic_fetch_or(&t->mm->membarrier_state, what);
	return 0;
}

/* The command is for those who registered. */
static int64_t private_barrier(struct task *t, uint32_t registered)
{
	return atomic_load(&t->mm->membarrier_state) & registered ? barrier(t) : -EPERM;
}

static int64_t sys_membarrier(struct task *t, const uint64_t a[6])
{
	int cmd = (int)a[0];

	if ((uint32_t)a[1])
		return -EINVAL;
	switch (cmd) {
	case MEMBARRIER_CMD_QUERY:
		return SUPPORTED;
	case MEMBARRIER_CMD_GLOBAL:
	case MEMBARRIER_CMD_GLOBAL_EXPEDITED:
		return barrier(t);
	case MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED:
	case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED:
	case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE:
		return enlist(t, (uint32_t)cmd);
	case MEMBARRIER_CMD_PRIVATE_EXPEDITED:
		return private_barrier(t, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
	case MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE:
		return private_barrier(t, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE);
	case GET_REGISTRATIONS:
		return atomic_load(&t->mm->membarrier_state);
	default:
		return -EINVAL;
	}
}

const struct syscall_entry sys_membarrier_calls[] = {
	SYSCALL_ENTRY(membarrier),
	{0},
};
