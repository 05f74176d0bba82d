/* SPDX-License-Identifier: MIT */
/*
 * mounts.c - see mounts.h.
 */
#include "mounts.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TMP "/tmp"

int mounts_add(struct mounts *m, const char *host, const char *guest, bool writable)
{
	struct lodge_mount *at = reallocarray(m->at, m->nr + 1, sizeof(*at)), *new;

	if (!at)
		return -ENOMEM;
	m->at = at;
	new = &at[m->nr];
	*new = (struct lodge_mount){.writable = writable};
	new->host = host ? strdup(host) : NULL;
	new->guest = guest ? strdup(guest) : NULL;
	m->nr++;
	return (host && !new->host) || (guest && !new->guest) ? -ENOMEM : 0;
}

int mounts_add_bind(struct mounts *m, const char *arg)
{
	const char *colon = strchr(arg, ':');
	size_t length;
	char *host, *guest;
	bool read_only;
	int err = -ENOMEM;

	if (!colon || colon == arg || colon[1] != '/')
		return -EINVAL;
	length = strlen(colon + 1);
	read_only = length > 3 && !strcmp(colon + 1 + length - 3, ":ro");
	host = strndup(arg, (size_t)(colon - arg));
	guest = strndup(colon + 1, length - (read_only ? 3 : 0));
	if (host && guest)
		err = mounts_add(m, host, guest, !read_only);
	free(host);
	free(guest);
	return err;
}

void mounts_free(struct mounts *m)
{
	for (size_t i = 0; i < m->nr; i++) {
		free((char *)m->at[i].host);
		free((char *)m->at[i].guest);
	}
	free(m->at);
	*m = (struct mounts){0};
}

/* --- without --root -------------------------------------------------------------------------- */

/* What Debian's programs need to start: where these are links they are links inside, too. */
static const char *const system_dirs[] = {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
					  "/usr", "/etc",  "/opt", "/dev",   "/proc",  "/sys"};

/* Directories that are everybody's, or all that somebody has: a program there does not open them. */
static const char *const wide_dirs[] = {"/",	    TMP,    "/home",  "/root", "/var",
					"/var/tmp", "/mnt", "/media", "/srv"};

static bool is_listed(const char *path, const char *const *list, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (!strcmp(path, list[i]))
			return true;
	return false;
}

static bool is_wide(const char *dir)
{
	const char *home = getenv("HOME");

	return (home && !strcmp(dir, home)) ||
	       is_listed(dir, wide_dirs, sizeof(wide_dirs) / sizeof(wide_dirs[0]));
}

static bool is_below(const char *path, const char *dir)
{
	size_t length = strlen(dir);

	return !strncmp(path, dir, length) && (!path[length] || path[length] == '/');
}

/* It is there already. */
static bool is_system(const char *path)
{
	for (size_t i = 0; i < sizeof(system_dirs) / sizeof(system_dirs[0]); i++)
		if (is_below(path, system_dirs[i]))
			return true;
	return false;
}

static int add_system_dir(struct mounts *all, const char *dir)
{
	char text[PATH_MAX];
	ssize_t n = readlink(dir, text, sizeof(text) - 1);
	int err;

	if (n < 0) /* EINVAL: it is there, and is no link */
		return errno != EINVAL && access(dir, F_OK) ? 0 : mounts_add(all, dir, dir, false);
	text[n] = '\0';
	err = mounts_add(all, text, dir, false);
	if (!err)
		all->at[all->nr - 1].link = 1;
	return err;
}

/*
 * What a program in X/bin needs of X: its libraries, and what says that X is an environment of Python. Links may lead anywhere, and are
 * not followed.
 */
static int add_beside(struct mounts *all, const char *bin)
{
	static const char *const beside[] = {"lib", "lib64", "pyvenv.cfg"};
	const char *name = strrchr(bin, '/');
	char prefix[PATH_MAX], path[PATH_MAX];
	struct stat st;
	int err = 0;

	if (strcmp(name, "/bin") && strcmp(name, "/sbin"))
		return 0;
	snprintf(prefix, sizeof(prefix), "%.*s", (int)(name - bin), bin);
	for (size_t i = 0; !err && !is_wide(prefix) && i < sizeof(beside) / sizeof(beside[0]); i++) {
		if (snprintf(path, sizeof(path), "%s/%s", prefix, beside[i]) < (int)sizeof(path) &&
		    !lstat(path, &st) && (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode)))
			err = mounts_add(all, path, NULL, false);
	}
	return err;
}

