/* SPDX-License-Identifier: MIT */
/* identity.c - see identity.h. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "identity.h"

#define NOBODY 65534u /* what the kernel shows of a number that a user namespace has not */
#define KEEP   ~0u

void identity_init(struct identity *o)
{
	*o = (struct identity){getuid(), getgid(), getuid(), getgid()};
}

bool identity_is_other(const struct identity *o)
{
	return o->uid != o->host_uid || o->gid != o->host_gid;
}

static uint32_t shown(uint32_t hosts, uint32_t own, uint32_t as)
{
	if (hosts == own)
		return as;
	return hosts == as ? NOBODY : hosts;
}

uint32_t identity_shown_uid(const struct identity *o, uint32_t hosts)
{
	return shown(hosts, o->host_uid, o->uid);
}

uint32_t identity_shown_gid(const struct identity *o, uint32_t hosts)
{
	return shown(hosts, o->host_gid, o->gid);
}

void identity_show_ucred(const struct identity *o, struct ucred *cred)
{
	cred->uid = identity_shown_uid(o, cred->uid);
	cred->gid = identity_shown_gid(o, cred->gid);
}

int identity_meant(const struct identity *o, uint32_t *uid, uint32_t *gid)
{
	if (!identity_is_other(o))
		return 0;
	if ((*uid != KEEP && *uid != o->uid) || (*gid != KEEP && *gid != o->gid))
		return -EPERM;
	if (*uid != KEEP)
		*uid = o->host_uid;
	if (*gid != KEEP)
		*gid = o->host_gid;
	return 0;
}
