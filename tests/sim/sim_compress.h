/* SPDX-License-Identifier: MIT */
/*
 * sim_compress.h - the way of making pages smaller that tests of the core have: a page without its zero words.
 *
 * The bytes begin with a sum of page and tag; damage shows.
 */
#ifndef LODGE_TESTS_SIM_COMPRESS_H
#define LODGE_TESTS_SIM_COMPRESS_H

#include "../../src/mm/zswap.h"

extern const struct zswap_ops sim_compress_ops;

#endif
