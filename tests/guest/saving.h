/* SPDX-License-Identifier: MIT */
/* saving.h - a run that listens at a socket in the scratch directory, and having it saved to `snap` there. */
#ifndef TESTS_GUEST_SAVING_H
#define TESTS_GUEST_SAVING_H

#include <string.h>

#include "harness.h"

/* `lodge run --control ...`, which sees the scratch directory. */
static inline struct command saving_run(void)
{
	return lodge_command("--control", scratch_path("control"), "--ro", scratch_dir(), NULL);
}

/* Has the run saved. False: it had ended, or was about to. */
static inline bool saving_save(void)
{
	struct command c = {
		.argv = {lodge_path(), "snapshot", scratch_path("control"), scratch_path("snap")}};
	struct outcome o = command_run(&c);
	bool saved = !o.status;

	if (!saved && !strstr(o.err, "has ended") && !strstr(o.err, "No such file") &&
	    !strstr(o.err, "Connection"))
		fail_msg("snapshot: %s", o.err);
	outcome_free(&o);
	return saved;
}

#endif
