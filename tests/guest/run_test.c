/* SPDX-License-Identifier: MIT */
/* run_test.c - `lodge run`: exit statuses, streams, environment, listings, reports. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSYBOX "/bin/busybox"

static void expect_end(const char *how, int status)
{
	struct outcome o = lodge_run(guest_path("end"), how, NULL);

	expect_status(&o, status);
	outcome_free(&o);
}

static void exit_statuses_are_the_programs(void **state)
{
	(void)state;
	expect_end("0", 0);
	expect_end("3", 3);
	expect_end("255", 255);
	expect_end("256", 0);
}

static void death_by_signal_n_is_128_plus_n(void **state)
{
	static const struct {
		const char *how;
		int signal;
	} ends[] = {
		{"segv", SIGSEGV}, {"abort", SIGABRT}, {"fpe", SIGFPE},	  {"ill", SIGILL},
		{"bus", SIGBUS},   {"trap", SIGTRAP},  {"kill", SIGKILL}, {"term", SIGTERM},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		expect_end(ends[i].how, 128 + ends[i].signal);
}

/* [R13] Where, what, and which kind of SIGSEGV. */
static void a_fatal_fault_is_reported_on_stderr(void **state)
{
	struct outcome o = lodge_run(guest_path("end"), "segv", NULL);

	(void)state;
	expect_status(&o, 139);
	assert_memory_equal(o.err, "lodge: ", 7);
	assert_non_null(strstr(o.err, "SIGSEGV"));
	assert_non_null(strstr(o.err, "0x8"));
	for (char *line = o.err; *line; line = strchr(line, '\n') + 1)
		assert_memory_equal(line, "lodge: ", 7);
	assert_int_equal(o.out_bytes, 0);
	outcome_free(&o);
}

/* Who has made a process is told of its end; what there is to read on stderr is the program's. */
static void a_childs_fault_is_reported_when_asked_for(void **state)
{
	char script[300];

	(void)state;
	snprintf(script, sizeof(script), "%s segv 2>/dev/null; echo $?", guest_path("end"));
	struct outcome o = lodge_run("--ro", guest_path("end"), "/bin/busybox", "sh", "-c", script, NULL);
	expect_status(&o, 0);
	assert_string_equal(o.out, "139\n");
	assert_null(strstr(o.err, "died of"));
	outcome_free(&o);
	o = lodge_run("--trace=death", "--ro", guest_path("end"), "/bin/busybox", "sh", "-c", script, NULL);
	expect_status(&o, 0);
	assert_string_equal(o.out, "139\n");
	assert_non_null(strstr(o.err, "died of SIGSEGV"));
	outcome_free(&o);
}

static void expect_hello(const char *name)
{
	struct command c =
		lodge_command("--env", "HELLO_NAME=lodge", guest_path(name), "7", "two words", "", NULL);
	struct outcome o = command_run(&c);

	expect_status(&o, 7);
	assert_string_equal(o.out, "hello, lodge\nargument 1: 7\nargument 2: two words\nargument 3: \n");
	assert_int_equal(o.err_bytes, 0);
	outcome_free(&o);
}

static void static_glibc_musl_and_pie_programs_run(void **state)
{
	(void)state;
	expect_hello("hello_glibc");
	expect_hello("hello_musl");
	expect_hello("hello_pie");
}

/* [A8 A10 A11 A14 A6] */
static void registers_survive_calls_and_faults(void **state)
{
	struct outcome o = lodge_run(guest_path("regs"), NULL);

	(void)state;
	expect_status(&o, 0);
	outcome_free(&o);
}

static void vector_registers_and_tls_survive_faults_and_calls(void **state)
{
	struct outcome native = native_run(guest_path("avx_tls"), NULL);
	struct outcome o = lodge_run(guest_path("avx_tls"), NULL);

	(void)state;
	expect_status(&o, 0);
	print_message("# natively %s# under lodge %s", native.out, o.out);
	outcome_free(&native);
	outcome_free(&o);
}

