/* SPDX-License-Identifier: MIT */
/*
 * elf_test.c - files that are not programs, or not for here, are refused by one clear line; odd ones that
 * Linux runs, run.
 *
 * The tests start from the smallest good program and spoil one thing each.
 */
#include "harness.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BASE	    0x400000
#define CODE_OFFSET 0x200
#define EXIT_STATUS 42

/* The smallest program: exits with EXIT_STATUS. Room for three program headers; one is used. */
struct tiny {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[3];
	uint8_t pad[CODE_OFFSET - sizeof(Elf64_Ehdr) - 3 * sizeof(Elf64_Phdr)];
	uint8_t code[16];
	char tail[256];
};

static struct tiny tiny_program(void)
{
	static const uint8_t code[] = {0xb8, 60, 0, 0, 0, 0xbf, EXIT_STATUS, 0, 0, 0, 0x0f, 0x05};
	struct tiny t = {
		.eh = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		       .e_type = ET_EXEC,
		       .e_machine = EM_X86_64,
		       .e_version = EV_CURRENT,
		       .e_entry = BASE + CODE_OFFSET,
		       .e_phoff = offsetof(struct tiny, ph),
		       .e_ehsize = sizeof(Elf64_Ehdr),
		       .e_phentsize = sizeof(Elf64_Phdr),
		       .e_phnum = 1},
		.ph[0] = {.p_type = PT_LOAD,
			  .p_flags = PF_R | PF_X,
			  .p_vaddr = BASE,
			  .p_filesz = sizeof(struct tiny),
			  .p_memsz = sizeof(struct tiny),
			  .p_align = 4096},
	};

	memcpy(t.code, code, sizeof(code));
	return t;
}

static struct outcome run_bytes(const void *bytes, size_t n)
{
	const char *path = scratch_path("program");

	write_file(path, bytes, n, 0755);
	return lodge_run("--memory", "64M", path, NULL);
}

static void expect_bytes_refused(const char *what, const void *bytes, size_t n)
{
	struct outcome o = run_bytes(bytes, n);

	if (o.status != 126)
		print_error("%s:\n", what);
	expect_refused(&o, 126);
	assert_non_null(strstr(o.err, "program"));
	outcome_free(&o);
}

static void expect_tiny_refused(const char *what, const struct tiny *t)
{
	expect_bytes_refused(what, t, sizeof(*t));
}

static void the_smallest_program_runs(void **state)
{
	struct tiny t = tiny_program();
	struct outcome o = run_bytes(&t, sizeof(t));

	(void)state;
	expect_status(&o, EXIT_STATUS);
	assert_int_equal(o.out_bytes + o.err_bytes, 0);
	outcome_free(&o);
}

static void what_is_no_elf_is_refused(void **state)
{
	static const char zeros[8192];

	(void)state;
	expect_bytes_refused("empty", "", 0);
	expect_bytes_refused("one byte", "\x7f", 1);
	expect_bytes_refused("text", "hello\n", 6);
	expect_bytes_refused("magic alone", ELFMAG, 4);
	expect_bytes_refused("zeros", zeros, sizeof(zeros));
	expect_bytes_refused("lone #!", "#!", 2);
	expect_bytes_refused("#! and blanks", "#!  \t \n", 7);
}

static void a_truncated_header_is_refused_at_every_length(void **state)
{
	struct tiny t = tiny_program();

	(void)state;
	for (size_t n = 0; n < sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr); n += n < 60 ? 13 : 7)
		expect_bytes_refused("truncated", &t, n);
}

static void programs_for_other_machines_are_refused(void **state)
{
	struct tiny t = tiny_program();

	(void)state;
	t.eh.e_ident[EI_CLASS] = ELFCLASS32;
	expect_tiny_refused("32-bit class", &t);
	t.eh.e_machine = EM_386;
	expect_tiny_refused("i386", &t);
	t = tiny_program();
	t.eh.e_machine = EM_AARCH64;
	expect_tiny_refused("aarch64", &t);
	t = tiny_program();
	t.eh.e_ident[EI_DATA] = ELFDATA2MSB;
	expect_tiny_refused("big-endian", &t);
}

