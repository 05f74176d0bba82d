/* SPDX-License-Identifier: MIT */
/* sandbox_clone.c - see sandbox_clone.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cputime.h"
#include "files_clone.h"
#include "memfd.h"
#include "object_twins.h"
#include "patch.h"
#include "report.h"
#include "sandbox_clone.h"
#include "shm.h"
#include "sockets.h"
#include "task.h"
#include "tty.h"
#include "view.h"

#define XSAVE_ALIGN 64u
#define XSAVE_MAX   16384u

/* What several tasks may have in common, and what it is in the clone. */
struct twin {
	const void *old;
	void *new;
};

struct twins {
	struct twin *at; /* room for one per task */
	unsigned int nr;
};

struct cloning {
	const struct sandbox_clone_setup *setup;
	struct sandbox *from, *to;
	struct memcg *account; /* of the clone; NULL: the first space makes it */
	struct twins mm, files, fs, sighand;
	struct file_twins file;
	struct object_twins object;
	struct shm_segment *segment; /* of the original */
	unsigned int nr_segments;
	struct lodge_error *err;
};

/* --- what may not be there ----------------------------------------------------------------------- */

static int check_areas(struct cloning *c, struct mm *mm)
{
	const struct vma *v;
	const char *what = NULL;

	pthread_rwlock_rdlock(&mm->mmap_lock);
	vma_for_each (v, &mm->vmas) {
		if (v->flags & VM_HUGETLB)
			what = "pages of a pool";
		else if ((v->flags & VM_SHARED) && v->mapping && (!v->file || backing_is_memory(v->file)) &&
			 !object_of_area(v))
			what = "shared memory";
		if (what)
			break;
	}
	pthread_rwlock_unlock(&mm->mmap_lock);
	return what ? report_error(c->err, -ENOTSUP, "%s cannot be cloned", what) : 0;
}

/* --- what tasks share ----------------------------------------------------------------------------- */

static void *twin_of(const struct twins *w, const void *old)
{
	for (unsigned int i = 0; i < w->nr; i++)
		if (w->at[i].old == old)
			return w->at[i].new;
	return NULL;
}

static void twin_add(struct twins *w, const void *old, void *new)
{
	w->at[w->nr++] = (struct twin){old, new};
}

static struct mm *clone_mm(struct cloning *c, struct mm *old)
{
	struct mm *new = twin_of(&c->mm, old);

	if (new) {
		mmget(new);
		return new;
	}
	patch_undo(old);
	if (check_areas(c, old) || mm_clone(old, c->account, &new))
		return NULL;
	if (object_twins_map(&c->object, new)) {
		mmput(new);
		return NULL;
	}
	c->account = new->memcg;
	twin_add(&c->mm, old, new);
	return new;
}

static struct files *clone_files(struct cloning *c, struct files *old)
{
	struct files *new = twin_of(&c->files, old);

	if (new)
		return files_share(new);
	new = file_twins_table(&c->file, old);
	if (new) {
		files_enter_sandbox(new, c->to);
		twin_add(&c->files, old, new);
	}
	return new;
}

static struct fs *clone_fs(struct cloning *c, struct fs *old)
{
	struct fs *new = twin_of(&c->fs, old);

	if (new)
		return fs_share(new);
	new = fs_copy(old);
	if (new)
		twin_add(&c->fs, old, new);
	return new;
}

static struct sighand *clone_sighand(struct cloning *c, struct sighand *old)
{
	struct sighand *new = twin_of(&c->sighand, old);

	if (new)
		return sighand_share(new);
	new = sighand_copy(old);
	if (new)
		twin_add(&c->sighand, old, new);
	return new;
}

/* --- tasks ------------------------------------------------------------------------------------------ */

static int keep_xsave(struct task *copy, const void *area, size_t bytes)
{
	copy->xsave = aligned_alloc(XSAVE_ALIGN, (bytes + XSAVE_ALIGN - 1) & ~(size_t)(XSAVE_ALIGN - 1));
	if (!copy->xsave)
		return -ENOMEM;
	memcpy(copy->xsave, area, bytes);
	copy->xsave_bytes = bytes;
	return 0;
}

