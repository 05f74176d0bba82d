/* SPDX-License-Identifier: MIT */
/*
 * same_filemap.c - files that are mapped: who sees which write, where a mapping ends, and what reaches the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "case.h"

#define PAGE 4096ul
#define RW   (PROT_READ | PROT_WRITE)

static sigjmp_buf out;
static int caught, code;
static char *where;

static void on_signal(int signo, siginfo_t *info, void *context)
{
	(void)context;
	caught = signo;
	code = info->si_code;
	where = info->si_addr;
	siglongjmp(out, 1);
}

/* Touches a byte; prints what came of it, relative to the mapping's start. */
static void touch(const char *what, char *base, size_t at, int write)
{
	volatile char *p = base + at;

	caught = 0;
	if (!sigsetjmp(out, 1)) {
		if (write)
			*p = 'w';
		else
			(void)*p;
	}
	if (caught)
		printf("%-40s signal %d code %d at +%#lx\n", what, caught, code,
		       (unsigned long)(where - base));
	else
		printf("%-40s ok\n", what);
}

static const char *outcome(long ret)
{
	return ret == -1 ? strerrorname_np(errno) : "ok";
}

#define TELL(call) printf("%-60s %s\n", #call, outcome((long)(call)))

static int file(const char *name, size_t bytes)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
	char *data = malloc(bytes + 1);

	for (size_t i = 0; i < bytes; i++)
		data[i] = (char)('a' + i / PAGE % 26);
	if (write(fd, data, bytes) != (ssize_t)bytes)
		exit(2);
	free(data);
	return fd;
}

static char *map(int fd, size_t bytes, int flags)
{
	char *p = mmap(NULL, bytes, RW, flags, fd, 0);

	if (p == MAP_FAILED) {
		printf("mmap: %s\n", strerrorname_np(errno));
		exit(3);
	}
	return p;
}

static void show(const char *what, const char *p, size_t n)
{
	printf("%-40s ", what);
	for (size_t i = 0; i < n; i++)
		if (p[i] >= ' ' && p[i] < 127)
			putchar(p[i]);
		else
			printf("\\%o", p[i] & 0377);
	putchar('\n');
}

/* What pread gives at an offset. */
static void show_file(const char *what, int fd, off_t offset, size_t n)
{
	char buffer[64] = {0};
	ssize_t got = pread(fd, buffer, n, offset);

	printf("(%zd) ", got);
	show(what, buffer, got > 0 ? (size_t)got : 0);
}

/* The four kinds of mapping: does a write show in another mapping of the same thing, and in the file? */
static void visibility(void)
{
	int fd = file("four", 2 * PAGE);
	char *shared = map(fd, 2 * PAGE, MAP_SHARED), *second = map(fd, 2 * PAGE, MAP_SHARED);
	char *own = map(fd, 2 * PAGE, MAP_PRIVATE), *fresh = map(fd, 2 * PAGE, MAP_PRIVATE);

	show("private before", fresh, 4);
	memcpy(shared, "Lenovo", 6);
	show("second shared mapping", second, 8);
	show("private mapping, page not copied", own, 8);
	memcpy(own, "LENOVO", 6);
	show("shared after a private write", shared, 8);
	show("other private", fresh, 8);
	show_file("file", fd, 0, 8);
	memcpy(second + 2, "XY", 2);
	show("private keeps its copy", own, 8);
	show("shared", shared, 8);
	show_file("file", fd, 0, 8);
	munmap(shared, 2 * PAGE);
	munmap(second, 2 * PAGE);
	munmap(own, 2 * PAGE);
	munmap(fresh, 2 * PAGE);
	show_file("file, nobody maps it", fd, 0, 8);
	close(fd);
}

