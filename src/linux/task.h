/* SPDX-License-Identifier: MIT */
/*
 * task.h - a guest program as Linux shows it: a process and its (one) thread.
 *
 * Locking: a task is its own thread's; what other threads may touch is atomic and says so.
 */
#ifndef LODGE_LINUX_TASK_H
#define LODGE_LINUX_TASK_H

#include <sys/resource.h>

#include "../vmm/vcpu.h"
#include "files.h"
#include "signal.h"

#define NR_SYSCALLS 512

/* A limit that the guest has set itself; without `set` it has its first value (sys_proc.c). */
struct task_rlimit {
	bool set;
	struct rlimit value;
};

struct task;
struct exec_result;
struct hostfile_table;

/* Where a line for the user goes. */
struct log_hook {
	void (*fn)(void *ctx, const char *line);
	void *ctx;
};

struct task {
	struct mm *mm;
	struct vm *vm;
	struct vcpu *vcpu;
	struct cpu_regs regs;
	struct files files; /* descriptors, working directory, what may be written */
	struct sigstate sig;
	int pid;
	struct task_rlimit rlimit[RLIM_NLIMITS];
	gva_t clear_child_tid, robust_list;
	char comm[16];
	int oom_score_adj;
	char *exe_path;	    /* host path of the program, absolute; owned */
	uint64_t start_ns;  /* CLOCK_MONOTONIC when it began to run */
	unsigned int trace; /* enum lodge_trace */
	struct log_hook log;
	bool aslr;
	struct hostfile_table *hostfiles; /* (C) files as backings of mappings; the host's */

	/* How it ended. */
	bool exited;
	int exit_status;     /* 0..255 */
	int exit_signal;     /* 0: exited by itself */
	uint64_t syscall_nr; /* rax as the last SYSCALL found it */
	bool restart_syscall; /* the call was interrupted before it did anything: run it again (signal_deliver does) */
	_Atomic int kill_signal;   /* (A) set by task_kill from any thread */
	pthread_mutex_t kill_lock; /* held: a task that is running stays so, and thread and vcpu are its */
	_Atomic bool running;	   /* (A) inside task_run; changes under kill_lock */
	pthread_t thread;	   /* (kill_lock) valid while running */

	/* What it used, when it has ended. */
	struct vcpu_stats vcpu_stats;
	uint64_t wall_ns, cpu_ns; /* of its thread, from the first instruction to the last */

	_Atomic uint64_t nr_syscalls[NR_SYSCALLS]; /* (A) */
	_Atomic uint64_t nr_unknown;		   /* (A) calls answered -ENOSYS */
	_Atomic uint8_t unknown[NR_SYSCALLS];	   /* (A) 1: this number was answered -ENOSYS */
};

/* Takes over what a loaded program starts with. */
void task_start_program(struct task *t, const struct exec_result *program);

/* Runs the loaded program until it ended. 0, or -errno when there is no processor for it. */
int task_run(struct task *t);

/*
 * Asks for the end of the program by `signal`. Any thread. A request that arrives just before the task enters a blocking
 * call of the host does not wake it: ask again until kill_signal is 0 or the task is not running.
 */
void task_kill(struct task *t, int signal);

/* True when the task should stop what it is doing and look at kill_signal or its pending signals: a blocking call then
 * returns -EINTR. */
bool task_interrupted(struct task *t);

/* Ends the task: by exit_group(status), or by a signal whose default is to kill. */
void task_exit(struct task *t, int status);
void task_die(struct task *t, int signo);

/* One line to the log hook, printf style, cut at 512 bytes. */
void task_log(struct task *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
