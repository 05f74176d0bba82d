/* SPDX-License-Identifier: MIT */
/*
 * procfs.c - names, and files that are open. See procfs.h. Their directories: procfs_dir.c.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "files.h"
#include "path.h"
#include "pressure.h"
#include "procfs.h"
#include "task.h"
#include "uio.h"
#include "view.h"

#define PROC_PATH	 "/proc/"
#define SYS_PATH	 "/sys/"
#define WRITE_MAX_BYTES	 4096
#define LIVE_PIECE_BYTES 4096
#define MAX_TRIES	 100 /* nobody is in the way so often */

bool procfs_holds(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC);
}

bool procfs_holds_object(int fd, const struct stat *st)
{
	return !major(st->st_dev) && procfs_holds(fd);
}

/* --- names ----------------------------------------------------------------------------------- */

static bool is_component(const char *text, const char *name)
{
	size_t len = strlen(name);

	return !strncmp(text, name, len) && (!text[len] || text[len] == '/');
}

/* A decimal number that is all of the component at `text`; *end is behind it. -1: it is none. */
static long component_number(const char *text, const char **end)
{
	char *stop;
	long n;

	if (!isdigit((unsigned char)*text))
		return -1;
	n = strtol(text, &stop, 10);
	*end = stop;
	return (*stop && *stop != '/') ? -1 : n;
}

static const struct proc_file *table_find(const struct proc_file *table, const char *name)
{
	for (; table->name; table++)
		if (!strcmp(table->name, name))
			return table;
	return NULL;
}

static struct proc_entry file_entry(const struct proc_file *file, enum proc_kind otherwise)
{
	return (struct proc_entry){.kind = file ? PROC_FILE : otherwise, .file = file};
}

/* What follows "fd/" in the process directory. */
static struct proc_entry fd_entry(const char *name)
{
	const char *end;
	long n = component_number(name, &end);

	if (n < 0 || n > INT_MAX || *end)
		return (struct proc_entry){.kind = PROC_REFUSED};
	return (struct proc_entry){.kind = PROC_FD, .guest_fd = (int)n};
}

/* An entry of the directory of the process, or of its thread, by the way from there. */
static struct proc_entry own_entry(const char *name, bool thread)
{
	static const struct {
		const char *name;
		enum proc_kind kind;
	} made[] = {
		{"", PROC_DIR}, {"exe", PROC_EXE}, {"cwd", PROC_CWD}, {"root", PROC_ROOT}, {"fd", PROC_FDS},
	};
	const struct proc_file *file;

	for (unsigned int i = 0; i < ARRAY_SIZE(made); i++)
		if (!strcmp(name, made[i].name))
			return (struct proc_entry){.kind = made[i].kind, .thread = thread};
	if (!strncmp(name, "fd/", 3))
		return fd_entry(name + 3);
	file = table_find(proc_mem_files, name);
	return file_entry(file ? file : table_find(proc_task_files, name), PROC_REFUSED);
}

/* Below task/: the one thread, whose number on the host is that of ours. */
static struct proc_entry thread_entry(const struct task *t, const char *name)
{
	const char *end;
	long tid = component_number(name, &end);

	if (tid >= 0 && (tid == t->tid || tid == t->pid || tid == gettid() || tid == getpid()))
		return own_entry(*end ? end + 1 : end, true);
	return (struct proc_entry){.kind = PROC_REFUSED};
}

static struct proc_entry process_entry(const struct task *t, const char *name)
{
	if (!strcmp(name, "task"))
		return (struct proc_entry){.kind = PROC_TASKS};
	return strncmp(name, "task/", 5) ? own_entry(name, false) : thread_entry(t, name + 5);
}

/* Entries outside the processes: those that show the memory or eat the messages of the host are as bad as its devices. */
static struct proc_entry machine_entry(const char *name)
{
	static const char *const refused[] = {"kcore",	     "kmsg",	    "vmcore",	  "kallsyms",
					      "kpagecgroup", "kpagecount",  "kpageflags", "sysrq-trigger",
					      "slabinfo",    "vmallocinfo", "timer_list"};

