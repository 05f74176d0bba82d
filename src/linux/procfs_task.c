/* SPDX-License-Identifier: MIT */
/*
 * procfs_task.c - the files of a process that tell what it is and how it runs: status, stat, limits, cmdline and kin.
 *
 * Formats are those of Linux 6.18. What a guest cannot have (capabilities, a tracer, a controlling terminal) is shown as the
 * kernel shows a process that has none.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../mm/lock.h"
#include "oom.h"
#include "procfs.h"
#include "procfs_mem.h"
#include "rlimit.h"
#include "sysctl.h"
#include "task.h"

#define KIB(pages)	   ((uint64_t)(pages) << (PAGE_SHIFT - 10))
#define TICKS_PER_S	   100u
#define NS_PER_TICK	   (1000000000ull / TICKS_PER_S)
#define PF_RANDOMIZE	   0x00400000u
#define MEMS_ALLOWED_WORDS 32 /* of 32 nodes each */
#define FDSIZE_MIN	   64u
#define SIG_DFL_HANDLER	   0ull
#define SIG_IGN_HANDLER	   1ull

/* --- what the host knows of its thread --------------------------------------------------------- */

struct host_thread {
	char state;
	uint64_t utime, stime; /* ticks */
};

/* The asker itself runs. */
static struct host_thread host_thread(const struct task *t)
{
	struct host_thread h = {.state = 'R'};
	char path[64], line[512];

	if (t->mm && t->process->stop_signal)
		h.state = 'T';
	if (!t->mm)
		h.state = 'Z';
	if (!t->mm || !t->host_tid || t->host_tid == gettid())
		return h;
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", t->host_tid);
	FILE *in = fopen(path, "re");
	const char *end = in && fgets(line, sizeof(line), in) ? strrchr(line, ')') : NULL;
	if (in)
		fclose(in);
	char state;
	if (!end || sscanf(end, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &state,
			   &h.utime, &h.stime) != 3)
		return h;
	if (h.state == 'R' && (state == 'S' || state == 'D') && !t->watched)
		h.state = state;
	int64_t more = t->cpu_more_ns / (int64_t)NS_PER_TICK;
	h.utime = more < 0 && (uint64_t)-more > h.utime ? 0 : h.utime + (uint64_t)more;
	return h;
}

static const char *state_name(char state)
{
	switch (state) {
	case 'S':
		return "S (sleeping)";
	case 'D':
		return "D (disk sleep)";
	case 'T':
		return "T (stopped)";
	case 'Z':
		return "Z (zombie)";
	default:
		return "R (running)";
	}
}

/* --- status ---------------------------------------------------------------------------------- */

static void kib_row(FILE *out, const char *key, uint64_t pages)
{
	fprintf(out, "%s:\t%8" PRIu64 " kB\n", key, KIB(pages));
}

static void show_groups(const struct cred *c, FILE *out)
{
	fputs("Groups:\t", out);
	for (unsigned int i = 0; i < c->nr_groups; i++)
		fprintf(out, "%s%u", i ? " " : "", c->groups[i]);
	fputs(" \n", out);
}

static unsigned int fdtable_size(struct files *f)
{
	unsigned int size = FDSIZE_MIN;

	for (int i = files_end(f) - 1; i >= 0; i--) {
		if (files_host_fd(f, i) < 0)
			continue;
		while (size <= (unsigned int)i)
			size *= 2;
		break;
	}
	return size;
}

static void show_ids(struct task *t, FILE *out)
{
	const struct cred_ids *uid = &t->cred.uid, *gid = &t->cred.gid;
	struct process_ids ids = process_ids(t->process);
	char comm[sizeof(t->comm)];

	task_get_comm(t, comm);
	fprintf(out, "Name:\t%s\nUmask:\t%04o\nState:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\n", comm,
		atomic_load(&t->fs->umask), state_name(host_thread(t).state), t->pid,
		t->tid ? t->tid : t->pid);
	fprintf(out, "PPid:\t%d\nTracerPid:\t0\nUid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\nFDSize:\t%u\n",
		ids.ppid, uid->real, uid->effective, uid->saved, uid->fs, gid->real, gid->effective,
		gid->saved, gid->fs, fdtable_size(t->files));
	show_groups(&t->cred, out);
	fprintf(out, "NStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\nKthread:\t0\n", t->pid, t->tid,
		ids.pgid, ids.sid);
}

