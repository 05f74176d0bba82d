/* SPDX-License-Identifier: MIT */
/*
 * same_sweep_processes.c - the calls on processes and their numbers, with every interesting argument.
 */
#include <linux/sched.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "sweep.h"

static const struct rlimit limit = {100, 200}, inverted = {200, 100}, all = {RLIM_INFINITY, RLIM_INFINITY};
static const struct sweep_value limits[] = {
	{"limit", (uintptr_t)&limit}, {"NULL", 0}, {"hole", AT_HOLE}, {"inverted", (uintptr_t)&inverted},
	{"all", (uintptr_t)&all},
};
static const struct clone_args
	bad_signal = {.exit_signal = 65},
	big_signal = {.exit_signal = 256}, detached = {.flags = CLONE_DETACHED, .exit_signal = SIGCHLD},
	thread = {.flags = CLONE_THREAD}, sighand = {.flags = CLONE_SIGHAND},
	stack_alone = {.stack = AT_RW, .exit_signal = SIGCHLD},
	size_alone = {.stack_size = 4096, .exit_signal = SIGCHLD},
	signal_thread = {.flags = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM, .exit_signal = SIGCHLD},
	unknown = {.flags = 1ull << 40, .exit_signal = SIGCHLD},
	low_bits = {.flags = 1, .exit_signal = SIGCHLD},
	clear = {.flags = CLONE_CLEAR_SIGHAND | CLONE_SIGHAND | CLONE_VM, .exit_signal = SIGCHLD},
	newns_fs = {.flags = CLONE_NEWNS | CLONE_FS, .exit_signal = SIGCHLD},
	newns = {.flags = CLONE_NEWNS, .exit_signal = SIGCHLD},
	tid_size = {.set_tid_size = 1, .exit_signal = SIGCHLD},
	tid_many = {.set_tid = AT_RW, .set_tid_size = 33, .exit_signal = SIGCHLD},
	tid_zero = {.set_tid = AT_RW, .set_tid_size = 1, .exit_signal = SIGCHLD},
	into_cgroup = {.flags = CLONE_INTO_CGROUP, .cgroup = 150, .exit_signal = SIGCHLD},
	pidfd_parent = {.flags = CLONE_PIDFD | CLONE_PARENT_SETTID, .exit_signal = SIGCHLD, .pidfd = AT_HOLE};
#define A(name)                         \
	{                               \
#name, (uintptr_t)&name \
	}
static const struct sweep_value clones[] = {
	A(bad_signal),	A(big_signal),	A(detached),	  A(thread),   A(sighand),
	A(stack_alone), A(size_alone),	A(signal_thread), A(unknown),  A(low_bits),
	A(clear),	A(newns_fs),	A(newns),	  A(tid_size), A(tid_many),
	A(tid_zero),	A(into_cgroup), A(pidfd_parent),  {"NULL", 0}, {"hole", AT_HOLE},
};
static const struct sweep_value clone_sizes[] = {
	{"88", 88}, {"0", 0}, {"63", 63}, {"64", 64}, {"80", 80}, {"4097", 4097}, {"-1", -1ul},
};
/* What clone refuses. */
static const struct sweep_value refused[] = {
	{"sighand", CLONE_SIGHAND | SIGCHLD},
	{"thread", CLONE_THREAD | SIGCHLD},
	{"thread, sighand", CLONE_THREAD | CLONE_SIGHAND | SIGCHLD},
	{"fs and namespace", CLONE_FS | CLONE_NEWNS | SIGCHLD},
	{"namespace", CLONE_NEWNS | SIGCHLD},
	{"newpid, thread", CLONE_NEWPID | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM},
	{"sysvsem, newipc", CLONE_NEWIPC | CLONE_SYSVSEM | SIGCHLD},
	{"pidfd, detached", CLONE_PIDFD | CLONE_DETACHED | SIGCHLD},
	{"pidfd, parent", CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD},
	{"uts", CLONE_NEWUTS | SIGCHLD},
	{"net", CLONE_NEWNET | SIGCHLD},
};
static const struct sched_attr_v {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
} other = {48, 0, 0, 5, 0, 0, 0, 0}, batch = {48, 3, 0, 0, 0, 0, 0, 0}, idle = {48, 5, 0, 0, 0, 0, 0, 0},
  fifo = {48, 1, 0, 0, 1, 0, 0, 0}, fifo_zero = {48, 1, 0, 0, 0, 0, 0, 0},
  other_one = {48, 0, 0, 0, 1, 0, 0, 0}, policy_9 = {48, 9, 0, 0, 0, 0, 0, 0},
  small = {47, 0, 0, 0, 0, 0, 0, 0}, nothing = {0, 0, 0, 0, 0, 0, 0, 0}, flag = {48, 0, 0x100, 0, 0, 0, 0, 0},
  reset = {48, 0, 1, 0, 0, 0, 0, 0}, keep = {48, 0, 8, 0, 0, 0, 0, 0},
  deadline = {48, 6, 0, 0, 0, 1 << 20, 2 << 20, 2 << 20};
