/* SPDX-License-Identifier: MIT */
/*
 * model.h - what address spaces do, told in the simplest way: one record per page.
 *
 * The model knows nothing of trees, tables or frames. A space has three stretches of pages - below mmap_base, around the break,
 * below the stack's end - and outside of them nothing is ever mapped. A page knows whether it belongs to the same area as
 * the page before it, so that rules about areas (merging, the limit of a stack, the reach of mremap) come out the same.
 * A fork copies records; what spaces share lies in objects, by page as well.
 * Where Linux 5.11 and the core's headers leave a choice, the model follows what the headers say.
 *
 * model.c has the areas, model_words.c what is in memory.
 */
#ifndef LODGE_TESTS_MODEL_H
#define LODGE_TESTS_MODEL_H

#include "disk.h"

#define MODEL_WORDS	  2
#define MODEL_STACK_PAGES 64 /* the stack's limit */
#define MODEL_FILES	  2
#define MODEL_FILE_PAGES  60 /* a file never gets longer */

/* Offsets within a page at which the model remembers a word. */
extern const uint16_t model_word_offset[MODEL_WORDS];

/* Shared memory by page, or a file. */
struct model_object {
	struct sim_disk *disk; /* NULL: shared anonymous memory */
	uint64_t bytes;	       /* of a file */
	uint64_t pages;	       /* there are records for */
	uint64_t (*word)[MODEL_WORDS];
	unsigned int *pin; /* as in struct model_page */
	struct model_object *next;
};

/* What the spaces of one world have in common. */
struct model_host {
	struct model_object files[MODEL_FILES];
	struct model_object *objects; /* all that were ever made, to be freed at the end */
	unsigned int nr_anons;
	unsigned int nr_pins;
};

struct model_page {
	bool mapped;
	bool joined; /* in one area with the page before */
	bool shared, grows_down;
	bool no_write; /* shared, of a file that is not open for writing */
	bool account;  /* promised: private, and may or might have been written */
	bool own;      /* private file page: has been written, `word` holds it */
	bool deep;     /* the area's anonymous pages may be its ancestors' as well */
	uint8_t prot;
	uint32_t flags; /* MODEL_FLAGS of the area */
	unsigned int
		anon; /* of the area: which areas it has pages in common with; 0: no page of its own yet */
	unsigned int pin;	     /* which pinned frame this is; 0: none that is known */
	struct model_object *object; /* NULL: private anonymous */
	uint64_t pgoff;
	uint64_t word[MODEL_WORDS];
};

/* VM_ flags that tell areas apart and that the core's must agree with. */
#define MODEL_FLAGS                                                                                  \
	(VM_LOCKED_MASK | VM_DONTCOPY | VM_WIPEONFORK | VM_HUGEPAGE | VM_NOHUGEPAGE | VM_NORESERVE | \
	 VM_SEQ_READ | VM_RAND_READ)

struct model_stretch {
	uint64_t first; /* page number */
	uint64_t nr;
	struct model_page *page;
};

enum { MODEL_BREAK, MODEL_WINDOW, MODEL_STACK, MODEL_STRETCHES };

struct model {
	struct model_host *host;
	struct model_stretch stretch[MODEL_STRETCHES];
	uint64_t min_page, base_page; /* of placement: mmap_min_addr, mmap_base */
	gva_t start_brk, brk;
};

/* False: no memory. The files are those of `disks`. */
bool model_host_init(struct model_host *h, struct sim_disk *disks[MODEL_FILES]);
void model_host_destroy(struct model_host *h);

/* False: no memory. */
bool model_init(struct model *m, struct model_host *h, const struct mm *mm);
void model_destroy(struct model *m);

/* Makes `child` what a fork of `parent` is. False: no memory. */
bool model_fork(struct model *child, struct model *parent);
/* The same for mm_clone. */
bool model_clone(struct model *clone, struct model *from);
/* The same for a space that was made of what was saved of `from`: no area has pages of its own yet. */
bool model_restore(struct model *m, struct model *from);

