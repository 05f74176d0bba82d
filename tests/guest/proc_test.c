/* SPDX-License-Identifier: MIT */
/*
 * proc_test.c - files of /proc and /sys as unmodified programs read them under lodge, against the host's own files.
 *
 * What same_procfs.c compares case by case is not repeated here: this is about what a guest's machine shows of itself, and
 * about what it must not show.
 */
#include "harness.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUSYBOX	 "/bin/busybox"
#define MAX_KEYS 256

struct keys {
	char key[MAX_KEYS][40];
	size_t nr;
};

/* What stands before the colon of each line that has one. */
static void keys_of(const char *text, struct keys *k)
{
	k->nr = 0;
	for (const char *at = text; *at && k->nr < MAX_KEYS; at += strcspn(at, "\n"), at += *at == '\n') {
		size_t len = strcspn(at, ":\n");

		if (at[len] == ':' && len < sizeof(k->key[0]) && !isdigit((unsigned char)*at) &&
		    !strchr(" \t", *at))
			snprintf(k->key[k->nr++], sizeof(k->key[0]), "%.*s", (int)len, at);
	}
}

static long find(const struct keys *k, const char *key, size_t from)
{
	for (size_t i = from; i < k->nr; i++)
		if (!strcmp(k->key[i], key))
			return (long)i;
	return -1;
}

static char *guest_file(const char *path)
{
	struct outcome o = lodge_run(BUSYBOX, "cat", path, NULL);
	char *text;

	expect_status(&o, 0);
	text = strdup(o.out);
	outcome_free(&o);
	return text;
}

static char *host_file(const char *path)
{
	struct outcome o = native_run(BUSYBOX, "cat", path, NULL);
	char *text = strdup(o.out);

	outcome_free(&o);
	return text;
}

static long number_of(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

/* Keys that both have stand in the same order; kernels differ in which they have, but not in more than a few. */
static void same_keys(const char *path, size_t least)
{
	char *guest = guest_file(path), *host = host_file(path);
	struct keys g, h;
	size_t next = 0, common = 0;

	keys_of(guest, &g);
	keys_of(host, &h);
	for (size_t i = 0; i < g.nr; i++) {
		long there = find(&h, g.key[i], next);
		if (there < 0)
			assert_true(find(&h, g.key[i], 0) < 0 || next == h.nr);
		else
			next = (size_t)there + 1, common++;
	}
	if (common < least)
		fail_msg("%s: %zu of %zu keys are the host's %zu", path, common, g.nr, h.nr);
	free(guest);
	free(host);
}

static void keys_are_the_kernels(void **state)
{
	(void)state;
	same_keys("/proc/self/status", 45);
	same_keys("/proc/self/smaps_rollup", 18);
	same_keys("/proc/meminfo", 40);
	same_keys("/proc/cpuinfo", 10);
}

/* Lines without their numbers, numbers being what differs. */
static void shape(char *text)
{
	char *to = text;

	for (char *at = text; *at; at++) {
		if (isdigit((unsigned char)*at) && to > text && to[-1] == '#')
			continue;
		*to++ = isdigit((unsigned char)*at) ? '#' : *at;
	}
	*to = '\0';
}

/* The first lines, digits and columns included. */
static void widths_are_the_kernels(void **state)
{
	static const char *const rows[] = {"VmPeak:", "VmRSS:", "VmData:", "VmPTE:", "VmSwap:", "SigBlk:"};
	char *guest = guest_file("/proc/self/status"), *host = host_file("/proc/self/status");

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *g = strstr(guest, rows[i]), *h = strstr(host, rows[i]);
		assert_non_null(g);
		assert_non_null(h);
		assert_int_equal(strcspn(g, "\n"), strcspn(h, "\n"));
	}
	free(guest);
	free(host);
	guest = guest_file("/proc/self/limits");
	host = host_file("/proc/self/limits");
	assert_int_equal(strcspn(guest, "\n"), strcspn(host, "\n"));
	shape(guest);
	shape(host);
	assert_int_equal(strncmp(guest, host, strcspn(host, "\n")), 0);
	free(guest);
	free(host);
}

static size_t words(const char *text)
{
	size_t nr = 0;

	for (const char *at = text; *at;) {
		at += strspn(at, " \n");
		nr += !!*at;
		at += strcspn(at, " \n");
	}
	return nr;
}

static unsigned int count_of(const char *text, const char *word)
{
	unsigned int n = 0;

	for (const char *at = text; (at = strstr(at, word)); at++)
		n++;
	return n;
}

