/* SPDX-License-Identifier: MIT */
/*
 * sys_clone.c - clone, clone3, fork and vfork.
 *
 * Everything the child needs is there before anyone can see it: a thread of the host, a processor, its share or copy of each
 * part. What can fail after that is only its number (too many tasks), and then all is given back.
 * Not here: namespaces (-EPERM), as for a user who may not make them.
 */
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "pidfd.h"
#include "rlimit.h"
#include "sleep.h"
#include "syscall.h"
#include "worker.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif
#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ull /* Linux 5.5 */
#endif

#define CLONE_ARGS_FIRST_BYTES 64 /* CLONE_ARGS_SIZE_VER0 */
#define NAMESPACES                                                                                    \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
	 CLONE_NEWNET)

#define PAGES_AHEAD	    64
#define ROOM_PER_PAGE_AHEAD 1024

/* One clone. */
struct clone {
	struct task *t; /* the caller */
	uint64_t flags;
	int exit_signal;
	gva_t pidfd, child_tid, parent_tid, stack, tls;
	struct task *child;
	struct process *process; /* new, or the caller's */
	struct worker *worker;
	int made_pidfd; /* or -1 */
	struct vfork_wait vfork;
};

/* --- checks --------------------------------------------------------------------------------- */

static int check_flags(const struct clone *c)
{
	uint64_t f = c->flags;

	if ((f & (CLONE_NEWNS | CLONE_FS)) == (CLONE_NEWNS | CLONE_FS) ||
	    (f & (CLONE_NEWUSER | CLONE_FS)) == (CLONE_NEWUSER | CLONE_FS))
		return -EINVAL;
	if ((f & CLONE_THREAD) && !(f & CLONE_SIGHAND))
		return -EINVAL;
	if ((f & CLONE_SIGHAND) && !(f & CLONE_VM))
		return -EINVAL;
	if ((f & CLONE_SIGHAND) && (f & CLONE_CLEAR_SIGHAND))
		return -EINVAL;
	if ((f & CLONE_PARENT) && c->t->process == c->t->sandbox->first)
		return -EINVAL;
	if ((f & CLONE_THREAD) && (f & (CLONE_NEWUSER | CLONE_NEWPID | CLONE_PIDFD)))
		return -EINVAL;
	return f & NAMESPACES ? -EPERM : 0;
}

/* --- the parts of a child ------------------------------------------------------------------- */

/* Nobody else runs there. The first process's space has a user who only asks it for numbers. */
static bool is_alone(struct task *t)
{
	pthread_mutex_lock(&t->sandbox->lock);
	bool is_first = t->sandbox->first_mm == t->mm;
	pthread_mutex_unlock(&t->sandbox->lock);
	return atomic_load(&t->mm->mm_users) == (is_first ? 2 : 1);
}

/*
 * A fault costs as much as copying a hundred pages, and a child that executes something soon has faults for a handful. But many children
 * that sleep should not need much more than what they write. Who looks on sees faults.
 */
static uint64_t pages_ahead(struct task *t)
{
	if (t->mm->fault_around_pages == 1 || (t->trace & (LODGE_TRACE_FAULT | LODGE_TRACE_VMF)) ||
	    !is_alone(t))
		return 0;
	return min_u64(PAGES_AHEAD, memcg_room(t->mm->memcg) / ROOM_PER_PAGE_AHEAD);
}

static int share_space(struct clone *c)
{
	struct task *t = c->t;

	if (!(c->flags & CLONE_VM))
		return mm_fork_ahead(t->mm, pages_ahead(t), &c->child->mm);
	mmget(t->mm);
	c->child->mm = t->mm;
	return 0;
}

static int share_parts(struct clone *c)
{
	struct task *t = c->t, *child = c->child;

	child->files = c->flags & CLONE_FILES ? files_share(t->files) : files_copy(t->files);
	child->fs = c->flags & CLONE_FS ? fs_share(t->fs) : fs_copy(t->fs);
	child->sighand = c->flags & CLONE_SIGHAND ? sighand_share(t->sighand) : sighand_copy(t->sighand);
	if (!child->files || !child->fs || !child->sighand)
		return -ENOMEM;
	if (c->flags & CLONE_CLEAR_SIGHAND)
		sighand_reset(child->sighand, false);
	return share_space(c);
}

