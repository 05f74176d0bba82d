/* SPDX-License-Identifier: MIT */
/*
 * sites_test.c - spaces whose call sites are rewritten (src/vmm/sites.c): that they are, what hostile programs can do with them, and
 * copies of such spaces. What programs see of it is compared with Linux by tests/guest/same_test.c.
 */
#include <sys/stat.h>

#include "../../include/lodge.h"
#include "../../src/uffd/arena.h"
#include "../../src/vmm/vm.h"
#include "spaces.h"

/* Sites can be rewritten where SYSCALL stays at CPL3. */
static bool can_rewrite(void)
{
	static struct arena arena;
	struct vm_platform p = {0};

	assert_int_equal(arena_init(&arena, &(struct arena_setup){.max_bytes = 1ull << 30}), 0);
	struct vm *vm = vm_create(&arena, NULL);
	assert_non_null(vm);
	assert_int_equal(vm_platform(vm, &p), 0);
	assert_int_equal(vm_destroy(vm), 0);
	arena_destroy(&arena);
	return p.syscall_cpl3;
}

/* A space with a program of tests/guest/prog and a directory that it may write to. */
static void load(struct run *r, enum lodge_traps traps, enum lodge_patch patch, const char *program,
		 const char *const *words, const char *dir)
{
	const char *guests = getenv("LODGE_GUESTS"), *argv[8] = {NULL}, *const envp[] = {NULL};
	const char *const dirs[] = {dir, NULL};
	struct lodge_space_options o;
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", guests ? guests : "build/guest", program);
	argv[0] = path;
	for (int i = 0; words[i]; i++)
		argv[i + 1] = words[i];
	open_pipes(r);
	lodge_space_options_init(&o);
	o.traps = traps;
	o.patch = patch;
	o.memory_bytes = MEMORY;
	o.rw_dirs = dirs;
	o.cwd = dir;
	memcpy(o.fds, r->fds, sizeof(o.fds));
	assert_int_equal(lodge_space_create(host, &o, &r->space, NULL), 0);
	assert_int_equal(lodge_space_load(r->space, path, argv, envp, NULL), 0);
}

static const char *make_dir(void)
{
	static char dir[64];

	strcpy(dir, "/var/tmp/lodge-sites-XXXXXX");
	assert_non_null(mkdtemp(dir));
	return dir;
}

static void remove_dir(const char *dir)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/sites", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/hot", dir);
	unlink(path);
	assert_int_equal(rmdir(dir), 0);
}

/* What one case of same_sites leaves behind. */
static struct lodge_stats stats_of(enum lodge_traps traps, enum lodge_patch patch, const char *nr)
{
	const char *const words[] = {"--case", nr, NULL}, *dir = make_dir();
	struct lodge_stats stats;
	struct run r = {0};

	load(&r, traps, patch, "same_sites", words, dir);
	start(&r);
	join(&r);
	lodge_space_stats(r.space, &stats);
	destroy(&r);
	remove_dir(dir);
	return stats;
}

static void counts(void **state)
{
	(void)state;
	if (!host)
		skip();
	bool can = can_rewrite();
	struct lodge_stats s = stats_of(LODGE_TRAPS_POLL, LODGE_PATCH_AUTO, "1");
	assert_true(can ? s.rewritten_sites >= 2 : !s.rewritten_sites);
	assert_true(can ? s.rewritten_site_calls >= 300 : !s.rewritten_site_calls);
	s = stats_of(LODGE_TRAPS_AUTO, LODGE_PATCH_AUTO, "1");
	assert_true(can ? s.rewritten_sites >= 2 : !s.rewritten_sites);
	s = stats_of(LODGE_TRAPS_POLL, LODGE_PATCH_OFF, "1");
	assert_int_equal(s.rewritten_sites + s.kept_sites + s.rewritten_site_calls, 0);
	s = stats_of(LODGE_TRAPS_EXIT, LODGE_PATCH_AUTO, "1");
	assert_int_equal(s.rewritten_sites + s.kept_sites + s.rewritten_site_calls, 0);
}

/* They are taken back by each of what is done to the text, and come again: else the comparison with Linux compares nothing. */
static void come_again(void **state)
{
	static const struct {
		const char *nr;
		uint64_t times;
	} cases[] = {{"4", 12}, {"8", 4}, {"9", 6}, {"10", 5}};

	(void)state;
	if (!host)
		skip();
	if (!can_rewrite())
		skip();
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lodge_stats s = stats_of(LODGE_TRAPS_POLL, LODGE_PATCH_AUTO, cases[i].nr);
		if (s.rewritten_sites < cases[i].times)
			fail_msg("case %s: %llu", cases[i].nr, (unsigned long long)s.rewritten_sites);
	}
}

static void hostile(void **state)
{
	const char *const words[] = {NULL}, *dir;
	struct run r = {0};

	(void)state;
	if (!host)
		skip();
	dir = make_dir();
	load(&r, LODGE_TRAPS_POLL, LODGE_PATCH_AUTO, "sites_hostile", words, dir);
	start(&r);
	hear(&r, "208 children\n");
	join(&r);
	destroy(&r);
	remove_dir(dir);
}

/* All that it has written since. */
static void expect_output(struct run *r, const char *expected)
{
	char text[4096] = "";

	assert_true(read(r->out, text, sizeof(text) - 1) > 0);
	assert_string_equal(text, expected);
}

#define CLONES 6

/* The text in a copy is as its file has it, and it goes on with what was in the middle of a call. */
static void copies(void **state)
{
	const char *const words[] = {"--case", "13", NULL}, *dir;
	struct run r = {0}, c[CLONES] = {{0}};

	(void)state;
	if (!host)
		skip();
	dir = make_dir();
	load(&r, LODGE_TRAPS_POLL, LODGE_PATCH_AUTO, "same_sites", words, dir);
	start(&r);
	hear(&r, "== sites: more of them than there is room for [A10]\n");
	hear(&r, "begun\n");
	for (unsigned int i = 0; i < CLONES; i++) {
		usleep(10000);
		open_pipes(&c[i]);
		if (lodge_space_clone(r.space, c[i].fds, &c[i].space, NULL))
			break; /* it has ended */
		start(&c[i]);
	}
	join(&r);
	expect_output(&r, "done\n");
	destroy(&r);
	for (unsigned int i = 0; i < CLONES && c[i].space; i++) {
		join(&c[i]);
		expect_output(&c[i], "done\n");
		destroy(&c[i]);
	}
	remove_dir(dir);
}

#define CASE(title, fn)                                                                        \
	{                                                                                      \
		.name = title, .test_func = fn, .setup_func = setup, .teardown_func = teardown \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("sites: hot ones become jumps where that is possible and wanted [A10]", counts),
		CASE("sites: what is taken back comes again [A10]", come_again),
		CASE("sites: jumps into the middle of all of it harm nobody else [A10]", hostile),
		CASE("sites: a space is copied while its sites are hot [M4]", copies),
	};

	return cmocka_run_group_tests_name("sites", tests, NULL, NULL);
}
