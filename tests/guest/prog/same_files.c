/* SPDX-License-Identifier: MIT */
/*
 * same_files.c - what mappings of files show of them, and files of their mappings.
 */
#include "window.h"

#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 3
#endif

static int four_letters(void)
{
	return letter_file("mapped", 4, 0);
}

/* --- arguments ------------------------------------------------------------------------------- */

static void descriptors(void)
{
	int ends[2], closed = dup(0), path, directory, null = open("/dev/null", O_RDWR), fd = four_letters();

	close(closed);
	path = open("mapped", O_PATH);
	directory = open(".", O_RDONLY | O_DIRECTORY);
	if (pipe(ends))
		return;
	WHERE(mmap(BASE, PAGE, R, MAP_PRIVATE, -1, 0));
	WHERE(mmap(BASE, PAGE, R, MAP_PRIVATE, closed, 0));
	WHERE(mmap(BASE, PAGE, R, MAP_PRIVATE, path, 0));
	WHERE(mmap(BASE, PAGE, R, MAP_PRIVATE, directory, 0));
	WHERE(mmap(BASE, PAGE, R, MAP_PRIVATE, ends[0], 0));
	WHERE(mmap(BASE, PAGE, R, MAP_PRIVATE, ends[1], 0));
	WHERE(mmap(BASE, PAGE, R, MAP_PRIVATE, null, 0));
	close(ends[0]);
	close(ends[1]);
	close(path);
	close(directory);
	close(null);
	close(fd);
}

static void access_modes(void)
{
	int fd = four_letters(), reader = open("mapped", O_RDONLY), writer = open("mapped", O_WRONLY);

	WHERE(mmap(AT(0), PAGE, R, MAP_PRIVATE, reader, 0));
	WHERE(mmap(AT(1), PAGE, RW, MAP_PRIVATE, reader, 0));
	WHERE(mmap(AT(2), PAGE, R, MAP_SHARED, reader, 0));
	WHERE(mmap(AT(3), PAGE, RW, MAP_SHARED, reader, 0));
	WHERE(mmap(AT(4), PAGE, PROT_WRITE, MAP_SHARED, reader, 0));
	WHERE(mmap(AT(5), PAGE, PROT_NONE, MAP_SHARED, writer, 0));
	WHERE(mmap(AT(6), PAGE, PROT_WRITE, MAP_SHARED, writer, 0));
	WHERE(mmap(AT(7), PAGE, R, MAP_PRIVATE, writer, 0));
	close(fd);
	close(reader);
	close(writer);
}

static void flags(void)
{
	int fd = four_letters();

	WHERE(mmap(AT(0), PAGE, R, 0, fd, 0));
	WHERE(mmap(AT(0), PAGE, R, 4, fd, 0));
	WHERE(mmap(AT(0), PAGE, R, MAP_PRIVATE | MAP_GROWSDOWN, fd, 0));
	WHERE(mmap(AT(0), PAGE, R, MAP_PRIVATE | MAP_HUGETLB, fd, 0));
	WHERE(mmap(AT(0), PAGE, R, MAP_SHARED_VALIDATE, fd, 0));
	WHERE(mmap(AT(1), PAGE, R, MAP_SHARED_VALIDATE | MAP_POPULATE, fd, 0));
	WHERE(mmap(AT(2), PAGE, R, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0));
	WHERE(mmap(AT(2), PAGE, R, MAP_SHARED_VALIDATE | 0x8000000, fd, 0));
	WHERE(mmap(AT(2), PAGE, R, MAP_SHARED | 0x8000000, fd, 0));
	WHERE(mmap(AT(3), 0, R, MAP_PRIVATE, fd, 0));
	WHERE(mmap(AT(3), 0, R, MAP_PRIVATE, -1, 0));
	close(fd);
}

static void offsets(void)
{
	int fd = four_letters();

	WHERE((void *)syscall(SYS_mmap, AT(0), PAGE, R, MAP_PRIVATE, fd, 1));
	WHERE((void *)syscall(SYS_mmap, AT(0), PAGE, R, MAP_PRIVATE, fd, 2048));
	WHERE((void *)syscall(SYS_mmap, AT(0), PAGE, R, MAP_PRIVATE, fd, -PAGE));
	WHERE((void *)syscall(SYS_mmap, AT(0), 2 * PAGE, R, MAP_PRIVATE, fd, -PAGE));
	WHERE((void *)syscall(SYS_mmap, AT(0), PAGE, R, MAP_PRIVATE, fd, 0x7ffffffffffff000));
	WHERE((void *)syscall(SYS_mmap, AT(0), PAGE, R, MAP_PRIVATE, fd, 8 * PAGE));
	printf("read behind the end: %s\n", peek(AT(0)));
	WHERE((void *)syscall(SYS_mmap, AT(1), 2 * PAGE, R, MAP_PRIVATE, fd, 2 * PAGE));
	show_letters("from the third page on", 1, 2);
	show_maps("areas");
	close(fd);
}