static void stdin_is_the_programs(void **state)
{
	struct command c = lodge_command(BUSYBOX, "cat", NULL);
	struct running r = command_start(&c);
	struct outcome o;

	(void)state;
	assert_int_equal(write(r.in, "first\n", 6), 6);
	command_expect(&r, "first\n");
	assert_int_equal(write(r.in, "second\n", 7), 7);
	command_expect(&r, "second\n");
	close(r.in);
	r.in = -1;
	o = command_wait(&r, 10);
	expect_status(&o, 0);
	outcome_free(&o);
}

static void many_megabytes_through_pipes_arrive_unchanged(void **state)
{
	static const char script[] =
		"\"$1\" run busybox seq 1 1000000 | \"$1\" run busybox cat | busybox md5sum;"
		"busybox seq 1 1000000 | busybox md5sum";
	struct command c = {.argv = {"/bin/sh", "-c", script, "sh", lodge_path()}};
	struct outcome o = command_run(&c);
	char *half = o.out + o.out_bytes / 2;

	(void)state;
	expect_status(&o, 0);
	assert_true(o.out_bytes > 60);
	assert_memory_equal(o.out, half, o.out_bytes / 2);
	outcome_free(&o);
}

static void close_stdout(void *arg)
{
	(void)arg;
	close(1);
}

/* The place of a closed descriptor must not fall to one of lodge's own files. */
static void a_closed_stdout_is_closed_for_the_program(void **state)
{
	struct command lodge = lodge_command(BUSYBOX, "echo", "lost", NULL);
	struct command native = {.argv = {BUSYBOX, "echo", "lost"}, .in_child = close_stdout};
	struct outcome n = command_run(&native), o;

	(void)state;
	lodge.in_child = close_stdout;
	o = command_run(&lodge);
	expect_same(&n, &o);
	outcome_free(&n);
	outcome_free(&o);
}

static void close_all(void *arg)
{
	(void)arg;
	for (int fd = 0; fd < 3; fd++)
		close(fd);
}

static void with_all_streams_closed_the_status_is_still_right(void **state)
{
	struct command c = lodge_command(guest_path("end"), "3", NULL);
	struct outcome o;

	(void)state;
	c.in_child = close_all;
	o = command_run(&c);
	expect_status(&o, 3);
	outcome_free(&o);
}

static void close_stderr(void *arg)
{
	(void)arg;
	close(2);
}

/* What lodge says must not land in the file that took the place of stderr. */
static void with_stderr_closed_the_report_file_stays_clean(void **state)
{
	const char *path = scratch_path("clean.json");
	struct command c = lodge_command("--stats-file", path, guest_path("end"), "segv", NULL);
	struct outcome o;
	size_t bytes;
	char *json;

	(void)state;
	c.in_child = close_stderr;
	o = command_run(&c);
	expect_status(&o, 139);
	json = read_file(path, &bytes);
	assert_non_null(json);
	assert_true(json_valid(json));
	free(json);
	outcome_free(&o);
}

static void a_reader_that_leaves_ends_the_program_with_sigpipe(void **state)
{
	struct command c = lodge_command(BUSYBOX, "yes", NULL);
	struct running r = command_start(&c);
	struct outcome o;

	(void)state;
	command_expect(&r, "y\n");
	close(r.out);
	r.out = open("/dev/null", O_RDONLY | O_CLOEXEC);
	o = command_wait(&r, 10);
	expect_status(&o, 128 + SIGPIPE);
	outcome_free(&o);
}

static void env_is_the_callers_and_options_win(void **state)
{
	struct outcome o;

	(void)state;
	setenv("LODGE_C", "inherited", 1);
	o = lodge_run("--env", "LODGE_A=1", "--env", "HOME=/nowhere", "--env", "LODGE_A=2=3", "--env",
		      "LODGE_B=", BUSYBOX, "env", NULL);
	unsetenv("LODGE_C");
	expect_status(&o, 0);
	assert_non_null(strstr(o.out, "\nLODGE_A=2=3\n"));
	assert_null(strstr(o.out, "LODGE_A=1"));
	assert_non_null(strstr(o.out, "\nHOME=/nowhere\n"));
	assert_non_null(strstr(o.out, "\nLODGE_B=\n"));
	assert_non_null(strstr(o.out, "LODGE_C=inherited\n"));
	outcome_free(&o);
}