static void with_calls(void)
{
	int fd = file("calls", 3 * PAGE + 100), other = open("calls", O_RDWR), append;
	char *p = map(fd, 4 * PAGE, MAP_SHARED), text[64];
	struct stat st;

	p[10] = '1';
	show_file("pread sees a store", other, 8, 5);
	TELL(pwrite(other, "pwrite", 6, 12));
	show("a store and a pwrite in one page", p + 8, 12);
	show_file("both in the file", fd, 8, 12);
	p[PAGE + 5] = '2';
	TELL(lseek(fd, PAGE, SEEK_SET));
	TELL(read(fd, text, 8));
	show("read", text, 8);
	printf("position %ld\n", (long)lseek(fd, 0, SEEK_CUR));
	TELL(write(fd, "WRITE", 5));
	show("write at the position", p + PAGE + 4, 12);
	append = open("calls", O_WRONLY | O_APPEND);
	p[3 * PAGE + 50] = '3';
	p[3 * PAGE + 102] = '!';
	TELL(write(append, "append", 6));
	show("tail after an append", p + 3 * PAGE + 48, 62);
	fstat(fd, &st);
	printf("size %ld\n", (long)st.st_size);
	int to = open("copy", O_RDWR | O_CREAT | O_TRUNC, 0644);
	off_t zero = 0;
	p[0] = 'S';
	printf("sendfile %ld\n", (long)sendfile(to, fd, &zero, 3 * PAGE));
	show_file("copy by sendfile", to, 0, 20);
	char *q = map(to, PAGE, MAP_SHARED);
	off_t from = PAGE, at = 100;
	printf("copy_file_range %ld\n", (long)copy_file_range(fd, &from, to, &at, 20, 0));
	show("mapping of the target", q + 98, 24);
	munmap(q, PAGE);
	munmap(p, 4 * PAGE);
	close(fd);
	close(other);
	close(append);
	close(to);
}

static void the_end(void)
{
	int fd = file("end", 2 * PAGE + 10);
	char *p = map(fd, 6 * PAGE, MAP_SHARED), *own = map(fd, 6 * PAGE, MAP_PRIVATE);

	show("behind the end", p + 2 * PAGE + 8, 4);
	touch("store behind the end, same page", p, 2 * PAGE + 10, 1);
	show("it is there", p + 2 * PAGE + 8, 4);
	touch("load from the page after", p, 3 * PAGE, 0);
	touch("store to the page after", p, 3 * PAGE + 7, 1);
	touch("private load", own, 3 * PAGE, 0);
	touch("private store", own, 4 * PAGE, 1);
	TELL(ftruncate(fd, 4 * PAGE));
	show("grown: what was behind the end", p + 2 * PAGE + 8, 4);
	touch("load from a new page", p, 3 * PAGE, 0);
	touch("private store to a new page", own, 3 * PAGE + 1, 1);
	p[2 * PAGE + 20] = 'z';
	TELL(ftruncate(fd, PAGE + 4));
	touch("load behind the new end", p, 2 * PAGE, 0);
	touch("private copy behind the new end", own, 3 * PAGE + 1, 0);
	show("tail is clear", p + PAGE + 2, 4);
	p[PAGE + 1] = 'B';
	TELL(truncate("end", 3 * PAGE));
	show("grown again", p + PAGE, 8);
	show("and the page behind", p + 2 * PAGE + 18, 4);
	show_file("file", fd, PAGE, 8);
	int again = open("end", O_RDWR | O_TRUNC);
	touch("after O_TRUNC", p, 0, 0);
	TELL(pwrite(again, "new", 3, 0));
	show("and a write", p, 6);
	munmap(p, 6 * PAGE);
	munmap(own, 6 * PAGE);
	close(fd);
	close(again);
}

static void holes(void)
{
	int fd = file("holes", 4 * PAGE);
	char *p = map(fd, 4 * PAGE, MAP_SHARED);

	p[PAGE] = 'D';
	TELL(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE + 100, 2 * PAGE));
	show("before the hole", p + PAGE + 96, 8);
	show("in it", p + 2 * PAGE, 4);
	show("behind it", p + 3 * PAGE + 96, 8);
	TELL(fallocate(fd, FALLOC_FL_ZERO_RANGE, 10, 10));
	show("zero range", p + 8, 14);
	TELL(fallocate(fd, 0, 0, 6 * PAGE));
	TELL(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 8 * PAGE));
	TELL(fallocate(fd, 0, -1, 8 * PAGE));
	TELL(fallocate(fd, 0, 0, 0));
	show_file("file", fd, PAGE + 96, 8);
	munmap(p, 4 * PAGE);
	close(fd);
}

static void rights(void)
{
	int fd = file("rights", PAGE), ro = open("rights", O_RDONLY), wo = open("rights", O_WRONLY);
	int app = open("rights", O_RDWR | O_APPEND);
	char *p;

	TELL(mmap(NULL, PAGE, RW, MAP_SHARED, ro, 0));
	TELL(mmap(NULL, PAGE, RW, MAP_PRIVATE, ro, 0));
	TELL(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, wo, 0));
	TELL(mmap(NULL, PAGE, PROT_WRITE, MAP_PRIVATE, wo, 0));
	TELL(mmap(NULL, PAGE, RW, MAP_SHARED, app, 0));
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, 0);
	TELL(mprotect(p, PAGE, RW));
	touch("store", p, 0, 1);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	TELL(mprotect(p, PAGE, RW));
	touch("store", p, 0, 1);
	TELL(mprotect(p, PAGE, PROT_READ));
	TELL(mprotect(p, PAGE, RW));
	touch("store", p, 1, 1);
	show_file("file", ro, 0, 4);
	close(fd);
	close(ro);
	close(wo);
	close(app);
}

