/* SPDX-License-Identifier: MIT */
/*
 * same_mprotect.c - which accesses each protection allows, what the others raise, and what mprotect refuses.
 */
#include "window.h"

static const char *prot_name(int prot)
{
	static const char *const names[] = {"---", "r--", "-w-", "rw-", "--x", "r-x", "-wx", "rwx"};

	return names[prot & 7];
}

static void show_accesses(int prot, char *at)
{
	printf("%s: read %s, ", prot_name(prot), peek(at));
	printf("write %s, ", poke(at + 8));
	printf("run %s\n", jump(at));
}

static void after_mprotect(void)
{
	for (int prot = 0; prot < 8; prot++) {
		char *p = put(prot, 1, RW);

		*p = (char)RETURN_BYTE;
		mprotect(p, PAGE, prot);
		show_accesses(prot, p);
	}
}

static void from_the_start(void)
{
	for (int prot = 0; prot < 8; prot++) {
		char *p = put(prot, 1, prot);

		printf("%s: read %s, ", prot_name(prot), peek(p));
		printf("write %s\n", poke(p));
	}
}

static void on_shared_memory(void)
{
	for (int prot = 0; prot < 8; prot++) {
		char *p = put_shared(prot, 1, RW);

		*p = (char)RETURN_BYTE;
		mprotect(p, PAGE, prot);
		show_accesses(prot, p);
	}
}

static void on_private_file(void)
{
	int fd = letter_file("prot", 8, 0);

	for (long i = 0; i < 8; i++)
		pwrite(fd, "\xc3", 1, i * PAGE);
	for (int prot = 0; prot < 8; prot++) {
		char *p = put_file(prot, 1, R, MAP_PRIVATE, fd, prot);

		mprotect(p, PAGE, prot);
		show_accesses(prot, p);
	}
	close(fd);
}

static void on_shared_file(void)
{
	int fd = letter_file("prot", 8, 0);

	for (long i = 0; i < 8; i++)
		pwrite(fd, "\xc3", 1, i * PAGE);
	for (int prot = 0; prot < 8; prot++) {
		char *p = put_file(prot, 1, R, MAP_SHARED, fd, prot);

		mprotect(p, PAGE, prot);
		show_accesses(prot, p);
	}
	close(fd);
}

static void instruction_fetch(void)
{
	char *p = put(0, 1, RW);

	*p = (char)RETURN_BYTE;
	printf("rw-: %s\n", jump(p));
	mprotect(p, PAGE, PROT_READ | PROT_EXEC);
	printf("r-x: %s\n", jump(p));
	mprotect(p, PAGE, RW);
	printf("rw- again: %s\n", jump(p));
	printf("nothing there: %s\n", jump(AT(4)));
	put(8, 1, R);
	printf("untouched r--: %s\n", jump(AT(8)));
}

static void contents_stay(void)
{
	put(0, 4, RW);
	letters(0, 4);
	mprotect(AT(0), 4 * PAGE, PROT_NONE);
	show_letters("no access", 0, 4);
	mprotect(AT(1), 2 * PAGE, R);
	show_letters("read", 0, 4);
	mprotect(AT(0), 4 * PAGE, RW);
	show_letters("all", 0, 4);
	printf("write %s\n", poke(AT(0)));
}

static void splits_and_merges(void)
{
	put(0, 8, RW);
	mprotect(AT(2), 2 * PAGE, R);
	show_maps("middle");
	mprotect(AT(4), 4 * PAGE, R);
	show_maps("to the end");
	mprotect(AT(0), PAGE, R);
	show_maps("start");
	mprotect(AT(1), PAGE, R);
	show_maps("all the same");
	mprotect(AT(2), 2 * PAGE, RW);
	mprotect(AT(2), 2 * PAGE, R);
	show_maps("and back");
}

static void across_areas(void)
{
	put(0, 2, RW);
	put(2, 2, R);
	put(4, 2, PROT_NONE);
	put_shared(6, 2, RW);
	TELL(mprotect(AT(1), 6 * PAGE, R));
	show_maps("areas");
}

static void stops_at_a_hole(void)
{
	put(0, 2, RW);
	put(3, 2, RW);
	TELL(mprotect(AT(0), 5 * PAGE, R));
	show_maps("changed up to the hole");
	TELL(mprotect(AT(2), 2 * PAGE, R));
	TELL(mprotect(AT(3), 4 * PAGE, R));
	show_maps("areas");
}

static void stops_at_a_refusal(void)
{
	int fd = letter_file("prot", 2, 0), reader = open("prot", O_RDONLY);

	put(0, 2, R);
	put_file(2, 2, R, MAP_SHARED, reader, 0);
	put(4, 2, R);
	TELL(mprotect(AT(1), 5 * PAGE, RW));
	show_maps("changed before the file");
	close(fd);
	close(reader);
}

