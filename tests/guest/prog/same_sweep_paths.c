/* SPDX-License-Identifier: MIT */
/*
 * same_sweep_paths.c - the calls on names, with every interesting argument.
 */
#include <linux/openat2.h>

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

#define HOW(name, f, m, r)           \
	static const struct {        \
		struct open_how how; \
		uint64_t more;       \
	} name = {{.flags = f, .mode = m, .resolve = r}, 0}
HOW(how, O_RDONLY, 0, 0);
HOW(how_bit63, 1ull << 63, 0, 0);
HOW(how_creat, O_CREAT | O_RDWR, 0600, 0);
HOW(how_creat_x, O_CREAT | O_RDWR, 0200000, 0);
HOW(how_mode, O_RDONLY, 0600, 0);
HOW(how_path, O_PATH | O_RDWR, 0, 0);
HOW(how_beneath, O_RDONLY, 0, RESOLVE_BENEATH);
HOW(how_in_root, O_RDONLY, 0, RESOLVE_IN_ROOT);
HOW(how_both, O_RDONLY, 0, RESOLVE_IN_ROOT | RESOLVE_BENEATH);
HOW(how_no_xdev, O_RDONLY, 0, RESOLVE_NO_XDEV);
HOW(how_no_magic, O_RDONLY, 0, RESOLVE_NO_MAGICLINKS);
HOW(how_no_links, O_RDONLY, 0, RESOLVE_NO_SYMLINKS);
HOW(how_cached, O_RDONLY, 0, RESOLVE_CACHED);
HOW(how_cached_w, O_CREAT | O_TRUNC | O_RDWR, 0600, RESOLVE_CACHED);
HOW(how_resolve, O_RDONLY, 0, 64);
HOW(how_tmpfile, O_TMPFILE | O_RDWR, 0600, 0);
HOW(how_path_creat, O_PATH | O_CREAT, 0, 0);
HOW(how_dir_creat, O_DIRECTORY | O_CREAT, 0600, 0);
static const struct {
	struct open_how how;
	uint64_t more;
} how_more = {{.flags = O_RDONLY}, 1};
#define H(name)                         \
	{                               \
#name, (uintptr_t)&name \
	}