static void syncing(void)
{
	int fd = file("sync", 4 * PAGE);
	char *p = map(fd, 4 * PAGE, MAP_SHARED), *q;

	p[0] = 'm';
	TELL(msync(p, PAGE, MS_SYNC));
	TELL(msync(p, PAGE, MS_ASYNC));
	TELL(msync(p, PAGE, MS_SYNC | MS_ASYNC));
	TELL(msync(p, PAGE, MS_SYNC | MS_INVALIDATE));
	TELL(msync(p, PAGE, 0));
	TELL(msync(p, PAGE, 16));
	TELL(msync(p + 1, PAGE, MS_SYNC));
	TELL(msync(p, 0, MS_SYNC));
	q = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_LOCKED, fd, 0);
	TELL(msync(q, PAGE, MS_SYNC | MS_INVALIDATE));
	TELL(msync(q, PAGE, MS_SYNC));
	munmap(q, PAGE);
	munmap(p + PAGE, PAGE);
	TELL(msync(p, 4 * PAGE, MS_SYNC));
	TELL(msync(p, 4 * PAGE, MS_ASYNC));
	q = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TELL(msync(q, PAGE, MS_SYNC));
	TELL(fsync(fd));
	TELL(fdatasync(fd));
	TELL(syncfs(fd));
	TELL(sync_file_range(fd, 0, PAGE, SYNC_FILE_RANGE_WRITE));
	TELL(sync_file_range(fd, 0, PAGE, 128));
	TELL(fsync(99));
	TELL(syncfs(99));
	close(fd);
}

static void direct(void)
{
	int fd = file("direct", 4 * PAGE), d = open("direct", O_RDWR | O_DIRECT);
	char *p = map(fd, 4 * PAGE, MAP_SHARED), *buffer = NULL;

	if (d < 0 || posix_memalign((void **)&buffer, PAGE, 2 * PAGE))
		return;
	p[0] = '7';
	p[PAGE] = '8';
	TELL(pread(d, buffer, 2 * PAGE, 0));
	show("direct read sees stores", buffer, 2);
	show("and the next page", buffer + PAGE, 2);
	memset(buffer, 'Q', 2 * PAGE);
	TELL(pwrite(d, buffer, PAGE, PAGE));
	show("mapping after a direct write", p + PAGE, 4);
	show("page before", p, 4);
	show_file("buffered", fd, PAGE, 4);
	close(d);
	close(fd);
}

/* --- memory without a file ---------------------------------------------------------------------- */

static void memfd_as_a_file(void)
{
	int fd = memfd_create("a name", MFD_CLOEXEC), twin;
	char *p, text[32] = {0}, link[64];
	struct stat st;

	TELL(write(fd, "0123456789", 10));
	TELL(lseek(fd, 3, SEEK_SET));
	TELL(read(fd, text, 4));
	show("read", text, 4);
	TELL(pwrite(fd, "far", 3, 3 * PAGE + 1));
	fstat(fd, &st);
	printf("size %ld blocks %ld mode %o links %lu\n", (long)st.st_size, (long)st.st_blocks, st.st_mode,
	       (unsigned long)st.st_nlink);
	p = map(fd, 5 * PAGE, MAP_SHARED);
	show("mapping", p + 1, 6);
	show("far", p + 3 * PAGE, 6);
	p[PAGE] = 'h';
	show_file("hole filled by a store", fd, PAGE, 3);
	touch("behind the end", p, 4 * PAGE, 0);
	TELL(ftruncate(fd, 5));
	touch("behind the new end", p, PAGE, 0);
	TELL(ftruncate(fd, 2 * PAGE));
	show("grown", p, 12);
	printf("data at %ld, hole at %ld, data behind %ld\n", (long)lseek(fd, 0, SEEK_DATA),
	       (long)lseek(fd, 0, SEEK_HOLE), (long)lseek(fd, PAGE, SEEK_DATA));
	TELL(fallocate(fd, 0, PAGE, 2 * PAGE));
	fstat(fd, &st);
	printf("size %ld blocks %ld\n", (long)st.st_size, (long)st.st_blocks);
	TELL(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1, PAGE));
	show("after a hole", p, 4);
	TELL(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, PAGE));
	TELL(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, PAGE));
	twin = dup(fd);
	close(fd);
	show_file("by a dup", twin, 0, 4);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", twin);
	ssize_t n = readlink(link, text, sizeof(text) - 1);
	printf("%.*s\n", (int)n, text);
	munmap(p, 5 * PAGE);
	close(twin);
	TELL(memfd_create("x", 0x4000));
	TELL(memfd_create((char *)8, 0));
	char *longest = calloc(1, 300);
	memset(longest, 'n', 250);
	TELL(memfd_create(longest, 0));
	longest[249] = 0;
	TELL(memfd_create(longest, 0));
	free(longest);
}

