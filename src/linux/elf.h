/* SPDX-License-Identifier: MIT */
/*
 * elf.h - ELF programs and their interpreters: read the headers, decide whether and where they go, map them.
 *
 * Three steps, so that a file is judged completely before anything changes: elf_read fetches the headers, elf_plan
 * decides from them and the limits alone, elf_map carries the plan out. Format: System V gABI, chapters 4 and 5; AMD64
 * psABI. What Linux 5.11 does decides where the two are silent.
 */
#ifndef LODGE_LINUX_ELF_H
#define LODGE_LINUX_ELF_H

#include <elf.h>

#include "../mm/mm.h"

struct lodge_error;

/* The headers of a file for this machine. The table lies within the file; nothing else in them has been looked at. */
struct elf_image {
	Elf64_Ehdr ehdr;
	Elf64_Phdr *phdr; /* ehdr.e_phnum of them; owned */
	uint64_t file_bytes;
	char *interpreter; /* the dynamic linker that the file asks for; NULL: it needs none; owned */
};

/* Where a program may go and how much it may need. */
struct elf_limits {
	gva_t low, high;  /* segments lie within [low, high) */
	gva_t pie_base;	  /* where the first segment of a position-independent program goes; page aligned */
	uint64_t brk_gap; /* bytes left free between the program and its heap; page aligned */
	uint64_t memory_bytes; /* most that all segments together may occupy */
};

/* One PT_LOAD at its final place. Bytes [start, file_end) come from the file, [file_end, end) are zero. */
struct elf_segment {
	gva_t start, file_end, end; /* not page aligned */
	uint64_t offset;	    /* of `start` in the file */
	unsigned int prot;	    /* PROT_BITS_ */
	bool continues;		    /* its first page is also the last page of the segment before it */
};

struct elf_plan {
	struct elf_segment *segment; /* ascending; owned */
	unsigned int nr_segments;
	gva_t bias; /* added to every address in the file */
	gva_t entry;
	gva_t phdr;	 /* of the program headers in memory; 0: no segment holds them */
	gva_t start_brk; /* page aligned */
	gva_t start_code, end_code, start_data, end_data;
	bool stack_executable;
};

/*
 * 0, -ENOEXEC (not an ELF file, or not one for x86-64), -EINVAL (malformed), -ENOMEM, or what reading the file gave.
 * On success elf_image_free.
 */
int elf_read(struct backing *file, struct elf_image *image, struct lodge_error *err);
void elf_image_free(struct elf_image *image);

/* 0, -EINVAL (malformed), -ENOMEM (too large). On success elf_plan_free. What an interpreter will do is not asked. */
int elf_plan(const struct elf_image *image, const struct elf_limits *limits, struct elf_plan *plan,
	     struct lodge_error *err);
void elf_plan_free(struct elf_plan *plan);

/* Bytes of address space from the first page of a position-independent image to its last, with room for its alignment. */
uint64_t elf_span_bytes(const struct elf_image *image);
/* How much of that is for the alignment. */
uint64_t elf_room_shift(const struct elf_image *image);

/*
 * Maps the segments and, for a program, sets the addresses of code, data and break in mm. 0 or -errno; then some segments
 * may be mapped and the caller empties the space.
 */
int elf_map(const struct elf_plan *plan, struct mm *mm, struct backing *file);
int elf_map_interpreter(const struct elf_plan *plan, struct mm *mm, struct backing *file);

#endif
