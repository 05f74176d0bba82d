/* SPDX-License-Identifier: MIT */
/*
 * randstruct_test.c - structures that may be shuffled are initialized by the names of their fields, and nothing else compiles.
 */
#include "../harness.h"

static bool compiles(const char *text)
{
	FILE *cc = popen("gcc -std=gnu11 -D_GNU_SOURCE -fsyntax-only -Werror -x c - 2>/dev/null", "w");

	if (!cc)
		fail_msg("no shell");
	fputs(text, cc);
	return pclose(cc) == 0;
}

static void by_name_alone(void **state)
{
	(void)state;
	if (!compiles("#include \"src/mm/mm.h\"\n"))
		skip(); /* not where it was built */
	assert_true(compiles("#include \"src/mm/mm.h\"\n"
			     "const struct vm_operations ops = {.pagesize = NULL};\n"));
	assert_false(compiles("#include \"src/mm/mm.h\"\n"
			      "const struct vm_operations ops = {NULL, NULL};\n"));
	assert_false(compiles("#include \"src/mm/backing.h\"\n"
			      "const struct backing_ops ops = {NULL, NULL};\n"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"randstruct: fields are initialized by name, or not at all [H25]", by_name_alone, NULL, NULL,
		 NULL},
	};

	return cmocka_run_group_tests_name("randstruct", tests, NULL, NULL);
}
