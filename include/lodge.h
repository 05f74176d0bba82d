/* SPDX-License-Identifier: MIT */
/*
 * lodge.h - run unmodified Linux programs in KVM address spaces whose memory is managed in user space.
 *
 *	lodge_host	one virtual machine and its memory; a process may have several
 *	lodge_space	one guest address space with limits, a view of the file system, and one program
 *
 * Functions return 0 (or a count) or -errno unless they say otherwise. A host may be used by several threads; one space
 * by one thread at a time, except for lodge_space_kill and lodge_space_signal, which any thread may call. The library
 * installs an empty handler for the signal SIGRTMAX-1 and uses it to interrupt its own threads; it changes nothing else of the process.
 */
#ifndef LODGE_H
#define LODGE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LODGE_VERSION_MAJOR 0
#define LODGE_VERSION_MINOR 1
#define LODGE_VERSION	    "0.1.0"

struct lodge_host;
struct lodge_space;

/* The version of the library, as LODGE_VERSION; static storage. */
const char *lodge_version(void);

/*
 * A reason in words. Functions that can fail in many ways fill one in, so that a command can print a single clear line.
 * NULL may be passed where it is not wanted.
 */
struct lodge_error {
	char text[256];
};

/* Allocators for lodge's own objects, for comparison: slabs as in Linux 6.18, 2.2 and for small systems, and magazines. */
enum lodge_kmem {
	LODGE_KMEM_SLUB,
	LODGE_KMEM_SLAB,
	LODGE_KMEM_SLOB,
	LODGE_KMEM_MAGAZINE,
};

#define LODGE_MAX_NODES 8

struct lodge_host_options {
	size_t size; /* sizeof(struct lodge_host_options), for compatibility */
	uint64_t
		memory_bytes; /* most guest memory that all spaces may have together; 0: what the machine has */
	unsigned int nodes;   /* virtual NUMA nodes to share it out to, 1..LODGE_MAX_NODES; 0: 1 */
	enum lodge_kmem kmem; /* where lodge's own objects come from */
	int zero_ahead;	      /* nonzero: a thread of lowest priority keeps cleared frames ready for faults */
	int collapse; /* nonzero: a thread turns tables that are full enough into 2 MiB pages where thp allows it */
	int give_back_ms; /* memory that no space used for so long goes back to the machine, but for 16 MiB; 0: 1000, negative: never */
};

/*
 * Opens /dev/kvm and creates a host. opt may be NULL. Errors: -EINVAL (an option out of range), -ENOENT (no /dev/kvm), -EACCES (no right to it), -ENODEV
 * (a KVM that cannot do what is needed), -ENOMEM. On success *host is the caller's, for lodge_host_close.
 */
int lodge_host_open(const struct lodge_host_options *opt, struct lodge_host **host, struct lodge_error *err);

/*
 * Lets pages of guests go to a file or block device when memory is short. The file must hold nothing but zeroes, or be one that lodge
 * made for this; `bytes` is the size that a file gets, created where there is none, or 0: it is as large as it is. Of several, those
 * with a higher priority (0..32767) are used first; -1: after all that have one, in the order of the calls. Errors, each with its
 * reason in *err: -EINVAL (no such size or priority, neither a file nor a block device), -EBUSY (somebody uses it), -EEXIST (it
 * holds something else), -EPERM (too many), -ENOENT, -ENOSPC, -ENOMEM, -ENOSYS (no io_uring), and what opening it gave.
 */
int lodge_host_swapon(struct lodge_host *host, const char *path, uint64_t bytes, int priority,
		      struct lodge_error *err);

/*
 * Brings what is in a swap file back into the memory of those whose it is, and gives the file up; it takes part in nothing from then on. Any
 * thread, while programs run; waits for the device. What cannot be read is lost, and SIGBUS for who touches it. Errors: -EINVAL (no
 * pages go to this file), -ENOMEM (not everything has room; it stays in use), and what looking for the path gave.
 */
int lodge_host_swapoff(struct lodge_host *host, const char *path, struct lodge_error *err);

