/* SPDX-License-Identifier: MIT */
/*
 * tty.c - terminals and sessions. See tty.h.
 *
 *   T1  a tty with a sid is the terminal of that session, and of no other; its processes' tty is it or NULL
 *   T2  a pair is in the list exactly while a file of either side is open; its terminal may be opened while a master is
 * Rules: tty_ioctl(4), tty_jobctrl.c of Linux for behaviour.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "host_wait.h"
#include "task.h"
#include "tty.h"
#include "uio.h"

#define TTYAUX_MAJOR  5 /* minor 0: /dev/tty, 2: /dev/ptmx */
#define PTS_MAJOR     136
#define PTS_MINORS    256
#define WRITTEN_BYTES 256
#define HANDLER_IGN   ((uint64_t)1)
#define MASK(signo)   (1ull << ((signo)-1))

/* --- which terminal -------------------------------------------------------------------------- */

/* The device number of lodge's own terminal; 0: it has none. */
static uint64_t own_terminal(void)
{
	FILE *stat = fopen("/proc/self/stat", "re");
	unsigned int nr = 0;
	char line[512];
	const char *behind;

	if (stat && fgets(line, sizeof(line), stat)) {
		behind = strrchr(line, ')');
		if (!behind || sscanf(behind + 1, " %*c %*d %*d %*d %u", &nr) != 1)
			nr = 0;
	}
	if (stat)
		fclose(stat);
	return makedev(nr >> 8 & 0xfff, (nr & 0xff) | (nr >> 12 & 0xfff00));
}

/* The device number of the terminal behind a descriptor, 0 when there is none. */
static uint64_t terminal_of(int host_fd, bool *master)
{
	struct termios settings;
	unsigned int number;
	struct stat st;

	*master = false;
	if (fstat(host_fd, &st) || !S_ISCHR(st.st_mode) || tcgetattr(host_fd, &settings))
		return 0;
	if (st.st_rdev == makedev(TTYAUX_MAJOR, 0))
		return own_terminal();
	if (ioctl(host_fd, TIOCGPTN, &number))
		return st.st_rdev;
	*master = true;
	return makedev(PTS_MAJOR + number / PTS_MINORS, number % PTS_MINORS);
}

/* The lock is held. */
static struct tty *find(struct sandbox *s, uint64_t dev)
{
	struct tty *tty;

	list_for_each_entry (tty, &s->ttys, node)
		if (tty->dev == dev)
			return tty;
	return NULL;
}

/* The lock is held. NULL: no memory. */
static struct tty *find_or_add(struct sandbox *s, uint64_t dev, bool pair)
{
	struct tty *tty = find(s, dev);

	if (tty)
		return tty;
	tty = calloc(1, sizeof(*tty));
	if (!tty)
		return NULL;
	tty->sandbox = s;
	tty->dev = dev;
	tty->pair = pair;
	list_add_tail(&tty->node, &s->ttys);
	return tty;
}

struct tty *tty_adopt(struct sandbox *s, int host_fd, bool *master)
{
	uint64_t dev = terminal_of(host_fd, master);
	struct tty *tty;

	if (!s || !dev)
		return NULL;
	pthread_mutex_lock(&s->lock);
	tty = find_or_add(s, dev, *master);
	if (tty) {
		tty->nr_files++;
		tty->nr_masters += *master;
	}
	pthread_mutex_unlock(&s->lock);
	return tty;
}

int ttys_begin(struct sandbox *s)
{
	uint64_t dev = own_terminal();
	struct process *p;
	struct tty *tty;

	if (!dev)
		return 0;
	pthread_mutex_lock(&s->lock);
	tty = find_or_add(s, dev, false);
	if (tty) {
		tty->sid = s->first->sid;
		tty->pgid = s->first->pgid;
		list_for_each_entry (p, &s->processes, node)
			if (p->sid == tty->sid)
				p->tty = tty;
	}
	pthread_mutex_unlock(&s->lock);
	return tty ? 0 : -ENOMEM;
}

