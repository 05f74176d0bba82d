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
#include "../mm/account.h"
#include "../mm/dump.h"
#include "../mm/khugepaged.h"
#include "../mm/kswapd.h"
#include "../mm/page_reporting.h"
#include "../mm/zeropool.h"
#include "../uffd/arena.h"
#include "../vmm/vm.h"
#include "exec.h"
#include "host_report.h"
#include "hostfile.h"
#include "inject.h"
#include "maps.h"
#include "oom.h"
#include "prefetch.h"
#include "report.h"
#include "shm.h"
#include "space.h"
#include "syscall.h"
#include "task.h"
#include "vdso.h"

#define DEFAULT_MEMORY_BYTES (256ull << 20)
#define MIN_MEMORY_BYTES     (64ull << 10)
#define MAX_FAULT_AROUND     512u
#define TRACE_ALL \
	(LODGE_TRACE_FAULT | LODGE_TRACE_SYSCALL | LODGE_TRACE_EXIT | LODGE_TRACE_VMF | LODGE_TRACE_DEATH)
#define DUMP_ALL     (LODGE_DUMP_MM | LODGE_DUMP_AREAS | LODGE_DUMP_TABLES | LODGE_DUMP_PAGES)
#define GIVE_BACK_MS 1000

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

_Static_assert(LODGE_THP_MADVISE == (int)THP_MADVISE && LODGE_THP_ALWAYS == (int)THP_ALWAYS &&
		       LODGE_THP_NEVER == (int)THP_NEVER,
	       "lodge.h numbers the policies as mm.h does");

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

static int start_threads(struct lodge_host *host, const struct lodge_host_options *o, struct lodge_error *err)
{
	int ret = o->zero_ahead ? zeropool_start(&host->arena.frames, &host->zero_thread) : 0;

	if (ret)
		return report_error(err, -ENOMEM, "no thread to clear frames: %s", strerror(-ret));
	ret = kswapd_start(vm_mm_host(host->vm), &host->kswapd);
	if (!ret && o->give_back_ms >= 0)
		ret = page_reporting_start(&host->arena.frames,
					   o->give_back_ms ? (uint32_t)o->give_back_ms : GIVE_BACK_MS,
					   &host->reporting);
	if (ret)
		return report_error(err, ret, "out of memory");
	ret = o->collapse ? khugepaged_start(vm_mm_host(host->vm), &host->khugepaged) : 0;
	return ret ? report_error(err, -ENOMEM, "no thread to collapse tables: %s", strerror(-ret)) : 0;
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
	host->inject = inject_create();
	if (!host->inject)
		return report_error(err, -ENOMEM, "out of memory");
	host->arena.frames.kmem_backend = (uint32_t)o->kmem;
	host->vm = vm_create(&host->arena, &why);
	if (!host->vm)
		return report_error(err, host_error(why.error), "%s: %s", why.what ? why.what : "KVM",
				    strerror(why.error));
	vm_mm_host(host->vm)->out_of_memory = oom_copy;
	vm_mm_host(host->vm)->is_dying = oom_is_dying;
	hostfile_table_init(&host->hostfiles, vm_mm_host(host->vm), host->inject);
	if (vdso_init(&host->vdso, &host->arena.frames))
		return report_error(err, -ENOMEM, "no memory for the vDSO");
	return start_threads(host, o, err);
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
	pthread_mutex_init(&host->image_lock, NULL);
	pthread_mutex_init(&host->swap_lock, NULL);
	ret = host_init(host, &o, err);
	if (ret)
		lodge_host_close(host);
	else
		*result = host;
	return ret;
}

int lodge_host_report(struct lodge_host *host, FILE *out)
{
	pthread_mutex_lock(&host->swap_lock);
	int ret = host_report(vm_mm_host(host->vm), out);
	pthread_mutex_unlock(&host->swap_lock);
	return ret;
}

int lodge_host_inject(struct lodge_host *host, const char *rule, struct lodge_error *err)
{
	const char *why = "out of memory";
	int ret = inject_add(host->inject, rule, &why);

	return ret ? report_error(err, ret, "inject '%s': %s", rule, why) : 0;
}