static void stat_has_its_fields(void **state)
{
	char *stat = guest_file("/proc/self/stat"), *host = host_file("/proc/self/stat");
	char *statm = guest_file("/proc/self/statm"), *machine = guest_file("/proc/stat");

	(void)state;
	assert_int_equal(words(stat), words(host));
	assert_int_equal(words(stat), 52);
	assert_int_equal(words(statm), 7);
	assert_non_null(strstr(machine, "cpu  "));
	assert_non_null(strstr(machine, "\ncpu0 "));
	assert_int_equal(count_of(machine, "\ncpu"), sysconf(_SC_NPROCESSORS_ONLN));
	free(stat);
	free(host);
	free(statm);
	free(machine);
}

/* [G2] [G14] The space by its numbers: where code, data, heap and arguments lie, in order. */
static void stat_places_the_program(void **state)
{
	struct outcome o = lodge_run(BUSYBOX, "cat", "/proc/self/stat", "/proc/self/maps", NULL);
	unsigned long f[53] = {0}, heap = 0;
	char *at = strrchr(o.out, ')'), *maps;

	(void)state;
	expect_status(&o, 0);
	at = strstr(o.out, ") ") + 4;
	for (int i = 4; i <= 52; i++)
		f[i] = strtoul(at, &at, 10);
	maps = at;
	assert_non_null(strstr(maps, "[heap]"));
	for (char *line = strstr(maps, "[heap]"); line > maps && line[-1] != '\n'; line--)
		heap = strtoul(line - 1, NULL, 16);
	assert_true(f[26] && f[26] < f[27]);	      /* startcode, endcode */
	assert_true(f[27] <= f[45] && f[45] < f[46]); /* start_data, end_data */
	assert_true(f[46] <= f[47]);		      /* start_brk */
	assert_true(heap <= f[47] &&
		    f[45] < heap + 4096 * 16); /* what of .bss is of whole pages joins the heap */
	assert_true(f[28] < f[48]);	       /* startstack, arg_start */
	assert_true(f[48] < f[49] && f[49] <= f[50] && f[50] < f[51]);
	assert_int_equal(f[49] - f[48], sizeof("/bin/busybox cat /proc/self/stat /proc/self/maps"));
	outcome_free(&o);
}

/* [R6] A machine as large as the space may get, and what is used of it. */
static void free_adds_up(void **state)
{
	struct command c = lodge_command("--memory", "64M", BUSYBOX, "free", "-k", NULL);
	struct outcome f = command_run(&c);
	long total, used, left, shared, cache, available, swap[3];

	(void)state;
	expect_status(&f, 0);
	assert_int_equal(sscanf(strstr(f.out, "Mem:"), "Mem: %ld %ld %ld %ld %ld %ld", &total, &used, &left,
				&shared, &cache, &available),
			 6);
	assert_int_equal(total, 64 * 1024);
	assert_int_equal(used, total - left - cache);
	assert_in_range(available, left, total);
	assert_int_equal(sscanf(strstr(f.out, "Swap:"), "Swap: %ld %ld %ld", &swap[0], &swap[1], &swap[2]),
			 3);
	assert_int_equal(swap[0] + swap[1] + swap[2], 0);
	outcome_free(&f);
}

static void meminfo_adds_up(void **state)
{
	char *m = guest_file("/proc/meminfo");

	(void)state;
	assert_int_equal(number_of(m, "MemTotal:"), 256 * 1024);
	assert_int_equal(number_of(m, "MemTotal:"), number_of(m, "MemFree:") + number_of(m, "\nCached:") +
							    number_of(m, "AnonPages:") +
							    number_of(m, "PageTables:"));
	assert_int_equal(number_of(m, "\nActive:") + number_of(m, "\nInactive:"),
			 number_of(m, "AnonPages:") + number_of(m, "\nCached:"));
	free(m);
}

