/* SPDX-License-Identifier: MIT */
/*
 * harness.h - what every test file shares: cmocka with its required headers, and a few words.
 */
#ifndef LODGE_TESTS_HARNESS_H
#define LODGE_TESTS_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Told the violations that a noun_check() finds. */
static inline void complain(const char *what, uint64_t where)
{
	print_error("# violation: %s at %#llx\n", what, (unsigned long long)where);
}

/* xorshift64*: the same numbers everywhere for one seed. */
static inline uint64_t random_next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

static inline uint64_t random_below(uint64_t *state, uint64_t bound)
{
	return random_next(state) % bound;
}

/* The state for a seed of any value: never 0, and neighbouring seeds are far apart. */
static inline uint64_t random_seed(uint64_t seed)
{
	uint64_t state = (seed + 1) * 0x9e3779b97f4a7c15ull;

	return state ? state : 1;
}

#endif