uint64_t lodge_host_close(struct lodge_host *host)
{
	uint64_t leaked = 0;

	if (!host)
		return 0;
	if (host->kswapd)
		kswapd_stop(host->kswapd);
	if (host->reporting)
		page_reporting_stop(host->reporting);
	if (host->khugepaged)
		khugepaged_stop(host->khugepaged);
	if (host->zero_thread)
		zeropool_stop(host->zero_thread);
	inject_abort(host->inject);
	if (host->vm) {
		writeback_stop(vm_mm_host(host->vm));
		hostfile_table_destroy(&host->hostfiles);
		host_swap_off(vm_mm_host(host->vm));
		vdso_destroy(&host->vdso);
		vm_destroy(host->vm);
	}
	inject_destroy(host->inject);
	if (host->has_arena) {
		leaked = frames_leaked(&host->arena.frames);
		arena_destroy(&host->arena);
	}
	pthread_mutex_destroy(&host->swap_lock);
	pthread_mutex_destroy(&host->image_lock);
	free(host);
	return leaked;
}

/* --- spaces ----------------------------------------------------------------------------------------------------- */

void lodge_space_options_init(struct lodge_space_options *opt)
{
	*opt = (struct lodge_space_options){.size = sizeof(*opt),
					    .fds = {0, 1, 2},
					    .swappiness = SWAPPINESS,
					    .traps = LODGE_TRAPS_AUTO};
}

static bool memory_is_valid(uint64_t bytes)
{
	return bytes % PAGE_SIZE == 0 && bytes >= MIN_MEMORY_BYTES;
}

static int check_options(const struct lodge_space_options *o, struct lodge_error *err)
{
	if (!memory_is_valid(o->memory_bytes))
		return report_error(err, -EINVAL,
				    "memory limit of %llu bytes: not a multiple of 4096, or below 64 KiB",
				    (unsigned long long)o->memory_bytes);
	if (o->memory_high_bytes % PAGE_SIZE)
		return report_error(err, -EINVAL, "high memory of %llu bytes: not a multiple of 4096",
				    (unsigned long long)o->memory_high_bytes);
	if (o->fault_around_pages > MAX_FAULT_AROUND || (o->fault_around_pages & (o->fault_around_pages - 1)))
		return report_error(err, -EINVAL, "fault-around of %u pages: not a power of two up to %u",
				    o->fault_around_pages, MAX_FAULT_AROUND);
	for (size_t i = 0; i < o->nr_mounts; i++)
		if (!o->mounts[i].host && !o->mounts[i].guest)
			return report_error(err, -EINVAL, "mount %zu: neither of the host nor of the guest",
					    i);
	for (int i = 0; i < 3; i++)
		if (o->fds[i] < -1)
			return report_error(err, -EINVAL, "descriptor %d for the guest's %d", o->fds[i], i);
	if ((unsigned int)o->thp > LODGE_THP_NEVER)
		return report_error(err, -EINVAL, "unknown policy %d for huge pages", (int)o->thp);
	if ((unsigned int)o->traps > LODGE_TRAPS_POLL)
		return report_error(err, -EINVAL, "unknown way %d for traps", (int)o->traps);
	if ((unsigned int)o->patch > LODGE_PATCH_AUTO)
		return report_error(err, -EINVAL, "unknown way %d to patch", (int)o->patch);
	if ((unsigned int)o->net > LODGE_NET_HOST)
		return report_error(err, -EINVAL, "unknown network %d", (int)o->net);
	if ((unsigned int)o->oom > LODGE_OOM_STOP)
		return report_error(err, -EINVAL, "unknown policy %d for lack of memory", (int)o->oom);
	if ((unsigned int)o->pages > LODGE_PAGES_UFFD)
		return report_error(err, -EINVAL, "unknown way %d for pages of a snapshot", (int)o->pages);
	if (o->swappiness > SWAPPINESS_MAX)
		return report_error(err, -EINVAL, "swappiness of %u: at most %d", o->swappiness,
				    SWAPPINESS_MAX);
	if (o->at_call && (!o->on_call || syscall_number(o->at_call) < 0))
		return report_error(err, -EINVAL, "no call %s to stop at", o->at_call);
	if (o->trace & ~TRACE_ALL)
		return report_error(err, -EINVAL, "unknown trace bits %#x", o->trace & ~TRACE_ALL);
	return 0;
}

