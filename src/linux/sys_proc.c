/* SPDX-License-Identifier: MIT */
/*
 * sys_proc.c - the system calls about a process itself: its end, its threads' settings, its ids, limits and times.
 *
 * A guest has the ids of whoever started lodge and no way to change them, no capabilities, and its own resource limits; of
 * these RLIMIT_STACK, RLIMIT_AS and RLIMIT_DATA are enforced, the others are only remembered. There is one processor to see.
 * Not here: children (sys_clone.c, sys_wait.c), groups and sessions (sys_session.c).
 */
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <string.h>
#include <unistd.h>

#include "futex.h"
#include "rlimit.h"
#include "syscall.h"

#define ARCH_SET_GS	       0x1001
#define ARCH_SET_FS	       0x1002
#define ARCH_GET_FS	       0x1003
#define ARCH_GET_GS	       0x1004

#define ROBUST_LIST_HEAD_BYTES 24
#define CLOCK_TICKS_PER_S      100

/* --- the end --------------------------------------------------------------------------------- */

static int64_t sys_exit(struct task *t, const uint64_t a[6])
{
	task_exit(t, (int)a[0]);
	return 0;
}

static int64_t sys_exit_group(struct task *t, const uint64_t a[6])
{
	task_exit_group(t, (int)a[0]);
	return 0;
}

/* --- the thread ------------------------------------------------------------------------------ */

static int64_t set_base(uint64_t *base, gva_t address)
{
	if (address >= TASK_SIZE)
		return -EPERM;
	*base = address;
	return 0;
}

/* The kernel's numbers; <asm/prctl.h> of older headers has the first four alone. */
#define ARCH_GET_CPUID 0x1011
#define ARCH_SET_CPUID 0x1012

static int64_t sys_arch_prctl(struct task *t, const uint64_t a[6])
{
	switch ((int)a[0]) {
	case ARCH_SET_FS:
		return set_base(&t->regs.fs_base, a[1]);
	case ARCH_SET_GS:
		return set_base(&t->regs.gs_base, a[1]);
	case ARCH_GET_FS:
		return put_u64(t, a[1], t->regs.fs_base);
	case ARCH_GET_GS:
		return put_u64(t, a[1], t->regs.gs_base);
	case ARCH_GET_CPUID:
		return 1;
	case ARCH_SET_CPUID: /* as where the processor cannot trap it */
		return -ENODEV;
	default:
		return -EINVAL;
	}
}

static int64_t sys_set_tid_address(struct task *t, const uint64_t a[6])
{
	t->clear_child_tid = a[0];
	return t->tid;
}

static int64_t sys_set_robust_list(struct task *t, const uint64_t a[6])
{
	if (a[1] != ROBUST_LIST_HEAD_BYTES)
		return -EINVAL;
	t->robust_list = a[0];
	return 0;
}

static int64_t sys_get_robust_list(struct task *t, const uint64_t a[6])
{
	uint64_t list = t->robust_list;
	struct task *other;

	if ((int)a[0]) {
		pthread_mutex_lock(&t->sandbox->lock);
		other = task_find(t->sandbox, (int)a[0]);
		list = other ? other->robust_list : 0;
		pthread_mutex_unlock(&t->sandbox->lock);
		if (!other)
			return -ESRCH;
	}
	if (put_u64(t, a[2], ROBUST_LIST_HEAD_BYTES))
		return -EFAULT;
	return put_u64(t, a[1], list);
}

/* Everything is remembered; what lodge makes of it is in sys_mem.c and sys_exec.c. */
static int64_t sys_personality(struct task *t, const uint64_t a[6])
{
	uint32_t old = t->personality;

	if ((uint32_t)a[0] != 0xffffffff)
		t->personality = (uint32_t)a[0];
	return old;
}

static int64_t sys_futex(struct task *t, const uint64_t a[6])
{
	return futex_call(t, a);
}

static int64_t sys_futex_waitv(struct task *t, const uint64_t a[6])
{
	return futex_waitv_call(t, a);
}

/* --- limits and counts ----------------------------------------------------------------------- */

static int64_t sys_getrlimit(struct task *t, const uint64_t a[6])
{
	struct rlimit limit;

	if ((uint32_t)a[0] >= RLIM_NLIMITS)
		return -EINVAL;
	limit = rlimit_get(t, (uint32_t)a[0]);
	return copy_to_user(t->mm, a[1], &limit, sizeof(limit)) ? -EFAULT : 0;
}

static int64_t sys_setrlimit(struct task *t, const uint64_t a[6])
{
	struct rlimit new;

	if (copy_from_user(t->mm, &new, a[1], sizeof(new)))
		return -EFAULT;
	return (uint32_t)a[0] < RLIM_NLIMITS ? rlimit_set(t, (uint32_t)a[0], &new) : -EINVAL;
}

static int64_t sys_prlimit64(struct task *t, const uint64_t a[6])
{
	uint32_t which = (uint32_t)a[1];
	struct rlimit new, old;
	int err;

	if (a[2] && copy_from_user(t->mm, &new, a[2], sizeof(new)))
		return -EFAULT;
	if (which >= RLIM_NLIMITS)
		return rlimit_change(t, (int)a[0], RLIMIT_CPU, NULL, &old) ?: -EINVAL;
	err = rlimit_change(t, (int)a[0], which, a[2] ? &new : NULL, &old);
	if (err)
		return err;
	return a[3] && copy_to_user(t->mm, a[3], &old, sizeof(old)) ? -EFAULT : 0;
}