/* Programs that read many of these files at once. */
static void tools_of_others_read_them(void **state)
{
	static const char *const tools[][6] = {
		{"top", "-b", "-n", "1"},
		{"ps", "-o", "pid,vsz,rss,comm"},
		{"uptime"},
		{"df"},
		{"mount"},
		{"nproc"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++) {
		struct command c = lodge_command(BUSYBOX, NULL);

		for (size_t w = 0; tools[i][w]; w++)
			command_add(&c, tools[i][w]);
		struct outcome o = command_run(&c);
		expect_status(&o, 0);
		assert_true(o.out_bytes > 0);
		assert_non_null(o.out);
		outcome_free(&o);
	}
}

/* [R15] What is written to a number of the space takes effect in it. */
static void numbers_take_effect(void **state)
{
	struct outcome o =
		lodge_run(BUSYBOX, "sh", "-c",
			  "show() { read n < /proc/sys/vm/$1; echo $n; }; cd /proc/sys/vm;"
			  "echo 7 > max_map_count && show max_map_count; show mmap_min_addr;"
			  "echo 2 > overcommit_memory; echo 90 > overcommit_ratio; show overcommit_memory;"
			  "echo 8192 > overcommit_kbytes; show overcommit_ratio;"
			  "while read -r k n u; do [ $k = CommitLimit: ] && echo $n; done < /proc/meminfo;"
			  "echo 1 > drop_caches; echo 1 > compact_memory && echo done;"
			  "echo 9 > drop_caches; echo 1 > mmap_min_addr",
			  NULL);

	(void)state;
	if (geteuid()) { /* the files are root's */
		outcome_free(&o);
		skip();
	}
	assert_int_equal(strncmp(o.out, "7\n65536\n2\n0\n8192\n", 17), 0);
	assert_non_null(strstr(o.out, "done\n"));
	assert_non_null(strstr(o.err, "Invalid argument"));
	assert_non_null(strstr(o.err, "Permission denied"));
	outcome_free(&o);
	o = lodge_run(BUSYBOX, "cat", "/proc/sys/vm/max_map_count", NULL);
	assert_string_equal(o.out, "65530\n");
	outcome_free(&o);
}

/* [B13] The processor sets what was cleared, once its translations are forgotten. */
static void accessed_bits_come_back(void **state)
{
	struct outcome o = lodge_run(guest_path("same_procfs"), "--accessed", NULL);

	(void)state;
	expect_status(&o, 0);
	assert_string_equal(o.out, "0 8 8 0\n");
	outcome_free(&o);
}

static void sysfs_is_of_the_hosts_processors(void **state)
{
	struct outcome o = lodge_run(BUSYBOX, "cat", "/sys/devices/system/cpu/online",
				     "/sys/devices/system/node/online", NULL);
	struct outcome huge =
		lodge_run(BUSYBOX, "cat", "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", NULL);
	struct command c =
		lodge_command("--nodes", "2", BUSYBOX, "cat", "/sys/devices/system/node/online", NULL);
	struct outcome two = command_run(&c);
	char *online = host_file("/sys/devices/system/cpu/online");

	(void)state;
	assert_memory_equal(o.out, online, strlen(online));
	assert_string_equal(o.out + strlen(online), "0\n");
	free(online);
	assert_string_equal(huge.out, "2097152\n");
	assert_string_equal(two.out, "0-1\n");
	outcome_free(&o);
	outcome_free(&huge);
	outcome_free(&two);
}

/* [F9] Other processes and lodge's own descriptors are neither listed nor read, by whatever way. */
static void nothing_of_lodge_shows(void **state)
{
	struct outcome o = lodge_run(BUSYBOX, "sh", "-c",
				     "count() { echo $#; }; count /proc/[0-9]*; count /proc/self/task/*;"
				     "cd /proc/self && count fd/*;"
				     "echo /proc/k*; for f in map_files ns net syscall stack io; do"
				     " [ -e /proc/self/$f ] && echo seen $f; done; exit 0",
				     NULL);
	long n[3] = {0};

	(void)state;
	expect_status(&o, 0);
	assert_int_equal(sscanf(o.out, "%ld %ld %ld", &n[0], &n[1], &n[2]), 3);
	assert_int_equal(n[0], 1);
	assert_int_equal(n[1], 1);
	assert_in_range(n[2], 3, 4); /* and the one that lists */
	assert_null(strstr(o.out, "kcore"));
	assert_null(strstr(o.out, "kmsg"));
	assert_null(strstr(o.out, "seen"));
	outcome_free(&o);
}

int main(void)
{
	struct CMUnitTest tests[] = {
		CASE("proc: keys are the kernel's, in its order [R5]", keys_are_the_kernels),
		CASE("proc: columns are as wide as the kernel's", widths_are_the_kernels),
		CASE("proc: stat and statm have their fields", stat_has_its_fields),
		CASE("proc: stat tells where code, data, heap, stack and arguments lie [G2][G14]",
		     stat_places_the_program),
		CASE("proc: free adds up [R6]", free_adds_up),
		CASE("proc: meminfo adds up to the space's limit", meminfo_adds_up),
		CASE("proc: top, ps, pmap and kin read it", tools_of_others_read_them),
		CASE("proc: numbers of /proc/sys take effect in the space alone [R15]", numbers_take_effect),
		CASE("proc: accessed bits that were cleared come back by access [B13]",
		     accessed_bits_come_back),
		CASE("proc: sysfs shows the host's processors and the space's nodes",
		     sysfs_is_of_the_hosts_processors),
		CASE("proc: nothing of lodge or other processes shows [F9]", nothing_of_lodge_shows),
	};

	return harness_main_kvm("proc", tests, sizeof(tests) / sizeof(tests[0]));
}
