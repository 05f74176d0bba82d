/* SPDX-License-Identifier: MIT */
/*
 * tty.h - terminals as sessions see them: whose terminal one is, which group is in front, who may read it.
 *
 * To the host lodge is one process, so its terminals know nothing of the guest's sessions and groups. What Linux keeps of them in a
 * tty is kept here; characters, settings and sizes are the host's line discipline's.
 *
 *	lodge's own terminal    that of the first session from the start. The host makes its signals for lodge, which hands them
 *	                        on (tty_signal): to the group in front, never to all that runs in lodge
 *	a pair made inside      the host has no session for it: signals are made here, from what is written to the master
 *
 * Locking: all (P), sandbox->lock. tty_drop takes it, so nobody gives a file back under it.
 */
#ifndef LODGE_LINUX_TTY_H
#define LODGE_LINUX_TTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../mm/list.h"
#include "../mm/types.h"

struct guest_file;
struct process;
struct process_ids;
struct sandbox;
struct stat;
struct task;
struct uio;

/* Pairs that a sandbox may have open: the host's are for everybody. */
#define TTY_MAX_PAIRS 128

struct tty {
	struct list_head node; /* (P) in sandbox->ttys */
	struct sandbox *sandbox;
	uint64_t dev;	       /* (C) st_rdev of the terminal; of a pair, of its slave */
	unsigned int nr_files; /* (P) open files, both sides */
	unsigned int nr_masters;
	bool pair;    /* (C) made in the sandbox, and gone with its last master */
	int sid;      /* (P) whose terminal it is; 0: nobody's */
	int pgid;     /* (P) the group in front; 0: none */
	bool literal; /* (P) VLNEXT was the last character written to the master */
};

/* The terminal of lodge itself, if it has one, becomes the first process's. 0 or -ENOMEM. */
int ttys_begin(struct sandbox *s);
/* A copy of a sandbox has the same groups in front of what is not a pair. 0 or -ENOMEM. */
int ttys_clone(struct sandbox *to, struct sandbox *from);
/* When no file is open any more. */
void ttys_end(struct sandbox *s);

/* The terminal behind a descriptor that a table gets, with a reference, or NULL; *master: it is the other side of a pair. */
struct tty *tty_adopt(struct sandbox *s, int host_fd, bool *master);
/* NULL is allowed. With the last master its session ends, as when a line hangs up. */
void tty_drop(struct tty *tty, bool master);

/* --- opening --------------------------------------------------------------------------------- */

/* /dev/tty: the host's descriptor for the terminal of the caller's session, or -ENXIO. */
int tty_open_own(struct task *t, int flags);
/* /dev/ptmx: likewise a new pair's master, or -ENOSPC. */
int tty_open_pair(struct task *t, int flags);
/* Whether the guest may open a terminal of the host by name: one that it has already. */
bool tty_is_ours(struct task *t, const struct stat *st);
/* A session leader without a terminal that opens one without O_NOCTTY has one. */
void tty_opened(struct task *t, int guest_fd, int flags);

/* --- use ------------------------------------------------------------------------------------- */

/*
 * A background group that reads (SIGTTIN) or changes (SIGTTOU) its terminal is sent that signal: -EINTR, to be restarted, or -EIO where
 * it would not help. 0: go on.
 */
int tty_check(struct task *t, const struct guest_file *file, int signo);
/* The same before a transfer. */
int tty_check_transfer(struct task *t, const struct guest_file *file, bool to_file);

/* What of `u` from `from` on has been written to a master may have been ^C and kin. */
void tty_written(struct task *t, const struct guest_file *file, const struct uio *u, size_t bytes);

/* The ioctls about sessions and groups; *ret only when true: it was one of them. */
bool tty_ioctl(struct task *t, const struct guest_file *file, unsigned int cmd, uint64_t argument,
	       int64_t *ret);
/* The size of a terminal has been set, and was another. */
void tty_resized(struct task *t, const struct guest_file *file);

/* --- with sandbox->lock held ----------------------------------------------------------------- */

/* The numbers of p's terminal; p may be a copy that has outlived it. */
void tty_tell(const struct process *p, struct process_ids *ids);

/* A session has ended with its leader. */
void tty_leader_ended(struct process *p);

/* A signal that the host made for lodge's terminal: to the group in front; SIGHUP to the session's leader as well. False: nobody's. */
bool tty_signal(struct sandbox *s, int signo);

#endif