int ttys_clone(struct sandbox *to, struct sandbox *from)
{
	int err = ttys_begin(to), pgid = 0;
	uint64_t dev = 0;
	struct tty *tty;

	pthread_mutex_lock(&from->lock);
	list_for_each_entry (tty, &from->ttys, node)
		if (!tty->pair && tty->sid == from->first->sid) {
			dev = tty->dev;
			pgid = tty->pgid;
		}
	pthread_mutex_unlock(&from->lock);
	pthread_mutex_lock(&to->lock);
	tty = find(to, dev);
	if (tty && tty->sid)
		tty->pgid = pgid;
	pthread_mutex_unlock(&to->lock);
	return err;
}

void ttys_end(struct sandbox *s)
{
	struct tty *tty, *next;

	list_for_each_entry_safe (tty, next, &s->ttys, node) {
		list_del(&tty->node);
		free(tty);
	}
}

void tty_tell(const struct process *p, struct process_ids *ids)
{
	const struct tty *tty;

	ids->tty_nr = 0;
	ids->tty_pgid = -1;
	list_for_each_entry (tty, &p->sandbox->ttys, node) {
		if (tty != p->tty)
			continue;
		ids->tty_nr =
			(minor(tty->dev) & 0xff) | major(tty->dev) << 8 | (minor(tty->dev) & ~0xffu) << 12;
		ids->tty_pgid = tty->pgid ? tty->pgid : -1;
	}
}

/* --- sessions (sandbox->lock is held) -------------------------------------------------------- */

static bool is_leader(const struct process *p)
{
	return p->sid == p->pid;
}

static void signal_group(struct sandbox *s, int pgid, int signo)
{
	const siginfo_t info = {.si_signo = signo, .si_code = SI_KERNEL};
	struct process *p;

	list_for_each_entry (p, &s->processes, node)
		if (pgid && p->pgid == pgid)
			signal_send_process(p, signo, &info);
}

static void signal_leader(struct sandbox *s, int sid, int signo)
{
	const siginfo_t info = {.si_signo = signo, .si_code = SI_KERNEL};
	struct process *p = process_find(s, sid);

	if (p)
		signal_send_process(p, signo, &info);
}

/* The session has no terminal any more. */
static void part(struct tty *tty)
{
	struct process *p;

	list_for_each_entry (p, &tty->sandbox->processes, node)
		if (p->tty == tty)
			p->tty = NULL;
	tty->sid = tty->pgid = 0;
}

static void hang_up(struct tty *tty)
{
	struct process *leader = tty->sid ? process_find(tty->sandbox, tty->sid) : NULL;

	if (leader) {
		leader->tty_old_pgid = tty->pgid;
		signal_leader(tty->sandbox, tty->sid, SIGHUP);
		signal_leader(tty->sandbox, tty->sid, SIGCONT);
	}
	part(tty);
}

void tty_leader_ended(struct process *p)
{
	struct tty *tty = p->tty;

	if (!is_leader(p))
		return;
	if (tty) {
		signal_group(p->sandbox, tty->pgid, SIGHUP);
		part(tty);
	} else if (p->tty_old_pgid) {
		signal_group(p->sandbox, p->tty_old_pgid, SIGHUP);
		signal_group(p->sandbox, p->tty_old_pgid, SIGCONT);
	}
}

bool tty_signal(struct sandbox *s, int signo)
{
	struct process *first = s->first;
	struct tty *tty;

	list_for_each_entry (tty, &s->ttys, node)
		if (!tty->pair && tty->sid == first->pid) {
			if (signo == SIGHUP && tty->pgid != first->pgid)
				signal_leader(s, tty->sid, signo);
			signal_group(s, tty->pgid, signo);
			return true;
		}
	return false;
}

void tty_drop(struct tty *tty, bool master)
{
	struct sandbox *s = tty ? tty->sandbox : NULL;
	bool last;

	if (!tty)
		return;
	pthread_mutex_lock(&s->lock);
	tty->nr_files--;
	tty->nr_masters -= master;
	if (master && !tty->nr_masters)
		hang_up(tty);
	last = tty->pair && !tty->nr_files;
	if (last)
		list_del(&tty->node);
	pthread_mutex_unlock(&s->lock);
	if (last)
		free(tty);
}

/* --- opening --------------------------------------------------------------------------------- */