/*
 * Keeps pages that go to swap in memory in a compressed form, by `algorithm`, "zstd" or "lz4", in pool_bytes at most, of which every
 * account pays for what it has there; the oldest go on to files. `alone_bytes`: without files, pages of so much memory may be there; 0:
 * none, it is only in front of files. Before there are spaces. -EINVAL (no such algorithm or size), -EBUSY (it was done), -ENOMEM.
 */
int lodge_host_swap_compress(struct lodge_host *host, const char *algorithm, uint64_t pool_bytes,
			     uint64_t alone_bytes, struct lodge_error *err);

/*
 * For tests: puts a failure in the way of transfers of swap and of files that are mapped, as lodge(1) describes under --inject. Rules
 * add up. -EINVAL (no such rule), -ENOMEM.
 */
int lodge_host_inject(struct lodge_host *host, const char *rule, struct lodge_error *err);

/* Closes a host whose spaces have been destroyed. NULL is allowed. Returns the frames still owned by anyone: 0. */
uint64_t lodge_host_close(struct lodge_host *host);

/*
 * A readable report of the host's memory: how many frames there are and who has them (the counts add up), each zone, and
 * the caches of lodge's own objects in the format of /proc/slabinfo. Exact while no space runs. 0 or -EIO.
 */
int lodge_host_report(struct lodge_host *host, FILE *out);

enum lodge_trace {
	LODGE_TRACE_FAULT = 1,
	LODGE_TRACE_SYSCALL = 2,
	LODGE_TRACE_EXIT = 4,
	LODGE_TRACE_VMF = 8,	/* what each fault found and left: area, entries, frames */
	LODGE_TRACE_DEATH = 16, /* faults that end processes other than the first, which is told of anyway */
};

/* When anonymous memory is mapped by 2 MiB at once. */
enum lodge_thp {
	LODGE_THP_MADVISE, /* where the program asked for it (MADV_HUGEPAGE), and where its use shows to be dense */
	LODGE_THP_ALWAYS, /* wherever 2 MiB fit */
	LODGE_THP_NEVER,
};

/* What the network of a space is. */
enum lodge_net {
	LODGE_NET_NONE,	 /* sockets within the space alone: AF_UNIX */
	LODGE_NET_LOCAL, /* the host's loopback addresses, and nothing else */
	LODGE_NET_HOST,	 /* the host's */
};

/* What happens when a space needs memory that it may not own, after all that can be given up was. */
enum lodge_oom {
	LODGE_OOM_KILL, /* the process with the most memory is killed, and a line says so, as Linux does it */
	/*
	 * No more is promised than there is (as with vm.overcommit_memory 2), so that mmap, brk and fork return ENOMEM; so do calls
	 * that find no memory for the guest's pages. A fault that finds none all the same kills, since it cannot say so.
	 */
	LODGE_OOM_ENOMEM,
	LODGE_OOM_STOP, /* on_oom is asked */
};

enum lodge_oom_answer {
	LODGE_OOM_END,		/* all processes are killed, and lodge_space_run returns -ENOMEM */
	LODGE_OOM_RETRY,	/* the caller has seen to it, with lodge_space_set_memory for one */
	LODGE_OOM_KILL_LARGEST, /* as LODGE_OOM_KILL */
};

/* How system calls reach lodge: docs/traps.md. */
enum lodge_traps {
	LODGE_TRAPS_EXIT, /* each by an exit from the virtual machine */
	LODGE_TRAPS_AUTO, /* without one where that pays at the moment: what lodge_space_options_init sets */
	LODGE_TRAPS_POLL, /* without one wherever that is possible */
};

/* When pages of a snapshot come. */
enum lodge_pages {
	/*
	 * LODGE_PAGES_PREFETCH where an earlier run was recorded; else LODGE_PAGES_UFFD where the space has room for all of them and a quarter
	 * more; else LODGE_PAGES_LAZY.
	 */
	LODGE_PAGES_AUTO,
	/* When they are touched; where an earlier run was recorded, what it touched is read meanwhile, in that order. */
	LODGE_PAGES_PREFETCH,
	LODGE_PAGES_LAZY, /* when they are touched */
	LODGE_PAGES_EAGER, /* all of them before lodge_snapshot_load returns, as far as there is memory: a 64th is left */
	LODGE_PAGES_RECORD, /* when they are touched, each by itself, and their order is noted: lodge_snapshot_save_order */
	/*
	 * Those of whole aligned 2 MiB when they are touched by anybody, many at once, into frames that are there from the beginning; others,
	 * and all where the machine has no userfaultfd for us, as LODGE_PAGES_LAZY: docs/userfaultfd.md.
	 */
	LODGE_PAGES_UFFD,
};

