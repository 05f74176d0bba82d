/* SPDX-License-Identifier: MIT */
/* median.h - what a benchmark program tells of several measurements: the one in the middle. */
#ifndef LODGE_BENCH_MEDIAN_H
#define LODGE_BENCH_MEDIAN_H

#include <stdlib.h>

static inline int median_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts the values; of an even number the upper one of the two in the middle. */
static inline double median(double *value, size_t nr)
{
	qsort(value, nr, sizeof(value[0]), median_compare);
	return value[nr / 2];
}

#endif