static void memfd_transfers(void)
{
	int fd = memfd_create("m", 0), to = open("from-memfd", O_RDWR | O_CREAT | O_TRUNC, 0644), second;
	off_t zero = 0, at = 2;

	TELL(write(fd, "abcdefgh", 8));
	printf("sendfile %ld\n", (long)sendfile(to, fd, &zero, 6));
	show_file("file", to, 0, 10);
	second = memfd_create("n", 0);
	zero = 1;
	printf("copy_file_range %ld\n", (long)copy_file_range(to, &zero, second, &at, 4, 0));
	show_file("memfd", second, 0, 10);
	TELL(fcntl(second, F_SETFL, O_APPEND));
	TELL(write(second, "+", 1));
	show_file("appended", second, 0, 10);
	close(fd);
	close(to);
	close(second);
}

#define TELL_SEALS(fd) printf("seals %#x\n", (unsigned int)fcntl(fd, F_GET_SEALS))

static void seals(void)
{
	int fd = memfd_create("sealed", MFD_ALLOW_SEALING), plain = memfd_create("plain", 0);
	char *p, *q;

	TELL_SEALS(fd);
	TELL_SEALS(plain);
	TELL(fcntl(plain, F_ADD_SEALS, F_SEAL_GROW));
	TELL(fcntl(fd, F_ADD_SEALS, 0x1000));
	TELL(ftruncate(fd, 2 * PAGE));
	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	TELL(ftruncate(fd, PAGE));
	TELL(ftruncate(fd, 3 * PAGE));
	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
	TELL(ftruncate(fd, 4 * PAGE));
	TELL(pwrite(fd, "x", 1, 3 * PAGE));
	TELL(pwrite(fd, "x", 1, 2 * PAGE));
	TELL(fallocate(fd, 0, 0, 4 * PAGE));
	p = map(fd, PAGE, MAP_SHARED);
	p[0] = 'p';
	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	TELL(fcntl(fd, F_ADD_SEALS, 0x10));
	p[1] = 'q';
	TELL(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0));
	q = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	TELL(mprotect(q, PAGE, RW));
	show("read-only mapping", q, 4);
	TELL(pwrite(fd, "x", 1, 0));
	munmap(p, PAGE);
	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	TELL(mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0));
	TELL(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE));
	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
	TELL_SEALS(fd);
	TELL(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
	TELL(fcntl(0, F_GET_SEALS));
	close(fd);
	close(plain);
}

/* The line of /proc/self/maps that holds an address, without the address and the number of the object. */
static void maps_line(const void *address)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[400];

	while (maps && fgets(line, sizeof(line), maps)) {
		unsigned long start, end, offset, inode;
		char perms[8], dev[8], name[200] = "";
		if (sscanf(line, "%lx-%lx %7s %lx %7s %lu %199[^\n]", &start, &end, perms, &offset, dev,
			   &inode, name) >= 6 &&
		    start <= (unsigned long)address && (unsigned long)address < end)
			printf("%lu pages %s %08lx %s inode %s %s\n", (end - start) / PAGE, perms, offset,
			       dev, inode ? "not 0" : "0", name);
	}
	if (maps)
		fclose(maps);
}

