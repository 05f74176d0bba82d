/* SPDX-License-Identifier: MIT */
/*
 * world.h - a machine with spaces, files and processors, and the model of all that; operations are done to both at once.
 *
 * An operation is numbers alone: whatever they are it can be done, or passed over, in any state, so any part of a history is a
 * history. What both sides say is compared at once; what is in memory, which areas there are and what the core recounts of itself,
 * when world_check is called. The first difference is told in world.why, and nothing is done after it.
 */
#ifndef LODGE_TESTS_WORLD_H
#define LODGE_TESTS_WORLD_H

#include "model.h"
#include "sim_swap.h"

#define WORLD_CPUS	 3
#define WORLD_SPACES	 3
#define WORLD_IMAGES	 4
#define WORLD_PINS	 4
#define WORLD_PIN_PAGES	 4
#define WORLD_SWAP_SLOTS 700 /* not enough for everything */

/* Where the stretches of the model begin. */
#define WORLD_BREAK_PAGE (0x600000ull >> PAGE_SHIFT)
#define WORLD_MMAP_BASE	 (0x7ffff7fff000ull >> PAGE_SHIFT)
#define WORLD_STACK_END	 (TASK_SIZE >> PAGE_SHIFT)
#define WORLD_STACK_TOP	 (WORLD_STACK_END - 100) /* of the stack there is at first */
#define WORLD_BREAK_HOT	 400			 /* pages that the break moves over */

/* name in a printed history, weight: how often it is drawn */
#define WORLD_OPS(X)        \
	X(MMAP, 12)         \
	X(MUNMAP, 7)        \
	X(MPROTECT, 12)     \
	X(MREMAP, 8)        \
	X(MADVISE, 10)      \
	X(MLOCK, 4)         \
	X(BRK, 3)           \
	X(LOAD, 22)         \
	X(STORE, 34)        \
	X(FETCH, 5)         \
	X(COPY_FROM, 3)     \
	X(COPY_TO, 3)       \
	X(SWITCH, 3)        \
	X(FORK, 3)          \
	X(CLONE, 2)         \
	X(RESET, 2)         \
	X(RESTORE, 2)       \
	X(EXIT, 2)          \
	X(PIN, 3)           \
	X(PIN_WRITE, 4)     \
	X(UNPIN, 2)         \
	X(FILE_WRITE, 4)    \
	X(FILE_TRUNCATE, 1) \
	X(SYNC, 2)          \
	X(MIGRATE, 3)       \
	X(COMPACT, 1)       \
	X(SWAP_OUT, 12)     \
	X(SWAP_OFF, 1)      \
	X(SWAP_ERRORS, 1)   \
	X(SHRINK, 1)

enum op_kind {
#define X(name, weight) OP_##name,
	WORLD_OPS(X)
#undef X
		NR_OPS
};

struct op {
	enum op_kind kind;
	unsigned int space, cpu, word, prot, place, flavour;
	unsigned int fail; /* not 0: the allocation that fails in it */
	uint64_t page, nr, other, other_nr, value;
};

extern const char *const op_name[NR_OPS];
extern const unsigned int op_weight[NR_OPS];

/* Writes the operation as C would have it. */
void op_print(FILE *to, const struct op *o);

struct shape {
	enum sim_kind kind;
	unsigned int levels, tlb_entries, fault_around;
	uint64_t zswap_frames; /* 0: pages are not compressed */
};

struct world_pin {
	struct user_pin pin;
	struct mm *mm;	 /* whose, grabbed */
	unsigned int nr; /* pages; 0: not in use */
	bool write;
	unsigned int name[WORLD_PIN_PAGES]; /* the model's */
};

/* What a space was made of: pages in slots, and frames that were filled. */
struct world_image {
	struct sim_swap device;
	struct supply supply;
	bool on, supplies; /* the device, and spaces with the supply */
};

struct world {
	struct sim_machine *machine;
	struct sim_disk *disk[MODEL_FILES];
	struct sim_swap swap;
	struct world_image image[WORLD_IMAGES];
	struct model_host model_host;
	struct {
		struct mm *mm; /* NULL: not in use */
		struct model model;
	} space[WORLD_SPACES];
	unsigned int cpu_space[WORLD_CPUS];
	struct world_pin pins[WORLD_PINS];
	bool wrote_badly;    /* a write to a disk failed: its error may be told later */
	const struct op *op; /* under way, or NULL */
	unsigned int step;
	uint64_t nr_fails;		   /* operations in which an allocation failed */
	uint64_t nr_restored, nr_supplied; /* spaces made of images; blocks of them that were mapped whole */
	char *why;
	size_t why_bytes;
};

void world_init(struct world *w, struct shape shape, char *why, size_t why_bytes);
void op_run(struct world *w, const struct op *o);

/* Areas, tables, frames and what processors remember; after that, what every mapped page reads as. */
void world_check(struct world *w);
void world_sweep(struct world *w);
/* What processors remember alone. */
void world_audit(struct world *w);
/* Every frame, which takes longer. */
void world_check_frames(struct world *w);

/* Every space ends, everything is given back and compared with what it should have become. */
void world_end(struct world *w);

/* --- world_check.c ------------------------------------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) void world_differs(struct world *w, const char *format, ...);
void world_same_result(struct world *w, int64_t core, int64_t model);
void world_access(struct world *w, enum sim_access kind, uint64_t page, unsigned int word, unsigned int cpu,
		  uint64_t value);
void world_same_areas(struct world *w, unsigned int space);

/* --- world_swap.c ------------------------------------------------------------------------------------------------- */

void world_zswap_begin(struct world *w, uint64_t nr_frames);
void world_swap_begin(struct world *w);
void world_swap_end(struct world *w);
void world_swap_out(struct world *w, const struct op *o, struct mm *mm);
void world_swap_off(struct world *w, const struct op *o);
void world_swap_errors(struct world *w, const struct op *o);

/* --- world_check.c, too ------------------------------------------------------------------------------------------- */

/* The frame that a space maps at a page, or NULL. */
struct page *world_frame(struct mm *mm, uint64_t page);

/* The model takes over what only the core can know after an operation that ran out of memory half way. */
void world_resync(struct world *w, unsigned int space);
/* The same of a stack that may have grown down to `page`, when what was to be there could not be had. */
void world_resync_stack(struct world *w, unsigned int space, uint64_t page);

/* --- world_restore.c ----------------------------------------------------------------------------------------------- */

/* A new space made of an image of mm, which goes on; or NULL: no memory, or no place for another image. */
struct mm *world_restore(struct world *w, const struct op *o, struct mm *mm);

/* Brings back what images hold, where there is room; at the end none is left. */
void world_images_off(struct world *w);
void world_images_end(struct world *w);

#endif