/* --- the four types -------------------------------------------------------------------------- */

static void private_file(void)
{
	int fd = four_letters();

	put_file(0, 4, RW, MAP_PRIVATE, fd, 0);
	put_file(8, 4, RW, MAP_PRIVATE, fd, 0);
	AT(1)[0] = 'x';
	show_letters("one", 0, 4);
	show_letters("other", 8, 4);
	printf("file: %c\n", byte_of_file(fd, PAGE));
	close(fd);
}

static void shared_file(void)
{
	int fd = four_letters();

	put_file(0, 4, RW, MAP_SHARED, fd, 0);
	put_file(8, 4, R, MAP_SHARED, fd, 0);
	AT(1)[0] = 'x';
	show_letters("one", 0, 4);
	show_letters("other", 8, 4);
	printf("file: %c\n", byte_of_file(fd, PAGE));
	close(fd);
}

static void private_and_shared(void)
{
	int fd = four_letters();

	put_file(0, 4, RW, MAP_PRIVATE, fd, 0);
	put_file(8, 4, RW, MAP_SHARED, fd, 0);
	AT(0)[0] = 'p';
	AT(8)[0] = 's';
	AT(9)[0] = 't';
	show_letters("private", 0, 4);
	show_letters("shared", 8, 4);
	AT(1)[0] = 'q';
	AT(9)[0] = 'u';
	show_letters("private", 0, 4);
	show_letters("shared", 8, 4);
	close(fd);
}

static void shared_anonymous(void)
{
	put_shared(0, 2, RW);
	put_shared(4, 2, RW);
	letters(0, 2);
	show_letters("one", 0, 2);
	show_letters("another is other memory", 4, 2);
	show_maps("areas");
}

static void shared_anonymous_outlives(void)
{
	char *p = put_shared(0, 4, RW), *q;

	letters(0, 4);
	q = mremap(p + 2 * PAGE, 0, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(8));
	munmap(p, 4 * PAGE);
	printf("%s\n", where(q));
	show_letters("the rest", 8, 2);
	WHERE(mremap(AT(8), 2 * PAGE, 3 * PAGE, 0));
	printf("behind its end: %s\n", peek(AT(10)));
}

static void zero_device(void)
{
	int fd = open("/dev/zero", O_RDWR);

	put_file(0, 2, RW, MAP_PRIVATE, fd, 0);
	put_file(4, 2, RW, MAP_SHARED, fd, 0);
	put_file(8, 2, RW, MAP_SHARED, fd, 0);
	show_letters("zeros", 0, 2);
	letters(0, 2);
	letters(4, 2);
	show_letters("private", 0, 2);
	show_letters("shared", 4, 2);
	show_letters("shared by no one", 8, 2);
	close(fd);
}

/* --- read and write beside a mapping --------------------------------------------------------- */

static void write_is_seen(void)
{
	int fd = four_letters();

	put_file(0, 4, R, MAP_SHARED, fd, 0);
	put_file(8, 4, RW, MAP_PRIVATE, fd, 0);
	show_letters("before", 0, 4);
	show_letters("private", 8, 4);
	AT(8)[0] = 'p';
	COUNT(pwrite(fd, "1", 1, 0));
	COUNT(pwrite(fd, "2", 1, PAGE));
	show_letters("after", 0, 4);
	show_letters("private", 8, 4);
	close(fd);
}

static void mapping_is_read(void)
{
	int fd = four_letters();
	char text[8] = "";

	put_file(0, 4, RW, MAP_SHARED, fd, 0);
	memcpy(AT(0), "Lenovo", 6);
	memcpy(AT(1) - 3, "across", 6);
	COUNT(pread(fd, text, 6, 0));
	printf("%s\n", text);
	COUNT(pread(fd, text, 6, PAGE - 3));
	printf("%s\n", text);
	close(fd);
}

static void mapping_outlives_descriptor(void)
{
	int fd = four_letters();

	put_file(0, 4, RW, MAP_SHARED, fd, 0);
	close(fd);
	AT(2)[0] = 'x';
	unlink("mapped");
	AT(3)[0] = 'y';
	show_letters("still there", 0, 4);
}

