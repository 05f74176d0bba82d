/* SPDX-License-Identifier: MIT */
/*
 * same_mempolicy.c - set_mempolicy, get_mempolicy and mbind on a machine of one node: modes, masks, errors, areas.
 */
#include "window.h"

#define STATIC				     0x8000
#define RELATIVE			     0x4000
#define BALANCE				     0x2000
#define set(mode, mask, n)		     syscall(SYS_set_mempolicy, mode, mask, n)
#define get(mode, mask, n, at, flags)	     syscall(SYS_get_mempolicy, mode, mask, n, at, flags)
#define bind_to(at, bytes, mode, mask, n, f) syscall(SYS_mbind, at, bytes, mode, mask, n, f)

static unsigned long none[64], one[64] = {1}, two[64] = {2}, both[64] = {3};

static void show_policy(void)
{
	unsigned long mask[2] = {9, 9};
	int mode = -1;

	TELL(get(&mode, mask, 128, 0, 0));
	printf("mode %x mask %lx %lx\n", (unsigned int)mode, mask[0], mask[1]);
}

static void modes(void)
{
	for (long mode = 0; mode < 9; mode++) {
		printf("mode %ld\n", mode);
		TELL(set(mode, none, 64));
		TELL(set(mode, one, 64));
		show_policy();
		TELL(set(mode, two, 64));
		TELL(set(mode, both, 64));
		TELL(set(mode | STATIC, one, 64));
		TELL(set(mode | RELATIVE, one, 64));
		TELL(set(mode | STATIC | RELATIVE, one, 64));
		TELL(set(mode | BALANCE, one, 64));
		TELL(set(mode | STATIC, none, 64));
		show_policy();
	}
	TELL(set(-1, one, 64));
	TELL(set(0, NULL, 0));
	show_policy();
}

static void masks(void)
{
	unsigned long far[64] = {1};

	TELL(set(2, one, 1));
	TELL(set(2, one, 2));
	TELL(set(2, one, 0));
	TELL(set(2, NULL, 64));
	TELL(set(2, KERNEL, 64));
	TELL(set(2, (void *)8, 64));
	far[1] = 1;
	TELL(set(2, far, 65));
	TELL(set(2, far, 128));
	far[1] = 0;
	far[40] = 1;
	TELL(set(2, far, 4096));
	TELL(set(2, one, 4096 * 8 + 2));
	TELL(get(NULL, none, 0, 0, 0));
	TELL(get(NULL, NULL, 0, 0, 0));
	TELL(get(NULL, (void *)8, 64, 0, 0));
	TELL(get((void *)8, NULL, 0, 0, 0));
	TELL(set(0, NULL, 0));
}

static void questions(void)
{
	unsigned long mask[1] = {9};
	int mode = -1;

	put(0, 2, RW);
	TELL(get(&mode, mask, 64, AT(0), 0));
	TELL(get(&mode, mask, 64, AT(0), 2));
	TELL(get(&mode, mask, 64, AT(8), 2));
	TELL(get(&mode, mask, 64, AT(0), 3));
	printf("node %d\n", mode);
	TELL(get(&mode, mask, 64, 0, 1));
	TELL(get(&mode, mask, 64, 0, 4));
	printf("mode %d mask %lx\n", mode, mask[0]);
	TELL(get(&mode, mask, 64, 0, 5));
	TELL(get(&mode, mask, 64, 0, 8));
	TELL(set(3, one, 64));
	TELL(get(&mode, NULL, 0, 0, 1));
	printf("next %d\n", mode);
	TELL(set(0, NULL, 0));
}

