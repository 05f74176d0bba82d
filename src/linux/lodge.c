/* SPDX-License-Identifier: MIT */
/*
 * lodge.c - the public functions: hosts and spaces put together from the rooms below.
 *
 * Errors are found before anything is made where that is possible; otherwise what was made is taken down in the opposite
 * order, by the same functions that destroy a whole host or space: they accept one that is half made.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "../mm/zeropool.h"
#include "../uffd/arena.h"
#include "../vmm/vm.h"
#include "exec.h"
#include "host_report.h"
#include "hostfile.h"
#include "maps.h"
#include "report.h"
#include "task.h"

#define DEFAULT_MEMORY_BYTES (256ull << 20)
#define MIN_MEMORY_BYTES     (64ull << 10)
#define MAX_FAULT_AROUND     512u
#define TRACE_ALL	     (LODGE_TRACE_FAULT | LODGE_TRACE_SYSCALL | LODGE_TRACE_EXIT)
#define KILL_REPEAT_NS	     2000000l
#define KILL_REPEATS	     1000

struct lodge_host {
	struct arena arena;
	bool has_arena;
	struct vm *vm;
	struct hostfile_table hostfiles;
	struct zeropool_thread *zero_thread; /* NULL: not asked for */
};

struct lodge_space {
	struct task task;
	bool has_files;
	bool loaded; /* a program is there that did not run yet */
	bool ended;  /* it ran */
};

const char *lodge_version(void)
{
	return LODGE_VERSION;
}

/* --- hosts ------------------------------------------------------------------------------------------------------ */

/* It only has to exist: a system call that it interrupts returns EINTR. */
static void kick_handler(int signo)
{
	(void)signo;
}

static int install_kick_handler(void)
{
	struct sigaction action = {.sa_handler = kick_handler}; /* no SA_RESTART */

	sigemptyset(&action.sa_mask);
	return sigaction(KICK_SIGNAL, &action, NULL) ? -errno : 0;
}

/* Options of a caller that was built against another version: fields that it does not have keep their defaults. */
static int copy_options(void *to, size_t known, const void *from, size_t size, struct lodge_error *err)
{
	if (size < sizeof(size_t) || size > known)
		return report_error(err, -EINVAL, "options of size %zu; this library knows %zu", size, known);
	memcpy(to, from, size);
	return 0;
}

static uint64_t machine_memory_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);

	return pages > 0 ? (uint64_t)pages * PAGE_SIZE : DEFAULT_MEMORY_BYTES;
}

_Static_assert(LODGE_KMEM_SLUB == (int)KMEM_SLUB && LODGE_KMEM_SLAB == (int)KMEM_SLAB &&
		       LODGE_KMEM_SLOB == (int)KMEM_SLOB && LODGE_KMEM_MAGAZINE == (int)KMEM_MAGAZINE,
	       "lodge.h numbers the allocators as kmem.h does");

/* The errors that lodge_host_open promises. */
static int host_error(int error)
{
	switch (error) {
	case ENOENT:
	case EACCES:
	case ENOMEM:
		return -error;
	case EPERM:
		return -EACCES;
	default:
		return -ENODEV;
	}
}

static int check_host_options(const struct lodge_host_options *o, struct lodge_error *err)
{
	if (o->nodes > LODGE_MAX_NODES)
		return report_error(err, -EINVAL, "%u nodes: at most %d", o->nodes, LODGE_MAX_NODES);
	if ((unsigned int)o->kmem > LODGE_KMEM_MAGAZINE)
		return report_error(err, -EINVAL, "unknown object allocator %d", (int)o->kmem);
	return 0;
}