/* Whether call sites in programs' text may be rewritten, where calls need no exit anyway and an instruction costs much: docs/traps.md. */
enum lodge_patch {
	LODGE_PATCH_OFF,
	LODGE_PATCH_AUTO, /* those that are used much */
};

/*
 * What stands where in the guest's file system. A mount hides what was there; the longer path counts, of equals the later. A first one
 * for "/" takes the place of the host's root.
 */
struct lodge_mount {
	const char *host;  /* a directory or file; NULL: an empty directory in the space's memory */
	const char *guest; /* absolute; NULL: the same path as on the host */
	int writable;
	int link; /* nonzero: `host` is the text of a symbolic link that stands at `guest`, in a directory of memory */
};

struct lodge_space_options {
	size_t size; /* sizeof(struct lodge_space_options) */
	uint64_t
		memory_bytes; /* frames the space may own, page tables included; 0: 256 MiB. Multiple of 4096, at least 64 KiB */
	uint32_t
		fault_around_pages; /* widest window of anonymous memory mapped by one fault: 1..512, a power of two; 0: default */
	int aslr;   /* nonzero: random layout */
	int fds[3]; /* the guest's descriptors 0, 1, 2; -1: closed. Not taken over */
	const char *const
		*rw_dirs;   /* directories the guest may write below; NULL-terminated, or NULL: none */
	unsigned int trace; /* enum lodge_trace bits: one line per event through `log` */
	/* Where traces and the report of a guest's death go, a line at a time without newline; NULL: nowhere. */
	void (*log)(void *ctx, const char *line);
	void *log_ctx;
	uint32_t max_pids; /* processes and threads that may be there at once; 0: 512 */
	enum lodge_thp thp;
	enum lodge_net net;
	enum lodge_oom oom;
	/*
	 * With LODGE_OOM_STOP: called on the thread of the task that needs memory, by one task at a time; others that need some wait. It
	 * may call lodge_space_set_memory and lodge_space_stats. NULL: LODGE_OOM_END.
	 */
	enum lodge_oom_answer (*on_oom)(void *ctx);
	void *on_oom_ctx;
	const struct lodge_mount *mounts; /* beside rw_dirs, and before them */
	size_t nr_mounts;
	const char *cwd; /* the guest's; NULL: the caller's, or "/" where the guest has it not */
	/* Pages of 2 MiB for MAP_HUGETLB, taken from the space's memory when it is made. */
	uint64_t hugepages;
	uint64_t
		memory_high_bytes; /* with more than that it gives up what it can, and is slowed down; a multiple of 4096; 0: never */
	/* What goes rather when memory is short, 0..200: 0 pages of files, 200 anonymous ones, 100 both alike; vm.swappiness there. */
	uint32_t swappiness;
	enum lodge_traps traps;
	/*
	 * Called on a task's thread when the first process would be stopped by SIGTSTP, SIGTTIN or SIGTTOU, whose parent is not of its
	 * world: stops all of the caller's process, for one. When it returns the program goes on. NULL: it does so at once.
	 */
	void (*on_stop)(void *ctx, int signal);
	void *on_stop_ctx;
	/*
	 * on_call is called on a task's thread when a task is about to make the call of this name for the at_call_nth time, those of all tasks
	 * counted together and calls that are made again counted again. The task stands still until it returns: meanwhile another thread
	 * may clone or save the space, in which the call was not made yet. at_call NULL: never; at_call_nth 0: the first time.
	 */
	const char *at_call;
	uint64_t at_call_nth;
	void (*on_call)(void *ctx);
	void *on_call_ctx;
	enum lodge_pages pages; /* of lodge_snapshot_load */
	enum lodge_patch patch;
	/*
	 * Whom the program takes itself for: a user's and a group's number, to which the files of who runs lodge belong in its eyes. It
	 * gets no other rights to them. NULL: who runs lodge.
	 */
	const uint32_t *user;
	/*
	 * Signals that the program begins with as ignored, as one does whose parent ignores them (nohup): bit n-1 stands for signal n.
	 * SIGKILL and SIGSTOP do not count.
	 */
	uint64_t ignored_signals;
};