/* Vector state goes with the registers. */
static int share_processor(struct clone *c)
{
	return vcpu_take_like(c->t->vcpu, &c->child->vcpu) ? -EAGAIN : 0;
}

static void set_registers(struct clone *c)
{
	struct task *child = c->child;

	child->regs = c->t->regs;
	child->regs.rax = 0;
	if (c->stack)
		child->regs.rsp = c->stack;
	if (c->flags & CLONE_SETTLS)
		child->regs.fs_base = c->tls;
}

static int make_process(struct clone *c)
{
	struct process *p, *own = c->t->process;

	if (c->flags & CLONE_THREAD) {
		c->process = own;
		return 0;
	}
	p = process_new(c->t->sandbox);
	c->process = p;
	if (!p)
		return -ENOMEM;
	p->exit_signal = c->exit_signal;
	memcpy(p->rlimit, own->rlimit, sizeof(p->rlimit));
	atomic_store(&p->nr_open, atomic_load(&own->nr_open));
	p->exe_path = own->exe_path ? strdup(own->exe_path) : NULL;
	return own->exe_path && !p->exe_path ? -ENOMEM : 0;
}

static int make_task(struct clone *c)
{
	struct task *t = c->t, *child = calloc(1, sizeof(*child));
	int err;

	c->child = child;
	if (!child)
		return -ENOMEM;
	list_init(&child->thread_node);
	child->sandbox = t->sandbox;
	child->vm = t->vm;
	child->hostfiles = t->hostfiles;
	child->vdso = t->vdso;
	child->shm = t->shm;
	child->trace = t->trace;
	child->log = t->log;
	child->aslr = t->aslr;
	child->personality = t->personality;
	child->cred = t->cred;
	child->timer_slack_ns = t->timer_slack_ns;
	memcpy(child->comm, t->comm, sizeof(child->comm));
	task_inherit_processors(child, t);
	child->sig.blocked = t->sig.restore_mask ? t->sig.saved_mask : t->sig.blocked;
	if (!(c->flags & CLONE_VM) || (c->flags & CLONE_VFORK)) {
		child->sig.altstack_sp = t->sig.altstack_sp;
		child->sig.altstack_bytes = t->sig.altstack_bytes;
		child->sig.altstack_flags = t->sig.altstack_flags;
	} else {
		child->sig.altstack_flags = SS_DISABLE;
	}
	child->set_child_tid = c->flags & CLONE_CHILD_SETTID ? c->child_tid : 0;
	child->clear_child_tid = c->flags & CLONE_CHILD_CLEARTID ? c->child_tid : 0;
	err = make_process(c);
	child->process = c->process;
	return err ? err : share_parts(c);
}

static int make_pidfd(struct clone *c)
{
	if (!(c->flags & CLONE_PIDFD))
		return 0;
	c->made_pidfd = pidfd_install(c->t, c->process);
	if (c->made_pidfd < 0)
		return c->made_pidfd;
	return copy_to_user(c->t->mm, c->pidfd, &c->made_pidfd, sizeof(c->made_pidfd)) ? -EFAULT : 0;
}

/* Gives back a child that nobody has seen. */
static void unmake(struct clone *c)
{
	struct task *child = c->child;

	if (c->made_pidfd >= 0)
		files_close(c->t->files, c->made_pidfd);
	if (c->worker)
		worker_put(c->worker);
	if (child) {
		if (child->vcpu)
			vcpu_put(child->vcpu);
		mmput(child->mm);
		files_release(child->files);
		fs_release(child->fs);
		sighand_release(child->sighand);
		seccomp_drop(&child->seccomp);
		free(child);
	}
	if (c->process && c->process != c->t->process)
		process_free(c->process);
}

/* --- birth ---------------------------------------------------------------------------------- */

/* The number goes to the parent before the child runs; a word that cannot be written is no error, as in Linux. */
static void store_parent_tid(struct clone *c, int tid)
{
	uint32_t word = (uint32_t)tid;

	if (c->flags & CLONE_PARENT_SETTID)
		copy_to_user(c->t->mm, c->parent_tid, &word, sizeof(word));
}