static const struct sweep_value attrs[] = {
	A(other),   A(batch), A(idle),	A(fifo), A(fifo_zero), A(other_one), A(policy_9),	A(small),
	A(nothing), A(flag),  A(reset), A(keep), A(deadline),  {"NULL", 0},  {"hole", AT_HOLE},
};
static const struct sweep_value attr_sizes[] = {
	{"48", 48}, {"0", 0}, {"47", 47}, {"56", 56}, {"49", 49}, {"64", 64}, {"4096", 4096}, {"4097", 4097},
};
static const int zero, one_priority = 1, minus = -1, hundred = 100;
static const struct sweep_value priorities[] = {
	A(zero), A(one_priority), A(minus), A(hundred), {"NULL", 0}, {"hole", AT_HOLE},
};
static const struct sweep_value prctls[] = {
	{"DUMPABLE", PR_GET_DUMPABLE},
	{"-1", -1ul},
	{"PDEATHSIG", PR_SET_PDEATHSIG},
	{"GET_PDEATHSIG", PR_GET_PDEATHSIG},
	{"SET_DUMPABLE", PR_SET_DUMPABLE},
	{"GET_KEEPCAPS", PR_GET_KEEPCAPS},
	{"SET_KEEPCAPS", PR_SET_KEEPCAPS},
	{"GET_NAME", PR_GET_NAME},
	{"SET_NAME", PR_SET_NAME},
	{"CAPBSET_READ", PR_CAPBSET_READ},
	{"CAPBSET_DROP", PR_CAPBSET_DROP},
	{"GET_SECUREBITS", PR_GET_SECUREBITS},
	{"TIMERSLACK", PR_SET_TIMERSLACK},
	{"GET_TSC", PR_GET_TSC},
	{"NO_NEW_PRIVS", PR_SET_NO_NEW_PRIVS},
	{"GET_NO_NEW_PRIVS", PR_GET_NO_NEW_PRIVS},
	{"CHILD_SUBREAPER", PR_SET_CHILD_SUBREAPER},
	{"GET_CHILD_SUBREAPER", PR_GET_CHILD_SUBREAPER},
	{"GET_TID_ADDRESS", PR_GET_TID_ADDRESS},
	{"SET_THP", PR_SET_THP_DISABLE},
	{"GET_THP", PR_GET_THP_DISABLE},
	{"CAP_AMBIENT", PR_CAP_AMBIENT},
	{"GET_TIMING", PR_GET_TIMING},
	{"SET_TIMING", PR_SET_TIMING},
	{"GET_UNALIGN", PR_GET_UNALIGN},
	{"GET_ENDIAN", PR_GET_ENDIAN},
	{"GET_FPEMU", PR_GET_FPEMU},
	{"MCE_KILL_GET", PR_MCE_KILL_GET},
	{"GET_IO_FLUSHER", PR_GET_IO_FLUSHER},
};
static const struct sweep_value ids[] = {
	{"0", 0}, {"-1", -1ul}, {"1", 1}, {"1000", 1000}, {"-2", -2ul},
};
static const struct sweep_value caps[] = {
	{"0", 0},
	{"-1", -1ul},
	{"1000", 1000},
	{"63", 63},
};
static const struct sweep_value who[] = {
	{"0", 0},
	{"huge", INT_MAX},
	{"min", (uint64_t)INT_MIN},
};
static const struct {
	uint32_t version;
	int pid;
} v1 = {0x19980330, 0}, v2 = {0x20071026, 0}, v3 = {0x20080522, 0}, v0 = {0, 0},
  v3_other = {0x20080522, INT_MAX}, v3_bad = {0x20080522, -1};