static void written_before_unmapping(void)
{
	int fd = four_letters();

	put_file(0, 4, RW, MAP_SHARED, fd, 0);
	AT(0)[0] = 'x';
	AT(3)[PAGE - 1] = 'y';
	munmap(AT(0), 4 * PAGE);
	printf("file: %c %c\n", byte_of_file(fd, 0), byte_of_file(fd, 4 * PAGE - 1));
	close(fd);
	fd = open("mapped", O_RDONLY);
	printf("opened again: %c %c\n", byte_of_file(fd, 0), byte_of_file(fd, 4 * PAGE - 1));
	close(fd);
}

static void synced(void)
{
	int fd = four_letters(), other = open("mapped", O_RDONLY);

	put_file(0, 4, RW, MAP_SHARED, fd, 0);
	AT(1)[0] = 'x';
	TELL(msync(AT(0), 4 * PAGE, MS_SYNC));
	printf("file: %c\n", byte_of_file(other, PAGE));
	AT(1)[0] = 'y';
	TELL(msync(AT(0), 4 * PAGE, MS_ASYNC));
	TELL(msync(AT(0), 4 * PAGE, MS_SYNC | MS_INVALIDATE));
	TELL(fsync(fd));
	TELL(fdatasync(fd));
	printf("file: %c\n", byte_of_file(other, PAGE));
	close(fd);
	close(other);
}

static void read_then_write_shared(void)
{
	int fd = four_letters();

	put_file(0, 1, RW, MAP_SHARED, fd, 0);
	printf("read %s\n", peek(AT(0)));
	printf("write %s\n", poke(AT(0)));
	printf("file: %c\n", byte_of_file(fd, 0));
	close(fd);
}

static void write_without_reading(void)
{
	int fd = four_letters();

	put_file(0, 2, RW, MAP_SHARED, fd, 0);
	put_file(4, 2, RW, MAP_PRIVATE, fd, 0);
	memcpy(AT(0), "Lenovo", 6);
	memcpy(AT(5), "LENOVO", 6);
	printf("%.8s %.8s\n", AT(0), AT(5));
	printf("file: %c %c\n", byte_of_file(fd, 0), byte_of_file(fd, PAGE));
	close(fd);
}

/* --- size ------------------------------------------------------------------------------------ */

static void last_page(void)
{
	int fd = letter_file("mapped", 1, 100);

	put_file(0, 2, RW, MAP_SHARED, fd, 0);
	printf("%d %d %d\n", AT(1)[99], AT(1)[100], AT(1)[PAGE - 1]);
	AT(1)[50] = 'x';
	AT(1)[100] = 'y';
	COUNT(lseek(fd, 0, SEEK_END));
	printf("file: %c %c\n", byte_of_file(fd, PAGE + 50), byte_of_file(fd, PAGE + 100));
	close(fd);
}

static void grown_under_a_mapping(void)
{
	int fd = letter_file("mapped", 1, 0);

	put_file(0, 4, R, MAP_SHARED, fd, 0);
	printf("before: %s\n", peek(AT(1)));
	COUNT(pwrite(fd, "xyz", 3, PAGE));
	printf("written: %s, %s\n", peek(AT(1)), peek(AT(1) + 3));
	TELL(ftruncate(fd, 3 * PAGE));
	printf("truncated up: %s, %s\n", peek(AT(2)), peek(AT(3)));
	close(fd);
}

static void truncated_under_a_mapping(void)
{
	int fd = four_letters();

	put_file(0, 4, RW, MAP_SHARED, fd, 0);
	put_file(8, 4, RW, MAP_PRIVATE, fd, 0);
	AT(3)[0] = 'x';
	AT(11)[0] = 'p';
	show_letters("before", 0, 4);
	TELL(ftruncate(fd, PAGE + 100));
	printf("shared: %s, %s, %s\n", peek(AT(1) + 99), peek(AT(1) + 100), peek(AT(2)));
	printf("private: %s, %s\n", peek(AT(10)), peek(AT(11)));
	TELL(ftruncate(fd, 4 * PAGE));
	printf("shared: %s, %s\n", peek(AT(1) + 100), peek(AT(3)));
	close(fd);
}

static void truncated_and_rewritten(void)
{
	int fd = four_letters();

	put_file(0, 4, R, MAP_SHARED, fd, 0);
	show_letters("before", 0, 4);
	TELL(ftruncate(fd, 0));
	printf("empty: %s\n", peek(AT(0)));
	COUNT(pwrite(fd, "new", 3, 0));
	printf("written: %s\n", peek(AT(0)));
	close(fd);
	close(open("mapped", O_WRONLY | O_TRUNC));
	printf("opened with O_TRUNC: %s\n", peek(AT(0)));
}

