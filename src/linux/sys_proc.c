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
#define TIMER_SLACK_NS	       50000

/* True when a pid argument means a task that is there. */
static bool exists(struct task *t, uint64_t pid)
{
	bool found;

	if ((int)pid == 0 || (int)pid == t->tid)
		return true;
	pthread_mutex_lock(&t->sandbox->lock);
	found = task_find(t->sandbox, (int)pid);
	pthread_mutex_unlock(&t->sandbox->lock);
	return found;
}

static int64_t put_u64(struct task *t, gva_t to, uint64_t value)
{
	return copy_to_user(t->mm, to, &value, sizeof(value)) ? -EFAULT : 0;
}

static int64_t put_u32(struct task *t, gva_t to, uint32_t value)
{
	return copy_to_user(t->mm, to, &value, sizeof(value)) ? -EFAULT : 0;
}

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

static int64_t set_name(struct task *t, gva_t from)
{
	char name[sizeof(t->comm)] = {0};
	int64_t len = strncpy_from_user(t->mm, name, from, sizeof(name) - 1);

	if (len == -EFAULT)
		return -EFAULT;
	if (len == -ENAMETOOLONG && copy_from_user(t->mm, name, from, sizeof(name) - 1))
		return -EFAULT;
	/* The copy may have read on behind the NUL. */
	memset(t->comm, 0, sizeof(t->comm));
	memcpy(t->comm, name, strnlen(name, sizeof(t->comm) - 1));
	return 0;
}

static int64_t get_name(struct task *t, gva_t to)
{
	return copy_to_user(t->mm, to, t->comm, sizeof(t->comm)) ? -EFAULT : 0;
}

static int64_t set_death_signal(struct task *t, uint64_t signo)
{
	if (signo > NR_SIGNALS)
		return -EINVAL;
	pthread_mutex_lock(&t->sandbox->lock);
	t->parent_death_signal = (int)signo;
	pthread_mutex_unlock(&t->sandbox->lock);
	return 0;
}

/* What a guest may ask of itself; no operation here changes more than its name. */
static int64_t sys_prctl(struct task *t, const uint64_t a[6])
{
	bool no_more = !a[2] && !a[3] && !a[4];

	switch ((int)a[0]) {
	case PR_SET_NAME:
		return set_name(t, a[1]);
	case PR_GET_NAME:
		return get_name(t, a[1]);
	case PR_GET_DUMPABLE:
		return 1;
	case PR_SET_PDEATHSIG:
		return set_death_signal(t, a[1]);
	case PR_GET_PDEATHSIG:
		return put_u32(t, a[1], (uint32_t)t->parent_death_signal);
	case PR_SET_NO_NEW_PRIVS: /* nothing it could do would give it any */
		return a[1] == 1 && no_more ? 0 : -EINVAL;
	case PR_GET_NO_NEW_PRIVS:
		return !a[1] && no_more ? 1 : -EINVAL;
	case PR_GET_TIMERSLACK:
		return TIMER_SLACK_NS;
	case PR_GET_TID_ADDRESS:
		return put_u64(t, a[1], t->clear_child_tid);
	default:
		return -EINVAL;
	}
}

static int64_t sys_futex(struct task *t, const uint64_t a[6])
{
	return futex_call(t, a);
}

static int64_t sys_futex_waitv(struct task *t, const uint64_t a[6])
{
	return futex_waitv_call(t, a);
}

/* --- who it is ------------------------------------------------------------------------------- */

static int64_t sys_getuid(struct task *t, const uint64_t a[6])
{
	(void)t;
	(void)a;
	return getuid();
}

static int64_t sys_geteuid(struct task *t, const uint64_t a[6])
{
	return sys_getuid(t, a);
}

static int64_t sys_getgid(struct task *t, const uint64_t a[6])
{
	(void)t;
	(void)a;
	return getgid();
}

static int64_t sys_getegid(struct task *t, const uint64_t a[6])
{
	return sys_getgid(t, a);
}

static int64_t put_three_ids(struct task *t, const uint64_t a[6], uint32_t id)
{
	for (unsigned int i = 0; i < 3; i++)
		if (put_u32(t, a[i], id))
			return -EFAULT;
	return 0;
}

static int64_t sys_getresuid(struct task *t, const uint64_t a[6])
{
	return put_three_ids(t, a, getuid());
}

static int64_t sys_getresgid(struct task *t, const uint64_t a[6])
{
	return put_three_ids(t, a, getgid());
}

/* To become who one is already is allowed; -1, where a call takes it, means the same. */
static int64_t set_ids(const uint64_t *ids, unsigned int nr, uint32_t own, bool keep)
{
	for (unsigned int i = 0; i < nr; i++) {
		uint32_t id = (uint32_t)ids[i];

		if (id == ~0u && !keep)
			return -EINVAL;
		if (id != own && id != ~0u)
			return -EPERM;
	}
	return 0;
}

