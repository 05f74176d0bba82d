/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - the state of a sandbox that does not run, as bytes of an image's section STATE, and made from them.
 *
 * One function for each kind of thing goes both ways (codec.h). What several tasks share has a number; numbers are given in the order in which
 * tasks are met. Times by clocks that begin with the machine are moved by what those clocks differ.
 *
 *	clocks, sandbox | shared objects | spaces: fields, areas | contents of objects | files, tables, directories, actions | processes: theirs, threads
 *
 * Nothing that is read is trusted: counts have bounds, numbers name what is there, areas go through mm_mmap, files are opened through
 * the view that the new sandbox has.
 * Not here: memory itself (image.h), the public functions (snapshot.c).
 */
#ifndef LODGE_LINUX_SNAPSHOT_H
#define LODGE_LINUX_SNAPSHOT_H

#include "../uffd/image.h"
#include "codec.h"
#include "process.h"

#define SNAPSHOT_WHY	   200
#define SNAPSHOT_MAX_TASKS 32768u
#define SNAPSHOT_MAX_AREAS 1048576u

struct guest_file;
struct hostfile_table;
struct shm_ns;
struct snapshot_supply;
struct task;
struct vdso;

/* Things that others name by their numbers. Reading: one reference of each. */
struct numbered {
	void **at;
	uint32_t nr, room;
};

struct snapshot {
	struct codec c;
	struct sandbox *sandbox;
	struct numbered mm, files, fs, sighand, file, object;
	struct shm_ns *shm;
	int64_t monotonic_shift, boottime_shift; /* ns that are added to what was saved */
	char why[SNAPSHOT_WHY];			 /* what stands in the way, or "" */
	/* reading */
	struct image *image;
	struct snapshot_supply *supply; /* fills memory when it is touched; NULL: faults of the guest do */
	bool supply_has_to_fit; /* it does so only where the account has room for all pages, and a quarter more */
	struct vm *vm;
	struct hostfile_table *hostfiles;
	struct vdso *vdso;
	struct view *view;
	struct snapshot_memfd *memfd; /* of each object */
	uint32_t nr_memfds;
	struct shm_segment *segment; /* all of shm */
	unsigned int nr_segments;
	uint64_t max_pages; /* of the space; 0: as saved */
	struct memcg *account;
};

/* Notes the first reason. Returns err. */
int snapshot_refuse(struct snapshot *n, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Writing: the number of a thing, which gets the next one if it has none. UINT32_MAX: no memory. */
uint32_t numbered_note(struct numbered *w, void *thing);
/* Reading: adds one; false: no memory. And the one that has a number, or NULL. */
bool numbered_add(struct numbered *w, void *thing);
void *numbered_get(const struct numbered *w, uint32_t nr);

/* snapshot_memory.c: all spaces; writing adds their pages to `w`. 0 or -errno. */
int snapshot_code_spaces(struct snapshot *n);
int snapshot_write_pages(struct snapshot *n, struct image_writer *w);
int snapshot_map_pages(struct snapshot *n);

/*
 * snapshot_objects.c: shared memory. What there is comes before spaces and files, which name it; what is in it after the spaces, who pay for
 * it. All of it is in the state.
 */
int snapshot_note_objects(struct snapshot *n);
int snapshot_code_objects(struct snapshot *n);
int snapshot_code_contents(struct snapshot *n);
/* A descriptor of the object with that number, a memfd; or -errno. */
int snapshot_open_object(const struct snapshot *n, uint32_t nr, int flags);
void snapshot_destroy_objects(struct snapshot *n);

/* snapshot_files.c: all files, tables and directories. Writing takes what is in the sandbox's pipes out of them. */
int snapshot_note_files(struct snapshot *n);
int snapshot_code_files(struct snapshot *n);
/* A descriptor of a file of the host that the view shows, for a snapshot that names it; or -errno. */
int snapshot_open(struct snapshot *n, const char *path, int flags);

/* snapshot_state.c: writing begins with this, which gives everything its number. 0 or -ENOMEM. */
int snapshot_note(struct snapshot *n);
/* All of it, in either direction. Reading fills n->sandbox. 0 or -errno. */
int snapshot_code(struct snapshot *n);
void snapshot_destroy(struct snapshot *n);

#endif
