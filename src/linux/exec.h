/* SPDX-License-Identifier: MIT */
/*
 * exec.h - brings a program into an empty space: finds it, follows #! lines, maps it, builds its first stack.
 */
#ifndef LODGE_LINUX_EXEC_H
#define LODGE_LINUX_EXEC_H

struct task;
struct lodge_error;

/* Linux's numbers. */
#define EXEC_MAX_SCRIPTS      5		  /* #! lines followed before -ELOOP */
#define EXEC_MAX_STRING_BYTES (32 * 4096) /* of one argument, with its NUL */

/*
 * Loads the program `path` with NULL-terminated argv and envp into t->mm, which has no areas, and sets t->regs, comm and
 * exe_path. A path without a slash is searched in PATH of envp. The task keeps nothing of its arguments.
 * 0, or -errno with the space as empty as before: see lodge_space_load.
 */
int exec_load(struct task *t, const char *path, const char *const *argv, const char *const *envp,
	      struct lodge_error *err);

#endif
