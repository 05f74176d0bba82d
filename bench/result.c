/* SPDX-License-Identifier: MIT */
#include "result.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of sorted samples, with the two neighbours of a place between samples weighed. */
static double quantile(const struct series *s, double q)
{
	double place = q * (s->nr - 1);
	unsigned int low = (unsigned int)place, high = low + 1 < s->nr ? low + 1 : low;

	return s->value[low] + (place - low) * (s->value[high] - s->value[low]);
}

void result_print(struct result *r)
{
	const struct side *side = r->group->sides;
	double lodge = 0;

	printf("\n%s %s, %s, %u samples each\n", r->group->case_name, r->variant, r->group->unit,
	       r->series[0].nr);
	printf("  %-12s %12s %12s %12s %12s\n", "side", "median", "quartile 1", "quartile 3", "lodge/side");
	for (unsigned int i = 0; side[i].name; i++) {
		struct series *s = &r->series[i];
		if (!s->nr) {
			printf("  %-12s not offered by this machine\n", side[i].name);
			continue;
		}
		qsort(s->value, s->nr, sizeof(s->value[0]), compare);
		double median = quantile(s, 0.5);
		printf("  %-12s %12.1f %12.1f %12.1f", side[i].name, median, quantile(s, 0.25),
		       quantile(s, 0.75));
		if (i == 0)
			lodge = median;
		else
			printf(" %12.3f", lodge / median);
		putchar('\n');
	}
	fflush(stdout);
}

static int failed(const char *file)
{
	fprintf(stderr, "bench: %s: %s\n", file, strerror(errno));
	return -1;
}

int result_append(const struct result *r, const char *file)
{
	const struct side *side = r->group->sides;
	FILE *out = fopen(file, "a");

	if (!out)
		return failed(file);
	fprintf(out, "{\"case\":\"%s\",\"variant\":\"%s\",\"unit\":\"%s\"", r->group->case_name, r->variant,
		r->group->unit);
	for (unsigned int i = 0; side[i].name; i++)
		if (r->series[i].nr)
			fprintf(out, ",\"%s\":%.3f", side[i].name, quantile(&r->series[i], 0.5));
	fprintf(out, ",\"samples\":%u}\n", r->series[0].nr);
	return fclose(out) ? failed(file) : 0;
}

/* Copies the lines that are not of the case. */
static void copy_others(FILE *from, FILE *to, const char *case_name)
{
	char mark[80], *line = NULL;
	size_t room = 0;

	snprintf(mark, sizeof(mark), "{\"case\":\"%s\",", case_name);
	while (getline(&line, &room, from) > 0)
		if (strncmp(line, mark, strlen(mark)) != 0)
			fputs(line, to);
	free(line);
}

int result_clear(const char *file, const char *case_name)
{
	char next[512];
	FILE *from, *to;

	snprintf(next, sizeof(next), "%s.next", file);
	to = fopen(next, "w");
	if (!to)
		return failed(next);
	from = case_name ? fopen(file, "r") : NULL;
	if (from) {
		copy_others(from, to, case_name);
		fclose(from);
	}
	if (fclose(to) || rename(next, file))
		return failed(file);
	return 0;
}