static const struct sweep_value headers[] = {
	A(v3), A(v0), A(v1), A(v2), A(v3_other), A(v3_bad), {"NULL", 0}, {"hole", AT_HOLE}, {"ro", AT_RO},
};
static const char *const no_args[] = {"x", NULL};
static const struct sweep_value groups_n[] = {
	{"0", 0}, {"-1", -1ul}, {"1", 1}, {"32", 32}, {"65537", 65537},
};
static const struct sweep_value bodies[] = {
	{"0", 0}, {"8", 8}, {"1", 1}, {"7", 7}, {"24", 24}, {"-1", -1ul},
};

/* But user namespaces, which the sandbox has not. */
static const struct sweep_value unshared[] = {
	{"0", 0},
	{"files", CLONE_FILES},
	{"fs", CLONE_FS},
	{"sem", CLONE_SYSVSEM},
	{"vm", CLONE_VM},
	{"sighand", CLONE_SIGHAND},
	{"thread", CLONE_THREAD},
	{"ns", CLONE_NEWNS},
	{"uts", CLONE_NEWUTS},
	{"ipc", CLONE_NEWIPC},
	{"net", CLONE_NEWNET},
	{"pid", CLONE_NEWPID},
	{"1", 1},
	{"parent", CLONE_PARENT},
	{"-1", -1ul},
};
/* What the call asks about before the process's user: others of that are not the test's. */
static const struct sweep_value whiches[] = {
	{"process", PRIO_PROCESS}, {"-1", -1ul}, {"group", PRIO_PGRP}, {"3", 3}, {"7", 7},
};