static void shared_anonymous(void)
{
	char *p = mmap(NULL, 2 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *q;
	int zero = open("/dev/zero", O_RDWR);

	maps_line(p);
	show("zeros", p, 4);
	p[0] = 's';
	q = mremap(p, 0, PAGE, MREMAP_MAYMOVE); /* a second mapping of the same memory */
	if (q != MAP_FAILED) {
		show("second mapping", q, 3);
		q[1] = 't';
		show("first mapping", p, 3);
		munmap(q, PAGE);
	}
	q = mremap(p, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE);
	touch("behind its end, where it has grown", q, 3 * PAGE, 0);
	munmap(q, 4 * PAGE);
	p = mmap(NULL, PAGE, RW, MAP_PRIVATE, zero, 0);
	p[0] = 'z';
	show("private /dev/zero", p, 3);
	q = mmap(NULL, PAGE, RW, MAP_SHARED, zero, 0);
	maps_line(q);
	show("shared /dev/zero", q, 3);
	munmap(q, PAGE);
	munmap(p, PAGE);
	close(zero);
}

static void read_ahead(void)
{
	int fd = file("ahead", 300 * PAGE + 10), writer = open("ahead", O_WRONLY), pipes[2];
	char *p = map(fd, 301 * PAGE, MAP_SHARED);
	unsigned long sum = 0;

	TELL(readahead(fd, 0, 1000 * PAGE));
	TELL(readahead(fd, 100, 5));
	TELL(readahead(fd, 400 * (off_t)PAGE, PAGE));
	TELL(readahead(fd, 0, 0));
	TELL(readahead(writer, 0, PAGE));
	TELL(readahead(-1, 0, PAGE));
	TELL(pipe(pipes));
	TELL(readahead(pipes[0], 0, PAGE));
	TELL(madvise(p, 301 * PAGE, MADV_WILLNEED));
	TELL(madvise(p, 301 * PAGE, MADV_SEQUENTIAL));
	for (size_t i = 0; i < 301; i++)
		sum = sum * 31 + (unsigned char)p[i * PAGE];
	printf("all of it %lu, behind the end %d\n", sum, p[300 * PAGE + 10]);
	munmap(p, 301 * PAGE);
	p = map(fd, 301 * PAGE, MAP_PRIVATE);
	TELL(madvise(p, 301 * PAGE, MADV_RANDOM));
	for (size_t i = 301; i-- > 0;)
		sum = sum * 31 + (unsigned char)p[i * PAGE];
	printf("backwards %lu\n", sum);
	munmap(p, 301 * PAGE);
	close(pipes[0]);
	close(pipes[1]);
	close(writer);
	close(fd);
}

static void holes_by_advice(void)
{
	int fd = file("punched", 6 * PAGE), reader = open("punched", O_RDONLY);
	char *p = map(fd, 6 * PAGE, MAP_SHARED), *q = map(fd, 6 * PAGE, MAP_PRIVATE), byte;
	struct stat st;

	for (size_t i = 0; i < 6; i++)
		p[i * PAGE + 1] = 's';
	q[2 * PAGE] = 'q';
	TELL(madvise(p + PAGE, 3 * PAGE, MADV_REMOVE));
	for (size_t i = 0; i < 6; i++) {
		byte = 'x';
		if (pread(reader, &byte, 1, (off_t)(i * PAGE + 1)) != 1)
			byte = '-';
		printf("page %zu: shared %d %d, private %d, by call %d\n", i, p[i * PAGE], p[i * PAGE + 1],
		       q[i * PAGE], byte);
	}
	TELL(madvise(q, PAGE, MADV_REMOVE));
	p[2 * PAGE] = 'n';
	TELL(msync(p, 6 * PAGE, MS_SYNC));
	TELL(pread(reader, &byte, 1, 2 * PAGE));
	printf("stored after it %c, %ld bytes\n", byte, fstat(fd, &st) ? -1 : (long)st.st_size);
	munmap(p, 6 * PAGE);
	munmap(q, 6 * PAGE);
	close(reader);
	close(fd);
}

static const struct guest_case cases[] = {
	{"who sees the writes of the four kinds of mapping [J8][J11][J12][L3]", visibility},
	{"reads and writes by call see stores, and are seen [L1]", with_calls},
	{"what lies behind the end of a file [K21][J12]", the_end},
	{"holes and ranges that become zero", holes},
	{"MADV_REMOVE: a hole in a file, seen by everybody [L12][J11]", holes_by_advice},
	{"readahead, MADV_WILLNEED, SEQUENTIAL and RANDOM change nothing that is read [L14]", read_ahead},
	{"what a descriptor lets a mapping do", rights},
	{"msync, fsync and kin [L16]", syncing},
	{"O_DIRECT goes past the cache and agrees with it [L2]", direct},
	{"a memfd is a file and memory [J14]", memfd_as_a_file},
	{"from and to memfds", memfd_transfers},
	{"seals", seals},
	{"shared anonymous memory and /dev/zero [J9][J13][J14][R3]", shared_anonymous},
};

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	if (!cases_listed(argc, argv, cases, NR_CASES(cases)))
		cases_run(argc, argv, cases, NR_CASES(cases), NULL);
	return 0;
}
