/* SPDX-License-Identifier: MIT */
/*
 * cred.h - who a task says it is: its user and group numbers and its rights over others of the sandbox.
 *
 * A private view: a task begins as who runs lodge, and what it becomes counts within the sandbox alone. No right of the host follows
 * from it, and none is lost: files are opened with the rights of who runs lodge, whatever the guest has become (files.h).
 * Who runs lodge as root is root inside, with the rights that mean something there: over other processes, and over its own numbers.
 * Rules: credentials(7), capabilities(7). Locking: a task's are its own to change, under sandbox->lock, since others compare.
 */
#ifndef LODGE_LINUX_CRED_H
#define LODGE_LINUX_CRED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct identity;
struct task;

#define CRED_MAX_GROUPS 1024

/* Of user or group numbers. */
struct cred_ids {
	uint32_t real, effective, saved, fs;
};

/* Sets of capabilities, bit n: capability n. */
struct cred_caps {
	uint64_t permitted, effective, inheritable, bounding;
};

struct cred {
	struct cred_ids uid, gid;
	struct cred_caps caps;
	bool keep_caps, no_new_privs;
	unsigned int nr_groups;
	gid_t groups[CRED_MAX_GROUPS];
};

/* As who runs lodge, or as what he is shown as: then in no other group, and with the rights of root only as such. */
void cred_init(struct cred *c, const struct identity *o);

/* What an exec leaves. */
void cred_exec(struct cred *c);

bool cred_capable(const struct cred *c, int capability);

/* Numbers that ~0u stands for stay. 0, or -EPERM and nothing changed. */
int cred_set_uid(struct cred *c, uint32_t real, uint32_t effective, uint32_t saved);
int cred_set_gid(struct cred *c, uint32_t real, uint32_t effective, uint32_t saved);

/* May one with these credentials send signals to, or set limits of, one with those? */
bool cred_may_signal(const struct cred *c, const struct cred *other);
bool cred_may_limit(const struct cred *c, const struct cred *other);

/* Sets what capset() asks for. 0 or -EPERM. */
int cred_set_caps(struct cred *c, const struct cred_caps *wanted);

#endif
