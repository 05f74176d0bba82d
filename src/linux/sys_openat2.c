/* SPDX-License-Identifier: MIT */
/*
 * sys_openat2.c - openat2: opening with a say in how the path is walked.
 *
 * A path that is not to leave a directory, or to meet no link or mount, is walked here, component by component and in the guest's view; what
 * is left is one name in a directory, which is then opened like any other.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "open.h"
#include "syscall.h"
#include "view.h"

#define MAX_LINKS     40
#define MODE_BITS     07777u
#define TMPFILE_BIT   ((uint64_t)(O_TMPFILE & ~O_DIRECTORY))
#define LARGEFILE_BIT 0100000u /* libc has 0 */
#define KNOWN_FLAGS                                                                                         \
	((uint64_t)(O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |    \
		    O_ASYNC | O_DIRECT | LARGEFILE_BIT | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | \
		    O_PATH | O_TMPFILE))
#define KNOWN_RESOLVE                                                                                        \
	(RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT | \
	 RESOLVE_CACHED)
#define SCOPED (RESOLVE_BENEATH | RESOLVE_IN_ROOT)

/* --- the argument ---------------------------------------------------------------------------- */

/* A structure that may be longer than ours, if what we do not know is zero. */
static int64_t how_get(struct task *t, struct open_how *how, gva_t from, uint64_t bytes)
{
	char more[256];

	if (bytes < sizeof(*how))
		return -EINVAL;
	if (bytes > PAGE_SIZE)
		return -E2BIG;
	for (uint64_t at = sizeof(*how), n; at < bytes; at += n) {
		n = min_u64(bytes - at, sizeof(more));
		if (copy_from_user(t->mm, more, from + at, n))
			return -EFAULT;
		for (uint64_t i = 0; i < n; i++)
			if (more[i])
				return -E2BIG;
	}
	return copy_from_user(t->mm, how, from, sizeof(*how)) ? -EFAULT : 0;
}

static int64_t how_check(const struct open_how *how)
{
	bool makes = how->flags & (O_CREAT | TMPFILE_BIT);

	if ((how->flags & ~KNOWN_FLAGS) || (how->resolve & ~(uint64_t)KNOWN_RESOLVE) ||
	    (how->resolve & SCOPED) == SCOPED || how->mode & ~(uint64_t)(makes ? MODE_BITS : 0))
		return -EINVAL;
	if ((how->flags & O_PATH) &&
	    (how->flags & ~(uint64_t)(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)))
		return -EINVAL;
	if ((how->resolve & RESOLVE_CACHED) && (how->flags & (O_TRUNC | O_CREAT | TMPFILE_BIT)))
		return -EAGAIN;
	return 0;
}

/* --- the walk -------------------------------------------------------------------------------- */

struct walk {
	struct task *t;
	uint64_t resolve;
	int root, at;	    /* O_PATH: where it began, and where it is; both ours */
	unsigned int depth; /* components below the root */
	unsigned int nr_links;
	uint64_t mount;
	char rest[PATH_MAX]; /* what is still to be walked */
};

static int64_t mount_of(int fd, uint64_t *mount)
{
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx))
		return -errno;
	*mount = stx.stx_mnt_id;
	return 0;
}

/* Goes to a directory, whose descriptor it takes over. */
static int64_t walk_to(struct walk *w, int fd)
{
	uint64_t mount = w->mount;
	int64_t ret = fd < 0 ? fd : w->resolve & RESOLVE_NO_XDEV ? mount_of(fd, &mount) : 0;

	if (!ret && mount != w->mount)
		ret = -EXDEV;
	if (ret) {
		if (fd >= 0)
			close(fd);
		return ret;
	}
	close(w->at);
	w->at = fd;
	return 0;
}

static int view_step(const struct walk *w, int base, const char *name, int flags)
{
	struct view_end end;
	int fd = view_open(w->t->files->view, base, name, flags, &end);

	return end.magic ? -ELOOP : fd;
}

/* A path that begins with a slash. */
static int64_t walk_absolute(struct walk *w)
{
	if (w->resolve & RESOLVE_BENEATH)
		return -EXDEV;
	w->depth = 0;
	return walk_to(w, w->resolve & RESOLVE_IN_ROOT ? fcntl(w->root, F_DUPFD_CLOEXEC, 0)
						       : view_step(w, AT_FDCWD, "/", O_DIRECTORY));
}

static int64_t walk_up(struct walk *w)
{
	if ((w->resolve & SCOPED) && !w->depth)
		return w->resolve & RESOLVE_BENEATH ? -EXDEV : 0;
	if (w->depth)
		w->depth--;
	return walk_to(w, view_step(w, w->at, "..", O_DIRECTORY));
}

/* Puts the text of a link in the place of its name. */
static int64_t walk_link(struct walk *w, const char *name, const char *behind)
{
	char text[PATH_MAX], after[PATH_MAX];
	ssize_t n;

	if (w->resolve & RESOLVE_NO_SYMLINKS || procfs_holds(w->at) || ++w->nr_links > MAX_LINKS)
		return -ELOOP;
	n = readlinkat(w->at, name, text, sizeof(text));
	if (n < 0)
		return -errno;
	strcpy(after, behind);
	if ((size_t)n + strlen(after) + 1 > sizeof(w->rest))
		return -ENAMETOOLONG;
	memcpy(w->rest, text, (size_t)n);
	strcpy(w->rest + n, after);
	return *text == '/' ? walk_absolute(w) : 0;
}