static void show_memory(struct mm *mm, FILE *out)
{
	struct mm_sizes s;

	mm_read_lock(mm);
	mm_sizes(mm, &s);
	mm_read_unlock(mm);
	uint64_t rss = mm_rss_pages(mm);
	kib_row(out, "VmPeak", s.peak);
	kib_row(out, "VmSize", s.total);
	kib_row(out, "VmLck", s.locked);
	kib_row(out, "VmPin", 0);
	kib_row(out, "VmHWM", max_u64(atomic_load(&mm->peak_rss), rss));
	kib_row(out, "VmRSS", rss);
	kib_row(out, "RssAnon", (uint64_t)mm_counter(mm, MM_ANONPAGES));
	kib_row(out, "RssFile", (uint64_t)mm_counter(mm, MM_FILEPAGES));
	kib_row(out, "RssShmem", (uint64_t)mm_counter(mm, MM_SHMEMPAGES));
	kib_row(out, "VmData", s.data);
	kib_row(out, "VmStk", s.stack);
	kib_row(out, "VmExe", s.text);
	kib_row(out, "VmLib", s.exec - s.text);
	pthread_mutex_lock(&mm->page_table_lock);
	kib_row(out, "VmPTE", mm->pgt.nr_tables);
	pthread_mutex_unlock(&mm->page_table_lock);
	kib_row(out, "VmSwap", (uint64_t)mm_counter(mm, MM_SWAPENTS));
	kib_row(out, "HugetlbPages", (uint64_t)mm_counter(mm, MM_HUGETLBPAGES));
	fputs("CoreDumping:\t0\nTHP_enabled:\t1\nuntag_mask:\t0xffffffffffffffff\n", out);
}

/* The signals whose handler is this one, or (catch) any that is neither SIG_DFL nor SIG_IGN. */
static uint64_t handled_by(const struct sighand *s, uint64_t handler, bool caught)
{
	uint64_t mask = 0;

	for (int signo = 1; signo <= NR_SIGNALS; signo++) {
		uint64_t h = s->action[signo].handler;
		if (caught ? h != SIG_DFL_HANDLER && h != SIG_IGN_HANDLER : h == handler)
			mask |= signal_bit(signo);
	}
	return mask;
}

static void show_signals(struct task *t, FILE *out)
{
	const struct process *p = t->process;
	struct sigqueue *own = &t->sig.queue;

	pthread_mutex_lock(&t->sandbox->lock);
	fprintf(out, "Threads:\t%u\nSigQ:\t%u/%" PRIu64 "\n", p->nr_threads,
		own->nr_queued + p->pending.nr_queued, (uint64_t)rlimit_get(t, RLIMIT_SIGPENDING).rlim_cur);
	fprintf(out, "SigPnd:\t%016" PRIx64 "\nShdPnd:\t%016" PRIx64 "\nSigBlk:\t%016" PRIx64 "\n",
		own->pending, p->pending.pending, t->sig.blocked);
	fprintf(out, "SigIgn:\t%016" PRIx64 "\nSigCgt:\t%016" PRIx64 "\n",
		handled_by(t->sighand, SIG_IGN_HANDLER, false), handled_by(t->sighand, 0, true));
	pthread_mutex_unlock(&t->sandbox->lock);
}

static void show_nodes(const struct frames *f, FILE *out)
{
	uint32_t mask = (uint32_t)((1ull << f->nr_nodes) - 1);

	fputs("Mems_allowed:\t", out);
	for (unsigned int i = 1; i < MEMS_ALLOWED_WORDS; i++)
		fputs("00000000,", out);
	fprintf(out, "%08x\nMems_allowed_list:\t0", mask);
	if (f->nr_nodes > 1)
		fprintf(out, "-%u", f->nr_nodes - 1);
	fputc('\n', out);
}

static int show_personality(struct task *t, const struct proc_file *file, FILE *out)
{
	(void)file;
	fprintf(out, "%08x\n", t->personality);
	return 0;
}

/* The lines of its host thread, or, when it has none, of ours. */
static void show_processors(struct task *t, FILE *out)
{
	char path[64], line[1024];
	FILE *in;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status",
		 t->mm && t->host_tid ? t->host_tid : gettid());
	in = fopen(path, "re");
	while (in && fgets(line, sizeof(line), in))
		if (!strncmp(line, "Cpus_allowed", strlen("Cpus_allowed")))
			fputs(line, out);
	if (in)
		fclose(in);
}