static int host_init(struct lodge_host *host, const struct lodge_host_options *o, struct lodge_error *err)
{
	const struct arena_setup setup = {
		.max_bytes = o->memory_bytes ? o->memory_bytes : machine_memory_bytes(),
		.nr_nodes = o->nodes,
	};
	struct vm_error why = {0, NULL};
	int ret = check_host_options(o, err);

	if (ret)
		return ret;
	ret = install_kick_handler();

	if (ret)
		return report_error(err, -ENODEV, "signal %d cannot be used: %s", KICK_SIGNAL,
				    strerror(-ret));
	ret = arena_init(&host->arena, &setup);
	if (ret)
		return report_error(err, -ENOMEM, "cannot reserve room for guest memory: %s", strerror(-ret));
	host->has_arena = true;
	host->arena.frames.kmem_backend = (uint32_t)o->kmem;
	host->vm = vm_create(&host->arena, &why);
	if (!host->vm)
		return report_error(err, host_error(why.error), "%s: %s", why.what ? why.what : "KVM",
				    strerror(why.error));
	hostfile_table_init(&host->hostfiles, vm_mm_host(host->vm));
	ret = o->zero_ahead ? zeropool_start(&host->arena.frames, &host->zero_thread) : 0;
	return ret ? report_error(err, -ENOMEM, "no thread to clear frames: %s", strerror(-ret)) : 0;
}

int lodge_host_open(const struct lodge_host_options *opt, struct lodge_host **result, struct lodge_error *err)
{
	struct lodge_host_options o = {.size = sizeof(o)};
	struct lodge_host *host;
	int ret = opt ? copy_options(&o, sizeof(o), opt, opt->size, err) : 0;

	if (ret)
		return ret;
	host = calloc(1, sizeof(*host));
	if (!host)
		return report_error(err, -ENOMEM, "out of memory");
	ret = host_init(host, &o, err);
	if (ret)
		lodge_host_close(host);
	else
		*result = host;
	return ret;
}

int lodge_host_report(struct lodge_host *host, FILE *out)
{
	return host_report(&host->arena.frames, out);
}

uint64_t lodge_host_close(struct lodge_host *host)
{
	uint64_t leaked = 0;

	if (!host)
		return 0;
	if (host->zero_thread)
		zeropool_stop(host->zero_thread);
	if (host->vm) {
		writeback_stop(vm_mm_host(host->vm));
		hostfile_table_destroy(&host->hostfiles);
		vm_destroy(host->vm);
	}
	if (host->has_arena) {
		leaked = frames_leaked(&host->arena.frames);
		arena_destroy(&host->arena);
	}
	free(host);
	return leaked;
}

/* --- spaces ----------------------------------------------------------------------------------------------------- */

void lodge_space_options_init(struct lodge_space_options *opt)
{
	*opt = (struct lodge_space_options){.size = sizeof(*opt), .fds = {0, 1, 2}};
}

static int check_options(const struct lodge_space_options *o, struct lodge_error *err)
{
	if (o->memory_bytes % PAGE_SIZE || o->memory_bytes < MIN_MEMORY_BYTES)
		return report_error(err, -EINVAL,
				    "memory limit of %llu bytes: not a multiple of 4096, or below 64 KiB",
				    (unsigned long long)o->memory_bytes);
	if (o->fault_around_pages > MAX_FAULT_AROUND || (o->fault_around_pages & (o->fault_around_pages - 1)))
		return report_error(err, -EINVAL, "fault-around of %u pages: not a power of two up to %u",
				    o->fault_around_pages, MAX_FAULT_AROUND);
	for (int i = 0; i < 3; i++)
		if (o->fds[i] < -1)
			return report_error(err, -EINVAL, "descriptor %d for the guest's %d", o->fds[i], i);
	if (o->trace & ~TRACE_ALL)
		return report_error(err, -EINVAL, "unknown trace bits %#x", o->trace & ~TRACE_ALL);
	return 0;
}

static int read_options(struct lodge_space_options *o, const struct lodge_space_options *from,
			struct lodge_error *err)
{
	int ret = 0;

	lodge_space_options_init(o);
	if (from)
		ret = copy_options(o, sizeof(*o), from, from->size, err);
	if (!o->memory_bytes)
		o->memory_bytes = DEFAULT_MEMORY_BYTES;
	return ret ? ret : check_options(o, err);
}

static int space_init(struct lodge_space *space, struct lodge_host *host, const struct lodge_space_options *o,
		      struct lodge_error *err)
{
	struct task *t = &space->task;
	const char *bad = NULL;
	int ret;