/* The child gets its number and is there for all to see. Its number, or -errno. */
static int enter_world(struct clone *c)
{
	struct task *t = c->t;
	struct process *parent = t->process;
	int ret;

	pthread_mutex_lock(&t->sandbox->lock);
	if (c->flags & (CLONE_PARENT | CLONE_THREAD))
		parent = t->process->parent;
	if (c->flags & CLONE_PARENT)
		c->process->exit_signal = t->process->exit_signal;
	seccomp_share(&c->child->seccomp, &t->seccomp);
	if (task_dying(t))
		ret = -EAGAIN;
	else
		ret = process_add_task(c->process, c->child, parent);
	if (!ret) {
		ret = c->child->tid;
		if (c->flags & CLONE_VFORK) {
			c->vfork.child = c->child;
			c->child->vfork = &c->vfork;
		}
		if (t->process->stop_signal && (c->flags & CLONE_THREAD))
			atomic_fetch_or(&c->child->attention, ATTENTION_STOP);
	}
	pthread_mutex_unlock(&t->sandbox->lock);
	return ret;
}

static bool vfork_is_done(void *ctx)
{
	struct vfork_wait *v = ctx;
	bool done;

	pthread_mutex_lock(&v->parent->sandbox->lock);
	done = v->done;
	pthread_mutex_unlock(&v->parent->sandbox->lock);
	return done;
}

/* Until the child has let go of the space; a parent that is killed meanwhile does not wait on. */
static void wait_for_vfork(struct clone *c)
{
	struct sandbox *s = c->t->sandbox;

	if (!sleep_for(c->t, &(struct sleep){.done = vfork_is_done, .ctx = &c->vfork, .only_death = true}))
		return;
	pthread_mutex_lock(&s->lock);
	if (!c->vfork.done)
		c->vfork.child->vfork = NULL;
	pthread_mutex_unlock(&s->lock);
}

/* Tasks of a user by their real numbers; zombies count, as they have a number. The lock is held. */
static unsigned int tasks_of_user(struct sandbox *s, uint32_t uid)
{
	unsigned int n = 0;
	struct process *p;
	struct task *t;

	list_for_each_entry (p, &s->processes, node) {
		n += process_is_zombie(p) && p->uid == uid;
		list_for_each_entry (t, &p->threads, thread_node)
			n += t->cred.uid.real == uid;
	}
	return n;
}

static int check_nproc(struct task *t)
{
	struct rlimit limit;
	bool over;

	if (!t->cred.uid.real || !t->cred.uid.effective)
		return 0;
	pthread_mutex_lock(&t->sandbox->lock);
	limit = rlimit_get(t, RLIMIT_NPROC);
	over = limit.rlim_cur < t->sandbox->max_tasks &&
	       tasks_of_user(t->sandbox, t->cred.uid.real) >= limit.rlim_cur;
	pthread_mutex_unlock(&t->sandbox->lock);
	return over ? -EAGAIN : 0;
}

static int64_t clone_child(struct clone *c)
{
	int ret = check_flags(c);

	if (!ret)
		ret = check_nproc(c->t);
	c->made_pidfd = -1;
	if (ret)
		return ret;
	c->worker = worker_get(c->t->sandbox);
	ret = c->worker ? make_task(c) : -EAGAIN;
	if (!ret)
		ret = share_processor(c);
	if (!ret) {
		set_registers(c);
		ret = make_pidfd(c);
	}
	c->vfork = (struct vfork_wait){.parent = c->t};
	if (!ret)
		ret = enter_world(c);
	if (ret < 0) {
		unmake(c);
		return ret;
	}
	store_parent_tid(c, ret);
	worker_run(c->worker, c->child);
	if (c->flags & CLONE_VFORK)
		wait_for_vfork(c);
	return ret;
}