static void a_program_without_a_slash_is_found_in_path(void **state)
{
	struct outcome o = lodge_run("--env", "PATH=/nowhere:/bin", "busybox", "echo", "found", NULL);

	(void)state;
	expect_status(&o, 0);
	assert_string_equal(o.out, "found\n");
	outcome_free(&o);
	o = lodge_run("--env", "PATH=/nowhere", "busybox", "echo", NULL);
	expect_refused(&o, 127);
	outcome_free(&o);
}

static void words_behind_the_program_are_its_own(void **state)
{
	struct outcome o = lodge_run("--", BUSYBOX, "echo", "--memory", "--", "-x", NULL);

	(void)state;
	expect_status(&o, 0);
	assert_string_equal(o.out, "--memory -- -x\n");
	outcome_free(&o);
}

/*
 * --- listings and reports
 * ---------------------------------------------------------------------------------------
 */

/*
 * One line of a listing; inode and device of a file differ per machine, and so do ends that depend on a
 * build.
 */
static const char *listing_line(const char *text, const char *start)
{
	const char *line = strstr(text, start);

	if (!line || (line != text && line[-1] != '\n'))
		fail_msg("no line '%s' in:\n%s", start, text);
	return line;
}

static void expect_line(const char *text, const char *line)
{
	const char *found = listing_line(text, line);

	if (found[strlen(line)] != '\n')
		fail_msg("more than '%s' in:\n%s", line, text);
}

static const char *realpath_of(const char *program)
{
	static char path[4096];

	assert_non_null(realpath(guest_path(program), path));
	return path;
}