static int host_open(const char *path, int flags)
{
	int fd = open(path, (flags & (O_ACCMODE | O_NONBLOCK | O_APPEND)) | O_NOCTTY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* A terminal of the host by its number. */
static int open_pts(uint64_t dev, int flags)
{
	unsigned int number = (major(dev) - PTS_MAJOR) * PTS_MINORS + minor(dev);
	char path[32];
	struct stat st;
	int fd;

	if (major(dev) < PTS_MAJOR || major(dev) >= PTS_MAJOR + 8)
		return -ENXIO;
	snprintf(path, sizeof(path), "/dev/pts/%u", number);
	fd = host_open(path, flags);
	if (fd >= 0 && (fstat(fd, &st) || st.st_rdev != dev)) {
		close(fd);
		return -ENXIO;
	}
	return fd;
}

int tty_open_own(struct task *t, int flags)
{
	uint64_t dev, own = own_terminal();

	pthread_mutex_lock(&t->sandbox->lock);
	dev = t->process->tty ? t->process->tty->dev : 0;
	pthread_mutex_unlock(&t->sandbox->lock);
	if (!dev)
		return -ENXIO;
	return dev == own ? host_open("/dev/tty", flags) : open_pts(dev, flags);
}

static unsigned int nr_pairs(struct sandbox *s)
{
	unsigned int n = 0;
	struct tty *tty;

	pthread_mutex_lock(&s->lock);
	list_for_each_entry (tty, &s->ttys, node)
		n += tty->pair;
	pthread_mutex_unlock(&s->lock);
	return n;
}

int tty_open_pair(struct task *t, int flags)
{
	return nr_pairs(t->sandbox) < TTY_MAX_PAIRS ? host_open("/dev/ptmx", flags) : -ENOSPC;
}

bool tty_is_ours(struct task *t, const struct stat *st)
{
	struct tty *tty;
	bool ours;

	if (!S_ISCHR(st->st_mode))
		return false;
	pthread_mutex_lock(&t->sandbox->lock);
	tty = find(t->sandbox, st->st_rdev);
	ours = tty && (!tty->pair || tty->nr_masters);
	pthread_mutex_unlock(&t->sandbox->lock);
	return ours;
}

/* The lock is held. */
static void take(struct process *p, struct tty *tty)
{
	p->tty = tty;
	tty->sid = p->sid;
	tty->pgid = p->pgid;
}

void tty_opened(struct task *t, int guest_fd, int flags)
{
	const struct guest_file *file = files_get(t->files, guest_fd);
	struct process *p = t->process;

	if (!file || !file->tty || file->tty_master || (flags & (O_NOCTTY | O_PATH)) ||
	    (flags & O_ACCMODE) == O_WRONLY)
		return;
	pthread_mutex_lock(&t->sandbox->lock);
	if (is_leader(p) && !p->tty && !file->tty->sid)
		take(p, file->tty);
	pthread_mutex_unlock(&t->sandbox->lock);
}

/* --- who may use it -------------------------------------------------------------------------- */

static bool is_ignored(struct task *t, int signo)
{
	return (t->sig.blocked & MASK(signo)) || t->sighand->action[signo].handler == HANDLER_IGN;
}

/* The lock is held. -EINTR: the signal was sent. */
static int check(struct task *t, const struct tty *tty, int signo)
{
	struct process *p = t->process;

	if (p->tty != tty || !tty->pgid || tty->pgid == p->pgid)
		return 0;
	if (is_ignored(t, signo))
		return signo == SIGTTIN ? -EIO : 0;
	if (process_group_is_orphaned(t->sandbox, p->pgid, p->sid))
		return -EIO;
	signal_group(t->sandbox, p->pgid, signo);
	return -EINTR;
}

int tty_check(struct task *t, const struct guest_file *file, int signo)
{
	int ret;

	if (!file->tty || file->tty_master)
		return 0;
	pthread_mutex_lock(&t->sandbox->lock);
	ret = check(t, file->tty, signo);
	pthread_mutex_unlock(&t->sandbox->lock);
	return ret == -EINTR ? (int)host_wait_interrupted(t) : ret;
}

int tty_check_transfer(struct task *t, const struct guest_file *file, bool to_file)
{
	struct termios settings;

	if (!file->tty || file->tty_master)
		return 0;
	if (to_file && (tcgetattr(file->host_fd, &settings) || !(settings.c_lflag & TOSTOP)))
		return 0;
	return tty_check(t, file, to_file ? SIGTTOU : SIGTTIN);
}

/* --- signals of a pair ----------------------------------------------------------------------- */

/* The signal that a character makes, or 0. */
static int signal_of(const struct termios *settings, unsigned char c)
{
	if (!(settings->c_lflag & ISIG) || !c) /* 0 is _POSIX_VDISABLE */
		return 0;
	if (c == settings->c_cc[VINTR])
		return SIGINT;
	if (c == settings->c_cc[VQUIT])
		return SIGQUIT;
	return c == settings->c_cc[VSUSP] ? SIGTSTP : 0;
}

/* The lock is held. */
static void put_characters(struct tty *tty, const struct termios *settings, const unsigned char *c, size_t n)
{
	const tcflag_t line = ICANON | IEXTEN;

	for (size_t i = 0; i < n; i++) {
		int signo = tty->literal ? 0 : signal_of(settings, c[i]);

		if (signo)
			signal_group(tty->sandbox, tty->pgid, signo);
		tty->literal = !tty->literal && !signo && (settings->c_lflag & line) == line && c[i] &&
			       c[i] == settings->c_cc[VLNEXT];
	}
}

void tty_written(struct task *t, const struct guest_file *file, const struct uio *u, size_t bytes)
{
	unsigned char text[WRITTEN_BYTES];
	struct termios settings;

	if (!file->tty || !file->tty_master || tcgetattr(file->host_fd, &settings))
		return;
	for (unsigned int i = 0; bytes && i < u->nr; i++) {
		gva_t from = (gva_t)(uintptr_t)u->iov[i].iov_base;
		size_t left = min_u64(u->iov[i].iov_len, bytes), n;

		bytes -= left;
		for (; left; left -= n, from += n) {
			n = min_u64(left, sizeof(text));
			if (copy_from_user(t->mm, text, from, n))
				return;
			pthread_mutex_lock(&t->sandbox->lock);
			put_characters(file->tty, &settings, text, n);
			pthread_mutex_unlock(&t->sandbox->lock);
		}
	}
}

void tty_resized(struct task *t, const struct guest_file *file)
{
	if (!file->tty || !file->tty->pair)
		return;
	pthread_mutex_lock(&t->sandbox->lock);
	signal_group(t->sandbox, file->tty->pgid, SIGWINCH);
	pthread_mutex_unlock(&t->sandbox->lock);
}

/* --- ioctls ---------------------------------------------------------------------------------- */

/* What a group in front is called by who asks through lodge's terminal: the host's word counts while lodge is not in front. */
static int front_group(const struct tty *tty, int host_fd)
{
	pid_t host;

	if (tty->pair || ioctl(host_fd, TIOCGPGRP, &host) || host == getpgrp())
		return tty->pgid;
	return host;
}

static int64_t get_pgrp(struct task *t, const struct guest_file *file, uint64_t to)
{
	const struct tty *tty = file->tty;
	int pgid = -1;

	pthread_mutex_lock(&t->sandbox->lock);
	if (file->tty_master || t->process->tty == tty)
		pgid = front_group(tty, file->host_fd);
	pthread_mutex_unlock(&t->sandbox->lock);
	if (pgid < 0)
		return -ENOTTY;
	return copy_to_user(t->mm, to, &pgid, sizeof(pgid)) ? -EFAULT : 0;
}

/* The session of a group, or of a process that leads none; 0: there is neither. */
static int session_of(struct sandbox *s, int pgid)
{
	struct process *p;
	struct task *t;

	list_for_each_entry (p, &s->processes, node)
		if (p->pgid == pgid)
			return p->sid;
	t = task_find(s, pgid);
	return t ? t->process->sid : 0;
}

/* The lock is held. */
static int set_group(struct task *t, struct tty *tty, int pgid)
{
	const struct process *p = t->process;
	int sid;

	if (p->tty != tty || tty->sid != p->sid)
		return -ENOTTY;
	sid = session_of(t->sandbox, pgid);
	if (!sid)
		return -ESRCH;
	if (sid != p->sid)
		return -EPERM;
	tty->pgid = pgid;
	return 0;
}

static int64_t set_pgrp(struct task *t, const struct guest_file *file, uint64_t from)
{
	int pgid, ret;

	pthread_mutex_lock(&t->sandbox->lock);
	ret = check(t, file->tty, SIGTTOU);
	pthread_mutex_unlock(&t->sandbox->lock);
	if (ret)
		return ret == -EIO ? -ENOTTY : host_wait_interrupted(t);
	if (copy_from_user(t->mm, &pgid, from, sizeof(pgid)))
		return -EFAULT;
	if (pgid < 0)
		return -EINVAL;
	pthread_mutex_lock(&t->sandbox->lock);
	ret = set_group(t, file->tty, pgid);
	pthread_mutex_unlock(&t->sandbox->lock);
	return ret;
}

static int64_t get_sid(struct task *t, const struct guest_file *file, uint64_t to)
{
	int sid = 0;

	pthread_mutex_lock(&t->sandbox->lock);
	if (file->tty_master || t->process->tty == file->tty)
		sid = file->tty->sid;
	pthread_mutex_unlock(&t->sandbox->lock);
	if (!sid)
		return -ENOTTY;
	return copy_to_user(t->mm, to, &sid, sizeof(sid)) ? -EFAULT : 0;
}

/* The lock is held. Root may take another session's terminal. */
static int become_controlling(struct task *t, const struct guest_file *file, bool steal)
{
	struct process *p = t->process;
	struct tty *tty = file->tty;
	bool root = !t->cred.uid.effective;

	if (is_leader(p) && tty->sid == p->sid)
		return 0;
	if (!is_leader(p) || p->tty)
		return -EPERM;
	if (tty->sid && !(steal && root))
		return -EPERM;
	if ((fcntl(file->host_fd, F_GETFL) & O_ACCMODE) == O_WRONLY && !root)
		return -EPERM;
	if (tty->sid)
		part(tty);
	take(p, tty);
	return 0;
}

/* The lock is held. A leader takes the terminal from its whole session. */
static int give_up(struct task *t, struct tty *tty)
{
	struct process *p = t->process;
	int pgid = tty->pgid;

	if (p->tty != tty)
		return -ENOTTY;
	p->tty = NULL;
	if (!is_leader(p))
		return 0;
	part(tty);
	signal_group(t->sandbox, pgid, SIGHUP);
	signal_group(t->sandbox, pgid, SIGCONT);
	return 0;
}

static int send_by_master(struct task *t, const struct guest_file *file, uint64_t signo)
{
	if (!file->tty_master)
		return -ENOTTY;
	if (signo != SIGINT && signo != SIGQUIT && signo != SIGTSTP)
		return -EINVAL;
	pthread_mutex_lock(&t->sandbox->lock);
	signal_group(t->sandbox, file->tty->pgid, (int)signo);
	pthread_mutex_unlock(&t->sandbox->lock);
	return 0;
}

static bool has_hung_up(struct task *t, const struct tty *tty)
{
	bool gone;

	pthread_mutex_lock(&t->sandbox->lock);
	gone = tty->pair && !tty->nr_masters;
	pthread_mutex_unlock(&t->sandbox->lock);
	return gone;
}

bool tty_ioctl(struct task *t, const struct guest_file *file, unsigned int cmd, uint64_t argument,
	       int64_t *ret)
{
	if (!file->tty)
		return false;
	if (!file->tty_master && has_hung_up(t, file->tty)) {
		*ret = cmd == TIOCSPGRP ? -ENOTTY : -EIO;
		return true;
	}
	switch (cmd) {
	case TIOCGPGRP:
		*ret = get_pgrp(t, file, argument);
		return true;
	case TIOCSPGRP:
		*ret = set_pgrp(t, file, argument);
		return true;
	case TIOCGSID:
		*ret = get_sid(t, file, argument);
		return true;
	case TIOCSIG:
		*ret = send_by_master(t, file, argument);
		return true;
	case TIOCSTI: /* as with dev.tty.legacy_tiocsti = 0 */
		*ret = -EIO;
		return true;
	case TIOCSCTTY:
	case TIOCNOTTY:
		pthread_mutex_lock(&t->sandbox->lock);
		*ret = cmd == TIOCSCTTY ? become_controlling(t, file, argument == 1) : give_up(t, file->tty);
		pthread_mutex_unlock(&t->sandbox->lock);
		return true;
	default:
		return false;
	}
}