static int show_status(struct task *t, const struct proc_file *file, FILE *out)
{
	static const char *const sets[] = {"Inh", "Prm", "Eff", "Bnd", "Amb"};
	struct rusage usage = {0};

	(void)file;
	show_ids(t, out);
	if (t->mm)
		show_memory(t->mm, out);
	if (t->sighand)
		show_signals(t, out);
	for (unsigned int i = 0; i < ARRAY_SIZE(sets); i++)
		fprintf(out, "Cap%s:\t%016x\n", sets[i], 0);
	fprintf(out, "NoNewPrivs:\t%d\nSeccomp:\t%d\nSeccomp_filters:\t%u\n", t->cred.no_new_privs,
		atomic_load(&t->seccomp.mode), seccomp_nr_filters(&t->seccomp));
	fputs("Speculation_Store_Bypass:\tvulnerable\nSpeculationIndirectBranch:\talways enabled\n", out);
	show_processors(t, out);
	if (t->mm)
		show_nodes(t->mm->frames, out);
	getrusage(RUSAGE_THREAD, &usage);
	fprintf(out, "voluntary_ctxt_switches:\t%ld\nnonvoluntary_ctxt_switches:\t%ld\n", usage.ru_nvcsw,
		usage.ru_nivcsw);
	return 0;
}

/* --- stat ------------------------------------------------------------------------------------ */

static uint64_t ticks(const struct timeval *tv)
{
	return (uint64_t)tv->tv_sec * TICKS_PER_S + (uint64_t)tv->tv_usec / (1000000 / TICKS_PER_S);
}

static void stat_times(struct task *t, const struct host_thread *h, FILE *out)
{
	struct rusage usage = {0};
	bool own = t->host_tid == gettid() || !t->host_tid;

	if (own)
		task_usage(t, &usage);
	fprintf(out, " %" PRIu64 " 0 %" PRIu64 " 0", atomic_load(&t->mm->min_flt),
		atomic_load(&t->mm->maj_flt));
	fprintf(out, " %" PRIu64 " %" PRIu64 " 0 0 %d %d %u 0 %" PRIu64,
		own ? ticks(&usage.ru_utime) : h->utime, own ? ticks(&usage.ru_stime) : h->stime,
		20 + t->nice, t->nice, process_ids(t->process).nr_threads,
		(uint64_t)(t->process->start_ns / NS_PER_TICK));
}

static void stat_memory(struct task *t, FILE *out)
{
	struct mm *mm = t->mm;
	struct mm_sizes s;

	mm_read_lock(mm);
	mm_sizes(mm, &s);
	mm_read_unlock(mm);
	fprintf(out, " %" PRIu64 " %" PRIu64 " %" PRIu64, (uint64_t)(s.total << PAGE_SHIFT), mm_rss_pages(mm),
		(uint64_t)rlimit_get(t, RLIMIT_RSS).rlim_cur);
	/* Stack pointer and instruction pointer are told of a task that ends only. */
	fprintf(out, " %" PRIu64 " %" PRIu64 " %" PRIu64 " 0 0", mm->start_code, mm->end_code,
		mm->start_stack);
}

/* No space, no times of its own, no signals. */
static void stat_zombie(struct task *t, FILE *out)
{
	fputs(" 0 0 0 0 0 0 0 0 20 0 0 0", out);
	fprintf(out, " %" PRIu64 " 0 0 %" PRIu64, (uint64_t)(t->process->start_ns / NS_PER_TICK),
		(uint64_t)rlimit_get(t, RLIMIT_RSS).rlim_cur);
	fprintf(out, " 0 0 0 0 0 0 0 0 0 0 0 0 %d 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n", SIGCHLD);
}

static int show_stat(struct task *t, const struct proc_file *file, FILE *out)
{
	const struct mm *mm = t->mm;
	const uint64_t legacy = 0x7fffffff; /* what of a mask fits into the old format */
	const struct host_thread h = host_thread(t);

	(void)file;
	struct process_ids ids = process_ids(t->process);
	char comm[sizeof(t->comm)];

	task_get_comm(t, comm);
	fprintf(out, "%d (%s) %c %d %d %d %u %d %u", t->tid ? t->tid : t->pid, comm, h.state, ids.ppid,
		ids.pgid, ids.sid, ids.tty_nr, ids.tty_pgid, t->aslr ? PF_RANDOMIZE : 0u);
	if (!mm) {
		stat_zombie(t, out);
		return 0;
	}
	stat_times(t, &h, out);
	stat_memory(t, out);
	fprintf(out, " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, t->sig.queue.pending & legacy,
		t->sig.blocked & legacy, handled_by(t->sighand, SIG_IGN_HANDLER, false) & legacy,
		handled_by(t->sighand, 0, true) & legacy);
	fprintf(out, " 0 0 0 %d 0 0 0 0 0 0", SIGCHLD);
	fprintf(out, " %" PRIu64 " %" PRIu64 " %" PRIu64, mm->start_data, mm->end_data, mm->start_brk);
	fprintf(out, " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " 0\n", mm->arg_start, mm->arg_end,
		mm->env_start, mm->env_end);
	return 0;
}