/* Fills in the defaults: fds 0, 1, 2, swappiness 60, everything else 0. */
void lodge_space_options_init(struct lodge_space_options *opt);

/* An empty space. Errors: -EINVAL (an option out of range), -ENOMEM, what opening an rw_dirs entry gave. */
int lodge_space_create(struct lodge_host *host, const struct lodge_space_options *opt,
		       struct lodge_space **space, struct lodge_error *err);

/*
 * Loads a program (ELF64, or a script with #!, and the dynamic linker it names) with NULL-terminated argv and envp. `path` is a path
 * of the host; without a slash it is searched in PATH of envp. Errors: -ENOENT, -EACCES, -ENOEXEC (not a program for this
 * machine), -ENOMEM (needs more than the space may own), -ELIBBAD (its dynamic linker is none), -E2BIG, -ELOOP (#! lines in
 * a circle), -EINVAL (malformed).
 */
int lodge_space_load(struct lodge_space *space, const char *path, const char *const *argv,
		     const char *const *envp, struct lodge_error *err);

/* How a program ended. */
struct lodge_exit {
	int signal; /* 0: it exited with `status` */
	int status;
};

/*
 * Runs the loaded program to its end on the calling thread. Errors: -EINVAL (nothing loaded), -EIO (the host failed), -ENOMEM (it was
 * ended by LODGE_OOM_STOP; *exit is filled in all the same).
 */
int lodge_space_run(struct lodge_space *space, struct lodge_exit *exit, struct lodge_error *err);

/* Ends the program with `signal`, soon. Any thread; not from a signal handler. */
void lodge_space_kill(struct lodge_space *space, int signal);

/* What a program makes of a signal. */
enum lodge_signal_use {
	LODGE_SIGNAL_TAKEN,   /* it has a handler for it, or holds it back until it asks for it */
	LODGE_SIGNAL_IGNORED, /* or its default does nothing */
	LODGE_SIGNAL_DEFAULT, /* it would end it, or stop it */
};

/*
 * Sends a signal from outside to the program's first process, as kill(2) does, if it is LODGE_SIGNAL_TAKEN there: whoever is told otherwise
 * has lodge_space_kill. Returns its enum lodge_signal_use; -ESRCH: the process has ended; -EINVAL: there is no such signal. Any thread.
 */
int lodge_space_signal(struct lodge_space *space, int signal);

/*
 * Hands on a signal that the host has made for the terminal of the caller's session (SIGINT, SIGQUIT, SIGTSTP, SIGWINCH, SIGHUP,
 * SIGCONT): to the group that the program has put in front of it. 0, or -ENOTTY: the space does not have that terminal. Any thread.
 */
int lodge_space_terminal_signal(struct lodge_space *space, int signal);

/* Changes the memory limit, from any thread. Less than the space owns stops it from getting more. -EINVAL: as memory_bytes. */
int lodge_space_set_memory(struct lodge_space *space, uint64_t memory_bytes);

/* Changes how system calls reach lodge, from any thread; each thread of the program follows with its next one. -EINVAL: no such way. */
int lodge_space_set_traps(struct lodge_space *space, enum lodge_traps traps);

#define LODGE_LATENCY_BUCKETS 24