	if (!strcmp(name, "self"))
		return (struct proc_entry){.kind = PROC_SELF};
	if (!strcmp(name, "thread-self"))
		return (struct proc_entry){.kind = PROC_THREAD_SELF};
	for (unsigned int i = 0; i < ARRAY_SIZE(refused); i++)
		if (is_component(name, refused[i]))
			return (struct proc_entry){.kind = PROC_REFUSED};
	if (!strncmp(name, "sys/", 4))
		return file_entry(table_find(sysctl_files, name + 4), PROC_NONE);
	if (!strncmp(name, "sysvipc/", 8))
		return file_entry(table_find(proc_ipc_files, name + 8), PROC_NONE);
	return file_entry(table_find(proc_machine_files, name), PROC_NONE);
}

struct proc_entry procfs_entry(const struct task *t, const char *path)
{
	const char *end, *name = path + strlen(PROC_PATH);
	long pid;

	if (!strncmp(path, SYS_PATH, strlen(SYS_PATH)))
		return file_entry(table_find(sysfs_files, path + strlen(SYS_PATH)), PROC_NONE);
	if (!strcmp(path, "/proc") || !strcmp(path, "/sys"))
		return (struct proc_entry){.kind = PROC_NONE};
	/* One that is mounted in another place has the same entries, and no tables. */
	if (strncmp(path, PROC_PATH, strlen(PROC_PATH)))
		return (struct proc_entry){.kind = PROC_REFUSED};
	pid = component_number(name, &end);
	if (pid < 0)
		return machine_entry(name);
	/* The number that the host gave the link /proc/self is ours. */
	if (pid != t->pid && pid != getpid())
		return (struct proc_entry){.kind = PROC_REFUSED};
	return process_entry(t, *end ? end + 1 : end);
}

struct proc_entry procfs_entry_of_fd(const struct task *t, int fd)
{
	char path[PATH_MAX];

	if (!procfs_holds(fd))
		return (struct proc_entry){.kind = PROC_NONE};
	if (path_of_fd(fd, path) < 0)
		return (struct proc_entry){.kind = PROC_REFUSED};
	return procfs_entry(t, path);
}

/* --- links ----------------------------------------------------------------------------------- */