/* One that has not run yet keeps its vector state, if it has any. */
static int copy_xsave(struct task *copy, const struct task *t)
{
	_Alignas(XSAVE_ALIGN) uint8_t area[XSAVE_MAX];

	copy->xsave = NULL;
	if (!t->vcpu)
		return t->xsave ? keep_xsave(copy, t->xsave, t->xsave_bytes) : 0;
	int bytes = vcpu_get_xsave(t->vcpu, area, sizeof(area));
	return bytes < 0 ? bytes : keep_xsave(copy, area, (size_t)bytes);
}

/* All that is the task's own. What it has of others is NULL. */
static struct task *copy_task(struct cloning *c, const struct task *t)
{
	struct task *copy = calloc(1, sizeof(*copy));

	if (!copy)
		return NULL;
	list_init(&copy->thread_node);
	copy->sandbox = c->to;
	copy->vm = t->vm;
	copy->hostfiles = t->hostfiles;
	copy->vdso = t->vdso;
	copy->shm = c->setup->shm;
	copy->regs = t->regs;
	copy->sig = t->sig;
	copy->cred = t->cred;
	copy->timer_slack_ns = t->timer_slack_ns;
	copy->pid = t->pid;
	copy->tid = t->tid;
	copy->clear_child_tid = t->clear_child_tid;
	copy->set_child_tid = t->set_child_tid;
	copy->robust_list = t->robust_list;
	memcpy(copy->comm, t->comm, sizeof(copy->comm));
	copy->trace = t->trace;
	copy->log = t->log;
	copy->aslr = t->aslr;
	copy->personality = t->personality;
	copy->parent_death_signal = t->parent_death_signal;
	copy->syscall_nr = t->syscall_nr;
	copy->restart = t->restart;
	copy->restart_block = t->restart_block;
	copy->has_mask = t->has_mask;
	copy->mask = t->mask;
	copy->nice = t->nice;
	copy->sched_policy = t->sched_policy;
	/* It looks once whether there is a signal for it. */
	atomic_store(&copy->attention, (atomic_load(&t->attention) & ATTENTION_STOP) | ATTENTION_SIGNAL);
	return copy;
}

/* What it shares. On failure what it has is given back with it. */
static int equip_task(struct cloning *c, struct task *copy, const struct task *t)
{
	copy->mm = clone_mm(c, t->mm);
	if (!copy->mm)
		return c->err && c->err->text[0] ? -ENOTSUP : -ENOMEM;
	copy->files = clone_files(c, t->files);
	copy->fs = clone_fs(c, t->fs);
	copy->sighand = clone_sighand(c, t->sighand);
	if (!copy->files || !copy->fs || !copy->sighand)
		return -ENOMEM;
	return copy_xsave(copy, t);
}

/* --- processes --------------------------------------------------------------------------------------- */

static int copy_numbers(struct process *copy, const struct process *p)
{
	copy->pid = p->pid;
	copy->serial = p->serial;
	copy->pgid = p->pgid;
	copy->sid = p->sid;
	copy->pending = p->pending;
	copy->subreaper = p->subreaper;
	copy->not_dumpable = atomic_load(&p->not_dumpable);
	copy->uid = p->uid;
	copy->exit_signal = p->exit_signal;
	copy->has_execed = p->has_execed;
	copy->group_exit = p->group_exit;
	copy->exit_code = p->exit_code;
	copy->stop_signal = p->stop_signal;
	copy->stop_told = p->stop_told;
	copy->cont_told = p->cont_told;
	copy->usage = p->usage;
	copy->children_usage = p->children_usage;
	memcpy(copy->rlimit, p->rlimit, sizeof(copy->rlimit));
	copy->nr_open = atomic_load(&p->nr_open);
	copy->oom_score_adj = p->oom_score_adj;
	copy->start_ns = p->start_ns;
	copy->exe_path = p->exe_path ? strdup(p->exe_path) : NULL;
	return p->exe_path && !copy->exe_path ? -ENOMEM : 0;
}

