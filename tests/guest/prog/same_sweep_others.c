/* SPDX-License-Identifier: MIT */
/*
 * same_sweep_others.c - calls for who administers a machine, and others that few programs make, with every interesting argument.
 */
#include <linux/ioprio.h>
#include <sys/mount.h>

#include "sweep.h"

#define A(name)                         \
	{                               \
#name, (uintptr_t)&name \
	}
static const char kind[] = "tmpfs", source[] = "none";
static const struct sweep_value texts[] = {
	{"tmpfs", (uintptr_t)kind}, {"NULL", 0}, {"hole", AT_HOLE}, {"edge", AT_EDGE}, {"long", AT_LONGER},
};
static const struct sweep_value sources[] = {
	{"none", (uintptr_t)source}, {"NULL", 0}, {"hole", AT_HOLE}, {"edge", AT_EDGE}, {"long", AT_LONGER},
};
static const struct sweep_value data[] = {
	{"NULL", 0},
	{"hole", AT_HOLE},
	{"rw", AT_RW},
};
static const struct sweep_value priorities[] = {
	{"be 5", IOPRIO_CLASS_BE << 13 | 5},
	{"none", 0},
	{"rt", IOPRIO_CLASS_RT << 13},
	{"none 1", 1},
	{"idle", IOPRIO_CLASS_IDLE << 13},
	{"idle 7", IOPRIO_CLASS_IDLE << 13 | 7},
	{"be 9", IOPRIO_CLASS_BE << 13 | 9},
	{"class 4", 4 << 13},
	{"class 7", 7 << 13},
	{"-1", -1ul},
};
static const struct sweep_value whos[] = {
	{"0", 0},
	{"nobody", INT_MAX},
	{"min", (uint64_t)INT_MIN},
};
static const struct sweep_value whiches[] = {
	{"process", 1}, {"0", 0}, {"4", 4}, {"group", 2}, {"-1", -1ul},
};
static struct {
	unsigned int bytes;
	int type;
	char text[128];
} handle = {.bytes = 128}, no_room = {.bytes = 0}, too_big = {.bytes = 129}, full = {.bytes = 8, .type = 1};
static const struct sweep_value handles[] = {
	A(handle), A(no_room), A(too_big), A(full), {"NULL", 0}, {"hole", AT_HOLE}, {"ro", AT_RO},
};
static const struct {
	uint64_t offset, bytes;
} whole = {0, 0}, second = {4096, 4096}, behind = {1ul << 40, 1};
static const struct sweep_value ranges[] = {
	A(whole), A(second), A(behind), {"NULL", 0}, {"hole", AT_HOLE},
};
/* Bits that later kernels may know are not asked. */
static const struct sweep_value handle_flags[] = {
	{"0", 0},
	{"-1", -1ul},
	{"follow", AT_SYMLINK_FOLLOW},
	{"empty", AT_EMPTY_PATH},
	{"nofollow", AT_SYMLINK_NOFOLLOW},
};
static const struct sweep_value umount_flags[] = {
	{"0", 0},
	{"16", 16},
	{"-1", -1ul},
	{"detach", MNT_DETACH},
	{"expire", MNT_EXPIRE},
	{"nofollow", UMOUNT_NOFOLLOW},
};
static const struct sweep_value swap_flags[] = {
	{"0", 0},
	{"1<<20", 1 << 20},
	{"-1", -1ul},
	{"prefer", 0x8001},
};

static const struct sweep_call calls[] = {
	CALL(mount, CHANGES, WITH(sources, source), PATH_OF(3), WITH(texts, kind), ONLY(0), WITH(data, 0)),
	CALL(umount2, CHANGES, PATH_OF(3), WITH(umount_flags, 0)),
	CALL(pivot_root, CHANGES, PATH, PATH),
	CALL(swapon, CHANGES, PATH, WITH(swap_flags, 0)),
	CALL(swapoff, CHANGES, PATH),
	CALL(acct, CHANGES, PATH),
	CALL(open_by_handle_at, MAKES_FD, ONLY(AT_FDCWD), WITH(handles, &full), ONLY(0)),
	CALL(name_to_handle_at, CHANGES, DIRFD, PATH, WITH(handles, &handle), OUT, WITH(handle_flags, 0)),
	CALL(cachestat, 0, FD, WITH(ranges, &whole), OUT, BITS(0)),
	CALL(ioprio_get, CHANGES | VALUE, WITH(whiches, 1), WITH(whos, 0)),
	CALL(ioprio_set, CHANGES, WITH(whiches, 1), WITH(whos, 0),
	     WITH(priorities, IOPRIO_CLASS_BE << 13 | 5)),
	CALL(pidfd_getfd, FRESH, FD_OF(FD_PIDFD), FD, BITS(0)),
};

int main(int argc, char **argv)
{
	return sweep_main(argc, argv, calls, ARRAY_SIZE(calls));
}
