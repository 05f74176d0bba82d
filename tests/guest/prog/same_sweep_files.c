/* SPDX-License-Identifier: MIT */
/*
 * same_sweep_files.c - the calls on descriptors, with every interesting argument.
 */
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/file.h>

#include "sweep.h"

static const struct iovec vec[] = {{(void *)AT_RW, 16}, {(void *)(AT_RW + 64), 16}};
static const struct iovec bad_vec[] = {{(void *)AT_RW, 16}, {(void *)AT_HOLE, 16}};
static const struct iovec edge_vec[] = {{(void *)AT_EDGE, 16}, {(void *)AT_RW, 16}};
static const struct iovec negative[] = {{(void *)AT_RW, 16}, {(void *)AT_RW, -1ul}};
static const struct iovec huge[] = {{(void *)AT_RW, 0x7fffffffffffffff}, {(void *)AT_RW, 0x7fffffffffffffff}};
static const struct iovec kernel[] = {{(void *)0xffff888000000000, 0}, {(void *)AT_RW, 4}};
static const struct sweep_value vecs[] = {
	{"two", (uintptr_t)vec},
	{"hole", AT_HOLE},
	{"bad second", (uintptr_t)bad_vec},
	{"edge", (uintptr_t)edge_vec},
	{"negative", (uintptr_t)negative},
	{"huge", (uintptr_t)huge},
	{"NULL", 0},
	{"kernel", (uintptr_t)kernel},
};
static struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
static struct flock bad_type = {.l_type = 7, .l_whence = SEEK_SET};
static struct flock bad_whence = {.l_type = F_RDLCK, .l_whence = 7};
static struct flock before_start = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = -1};
static struct flock past_end = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = INT64_MAX};
static struct flock backwards = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = -6};
static struct flock with_pid = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_pid = 5};
static struct flock write_lock = {.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = -1, .l_len = 0};
static const struct sweep_value locks[] = {
	{"lock", (uintptr_t)&lock},
	{"NULL", 0},
	{"type", (uintptr_t)&bad_type},
	{"whence", (uintptr_t)&bad_whence},
	{"before", (uintptr_t)&before_start},
	{"past", (uintptr_t)&past_end},
	{"back", (uintptr_t)&backwards},
	{"pid", (uintptr_t)&with_pid},
	{"write", (uintptr_t)&write_lock},
	{"read-only", AT_RO},
	{"edge", AT_EDGE},
	{"kernel", 0xffff888000000000},
};
static const struct sweep_value fcntls[] = {
	{"GETFD", F_GETFD},
	{"-1", -1ul},
	{"15000", 15000},
	{"1000", 1000},
	{"GETFL", F_GETFL},
	{"F_GETOWN", F_GETOWN},
	{"F_GETSIG", F_GETSIG},
	{"F_GETLEASE", F_GETLEASE},
	{"F_GETPIPE_SZ", F_GETPIPE_SZ},
	{"F_GET_SEALS", F_GET_SEALS},
	{"12", 12},
	{"13", 13},
	{"17", 17},
	{"1025", 1025},
	{"1028", 1028},
	{"1029", 1029},
	{"1035", 1035},
	{"1036", 1036},
	{"1041", 1041},
	{"1042", 1042},
};
static const int one = 1;
static struct {
	int type, pid;
} owner = {2, 0}, bad_owner = {7, 0};
static const struct sweep_value owners[] = {
	{"own", (uintptr_t)&owner},
	{"NULL", 0},
	{"bad", (uintptr_t)&bad_owner},
	{"hole", AT_HOLE},
};
static const struct sweep_value hints[] = {
	{"AT_RW", AT_RW}, {"NULL", 0}, {"bad", (uintptr_t)vec}, {"hole", AT_HOLE}, {"ro", AT_RO},
};
static const struct sweep_value pipe_sizes[] = {
	{"4096", 4096},	 {"-1", -1ul},	  {"0", 0},	    {"1", 1},	       {"5000", 5000},
	{"1M", 1 << 20}, {"2M", 2 << 20}, {"2G", 1u << 31}, {"4G", 1ul << 32}, {"16K", 16384},
};
static const struct sweep_value mins[] = {
	{"200", 200},	 {"-1", -1ul},	    {"1024", 1024},    {"1023", 1023},
	{"1M", 1 << 20}, {"huge", INT_MAX}, {"4G", 1ul << 32},
};
static const struct sweep_value new_fds[] = {
	{"150", 150}, {"-1", -1ul},   {"1024", 1024},	    {"100", 100},
	{"104", 104}, {"1023", 1023}, {"min", 0x80000000u},
};
static const struct sweep_value ioctl_cmds[] = {
	{"FIONREAD", FIONREAD},
	{"0", 0},
	{"-1", -1ul},
	{"FIONBIO", FIONBIO},
	{"FIOASYNC", FIOASYNC},
	{"FIOCLEX", FIOCLEX},
	{"FIONCLEX", FIONCLEX},
	{"TCGETS", 0x5401},
	{"TIOCGWINSZ", 0x5413},
	{"TIOCGPGRP", 0x540f},
	{"FIOQSIZE", 0x5460},
	{"FIGETBSZ", 2},
	{"FS_IOC_GETFLAGS", 0x80086601},
	{"TIOCOUTQ", 0x5411},
	{"SIOCATMARK", 0x8905},
	{"TIOCSCTTY", 0x540e},
	{"TIOCNOTTY", 0x5422},
	{"TIOCGSID", 0x5429},
	{"BLKGETSIZE", 0x1260},
	{"SIOCOUTQ", 0x5411},
	{"SIOCGPGRP", 0x8904},
	{"FIOGETOWN", 0x8903},
	{"SIOCINQ", 0x541b},
	{"FS_IOC_GETVERSION", 0x80087601},
	{"FIOSETOWN", 0x8901},
};
static const struct sweep_value mode_bits[] = {
	{"644", 0644}, {"-1", 0xfffff1ff}, {"0", 0}, {"1777", 01777}, {"7", 7}, {"70000", 070000},
};
static const struct sweep_value modes[] = {
	{"0", 0},	{"-1", -1ul}, {"1", 1},	      {"2", 2},	      {"3", 3},
	{"4", 4},	{"8", 8},     {"0x10", 0x10}, {"0x11", 0x11}, {"0x20", 0x20},
	{"0x40", 0x40}, {"9", 9},     {"0x80", 0x80}, {"0x21", 0x21}, {"0x28", 0x28},
};

