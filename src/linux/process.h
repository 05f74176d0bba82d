/* SPDX-License-Identifier: MIT */
/*
 * process.h - the processes of a sandbox: who is whose child, in which group and session, and how they ended.
 *
 * A sandbox is what one program and all that it starts live in: a pid namespace, in Linux's words. Its numbers begin with the
 * first process's. Orphans go to process 1, which is no program: it forgets them when they end. When the first process has
 * ended all others are killed.
 *
 *   P1  a process is on sandbox->processes from its clone until its parent (or the end of the sandbox) has taken its exit code
 *   P2  it is a zombie exactly when it has no threads; its parent sees that when the last of them has given its memory back
 *   P3  a process, task or sigqueue is reached by others only under sandbox->lock
 * Locking: sandbox->lock for all that is marked (P). It is taken by calls that change processes or signals, never while
 * guest memory is touched. Inside it: nothing but sleep words.
 */
#ifndef LODGE_LINUX_PROCESS_H
#define LODGE_LINUX_PROCESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "../../include/lodge.h"
#include "../mm/list.h"
#include "../vmm/vcpu.h"
#include "identity.h"
#include "notice.h"
#include "oom.h"
#include "pause.h"
#include "pressure.h"
#include "signal.h"
#include "timers.h"
#include "view.h"

#define NR_SYSCALLS	     512
#define DEFAULT_MAX_PIDS     512
#define FIRST_ORPHANS_PARENT 1 /* the number of process 1 */

struct aio_ns;
struct task;
struct tty;
struct sandbox;
struct ipc_ns;
struct sockets;
struct vdso;
struct worker;

/* A limit that the guest has set itself; without `set` it has its first value (rlimit.c). */
struct task_rlimit {
	bool set;
	struct rlimit value;
};

struct process {
	struct sandbox *sandbox;   /* (C) */
	int pid;		   /* (C) */
	uint64_t serial;	   /* (C) never used twice, as numbers are */
	int pgid, sid;		   /* (P) */
	struct tty *tty;	   /* (P) its session's terminal, or NULL */
	int tty_old_pgid;	   /* (P) of a leader whose terminal hung up: the group that was in front */
	struct process *parent;	   /* (P) NULL: process 1 and the first */
	struct list_head children; /* (P) by sibling */
	struct list_head sibling;  /* (P) */
	struct list_head node;	   /* (P) in sandbox->processes */
	struct list_head threads;  /* (P) tasks by thread_node, the oldest first */
	unsigned int nr_threads;   /* (P) */
	unsigned int nr_ending;	   /* (P) threads that were taken out and may still have memory */
	struct sigqueue pending;   /* (P) signals for whichever thread takes them */
	bool subreaper;		   /* (P) orphans among its descendants become its children */
	_Atomic bool not_dumpable; /* (A) as set; nothing is dumped anyway */
	uint32_t uid;		   /* (P) real number of the thread that ended last */
	int exit_signal;	   /* (P) what its end sends to the parent; 0: nothing */
	bool has_execed;	   /* (P) setpgid by the parent comes too late */
	bool group_exit;	   /* (P) exit_code is final, all threads are leaving */
	int exit_code;		   /* (P) of the leader, or of the group exit; as wait4 tells it */
	struct task *exec_task;	   /* (P) the thread that waits for all others to end */
	int stop_signal;	   /* (P) not 0: stopped by it */
	bool stop_told, cont_told; /* (P) a wait has seen the stop; or there is no continuation to see */
	struct rusage usage;	   /* (P) of threads that have ended */
	struct rusage children_usage; /* (P) of children that were waited for */
	struct task_rlimit rlimit[RLIM_NLIMITS];
	_Atomic uint32_t nr_open; /* (A) RLIMIT_NOFILE, as far as a table of files goes: see files_limit */
	struct timer itimer[NR_ITIMERS]; /* (P) by ITIMER_ */
	struct list_head timers;	 /* (P) struct posix_timer */
	int next_timer_id;		 /* (P) */
	uint64_t cpu_warned_s;		 /* (P) seconds of processor time at which SIGXCPU comes next */
	uint64_t cpu_ns;		 /* (P) processor time of threads that have ended */
	int oom_score_adj;		 /* (P) as procfs was told */
	char *exe_path;	   /* host path of the program, absolute; owned; set by the only thread */
	int exit_event;	   /* (P) an eventfd that is readable after the end, or -1: nobody has asked */
	uint64_t start_ns; /* (C) CLOCK_MONOTONIC */
};

