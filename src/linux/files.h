/* SPDX-License-Identifier: MIT */
/*
 * files.h - a guest's descriptors and its view of the host's file system.
 *
 * A guest descriptor stands for a host descriptor of ours; guests never see ours. What stands where, and what may be written,
 * says the view (view.h).
 *
 *   F1  whatever is opened for writing by path lies in a writable mount, or is a harmless device (/dev/null and kin)
 *   F2  no path leads into procfs entries of a process: /proc/self and /proc/PID of the guest are made by lodge or refused
 *   F3  a host descriptor of lodge itself is never reachable by number, by /proc or by a magic link
 *   F4  no guest makes a device node or a file that changes the identity of who runs it
 *   F5  an open file lives while a table has it or a call uses it: what another thread closes meanwhile is closed behind the call
 * Locking: files->lock and fs->lock, innermost; an open file is constant but for its references.
 * Not here: what a path leads to (path.h), what lodge shows of /proc/self (procfs.h).
 */
#ifndef LODGE_LINUX_FILES_H
#define LODGE_LINUX_FILES_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "../mm/types.h"
#include "filelock.h"
#include "procfs.h"

struct sandbox;
struct mqueue;
struct notice;
struct pressure;
struct signalfd;
struct task;
struct tty;
struct view;

#define NR_OPEN_DEFAULT 1024 /* soft RLIMIT_NOFILE of a guest */
#define NR_OPEN_MAX	4096 /* hard: places of a table */

/* An open file. Tables that were copied by fork share it, as they share its offset. */
struct guest_file {
	_Atomic uint32_t refs;
	int host_fd;  /* (C) only the caller's may stand behind two guest descriptors */
	bool owned;   /* (C) close host_fd with the last reference; false for the caller's 0, 1, 2 */
	bool known;   /* (C) what the host has there was looked at: the fields up to socket_type are true */
	bool regular; /* (C) a file with a cache of its own: dev and ino are its identity */
	uint64_t dev, ino;
	bool only_path; /* (C) O_PATH */
	bool stream;	/* (C) a pipe, terminal or socket: reading and writing may wait for others */
	bool records;	/* (C) an anonymous inode of the host's, as of inotify: a read gives whole records */
	int socket_domain, socket_type; /* (C) AF_ and SOCK_ of a socket; 0: it is none */
	uint64_t process_serial;	/* (C) a pidfd: of which process; 0: no pidfd */
	struct proc_entry proc;		/* (C) what lodge makes of it; PROC_NONE: nothing */
	struct memfd *memfd;		/* (C) what is behind a descriptor of one, or NULL */
	struct signalfd *signalfd;	/* (C) likewise */
	struct mqueue *mqueue;		/* (C) likewise */
	struct pressure *pressure;	/* (C) likewise of /proc/pressure/memory */
	struct tty *tty;		/* (C) of a terminal, or NULL */
	bool tty_master;		/* (C) the other side of it */
	_Atomic int owner_type, owner;	/* (A) as F_SETOWN_EX has them */
	_Atomic int signo;		/* (A) as F_SETSIG has it */
	struct notice *notice;		/* (notices->lock) to change: what it may tell its owner, or NULL */
};

/* What is an eventfd for the host alone is never ready for writing. */
static inline bool guest_file_only_tells(const struct guest_file *file)
{
	return file->signalfd || file->process_serial;
}

/* A table of descriptors, of one process or more. */
struct files {
	_Atomic uint32_t refs;
	pthread_mutex_t lock;
	struct {
		struct guest_file *file; /* (lock) NULL: free */
		bool cloexec;		 /* (lock) */
	} fd[NR_OPEN_MAX];
	int end;		 /* (lock) above it there was never a file */
	struct view *view;	 /* (C) one reference */
	struct sandbox *sandbox; /* (C) */
	struct filelocks locks;	 /* of processes, by file */
};

/* Working directory and umask, of one process or more. */
struct fs {
	_Atomic uint32_t refs;
	pthread_mutex_t lock;
	struct guest_file *cwd; /* (lock) O_PATH; its path is what the host says it is now */
	_Atomic mode_t umask;
	mode_t host_umask; /* (C) of our own process: the host applies it as well */
};

/* An open file; takes host_fd over if it is owned. NULL: no memory, and host_fd is still the caller's. */
struct guest_file *guest_file_new(int host_fd, bool owned);
struct guest_file *guest_file_share(struct guest_file *file);
/* 0, or what the host said about closing. */
int guest_file_put(struct guest_file *file);