static const struct sweep_value hows[] = {
	H(how),		  H(how_bit63),	   H(how_creat),
	H(how_creat_x),	  H(how_mode),	   H(how_path),
	H(how_beneath),	  H(how_in_root),  H(how_both),
	H(how_no_xdev),	  H(how_no_magic), H(how_no_links),
	H(how_cached),	  H(how_cached_w), H(how_resolve),
	H(how_tmpfile),	  H(how_more),	   H(how_path_creat),
	H(how_dir_creat), {"NULL", 0},	   {"edge", AT_EDGE},
};
static const struct sweep_value how_sizes[] = {
	{"24", 24},	{"0", 0},	{"23", 23},   {"32", 32},
	{"4096", 4096}, {"4097", 4097}, {"-1", -1ul}, {"25", 25},
};
static const struct sweep_value kinds[] = {
	{"fifo", S_IFIFO | 0600}, {"0", 0},
	{"reg", S_IFREG | 0600},  {"sock", S_IFSOCK | 0600},
	{"dir", S_IFDIR | 0600},  {"link", S_IFLNK | 0600},
	{"chr", S_IFCHR | 0600},  {"blk", S_IFBLK | 0600},
	{"all", 0177777},	  {"bits", 0x1b0000},
	{"set-id", 06777},
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
	CALL(open, MAKES_FD | FILES, PATH, BITS(0), ONLY(0644)),
	CALL(open, MAKES_FD | FILES, PATH_OF(1), BITS(O_CREAT), BITS(0644)),
	CALL(open, MAKES_FD | FILES, PATH, ONLY(O_CREAT | O_RDWR), ONLY(0644)),
	CALL(open, MAKES_FD | FILES, PATH, ONLY(O_CREAT | O_EXCL | O_RDWR), ONLY(0644)),
	CALL(open, MAKES_FD, PATH, ONLY(O_NOFOLLOW)),
	CALL(open, MAKES_FD, PATH, ONLY(O_DIRECTORY)),
	CALL(open, MAKES_FD, PATH, ONLY(O_PATH)),
	CALL(open, MAKES_FD, PATH, ONLY(O_PATH | O_NOFOLLOW)),
	CALL(open, MAKES_FD, PATH, ONLY(O_RDWR | O_NONBLOCK)),
	CALL(open, MAKES_FD, PATH, ONLY(O_WRONLY | O_NONBLOCK)),
	CALL(open, MAKES_FD, PATH_OF(3), BITS(O_DIRECTORY)),
	CALL(open, MAKES_FD | FILES, PATH_OF(3), BITS(O_TMPFILE | O_RDWR), ONLY(0600)),
	CALL(open, MAKES_FD | FILES, PATH, ONLY(O_TMPFILE | O_RDWR), ONLY(0600)),
	CALL(openat, MAKES_FD | FILES, DIRFD, PATH, BITS(0), ONLY(0644)),
	CALL(openat2, MAKES_FD | FILES, DIRFD, PATH, WITH(hows, &how), WITH(how_sizes, 24)),
	CALL(openat2, MAKES_FD, ONLY(FD_DIR), PATH, ONLY(&how_beneath), ONLY(24)),
	CALL(openat2, MAKES_FD, ONLY(FD_DIR), PATH, ONLY(&how_in_root), ONLY(24)),
	CALL(openat2, MAKES_FD, DIRFD, PATH, ONLY(&how_no_links), ONLY(24)),
	CALL(openat2, MAKES_FD, DIRFD, PATH, ONLY(&how_beneath), ONLY(24)),
	CALL(creat, MAKES_FD | FILES, PATH_OF(1), BITS(0644)),
	CALL(mkdir, FILES, PATH_OF(1), BITS(0755)),
	CALL(mkdirat, FILES, DIRFD, PATH_OF(1), ONLY(0755)),
	CALL(mknod, FILES, PATH_OF(1), WITH(kinds, S_IFIFO | 0600), ONLY(0)),
	CALL(mknodat, FILES, DIRFD, PATH_OF(1), WITH(kinds, S_IFIFO | 0600), ONLY(0)),
	CALL(symlink, FILES, PATH, PATH_OF(1)),
	CALL(symlinkat, FILES, PATH, DIRFD, PATH_OF(1)),
	CALL(link, FILES, PATH, PATH_OF(1)),
	CALL(linkat, FILES, DIRFD, PATH, DIRFD, PATH_OF(1), BITS(0)),
	CALL(linkat, FILES, FD_OF(FD_RW), PATH_OF(2), ONLY(AT_FDCWD), ONLY(AT_TEXT(1)), ONLY(AT_EMPTY_PATH)),
	CALL(unlink, FILES, PATH),
	CALL(unlinkat, FILES, DIRFD, PATH, BITS(0)),
	CALL(unlinkat, FILES, DIRFD, PATH_OF(27), ONLY(AT_REMOVEDIR)),
	CALL(rmdir, FILES, PATH),
	CALL(rename, FILES, PATH, PATH_OF(1)),
	CALL(rename, FILES, PATH_OF(3), PATH),
	CALL(rename, FILES, PATH, PATH_OF(3)),
	CALL(renameat, FILES, DIRFD, PATH, DIRFD, PATH_OF(1)),
	CALL(renameat2, FILES, DIRFD, PATH, DIRFD, PATH_OF(1), BITS(0)),
	CALL(renameat2, FILES, ONLY(AT_FDCWD), PATH, ONLY(AT_FDCWD), PATH_OF(30), ONLY(RENAME_EXCHANGE)),
	CALL(renameat2, FILES, ONLY(AT_FDCWD), PATH, ONLY(AT_FDCWD), PATH_OF(1), ONLY(RENAME_NOREPLACE)),
	CALL(readlink, VALUE, PATH_OF(8), OUT, WITH(sizes, 16)),
	CALL(readlinkat, VALUE, DIRFD, PATH_OF(8), OUT, WITH(sizes, 16)),
	CALL(readlinkat, VALUE, FD_OF(FD_PATH), PATH_OF(2), OUT, WITH(sizes, 16)),
	CALL(getcwd, 0, OUT, WITH(sizes, 4096)),
	CALL(chdir, CHANGES, PATH_OF(3)),
	CALL(umask, CHANGES | VALUE, BITS(022)),
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
	CALL(mount, 0, ONLY("x"), ONLY(AT_TEXT(3)), IN("tmpfs"), BITS(0), ONLY(0)),
	CALL(umount2, 0, PATH_OF(3), BITS(0)),
	CALL(pivot_root, 0, PATH_OF(3), PATH_OF(3)),
	CALL(swapon, 0, PATH, BITS(0)),
	CALL(swapoff, 0, PATH),
	CALL(acct, 0, PATH),
	CALL(uselib, 0, PATH),
};

int main(int argc, char **argv)
{
	return sweep_main(argc, argv, calls, ARRAY_SIZE(calls));
}
