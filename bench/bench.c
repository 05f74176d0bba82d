/* SPDX-License-Identifier: MIT */
/*
 * bench.c - the benchmark driver.
 *
 *	bench LODGE PROGRAMS RESULTS [CASE]
 *
 * runs the cases of cases.c, all or one. The sides of a comparison take turns in one run (ABABAB...) after a
 * round that is not counted, so that whatever else the machine does hits them alike; what counts is the median.
 * Nothing runs in parallel.
 *
 * Exit status: 0, also when cases were skipped; 1 when a side failed; 2 for bad arguments.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <linux/kvm.h>
#include <unistd.h>

#include "prog/clock.h"
#include "result.h"
#include "side.h"

#define PAGE 4096

/*
 * Touches memory and gives it back. A virtual machine whose host takes back idle memory pays dearly for the
 * first touch of it; what was just freed is what the next process gets.
 */
static void warm_up(size_t bytes)
{
	char *p = bytes ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
			: MAP_FAILED;

	if (p == MAP_FAILED)
		return;
	madvise(p, bytes, MADV_HUGEPAGE);
	for (size_t at = 0; at < bytes; at += PAGE)
		*(volatile char *)(p + at) = 1;
	munmap(p, bytes);
}

static int open_data(const struct places *places, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", places->programs, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		perror(path);
	return fd;
}

static int warm_file(const struct places *places, const char *name)
{
	static char chunk[1 << 20];
	int fd = open_data(places, name);
	ssize_t n = fd < 0 ? -1 : 1;

	while (n > 0)
		n = read(fd, chunk, sizeof(chunk));
	if (fd >= 0)
		close(fd);
	return n < 0 ? -1 : 0;
}

static int cool_file(const struct places *places, const char *name)
{
	int fd = open_data(places, name);

	if (fd < 0)
		return -1;
	int err = fdatasync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	return err ? -1 : 0;
}

static int prepare(const struct places *places, const struct group *g)
{
	warm_up(g->warm_bytes);
	if (g->warm_file && warm_file(places, g->warm_file))
		return -1;
	return g->cold_file ? cool_file(places, g->cold_file) : 0;
}

static bool variant_matches(const char *variant, const char *name, size_t length)
{
	return (length == 1 && *name == '*') || (strlen(variant) == length && !memcmp(variant, name, length));
}

/* The number that a side printed for a variant, or -1. */
static double printed_value(const char *output, const char *variant)
{
	for (const char *line = output; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		size_t name = strcspn(line, " \n");
		if (line[name] == ' ' && variant_matches(variant, line, name))
			return strtod(line + name, NULL);
	}
	return -1;
}

static double value_of(const struct group *g, const struct side *side, const char *variant,
		       const struct reading *r)
{
	if (g->cpu)
		return r->cpu_ms;
	if (!g->wall)
		return printed_value(r->output, variant);
	if (side->output && strcmp(side->output, r->output) != 0)
		return -1;
	return r->wall_us;
}

/* Runs one side once; adds a sample to each variant unless the round is not counted. As side_run. */
static int take_sample(const struct places *places, struct result *results, unsigned int nr_side,
		       bool counted)
{
	const struct group *g = results->group;
	const struct side *side = &g->sides[nr_side];
	struct reading reading;

	int err = prepare(places, g);
	if (!err)
		err = side_run(places, side, &reading);
	if (err)
		return err;
	for (unsigned int i = 0; g->variants[i]; i++) {
		struct series *s = &results[i].series[nr_side];
		double value = value_of(g, side, g->variants[i], &reading);
		if (value < 0 || (!value && !g->counts)) {
			fprintf(stderr, "bench: %s: no number for %s, or wrong output\n", side->program[0],
				g->variants[i]);
			return -1;
		}
		if (counted)
			s->value[s->nr++] = value;
	}
	return 0;
}

