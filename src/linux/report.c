/* SPDX-License-Identifier: MIT */
/*
 * report.c - see report.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "../../include/lodge.h"
#include "../mm/lock.h"
#include "../mm/vmstat.h"
#include "maps.h"
#include "report.h"
#include "syscall.h"

#define NS_PER_MS 1e6
#define VECTOR_PF 14

void report_sanitize(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
		if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
			c[0] = c[1] = '?';
	}
}

int report_error(struct lodge_error *err, int error, const char *format, ...)
{
	int saved_errno = errno;
	va_list args;

	if (!err)
		return error;
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	report_sanitize(err->text);
	errno = saved_errno;
	return error;
}

const char *report_signal_name(int signo, char *buffer, size_t bytes)
{
	const char *name = sigabbrev_np(signo);

	if (name)
		snprintf(buffer, bytes, "SIG%s", name);
	else
		snprintf(buffer, bytes, "signal %d", signo);
	return buffer;
}

/* --- a death ---------------------------------------------------------------------------------------------------- */

static const char *code_in_words(int signo, int code)
{
	static const struct {
		int signo, code;
		const char *words;
	} known[] = {
		{SIGSEGV, SEGV_MAPERR, "nothing is mapped there"},
		{SIGSEGV, SEGV_ACCERR, "the area does not allow it"},
		{SIGBUS, BUS_ADRALN, "misaligned access"},
		{SIGBUS, BUS_ADRERR, "beyond the end of the mapped file, or it cannot be read"},
		{SIGFPE, FPE_INTDIV, "integer division by zero or overflow"},
		{SIGFPE, FPE_FLTDIV, "floating-point division by zero"},
		{SIGFPE, FPE_FLTOVF, "floating-point overflow"},
		{SIGFPE, FPE_FLTUND, "floating-point underflow"},
		{SIGFPE, FPE_FLTRES, "floating-point inexact result"},
		{SIGFPE, FPE_FLTINV, "invalid floating-point operation"},
		{SIGILL, ILL_ILLOPN, "illegal instruction"},
		{SIGTRAP, TRAP_TRACE, "single step"},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].signo == signo && known[i].code == code)
			return known[i].words;
	return NULL;
}

static const char *exception_name(uint32_t vector)
{
	static const char *const names[] = {
		[0] = "divide error",	 [1] = "debug",
		[3] = "breakpoint",	 [4] = "overflow",
		[5] = "bound range",	 [6] = "invalid opcode",
		[10] = "invalid TSS",	 [11] = "segment not present",
		[12] = "stack segment",	 [13] = "general protection",
		[16] = "x87 exception",	 [17] = "alignment check",
		[19] = "SIMD exception",
	};

	return vector < ARRAY_SIZE(names) && names[vector] ? names[vector] : "exception";
}

static void log_cause(struct task *t, int signo, int code, const struct fault_context *fc)
{
	const char *words = code_in_words(signo, code);
	char name[32], error[96];

	report_signal_name(signo, name, sizeof(name));
	task_log(t, "%s[%d] died of %s%s%s", t->comm, t->pid, name, words ? ": " : "", words ? words : "");
	if (fc && fc->trapno == VECTOR_PF)
		task_log(t, "  address %#" PRIx64 ": %s (error %#x)", fc->address,
			 fault_error_string(fc->error_code, error, sizeof(error)), fc->error_code);
	else if (fc)
		task_log(t, "  %s (vector %u, error %#x)", exception_name(fc->trapno), fc->trapno,
			 fc->error_code);
}