/* The record of a page, or NULL outside the stretches. */
struct model_page *model_page(struct model *m, uint64_t page);
uint64_t model_mapped_pages(struct model *m);
bool model_is_mapped(struct model *m, uint64_t page);
/* The end of the area that holds `page`: the first page behind it. */
uint64_t model_area_end(struct model *m, uint64_t page);

enum model_place { PLACE_ANYWHERE, PLACE_HINT, PLACE_FIXED, PLACE_NOREPLACE, NR_PLACES };

struct model_map {
	uint64_t page, nr;
	unsigned int prot;
	enum model_place place;
	bool shared, grows_down, no_write;
	uint32_t flags; /* VM_LOCKED, VM_NORESERVE */
	bool populate;
	int file; /* -1: anonymous */
	uint64_t pgoff;
};

/* Results as the core's: an address, 0, or -errno. */
int64_t model_mmap(struct model *m, const struct model_map *r);
int model_munmap(struct model *m, uint64_t page, uint64_t nr);
int model_mprotect(struct model *m, uint64_t page, uint64_t nr, unsigned int prot);
int model_madvise(struct model *m, uint64_t page, uint64_t nr, int advice);
/* flags: VM_LOCKED_MASK, or 0 for munlock. The pages are not populated. */
int model_mlock(struct model *m, uint64_t page, uint64_t nr, uint32_t flags);
gva_t model_brk(struct model *m, gva_t brk);

struct model_move {
	uint64_t old, old_nr, new_nr;
	bool may_move, fixed;
	uint64_t new;
};

/* True when the model has an opinion: the result may lie outside its stretches, or grow shared anonymous memory. */
bool model_can_mremap(struct model *m, const struct model_move *v);
int64_t model_mremap(struct model *m, const struct model_move *v);

/* The area of a page got anonymous pages, or (false) turned out to have none. */
void model_set_anon(struct model *m, uint64_t page, bool anon);

/* Grows a stack down to `page`, which is not mapped, if there is one that may. */
bool model_grow_stack(struct model *m, uint64_t page);

/* --- model_words.c ------------------------------------------------------------------------------------------------ */

/* The page is as if it had never been touched. */
void model_forget(struct model_page *p);

/* One access to word w of a page: 0 and *value (loaded or stored), or the signal it earns. */
struct fault_signal model_access(struct model *m, enum sim_access kind, uint64_t page, unsigned int w,
				 uint64_t *value);

/* A page is brought in for that kind of access, which does not happen. 0, SIGSEGV or SIGBUS. */
int model_touch(struct model *m, uint64_t page, enum sim_access kind);

/* A private page of a file is a copy of its own from now on, or (false) the file's again. */
void model_set_own(struct model_page *p, bool own);

/* mlock and MAP_POPULATE: stops at the first page that cannot be there. */
int model_populate(struct model *m, uint64_t page, uint64_t nr);
/* MADV_POPULATE_READ, _WRITE. */
int model_populate_for(struct model *m, uint64_t page, uint64_t nr, bool write);

/* Pins a page that was touched for writing: its name. */
unsigned int model_pin(struct model *m, uint64_t page);
/* False: the word is behind the end of a file. */
bool model_pin_has(const struct model_host *h, unsigned int pin, unsigned int w);
/* What a write to word w of a pinned frame does to one space, and to what is shared. */
void model_write_pinned(struct model *m, unsigned int pin, unsigned int w, uint64_t value);
void model_write_pinned_object(struct model_host *h, unsigned int pin, unsigned int w, uint64_t value);

/* A new object of zeroes. */
struct model_object *model_object_new(struct model_host *h, uint64_t pages);

/* A word of a file at page pgoff, which is within it. */
bool model_file_has(const struct model_object *o, uint64_t pgoff, unsigned int w);
/* The file's size changes, for the spaces [0, nr) as well. */
void model_truncate(struct model_object *o, uint64_t bytes, struct model *const *m, unsigned int nr);
/* Whole pages become holes. */
void model_punch(struct model_object *o, uint64_t pgoff, uint64_t nr);

#endif