/* All counts since the space was created; memory in pages of 4096 bytes. */
struct lodge_stats {
	uint64_t limit_pages, usage_pages,
		peak_usage_pages; /* what the space owns: frames, cache, page tables */
	uint64_t rss_anon_pages, rss_file_pages, rss_shmem_pages, peak_rss_pages, table_pages, total_vm_pages;
	uint64_t nr_vmas;
	uint64_t minor_faults, major_faults, fault_around_pages;
	uint64_t exits, syscalls, fault_exits, exception_exits, kicks;
	uint64_t polled_syscalls; /* calls without an exit, not among syscalls */
	uint64_t gate_answers;	  /* calls that ended without reaching lodge, not among either */
	uint64_t revocations, revoked_ptes, pokes, flushes;
	uint64_t unknown_syscalls; /* calls answered -ENOSYS */
	uint64_t wall_ns, guest_cpu_ns;
	uint64_t
		poll_cpu_ns; /* processor time of the threads that looked for polled_syscalls and made them */
	/* Time in which a task of the space waited for memory, and in which none got on for that reason. */
	uint64_t stall_some_ns, stall_full_ns;
	uint64_t room_faults;	   /* faults that found no memory and had to make room themselves */
	uint64_t throttled_faults; /* faults that memory_high_bytes made wait */
	/* Faults whose private page was in a slot, or on its way from there; and of those, that waited for a device. */
	uint64_t swap_faults, swap_wait_faults;
	uint64_t swap_pages; /* slots that the space's pages are in */
	/* Of all spaces of the host together: pages that reclaim looked at and freed, and those that came back. */
	uint64_t scanned_pages, reclaimed_pages, refaulted_pages;
	/* Pages read and written, and those that came or went without: all of one word, or as their slot has them. */
	uint64_t swap_in_pages, swap_out_pages;
	uint64_t swap_in_same_pages, swap_out_same_pages, swap_out_clean_pages;
	/* Those that came from and went to compressed memory instead, and went from there to files; what is in it of this space, and its frames. */
	uint64_t compress_in_pages, compress_out_pages, compress_back_pages;
	uint64_t compressed_pages, compressed_frames;
	uint64_t swap_ahead_pages, swap_ahead_hit_pages; /* read along with others, and used then */
	uint64_t rewritten_sites,
		kept_sites;	       /* call sites that became jumps; that were looked at and had to stay */
	uint64_t rewritten_site_calls; /* calls by such a jump: they are among the others */
	uint64_t pause_ns; /* how long the program last stood still for a copy, from when it was asked to */
	/* The space's faults that waited for a device: [0] less than 1 us, [i] less than 2^i us, the last one all others. */
	uint64_t major_fault_us[LODGE_LATENCY_BUCKETS];
};

/* The counts now; after the program ended, as they were at its end. */
void lodge_space_stats(struct lodge_space *space, struct lodge_stats *stats);

/* A readable report, or one JSON object on one line. 0 or -EIO. */
int lodge_space_report(struct lodge_space *space, FILE *out);
int lodge_space_report_json(struct lodge_space *space, FILE *out);

/* The areas in the format of /proc/pid/maps; after the program ended, as they were at its end. 0 or -EIO. */
int lodge_space_maps(struct lodge_space *space, FILE *out);

enum lodge_dump {
	LODGE_DUMP_MM = 1,     /* the space: layout, counts */
	LODGE_DUMP_AREAS = 2,  /* every field of every area */
	LODGE_DUMP_TABLES = 4, /* every entry of its page tables, from the root down */
	LODGE_DUMP_PAGES = 8,  /* every page that is mapped, with its frame */
};

/* For looking for faults: the parts named in `what`, in this order. The text may change with any version. 0, -EINVAL, -EIO. */
int lodge_space_dump(struct lodge_space *space, unsigned int what, FILE *out);

/*
 * A second space in the state of one that runs, on a thread of its own, or of one that did not run yet. Its processes, threads,
 * registers, signals, timers and open files are its own from here on; memory is shared until either writes to it, and charged to whom it
 * was charged; what it gets later is charged to the clone, up to the same limit. A clone does not run before lodge_space_run, and
 * until then it is a snapshot: as many clones as wanted can be made of it, and spaces be reset to it.
 *
 * `fds` take the place of the descriptors that the space was created with, as in lodge_space_options; NULL: the same ones. Files, and
 * what else is outside the space, are the same for both. Any thread but that of on_oom and log; the program notices nothing.
 * Errors: -EINVAL (the program has ended), -ENOTSUP (it has what cannot be cloned, a socket for one: *err names it), -EBUSY (a thread is in a
 * call of the host that does not end), -EMFILE, -ENOMEM.
 */
int lodge_space_clone(struct lodge_space *space, const int fds[3], struct lodge_space **clone,
		      struct lodge_error *err);