/* Processor time goes on from where it is, as that of threads that have ended: the clone's have threads of the host of their own. */
static void carry_times(struct process *copy, struct process *p)
{
	process_usage(p, &copy->usage);
	copy->cpu_ns = cputime_process(p);
}

static int clone_threads(struct cloning *c, struct process *copy, struct process *p)
{
	const struct task *t;

	list_for_each_entry (t, &p->threads, thread_node) {
		pthread_mutex_lock(&c->from->lock);
		struct task *twin = copy_task(c, t);
		pthread_mutex_unlock(&c->from->lock);
		if (!twin)
			return -ENOMEM;
		twin->process = copy;
		list_add_tail(&twin->thread_node, &copy->threads);
		copy->nr_threads++;
		c->to->nr_tasks++;
		if (t == c->from->first_task)
			c->to->first_task = twin;
		int err = equip_task(c, twin, t);
		if (err)
			return err;
	}
	return 0;
}

static int clone_process(struct cloning *c, struct process *p)
{
	struct process *copy = process_new(c->to);

	if (!copy)
		return -ENOMEM;
	list_add_tail(&copy->node, &c->to->processes);
	if (p == c->from->first)
		c->to->first = copy;
	pthread_mutex_lock(&c->from->lock); /* signals may be sent while it stands still */
	int err = copy_numbers(copy, p);
	if (!err)
		err = timers_copy(copy, p);
	carry_times(copy, p);
	pthread_mutex_unlock(&c->from->lock);
	return err ? err : clone_threads(c, copy, p);
}

/* Processes stand on both lists in the same order. */
static struct process *copy_of(const struct cloning *c, const struct process *p)
{
	struct list_head *at = c->to->processes.next;
	const struct process *old;

	if (p == &c->from->orphans)
		return &c->to->orphans;
	list_for_each_entry (old, &c->from->processes, node) {
		if (old == p)
			return list_entry(at, struct process, node);
		at = at->next;
	}
	return NULL;
}

static void copy_children(struct cloning *c, struct process *p)
{
	struct process *parent = copy_of(c, p), *child;

	list_for_each_entry (child, &p->children, sibling) {
		struct process *copy = copy_of(c, child);
		copy->parent = parent;
		list_add_tail(&copy->sibling, &parent->children);
	}
}

static void copy_tree(struct cloning *c)
{
	struct process *p;

	copy_children(c, &c->from->orphans);
	list_for_each_entry (p, &c->from->processes, node)
		copy_children(c, p);
}

/* --- the whole ---------------------------------------------------------------------------------------- */

static int copy_processes(struct cloning *c)
{
	struct process *p;

	list_for_each_entry (p, &c->from->processes, node) {
		int err = clone_process(c, p);
		if (err)
			return err;
	}
	copy_tree(c);
	return 0;
}

/* The first task may be gone, while its process has others. */
static int place_first_task(struct cloning *c)
{
	struct sandbox *to = c->to;

	if (to->first_task)
		return 0;
	to->first_task = calloc(1, sizeof(*to->first_task));
	if (!to->first_task)
		return -ENOMEM;
	to->first_task->sandbox = to;
	to->first_task->process = to->first;
	to->first_task->vm = c->from->first_task->vm;
	return 0;
}

/* The space that reports speak of may be one that no task has any more. */
static int place_first_mm(struct cloning *c)
{
	c->to->first_mm = clone_mm(c, c->from->first_mm);
	return c->to->first_mm ? 0 : -ENOMEM;
}

static void copy_fields(struct sandbox *to, const struct sandbox *from)
{
	to->last_pid = from->last_pid;
	to->last_serial = atomic_load(&from->last_serial);
	to->masks_are_set = from->masks_are_set;
	to->oom.policy = from->oom.policy;
	to->oom.ask = from->oom.ask;
	to->oom.ctx = from->oom.ctx;
	atomic_store(&to->traps, atomic_load(&from->traps));
	to->patch = from->patch;
	to->identity = from->identity;
}