static void log_registers(struct task *t)
{
	const struct cpu_regs *r = &t->regs;

	task_log(t, "  rip %016" PRIx64 "  rsp %016" PRIx64 "  rflags %08" PRIx64, r->rip, r->rsp, r->rflags);
	task_log(t, "  rax %016" PRIx64 "  rbx %016" PRIx64 "  rcx %016" PRIx64 "  rdx %016" PRIx64, r->rax,
		 r->rbx, r->rcx, r->rdx);
	task_log(t, "  rsi %016" PRIx64 "  rdi %016" PRIx64 "  rbp %016" PRIx64 "  r8  %016" PRIx64, r->rsi,
		 r->rdi, r->rbp, r->r8);
	task_log(t, "  r9  %016" PRIx64 "  r10 %016" PRIx64 "  r11 %016" PRIx64 "  r12 %016" PRIx64, r->r9,
		 r->r10, r->r11, r->r12);
	task_log(t, "  r13 %016" PRIx64 "  r14 %016" PRIx64 "  r15 %016" PRIx64, r->r13, r->r14, r->r15);
	task_log(t, "  fs  %016" PRIx64 "  gs  %016" PRIx64, r->fs_base, r->gs_base);
}

static void log_area(struct task *t, const char *where, const struct vma *vma)
{
	char *line;

	if (!vma)
		return;
	line = malloc(MAPS_LINE_BYTES);
	if (line && maps_line(vma, line, MAPS_LINE_BYTES) >= 0)
		task_log(t, "  %s %s", where, line);
	free(line);
}

/* The area around an address, or its neighbours. */
static void log_areas(struct task *t, gva_t address)
{
	mm_read_lock(t->mm);
	const struct vma *vma = vma_find(&t->mm->vmas, address);
	if (vma && vma->start <= address) {
		log_area(t, "area ", vma);
	} else {
		log_area(t, "below", vma ? vma->prev : vma_last(&t->mm->vmas));
		log_area(t, "above", vma);
	}
	mm_read_unlock(t->mm);
}

void report_death(struct task *t, int signo, int code, const struct fault_context *fc)
{
	if (!t->log.fn)
		return;
	log_cause(t, signo, code, fc);
	log_registers(t);
	log_areas(t, fc && fc->trapno == VECTOR_PF ? fc->address : t->regs.rip);
}

/* --- what it used ----------------------------------------------------------------------------------------------- */

_Static_assert(LODGE_LATENCY_BUCKETS == LATENCY_BUCKETS, "lodge.h has the buckets of latency.h");