/* What `like` of files_install knows of a regular file or directory that was looked at, and is open for more than its path. */
void guest_file_know(struct guest_file *like, const struct stat *st);

/* An empty table, with a reference of the view; NULL: no memory. */
struct files *files_new(struct view *view);
/* A table that was made by files_new is a sandbox's, with the terminals that are in it. */
void files_enter_sandbox(struct files *f, struct sandbox *s);

/* fds: host descriptors for 0, 1, 2, or -1. Takes a reference of the view. 0 or -ENOMEM. */
int files_create(const int fds[3], struct view *view, struct sandbox *s, struct files **result);
struct files *files_share(struct files *f);
/* A table of its own with the same open files; NULL: no memory. */
struct files *files_copy(struct files *f);
/* NULL is allowed. */
void files_release(struct files *f);
/* Closes what is marked so: what an exec does. */
void files_close_on_exec(struct files *f);

/* `cwd`: a path of the view; NULL: our own working directory, or "/" where the view does not have that. 0 or -errno. */
int fs_create(const struct view *view, const char *cwd, struct fs **result);
struct fs *fs_share(struct fs *fs);
struct fs *fs_copy(struct fs *fs);
void fs_release(struct fs *fs);
/* Takes host_fd over. 0 or -ENOMEM. */
int fs_set_cwd(struct fs *fs, int host_fd);
/* The host descriptor of the working directory. */
int fs_cwd(struct fs *fs);

/*
 * The open files that the calls of this thread use, until files_holds_drop. Where nobody says enter (or the table has one
 * user) there is nobody who could close them.
 */
#define FILES_MAX_HOLDS (NR_OPEN_MAX + 64)

struct files_holds {
	unsigned int nr;
	struct guest_file *file[FILES_MAX_HOLDS];
};

/* nr_open: RLIMIT_NOFILE of whose calls they are, one above the highest number that is given out; NULL: NR_OPEN_DEFAULT. */
void files_limit_enter(const _Atomic uint32_t *nr_open);
uint32_t files_limit(void);

void files_holds_enter(struct files_holds *h);
void files_holds_drop(struct files_holds *h);

/* Gives a free number of a table to an open file, whose reference is taken over. The lock is held, or the table is nobody's yet. */
static inline void files_set(struct files *f, int guest_fd, struct guest_file *file, bool cloexec)
{
	f->fd[guest_fd].file = file;
	f->fd[guest_fd].cloexec = cloexec;
	if (file && guest_fd >= f->end)
		f->end = guest_fd + 1;
}

/* One above the highest number that may have a file. */
int files_end(struct files *f);

/* The host descriptor behind a guest's, or -EBADF. */
int files_host_fd(struct files *f, int guest_fd);

/* The host descriptor to be polled in the place of a file, or put into an epoll set. */
int guest_file_poll_fd(const struct guest_file *file);

/* The open file behind a guest descriptor, or NULL. */
struct guest_file *files_get(struct files *f, int guest_fd);

/* The same, but for one that is open for its path alone (O_PATH). */
struct guest_file *files_get_open(struct files *f, int guest_fd);

/* Whether a descriptor of it is in the table. */
bool files_have_signalfd(struct files *f, const struct signalfd *s);

/* FD_CLOEXEC of an open descriptor; of a closed one: false, and nothing. */
bool files_cloexec(struct files *f, int guest_fd);
void files_set_cloexec(struct files *f, int guest_fd, bool on);

/* The lowest free guest number >= min, or -EMFILE. */
int files_next(struct files *f, int min);

/*
 * Gives host_fd (taken over) the lowest free guest number >= min: the number, or -EMFILE or -ENOMEM (host_fd is closed).
 * `like`: whose kind (proc, process_serial, signalfd, pressure) the new file has; if it is known, it is the same for the host. NULL: none.
 */
int files_install(struct files *f, int host_fd, bool cloexec, int min, const struct guest_file *like);

/*
 * Gives host_fd (taken over) the number guest_fd, which is within the table; what was there is closed. 0, or -ENOMEM (host_fd
 * is closed).
 */
int files_put(struct files *f, int guest_fd, int host_fd, bool cloexec, const struct guest_file *like);

/* 0, -EBADF, or what the host said about closing; the number is free in any case. */
int files_close(struct files *f, int guest_fd);

#endif