static int copy_text(char text[PATH_MAX], const char *from)
{
	size_t len = from ? strlen(from) : 0;

	if (!from)
		return -ENOENT;
	if (len >= PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(text, from, len + 1);
	return (int)len;
}

/* A path of the host as the guest has it. */
static int as_seen(const struct task *t, int length, char text[PATH_MAX])
{
	return length < 0 || text[0] != '/' ? length : view_guest_path(t->files->view, text);
}

int procfs_readlink(struct task *t, const struct proc_entry *entry, char text[PATH_MAX])
{
	int host_fd;

	switch (entry->kind) {
	case PROC_SELF:
		return snprintf(text, PATH_MAX, "%d", t->pid);
	case PROC_THREAD_SELF:
		return snprintf(text, PATH_MAX, "%d/task/%d", t->pid, t->tid);
	case PROC_EXE:
		return copy_text(text, t->process->exe_path);
	case PROC_CWD:
		return as_seen(t, path_of_fd(fs_cwd(t->fs), text), text);
	case PROC_ROOT:
		return copy_text(text, "/");
	case PROC_FD:
		host_fd = files_host_fd(t->files, entry->guest_fd);
		return host_fd < 0 ? -ENOENT : as_seen(t, path_of_fd(host_fd, text), text);
	default:
		return -EINVAL;
	}
}

/* --- open files ------------------------------------------------------------------------------ */

/* Whoever runs the guest, without a privilege, against the mode that the host's file has. */
static bool may_open(const struct stat *st, mode_t wanted)
{
	mode_t mode = st->st_uid == geteuid() ? st->st_mode >> 6 : st->st_mode;

	return (mode & wanted) == wanted;
}

/* Most of a task's own settings are its own to change: of another there is the memory. */
static bool is_writable(const struct proc_entry *e)
{
	const struct proc_file *f = e->file;

	return f->set || f->write_at || (e->who.serial ? f->about_memory : f->write || f->pressure);
}

static int check_open(const struct proc_entry *entry, const struct stat *st, int flags)
{
	const struct proc_file *file = entry->file;
	bool reads = (flags & O_ACCMODE) != O_WRONLY, writes = (flags & O_ACCMODE) != O_RDONLY;

	if (reads && ((!file->show && !file->read_at) || !may_open(st, 04)))
		return -EACCES;
	if ((writes || (flags & O_TRUNC)) && (!is_writable(entry) || !may_open(st, 02)))
		return -EACCES;
	return flags & O_DIRECTORY ? -ENOTDIR : 0;
}

int procfs_open(const struct proc_entry *entry, const struct stat *st, int flags)
{
	int err = check_open(entry, st, flags), fd, ret;

	if (err)
		return err;
	fd = memfd_create(entry->file->name, MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* Once more, so that the guest's descriptor has the rights that it asked for. */
	ret = path_reopen(fd, (flags & (O_ACCMODE | O_NONBLOCK | O_APPEND)) | O_CLOEXEC);
	if (ret < 0)
		ret = -errno;
	else
		fchmod(ret, st->st_mode & 0777);
	close(fd);
	return ret;
}

/*
 * A second descriptor, by which the text is written. Where the mode does not let its owner write, and lodge has no privilege to
 * write nevertheless, the mode is changed for a moment; who comes in between with a moment of its own makes it try again.
 */
static int open_text(int fd)
{
	bool lent = false;
	struct stat st;
	int out = -1;

	for (int tries = 0; tries < MAX_TRIES && out < 0; tries++) {
		out = open(path_link(fd).text, O_WRONLY | O_TRUNC | O_CLOEXEC);
		if (out >= 0 || errno != EACCES || fstat(fd, &st) ||
		    fchmod(fd, (st.st_mode & 0777) | S_IWUSR))
			break;
		lent = true;
	}
	if (out < 0)
		out = -errno;
	if (lent)
		fchmod(fd, st.st_mode & 0777 & ~(mode_t)S_IWUSR);
	return out;
}

/* Makes the text anew. */
static int refill(struct task *who, const struct guest_file *file)
{
	int fd = open_text(file->host_fd), err;
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");

	if (fd < 0)
		return fd;
	if (!out) {
		close(fd);
		return -ENOMEM;
	}
	err = file->proc.file->show(who, file->proc.file, out);
	if (fclose(out) && !err)
		err = -EIO;
	return err;
}

static uint64_t position(const struct guest_file *file, const struct uio_transfer *x)
{
	off_t at = x->offset == UIO_AT_POSITION ? lseek(file->host_fd, 0, SEEK_CUR) : x->offset;

	return at < 0 ? 0 : (uint64_t)at;
}

static void advance(const struct guest_file *file, const struct uio_transfer *x, int64_t bytes)
{
	if (x->offset == UIO_AT_POSITION && bytes > 0)
		lseek(file->host_fd, bytes, SEEK_CUR);
}

/* A trigger; where the file is read stays as it is. */
static int64_t write_trigger(struct task *t, const struct guest_file *file, const struct uio *u,
			     const struct uio_transfer *x)
{
	char text[WRITE_MAX_BYTES];
	size_t bytes = u->nr ? min_u64(u->iov[0].iov_len, sizeof(text)) : 0;

	if (x->offset != UIO_AT_POSITION)
		return -ESPIPE;
	if (bytes && copy_from_user(t->mm, text, (gva_t)u->iov[0].iov_base, bytes))
		return -EFAULT;
	return file->pressure ? pressure_write(file->pressure, text, bytes) : -ENOMEM;
}

/* What was written, as one text: numbers are short. */
static int64_t write_text(struct task *t, struct task *who, const struct guest_file *file,
			  const struct uio *u, uint64_t at)
{
	char text[WRITE_MAX_BYTES + 1];
	size_t bytes = u->nr ? min_u64(u->iov[0].iov_len, WRITE_MAX_BYTES) : 0;

	if (bytes && copy_from_user(t->mm, text, (gva_t)u->iov[0].iov_base, bytes))
		return -EFAULT;
	text[bytes] = '\0';
	if (file->proc.file->set)
		return procfs_set(t, file->proc.file, &file->proc.who, text, bytes);
	return at && file->proc.file->strict ? (int64_t)bytes
					     : file->proc.file->write(who, file->proc.file, text, bytes);
}

/* One transfer of bytes that no text stands for. */
struct live {
	struct task *t, *who; /* whose buffers; of whom the file tells */
	const struct proc_file *file;
	bool write;
};

/* A piece between the guest and the file: how much, or -errno. */
static int64_t transfer_piece(const struct live *l, gva_t user, size_t bytes, uint64_t at)
{
	char piece[LIVE_PIECE_BYTES];

	if (l->write)
		return copy_from_user(l->t->mm, piece, user, bytes)
			       ? -EFAULT
			       : l->file->write_at(l->who, piece, bytes, at);
	int64_t n = l->file->read_at(l->who, piece, bytes, at);
	return n > 0 && copy_to_user(l->t->mm, user, piece, (size_t)n) ? -EFAULT : n;
}

static int64_t transfer_live(const struct live *l, const struct uio *u, uint64_t at)
{
	int64_t done = 0;

	for (unsigned int i = 0; i < u->nr; i++) {
		gva_t user = (gva_t)u->iov[i].iov_base;
		for (size_t left = u->iov[i].iov_len; left;) {
			size_t want = min_u64(left, LIVE_PIECE_BYTES);
			int64_t n = transfer_piece(l, user, want, at);
			if (n <= 0)
				return done ? done : n;
			done += n;
			at += (uint64_t)n;
			user += (uint64_t)n;
			left -= (size_t)n;
			if ((size_t)n < want)
				return done;
		}
	}
	return done;
}

/* As procfs_transfer, of someone who is there. */
static bool transfer_about(struct task *t, struct task *who, const struct guest_file *file,
			   const struct uio *u, const struct uio_transfer *x, int64_t *result)
{
	const struct proc_file *f = file->proc.file;
	const struct live live = {t, who, f, x->to_file};
	uint64_t at = position(file, x);

	if (!x->to_file && !f->read_at) {
		*result = at ? 0 : refill(who, file);
		return *result < 0;
	}
	if (x->to_file && !f->write_at)
		*result = write_text(t, who, file, u, at);
	else
		*result = transfer_live(&live, u, at);
	advance(file, x, *result);
	return true;
}

int procfs_copy_host(const char *path, FILE *out)
{
	FILE *in = fopen(path, "re");
	char part[4096];
	size_t n;

	if (!in)
		return -errno;
	while ((n = fread(part, 1, sizeof(part), in)) > 0)
		fwrite(part, 1, n, out);
	int err = ferror(in) || ferror(out) ? -EIO : 0;
	fclose(in);
	return err;
}

bool procfs_transfer(struct task *t, const struct guest_file *file, const struct uio *u,
		     const struct uio_transfer *x, int64_t *result)
{
	int mode = fcntl(file->host_fd, F_GETFL) & O_ACCMODE;
	struct proc_view *view;

	*result = -EBADF;
	if (mode == (x->to_file ? O_RDONLY : O_WRONLY))
		return true;
	if (file->proc.file->pressure && x->to_file) {
		*result = write_trigger(t, file, u, x);
		return true;
	}
	struct task *who = procfs_subject(t, &file->proc.who, &view);
	bool done = true;
	if (!who) /* whoever has its memory open finds it empty */
		*result = file->proc.file->read_at ? 0 : -ESRCH;
	else if (!who->mm && !file->proc.file->zombie)
		*result = 0;
	else
		done = transfer_about(t, who, file, u, x, result);
	procfs_subject_put(view);
	return done;
}
