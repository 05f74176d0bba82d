/* SPDX-License-Identifier: MIT */
/*
 * compressor.h - ways to make pages smaller, for src/mm/zswap.h: Debian's libzstd (level 1) and liblz4.
 *
 *	what is stored   | sum of the page, mixed with its tag | compressed page |
 *
 * What is unpacked must have that sum, or it is an error and nobody sees it. A worker makes its library's first page when it is created:
 * after that nothing is allocated. Which of the two: docs/swap.md.
 */
#ifndef LODGE_LINUX_COMPRESSOR_H
#define LODGE_LINUX_COMPRESSOR_H

#include "../mm/zswap.h"

/* By its name, "zstd" or "lz4"; NULL: there is no such. */
const struct zswap_ops *compressor_find(const char *name);

#endif
