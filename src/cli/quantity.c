/* SPDX-License-Identifier: MIT */
#include "quantity.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define NS_PER_SECOND 1000000000ull

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The digits at *text, which moves behind them; there may be none. */
static int take_digits(const char **text, uint64_t *out)
{
	uint64_t value = 0;

	for (; is_digit(**text); (*text)++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(**text - '0'), &value))
			return -ERANGE;
	*out = value;
	return 0;
}

int quantity_bytes(const char *text, uint64_t *out)
{
	static const char units[] = "kKmMgGtT";
	uint64_t value;
	const char *unit;
	int err;

	if (!is_digit(*text))
		return -EINVAL;
	err = take_digits(&text, &value);
	if (err)
		return err;
	if (*text) {
		unit = strchr(units, *text);
		if (!unit || text[1])
			return -EINVAL;
		if (__builtin_mul_overflow(value, 1ull << (10 * (1 + (unit - units) / 2)), &value))
			return -ERANGE;
	}
	*out = value;
	return 0;
}

/* ".25" at *text, which moves behind it. */
static uint64_t take_fraction(const char **text)
{
	uint64_t unit = NS_PER_SECOND, ns = 0;

	for ((*text)++; is_digit(**text); (*text)++) {
		unit /= 10;
		ns += unit * (uint64_t)(**text - '0');
	}
	return ns;
}

int quantity_ns(const char *text, uint64_t *out)
{
	uint64_t seconds, ns = 0;
	int err;

	if (!is_digit(*text) && !(*text == '.' && is_digit(text[1])))
		return -EINVAL;
	err = take_digits(&text, &seconds);
	if (err)
		return err;
	if (*text == '.')
		ns = take_fraction(&text);
	if (*text)
		return -EINVAL;
	if (__builtin_mul_overflow(seconds, NS_PER_SECOND, &seconds) ||
	    __builtin_add_overflow(seconds, ns, &ns))
		return -ERANGE;
	*out = ns;
	return 0;
}
