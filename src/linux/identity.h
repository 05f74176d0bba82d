/* SPDX-License-Identifier: MIT */
/*
 * identity.h - whose files are whose: the host's numbers of who runs lodge, shown to the guest as others.
 *
 * As in a user namespace that has one user and one group: what belongs to who runs lodge is shown as belonging to `uid` and `gid`, and
 * what is given to these is given to who runs lodge. What belongs to others on the host stays theirs, but for those who have these
 * very numbers there: they are shown as nobody. Whoever is shown as somebody else has no right to give files away.
 * Where who runs lodge is shown as who he is, all numbers are the host's, and the host says what may be done.
 * Locking: none, it is set before there is a task.
 */
#ifndef LODGE_LINUX_IDENTITY_H
#define LODGE_LINUX_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

/* What who runs lodge is shown as, and who that is. */
struct identity {
	uint32_t uid, gid;
	uint32_t host_uid, host_gid; /* lodge never changes them */
};

/* As who he is. */
void identity_init(struct identity *o);

bool identity_is_other(const struct identity *o);

/* A number of the host, as the guest sees it. */
uint32_t identity_shown_uid(const struct identity *o, uint32_t hosts);
uint32_t identity_shown_gid(const struct identity *o, uint32_t hosts);

struct ucred;
void identity_show_ucred(const struct identity *o, struct ucred *cred);

/* What the guest wants a file to belong to (~0u: what it does), in the host's numbers. 0 or -EPERM. */
int identity_meant(const struct identity *o, uint32_t *uid, uint32_t *gid);

#endif
