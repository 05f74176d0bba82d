/* SPDX-License-Identifier: MIT */
/*
 * diff.h - where the private memory of a space is not what it is in another one that it has tables in common with.
 *
 * A space and its clone have the tables in common below which neither has written: those are passed over, and so the cost is that of the
 * tables that either has copied. Pages that both have a frame of their own for are compared: windows of faults bring pages that nobody
 * has written to.
 */
#ifndef LODGE_MM_DIFF_H
#define LODGE_MM_DIFF_H

#include "mm.h"

/*
 * Calls fn for each page of the private areas of `mm` that holds something else than in `base`, in the order of addresses. What `base`
 * does not have counts as zeroes, or as what the file has; of pages on a swap device it is only known whether they are the same one. No
 * processor runs in either, and nobody changes the areas of `base`. fn is called with locks of both held.
 */
void mm_diff(struct mm *mm, struct mm *base, void (*fn)(void *ctx, gva_t address), void *ctx);

#endif