/* One component that is not the last, or a link that is. `behind` begins with a slash, or is empty. */
static int64_t walk_component(struct walk *w, const char *name, const char *behind, bool follow, bool *done)
{
	struct stat st;
	int fd = view_step(w, w->at, name, O_NOFOLLOW);
	int64_t ret;

	*done = false;
	if (fd < 0 && !*behind && fd == -ENOENT)
		*done = true;
	if (fd < 0)
		return *done ? 0 : fd;
	ret = fstat(fd, &st) ? -errno : 0;
	if (!ret && S_ISLNK(st.st_mode) && (*behind || follow)) {
		close(fd);
		return walk_link(w, name, behind);
	}
	if (!ret && !*behind && (w->resolve & RESOLVE_NO_XDEV)) {
		uint64_t mount = 0;
		ret = mount_of(fd, &mount);
		if (!ret && mount != w->mount)
			ret = -EXDEV;
	}
	if (ret || !*behind) {
		*done = !ret;
		close(fd);
		return ret;
	}
	if (!S_ISDIR(st.st_mode)) {
		close(fd);
		return -ENOTDIR;
	}
	w->depth++;
	memmove(w->rest, behind, strlen(behind) + 1);
	return walk_to(w, fd);
}

/* Until one name is left, in w->rest; that of the directory itself is ".". */
static int64_t walk_run(struct walk *w, bool follow)
{
	bool done = false;
	int64_t ret = 0;

	if (w->rest[0] == '/')
		ret = walk_absolute(w);
	while (!ret && !done) {
		char name[NAME_MAX + 1], *from = w->rest + strspn(w->rest, "/");
		size_t len = strcspn(from, "/");

		if (!len) {
			strcpy(w->rest, ".");
			return 0;
		}
		if (len > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, from, len);
		name[len] = '\0';
		if (strcmp(name, ".") && strcmp(name, "..")) {
			memmove(w->rest, from, strlen(from) + 1);
			ret = walk_component(w, name, w->rest + len, follow, &done);
			continue;
		}
		memmove(w->rest, from + len, strlen(from + len) + 1);
		if (name[1])
			ret = walk_up(w);
	}
	return ret;
}

/* --- the call -------------------------------------------------------------------------------- */

/* Opens what the walk has come to. */
static int64_t open_walked(struct walk *w, const struct open_how *how)
{
	struct path p = {.view = w->t->files->view, .base = w->at};

	strcpy(p.text, w->rest);
	return open_install(w->t, &p, (int)how->flags, (mode_t)how->mode);
}

static int64_t open_scoped(struct task *t, struct path *p, const struct open_how *how)
{
	bool follow = !(how->flags & O_NOFOLLOW) && (how->flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
	struct walk w = {.t = t, .resolve = how->resolve};
	int64_t ret;

	if (!*p->text)
		return -ENOENT;
	w.root = p->base == AT_FDCWD ? fcntl(fs_cwd(t->fs), F_DUPFD_CLOEXEC, 0)
				     : fcntl(p->base, F_DUPFD_CLOEXEC, 0);
	w.at = w.root < 0 ? -1 : fcntl(w.root, F_DUPFD_CLOEXEC, 0);
	ret = w.at < 0 ? -errno : mount_of(w.at, &w.mount);
	strcpy(w.rest, p->text);
	if (!ret)
		ret = walk_run(&w, follow);
	if (!ret)
		ret = open_walked(&w, how);
	if (w.at >= 0)
		close(w.at);
	if (w.root >= 0)
		close(w.root);
	return ret;
}

/* As path_get, but links of procfs are met on the way, and an absolute path needs the directory where that is its root. */
static int path_get_scoped(struct task *t, int guest_dirfd, gva_t from, uint64_t resolve, struct path *p)
{
	int64_t len = strncpy_from_user(t->mm, p->text, from, sizeof(p->text));

	if (len < 0)
		return (int)len;
	p->view = t->files->view;
	p->who = (struct proc_who){0};
	p->inside = false;
	p->base = AT_FDCWD;
	if (guest_dirfd != AT_FDCWD && (p->text[0] != '/' || (resolve & RESOLVE_IN_ROOT)))
		p->base = files_host_fd(t->files, guest_dirfd);
	return p->base == -EBADF && p->text[0] ? -EBADF : 0;
}

static int64_t sys_openat2(struct task *t, const uint64_t a[6])
{
	struct open_how how;
	struct path p;
	int64_t ret = how_get(t, &how, a[2], a[3]);

	if (!ret)
		ret = how_check(&how);
	if (ret)
		return ret;
	if (how.resolve & ~(uint64_t)RESOLVE_CACHED) {
		ret = path_get_scoped(t, (int)a[0], a[1], how.resolve, &p);
		return ret ? ret : open_scoped(t, &p, &how);
	}
	ret = path_get(t, (int)a[0], a[1], &p);
	return ret ? ret : open_install(t, &p, (int)how.flags, (mode_t)how.mode);
}

const struct syscall_entry sys_openat2_calls[] = {
	SYSCALL_ENTRY(openat2),
	{0},
};
