/* SPDX-License-Identifier: MIT */
/*
 * syscall.h - the system calls, by family; one function each, all of one shape.
 *
 * A handler gets the six argument registers as they are and returns a value for rax: a result or -errno. It reaches guest
 * memory only by copy_from_user, copy_to_user and user_pin. Each family's file exports a table of its calls.
 */
#ifndef LODGE_LINUX_SYSCALL_H
#define LODGE_LINUX_SYSCALL_H

#include <errno.h>

#include "task.h"

typedef int64_t (*syscall_fn)(struct task *t, const uint64_t a[6]);

struct syscall_entry {
	int nr; /* as in <sys/syscall.h> */
	syscall_fn fn;
	const char *name;
};

#define SYSCALL_ENTRY(name)                   \
	{                                     \
		SYS_##name, sys_##name, #name \
	}

/* Each family: a table that ends with fn == NULL. */
extern const struct syscall_entry sys_mem_calls[], sys_file_calls[], sys_io_calls[], sys_poll_calls[],
	sys_path_calls[], sys_stat_calls[], sys_socket_calls[], sys_proc_calls[], sys_time_calls[],
	sys_signal_calls[], sys_clone_calls[], sys_wait_calls[], sys_exec_calls[], sys_session_calls[],
	sys_event_calls[], sys_timer_calls[], sys_signalfd_calls[], sys_cred_calls[], sys_prctl_calls[],
	sys_process_vm_calls[], sys_membarrier_calls[], sys_shm_calls[], sys_mempolicy_calls[],
	sys_sockopt_calls[], sys_sched_calls[], sys_xattr_calls[], sys_splice_calls[], sys_openat2_calls[],
	sys_fcntl_calls[], sys_ioctl_calls[], sys_admin_calls[], sys_kcmp_calls[], sys_ipc_calls[],
	seccomp_calls[], mqueue_calls[], sys_ioprio_calls[], sys_handle_calls[], sys_aio_calls[];

/* Stores one word of the guest: 0 or -EFAULT. */
static inline int64_t put_u64(struct task *t, gva_t to, uint64_t value)
{
	return copy_to_user(t->mm, to, &value, sizeof(value)) ? -EFAULT : 0;
}

static inline int64_t put_u32(struct task *t, gva_t to, uint32_t value)
{
	return copy_to_user(t->mm, to, &value, sizeof(value)) ? -EFAULT : 0;
}

/* Dispatches one call from t->regs and stores the result in rax. */
void syscall_dispatch(struct task *t);

/* The name of a call, or NULL. */
const char *syscall_name(int nr);
/* And the other way round; -ENOSYS: there is none of that name. */
int syscall_number(const char *name);

#endif
