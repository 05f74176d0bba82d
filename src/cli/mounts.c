/* SPDX-License-Identifier: MIT */
/*
 * mounts.c - see mounts.h.
 */
#include "mounts.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
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

static bool is_below_tmp(const char *path)
{
	return !strncmp(path, TMP "/", strlen(TMP "/"));
}

/* The directory of a program in /tmp, or the program where that is /tmp itself. */
static int add_program(struct mounts *all, const char *program)
{
	char path[PATH_MAX], *end;

	if (!strchr(program, '/') || !realpath(program, path) || !is_below_tmp(path))
		return 0;
	end = strrchr(path, '/');
	if (end != path + strlen(TMP))
		*end = '\0';
	return mounts_add(all, path, NULL, false);
}

/* A private /tmp, unless that is where the caller stands. */
static int add_tmp(struct mounts *all, const char *program)
{
	char cwd[PATH_MAX];
	int err;

	if (!getcwd(cwd, sizeof(cwd)))
		cwd[0] = '\0';
	if (!strcmp(cwd, TMP))
		return 0;
	err = mounts_add(all, NULL, TMP, true);
	if (!err && is_below_tmp(cwd))
		err = mounts_add(all, cwd, NULL, false);
	return err ? err : add_program(all, program);
}

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
	int err = root ? add_root(all, root) : add_tmp(all, program);

	if (!err)
		err = mounts_add(all, NULL, "/dev/shm", true);
	for (size_t i = 0; !err && i < asked->nr; i++)
		err = mounts_add(all, asked->at[i].host, asked->at[i].guest, asked->at[i].writable);
	return err;
}
