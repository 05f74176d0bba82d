/* SPDX-License-Identifier: MIT */
/*
 * model.h - what an address space does, told in the simplest way: one record per page.
 *
 * The model knows nothing of trees, tables or frames. It has three stretches of pages - below mmap_base, around the break,
 * below the stack's end - and outside of them nothing is ever mapped. A page knows whether it belongs to the same area as
 * the page before it, so that rules about areas (merging, the limit of a stack, the reach of mremap) come out the same.
 * Where Linux 5.11 and the core's headers leave a choice, the model follows what the headers say.
 */
#ifndef LODGE_TESTS_MODEL_H
#define LODGE_TESTS_MODEL_H

#include "fixture.h"

#define MODEL_WORDS	  2
#define MODEL_STACK_PAGES 64 /* the stack's limit */
#define MODEL_OBJECT_MAX  256
#define MODEL_FILES	  2

/* Offsets within a page at which the model remembers a word. */
extern const uint16_t model_word_offset[MODEL_WORDS];

/* Shared memory by page; a file has none: its words are arithmetic. */
struct model_object {
	struct sim_file *file; /* NULL: shared anonymous memory */
	uint64_t (*word)[MODEL_WORDS];
	uint64_t pages;
};

struct model_page {
	bool mapped;
	bool joined; /* in one area with the page before */
	bool shared, grows_down;
	bool account; /* promised: private, and may or might have been written */
	unsigned int
		anon; /* of the area: which areas it has pages in common with; 0: no page of its own yet */
	bool own;     /* private file page: has been written, `word` holds it */
	uint8_t prot;
	struct model_object *object; /* NULL: private anonymous */
	uint64_t pgoff;
	uint64_t word[MODEL_WORDS];
};

struct model_stretch {
	uint64_t first; /* page number */
	uint64_t nr;
	struct model_page *page;
};

enum { MODEL_BREAK, MODEL_WINDOW, MODEL_STACK, MODEL_STRETCHES };

struct model {
	struct model_stretch stretch[MODEL_STRETCHES];
	uint64_t min_page, base_page; /* of placement: mmap_min_addr, mmap_base */
	gva_t start_brk, brk;
	struct model_object files[MODEL_FILES];
	struct model_object *objects[4096]; /* all that were ever made, to be freed at the end */
	unsigned int nr_objects;
	unsigned int nr_anons;
};

/* False: no memory. `files` are the fixture's. */
bool model_init(struct model *m, const struct mm *mm, struct sim_file files[MODEL_FILES]);
void model_destroy(struct model *m);

/* The record of a page, or NULL outside the stretches. */
struct model_page *model_page(struct model *m, uint64_t page);
uint64_t model_mapped_pages(struct model *m);
/* The end of the area that holds `page`: the first page behind it. */
uint64_t model_area_end(struct model *m, uint64_t page);

enum model_place { PLACE_ANYWHERE, PLACE_HINT, PLACE_FIXED, PLACE_NOREPLACE, NR_PLACES };

struct model_map {
	uint64_t page, nr;
	unsigned int prot;
	enum model_place place;
	bool shared, grows_down;
	int file; /* -1: anonymous */
	uint64_t pgoff;
};

/* Results as the core's: an address, 0, or -errno. */
int64_t model_mmap(struct model *m, const struct model_map *r);
int model_munmap(struct model *m, uint64_t page, uint64_t nr);
int model_mprotect(struct model *m, uint64_t page, uint64_t nr, unsigned int prot);
int model_dontneed(struct model *m, uint64_t page, uint64_t nr);
gva_t model_brk(struct model *m, gva_t brk);

struct model_move {
	uint64_t old, old_nr, new_nr;
	bool may_move, fixed;
	uint64_t new;
};

/* True when the model has an opinion: the result may lie outside its stretches, or grow shared anonymous memory. */
bool model_can_mremap(struct model *m, const struct model_move *v);
int64_t model_mremap(struct model *m, const struct model_move *v);

/* One access to word w of a page: 0 and *value (loaded or stored), or the signal it earns. */
struct fault_signal model_access(struct model *m, enum sim_access kind, uint64_t page, unsigned int w,
				 uint64_t *value);

#endif