/* --- limits ---------------------------------------------------------------------------------- */

static void limit_value(FILE *out, rlim_t value)
{
	if (value == RLIM_INFINITY)
		fprintf(out, "%-20s ", "unlimited");
	else
		fprintf(out, "%-20" PRIu64 " ", (uint64_t)value);
}

static int show_limits(struct task *t, const struct proc_file *file, FILE *out)
{
	static const struct {
		const char *name, *unit;
	} rows[RLIM_NLIMITS] = {
		[RLIMIT_CPU] = {"Max cpu time", "seconds"},
		[RLIMIT_FSIZE] = {"Max file size", "bytes"},
		[RLIMIT_DATA] = {"Max data size", "bytes"},
		[RLIMIT_STACK] = {"Max stack size", "bytes"},
		[RLIMIT_CORE] = {"Max core file size", "bytes"},
		[RLIMIT_RSS] = {"Max resident set", "bytes"},
		[RLIMIT_NPROC] = {"Max processes", "processes"},
		[RLIMIT_NOFILE] = {"Max open files", "files"},
		[RLIMIT_MEMLOCK] = {"Max locked memory", "bytes"},
		[RLIMIT_AS] = {"Max address space", "bytes"},
		[RLIMIT_LOCKS] = {"Max file locks", "locks"},
		[RLIMIT_SIGPENDING] = {"Max pending signals", "signals"},
		[RLIMIT_MSGQUEUE] = {"Max msgqueue size", "bytes"},
		[RLIMIT_NICE] = {"Max nice priority", NULL},
		[RLIMIT_RTPRIO] = {"Max realtime priority", NULL},
		[RLIMIT_RTTIME] = {"Max realtime timeout", "us"},
	};

	(void)file;
	fprintf(out, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
	for (unsigned int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit limit = rlimit_get(t, i);

		fprintf(out, "%-25s ", rows[i].name);
		limit_value(out, limit.rlim_cur);
		limit_value(out, limit.rlim_max);
		if (rows[i].unit)
			fprintf(out, "%-10s", rows[i].unit);
		fputc('\n', out);
	}
	return 0;
}

/* --- what it was started with ---------------------------------------------------------------- */

/* A range of the guest's memory as it is now, as far as it can be read. */
static int write_range(struct task *t, gva_t at, gva_t end, FILE *out)
{
	char piece[512];

	while (at < end) {
		size_t bytes = min_u64(sizeof(piece), end - at);
		size_t got = bytes - copy_from_user(t->mm, piece, at, bytes);
		if (fwrite(piece, 1, got, out) != got)
			return -EIO;
		if (got < bytes)
			break;
		at += bytes;
	}
	return 0;
}

static int show_cmdline(struct task *t, const struct proc_file *file, FILE *out)
{
	(void)file;
	return write_range(t, t->mm->arg_start, t->mm->arg_end, out);
}

static int show_environ(struct task *t, const struct proc_file *file, FILE *out)
{
	(void)file;
	return write_range(t, t->mm->env_start, t->mm->env_end, out);
}

static int show_auxv(struct task *t, const struct proc_file *file, FILE *out)
{
	const struct mm *mm = t->mm;

	(void)file;
	return fwrite(mm->saved_auxv, sizeof(uint64_t), mm->nr_auxv_words, out) == mm->nr_auxv_words ? 0
												     : -EIO;
}

static int show_comm(struct task *t, const struct proc_file *file, FILE *out)
{
	char comm[sizeof(t->comm)];

	(void)file;
	task_get_comm(t, comm);
	fprintf(out, "%s\n", comm);
	return 0;
}

/* Threads name each other. */
static int64_t comm_set(const struct task *by, struct process *p, struct task *of, const char *text,
			size_t bytes)
{
	size_t length = strnlen(text, bytes < sizeof(of->comm) - 1 ? bytes : sizeof(of->comm) - 1);

	if (by->process != p || !of)
		return -EINVAL;
	memset(of->comm, 0, sizeof(of->comm));
	memcpy(of->comm, text, length);
	return (int64_t)bytes;
}

/* --- the rest -------------------------------------------------------------------------------- */

static int oom_score_adj(struct task *t)
{
	pthread_mutex_lock(&t->sandbox->lock);
	int adj = t->process->oom_score_adj;
	pthread_mutex_unlock(&t->sandbox->lock);
	return adj;
}

/* oom_badness: its share of the memory that there is, in thousandths, moved into 0..2000 and scaled as proc_oom_score does. */
static int show_oom_score(struct task *t, const struct proc_file *file, FILE *out)
{
	int64_t total = (int64_t)t->mm->memcg->max_pages;
	int adj = oom_score_adj(t);
	int64_t points = (int64_t)(mm_rss_pages(t->mm) + t->mm->pgt.nr_tables) + adj * total / 1000;
	int64_t score = (1000 + points * 1000 / total) * 2 / 3;

	(void)file;
	fprintf(out, "%" PRId64 "\n", adj == -OOM_SCORE_ADJ_MAX || score < 0 ? 0 : score);
	return 0;
}

static int show_oom_score_adj(struct task *t, const struct proc_file *file, FILE *out)
{
	(void)file;
	fprintf(out, "%d\n", oom_score_adj(t));
	return 0;
}

/* To lower it takes a privilege. */
static int64_t oom_score_adj_set(const struct task *by, struct process *p, struct task *of, const char *text,
				 size_t bytes)
{
	int64_t value;

	(void)by;
	if (sysctl_parse_whole(text, &value) || value < -OOM_SCORE_ADJ_MAX || value > OOM_SCORE_ADJ_MAX)
		return -EINVAL;
	if (!of)
		return -ESRCH;
	if (value < 0 && value < p->oom_score_adj)
		return -EACCES;
	p->oom_score_adj = (int)value;
	return (int64_t)bytes;
}

static int show_text(struct task *t, const struct proc_file *file, FILE *out)
{
	(void)t;
	fputs(file->data, out);
	return 0;
}

/* What a mount is called: its kind, and its rights. */
static const char *mount_kind(const struct mount *m)
{
	return m->memory ? "tmpfs" : "rootfs";
}

static int show_mounts(struct task *t, const struct proc_file *file, FILE *out)
{
	const struct view *v = t->files->view;

	(void)file;
	for (unsigned int i = 0; i < v->nr; i++) {
		const struct mount *m = &v->mount[i];
		fprintf(out, "%s %s %s %s,relatime 0 0\n", mount_kind(m), m->guest, mount_kind(m),
			m->writable ? "rw" : "ro");
	}
	fputs("proc /proc proc rw,relatime 0 0\nsysfs /sys sysfs ro,relatime 0 0\n", out);
	return 0;
}

static int show_mountinfo(struct task *t, const struct proc_file *file, FILE *out)
{
	const struct view *v = t->files->view;

	(void)file;
	for (unsigned int i = 0; i < v->nr; i++) {
		const struct mount *m = &v->mount[i];
		const char *rights = m->writable ? "rw" : "ro";
		fprintf(out, "%u %u 0:%u / %s %s,relatime - %s %s %s\n", i + 1, i ? 1u : 0u, i + 1, m->guest,
			rights, mount_kind(m), mount_kind(m), rights);
	}
	fprintf(out, "%u 1 0:%u / /proc rw,relatime - proc proc rw\n", v->nr + 1, v->nr + 1);
	fprintf(out, "%u 1 0:%u / /sys ro,relatime - sysfs sysfs ro\n", v->nr + 2, v->nr + 2);
	return 0;
}

const struct proc_file proc_task_files[] = {
	{.name = "status", .show = show_status, .zombie = true},
	{.name = "stat", .show = show_stat, .zombie = true},
	{.name = "limits", .show = show_limits},
	{.name = "cmdline", .show = show_cmdline},
	{.name = "environ", .show = show_environ},
	{.name = "auxv", .show = show_auxv},
	{.name = "comm", .show = show_comm, .zombie = true, .set = comm_set},
	{.name = "oom_score", .show = show_oom_score},
	{.name = "oom_score_adj", .show = show_oom_score_adj, .set = oom_score_adj_set},
	{.name = "mounts", .show = show_mounts},
	{.name = "mountinfo", .show = show_mountinfo},
	{.name = "personality", .show = show_personality},
	{.name = "coredump_filter", .show = show_text, .data = "00000033\n"},
	{.name = "wchan", .show = show_text, .data = "0"},
	{.name = "timerslack_ns", .show = show_text, .data = "50000\n"},
	{.name = "cgroup", .show = show_text, .data = "0::/\n"},
	{.name = "cpuset", .show = show_text, .data = "/\n"},
	{0},
};
