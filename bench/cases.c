/* SPDX-License-Identifier: MIT */
#include "cases.h"

#define MIB (1ul << 20)

/* The object allocators, and whom they are measured against: each in a process of its own. */
#define KMALLOC_SIDES                                                                                       \
	{                                                                                                   \
		{"lodge", .program = {"kmalloc", "lodge"}}, {"cache", .program = {"kmalloc", "cache"}},     \
			{"glibc", .program = {"kmalloc", "glibc"}},                                         \
			{"jemalloc", .program = {"kmalloc", "jemalloc"}},                                   \
			{"mimalloc", .program = {"kmalloc", "mimalloc"}},                                   \
			{"tcmalloc", .program = {"kmalloc", "tcmalloc"}},                                   \
			{"slab", .program = {"kmalloc", "slab"}}, {"slob", .program = {"kmalloc", "slob"}}, \
		{                                                                                           \
			"magazine", .program = { "kmalloc", "magazine" }                                    \
		}                                                                                           \
	}

const struct group groups[] = {
	{.case_name = "startup",
	 .variants = {"hello-static"},
	 .unit = "us",
	 .wall = true,
	 .needs_kvm = true,
	 .samples = 60,
	 .sides = {{"lodge", .under_lodge = true, .program = {"hello"}, .output = "hello\n"},
		   {"floor", .program = {"floor", "once"}},
		   {"native", .program = {"hello"}, .output = "hello\n"}}},
	{.case_name = "startup",
	 .variants = {"hello-musl"},
	 .unit = "us",
	 .wall = true,
	 .needs_kvm = true,
	 .optional = true,
	 .samples = 60,
	 .sides = {{"lodge", .under_lodge = true, .program = {"hello_musl"}, .output = "hello\n"},
		   {"floor", .program = {"floor", "once"}},
		   {"native", .program = {"hello_musl"}, .output = "hello\n"}}},
	{.case_name = "cpu",
	 .variants = {"int"},
	 .unit = "ms",
	 .needs_kvm = true,
	 .samples = 7,
	 .sides = {{"lodge", .under_lodge = true, .program = {"cpu", "int"}},
		   {"native", .program = {"cpu", "int"}}}},
	{.case_name = "cpu",
	 .variants = {"fp"},
	 .unit = "ms",
	 .needs_kvm = true,
	 .samples = 15,
	 .sides = {{"lodge", .under_lodge = true, .program = {"cpu", "fp"}},
		   {"native", .program = {"cpu", "fp"}}}},
	{.case_name = "cpu",
	 .variants = {"chase"},
	 .unit = "ms",
	 .needs_kvm = true,
	 .samples = 7,
	 .warm_bytes = 80 * MIB,
	 .sides = {{"lodge", .under_lodge = true, .program = {"cpu", "chase"}},
		   {"native", .program = {"cpu", "chase"}}}},
	{.case_name = "fault",
	 .variants = {"core-anon-4K", "core-anon-2M", "core-anon-4K-zeroing", "core-anon-2M-zeroing"},
	 .unit = "ns/page",
	 .samples = 15,
	 .warm_bytes = 160 * MIB,
	 .sides = {{"lodge", .program = {"core_fault"}}, {"native", .program = {"fault"}}}},
	{.case_name = "fault",
	 .variants = {"end-to-end"},
	 .unit = "ns/fault",
	 .needs_kvm = true,
	 .samples = 11,
	 .warm_bytes = 64 * MIB,
	 .sides = {{"lodge", .under_lodge = true, .options = {"--fault-around", "4K"}, .program = {"fault"}},
		   {"floor", .program = {"floor", "exits"}},
		   {"native", .program = {"fault"}}}},
	{.case_name = "touch",
	 .variants = {"anon-64MiB", "anon-64MiB-again"},
	 .unit = "ns/page",
	 .needs_kvm = true,
	 .samples = 11,
	 .warm_bytes = 160 * MIB,
	 .sides = {{"lodge", .under_lodge = true, .options = {"--memory", "3G"},
		    .program = {"touch", "anon-64MiB", "64", "plain"}},
		   {"native", .program = {"touch", "anon-64MiB", "64", "small"}},
		   {"native_thp", .program = {"touch", "anon-64MiB", "64", "huge"}}}},
	{.case_name = "touch",
	 .variants = {"anon-1GiB", "anon-1GiB-again"},
	 .unit = "ns/page",
	 .needs_kvm = true,
	 .samples = 5,
	 .warm_bytes = 1280 * MIB,
	 .sides = {{"lodge", .under_lodge = true, .options = {"--memory", "3G"},
		    .program = {"touch", "anon-1GiB", "1024", "plain"}},
		   {"native", .program = {"touch", "anon-1GiB", "1024", "small"}},
		   {"native_thp", .program = {"touch", "anon-1GiB", "1024", "huge"}}}},
	{.case_name = "syscall",
	 .variants = {"getppid"},
	 .unit = "ns",
	 .needs_kvm = true,
	 .samples = 11,
	 .sides = {{"lodge", .under_lodge = true, .program = {"getppid"}},
		   {"floor", .program = {"floor", "exits"}},
		   {"native", .program = {"getppid"}}}},
	{.case_name = "kmalloc",
	 .variants = {"pair-16", "pair-64", "pair-256", "pair-1024", "lifo-16", "lifo-64", "lifo-256",
		      "lifo-1024", "fifo-16", "fifo-64", "fifo-256", "fifo-1024", "random", "realloc",
		      "cross-64", "larson"},
	 .unit = "ns",
	 .samples = 9,
	 .sides = KMALLOC_SIDES},
	{.case_name = "kmalloc",
	 .variants = {"larson-peak", "live-peak"},
	 .unit = "KiB",
	 .samples = 3,
	 .sides = KMALLOC_SIDES},
};

const size_t nr_groups = sizeof(groups) / sizeof(groups[0]);
