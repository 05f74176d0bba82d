/* SPDX-License-Identifier: MIT */
/*
 * syscall.c - from a number to its handler.
 *
 * The table is put together from the families' once per process and never changes again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "../../include/lodge.h"
#include "pause.h"
#include "patch.h"
#include "syscall.h"

#define NR_ARGUMENTS 6
#define MAX_ERRNO    4095
#define TRACE_BYTES  512

static const struct syscall_entry *table[NR_SYSCALLS];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_build(void)
{
	static const struct syscall_entry *const families[] = {
		sys_mem_calls,	      sys_file_calls,  sys_io_calls,	    sys_poll_calls,
		sys_path_calls,	      sys_clone_calls, sys_wait_calls,	    sys_exec_calls,
		sys_session_calls,    sys_event_calls, sys_stat_calls,	    sys_socket_calls,
		sys_proc_calls,	      sys_time_calls,  sys_signal_calls,    sys_process_vm_calls,
		sys_membarrier_calls, sys_shm_calls,   sys_mempolicy_calls, sys_sockopt_calls,
		sys_sched_calls,      sys_timer_calls, sys_signalfd_calls,  sys_cred_calls,
		sys_prctl_calls,      sys_xattr_calls, sys_splice_calls,    sys_openat2_calls,
		sys_fcntl_calls,      sys_ioctl_calls, sys_admin_calls,	    sys_kcmp_calls,
		sys_ipc_calls,	      seccomp_calls,   mqueue_calls,	    sys_ioprio_calls,
		sys_handle_calls,     sys_aio_calls,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(families); i++)
		for (const struct syscall_entry *e = families[i]; e->fn; e++)
			table[e->nr] = e;
}

/* The entry of a call, or NULL. */
static const struct syscall_entry *syscall_find(int nr)
{
	pthread_once(&table_once, table_build);
	return nr >= 0 && nr < NR_SYSCALLS ? table[nr] : NULL;
}

const char *syscall_name(int nr)
{
	const struct syscall_entry *e = syscall_find(nr);

	return e ? e->name : NULL;
}

int syscall_number(const char *name)
{
	for (int nr = 0; nr < NR_SYSCALLS; nr++) {
		const char *known = syscall_name(nr);
		if (known && !strcmp(known, name))
			return nr;
	}
	return -ENOSYS;
}

/* "name(0x1, 0x2", without the arguments at the end that are 0. */
static void trace_call(char *text, size_t bytes, int nr, const uint64_t a[NR_ARGUMENTS])
{
	const char *name = syscall_name(nr);
	unsigned int last = NR_ARGUMENTS;
	int len = name ? snprintf(text, bytes, "%s(", name) : snprintf(text, bytes, "syscall_%d(", nr);

	while (last > 0 && !a[last - 1])
		last--;
	for (unsigned int i = 0; i < last; i++)
		len += snprintf(text + len, bytes - (size_t)len, "%s%#" PRIx64, i ? ", " : "", a[i]);
}

static void trace_result(struct task *t, const char *call, int64_t ret)
{
	const char *name = ret < 0 && ret >= -MAX_ERRNO ? strerrorname_np((int)-ret) : NULL;

	if (t->exited)
		task_log(t, "%s) = ?", call);
	else if (name)
		task_log(t, "%s) = -%s", call, name);
	else if (ret >= -MAX_ERRNO && ret < MAX_ERRNO)
		task_log(t, "%s) = %" PRId64, call, ret);
	else
		task_log(t, "%s) = %#" PRIx64, call, (uint64_t)ret);
}

static void count_unknown(struct task *t, int nr)
{
	atomic_fetch_add_explicit(&t->sandbox->counts.nr_unknown, 1, memory_order_relaxed);
	if (nr >= 0 && nr < NR_SYSCALLS)
		atomic_store_explicit(&t->sandbox->counts.unknown[nr], 1, memory_order_relaxed);
}

void syscall_dispatch(struct task *t)
{
	const uint64_t a[NR_ARGUMENTS] = {t->regs.rdi, t->regs.rsi, t->regs.rdx,
					  t->regs.r10, t->regs.r8,  t->regs.r9};
	/* Linux takes the low half of rax, sign-extended (row A11). */
	int nr = (int)(uint32_t)t->regs.rax;
	const struct syscall_entry *e = syscall_find(nr);
	char call[TRACE_BYTES];

	t->restart = RESTART_NOT;
	if (pause_before_call(t, nr))
		return;
	t->syscall_nr = t->regs.rax;
	if (nr >= 0 && nr < NR_SYSCALLS)
		atomic_fetch_add_explicit(&t->sandbox->counts.nr_syscalls[nr], 1, memory_order_relaxed);
	/* Before the call: rt_sigreturn changes the registers, write prints. */
	if (t->trace & LODGE_TRACE_SYSCALL)
		trace_call(call, sizeof(call), nr, a);
	patch_before_call(t, nr, a);
	t->call_may_fail = nr != SYS_rt_sigreturn;
	t->call_failed = false;
	int64_t ret = -ENOSYS;
	if (!atomic_load(&t->seccomp.mode) || seccomp_allows(t, nr, a, &ret))
		ret = e ? e->fn(t, a) : -ENOSYS;
	t->call_may_fail = false;
	if (ret == -EFAULT && t->call_failed)
		ret = -ENOMEM;
	if (ret == -ENOSYS)
		count_unknown(t, nr);
	if (ret != -EINTR)
		t->restart = RESTART_NOT;
	else if (!t->restart && pause_alone(t))
		t->restart = RESTART_NO_HANDLER;
	t->regs.rax = (uint64_t)ret;
	files_holds_drop(&t->holds);
	if (t->trace & LODGE_TRACE_SYSCALL)
		trace_result(t, call, ret);
}