static void what_is_no_program_is_refused(void **state)
{
	struct tiny t = tiny_program();

	(void)state;
	t.eh.e_type = ET_REL;
	expect_tiny_refused("object file", &t);
	t.eh.e_type = ET_CORE;
	expect_tiny_refused("core file", &t);
	t = tiny_program();
	t.eh.e_phnum = 0;
	expect_tiny_refused("no program headers", &t);
	t = tiny_program();
	t.ph[0].p_type = PT_NOTE;
	expect_tiny_refused("nothing to load", &t);
	t = tiny_program();
	t.eh.e_phentsize = 32;
	expect_tiny_refused("odd header size", &t);
	t = tiny_program();
	t.eh.e_phnum = 0xffff;
	expect_tiny_refused("header table beyond the file", &t);
	t = tiny_program();
	t.eh.e_phoff = ~0ull - 8;
	expect_tiny_refused("header offset wraps", &t);
}

static void assert_hello(const char *program)
{
	struct outcome native = native_run(guest_path(program), "one", NULL);
	struct outcome o = lodge_run(guest_path(program), "one", NULL);

	expect_same(&native, &o);
	outcome_free(&native);
	outcome_free(&o);
}

static void dynamic_programs_run(void **state)
{
	(void)state;
	assert_hello("hello_dynamic");
	assert_hello("hello_dynamic_musl");
	assert_hello("hello_dynamic_fixed");
}

/* Segments where no user may have any. [B29 F2 F8 F9] */
static void segments_outside_the_user_half_are_refused(void **state)
{
	static const uint64_t places[] = {
		0x7ffffffff000,	    0x7fffffffffff & ~4095ull, 0x0000800000000000,
		0x00ffffffffff0000, 0x8000000000000000,	       0xffff800000000000,
		0xffff800040000000, 0xffffffff81000000,	       0xfffffffffffff000,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct tiny t = tiny_program();

		t.ph[0].p_vaddr = places[i];
		t.eh.e_entry = places[i] + CODE_OFFSET;
		expect_tiny_refused("segment place", &t);
	}
}

static void segments_of_impossible_size_are_refused(void **state)
{
	static const uint64_t sizes[] = {0x7fffffbfffff, 0x800000000000,   ~0ull,
					 ~0ull - BASE,	 ~0ull - BASE + 1, 1ull << 63};
	struct tiny t = tiny_program();

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		t = tiny_program();
		t.ph[0].p_memsz = sizes[i];
		expect_tiny_refused("memory size", &t);
		t.ph[0].p_filesz = sizes[i];
		expect_tiny_refused("file size", &t);
	}
	t = tiny_program();
	t.ph[0].p_filesz = t.ph[0].p_memsz + 1;
	expect_tiny_refused("more in the file than in memory", &t);
	t = tiny_program();
	t.ph[0].p_offset = 1;
	expect_tiny_refused("address and offset disagree", &t);
	t = tiny_program();
	t.ph[0].p_offset = ~0ull << 12;
	expect_tiny_refused("offset wraps", &t);
}

static void more_memory_than_the_limit_is_refused_before_it_runs(void **state)
{
	struct tiny t = tiny_program();
	struct outcome o;

	(void)state;
	t.ph[0].p_memsz = 1ull << 30;
	t.ph[0].p_flags |= PF_W;
	o = run_bytes(&t, sizeof(t));
	expect_refused(&o, 126);
	assert_non_null(strstr(o.err, "memory"));
	outcome_free(&o);
	t.ph[0].p_memsz = 32 << 20;
	o = run_bytes(&t, sizeof(t));
	expect_status(&o, EXIT_STATUS);
	outcome_free(&o);
}

static void overlapping_segments_are_refused(void **state)
{
	struct tiny t = tiny_program();

	(void)state;
	t.eh.e_phnum = 2;
	t.ph[1] = t.ph[0];
	t.ph[1].p_flags = PF_R | PF_W;
	expect_tiny_refused("the same place twice", &t);
	t.ph[1].p_vaddr -= 4096;
	t.ph[1].p_memsz = 8192;
	expect_tiny_refused("not in order", &t);
}

