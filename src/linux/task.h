/* SPDX-License-Identifier: MIT */
/*
 * task.h - a thread of a guest program: its registers, its signals, and what it shares with others.
 *
 * A task runs on one thread of the host with one processor of the machine, from its clone to its exit. What Linux lets
 * tasks share is a pointer here, with references: space, descriptors, working directory, signal handlers. What all threads of
 * a process have in common is in struct process.
 *
 * Locking: a task is its own thread's, except for what is marked (P): sandbox->lock, and what is atomic.
 */
#ifndef LODGE_LINUX_TASK_H
#define LODGE_LINUX_TASK_H

#include <sched.h>
#include <sys/resource.h>

#include "../vmm/vcpu.h"
#include "cred.h"
#include "files.h"
#include "process.h"
#include "seccomp.h"
#include "signal.h"

struct exec_result;
struct hostfile_table;
struct shm_ns;
struct vdso;

/* Where a line for the user goes. */
struct log_hook {
	void (*fn)(void *ctx, const char *line);
	void *ctx;
};

/* Bits of task->attention: why a task should look up from what it does. */
#define ATTENTION_KILLED 1u /* its process ends, or another thread of it has called execve */
#define ATTENTION_SIGNAL 2u /* a signal may be there for it */
#define ATTENTION_STOP	 4u /* its process is to stop */
#define ATTENTION_PAUSE	 8u /* somebody wants the sandbox to stand still: pause.h */

/* What becomes of a call that was interrupted before it did anything: signal_deliver sees to it. */
enum task_restart {
	RESTART_NOT,
	RESTART_CALL,	    /* it runs again; where a handler came, only with SA_RESTART */
	RESTART_ALWAYS,	    /* it runs again, after the handler if one came */
	RESTART_NO_HANDLER, /* it runs again; where a handler came, it fails */
	RESTART_BLOCK,	    /* the same, with what is left of its time: restart_syscall(2) */
};

/* How a call goes on that RESTART_BLOCK interrupted. */
struct restart_block {
	int64_t (*fn)(struct task *t, const struct restart_block *b); /* NULL: there is none */
	struct timespec deadline;				      /* on `clock` */
	clockid_t clock;
	uint64_t arg[4]; /* fn's own */
};

/* A parent that waits for its vfork child to let go of the space. */
struct vfork_wait {
	struct task *parent;
	struct task *child; /* (P) there until it is done, in its process or not any more */
	bool done;	    /* (P) */
};

struct task {
	struct mm *mm; /* one reference */
	struct vm *vm;
	struct vcpu *vcpu;
	struct cpu_regs regs;
	void *xsave; /* of a task that has not run yet: the vector state that it begins with, owned; NULL: a new program's */
	size_t xsave_bytes;
	struct files *files;	 /* (P) to change; one reference. NULL at its end */
	struct fs *fs;		 /* one reference */
	struct sighand *sighand; /* one reference */
	struct process *process; /* (C) */
	struct sandbox *sandbox; /* (C) */
	struct sigstate sig;
	struct cred cred;	 /* (P) to change */
	struct seccomp seccomp;	 /* (P) */
	uint64_t timer_slack_ns; /* as set; 0: never. A thread begins with what its maker had */
	int pid;		 /* (C) of the process */
	int tid;		 /* (P) to change; exec gives it the number of its process */
	gva_t clear_child_tid, set_child_tid, robust_list;
	char comm[16];	    /* (P) task_get_comm */
	unsigned int trace; /* enum lodge_trace */
	struct log_hook log;
	bool aslr;
	uint32_t personality;		  /* as personality() has it; what mmap and exec make of it */
	struct shm_ns *shm;		  /* (C) System V segments; of all spaces that belong together */
	struct hostfile_table *hostfiles; /* (C) files as backings of mappings; the host's */
	struct vdso *vdso;		  /* (C) the host's, or NULL */
	int parent_death_signal;	  /* (P) */
	struct vfork_wait *vfork;	  /* (P) who waits for this task's exec or exit */

