/* SPDX-License-Identifier: MIT */
/*
 * fixture.h - a machine with one space and a processor in it, for cmocka; and files made of arithmetic.
 */
#ifndef LODGE_TESTS_FIXTURE_H
#define LODGE_TESTS_FIXTURE_H

#include "../harness.h"
#include "sim_cpu.h"

#include <sys/mman.h>

struct fixture {
	struct sim_machine *machine;
	struct mm *mm;
	struct sim_cpu *cpu;
};

/* Neither fault-around nor limits get in the way: one page per fault, 2^20 pages for the space. */
struct fixture *fixture_new(const struct sim_config *config);
/* Checks the space, takes everything apart; 0 when nothing was wrong and nothing leaked. */
int fixture_free(struct fixture *x);

/* For struct CMUnitTest: *state is a struct fixture *. */
int fixture_setup(void **state);
int fixture_setup_shadow(void **state);
int fixture_setup_5_levels(void **state);
int fixture_teardown(void **state);

void assert_mm_sound(struct mm *mm);

/* Maps anonymous memory, private unless flags say otherwise. */
int64_t fixture_map(struct fixture *x, gva_t at, uint64_t pages, unsigned int prot, unsigned int flags);

/* The entry that maps an address, 0 when there is none. */
pte_t fixture_pte(struct fixture *x, gva_t address);
/* The same in another space; of a block too. */
pte_t fixture_pte_in(struct mm *mm, gva_t address);

/* One word through the processor, asserting that it gets through. */
uint64_t fixture_load(struct fixture *x, gva_t address);
void fixture_store(struct fixture *x, gva_t address, uint64_t value);
/* The same in another space, in which the processor stays. */
uint64_t fixture_load_in(struct fixture *x, struct mm *mm, gva_t address);
void fixture_store_in(struct fixture *x, struct mm *mm, gva_t address, uint64_t value);

/* Asserts that an access earns this signal. */
void assert_signal(struct fixture *x, enum sim_access kind, gva_t address, int signo, int code);

/*
 * A file whose 8-byte word at every aligned offset is sim_file_word(offset). Not on the stack of a case: when that fails the teardown
 * still finds the file mapped.
 */
struct sim_file {
	struct backing backing; /* first: the tests' casts rely on it */
	uint64_t bytes;
	_Atomic unsigned int reads; /* any thread */
	unsigned int releases;
	int error; /* what read returns instead, when not 0 */
};

uint64_t sim_file_word(uint64_t offset);
void sim_file_init(struct sim_file *file, struct sim_machine *m, uint64_t bytes);

int64_t fixture_map_file(struct fixture *x, struct sim_file *file, gva_t at, uint64_t pages, uint64_t pgoff,
			 unsigned int prot, unsigned int flags);

#endif