static const struct sweep_call calls[] = {
	CALL(clone, CHANGES, WITH(refused, CLONE_SIGHAND | SIGCHLD), ONLY(0), ONLY(0), ONLY(0), ONLY(0)),
	CALL(clone3, CHANGES, WITH(clones, &bad_signal), WITH(clone_sizes, 88)),
	CALL(wait4, CHANGES, PID, OUT, BITS(WNOHANG), OUT),
	CALL(waitid, CHANGES, INT(P_ALL), ONLY(0), OUT, BITS(WNOHANG | WEXITED), OUT),
	CALL(waitid, CHANGES, ONLY(P_PID), PID, OUT, ONLY(WNOHANG | WEXITED), OUT),
	CALL(waitid, CHANGES, ONLY(P_PIDFD), FD_OF(FD_PIDFD), OUT, ONLY(WNOHANG | WEXITED), OUT),
	CALL(execve, CHANGES, PATH_OF(1), IN(no_args), IN(no_args)),
	CALL(execve, CHANGES, PATH_OF(30), WITH(limits, -1ul), ONLY(0)),
	CALL(execveat, CHANGES, DIRFD, PATH_OF(1), IN(no_args), IN(no_args), BITS(0)),
	CALL(getpgid, CHANGES, PID),
	CALL(getsid, CHANGES, PID),
	CALL(setpgid, CHANGES, PID, PID),
	CALL(setsid, CHANGES, ONLY(0)),
	CALL(getpriority, CHANGES, WITH(whiches, 0), WITH(who, 0)),
	CALL(setpriority, CHANGES, ONLY(PRIO_PROCESS), WITH(who, 0), INT(5)),
	CALL(setpriority, CHANGES, ONLY(7), WITH(who, 0), ONLY(0)),
	CALL(sched_getscheduler, CHANGES | VALUE, PID),
	CALL(sched_setscheduler, CHANGES, PID, INT(0), WITH(priorities, &zero)),
	CALL(sched_getparam, CHANGES, PID, OUT),
	CALL(sched_setparam, CHANGES, PID, WITH(priorities, &zero)),
	CALL(sched_get_priority_max, VALUE, INT(0)),
	CALL(sched_get_priority_min, VALUE, INT(0)),
	CALL(sched_rr_get_interval, CHANGES, PID, OUT),
	CALL(sched_getaffinity, CHANGES, PID, WITH(bodies, 8), OUT),
	CALL(sched_setaffinity, CHANGES, PID, WITH(bodies, 8), OUT),
	CALL(sched_setattr, CHANGES, PID, WITH(attrs, &other), BITS(0)),
	CALL(sched_getattr, CHANGES, PID, OUT, WITH(attr_sizes, 48), BITS(0)),
	CALL(getrlimit, 0, INT(7), OUT),
	CALL(setrlimit, CHANGES, INT(4), WITH(limits, &limit)),
	CALL(prlimit64, CHANGES, PID, INT(4), WITH(limits, &limit), OUT),
	CALL(getrusage, 0, INT(0), OUT),
	CALL(times, 0, OUT),
	CALL(getcpu, 0, OUT, OUT, OUT),
	CALL(prctl, CHANGES, WITH(prctls, PR_GET_DUMPABLE), INT(0), INT(0), INT(0), INT(0)),
	CALL(prctl, CHANGES | VALUE, ONLY(PR_SET_PDEATHSIG), INT(0)),
	CALL(prctl, CHANGES | VALUE, ONLY(PR_SET_DUMPABLE), INT(0)),
	CALL(prctl, CHANGES | VALUE, ONLY(PR_CAPBSET_READ), WITH(caps, 1000)),
	CALL(prctl, CHANGES | VALUE, ONLY(PR_SET_NO_NEW_PRIVS), INT(1), INT(0), INT(0), INT(0)),
	CALL(prctl, CHANGES, ONLY(PR_SET_NAME), OUT),
	CALL(prctl, CHANGES, ONLY(PR_GET_NAME), OUT),
	CALL(arch_prctl, CHANGES, INT(0x1003), OUT),
	CALL(arch_prctl, CHANGES, ONLY(0x1012), INT(0)),
	CALL(personality, CHANGES | VALUE, ONLY(0xffffffff)),
	CALL(capget, 0, WITH(headers, &v3), OUT),
	CALL(capset, CHANGES, WITH(headers, &v3), OUT),
	CALL(setuid, CHANGES, WITH(ids, 0)),
	CALL(setgid, CHANGES, WITH(ids, 0)),
	CALL(setreuid, CHANGES, WITH(ids, 0), WITH(ids, 0)),
	CALL(setregid, CHANGES, WITH(ids, 0), WITH(ids, 0)),
	CALL(setresuid, CHANGES, WITH(ids, 0), WITH(ids, 0), WITH(ids, 0)),
	CALL(setresgid, CHANGES, WITH(ids, 0), WITH(ids, 0), WITH(ids, 0)),
	CALL(setfsuid, CHANGES | VALUE, WITH(ids, 0)),
	CALL(setfsgid, CHANGES | VALUE, WITH(ids, 0)),
	CALL(getresuid, 0, OUT, OUT, OUT),
	CALL(getgroups, CHANGES, WITH(groups_n, 0), OUT),
	CALL(setgroups, CHANGES, WITH(groups_n, 0), OUT),
	CALL(uname, 0, OUT),
	CALL(sysinfo, 0, OUT),
	CALL(sethostname, CHANGES, IN("x"), INT(1)),
	CALL(setdomainname, CHANGES, IN("x"), INT(1)),
	CALL(getrandom, VALUE, OUT, ONLY(16), BITS(0)),
	CALL(pidfd_open, CHANGES, PID, BITS(0)),
	CALL(pidfd_send_signal, FRESH, FD_OF(FD_PIDFD), SIGNAL(0), IN(0), BITS(0)),
	CALL(set_tid_address, 0, ONLY(AT_RW)),
	CALL(set_robust_list, CHANGES, OUT, SIZE_OF(24)),
	CALL(get_robust_list, CHANGES, PID, OUT, OUT),
	CALL(unshare, CHANGES, WITH(unshared, 0)),
	CALL(setns, CHANGES, FD, BITS(0)),
	CALL(reboot, CHANGES, INT(0), INT(0), INT(0), OUT),
	CALL(vhangup, CHANGES, ONLY(0)),
	CALL(syslog, 0, INT(10), OUT, INT(0)),
};

int main(int argc, char **argv)
{
	return sweep_main(argc, argv, calls, ARRAY_SIZE(calls));
}