	/* How it ended. */
	_Atomic bool exited;	    /* (A) set by itself */
	int exit_code;		    /* as wait4 tells it: status << 8, or the signal */
	uint64_t syscall_nr;	    /* rax as the last SYSCALL found it */
	bool call_may_fail;	    /* in a system call that can return ENOMEM */
	bool call_failed;	    /* and has to */
	unsigned int oom_attempts;  /* faults that found no memory, in a row */
	unsigned int nr_thrashings; /* and that took the last of it */
	enum task_restart restart;  /* of the call that just ended with -EINTR */
	struct restart_block restart_block;

	struct list_head thread_node; /* (P) in process->threads */
	_Atomic uint32_t attention;   /* (A) ATTENTION_; set under sandbox->lock */
	_Atomic uint32_t event;	      /* (A) the word that a sleeping task waits on (sleep.h) */
	bool running;		      /* (P) its vcpu is its own and may be kicked */
	bool parked;		      /* (P) stands still until the pause is over */
	pthread_t thread;	      /* (P) valid while running */
	int host_tid;		      /* (P) likewise; 0: it never ran */
	int traps;		      /* of sandbox->traps, what its processor was told last */
	bool has_mask;		      /* it begins on these processors; false: on those of its host thread */
	cpu_set_t mask;
	int nice;		    /* (P) without effect on the host */
	int sched_policy;	    /* (P) as sched_getscheduler tells it */
	uint16_t ioprio;	    /* (P) as ioprio_get tells it; 0: none was set */
	struct rusage usage_before; /* of its host thread when it began */
	uint64_t cpu_before_ns;	    /* processor time of its host thread then */
	int64_t cpu_more_ns;	    /* (P) what vcpu_more_cpu_ns said at its end */
	bool watched;		    /* (P) of a copy: what vcpu_is_watched said */
	struct files_holds holds;
};

/* Takes over what a loaded program starts with. */
void task_start_program(struct task *t, const struct exec_result *program);

/*
 * Runs a task that stands in its process, on the calling thread and on t->vcpu, until it ended, and takes it out of its process.
 * The task is freed, unless it is the sandbox's first.
 */
void task_run(struct task *t);

/* True when the task should stop what it is doing and look at its attention: a blocking call then returns -EINTR. */
static inline bool task_interrupted(struct task *t)
{
	return t->exited || atomic_load(&t->attention);
}

/* -EINTR for a call that goes on with fn and these arguments when no handler comes. */
int64_t task_restart_with(struct task *t, const struct restart_block *b);

/* True when it will not return to the guest. */
static inline bool task_dying(struct task *t)
{
	return t->exited || (atomic_load(&t->attention) & ATTENTION_KILLED);
}

/* A child runs where its parent may, by its parent's policy. On the parent's thread. */
void task_inherit_processors(struct task *child, const struct task *parent);

/* Sets bits of its attention and makes it look, wherever it is. Under sandbox->lock. */
void task_kick(struct task *t, uint32_t attention);

/* Wakes it where it sleeps (sleep.h), so that it looks at what it waits for. Under a lock that keeps it from ending. */
void task_wake(struct task *t);

/* Before its space goes: exit or exec. Tells who waits for the memory: joiners, owners of robust locks, a vfork parent. */
void task_release_space(struct task *t);

/* Ends the task: by exit(status); with all of its process by exit_group(status) or a signal whose default is to kill. */
void task_exit(struct task *t, int status);
void task_exit_group(struct task *t, int status);
void task_die(struct task *t, int signo);

/* What its program used beyond the processor time of its host thread. Under sandbox->lock, or its own. */
static inline int64_t task_more_cpu_ns(const struct task *t)
{
	return t->vcpu ? vcpu_more_cpu_ns(t->vcpu) : t->cpu_more_ns;
}

/* The processor time and faults of the calling task so far. */
void task_usage(struct task *t, struct rusage *usage);

/* One line to the log hook, printf style, cut at 512 bytes. */
void task_log(struct task *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