static void punched(void)
{
	int fd = four_letters();

	put_file(0, 4, R, MAP_SHARED, fd, 0);
	show_letters("before", 0, 4);
	TELL(fallocate(fd, 3, PAGE, 2 * PAGE));
	show_letters("a hole", 0, 4);
	TELL(fallocate(fd, 0x10 | 1, 3 * PAGE, 100));
	printf("zeroed: %d %d\n", AT(3)[99], AT(3)[100]);
	close(fd);
}

static void sparse(void)
{
	int fd = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);

	TELL(ftruncate(fd, 1l << 30));
	mmap(AT(0), 1ul << 30, R, MAP_SHARED | MAP_FIXED, fd, 0);
	printf("%s %s\n", peek(AT(0)), peek(AT((1l << 18) - 1)));
	COUNT(pwrite(fd, "x", 1, (1l << 29) + 5));
	printf("%s %s\n", peek(AT(1l << 17) + 5), peek(AT(1l << 17)));
	close(fd);
	unlink("mapped");
}

/* --- ways around ----------------------------------------------------------------------------- */

static void direct_io(void)
{
	int fd = four_letters(), direct = open("mapped", O_RDWR | O_DIRECT);

	put(0, 1, RW);
	put_file(8, 4, RW, MAP_SHARED, fd, 0);
	AT(9)[0] = 'x';
	TELL(fsync(fd));
	COUNT(pread(direct, AT(0), PAGE, PAGE));
	printf("read past the cache: %c\n", AT(0)[0]);
	memset(AT(0), 'd', PAGE);
	COUNT(pwrite(direct, AT(0), PAGE, 2 * PAGE));
	show_letters("written past the cache", 8, 4);
	close(direct);
	close(fd);
}

static void appended(void)
{
	int fd = letter_file("mapped", 1, 0), more = open("mapped", O_WRONLY | O_APPEND);

	put_file(0, 2, R, MAP_SHARED, fd, 0);
	COUNT(write(more, "more", 4));
	printf("%s %s\n", peek(AT(1)), peek(AT(1) + 4));
	close(more);
	close(fd);
}

static void proc_file(void)
{
	int fd = open("/proc/self/maps", O_RDONLY);

	WHERE(mmap(BASE, PAGE, R, MAP_PRIVATE, fd, 0));
	close(fd);
}

static void names_in_maps(void)
{
	int fd = four_letters();

	put_file(0, 2, R, MAP_PRIVATE, fd, 0);
	put_file(2, 1, R, MAP_SHARED, fd, 3);
	put_file(4, 1, RW, MAP_PRIVATE, fd, 1);
	show_maps("areas");
	unlink("mapped");
	close(fd);
}

static const struct guest_case cases[] = {
	{"descriptors that cannot be mapped", descriptors},
	{"the mode of the descriptor decides what may be mapped", access_modes},
	{"flags of file mappings", flags},
	{"offsets", offsets},
	{"names and offsets in the listing", names_in_maps},
	{"private file mappings keep their writes to themselves [J8][J11]", private_file},
	{"shared file mappings are the file [J8][J12][L3]", shared_file},
	{"a private mapping sees shared writes until it writes itself [J8][J11]", private_and_shared},
	{"shared anonymous mappings are memory of their own [J8]", shared_anonymous},
	{"shared anonymous memory, mapped twice, has an end [J8]", shared_anonymous_outlives},
	{"/dev/zero, private and shared [J9]", zero_device},
	{"write is seen in a mapping [L1][L3]", write_is_seen},
	{"read sees what was written to a mapping [L1][L3]", mapping_is_read},
	{"a mapping outlives its descriptor and its name", mapping_outlives_descriptor},
	{"what was written is in the file after munmap [L16]", written_before_unmapping},
	{"msync, fsync and fdatasync [L16]", synced},
	{"shared: read, then written [K22]", read_then_write_shared},
	{"written without reading, shared and private [K20][K21]", write_without_reading},
	{"the rest of the last page is not in the file [K18]", last_page},
	{"a file that grows under its mapping", grown_under_a_mapping},
	{"a file that is cut under its mappings", truncated_under_a_mapping},
	{"a file that is emptied and written again", truncated_and_rewritten},
	{"a hole punched under a mapping", punched},
	{"a sparse file of a gigabyte [K18]", sparse},
	{"O_DIRECT beside a mapping [L2][J2]", direct_io},
	{"O_APPEND beside a mapping [L1]", appended},
	{"files of /proc cannot be mapped", proc_file},
};

CASES_MAIN(cases)