/* Counts of all tasks of a sandbox. */
struct sandbox_counts {
	struct vcpu_stats vcpu;			   /* (P) of tasks that have ended */
	uint64_t wall_ns, cpu_ns;		   /* (P) */
	_Atomic uint64_t nr_syscalls[NR_SYSCALLS]; /* (A) */
	_Atomic uint64_t nr_unknown;		   /* (A) calls answered -ENOSYS */
	_Atomic uint8_t unknown[NR_SYSCALLS];	   /* (A) 1: this number was answered -ENOSYS */
};

struct sandbox {
	pthread_mutex_t lock;
	struct list_head processes;	 /* (P) all but process 1 */
	struct process orphans;		 /* process 1 */
	struct process *first;		 /* (C) */
	struct task *first_task;	 /* (C) it stays until the sandbox goes */
	struct mm *first_mm;		 /* (P) one reference: what reports speak of */
	unsigned int nr_tasks;		 /* (P) that stand in a process */
	_Atomic unsigned int nr_leaving; /* (A) tasks on their way out that may still have memory */
	unsigned int nr_busy;		 /* (P) workers that have one */
	unsigned int max_tasks;		 /* (C) */
	_Atomic int traps;		 /* (A) enum vcpu_traps that its tasks follow */
	bool patch;			 /* (C) call sites may be rewritten: patch.h */
	struct identity identity;	 /* (C) */
	int last_pid;			 /* (P) */
	_Atomic uint64_t last_serial;	 /* (A) */
	bool ending;			 /* (P) the first process has ended: no new tasks */
	struct sockets *sockets;	 /* (C) */
	struct ipc_ns *ipc;		 /* (C) semaphores and message queues */
	struct aio_ns *aio;		 /* (C) contexts of asynchronous I/O */
	bool masks_are_set;    /* (P) a task has chosen processors: children take over their parents' */
	struct list_head ttys; /* (P) */
	struct view *view;     /* (C) one reference, for reports */
	/* What stops the whole of lodge where the first process would stop, or NULL: it cannot be stopped. (C) */
	void (*on_stop)(void *ctx, int signo);
	void *on_stop_ctx;
	_Atomic uint32_t ended;	      /* (A) counts tasks that have ended: a word to wait on */
	struct list_head workers;     /* (P) idle ones */
	struct list_head all_workers; /* (P) */
	struct list_head signalfds;   /* (P) */
	struct pressure_monitor pressure;
	struct notices notices;
	/* pause.c */
	bool started;		      /* (P) its tasks run, or did */
	bool paused;		      /* (P) somebody wants them to stand still */
	pthread_cond_t pause_changed; /* (P) a task has come to stand, or all may go on */
	uint64_t pause_since_ns;      /* (P) when the last pause began */
	_Atomic uint64_t pause_ns;    /* (A) how long the last one took of a program that runs */
	struct pause_at pause_at;
	int caller_fds[3]; /* (C) what the first process got for 0, 1, 2; -1: nothing */
	/* timers.c */
	bool timers_run, timers_stop; /* (P) there is a thread; it is to end */
	pthread_t timers_thread;
	_Atomic uint32_t timers_event; /* (A) what it sleeps on */
	struct oom_policy oom;
	struct sandbox_counts counts;
};