/* Linux starts such a program, and it dies at its first instruction. */
static void an_entry_where_nothing_is_dies_of_sigsegv(void **state)
{
	static const uint64_t entries[] = {
		0, 8, BASE - 1, 0x10000000, 0x7fffffffe000, 0x0000800000000000, 0xffff800040000000, ~0ull};

	(void)state;
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		struct tiny t = tiny_program();
		struct outcome o;

		t.eh.e_entry = entries[i];
		o = run_bytes(&t, sizeof(t));
		if (o.status != 126 && o.status != 139)
			expect_status(&o, 139);
		assert_memory_equal(o.err, "lodge: ", 7);
		assert_int_equal(o.out_bytes, 0);
		outcome_free(&o);
	}
}

/*
 * Every byte of the headers, each with a few values: lodge may refuse or run it, but must not fall over it.
 */
static void no_spoilt_header_byte_harms_lodge(void **state)
{
	static const uint8_t values[] = {0xff, 0x80};

	(void)state;
	for (size_t at = 4; at < sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr); at++)
		for (size_t v = 0; v < sizeof(values); v++) {
			struct tiny t = tiny_program();
			struct command c;
			struct outcome o;

			((uint8_t *)&t)[at] ^= values[v];
			write_file(scratch_path("program"), &t, sizeof(t), 0755);
			c = lodge_command("--memory", "64M", "--timeout", "5", scratch_path("program"), NULL);
			o = command_run(&c);
			if (o.signal || o.status == 125 || o.status == 124)
				fail_msg("byte %zu ^ %#x: status %d signal %d: %s", at, values[v], o.status,
					 o.signal, o.err);
			outcome_free(&o);
		}
}

static void names_that_lead_to_no_file(void **state)
{
	struct outcome o = lodge_run("/no/such/program", NULL);

	(void)state;
	expect_refused(&o, 127);
	assert_non_null(strstr(o.err, "/no/such/program"));
	outcome_free(&o);
	o = lodge_run("no-such-program-in-path", NULL);
	expect_refused(&o, 127);
	outcome_free(&o);
	o = lodge_run("", NULL);
	expect_refused(&o, 127);
	outcome_free(&o);
	o = lodge_run("-", NULL);
	expect_refused(&o, 127);
	outcome_free(&o);
	o = lodge_run("/bin/busybox/x", NULL);
	assert_true(o.status == 126 || o.status == 127);
	outcome_free(&o);
	o = lodge_run("/tmp/evil\033[2Jname\n", NULL);
	expect_refused(&o, 127);
	assert_null(strchr(o.err, '\033'));
	outcome_free(&o);
}

static void files_that_cannot_be_executed(void **state)
{
	struct tiny t = tiny_program();
	const char *path = scratch_path("plain"), *fifo = scratch_path("fifo"), *loop = scratch_path("loop");
	struct outcome o = lodge_run("/tmp", NULL);

	(void)state;
	expect_refused(&o, 126);
	outcome_free(&o);
	o = lodge_run("/dev/null", NULL);
	expect_refused(&o, 126);
	outcome_free(&o);
	write_file(path, &t, sizeof(t), 0644);
	o = lodge_run(path, NULL);
	expect_refused(&o, 126);
	outcome_free(&o);
	assert_int_equal(mkfifo(fifo, 0755), 0);
	o = lodge_run("--timeout", "10", fifo, NULL);
	expect_refused(&o, 126);
	outcome_free(&o);
	assert_int_equal(symlink("loop", loop), 0);
	o = lodge_run(loop, NULL);
	expect_refused(&o, 126);
	outcome_free(&o);
}

/*
 * --- scripts
 * ----------------------------------------------------------------------------------------------------
 */

static void expect_script_same(const char *text)
{
	const char *path = scratch_path("script");
	struct outcome native, lodge;

	write_file(path, text, strlen(text), 0755);
	native = native_run(path, "one", "two words", NULL);
	lodge = lodge_run(path, "one", "two words", NULL);
	expect_same(&native, &lodge);
	outcome_free(&native);
	outcome_free(&lodge);
}

