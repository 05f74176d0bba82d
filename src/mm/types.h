/* SPDX-License-Identifier: MIT */
/*
 * types.h - the words of the memory manager: pages, frames, addresses.
 *
 * A gva is a guest virtual address, a gpa a guest physical one, a pfn a gpa in units of pages. Host pointers are plain C
 * pointers. Sizes carry their unit in the name: _pages or _bytes.
 */
#ifndef LODGE_MM_TYPES_H
#define LODGE_MM_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t gva_t;
typedef uint64_t gpa_t;
typedef uint64_t pfn_t;

#define PAGE_SHIFT	  12
#define PAGE_SIZE	  (1ull << PAGE_SHIFT)
#define PAGE_MASK	  (~(PAGE_SIZE - 1))

#define PMD_SHIFT	  21
#define PMD_SIZE	  (1ull << PMD_SHIFT)
#define PMD_MASK	  (~(PMD_SIZE - 1))
#define PMD_PAGES	  (PMD_SIZE / PAGE_SIZE)

/* The first address beyond what a guest may map: one guard page below the end of the lower canonical half. */
#define TASK_SIZE	  0x7ffffffff000ull

/* Distance that other mappings keep from a stack which may grow: 256 pages. */
#define STACK_GUARD_GAP	  (256ull << PAGE_SHIFT)

#define BYTES_TO_PAGES(n) (((uint64_t)(n) + PAGE_SIZE - 1) >> PAGE_SHIFT)

/*
 * Structures whose fields a build may shuffle, as a hardening: tables of functions, and what an attacker would look for. That takes a
 * compiler which can (clang 15 with -frandomize-layout-seed-file, gcc with Linux's plugin) and -DLODGE_RANDSTRUCT. What makes it possible
 * is checked by every build with gcc: such structures are initialized by the names of their fields alone.
 */
#ifdef __clang__
#define __designated_init
#else
#define __designated_init __attribute__((designated_init))
#endif
#ifdef LODGE_RANDSTRUCT
#define __randomize_layout __designated_init __attribute__((randomize_layout))
#else
#define __randomize_layout __designated_init
#endif

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static inline uint64_t page_align_down(uint64_t x)
{
	return x & PAGE_MASK;
}

/* Wraps to 0 for the last page of the address space: callers that take a guest's number check for it. */
static inline uint64_t page_align_up(uint64_t x)
{
	return (x + PAGE_SIZE - 1) & PAGE_MASK;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

#endif