/* Where a first task gets what it has from; see struct task. */
struct sandbox_setup {
	struct vm *vm;
	struct mm *mm; /* the reference is taken over with success */
	struct hostfile_table *hostfiles;
	struct vdso *vdso; /* NULL: programs get none */
	const int *fds;
	struct view_setup view;
	const char *cwd; /* see fs_create */
	enum lodge_net net;
	unsigned int max_pids; /* 0: the default */
	int first_pid;
	uint64_t ignored_signals; /* what the program begins with as ignored: bit n-1, signal n */
	const uint32_t *user;	  /* the uid and gid that who runs lodge is shown as, or NULL: his own */
};

/* A sandbox with a first process whose first_task is ready to be given a program. 0 or -errno; *bad: what could not be opened, or NULL. */
int sandbox_create(const struct sandbox_setup *setup, struct sandbox **result, const char **bad);

/*
 * Gives every task what it needs to run, and lets all but the first run; that is the caller's, if it has a processor then: it may have
 * ended before its threads. 0 or -errno, and none runs.
 */
int sandbox_start(struct sandbox *s);

/* Whether a task of it runs. */
bool sandbox_is_running(struct sandbox *s);

/* An empty one. NULL: no memory. */
struct sandbox *sandbox_new(enum lodge_net net, unsigned int max_pids);

/* Kills whatever runs but the caller, waits until it is gone, frees all. Nobody uses the sandbox any more. */
void sandbox_destroy(struct sandbox *s);

/* Kills all processes by `signo`. Any thread. */
void sandbox_kill(struct sandbox *s, int signo);

/* Asks the threads that are to end, and have been asked, once more: a kick may have been lost. True: some thread is busy still. */
bool sandbox_kick_dying(struct sandbox *s);

/* Waits until no task is left, asking those that are again and again. */
void sandbox_drain(struct sandbox *s);

/* Its name, which other threads of its process may change. */
void task_get_comm(const struct task *t, char comm[16]);

/* --- with sandbox->lock held ---------------------------------------------------------------- */

/* The process or NULL; zombies too. */
struct process *process_find(struct sandbox *s, int pid);
struct process *process_find_serial(struct sandbox *s, uint64_t serial);
/* The task of that number or NULL. */
struct task *task_find(struct sandbox *s, int tid);

bool process_is_zombie(const struct process *p);
/* A zombie whose memory is back: its parent may take it. */
bool process_has_ended(const struct process *p);

/* A new process, in nobody's list yet; or NULL. */
struct process *process_new(struct sandbox *s);
void process_free(struct process *p);

/*
 * Gives a task its number and puts it into its process; a process without threads becomes the child of `parent` first. 0, or
 * -EAGAIN when there are too many.
 */
int process_add_task(struct process *p, struct task *t, struct process *parent);

/* All threads will leave; the first to say so decides how it ended. `self`: not kicked. */
void process_group_exit(struct process *p, int exit_code, struct task *self);

/* What a task does at its end: takes it out, so that nobody finds it; its process may have become a zombie. */
void process_remove_task(struct task *t);
/* And last, when what it had is given back: its process may be gone. */
void process_end_task(struct process *p);

/* Takes a zombie out of the world, its times to its parent. */
void process_reap(struct process *p);

/* Tells the threads of p's parent that something has happened to p. */
void process_wake_parent(struct process *p);

/* Sends SIGCHLD for a stop or a continuation. */
void process_tell_parent(struct process *p, int code, int status);

/* There is somebody in it. */
bool process_group_exists(struct sandbox *s, int pgid);

/* True when nobody of its session, outside the group, could continue it. */
bool process_group_is_orphaned(struct sandbox *s, int pgid, int sid);

/* The real user number of a process. */
uint32_t process_uid(const struct process *p);

/* Sum of the ended threads' and the live threads' times. */
void process_usage(struct process *p, struct rusage *usage);

/* The numbers that a process is known by; takes the lock. */
struct process_ids {
	int ppid, pgid, sid;
	uint32_t tty_nr; /* as procfs has it; 0: no terminal */
	int tty_pgid;	 /* the group in front of it, or -1 */
	unsigned int nr_threads;
};

struct process_ids process_ids(struct process *p);

void rusage_add(struct rusage *sum, const struct rusage *more);

#endif
