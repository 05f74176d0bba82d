/* SPDX-License-Identifier: MIT */
/*
 * quantity.h - sizes and durations as users write them.
 *
 * The whole text must be the quantity: no sign, no blank, nothing behind it. 0, -EINVAL (not a quantity) or
 * -ERANGE (more than the type holds); *out is untouched on failure.
 */
#ifndef LODGE_CLI_QUANTITY_H
#define LODGE_CLI_QUANTITY_H

#include <stdint.h>

/* Decimal digits and at most one of K, M, G, T (powers of 1024, either case). */
int quantity_bytes(const char *text, uint64_t *out);

/* Seconds with an optional fraction: "5", "0.25", ".5". Digits below a nanosecond are dropped. */
int quantity_ns(const char *text, uint64_t *out);

#endif