/*
 * Puts a space that does not run, or has run to its end, into the state of another one of its host, as lodge_space_clone would; it
 * keeps its limit and its descriptors. Takes as long as a clone, and as it takes to free what the space has alone. Errors as
 * lodge_space_clone, and -EBUSY: it runs; the space is as it was.
 */
int lodge_space_reset(struct lodge_space *space, struct lodge_space *to, struct lodge_error *err);

/* Memory that was written to, by the process that has this number. */
struct lodge_dirty {
	int pid;
	uint64_t address, pages;
};

/*
 * Where the private memory of a space is not what it is in `since`, a clone of it or what it is a clone of: up to `max` ranges, in the
 * order of processes and addresses. How many there are, even if there is no room for them; or -errno as lodge_space_clone.
 */
int64_t lodge_space_dirty(struct lodge_space *space, struct lodge_space *since, struct lodge_dirty *ranges,
			  size_t max, struct lodge_error *err);

/*
 * Writes the state of a space, as lodge_space_clone would copy it, into a file: the space goes on while its memory is written. A file of
 * that name is replaced when all is there, or stays. What the world has (files, the caller's descriptors) is in it by name. Errors: as
 * lodge_space_clone, -ENOTSUP: a file that is open or mapped has no name any more; what writing gave.
 */
int lodge_snapshot_save(struct lodge_space *space, const char *path, struct lodge_error *err);

/* All zero: as lodge_snapshot_save has it. */
struct lodge_save_options {
	/*
	 * Pages that another snapshot has at the same addresses are read from there. So it has to stay where it is, or lie beside the new one, as
	 * it is, for as long as that is used; it may be based on another one itself. NULL: none.
	 */
	const char *base;
	int compress; /* not 0: pages are stored by 64 KiB, which zstd makes smaller, and unpacked when one of them is touched */
};

/* Errors besides: as lodge_snapshot_load for the base. */
int lodge_snapshot_save_as(struct lodge_space *space, const char *path, const struct lodge_save_options *opt,
			   struct lodge_error *err);

/*
 * A space in the state that a file has, which may be used as a clone that does not run yet. Its memory comes from the file when it is touched, so
 * that must stay as it is; spaces that are cloned from it share what neither has written. Of `opt` counts what a space is created with but its
 * layout; memory_bytes 0: as it was; files that were open must be in its view. A page that is not what was saved is SIGBUS for who
 * touches it. The file is closed with the last space that has pages of it: there is no call for that. Errors, each with its reason in *err: -EINVAL (no snapshot), -ENOTSUP (of another version), -ENOEXEC (of another machine), -EBADMSG
 * (damaged), -ESTALE (a file that it maps has changed), what opening its files gave, -EPERM (too many are open), -ENOMEM.
 */
int lodge_snapshot_load(struct lodge_host *host, const char *path, const struct lodge_space_options *opt,
			struct lodge_space **space, struct lodge_error *err);

/*
 * Writes the order in which a space that was loaded with LODGE_PAGES_RECORD has touched its pages so far into a file beside the snapshot, whose
 * name has ".order" behind it; also when it has ended. Later loads of the same snapshot find it there. -EINVAL: it was not
 * loaded so; what writing gave.
 */
int lodge_snapshot_save_order(struct lodge_space *space, struct lodge_error *err);

/* Checks the file and describes it, a "name value" per line. Errors as lodge_snapshot_load, and -EIO. */
int lodge_snapshot_info(const char *path, FILE *out, struct lodge_error *err);

/* Frees the space and all it owns. NULL is allowed. */
void lodge_space_destroy(struct lodge_space *space);

/* One row of what this machine offers. */
struct lodge_feature {
	const char *name;    /* "kvm", "userfaultfd", ...; static storage */
	int ok;		     /* nonzero: there */
	int required;	     /* nonzero: guests cannot run without it */
	const char *purpose; /* what lodge uses it for; static storage */
	char found[96];	     /* what was found */
	char remedy[160];    /* how to get it when it is missing, else "" */
};

/* Fills up to max rows and returns how many there are. */
int lodge_probe(struct lodge_feature *rows, int max);

#ifdef __cplusplus
}
#endif
#endif