/* A program's directory, and the libraries beside it; of one in a directory that is wide, the program alone. */
static int add_tree(struct mounts *all, const char *program)
{
	char dir[PATH_MAX], *end;

	strcpy(dir, program);
	end = strrchr(dir, '/');
	end[end == dir] = '\0';
	if (is_wide(dir))
		return mounts_add(all, program, NULL, false);
	int err = mounts_add(all, dir, NULL, false);
	return err ? err : add_beside(all, dir);
}

/* Where it is, and where the name that was given for it is. */
static int add_program(struct mounts *all, const char *program)
{
	char path[PATH_MAX], named[PATH_MAX], dir[PATH_MAX];
	const char *name = strrchr(program, '/');
	int err = 0;

	if (realpath(program, path) && !is_system(path))
		err = add_tree(all, path);
	if (err || !name)
		return err;
	snprintf(dir, sizeof(dir), "%.*s", name == program ? 1 : (int)(name - program), program);
	if (!realpath(dir, named) || strlen(named) + strlen(name) >= sizeof(named))
		return 0;
	strcat(named, named[1] ? name : name + 1);
	return is_system(named) || !strcmp(named, path) || access(named, F_OK) ? 0 : add_tree(all, named);
}

/* As the program's search will find it. */
static int find_program(const char *name, char found[PATH_MAX])
{
	const char *path = getenv("PATH");

	if (strchr(name, '/'))
		return snprintf(found, PATH_MAX, "%s", name) < PATH_MAX;
	for (; path && *path; path += *path == ':') {
		size_t bytes = strcspn(path, ":");
		if (bytes && snprintf(found, PATH_MAX, "%.*s/%s", (int)bytes, path, name) < PATH_MAX &&
		    !access(found, X_OK))
			return 1;
		path += bytes;
	}
	return 0;
}

static int add_cwd(struct mounts *all)
{
	char cwd[PATH_MAX];

	if (!getcwd(cwd, sizeof(cwd)) || cwd[0] != '/' || !cwd[1] || is_system(cwd))
		return 0;
	return mounts_add(all, cwd, NULL, false);
}

/* System directories, a private /tmp unless that is where the caller stands, the program's tree and the caller's. */
static int add_host(struct mounts *all, const char *program)
{
	char found[PATH_MAX], cwd[PATH_MAX];
	int err = mounts_add(all, NULL, "/", false);

	for (size_t i = 0; !err && i < sizeof(system_dirs) / sizeof(system_dirs[0]); i++)
		err = add_system_dir(all, system_dirs[i]);
	if (!err && (!getcwd(cwd, sizeof(cwd)) || strcmp(cwd, TMP)))
		err = mounts_add(all, NULL, TMP, true);
	if (!err)
		err = add_cwd(all);
	if (!err && find_program(program, found))
		err = add_program(all, found);
	return err;
}

/* --- with it --------------------------------------------------------------------------------- */

/* What a root has of the machine, wherever it is from. */
static int add_root(struct mounts *all, const char *root)
{
	static const char *const machine[] = {"/proc", "/sys", "/dev"};
	int err = mounts_add(all, root, "/", false);

	for (size_t i = 0; !err && i < sizeof(machine) / sizeof(machine[0]); i++)
		err = mounts_add(all, machine[i], NULL, false);
	return err ? err : mounts_add(all, NULL, TMP, true);
}

int mounts_complete(const struct mounts *asked, const char *root, const char *program, struct mounts *all)
{
	int err = root ? add_root(all, root) : add_host(all, program);

	if (!err)
		err = mounts_add(all, NULL, "/dev/shm", true);
	for (size_t i = 0; !err && i < asked->nr; i++)
		err = mounts_add(all, asked->at[i].host, asked->at[i].guest, asked->at[i].writable);
	return err;
}