/* Without a memfd, of which lodge makes EINVAL. */
static const struct sweep_value spliced[] = {
	{"rw", FD_RW},	   {"-1", -1ul},	  {"path", FD_PATH},   {"ro", FD_RO},
	{"wo", FD_WO},	   {"append", FD_APPEND}, {"dir", FD_DIR},     {"r", FD_PIPE_R},
	{"w", FD_PIPE_W},  {"socket", FD_SOCKET}, {"event", FD_EVENT}, {"timer", FD_TIMER},
	{"zero", FD_ZERO}, {"null", FD_NULL},
};

static const struct sweep_call calls[] = {
	CALL(read, VALUE, FD, OUT, SIZE),
	CALL(read, VALUE, FD_OF(FD_PIPE_R), OUT, SIZE),
	CALL(read, VALUE, FD_OF(FD_SOCKET), OUT, SIZE),
	CALL(read, VALUE, FD_OF(FD_EVENT), OUT, SIZE_OF(8)),
	CALL(read, VALUE, FD_OF(FD_MEMFD), OUT, SIZE),
	CALL(read, VALUE, FD_OF(FD_ZERO), OUT, SIZE),
	CALL(read, VALUE, FD_OF(FD_TIMER), OUT, SIZE),
	CALL(read, VALUE, FD_OF(FD_SIGNAL), OUT, SIZE),
	CALL(read, VALUE, FD_OF(FD_INOTIFY), OUT, SIZE),
	CALL(write, VALUE | FILES | NO_PAIRS, FD, OUT, ONLY(16)),
	CALL(write, VALUE | FILES, ONLY(FD_RW), OUT, SIZE),
	CALL(write, VALUE, FD_OF(FD_PIPE_W), OUT, SIZE_OF(16)),
	CALL(write, VALUE, FD_OF(FD_SOCKET), OUT, SIZE_OF(16)),
	CALL(write, VALUE, FD_OF(FD_NULL), OUT, SIZE),
	CALL(write, VALUE, FD_OF(FD_EVENT), OUT, SIZE_OF(8)),
	CALL(pread64, VALUE, FD, OUT, SIZE, OFFSET),
	CALL(pwrite64, VALUE | FILES | NO_PAIRS, FD, OUT, SIZE, OFFSET),
	CALL(readv, VALUE, FD, WITH(vecs, vec), INT(2)),
	CALL(readv, VALUE, FD_OF(FD_PIPE_R), WITH(vecs, vec), INT(2)),
	CALL(writev, VALUE | FILES, FD, WITH(vecs, vec), INT(2)),
	CALL(writev, VALUE, FD_OF(FD_SOCKET), WITH(vecs, vec), INT(2)),
	CALL(preadv, VALUE, FD, WITH(vecs, vec), INT(2), OFFSET, LONG(0)),
	CALL(pwritev, VALUE | FILES | NO_PAIRS, FD, WITH(vecs, vec), INT(2), OFFSET, LONG(0)),
	CALL(preadv2, VALUE, FD, WITH(vecs, vec), INT(2), OFFSET, LONG(0), BITS(0)),
	CALL(preadv2, VALUE, FD, WITH(vecs, vec), INT(2), ONLY(-1), ONLY(-1), BITS(0)),
	CALL(pwritev2, VALUE | FILES | NO_PAIRS, FD, WITH(vecs, vec), INT(2), OFFSET, ONLY(0), BITS(0)),
	CALL(close, CHANGES, FD),
	CALL(close_range, CHANGES, INT(120), INT(130), BITS(0)),
	CALL(dup, MAKES_FD | VALUE, FD),
	CALL(dup2, CHANGES | VALUE, FD, WITH(new_fds, 150)),
	CALL(dup3, CHANGES | VALUE, FD, WITH(new_fds, 150), BITS(0)),
	CALL(pipe, CHANGES, OUT),
	CALL(pipe2, CHANGES, OUT, BITS(0)),
	CALL(lseek, VALUE, FD, OFFSET, INT(0)),
	CALL(lseek, VALUE, FD, OFFSET, ONLY(SEEK_END)),
	CALL(lseek, VALUE, FD, OFFSET, ONLY(SEEK_DATA)),
	CALL(lseek, VALUE, FD, OFFSET, ONLY(SEEK_HOLE)),
	CALL(lseek, VALUE, FD_OF(FD_MEMFD), OFFSET, INT(0)),
	CALL(fcntl, VALUE | FRESH, FD, WITH(fcntls, F_GETFD), LONG(0)),
	CALL(fcntl, VALUE | FRESH, FD, ONLY(F_GETFL)),
	CALL(fcntl, VALUE | FRESH, FD, ONLY(F_SETFL), BITS(0)),
	CALL(fcntl, VALUE | FRESH, ONLY(FD_PIPE_W), ONLY(F_SETFL), BITS(0)),
	CALL(fcntl, VALUE | FRESH, ONLY(FD_SOCKET), ONLY(F_SETFL), BITS(0)),
	CALL(fcntl, VALUE | FRESH, FD, ONLY(F_SETFD), BITS(0)),
	CALL(fcntl, VALUE | FRESH, FD, ONLY(F_DUPFD), WITH(mins, 200)),
	CALL(fcntl, VALUE | FRESH, FD, ONLY(F_DUPFD_CLOEXEC), WITH(mins, 200)),
	CALL(fcntl, FRESH, FD, ONLY(F_GETLK), WITH(locks, &lock)),
	CALL(fcntl, FRESH, FD, ONLY(F_SETLK), WITH(locks, &lock)),
	CALL(fcntl, FRESH, FD, ONLY(F_SETLKW), WITH(locks, &lock)),
	CALL(fcntl, FRESH, FD, ONLY(F_OFD_GETLK), WITH(locks, &lock)),
	CALL(fcntl, FRESH, FD, ONLY(F_OFD_SETLK), WITH(locks, &lock)),
	CALL(fcntl, VALUE, FD_OF(FD_PIPE_R), ONLY(F_SETPIPE_SZ), WITH(pipe_sizes, 4096)),
	CALL(fcntl, VALUE, FD_OF(FD_PIPE_R), ONLY(F_GETPIPE_SZ)),
	CALL(fcntl, VALUE | FRESH, FD, ONLY(F_SETOWN), PID),
	CALL(fcntl, VALUE | FRESH, FD, ONLY(F_GETOWN)),
	CALL(fcntl, VALUE | FRESH, FD, ONLY(F_SETSIG), INT(SIGUSR1)),
	CALL(fcntl, VALUE | FRESH, FD, ONLY(F_GETSIG)),
	CALL(fcntl, VALUE | FRESH, FD, ONLY(F_SETOWN_EX), WITH(owners, &owner)),
	CALL(fcntl, VALUE | FRESH, FD, ONLY(F_GETOWN_EX), OUT),
	CALL(fcntl, VALUE | FRESH, ONLY(FD_RO), ONLY(F_SETLEASE), INT(0)),
	CALL(fcntl, VALUE | FRESH, ONLY(FD_PIPE_R), ONLY(F_SETLEASE), INT(0)),
	CALL(fcntl, VALUE | FRESH, FD, ONLY(F_GETLEASE)),
	CALL(fcntl, VALUE | FRESH, FD_OF(FD_MEMFD), ONLY(F_ADD_SEALS), BITS(0)),
	CALL(fcntl, VALUE | FRESH, FD, ONLY(F_GET_SEALS)),
	CALL(fcntl, VALUE | FRESH, FD, ONLY(1027), INT(100)),		/* F_DUPFD_QUERY */
	CALL(fcntl, VALUE | FRESH, FD, ONLY(1028), INT(0)),		/* F_CREATED_QUERY */
	CALL(fcntl, VALUE | FRESH, FD, ONLY(1035), WITH(hints, AT_RW)), /* F_GET_RW_HINT */
	CALL(fcntl, VALUE | FILES, FD, ONLY(1036), WITH(hints, AT_RW)), /* F_SET_RW_HINT */
	CALL(flock, FRESH, FD, INT(LOCK_SH | LOCK_NB)),
	CALL(flock, FRESH, FD, BITS(LOCK_EX | LOCK_NB)),
	CALL(ioctl, FRESH, FD, WITH(ioctl_cmds, FIONREAD), OUT),
	CALL(ioctl, FRESH, FD, ONLY(FIONREAD), OUT),
	CALL(ioctl, FRESH, FD, ONLY(FIONBIO), IN(&one)),
	CALL(ioctl, FRESH, FD, ONLY(FIOASYNC), IN(&one)),
	CALL(ioctl, FRESH, FD, ONLY(FIOCLEX), OUT),
	CALL(ioctl, FRESH, FD, ONLY(0x5460), OUT), /* FIOQSIZE */
	CALL(ioctl, FRESH, FD, ONLY(2), OUT),	   /* FIGETBSZ */
	CALL(getdents64, VALUE, FD_OF(FD_DIR), OUT, SIZE_OF(4096)),
	CALL(getdents64, 0, FD_OF(FD_DIR), OUT, SIZE_OF(24)),
	CALL(getdents, VALUE, FD_OF(FD_DIR), OUT, SIZE_OF(4096)),
	CALL(ftruncate, FILES, FD, OFFSET),
	CALL(fallocate, FILES | NO_PAIRS, FD, WITH(modes, 0), LONG(0), LONG(4096)),
	CALL(fallocate, 0, FD_OF(FD_MEMFD), WITH(modes, 0), ONLY(0), ONLY(4096)),
	CALL(fadvise64, 0, FD, OFFSET, LONG(0), INT(0)),
	CALL(readahead, 0, FD, OFFSET, SIZE),
	CALL(fsync, 0, FD),
	CALL(fdatasync, 0, FD),
	CALL(syncfs, 0, FD),
	CALL(sync_file_range, 0, FD, LONG(0), LONG(0), BITS(0)),
	CALL(memfd_create, MAKES_FD, PATH, BITS(0)),
	CALL(memfd_create, MAKES_FD, PATH, BITS(MFD_HUGETLB)),
	CALL(sendfile, VALUE | FILES, FD_OF(FD_PIPE_W), FD, OUT, SIZE),
	CALL(sendfile, VALUE | FILES, FD_OF(FD_SOCKET), FD_OF(FD_MEMFD), ONLY(0), SIZE),
	CALL(sendfile, VALUE | FILES, ONLY(FD_WO), FD_OF(FD_MEMFD), ONLY(0), ONLY(16)),
	CALL(copy_file_range, VALUE | FILES, FD, OUT, FD_OF(FD_WO), IN(AT_RW + 64), SIZE_OF(16), BITS(0)),
	CALL(copy_file_range, VALUE | FILES, FD_OF(FD_RO), ONLY(0), FD, ONLY(0), ONLY(16), ONLY(0)),
	CALL(splice, VALUE, WITH(spliced, FD_RW), ONLY(0), FD_OF(FD_PIPE_W), ONLY(0), SIZE,
	     BITS(SPLICE_F_NONBLOCK)),
	CALL(splice, VALUE, WITH(spliced, FD_RW), OUT, FD_OF(FD_PIPE_W), OUT, ONLY(16), ONLY(0)),
	CALL(splice, VALUE, ONLY(FD_PIPE_R), ONLY(0), WITH(spliced, FD_RW), ONLY(0), SIZE,
	     BITS(SPLICE_F_NONBLOCK)),
	CALL(tee, VALUE, FD_OF(FD_PIPE_R), FD_OF(FD_PIPE_W), SIZE, BITS(SPLICE_F_NONBLOCK)),
	CALL(vmsplice, VALUE, FD_OF(FD_PIPE_W), WITH(vecs, vec), INT(2), BITS(SPLICE_F_NONBLOCK)),
	CALL(vmsplice, VALUE, FD_OF(FD_PIPE_R), WITH(vecs, vec), INT(2), BITS(SPLICE_F_NONBLOCK)),
	CALL(read, VALUE, ONLY(FD_PIDFD), OUT, SIZE),
	CALL(write, VALUE, ONLY(FD_PIDFD), OUT, SIZE),
	CALL(pread64, VALUE, ONLY(FD_PIDFD), OUT, ONLY(16), OFFSET),
	CALL(lseek, VALUE, ONLY(FD_PIDFD), OFFSET, INT(0)),
	CALL(fcntl, VALUE, ONLY(FD_PIDFD), ONLY(F_GETFL)),
	CALL(fstat, 0, FD, OUT),
	CALL(fstatfs, 0, FD, OUT),
	CALL(fchmod, FILES, FD, WITH(mode_bits, 0644)),
	CALL(fchown, FILES, FD, INT(0), INT(-1)),
	CALL(fchdir, CHANGES, FD),
	CALL(kcmp, VALUE | CHANGES, PID, PID, INT(0), FD, FD),
	CALL(sync, 0, ONLY(0)),
};

int main(int argc, char **argv)
{
	return sweep_main(argc, argv, calls, ARRAY_SIZE(calls));
}