static int64_t sys_setuid(struct task *t, const uint64_t a[6])
{
	(void)t;
	return set_ids(a, 1, getuid(), false);
}

static int64_t sys_setgid(struct task *t, const uint64_t a[6])
{
	(void)t;
	return set_ids(a, 1, getgid(), false);
}

static int64_t sys_setreuid(struct task *t, const uint64_t a[6])
{
	(void)t;
	return set_ids(a, 2, getuid(), true);
}

static int64_t sys_setregid(struct task *t, const uint64_t a[6])
{
	(void)t;
	return set_ids(a, 2, getgid(), true);
}

static int64_t sys_setresuid(struct task *t, const uint64_t a[6])
{
	(void)t;
	return set_ids(a, 3, getuid(), true);
}

static int64_t sys_setresgid(struct task *t, const uint64_t a[6])
{
	(void)t;
	return set_ids(a, 3, getgid(), true);
}

static int64_t sys_getgroups(struct task *t, const uint64_t a[6])
{
	gid_t groups[1024];
	int room = (int)a[0];
	int nr = getgroups(ARRAY_SIZE(groups), groups);

	if (room < 0 || nr < 0)
		return -EINVAL;
	if (!room)
		return nr;
	if (room < nr)
		return -EINVAL;
	return copy_to_user(t->mm, a[1], groups, (size_t)nr * sizeof(groups[0])) ? -EFAULT : nr;
}

static int64_t sys_setgroups(struct task *t, const uint64_t a[6])
{
	(void)t;
	(void)a;
	return -EPERM;
}

/* Reads the header: the number of 32-bit sets that the version has, or -errno. */
static int capability_sets(struct task *t, const uint64_t a[6])
{
	struct __user_cap_header_struct header;

	if (copy_from_user(t->mm, &header, a[0], sizeof(header)))
		return -EFAULT;
	switch (header.version) {
	case _LINUX_CAPABILITY_VERSION_1:
		return header.pid < 0 ? -EINVAL : exists(t, (uint64_t)header.pid) ? 1 : -ESRCH;
	case _LINUX_CAPABILITY_VERSION_2:
	case _LINUX_CAPABILITY_VERSION_3:
		return header.pid < 0 ? -EINVAL : exists(t, (uint64_t)header.pid) ? 2 : -ESRCH;
	default:
		if (put_u32(t, a[0], _LINUX_CAPABILITY_VERSION_3))
			return -EFAULT;
		return a[1] ? -EINVAL : 0;
	}
}

static int64_t sys_capget(struct task *t, const uint64_t a[6])
{
	struct __user_cap_data_struct none[2] = {0};
	int sets = capability_sets(t, a);

	if (sets <= 0 || !a[1])
		return sets < 0 ? sets : 0;
	return copy_to_user(t->mm, a[1], none, (size_t)sets * sizeof(none[0])) ? -EFAULT : 0;
}

static int64_t sys_capset(struct task *t, const uint64_t a[6])
{
	struct __user_cap_data_struct wanted[2] = {0};
	int sets = capability_sets(t, a);

	if (sets <= 0)
		return sets < 0 ? sets : -EINVAL;
	if (copy_from_user(t->mm, wanted, a[1], (size_t)sets * sizeof(wanted[0])))
		return -EFAULT;
	for (int i = 0; i < sets; i++)
		if (wanted[i].effective | wanted[i].permitted | wanted[i].inheritable)
			return -EPERM;
	return 0;
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
	if (!exists(t, a[0]))
		return -ESRCH;
	if (which >= RLIM_NLIMITS)
		return -EINVAL;
	old = rlimit_get(t, which);
	err = a[2] ? rlimit_set(t, which, &new) : 0;
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
	SYSCALL_ENTRY(prctl),
	SYSCALL_ENTRY(personality),
	SYSCALL_ENTRY(futex),
	SYSCALL_ENTRY(futex_waitv),
	SYSCALL_ENTRY(getuid),
	SYSCALL_ENTRY(geteuid),
	SYSCALL_ENTRY(getgid),
	SYSCALL_ENTRY(getegid),
	SYSCALL_ENTRY(getresuid),
	SYSCALL_ENTRY(getresgid),
	SYSCALL_ENTRY(setuid),
	SYSCALL_ENTRY(setgid),
	SYSCALL_ENTRY(setreuid),
	SYSCALL_ENTRY(setregid),
	SYSCALL_ENTRY(setresuid),
	SYSCALL_ENTRY(setresgid),
	SYSCALL_ENTRY(getgroups),
	SYSCALL_ENTRY(setgroups),
	SYSCALL_ENTRY(capget),
	SYSCALL_ENTRY(capset),
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