static int64_t sys_clone(struct task *t, const uint64_t a[6])
{
	struct clone c = {.t = t,
			  .flags = (uint32_t)a[0] & ~(uint64_t)CSIGNAL,
			  .exit_signal = (int)(a[0] & CSIGNAL),
			  .stack = a[1],
			  .parent_tid = a[2],
			  .pidfd = a[2],
			  .child_tid = a[3],
			  .tls = a[4]};

	if ((c.flags & CLONE_PIDFD) && (c.flags & (CLONE_PARENT_SETTID | CLONE_DETACHED)))
		return -EINVAL;
	return clone_child(&c);
}

static int64_t sys_fork(struct task *t, const uint64_t a[6])
{
	struct clone c = {.t = t, .exit_signal = SIGCHLD};

	(void)a;
	return clone_child(&c);
}

static int64_t sys_vfork(struct task *t, const uint64_t a[6])
{
	struct clone c = {.t = t, .flags = CLONE_VFORK | CLONE_VM, .exit_signal = SIGCHLD};

	(void)a;
	return clone_child(&c);
}

/* --- clone3 --------------------------------------------------------------------------------- */

/* A structure of a newer caller must be 0 where we know nothing of it. */
static int read_clone_args(struct task *t, gva_t from, uint64_t bytes, struct clone_args *args)
{
	char tail;

	if (bytes > PAGE_SIZE)
		return -E2BIG;
	if (bytes < CLONE_ARGS_FIRST_BYTES)
		return -EINVAL;
	memset(args, 0, sizeof(*args));
	for (uint64_t at = sizeof(*args); at < bytes; at++) {
		if (copy_from_user(t->mm, &tail, from + at, 1))
			return -EFAULT;
		if (tail)
			return -E2BIG;
	}
	return copy_from_user(t->mm, args, from, min_u64(bytes, sizeof(*args))) ? -EFAULT : 0;
}

#define INTO_CGROUP 0x200000000ull /* CLONE_INTO_CGROUP */

static int check_clone_args(const struct clone_args *args)
{
	const uint64_t known = 0xffffffffull | CLONE_CLEAR_SIGHAND | INTO_CGROUP;

	if ((!args->set_tid && args->set_tid_size) || (args->set_tid && !args->set_tid_size) ||
	    args->set_tid_size > 32)
		return -EINVAL;
	if ((args->exit_signal & ~(uint64_t)CSIGNAL) || args->exit_signal > NR_SIGNALS)
		return -EINVAL;
	if ((args->flags & ~known) || (args->flags & (CLONE_DETACHED | CSIGNAL)))
		return -EINVAL;
	if ((args->flags & (CLONE_THREAD | CLONE_PARENT)) && args->exit_signal)
		return -EINVAL;
	if (args->stack ? !args->stack_size || !access_ok(args->stack, args->stack_size)
			: args->stack_size > 0)
		return -EINVAL;
	return args->flags & INTO_CGROUP ? -EBADF : 0; /* no descriptor is one of a group */
}

/* Choosing numbers needs rights; that a number is none is told first. */
static int check_set_tid(struct task *t, const struct clone_args *args)
{
	pid_t tid;

	for (uint64_t i = 0; i < args->set_tid_size; i++) {
		if (copy_from_user(t->mm, &tid, args->set_tid + i * sizeof(tid), sizeof(tid)))
			return -EFAULT;
		if (tid <= 0)
			return -EINVAL;
	}
	return args->set_tid_size ? -EPERM : 0;
}

static int64_t sys_clone3(struct task *t, const uint64_t a[6])
{
	struct clone_args args;
	int err = read_clone_args(t, a[0], a[1], &args);

	if (!err)
		err = check_clone_args(&args);
	if (!err)
		err = check_set_tid(t, &args);
	if (err)
		return err;
	struct clone c = {.t = t,
			  .flags = args.flags,
			  .exit_signal = (int)args.exit_signal,
			  .stack = args.stack ? args.stack + args.stack_size : 0,
			  .parent_tid = args.parent_tid,
			  .pidfd = args.pidfd,
			  .child_tid = args.child_tid,
			  .tls = args.tls};
	return clone_child(&c);
}

const struct syscall_entry sys_clone_calls[] = {
	SYSCALL_ENTRY(clone), SYSCALL_ENTRY(clone3), SYSCALL_ENTRY(fork), SYSCALL_ENTRY(vfork), {0},
};
