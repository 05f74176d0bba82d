/* SPDX-License-Identifier: MIT */
/*
 * exec.h - brings a program into an empty space: finds it, follows #! lines, maps it and its dynamic linker, builds its
 * first stack.
 */
#ifndef LODGE_LINUX_EXEC_H
#define LODGE_LINUX_EXEC_H

#include "../vmm/vcpu.h"

struct hostfile_table;
struct lodge_error;
struct task;
struct vdso;

/* Linux's numbers. */
#define EXEC_MAX_SCRIPTS 5 /* #! lines followed before -ELOOP */

struct exec_request {
	const char *path; /* without a slash: searched in PATH of envp, unless fd is there */
	int fd;		  /* the file that path has led to, taken over; -1: path is one of the host */
	const char *const *argv, *const *envp; /* NULL-terminated */
	struct mm *mm;			       /* without areas */
	struct hostfile_table *hostfiles;
	const struct vdso *vdso; /* mapped below the interpreter; NULL: none */
	struct task *guest;	 /* interpreters are looked up as this task would; NULL: as lodge does */
	const struct cred *cred; /* of who will run it */
	bool aslr;
	bool bottom_up; /* mappings are placed from below, as before Linux 2.6.9 */
};

/* What the loaded program starts with. */
struct exec_result {
	struct cpu_regs regs;
	char comm[16];
	char *exe_path; /* host path, absolute; the caller's to free */
};

/* Loads a program. 0, or -errno with the space as empty as before: see lodge_space_load. */
int exec_load(const struct exec_request *r, struct exec_result *result, struct lodge_error *err);

/* Opens a guest's path for execution: a host descriptor or -errno. */
int exec_open(struct task *t, const char *path);

#endif