static unsigned int count_lines(const char *text)
{
	unsigned int n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/*
 * The form of each line, and the addresses that Linux 5.11 uses without randomisation: the first mapping
 * ends at mmap_base.
 */
static void maps_are_those_of_linux_at_its_addresses(void **state)
{
	struct outcome o = lodge_run("--maps", guest_path("anon_mmap"), NULL);
	const char *program = listing_line(o.err, "00400000-00401000 r--p 00000000 ");

	(void)state;
	expect_status(&o, 0);
	assert_int_equal(o.out_bytes, 0);
	assert_int_equal(count_lines(o.err), 11);
	listing_line(o.err, "00401000-");
	assert_int_equal(strcspn(program, "\n") - strlen(realpath_of("anon_mmap")), 73);
	expect_line(o.err, "7ffff7ff9000-7ffff7ffa000 rw-p 00000000 00:00 0 ");
	expect_line(o.err, "7ffff7ffa000-7ffff7ffe000 r--p 00000000 00:00 0                          [vvar]");
	expect_line(o.err, "7ffff7ffe000-7ffff7fff000 r-xp 00000000 00:00 0                          [vdso]");
	expect_line(o.err,
		    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]");
	expect_line(o.err,
		    "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]");
	assert_non_null(strstr(o.err, " 00:00 0                                  [heap]\n"));
	outcome_free(&o);
}

/* [R3] */
static void a_shared_anonymous_mapping_is_listed_as_dev_zero(void **state)
{
	struct outcome o = lodge_run("--maps", guest_path("anon_mmap"), "s", NULL);
	const char *line;

	(void)state;
	expect_status(&o, 0);
	line = listing_line(o.err, "7ffff7ff9000-7ffff7ffa000 rw-s 00000000 00:01 ");
	assert_non_null(strstr(line, " /dev/zero (deleted)\n"));
	outcome_free(&o);
}

/* [F6] */
static void aslr_moves_the_stack_and_without_it_runs_are_alike(void **state)
{
	struct outcome a = lodge_run("--maps", guest_path("anon_mmap"), NULL);
	struct outcome b = lodge_run("--maps", guest_path("anon_mmap"), NULL);
	struct outcome c = lodge_run("--maps", "--aslr", guest_path("anon_mmap"), NULL);
	struct outcome d = lodge_run("--maps", "--aslr", guest_path("anon_mmap"), NULL);

	(void)state;
	expect_status(&c, 0);
	assert_string_equal(a.err, b.err);
	assert_string_not_equal(a.err, c.err);
	assert_string_not_equal(c.err, d.err);
	outcome_free(&a);
	outcome_free(&b);
	outcome_free(&c);
	outcome_free(&d);
}

static void stats_are_readable_on_stderr_and_json_in_a_file(void **state)
{
	const char *path = scratch_path("stats.json");
	struct outcome o = lodge_run("--stats", "--stats-file", path, BUSYBOX, "echo", "counted", NULL);
	size_t bytes;
	char *json = read_file(path, &bytes);

	(void)state;
	expect_status(&o, 0);
	assert_string_equal(o.out, "counted\n");
	assert_true(count_lines(o.err) > 3);
	assert_non_null(json);
	assert_true(json_valid(json));
	assert_int_equal(json[0], '{');
	assert_int_equal(count_lines(json), 1);
	assert_int_equal(json[bytes - 1], '\n');
	free(json);
	outcome_free(&o);
}

static void a_report_that_cannot_be_written_is_a_failure_of_lodge(void **state)
{
	struct outcome o = lodge_run("--stats-file", "/dev/full", guest_path("end"), "3", NULL);

	(void)state;
	expect_refused(&o, 125);
	outcome_free(&o);
}

static void the_harness_knows_json_when_it_sees_it(void **state)
{
	(void)state;
	assert_true(json_valid("{\"a\": [1, -2.5e3, true, null, \"x\\n\"], \"b\": {}}\n"));
	assert_false(json_valid("{\"a\": 1,}"));
	assert_false(json_valid("{\"a\" 1}"));
	assert_false(json_valid("{\"a\": nan}"));
	assert_false(json_valid("{} {}"));
	assert_false(json_valid(""));
}

/* Of every fault that is traced: 0x255 for a write, 0x254 for a read, as its error code says. */
static void expect_fault_flags(const char *trace)
{
	unsigned int error, flags, nr[2] = {0};

	for (const char *line = trace; (line = strstr(line, "lodge: fault 0x")); line++) {
		assert_int_equal(sscanf(line, "lodge: fault 0x%*x error 0x%x (%*[^)]) flags 0x%x", &error,
					&flags),
				 2);
		if (error & 16)
			continue; /* a fetch */
		assert_int_equal(flags, error & 2 ? 0x255 : 0x254);
		nr[!!(error & 2)]++;
	}
	assert_true(nr[0] && nr[1]);
}

static void faults_are_traced_with_their_flags(void **state)
{
	struct outcome o =
		lodge_run("--fault-around", "4K", "--trace=fault", guest_path("same_cow"), ".", NULL);

	(void)state;
	expect_status(&o, 0);
	expect_fault_flags(o.err);
	outcome_free(&o);
}

/* [A16] [K26] [K28] [R8] The way of a fault by the kernel's names, its code and flags; and what it found. */
static void a_fault_is_traced_from_the_exception_to_its_leaf(void **state)
{
	struct outcome o =
		lodge_run("--fault-around", "4K", "--trace=fault,vmf", guest_path("anon_mmap"), NULL);
	const char *line = listing_line(o.err, "lodge: fault 0x");

	(void)state;
	expect_status(&o, 0);
	assert_non_null(strstr(line, " error 0x"));
	assert_non_null(strstr(line, " flags 0x25"));
	assert_non_null(strstr(line, ": asm_exc_page_fault > exc_page_fault > handle_page_fault > "
				     "do_user_addr_fault > handle_mm_fault > "));
	line = listing_line(o.err, "lodge: vmf vma 0x");
	assert_non_null(strstr(line, " orig_pte "));
	assert_non_null(strstr(line, " prealloc_pte "));
	outcome_free(&o);
}

/* [R9] [R10] [H3] [G2] */
static void a_dump_shows_space_areas_tables_and_pages(void **state)
{
	struct outcome o = lodge_run("--dump=tables,areas", "--dump=mm,pages", guest_path("anon_mmap"), NULL);
	const char *mm = strstr(o.err, "mm 0x"), *vma = strstr(o.err, "\nvma 0x"),
		   *tables = strstr(o.err, "\nCR3 0x"), *page = strstr(o.err, "\n  page refcount ");

	(void)state;
	expect_status(&o, 0);
	assert_int_equal(o.out_bytes, 0);
	assert_true(mm && vma && tables && page);
	assert_true(mm < vma && vma < tables && tables < page);
	assert_non_null(strstr(tables, "\n      PTE["));
	outcome_free(&o);
}

static void traces_are_lines_of_lodge_on_stderr(void **state)
{
	static const char *const kinds[] = {"fault", "syscall", "exit", "fault,syscall,exit"};
	size_t lines = 0;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		char option[64];
		struct outcome o;

		snprintf(option, sizeof(option), "--trace=%s", kinds[i]);
		o = lodge_run(option, BUSYBOX, "echo", "traced", NULL);
		expect_status(&o, 0);
		assert_string_equal(o.out, "traced\n");
		for (char *line = o.err; *line; line = strchr(line, '\n') + 1)
			assert_memory_equal(line, "lodge: ", 7);
		assert_true(count_lines(o.err) > 0);
		if (i == 3)
			assert_true(count_lines(o.err) > lines);
		lines += i < 3 && count_lines(o.err) > lines ? count_lines(o.err) - lines : 0;
		outcome_free(&o);
	}
}