static int measure(const struct places *places, const struct group *g, struct result *results)
{
	bool missing[MAX_SIDES] = {false};

	for (unsigned int i = 0; g->variants[i]; i++)
		results[i] = (struct result){.group = g, .variant = g->variants[i]};
	for (unsigned int round = 0; round <= g->samples; round++)
		for (unsigned int side = 0; g->sides[side].name; side++) {
			int err = missing[side] ? 0 : take_sample(places, results, side, round > 0);
			missing[side] |= err == SIDE_NOT_OFFERED;
			if (err && (err != SIDE_NOT_OFFERED || !side))
				return err;
		}
	return 0;
}

static int run_group(const struct places *places, const struct group *g)
{
	struct result results[MAX_VARIANTS];

	int err = measure(places, g, results);
	if (err) {
		printf("\n%s %s %s\n", err == SIDE_NOT_OFFERED ? "SKIP" : "FAIL", g->case_name,
		       g->variants[0]);
		return err == SIDE_NOT_OFFERED ? 0 : -1;
	}
	for (unsigned int i = 0; g->variants[i]; i++) {
		result_print(&results[i]);
		if (result_append(&results[i], places->results))
			return -1;
	}
	return 0;
}

/* NULL, or why there is no KVM. */
static const char *kvm_missing(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return strerror(errno);
	int version = ioctl(fd, KVM_GET_API_VERSION, 0);
	close(fd);
	return version == KVM_API_VERSION ? NULL : "not the KVM API that is needed";
}

/* True, and said, when a group cannot be run here. */
static bool skipped(const struct places *places, const struct group *g, const char *no_kvm)
{
	if (g->needs_kvm && no_kvm) {
		printf("SKIP %s %s: /dev/kvm: %s\n", g->case_name, g->variants[0], no_kvm);
		return true;
	}
	for (unsigned int i = 0; g->optional && g->sides[i].name; i++)
		if (!side_is_built(places, &g->sides[i])) {
			printf("SKIP %s %s: %s was not built\n", g->case_name, g->variants[0],
			       g->sides[i].program[0]);
			return true;
		}
	return false;
}

static void print_machine(void)
{
	char line[256], model[256] = "unknown processor";
	double load = 0;
	struct utsname u = {0};
	FILE *f = fopen("/proc/cpuinfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "model name : %255[^\n]", model) == 1)
			break;
	if (f)
		fclose(f);
	uname(&u);
	getloadavg(&load, 1);
	printf("%s, %ld processors, %s %s; load before the start %.1f\n", model,
	       sysconf(_SC_NPROCESSORS_ONLN), u.sysname, u.release, load);
}

static bool is_case(const char *name)
{
	for (size_t i = 0; i < nr_groups; i++)
		if (!strcmp(groups[i].case_name, name))
			return true;
	fprintf(stderr, "bench: no case '%s'; there are:", name);
	for (size_t i = 0; i < nr_groups; i++)
		if (!i || strcmp(groups[i].case_name, groups[i - 1].case_name) != 0)
			fprintf(stderr, " %s", groups[i].case_name);
	fputc('\n', stderr);
	return false;
}

int main(int argc, char **argv)
{
	const char *only = argc == 5 ? argv[4] : NULL;
	int status = 0;

	if (argc < 4 || argc > 5) {
		fputs("usage: bench LODGE PROGRAMS RESULTS [CASE]\n", stderr);
		return 2;
	}
	if (only && !is_case(only))
		return 2;
	const struct places places = {.lodge = argv[1], .programs = argv[2], .results = argv[3]};
	if (result_clear(places.results, only))
		return 1;
	const char *no_kvm = kvm_missing();
	print_machine();
	for (size_t i = 0; i < nr_groups; i++) {
		const struct group *g = &groups[i];
		if ((only && strcmp(only, g->case_name) != 0) || skipped(&places, g, no_kvm))
			continue;
		if (run_group(&places, g))
			status = 1;
	}
	printf("\nresults: %s\n", places.results);
	return status;
}