int space_read_options(struct lodge_space_options *o, const struct lodge_space_options *from,
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

static void set_limits(struct memcg *cg, const struct lodge_space_options *o)
{
	atomic_store(&cg->thp, (uint32_t)o->thp);
	atomic_store(&cg->swappiness, o->swappiness);
	if (o->memory_high_bytes)
		atomic_store(&cg->high_pages, o->memory_high_bytes >> PAGE_SHIFT);
}

static void set_oom_policy(struct sandbox *s, struct memcg *cg, const struct lodge_space_options *o)
{
	s->oom.policy = o->oom;
	s->oom.ask = o->on_oom;
	s->oom.ctx = o->on_oom_ctx;
	if (o->oom != LODGE_OOM_ENOMEM)
		return;
	atomic_store(&cg->overcommit_memory, OVERCOMMIT_NEVER);
	atomic_store(&cg->overcommit_ratio, 100);
	atomic_store(&cg->admin_reserve_kbytes, 0);
	atomic_store(&cg->user_reserve_kbytes, 0);
}

void space_apply_options(struct sandbox *s, struct memcg *cg, const struct lodge_space_options *o)
{
	set_limits(cg, o);
	set_oom_policy(s, cg, o);
	atomic_store(&s->traps, (int)o->traps);
	s->patch = o->patch == LODGE_PATCH_AUTO;
	s->on_stop = o->on_stop;
	s->on_stop_ctx = o->on_stop_ctx;
	if (!o->at_call)
		return;
	s->pause_at.nr = syscall_number(o->at_call);
	s->pause_at.fn = o->on_call;
	s->pause_at.ctx = o->on_call_ctx;
	atomic_store(&s->pause_at.left, o->at_call_nth ? o->at_call_nth : 1);
}

/* All of them, or none. */
static int reserve_hugepages(struct mm *mm, uint64_t nr, struct lodge_error *err)
{
	if (!nr)
		return 0;
	hugetlb_pool_resize(mm->frames, mm->memcg, nr);
	uint64_t got = hugetlb_pool_counts(mm->frames, mm->memcg).total;
	if (got == nr)
		return 0;
	hugetlb_pool_resize(mm->frames, mm->memcg, 0);
	return report_error(err, -ENOMEM, "%llu pages of 2 MiB: the space's memory has room for %llu",
			    (unsigned long long)nr, (unsigned long long)got);
}

_Static_assert((int)LODGE_TRAPS_EXIT == (int)VCPU_TRAPS_EXIT &&
		       (int)LODGE_TRAPS_AUTO == (int)VCPU_TRAPS_AUTO &&
		       (int)LODGE_TRAPS_POLL == (int)VCPU_TRAPS_POLL,
	       "the same numbers");

static int space_init(struct lodge_space *space, struct lodge_host *host, const struct lodge_space_options *o,
		      struct lodge_error *err)
{
	struct mm *mm = mm_create(vm_mm_host(host->vm), o->memory_bytes >> PAGE_SHIFT);
	const struct sandbox_setup setup = {.vm = host->vm,
					    .mm = mm,
					    .hostfiles = &host->hostfiles,
					    .vdso = &host->vdso,
					    .fds = o->fds,
					    .view = {.rw_dirs = o->rw_dirs,
						     .mounts = o->mounts,
						     .nr_mounts = (unsigned int)o->nr_mounts,
						     .mm_host = vm_mm_host(host->vm)},
					    .cwd = o->cwd,
					    .net = o->net,
					    .max_pids = o->max_pids,
					    .user = o->user,
					    .ignored_signals = o->ignored_signals,
					    .first_pid = getpid()};
	const char *bad = NULL;
	struct task *t;
	int ret;

	if (!mm)
		return report_error(err, -ENOMEM, "no memory for an address space");
	set_limits(mm->memcg, o); /* pages of a pool are taken by these */
	if (o->fault_around_pages)
		mm->fault_around_pages = o->fault_around_pages;
	ret = reserve_hugepages(mm, o->hugepages, err);
	if (ret) {
		mmput(mm);
		return ret;
	}
	ret = sandbox_create(&setup, &space->sandbox, &bad);
	if (ret) {
		mmput(mm);
		return report_error(err, ret, "%s: %s", bad ? bad : "files of the guest", strerror(-ret));
	}
	space_apply_options(space->sandbox, mm->memcg, o);
	t = space->sandbox->first_task;
	space->shm = shm_ns_create(vm_mm_host(host->vm));
	if (!space->shm)
		return report_error(err, -ENOMEM, "out of memory");
	t->shm = space->shm;
	t->aslr = o->aslr;
	t->trace = o->trace;
	t->log = (struct log_hook){o->log, o->log_ctx};
	return 0;
}

int lodge_space_create(struct lodge_host *host, const struct lodge_space_options *opt,
		       struct lodge_space **result, struct lodge_error *err)
{
	struct lodge_space_options o;
	struct lodge_space *space;
	int ret = space_read_options(&o, opt, err);

	if (ret)
		return ret;
	space = calloc(1, sizeof(*space));
	if (!space)
		return report_error(err, -ENOMEM, "out of memory");
	space->host = host;
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
	struct task *t = space->sandbox->first_task;
	const struct exec_request r = {.path = path,
				       .fd = -1,
				       .argv = argv,
				       .envp = envp,
				       .mm = t->mm,
				       .hostfiles = t->hostfiles,
				       .vdso = t->vdso,
				       .guest = view_is_rooted(t->files->view) ? t : NULL,
				       .cred = &t->cred,
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

/* Runs the first task here and waits until those that it left have been killed, even by a disk that is stuck. */
static void run_sandbox(struct sandbox *s, struct inject *inject)
{
	struct timespec begin, end;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	if (s->first_task->vcpu)
		task_run(s->first_task);
	inject_abort(inject);
	sandbox_drain(s);
	clock_gettime(CLOCK_MONOTONIC, &end);
	s->counts.wall_ns =
		(uint64_t)(end.tv_sec - begin.tv_sec) * 1000000000 + (uint64_t)(end.tv_nsec - begin.tv_nsec);
}

int lodge_space_run(struct lodge_space *space, struct lodge_exit *how, struct lodge_error *err)
{
	struct sandbox *s = space->sandbox;
	int ret;

	if (!space->loaded)
		return report_error(err, -EINVAL, "no program is loaded");
	ret = sandbox_start(s);
	if (ret)
		return report_error(err, -EIO, "no processor for the guest: %s", strerror(-ret));
	space->loaded = false;
	space->ended = true;
	run_sandbox(s, space->host->inject);
	prefetch_stop(space->prefetch);
	*how = (struct lodge_exit){.signal = s->first->exit_code & 0x7f, .status = s->first->exit_code >> 8};
	return s->oom.stopped ? report_error(err, -ENOMEM, "%s", s->oom.text) : 0;
}

int lodge_space_set_memory(struct lodge_space *space, uint64_t memory_bytes)
{
	struct sandbox *s = space->sandbox;

	if (!memory_is_valid(memory_bytes))
		return -EINVAL;
	pthread_mutex_lock(&s->lock);
	atomic_store(&s->first_mm->memcg->max_pages, memory_bytes >> PAGE_SHIFT);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

int lodge_space_set_traps(struct lodge_space *space, enum lodge_traps traps)
{
	if ((unsigned int)traps > LODGE_TRAPS_POLL)
		return -EINVAL;
	atomic_store(&space->sandbox->traps, (int)traps);
	return 0;
}

void lodge_space_stats(struct lodge_space *space, struct lodge_stats *stats)
{
	report_stats(space->sandbox, stats);
}

int lodge_space_report(struct lodge_space *space, FILE *out)
{
	return report_text(space->sandbox, out);
}

int lodge_space_report_json(struct lodge_space *space, FILE *out)
{
	return report_json(space->sandbox, out);
}

/* The space of the first process, with a user for the caller. */
static struct mm *first_mm(struct sandbox *s)
{
	struct mm *mm;

	pthread_mutex_lock(&s->lock);
	mm = s->first_mm;
	mmget(mm);
	pthread_mutex_unlock(&s->lock);
	return mm;
}

int lodge_space_maps(struct lodge_space *space, FILE *out)
{
	struct mm *mm = first_mm(space->sandbox);
	int ret = proc_maps(mm, out);
	mmput(mm);
	return ret || fflush(out) ? -EIO : 0;
}

int lodge_space_dump(struct lodge_space *space, unsigned int what, FILE *out)
{
	struct mm *mm;

	if (what & ~DUMP_ALL)
		return -EINVAL;
	mm = first_mm(space->sandbox);
	if (what & LODGE_DUMP_MM)
		mm_dump(mm, out);
	if (what & LODGE_DUMP_AREAS)
		mm_dump_areas(mm, out);
	if (what & LODGE_DUMP_TABLES)
		pgtable_dump(mm, 0, mm->task_size, out);
	if (what & LODGE_DUMP_PAGES)
		mm_dump_pages(mm, out);
	mmput(mm);
	return fflush(out) || ferror(out) ? -EIO : 0;
}

void lodge_space_destroy(struct lodge_space *space)
{
	if (!space)
		return;
	prefetch_destroy(space->prefetch);
	if (space->sandbox)
		sandbox_destroy(space->sandbox);
	shm_ns_destroy(space->shm);
	host_drop_images(space->host);
	free(space);
}