/* The number behind "name": in a report. */
static uint64_t json_number_of(const char *json, const char *name)
{
	char key[64];
	const char *found;

	snprintf(key, sizeof(key), "\"%s\":", name);
	found = strstr(json, key);
	assert_non_null(found);
	return strtoull(found + strlen(key), NULL, 10);
}

/* A wider window means fewer faults; both end alike. */
static void fault_around_sets_how_much_one_fault_maps(void **state)
{
	const char *narrow = scratch_path("narrow.json"), *wide = scratch_path("wide.json");
	struct outcome a = lodge_run("--fault-around", "4K", "--stats-file", narrow, BUSYBOX, "dd",
				     "if=/dev/zero", "of=/dev/null", "bs=16M", "count=1", NULL);
	struct outcome b = lodge_run("--fault-around", "2M", "--stats-file", wide, BUSYBOX, "dd",
				     "if=/dev/zero", "of=/dev/null", "bs=16M", "count=1", NULL);
	size_t bytes;
	char *a_json = read_file(narrow, &bytes), *b_json = read_file(wide, &bytes);

	(void)state;
	expect_status(&a, 0);
	expect_status(&b, 0);
	assert_true(json_number_of(a_json, "minor_faults") > 2 * json_number_of(b_json, "minor_faults"));
	free(a_json);
	free(b_json);
	outcome_free(&a);
	outcome_free(&b);
}

/* The number before a word of the line of --stats that begins with `row`; 0 when it is not there. */
static unsigned long long stat_before(const char *report, const char *row, const char *word)
{
	const char *line = strstr(report, row), *end = line ? strchr(line, '\n') : NULL;
	const char *at = line ? strstr(line, word) : NULL;

	if (!at || !end || at > end)
		return 0;
	while (at > line && !(at[-1] >= '0' && at[-1] <= '9'))
		at--;
	while (at > line && at[-1] >= '0' && at[-1] <= '9')
		at--;
	return strtoull(at, NULL, 10);
}

static void the_owners_of_frames_add_up(void **state)
{
	static const char *const owners[] = {" anonymous", " cache", " tables", " objects", " reserved",
					     " bad",	   " other", " free",	" fresh"};
	struct outcome o = lodge_run("--stats", BUSYBOX, "md5sum", BUSYBOX, NULL);
	unsigned long long sum = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++)
		sum += stat_before(o.err, "arena ", owners[i]);
	assert_true(sum > 0);
	assert_int_equal(sum, stat_before(o.err, "arena ", " frames"));
	assert_int_equal(stat_before(o.err, "arena ", " anonymous") + stat_before(o.err, "arena ", " cache") +
				 stat_before(o.err, "arena ", " tables"),
			 stat_before(o.err, "memory ", " pages"));
	assert_non_null(strstr(o.err, "slabinfo - version: 2.1"));
	outcome_free(&o);
}