static void rights_of_the_descriptor(void)
{
	int fd = letter_file("prot", 2, 0), reader = open("prot", O_RDONLY);

	put_file(0, 1, R, MAP_SHARED, reader, 0);
	put_file(2, 1, R, MAP_PRIVATE, reader, 0);
	put_file(4, 1, R, MAP_SHARED, fd, 0);
	TELL(mprotect(AT(0), PAGE, RW));
	TELL(mprotect(AT(0), PAGE, PROT_WRITE));
	TELL(mprotect(AT(0), PAGE, PROT_READ | PROT_EXEC));
	TELL(mprotect(AT(2), PAGE, RW));
	TELL(mprotect(AT(4), PAGE, RW));
	close(fd);
	close(reader);
}

static void refusals(void)
{
	put(0, 2, RW);
	TELL(mprotect(BASE + 1, PAGE, R));
	TELL(mprotect(BASE, 0, 0x1000));
	TELL(mprotect(BASE + 1, 0, R));
	TELL(mprotect(AT(4), 0, R));
	TELL(mprotect(BASE, PAGE, 0x1000));
	TELL(mprotect(BASE, PAGE, 8 | RW));
	TELL(mprotect(BASE, PAGE, PROT_GROWSDOWN | PROT_GROWSUP));
	TELL(mprotect(BASE, PAGE, PROT_GROWSDOWN | R));
	TELL(mprotect(BASE, PAGE, PROT_GROWSUP | R));
	TELL(mprotect(BASE, -1ul, R));
	TELL(mprotect(BASE, -4096ul, R));
	TELL(mprotect(KERNEL, PAGE, R));
	TELL(mprotect(USER_END, PAGE, R));
	TELL(mprotect(NULL, PAGE, R));
	show_maps("as it was");
}

static void length_rounded(void)
{
	put(0, 4, RW);
	TELL(mprotect(AT(0), 1, R));
	TELL(mprotect(AT(2), PAGE + 1, R));
	show_maps("areas");
}

static void growing_down(void)
{
	mmap(AT(4), 4 * PAGE, RW, PRIVATE | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
	TELL(mprotect(AT(6), PAGE, R | PROT_GROWSDOWN));
	show_maps("from the bottom");
	TELL(mprotect(AT(2), PAGE, R | PROT_GROWSDOWN));
	TELL(mprotect(AT(2), 3 * PAGE, R | PROT_GROWSDOWN));
}

static void read_only_again(void)
{
	char *p = put(0, 1, RW);

	for (int i = 0; i < 3; i++) {
		p[i] = 1;
		mprotect(p, PAGE, R);
		printf("read-only: %s\n", poke(p));
		mprotect(p, PAGE, RW);
		printf("writable: %s\n", poke(p));
	}
}

static void zero_page_made_writable(void)
{
	char *p = put(0, 2, R);

	printf("read %s\n", peek(p));
	printf("write %s\n", poke(p));
	mprotect(p, 2 * PAGE, RW);
	printf("write %s, next page %s\n", poke(p), peek(p + PAGE));
	printf("holds %d\n", *p);
}

static void private_file_copied_on_write(void)
{
	int fd = letter_file("prot", 2, 0);
	char *p = put_file(0, 2, R, MAP_PRIVATE, fd, 0);

	show_letters("before", 0, 2);
	mprotect(p, 2 * PAGE, RW);
	*p = 'x';
	mprotect(p, 2 * PAGE, R);
	printf("write %s\n", poke(p));
	show_letters("mine", 0, 2);
	printf("the file's: %c\n", byte_of_file(fd, 0));
	close(fd);
}

static const struct guest_case cases[] = {
	{"read, write and run under each of the eight protections [H7][B11][B17]", after_mprotect},
	{"read and write of untouched memory under each protection [H7][B10]", from_the_start},
	{"the eight protections on shared memory [H7][H8]", on_shared_memory},
	{"the eight protections on a private file mapping [H7]", on_private_file},
	{"the eight protections on a shared file mapping [H7]", on_shared_file},
	{"running data faults with the fetch bit [B17]", instruction_fetch},
	{"contents outlive PROT_NONE", contents_stay},
	{"areas split and merge again [I13]", splits_and_merges},
	{"a range across areas", across_areas},
	{"what lies before a hole is changed, then ENOMEM", stops_at_a_hole},
	{"what lies before a refusal is changed, then EACCES", stops_at_a_refusal},
	{"a shared mapping of a file opened for reading stays read-only", rights_of_the_descriptor},
	{"arguments that are refused leave all as it was [F8]", refusals},
	{"a length is rounded up", length_rounded},
	{"PROT_GROWSDOWN reaches down to the bottom of the area [H9]", growing_down},
	{"a page write-protected again and again [K2][K4]", read_only_again},
	{"a page that was only read becomes writable [K13][K14]", zero_page_made_writable},
	{"a private file page copied, then protected [K20][K23]", private_file_copied_on_write},
};

CASES_MAIN(cases)