static uint64_t relaxed(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static void memory_stats(struct mm *mm, struct lodge_stats *s)
{
	s->limit_pages = mm->memcg->max_pages;
	s->usage_pages = relaxed(&mm->memcg->usage_pages);
	s->peak_usage_pages = relaxed(&mm->memcg->peak_pages);
	s->rss_anon_pages = (uint64_t)mm_counter(mm, MM_ANONPAGES);
	s->rss_file_pages = (uint64_t)mm_counter(mm, MM_FILEPAGES);
	s->rss_shmem_pages = (uint64_t)mm_counter(mm, MM_SHMEMPAGES);
	s->peak_rss_pages = relaxed(&mm->peak_rss);
	mm_read_lock(mm);
	s->total_vm_pages = mm->total_vm_pages;
	s->nr_vmas = mm->vmas.nr;
	mm_read_unlock(mm);
	pthread_mutex_lock(&mm->page_table_lock);
	s->table_pages = mm->pgt.nr_tables + 1; /* and the root */
	pthread_mutex_unlock(&mm->page_table_lock);
	s->minor_faults = relaxed(&mm->min_flt);
	s->major_faults = relaxed(&mm->maj_flt);
	s->fault_around_pages = relaxed(&mm->fault_around_mapped);
	s->revocations = relaxed(&mm->nr_revokes);
	s->revoked_ptes = relaxed(&mm->nr_revoked_ptes);
}

static void pressure_stats(struct memcg *cg, struct lodge_stats *s)
{
	struct stall_times times[NR_STALL_KINDS];

	stall_read(&cg->stall, times);
	s->stall_some_ns = times[STALL_SOME].total_ns;
	s->stall_full_ns = times[STALL_FULL].total_ns;
	s->room_faults = relaxed(&cg->nr_made_room);
	s->throttled_faults = relaxed(&cg->nr_throttled);
	s->swap_faults = relaxed(&cg->nr_swap_faults);
	s->swap_wait_faults = relaxed(&cg->nr_swap_waits);
	s->swap_pages = relaxed(&cg->swap_pages);
	s->compressed_pages = relaxed(&cg->zpool.nr_objects);
	s->compressed_frames = relaxed(&cg->zpool.nr_frames);
	for (unsigned int i = 0; i < LATENCY_BUCKETS; i++)
		s->major_fault_us[i] = relaxed(&cg->major_latency.bucket[i]);
}

static void reclaim_stats(const struct frames *f, struct lodge_stats *s)
{
	s->scanned_pages = vmstat_event(f, PGSCAN_FILE) + vmstat_event(f, PGSCAN_ANON);
	s->reclaimed_pages = vmstat_event(f, PGSTEAL_FILE) + vmstat_event(f, PGSTEAL_ANON);
	s->refaulted_pages =
		vmstat_event(f, WORKINGSET_REFAULT_FILE) + vmstat_event(f, WORKINGSET_REFAULT_ANON);
	s->swap_in_pages = vmstat_event(f, PSWPIN);
	s->swap_out_pages = vmstat_event(f, PSWPOUT);
	s->swap_in_same_pages = vmstat_event(f, SWPIN_ZERO);
	s->swap_out_same_pages = vmstat_event(f, SWPOUT_ZERO);
	s->swap_out_clean_pages = vmstat_event(f, SWPOUT_CLEAN);
	s->compress_in_pages = vmstat_event(f, ZSWPIN);
	s->compress_out_pages = vmstat_event(f, ZSWPOUT);
	s->compress_back_pages = vmstat_event(f, ZSWPWB);
	s->swap_ahead_pages = vmstat_event(f, SWAP_RA);
	s->swap_ahead_hit_pages = vmstat_event(f, SWAP_RA_HIT);
}

void report_stats(struct sandbox *box, struct lodge_stats *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_lock(&box->lock);
	struct mm *mm = box->first_mm;
	mmget(mm);
	pthread_mutex_unlock(&box->lock);
	memory_stats(mm, s);
	pressure_stats(mm->memcg, s);
	reclaim_stats(mm->frames, s);
	mmput(mm);
	s->exits = box->counts.vcpu.runs;
	s->syscalls = box->counts.vcpu.syscalls;
	s->fault_exits = box->counts.vcpu.faults;
	s->exception_exits = box->counts.vcpu.exceptions;
	s->kicks = box->counts.vcpu.kicks;
	s->polled_syscalls = box->counts.vcpu.polled;
	s->poll_cpu_ns = box->counts.vcpu.poll_ns;
	s->gate_answers = box->counts.vcpu.answered;
	s->rewritten_sites = box->counts.vcpu.rewritten;
	s->kept_sites = box->counts.vcpu.not_rewritten;
	s->rewritten_site_calls = box->counts.vcpu.direct;
	s->pause_ns = relaxed(&box->pause_ns);
	s->pokes = box->counts.vcpu.pokes;
	s->flushes = box->counts.vcpu.flushes;
	s->unknown_syscalls = relaxed(&box->counts.nr_unknown);
	s->wall_ns = box->counts.wall_ns;
	s->guest_cpu_ns = box->counts.cpu_ns;
}

#define ROW "%-12s "

static double mebibytes(uint64_t pages)
{
	return (double)pages * PAGE_SIZE / (1 << 20);
}

static void print_memory(const struct lodge_stats *s, FILE *out)
{
	fprintf(out,
		ROW "%" PRIu64 " pages (%.1f MiB) at the end, %" PRIu64 " at most, limit %" PRIu64
		    " (%.1f MiB)\n",
		"memory", s->usage_pages, mebibytes(s->usage_pages), s->peak_usage_pages, s->limit_pages,
		mebibytes(s->limit_pages));
	fprintf(out,
		ROW "%" PRIu64 " anonymous, %" PRIu64 " of files, %" PRIu64 " shared, %" PRIu64
		    " at most; %" PRIu64 " page tables\n",
		"resident", s->rss_anon_pages, s->rss_file_pages, s->rss_shmem_pages, s->peak_rss_pages,
		s->table_pages);
	fprintf(out, ROW "%" PRIu64 " pages in %" PRIu64 " areas\n", "mapped", s->total_vm_pages, s->nr_vmas);
	fprintf(out, ROW "%" PRIu64 " minor, %" PRIu64 " major; %" PRIu64 " pages mapped ahead of a touch\n",
		"faults", s->minor_faults, s->major_faults, s->fault_around_pages);
}

static void print_exits(const struct lodge_stats *s, FILE *out)
{
	fprintf(out,
		ROW "%" PRIu64 ": %" PRIu64 " system calls, %" PRIu64 " page faults, %" PRIu64
		    " exceptions, %" PRIu64 " kicks\n",
		"exits", s->exits, s->syscalls, s->fault_exits, s->exception_exits, s->kicks);
	if (s->gate_answers || s->polled_syscalls)
		fprintf(out,
			ROW "%" PRIu64
			    " more system calls without an exit, by %.3f ms of a second processor; %" PRIu64
			    " answered in the guest\n",
			"polled", s->polled_syscalls, (double)s->poll_cpu_ns / NS_PER_MS, s->gate_answers);
	if (s->rewritten_sites || s->kept_sites)
		fprintf(out,
			ROW "%" PRIu64 " call sites rewritten, %" PRIu64 " left as they were; %" PRIu64
			    " of the calls came from there\n",
			"patched", s->rewritten_sites, s->kept_sites, s->rewritten_site_calls);
	fprintf(out, ROW "%" PRIu64 " of %" PRIu64 " entries; %" PRIu64 " pokes, %" PRIu64 " flushes\n",
		"revocations", s->revocations, s->revoked_ptes, s->pokes, s->flushes);
	fprintf(out, ROW "%.3f ms, of which %.3f ms on a processor\n", "time", (double)s->wall_ns / NS_PER_MS,
		(double)s->guest_cpu_ns / NS_PER_MS);
}

static uint64_t nr_device_faults(const struct lodge_stats *s)
{
	uint64_t nr = 0;

	for (unsigned int i = 0; i < LODGE_LATENCY_BUCKETS; i++)
		nr += s->major_fault_us[i];
	return nr;
}

static void print_latencies(const struct lodge_stats *s, FILE *out)
{
	fprintf(out, ROW "%" PRIu64 " faults waited for a device:", "latency", nr_device_faults(s));
	for (unsigned int i = 0; i < LODGE_LATENCY_BUCKETS; i++)
		if (s->major_fault_us[i])
			fprintf(out, " %" PRIu64 " < %s%llu us", s->major_fault_us[i],
				i == LODGE_LATENCY_BUCKETS - 1 ? "more than " : "", 1ull << i);
	fputc('\n', out);
}

static void print_compressed(const struct lodge_stats *s, FILE *out)
{
	fprintf(out,
		ROW "%" PRIu64 " pages in %" PRIu64 " frames; %" PRIu64 " went in, %" PRIu64
		    " came out, %" PRIu64 " went on to files\n",
		"compressed", s->compressed_pages, s->compressed_frames, s->compress_out_pages,
		s->compress_in_pages, s->compress_back_pages);
}

static void print_pressure(const struct lodge_stats *s, FILE *out)
{
	fprintf(out,
		ROW "some %.3f ms, full %.3f ms; %" PRIu64 " faults made room themselves, %" PRIu64
		    " were throttled\n",
		"pressure", (double)s->stall_some_ns / NS_PER_MS, (double)s->stall_full_ns / NS_PER_MS,
		s->room_faults, s->throttled_faults);
	if (nr_device_faults(s))
		print_latencies(s, out);
	if (s->compress_out_pages)
		print_compressed(s, out);
	if (!s->swap_in_pages && !s->swap_out_pages && !s->swap_out_same_pages)
		return;
	fprintf(out,
		ROW "%" PRIu64 " slots; out %" PRIu64 " written, %" PRIu64 " of one word, %" PRIu64
		    " unchanged; in %" PRIu64 " read, %" PRIu64 " of one word; ahead %" PRIu64
		    ", used %" PRIu64 "; %" PRIu64 " faults, %" PRIu64 " waited\n",
		"swapped", s->swap_pages, s->swap_out_pages, s->swap_out_same_pages, s->swap_out_clean_pages,
		s->swap_in_pages, s->swap_in_same_pages, s->swap_ahead_pages, s->swap_ahead_hit_pages,
		s->swap_faults, s->swap_wait_faults);
}

/* The name of a call that was answered ENOSYS; "" for one that nobody would expect. */
static const char *unknown_name(int nr)
{
#define NAME(name) [SYS_##name] = #name
	/* clang-format off */
	static const char *const names[NR_SYSCALLS] = {
		NAME(rseq), NAME(fanotify_init), NAME(fanotify_mark), NAME(semget), NAME(semop),
		NAME(semctl), NAME(semtimedop), NAME(msgget), NAME(msgsnd), NAME(msgrcv), NAME(msgctl),
		NAME(mq_open), NAME(mq_unlink), NAME(mq_timedsend), NAME(mq_timedreceive), NAME(mq_notify),
		NAME(mq_getsetattr), NAME(io_setup), NAME(io_destroy), NAME(io_getevents), NAME(io_submit),
		NAME(io_cancel), NAME(io_pgetevents), NAME(io_uring_setup), NAME(io_uring_enter),
		NAME(io_uring_register), NAME(getdents), NAME(preadv2), NAME(pwritev2), NAME(openat2),
		NAME(name_to_handle_at), NAME(open_by_handle_at), NAME(memfd_secret), NAME(userfaultfd),
		NAME(pkey_mprotect), NAME(pkey_alloc), NAME(pkey_free), NAME(process_mrelease),
		NAME(ioprio_set), NAME(ioprio_get), NAME(sched_setattr), NAME(sched_getattr),
		NAME(set_thread_area), NAME(get_thread_area), NAME(modify_ldt), NAME(ptrace), NAME(kcmp),
		NAME(seccomp), NAME(bpf), NAME(perf_event_open), NAME(add_key), NAME(request_key),
		NAME(keyctl), NAME(pidfd_getfd), NAME(unshare), NAME(setns), NAME(chroot),
		NAME(pivot_root), NAME(mount), NAME(umount2), NAME(syslog), NAME(reboot),
		NAME(sethostname), NAME(setdomainname), NAME(iopl), NAME(ioperm), NAME(clock_adjtime),
		NAME(adjtimex), NAME(landlock_create_ruleset), NAME(landlock_add_rule),
		NAME(landlock_restrict_self),
	};
	/* clang-format on */
#undef NAME
	const char *ours = syscall_name(nr);

	return ours ? ours : names[nr] ? names[nr] : "";
}

static void print_unknown(struct sandbox *box, const struct lodge_stats *s, FILE *out)
{
	if (!s->unknown_syscalls)
		return;
	fprintf(out, ROW "%" PRIu64 " answered ENOSYS:", "calls", s->unknown_syscalls);
	for (int nr = 0; nr < NR_SYSCALLS; nr++) {
		if (atomic_load_explicit(&box->counts.unknown[nr], memory_order_relaxed))
			fprintf(out, " %s(%d)", unknown_name(nr), nr);
	}
	fputc('\n', out);
}

static void print_hidden(struct sandbox *box, FILE *out)
{
	struct view_hidden *h = box->view ? box->view->hidden : NULL;

	if (!h)
		return;
	pthread_mutex_lock(&h->lock);
	if (h->nr)
		fprintf(out, ROW "%" PRIu64 " looked for and not shown, the last %s (--ro PATH shows one)\n",
			"files", h->nr, h->last);
	pthread_mutex_unlock(&h->lock);
}

int report_text(struct sandbox *box, FILE *out)
{
	struct lodge_stats s;

	report_stats(box, &s);
	print_memory(&s, out);
	print_exits(&s, out);
	print_pressure(&s, out);
	print_unknown(box, &s, out);
	print_hidden(box, out);
	return fflush(out) || ferror(out) ? -EIO : 0;
}

/* Every member of struct lodge_stats, in its order, but for the last: an array. */
#define STATS_FIELDS(F)         \
	F(limit_pages)          \
	F(usage_pages)          \
	F(peak_usage_pages)     \
	F(rss_anon_pages)       \
	F(rss_file_pages)       \
	F(rss_shmem_pages)      \
	F(peak_rss_pages)       \
	F(table_pages)          \
	F(total_vm_pages)       \
	F(nr_vmas)              \
	F(minor_faults)         \
	F(major_faults)         \
	F(fault_around_pages)   \
	F(exits)                \
	F(syscalls)             \
	F(fault_exits)          \
	F(exception_exits)      \
	F(kicks)                \
	F(polled_syscalls)      \
	F(gate_answers)         \
	F(rewritten_sites)      \
	F(kept_sites)           \
	F(rewritten_site_calls) \
	F(pause_ns)             \
	F(revocations)          \
	F(revoked_ptes)         \
	F(pokes)                \
	F(flushes)              \
	F(unknown_syscalls)     \
	F(wall_ns)              \
	F(guest_cpu_ns)         \
	F(poll_cpu_ns)          \
	F(stall_some_ns)        \
	F(stall_full_ns)        \
	F(room_faults)          \
	F(throttled_faults)     \
	F(swap_faults)          \
	F(swap_wait_faults)     \
	F(swap_pages)           \
	F(scanned_pages)        \
	F(reclaimed_pages)      \
	F(refaulted_pages)      \
	F(swap_in_pages)        \
	F(swap_out_pages)       \
	F(swap_in_same_pages)   \
	F(swap_out_same_pages)  \
	F(swap_out_clean_pages) \
	F(compress_in_pages)    \
	F(compress_out_pages)   \
	F(compress_back_pages)  \
	F(compressed_pages)     \
	F(compressed_frames)    \
	F(swap_ahead_pages)     \
	F(swap_ahead_hit_pages)

#define STATS_COUNT(field) +1
_Static_assert((0 STATS_FIELDS(STATS_COUNT)) * sizeof(uint64_t) ==
		       offsetof(struct lodge_stats, major_fault_us),
	       "STATS_FIELDS names every member");

int report_json(struct sandbox *box, FILE *out)
{
#define STATS_ROW(field) {#field, offsetof(struct lodge_stats, field)},
	static const struct {
		const char *name;
		size_t offset;
	} fields[] = {STATS_FIELDS(STATS_ROW)};
	struct lodge_stats s;

	report_stats(box, &s);
	for (unsigned int i = 0; i < ARRAY_SIZE(fields); i++) {
		uint64_t value;
		memcpy(&value, (const char *)&s + fields[i].offset, sizeof(value));
		fprintf(out, "%s\"%s\":%" PRIu64, i ? "," : "{", fields[i].name, value);
	}
	for (unsigned int i = 0; i < LODGE_LATENCY_BUCKETS; i++)
		fprintf(out, "%s%" PRIu64, i ? "," : ",\"major_fault_us\":[", s.major_fault_us[i]);
	fputs("]}\n", out);
	return fflush(out) || ferror(out) ? -EIO : 0;
}