static void scripts_run_their_interpreter_as_linux_does(void **state)
{
	(void)state;
	expect_script_same("#!/bin/busybox sh\necho \"$0 $# $1 $2\"; exit 5\n");
	expect_script_same("#! \t /bin/busybox  echo \t\n");
	expect_script_same("#!/bin/busybox echo two words, one argument \n");
	expect_script_same("#!/bin/busybox awk -f\nBEGIN { print 1 }\n");
	expect_script_same("#!/bin/busybox cat");
}

static void a_script_may_name_a_script(void **state)
{
	const char *inner = scratch_path("inner");
	char text[600];

	(void)state;
	write_file(inner, "#!/bin/busybox echo inner\n", 26, 0755);
	snprintf(text, sizeof(text), "#!%s outer\n", inner);
	expect_script_same(text);
}

static void scripts_that_lead_nowhere(void **state)
{
	const char *path = scratch_path("script");
	char text[600];
	struct outcome o;

	(void)state;
	write_file(path, "#!/no/such/interpreter\n", 23, 0755);
	o = lodge_run(path, NULL);
	expect_refused(&o, 127);
	outcome_free(&o);
	write_file(path, "#!/tmp\n", 7, 0755);
	o = lodge_run(path, NULL);
	expect_refused(&o, 126);
	outcome_free(&o);
	snprintf(text, sizeof(text), "#!%s\n", path);
	write_file(path, text, strlen(text), 0755);
	o = lodge_run(path, NULL);
	expect_refused(&o, 126);
	outcome_free(&o);
}

static void arguments_beyond_what_linux_takes_are_refused(void **state)
{
	char *huge = malloc(140000);
	struct command c = {0};
	struct outcome o;

	(void)state;
	memset(huge, 'x', 131070);
	huge[131070] = 0;
	c = lodge_command("/bin/busybox", "true", huge, NULL);
	o = command_run(&c);
	expect_status(&o, 0);
	outcome_free(&o);
	/* Longer ones do not even reach lodge: execve refuses them. */
	free(huge);
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("elf: the smallest program runs", the_smallest_program_runs),
		CASE("elf: what is no ELF is refused", what_is_no_elf_is_refused),
		CASE("elf: a truncated header is refused at every length",
		     a_truncated_header_is_refused_at_every_length),
		CASE("elf: programs for other machines are refused", programs_for_other_machines_are_refused),
		CASE("elf: what is no program is refused", what_is_no_program_is_refused),
		CASE("elf: programs of glibc's and musl's dynamic linkers run, position-independent or not",
		     dynamic_programs_run),
		CASE("elf: segments outside the user half are refused [B29 F8 F9]",
		     segments_outside_the_user_half_are_refused),
		CASE("elf: segments of impossible size are refused", segments_of_impossible_size_are_refused),
		CASE("elf: more memory than the limit is refused before it runs",
		     more_memory_than_the_limit_is_refused_before_it_runs),
		CASE("elf: overlapping segments are refused", overlapping_segments_are_refused),
		CASE("elf: an entry where nothing is dies of SIGSEGV",
		     an_entry_where_nothing_is_dies_of_sigsegv),
		CASE("elf: no spoilt header byte harms lodge", no_spoilt_header_byte_harms_lodge),
		CASE("elf: names that lead to no file", names_that_lead_to_no_file),
		CASE("elf: files that cannot be executed", files_that_cannot_be_executed),
		CASE("elf: scripts run their interpreter as Linux does",
		     scripts_run_their_interpreter_as_linux_does),
		CASE("elf: a script may name a script", a_script_may_name_a_script),
		CASE("elf: scripts that lead nowhere", scripts_that_lead_nowhere),
		CASE("elf: arguments beyond what Linux takes are refused",
		     arguments_beyond_what_linux_takes_are_refused),
	};

	return harness_main_kvm("elf", tests, sizeof(tests) / sizeof(tests[0]));
}
