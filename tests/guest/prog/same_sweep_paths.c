/* SPDX-License-Identifier: MIT */
/*
 * same_sweep_paths.c - the calls on names, with every interesting argument.
 */
#include <linux/openat2.h>

#include "sweep.h"

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
};

int main(int argc, char **argv)
{
	return sweep_main(argc, argv, calls, ARRAY_SIZE(calls));
}