static void frames_are_cleared_ahead_when_asked_for(void **state)
{
	struct outcome with = lodge_run("--zero-ahead", "--stats", guest_path("reuse"), NULL);
	struct outcome without = lodge_run("--stats", guest_path("reuse"), NULL);

	(void)state;
	assert_string_equal(with.out, "always zero\n");
	assert_string_equal(without.out, "always zero\n");
	assert_true(stat_before(with.err, "zeroed ", " cleared ahead") > 0);
	assert_int_equal(stat_before(without.err, "zeroed ", " cleared ahead"), 0);
	outcome_free(&with);
	outcome_free(&without);
}

static void every_allocator_and_every_number_of_nodes_serves(void **state)
{
	static const char *const options[] = {"--thp=always",	 "--thp=madvise", "--thp=never",
					      "--kmem=slub",	 "--kmem=slab",	  "--kmem=slob",
					      "--kmem=magazine", "--nodes=1",	  "--nodes=2",
					      "--nodes=8",	 "--collapse"};
	struct outcome n = native_run(BUSYBOX, "md5sum", BUSYBOX, NULL);

	(void)state;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		struct outcome l = lodge_run(options[i], BUSYBOX, "md5sum", BUSYBOX, NULL);
		expect_same(&n, &l);
		outcome_free(&l);
	}
	outcome_free(&n);
}

/* Faults cost an exit each. */
static void libraries_and_heaps_come_without_faults(void **state)
{
	struct outcome o = lodge_run(guest_path("mapped_ahead"), NULL);

	(void)state;
	assert_string_equal(o.out, "headers 0\ntext 0\ndata 0\nheap 0\n");
	outcome_free(&o);
}

static void two_lodges_run_at_once(void **state)
{
	struct command c = lodge_command(BUSYBOX, "cat", NULL);
	struct running a = command_start(&c), b = command_start(&c);
	struct outcome oa, ob;

	(void)state;
	assert_int_equal(write(a.in, "a\n", 2), 2);
	assert_int_equal(write(b.in, "b\n", 2), 2);
	command_expect(&b, "b\n");
	command_expect(&a, "a\n");
	close(a.in);
	close(b.in);
	a.in = b.in = -1;
	oa = command_wait(&a, 10);
	ob = command_wait(&b, 10);
	expect_status(&oa, 0);
	expect_status(&ob, 0);
	outcome_free(&oa);
	outcome_free(&ob);
}

/* The 137 of a program that needs more than it may own comes with a reason, and it never owned more. */
static void memory_beyond_the_limit_ends_the_program_with_a_report(void **state)
{
	static const char *const modes[] = {"fill_memory", "fill_tables"};
	const char *path = scratch_path("limit.json");

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct outcome o = lodge_run("--memory", "24M", "--stats-file", path, guest_path("hostile"),
					     modes[i], NULL);
		size_t bytes;
		char *json = read_file(path, &bytes);

		expect_status(&o, 128 + SIGKILL);
		assert_memory_equal(o.err, "lodge: ", 7);
		assert_non_null(strstr(o.err, "memory"));
		assert_int_equal(json_number_of(json, "limit_pages"), 24 << 8);
		assert_in_range(json_number_of(json, "peak_usage_pages"), 23 << 8, 24 << 8);
		free(json);
		outcome_free(&o);
	}
}