	pthread_mutex_init(&t->kill_lock, NULL);
	t->vm = host->vm;
	t->hostfiles = &host->hostfiles;
	t->pid = getpid();
	t->aslr = o->aslr;
	t->trace = o->trace;
	t->log = (struct log_hook){o->log, o->log_ctx};
	sigstate_init(&t->sig);
	t->mm = mm_create(vm_mm_host(host->vm), o->memory_bytes >> PAGE_SHIFT);
	if (!t->mm)
		return report_error(err, -ENOMEM, "no memory for an address space");
	if (o->fault_around_pages)
		t->mm->fault_around_pages = o->fault_around_pages;
	ret = files_init(&t->files, o->fds, o->rw_dirs, &bad);
	if (ret)
		return report_error(err, ret, "%s: %s", bad ? bad : "files of the guest", strerror(-ret));
	space->has_files = true;
	return 0;
}

int lodge_space_create(struct lodge_host *host, const struct lodge_space_options *opt,
		       struct lodge_space **result, struct lodge_error *err)
{
	struct lodge_space_options o;
	struct lodge_space *space;
	int ret = read_options(&o, opt, err);

	if (ret)
		return ret;
	space = calloc(1, sizeof(*space));
	if (!space)
		return report_error(err, -ENOMEM, "out of memory");
	ret = space_init(space, host, &o, err);
	if (ret)
		lodge_space_destroy(space);
	else
		*result = space;
	return ret;
}

int lodge_space_load(struct lodge_space *space, const char *path, const char *const *argv,
		     const char *const *envp, struct lodge_error *err)
{
	struct task *t = &space->task;
	const struct exec_request r = {.path = path,
				       .fd = -1,
				       .argv = argv,
				       .envp = envp,
				       .mm = t->mm,
				       .hostfiles = t->hostfiles,
				       .aslr = t->aslr};
	struct exec_result program;
	int ret;

	if (space->loaded || space->ended)
		return report_error(err, -EINVAL, "%s: the space has a program already", path);
	ret = exec_load(&r, &program, err);
	if (ret)
		return ret;
	task_start_program(t, &program);
	space->loaded = true;
	return 0;
}

int lodge_space_run(struct lodge_space *space, struct lodge_exit *how, struct lodge_error *err)
{
	struct task *t = &space->task;
	int ret;

	if (!space->loaded)
		return report_error(err, -EINVAL, "no program is loaded");
	ret = task_run(t);
	if (ret)
		return report_error(err, -EIO, "no processor for the guest: %s", strerror(-ret));
	space->loaded = false;
	space->ended = true;
	*how = (struct lodge_exit){.signal = t->exit_signal, .status = t->exit_status};
	return 0;
}

/* True while a task that another thread runs has not seen what was asked of it. */
static bool kill_is_pending(struct task *t)
{
	bool pending;

	pthread_mutex_lock(&t->kill_lock);
	pending = atomic_load(&t->running) && atomic_load(&t->kill_signal) &&
		  !pthread_equal(t->thread, pthread_self());
	pthread_mutex_unlock(&t->kill_lock);
	return pending;
}

/*
 * A program that does not run yet ends when it begins to. A kick is lost on a thread that is just about to block in the
 * host, hence the repetition; its bound only matters to a thread that the host's kernel does not let go.
 */
void lodge_space_kill(struct lodge_space *space, int signal)
{
	const struct timespec pause = {.tv_nsec = KILL_REPEAT_NS};

	task_kill(&space->task, signal);
	for (int i = 0; i < KILL_REPEATS && kill_is_pending(&space->task); i++) {
		nanosleep(&pause, NULL);
		if (kill_is_pending(&space->task))
			task_kill(&space->task, signal);
	}
}

void lodge_space_stats(struct lodge_space *space, struct lodge_stats *stats)
{
	report_stats(&space->task, stats);
}

int lodge_space_report(struct lodge_space *space, FILE *out)
{
	return report_text(&space->task, out);
}

int lodge_space_report_json(struct lodge_space *space, FILE *out)
{
	return report_json(&space->task, out);
}

int lodge_space_maps(struct lodge_space *space, FILE *out)
{
	int ret = proc_maps(space->task.mm, out);

	return ret || fflush(out) ? -EIO : 0;
}

void lodge_space_destroy(struct lodge_space *space)
{
	if (!space)
		return;
	if (space->has_files)
		files_destroy(&space->task.files);
	mmput(space->task.mm);
	free(space->task.exe_path);
	pthread_mutex_destroy(&space->task.kill_lock);
	free(space);
}