static void binds(void)
{
	unsigned long mask[1] = {9};
	int mode = -1;

	put(0, 6, RW);
	letters(0, 6);
	TELL(bind_to(AT(2), 2 * PAGE, 2, one, 64, 0));
	show_maps("cut");
	TELL(get(&mode, mask, 64, AT(2), 2));
	printf("mode %d mask %lx\n", mode, mask[0]);
	TELL(bind_to(AT(2), 2 * PAGE, 2 | STATIC, one, 64, 0));
	TELL(bind_to(AT(4), PAGE, 2, one, 64, 0));
	show_maps("not alike");
	TELL(bind_to(AT(0), 6 * PAGE, 0, NULL, 0, 0));
	show_maps("one again");
	show_letters("kept", 0, 6);
	TELL(bind_to(AT(0), 8 * PAGE, 0, NULL, 0, 0));
	TELL(bind_to(AT(8), PAGE, 2, one, 64, 0));
	TELL(bind_to(AT(0) + 1, PAGE, 2, one, 64, 0));
	TELL(bind_to(AT(0), 0, 2, one, 64, 0));
	TELL(bind_to(AT(0), 0, 2, two, 64, 0));
	TELL(bind_to(AT(0), -PAGE, 2, one, 64, 0));
	TELL(bind_to(AT(0), PAGE, 2, two, 64, 0));
	TELL(bind_to(AT(0), PAGE, 9, one, 64, 0));
	TELL(bind_to(AT(0), PAGE, 2, one, 64, 8));
	TELL(bind_to(AT(0), PAGE, 2, one, 64, 1));
	TELL(bind_to(AT(0), PAGE, 2, one, 64, 2));
	TELL(bind_to(AT(0), PAGE, 1, NULL, 0, 0));
	TELL(get(&mode, mask, 64, AT(0), 2));
	printf("mode %d mask %lx\n", mode, mask[0]);
}

#define MOVE 2

static void where_pages_are(void)
{
	void *pages[4] = {AT(0), AT(40), AT(99), KERNEL};
	int status[4] = {77, 77, 77, 77}, nodes[4] = {0};

	put(0, 64, RW);
	letters(0, 1);
	COUNT(syscall(SYS_move_pages, 0, 1, pages, NULL, status, 0));
	printf("%d\n", status[0]);
	COUNT(syscall(SYS_move_pages, 0, 4, pages, NULL, status, 0));
	printf("%d %d %d %d\n", status[0], status[1], status[2], status[3]);
	COUNT(syscall(SYS_move_pages, 0, 1, pages, nodes, status, MOVE));
	printf("%d\n", status[0]);
	nodes[0] = 5;
	COUNT(syscall(SYS_move_pages, 0, 1, pages, nodes, status, MOVE));
	COUNT(syscall(SYS_move_pages, 0, 1, pages, nodes, status, 1));
	COUNT(syscall(SYS_move_pages, 0, 1, KERNEL, NULL, status, 0));
	COUNT(syscall(SYS_move_pages, 0, 1, pages, NULL, KERNEL, 0));
	COUNT(syscall(SYS_move_pages, 0, 0, NULL, NULL, NULL, 0));
	COUNT(syscall(SYS_move_pages, 0x7ffffff0, 1, pages, NULL, status, 0));
}

static void to_other_nodes(void)
{
	unsigned long first = 1, nowhere = 0;

	put(0, 1, RW);
	letters(0, 1);
	COUNT(syscall(SYS_migrate_pages, 0, 64, &first, &first));
	COUNT(syscall(SYS_migrate_pages, 0, 64, &first, &nowhere));
	COUNT(syscall(SYS_migrate_pages, 0, 64, KERNEL, &first));
	COUNT(syscall(SYS_migrate_pages, 0x7ffffff0, 64, &first, &first));
	show_letters("kept", 0, 1);
}

static const struct guest_case cases[] = {
	{"move_pages: where pages are", where_pages_are},
	{"migrate_pages: to the nodes that there are", to_other_nodes},
	{"set_mempolicy: modes, their flags, their nodes", modes},
	{"masks: lengths, nodes that are not there, addresses", masks},
	{"get_mempolicy: of the task, of an address, of a page", questions},
	{"mbind: areas are cut and joined; arguments [H3]", binds},
};

CASES_MAIN(cases)