/* Eight times the program's memory, with data here and there; what is a hole stays one on the host. */
static void a_sparse_file_larger_than_memory(void **state)
{
	const char *path = scratch_path("sparse"), *json_path = scratch_path("sparse.json");
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	size_t bytes;

	(void)state;
	assert_true(fd >= 0 && !ftruncate(fd, 256 << 20));
	for (off_t at = 0; at < 256 << 20; at += 5 << 20)
		assert_int_equal(pwrite(fd, "data that is no hole", 20, at + 3 * 4096), 20);
	struct outcome lodge = lodge_run("--memory", "32M", "--ro", scratch_dir(), "--stats-file", json_path,
					 guest_path("sparse"), path, NULL);
	struct outcome native = native_run(guest_path("sparse"), path, NULL);
	char *json = read_file(json_path, &bytes);

	expect_same(&native, &lodge);
	expect_status(&lodge, 0);
	assert_in_range(json_number_of(json, "peak_usage_pages"), 1000, 32 << 8);
	free(json);
	close(fd);
	outcome_free(&native);
	outcome_free(&lodge);
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("run: exit statuses are those of the program", exit_statuses_are_the_programs),
		CASE("run: death by signal N is 128+N", death_by_signal_n_is_128_plus_n),
		CASE("run: a fatal fault is reported on stderr [R13]", a_fatal_fault_is_reported_on_stderr),
		CASE("run: a child's fatal fault is reported where that was asked for [R13]",
		     a_childs_fault_is_reported_when_asked_for),
		CASE("run: static glibc, musl and static-PIE programs run",
		     static_glibc_musl_and_pie_programs_run),
		CASE("run: registers survive calls and faults [A6 A8 A10 A11 A14]",
		     registers_survive_calls_and_faults),
		CASE("run: vector registers and TLS survive faults and calls",
		     vector_registers_and_tls_survive_faults_and_calls),
		CASE("run: stdin is that of the program", stdin_is_the_programs),
		CASE("run: many megabytes through pipes arrive unchanged",
		     many_megabytes_through_pipes_arrive_unchanged),
		CASE("run: a closed stdout is closed for the program",
		     a_closed_stdout_is_closed_for_the_program),
		CASE("run: with all streams closed the status is still right",
		     with_all_streams_closed_the_status_is_still_right),
		CASE("run: with stderr closed the report file stays clean",
		     with_stderr_closed_the_report_file_stays_clean),
		CASE("run: a reader that leaves ends the program with SIGPIPE",
		     a_reader_that_leaves_ends_the_program_with_sigpipe),
		CASE("run: the environment is that of the caller and options win",
		     env_is_the_callers_and_options_win),
		CASE("run: a program without a slash is found in PATH",
		     a_program_without_a_slash_is_found_in_path),
		CASE("run: words behind the program are its own", words_behind_the_program_are_its_own),
		CASE("run: maps are those of Linux at its addresses [R1 R2 R5 F7 F8 F13 F14 F15 F16]",
		     maps_are_those_of_linux_at_its_addresses),
		CASE("run: a shared anonymous mapping is listed as dev zero [R3]",
		     a_shared_anonymous_mapping_is_listed_as_dev_zero),
		CASE("run: aslr moves the stack and without it runs are alike [F6]",
		     aslr_moves_the_stack_and_without_it_runs_are_alike),
		CASE("run: stats are readable on stderr and JSON in a file",
		     stats_are_readable_on_stderr_and_json_in_a_file),
		CASE("run: a report that cannot be written is a failure of lodge",
		     a_report_that_cannot_be_written_is_a_failure_of_lodge),
		CASE("run: the harness knows JSON when it sees it", the_harness_knows_json_when_it_sees_it),
		CASE("run: traces are lines of lodge on stderr", traces_are_lines_of_lodge_on_stderr),
		CASE("run: the flags of a traced fault are 0x255 for a write, 0x254 for a read [K7]",
		     faults_are_traced_with_their_flags),
		CASE("run: a fault is traced from the exception to its leaf [A16][K26][K28][R8]",
		     a_fault_is_traced_from_the_exception_to_its_leaf),
		CASE("run: a dump shows space, areas, tables and pages [R9][R10][H3][G2]",
		     a_dump_shows_space_areas_tables_and_pages),
		CASE("run: fault around sets how much one fault maps",
		     fault_around_sets_how_much_one_fault_maps),
		CASE("run: the owners of frames add up to the arena", the_owners_of_frames_add_up),
		CASE("run: frames are cleared ahead when that is asked for",
		     frames_are_cleared_ahead_when_asked_for),
		CASE("run: every object allocator and number of nodes serves the same",
		     every_allocator_and_every_number_of_nodes_serves),
		CASE("run: a library that is mapped, and a heap that goes on, need no faults [K11][G15]",
		     libraries_and_heaps_come_without_faults),
		CASE("run: two lodges run at once", two_lodges_run_at_once),
		CASE("run: a sparse file of eight times the memory is walked [O1]",
		     a_sparse_file_larger_than_memory),
		CASE("run: memory beyond the limit ends the program with a report",
		     memory_beyond_the_limit_ends_the_program_with_a_report),
	};

	return harness_main_kvm("run", tests, sizeof(tests) / sizeof(tests[0]));
}
