/* SPDX-License-Identifier: MIT */
/* cred.c - see cred.h. */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <unistd.h>

#include "cred.h"
#include "identity.h"

#define KEEP	     ~0u
#define CAP(n)	     (1ull << (n))

/* Those that something within a sandbox asks for. */
#define CAPS_OF_ROOT (CAP(CAP_KILL) | CAP(CAP_SETGID) | CAP(CAP_SETUID) | CAP(CAP_SETPCAP))

void cred_init(struct cred *c, const struct identity *o)
{
	int nr = identity_is_other(o) ? 0 : getgroups(CRED_MAX_GROUPS, c->groups);

	c->uid = (struct cred_ids){o->uid, o->uid, o->uid, o->uid};
	c->gid = (struct cred_ids){o->gid, o->gid, o->gid, o->gid};
	c->caps = (struct cred_caps){.bounding = CAPS_OF_ROOT};
	if (!o->uid)
		c->caps.permitted = c->caps.effective = CAPS_OF_ROOT;
	c->keep_caps = false;
	c->nr_groups = nr < 0 ? 0 : (unsigned int)nr;
}

/* No file has capabilities or changes numbers here: only root gets what its bounds allow. */
void cred_exec(struct cred *c)
{
	bool root = !c->uid.effective || !c->uid.real;

	c->uid.saved = c->uid.fs = c->uid.effective;
	c->gid.saved = c->gid.fs = c->gid.effective;
	c->keep_caps = false;
	c->caps.permitted = root ? c->caps.bounding | c->caps.inheritable : 0;
	c->caps.effective = c->uid.effective ? 0 : c->caps.permitted;
}

bool cred_capable(const struct cred *c, int capability)
{
	return c->caps.effective & CAP(capability);
}

/* --- numbers --------------------------------------------------------------------------------- */

static bool has(const struct cred_ids *ids, uint32_t id)
{
	return id == KEEP || id == ids->real || id == ids->effective || id == ids->saved;
}

static int set_ids(struct cred_ids *ids, uint32_t real, uint32_t effective, uint32_t saved, bool any)
{
	if (!any && !(has(ids, real) && has(ids, effective) && has(ids, saved)))
		return -EPERM;
	if (real != KEEP)
		ids->real = real;
	if (effective != KEEP)
		ids->effective = effective;
	if (saved != KEEP)
		ids->saved = saved;
	ids->fs = ids->effective;
	return 0;
}

static bool any_root(const struct cred_ids *ids)
{
	return !ids->real || !ids->effective || !ids->saved;
}

int cred_set_uid(struct cred *c, uint32_t real, uint32_t effective, uint32_t saved)
{
	struct cred_ids old = c->uid;
	int err = set_ids(&c->uid, real, effective, saved, cred_capable(c, CAP_SETUID));

	if (err)
		return err;
	if (any_root(&old) && !any_root(&c->uid) && !c->keep_caps)
		c->caps.permitted = c->caps.effective = 0;
	if (!old.effective && c->uid.effective)
		c->caps.effective = 0;
	else if (old.effective && !c->uid.effective)
		c->caps.effective = c->caps.permitted;
	return 0;
}

int cred_set_gid(struct cred *c, uint32_t real, uint32_t effective, uint32_t saved)
{
	return set_ids(&c->gid, real, effective, saved, cred_capable(c, CAP_SETGID));
}

/* --- rights ---------------------------------------------------------------------------------- */

bool cred_may_signal(const struct cred *c, const struct cred *other)
{
	return cred_capable(c, CAP_KILL) || c->uid.effective == other->uid.saved ||
	       c->uid.effective == other->uid.real || c->uid.real == other->uid.saved ||
	       c->uid.real == other->uid.real;
}

static bool all_are(const struct cred_ids *ids, uint32_t id)
{
	return ids->real == id && ids->effective == id && ids->saved == id;
}

bool cred_may_limit(const struct cred *c, const struct cred *other)
{
	return all_are(&other->uid, c->uid.real) && all_are(&other->gid, c->gid.real);
}

int cred_set_caps(struct cred *c, const struct cred_caps *wanted)
{
	uint64_t inheritable = c->caps.inheritable | c->caps.permitted;

	if (cred_capable(c, CAP_SETPCAP))
		inheritable |= c->caps.bounding;
	if ((wanted->inheritable & ~inheritable) || (wanted->permitted & ~c->caps.permitted) ||
	    (wanted->effective & ~wanted->permitted))
		return -EPERM;
	c->caps.permitted = wanted->permitted;
	c->caps.effective = wanted->effective;
	c->caps.inheritable = wanted->inheritable;
	return 0;
}
