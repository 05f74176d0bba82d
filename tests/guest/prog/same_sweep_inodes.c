/* SPDX-License-Identifier: MIT */
/*
 * same_sweep_inodes.c - the calls on what names stand for: status, rights, times, attributes; with every interesting argument.
 */
#include "sweep.h"

static const struct timespec times[] = {{1, 1}, {2, 2}}, now_omit[] = {{0, UTIME_NOW}, {0, UTIME_OMIT}},
			     omit[] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}},
			     bad_times[] = {{0, 1000000000}, {0, 0}}, negative_times[] = {{-1, 0}, {0, -1}};
static const struct sweep_value time_values[] = {
	{"times", (uintptr_t)times},
	{"bad", (uintptr_t)bad_times},
	{"NULL", 0},
	{"now, omit", (uintptr_t)now_omit},
	{"omit", (uintptr_t)omit},
	{"negative", (uintptr_t)negative_times},
	{"hole", AT_HOLE},
	{"edge", AT_EDGE},
};
static const struct timeval timevals[] = {{1, 1}, {2, 2}}, bad_timevals[] = {{0, 1000000}, {0, 0}},
			    negative_timevals[] = {{-1, 0}, {0, -1}};
static const struct sweep_value timeval_values[] = {
	{"times", (uintptr_t)timevals},
	{"bad", (uintptr_t)bad_timevals},
	{"NULL", 0},
	{"negative", (uintptr_t)negative_timevals},
	{"hole", AT_HOLE},
};

/* Without the bits that give others rights: the sandbox keeps those (docs/processes.md). */
static const struct sweep_value modes[] = {
	{"644", 0644},	   {"-1", 0xfffff1ff},	{"0", 0}, {"1777", 01777}, {"7", 7},
	{"70000", 070000}, {"100000", 0100000},
};
static const struct sweep_value sizes[] = {
	{"16", 16}, {"0", 0}, {"-1", -1ul},	   {"1", 1},
	{"4", 4},   {"5", 5}, {"2^32", 1ul << 32}, {"2^31", 1ul << 31},
};

static const struct sweep_call calls[] = {
	CALL(stat, 0, PATH, OUT),
	CALL(lstat, 0, PATH, OUT),
	CALL(newfstatat, 0, DIRFD, PATH, OUT, BITS(0)),
	CALL(newfstatat, 0, FD, PATH_OF(2), OUT, ONLY(AT_EMPTY_PATH)),
	CALL(newfstatat, 0, FD, ONLY(0), OUT, ONLY(AT_EMPTY_PATH)),
	CALL(statx, 0, DIRFD, PATH, BITS(0), BITS(STATX_BASIC_STATS), OUT),
	CALL(statx, 0, FD, PATH_OF(2), ONLY(AT_EMPTY_PATH), ONLY(0xfff), OUT),
	CALL(statx, 0, FD, ONLY(0), ONLY(AT_EMPTY_PATH), ONLY(0xfff), OUT),
	CALL(access, 0, PATH, BITS(0)),
	CALL(access, FILES, PATH, ONLY(R_OK | W_OK)),
	CALL(access, 0, PATH, ONLY(X_OK)),
	CALL(faccessat, 0, DIRFD, PATH, BITS(R_OK)),
	CALL(faccessat2, 0, DIRFD, PATH, BITS(R_OK), BITS(0)),
	CALL(faccessat2, 0, FD, PATH_OF(2), ONLY(R_OK), ONLY(AT_EMPTY_PATH)),
	CALL(truncate, FILES, PATH, OFFSET),
	CALL(chmod, FILES, PATH, WITH(modes, 0644)),
	CALL(fchmodat, FILES, DIRFD, PATH, ONLY(0600)),
	CALL(fchmodat2, FILES, DIRFD, PATH, ONLY(0600), BITS(0)),
	CALL(fchmodat2, FILES, DIRFD, PATH, ONLY(0600), ONLY(AT_SYMLINK_NOFOLLOW)),
	CALL(chown, FILES, PATH, INT(0), INT(-1)),
	CALL(lchown, FILES, PATH, ONLY(0), ONLY(0)),
	CALL(fchownat, FILES, DIRFD, PATH, ONLY(0), ONLY(0), BITS(0)),
	CALL(utime, FILES, PATH, IN(times)),
	CALL(utimes, FILES, PATH, WITH(timeval_values, timevals)),
	CALL(futimesat, FILES, DIRFD, PATH, WITH(timeval_values, timevals)),
	CALL(utimensat, FILES, DIRFD, PATH, WITH(time_values, times), BITS(0)),
	CALL(utimensat, FILES, FD, ONLY(0), WITH(time_values, times), ONLY(0)),
	CALL(statfs, 0, PATH, OUT),
	CALL(setxattr, FILES, PATH, IN("user.a"), IN("v"), WITH(sizes, 1), BITS(0)),
	CALL(getxattr, VALUE, PATH, IN("user.a"), OUT, WITH(sizes, 16)),
	CALL(listxattr, VALUE, PATH, OUT, WITH(sizes, 16)),
	CALL(removexattr, FILES, PATH, IN("user.a")),
	CALL(fsetxattr, FILES, FD, IN("user.a"), IN("v"), WITH(sizes, 1), BITS(0)),
	CALL(fgetxattr, VALUE, FD, IN("user.a"), OUT, WITH(sizes, 16)),
	CALL(flistxattr, VALUE, FD, OUT, WITH(sizes, 16)),
	CALL(fremovexattr, FILES, FD, IN("user.a")),
	CALL(inotify_add_watch, VALUE | FRESH, FD_OF(FD_INOTIFY), PATH, BITS(2)),
	CALL(inotify_rm_watch, VALUE | FRESH, FD_OF(FD_INOTIFY), INT(1)),
	CALL(chroot, CHANGES, PATH_OF(3)),
	CALL(mount, 0, ONLY("x"), ONLY(AT_TEXT(3)), ONLY("tmpfs")),
	CALL(umount2, 0, ONLY(AT_TEXT(3)), ONLY(0)),
	CALL(pivot_root, 0, PATH_OF(3), PATH_OF(3)),
	CALL(swapon, 0, PATH, ONLY(0)),
	CALL(swapoff, 0, PATH),
	CALL(acct, 0, PATH),
	CALL(uselib, 0, PATH),
};

int main(int argc, char **argv)
{
	return sweep_main(argc, argv, calls, ARRAY_SIZE(calls));
}