static int note_files(struct cloning *c)
{
	struct process *p;
	struct task *t;
	int err = 0;

	list_for_each_entry (p, &c->from->processes, node)
		list_for_each_entry (t, &p->threads, thread_node)
			if (!err)
				err = file_twins_add(&c->file, t->files);
	return err;
}

/* Before the areas that show them. */
static int clone_segments(struct cloning *c)
{
	int err = shm_ns_list(c->setup->from_shm, &c->segment, &c->nr_segments);

	if (err == -ENOTSUP)
		report_error(c->err, err, "segments of a pool's pages cannot be cloned");
	for (unsigned int i = 0; i < c->nr_segments && !err; i++) {
		struct shm_segment g = c->segment[i];
		g.object = object_twin_of(&c->object, c->from->first_mm->host, g.object);
		err = g.object ? shm_ns_add(c->setup->shm, &g) : -ENOMEM;
	}
	return err;
}

static void settle_segments(struct cloning *c)
{
	if (!c->segment)
		return;
	shm_ns_settle(c->setup->from_shm, c->segment, c->nr_segments);
	shm_ns_settle(c->setup->shm, c->segment, c->nr_segments);
	free(c->segment);
}

static int clone_open_files(struct cloning *c)
{
	int err = note_files(c);

	if (!err)
		err = file_twins_make(&c->file);
	if (err == -ENOTSUP)
		report_error(c->err, err, "%s", c->file.why);
	return err;
}

static int room_for_twins(struct cloning *c)
{
	unsigned int room = c->from->nr_tasks + 1;
	struct twin *at = calloc(4ul * room, sizeof(*at));

	c->mm.at = at;
	if (!at)
		return -ENOMEM;
	c->files.at = at + room;
	c->fs.at = at + 2ul * room;
	c->sighand.at = at + 3ul * room;
	return 0;
}

static int fill(struct cloning *c)
{
	int err = room_for_twins(c);

	if (!err)
		err = clone_segments(c);
	if (!err)
		err = clone_open_files(c);
	if (!err)
		err = copy_processes(c);
	if (!err)
		err = place_first_task(c);
	if (!err)
		err = place_first_mm(c);
	if (!err)
		err = object_twins_fill(&c->object, c->account);
	if (!err)
		err = ttys_clone(c->to, c->from);
	return err;
}

int sandbox_clone(const struct sandbox_clone_setup *setup, struct sandbox **result, struct lodge_error *err)
{
	struct lodge_error own = {""};
	struct cloning c = {.setup = setup,
			    .from = setup->from,
			    .account = setup->account,
			    .err = err ? err : &own};
	const int *fds = setup->fds ? setup->fds : setup->from->caller_fds;

	c.err->text[0] = '\0';
	c.to = sandbox_new(sockets_net(c.from->sockets), c.from->max_tasks);
	if (!c.to)
		return report_error(err, -ENOMEM, "out of memory");
	memcpy(c.to->caller_fds, fds, sizeof(c.to->caller_fds));
	c.file.old_caller_fds = c.from->caller_fds;
	c.file.new_caller_fds = c.to->caller_fds;
	c.file.object = &c.object;
	c.object.shm = setup->shm;
	c.file.mm_host = c.from->first_mm->host;
	copy_fields(c.to, c.from);
	c.to->view = c.from->view ? view_share(c.from->view) : NULL;
	int ret = fill(&c);
	settle_segments(&c);
	file_twins_destroy(&c.file);
	object_twins_destroy(&c.object);
	free(c.mm.at);
	if (!ret) {
		*result = c.to;
		return 0;
	}
	sandbox_destroy(c.to);
	return c.err->text[0] ? ret : report_error(err, ret, "cannot clone: %s", strerror(-ret));
}