static int64_t sys_getrusage(struct task *t, const uint64_t a[6])
{
	struct rusage usage;
	int who = (int)a[0];

	pthread_mutex_lock(&t->sandbox->lock);
	if (who == RUSAGE_SELF)
		process_usage(t->process, &usage);
	else if (who == RUSAGE_CHILDREN)
		usage = t->process->children_usage;
	else
		task_usage(t, &usage);
	pthread_mutex_unlock(&t->sandbox->lock);
	if (who != RUSAGE_SELF && who != RUSAGE_CHILDREN && who != RUSAGE_THREAD)
		return -EINVAL;
	return copy_to_user(t->mm, a[1], &usage, sizeof(usage)) ? -EFAULT : 0;
}

static clock_t timeval_ticks(const struct timeval *tv)
{
	return tv->tv_sec * CLOCK_TICKS_PER_S + tv->tv_usec / (1000000 / CLOCK_TICKS_PER_S);
}

static int64_t sys_times(struct task *t, const uint64_t a[6])
{
	struct rusage own, children;
	struct timespec now;
	struct tms tms;

	pthread_mutex_lock(&t->sandbox->lock);
	process_usage(t->process, &own);
	children = t->process->children_usage;
	pthread_mutex_unlock(&t->sandbox->lock);
	tms.tms_utime = timeval_ticks(&own.ru_utime);
	tms.tms_stime = timeval_ticks(&own.ru_stime);
	tms.tms_cutime = timeval_ticks(&children.ru_utime);
	tms.tms_cstime = timeval_ticks(&children.ru_stime);
	if (a[0] && copy_to_user(t->mm, a[0], &tms, sizeof(tms)))
		return -EFAULT;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * CLOCK_TICKS_PER_S + now.tv_nsec / (1000000000 / CLOCK_TICKS_PER_S);
}

/* The machine that a guest sees is its space: as much memory as it may own. */
static int64_t sys_sysinfo(struct task *t, const uint64_t a[6])
{
	const struct memcg *cg = t->mm->memcg;
	struct sysinfo info = {.mem_unit = 1, .procs = 1};
	struct swap_totals swap;
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	info.uptime = now.tv_sec;
	info.totalram = cg->max_pages << PAGE_SHIFT;
	info.freeram = memcg_room(cg) << PAGE_SHIFT;
	swap_totals(t->mm->host, &swap);
	info.totalswap = swap.total << PAGE_SHIFT;
	info.freeswap = (swap.total - swap.used) << PAGE_SHIFT;
	info.sharedram = (uint64_t)mm_counter(t->mm, MM_SHMEMPAGES) << PAGE_SHIFT;
	return copy_to_user(t->mm, a[0], &info, sizeof(info)) ? -EFAULT : 0;
}

static int64_t sys_uname(struct task *t, const uint64_t a[6])
{
	struct utsname name;

	uname(&name);
	return copy_to_user(t->mm, a[0], &name, sizeof(name)) ? -EFAULT : 0;
}

/*
 * Bytes made, at least one; or -errno. Urandom's pool never runs dry, so short reads come from signals alone.
 */
static int64_t random_window(struct task *t, gva_t to, uint64_t bytes, unsigned int flags)
{
	char window[4096];
	ssize_t n = getrandom(window, min_u64(bytes, sizeof(window)), flags);

	if (n < 0)
		return -errno;
	n -= (ssize_t)copy_to_user(t->mm, to, window, (size_t)n);
	return n ? n : -EFAULT;
}

static int64_t sys_getrandom(struct task *t, const uint64_t a[6])
{
	const unsigned int known = GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE;
	uint64_t bytes = min_u64(a[1], INT_MAX), done = 0;
	unsigned int flags = (unsigned int)a[2];
	int64_t n;

	if ((flags & ~known) || (flags & (GRND_RANDOM | GRND_INSECURE)) == (GRND_RANDOM | GRND_INSECURE))
		return -EINVAL;
	while (done < bytes) {
		n = random_window(t, a[0] + done, bytes - done, flags);
		if (n == -EINTR && !task_interrupted(t))
			continue;
		if (n < 0)
			return done ? (int64_t)done : n;
		done += (uint64_t)n;
		if (task_interrupted(t))
			break;
	}
	return (int64_t)done;
}

const struct syscall_entry sys_proc_calls[] = {
	SYSCALL_ENTRY(exit),
	SYSCALL_ENTRY(exit_group),
	SYSCALL_ENTRY(arch_prctl),
	SYSCALL_ENTRY(set_tid_address),
	SYSCALL_ENTRY(set_robust_list),
	SYSCALL_ENTRY(get_robust_list),
	SYSCALL_ENTRY(personality),
	SYSCALL_ENTRY(futex),
	SYSCALL_ENTRY(futex_waitv),
	SYSCALL_ENTRY(getrlimit),
	SYSCALL_ENTRY(setrlimit),
	SYSCALL_ENTRY(prlimit64),
	SYSCALL_ENTRY(getrusage),
	SYSCALL_ENTRY(times),
	SYSCALL_ENTRY(sysinfo),
	SYSCALL_ENTRY(uname),
	SYSCALL_ENTRY(getrandom),
	{0},
};
