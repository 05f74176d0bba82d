/* SPDX-License-Identifier: MIT */
/*
 * snapshot_memory.c - spaces of a snapshot: fields, areas, and which pages are in the image. See snapshot.h.
 *
 * What a private area has of its own goes into the image; what it shows of a file comes from the file again, which must be what it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../mm/block.h"
#include "../vmm/vm.h"
#include "hostfile.h"
#include "object_twins.h"
#include "shm.h"
#include "snapshot.h"
#include "snapshot_supply.h"
#include "vdso.h"

#define BATCH_PAGES 64u

enum area_kind { AREA_MEMORY, AREA_FILE, AREA_VVAR, AREA_VDSO, AREA_OBJECT };

struct area_record {
	uint64_t start, end, flags, pgoff;
	uint64_t kind;
	uint64_t object;		 /* AREA_OBJECT: its number */
	int64_t size, mtime_s, mtime_ns; /* AREA_FILE */
};

/* --- fields --------------------------------------------------------------------------------------- */

static void code_fields(struct codec *c, struct mm *mm)
{
	CODE(c, mm->mmap_base);
	CODE(c, mm->start_code);
	CODE(c, mm->end_code);
	CODE(c, mm->start_data);
	CODE(c, mm->end_data);
	CODE(c, mm->start_brk);
	CODE(c, mm->brk);
	CODE(c, mm->start_stack);
	CODE(c, mm->arg_start);
	CODE(c, mm->arg_end);
	CODE(c, mm->env_start);
	CODE(c, mm->env_end);
	CODE(c, mm->saved_auxv);
	mm->nr_auxv_words = codec_count(c, mm->nr_auxv_words, MM_AUXV_WORDS);
	CODE(c, mm->mmap_min_addr);
	CODE(c, mm->max_map_count);
}

/* After the areas are there, which may be more than these allow. */
static void code_limits(struct codec *c, struct mm *mm)
{
	uint64_t def_flags = mm->def_flags;

	CODE(c, def_flags);
	mm->def_flags = def_flags & (VM_LOCKED | VM_LOCKONFAULT | VM_NOHUGEPAGE);
	CODE(c, mm->stack_limit_bytes);
	CODE(c, mm->as_limit_bytes);
	CODE(c, mm->data_limit_bytes);
	CODE(c, mm->memlock_limit_bytes);
	uint32_t membarrier = atomic_load(&mm->membarrier_state);
	CODE(c, membarrier);
	atomic_store(&mm->membarrier_state, membarrier);
}

/* --- areas: writing -------------------------------------------------------------------------------- */

static int describe_file(struct snapshot *n, const struct vma *v, struct area_record *a)
{
	struct stat st;

	if (stat(v->file->path, &st) || st.st_ino != v->file->ino)
		return snapshot_refuse(n, -ENOTSUP, "%s, which is mapped, cannot be found again",
				       v->file->path);
	a->kind = AREA_FILE;
	a->size = st.st_size;
	a->mtime_s = st.st_mtim.tv_sec;
	a->mtime_ns = st.st_mtim.tv_nsec;
	return 0;
}

static int describe_area(struct snapshot *n, const struct vma *v, struct area_record *a)
{
	memset(a, 0, sizeof(*a));
	a->start = v->start;
	a->end = v->end;
	a->flags = v->flags;
	a->pgoff = v->pgoff;
	struct backing *object = object_of_area(v);
	if (object) {
		a->kind = AREA_OBJECT;
		a->object = numbered_note(&n->object, object);
		return 0;
	}
	if (v->file)
		return describe_file(n, v, a);
	if (v->name && !strcmp(v->name, "[vvar]"))
		a->kind = AREA_VVAR;
	else if (v->name && !strcmp(v->name, "[vdso]"))
		a->kind = AREA_VDSO;
	else if (v->mapping || (v->flags & (VM_SPECIAL & ~VM_DONTEXPAND)))
		return snapshot_refuse(n, -ENOTSUP, "an area at %#lx cannot be saved", v->start);
	return 0;
}

static int write_areas(struct snapshot *n, struct mm *mm)
{
	struct codec *c = &n->c;
	struct area_record a;
	const struct vma *v;
	int err = 0;

	codec_count(c, mm->vmas.nr, SNAPSHOT_MAX_AREAS);
	vma_for_each (v, &mm->vmas) {
		err = describe_area(n, v, &a);
		if (err)
			return err;
		CODE(c, a);
		if (a.kind == AREA_FILE) {
			char *path = (char *)(uintptr_t)v->file->path;
			codec_string(c, &path);
		}
	}
	return 0;
}

/* --- areas: reading --------------------------------------------------------------------------------- */

static bool area_is_good(const struct mm *mm, const struct area_record *a, gva_t after)
{
	return a->start >= after && a->start < a->end && a->end <= mm->task_size &&
	       !((a->start | a->end) % PAGE_SIZE) && a->kind <= AREA_OBJECT &&
	       !(a->flags & (VM_HUGETLB | VM_PFNMAP | VM_MIXEDMAP) && a->kind != AREA_VVAR);
}

/* file: of AREA_FILE and AREA_OBJECT. */
static int map_area(struct snapshot *n, struct mm *mm, const struct area_record *a, struct backing *file)
{
	struct saved_area area = {
		.start = a->start, .end = a->end, .flags = a->flags, .file = file, .pgoff = a->pgoff};

	if (a->kind == AREA_OBJECT)
		shm_area(n->shm, file, &area);
	int err = mm_restore_area(mm, &area);

	return err ? snapshot_refuse(n, err, "no room for an area at %#lx", a->start) : 0;
}

static bool is_shared(const struct area_record *a)
{
	return a->flags & VM_MAYSHARE;
}

/* The file behind an area, as it was when it was saved. */
static int open_file(struct snapshot *n, const struct area_record *a, const char *path)
{
	struct stat st;
	int fd = snapshot_open(n, path, is_shared(a) && (a->flags & VM_MAYWRITE) ? O_RDWR : O_RDONLY);

	if (fd < 0)
		return fd;
	bool same = !fstat(fd, &st) && st.st_size == a->size && st.st_mtim.tv_sec == a->mtime_s &&
		    st.st_mtim.tv_nsec == a->mtime_ns;
	if (same || is_shared(a))
		return fd;
	close(fd);
	return snapshot_refuse(n, -ESTALE, "%s has changed", path);
}

static int map_file(struct snapshot *n, struct mm *mm, const struct area_record *a)
{
	struct backing *file;
	char *path;
	int err;

	codec_string(&n->c, &path);
	int fd = path ? open_file(n, a, path) : -EBADMSG;
	free(path);
	if (fd < 0)
		return fd;
	err = hostfile_get(n->hostfiles, fd, NULL, &file);
	close(fd);
	if (err)
		return err;
	err = map_area(n, mm, a, file);
	backing_put(file);
	return err;
}

static int map_object(struct snapshot *n, struct mm *mm, const struct area_record *a)
{
	struct backing *object = a->object < n->object.nr ? n->object.at[a->object] : NULL;

	return object && is_shared(a) ? map_area(n, mm, a, object) : -EBADMSG;
}

static int read_area(struct snapshot *n, struct mm *mm, const struct area_record *a)
{
	switch ((enum area_kind)a->kind) {
	case AREA_MEMORY:
		return is_shared(a) ? -EBADMSG : map_area(n, mm, a, NULL);
	case AREA_FILE:
		return map_file(n, mm, a);
	case AREA_OBJECT:
		return map_object(n, mm, a);
	case AREA_VVAR:
	case AREA_VDSO:
		return install_special_mapping_at(mm, &n->vdso->mapping[a->kind == AREA_VDSO], a->start);
	}
	return -EBADMSG;
}

static int read_areas(struct snapshot *n, struct mm *mm)
{
	uint32_t nr = codec_count(&n->c, 0, SNAPSHOT_MAX_AREAS);
	struct area_record a = {0};
	int err = 0;

	for (uint32_t i = 0; i < nr && !err; i++) {
		gva_t after = a.end;
		CODE(&n->c, a);
		err = n->c.bad || !area_is_good(mm, &a, after) ? -EBADMSG : read_area(n, mm, &a);
	}
	return err;
}

/* --- spaces ------------------------------------------------------------------------------------------ */

/* The first one's account is all the others' too. */
static struct mm *new_space(struct snapshot *n, uint64_t max_pages)
{
	struct mm_host *h = vm_mm_host(n->vm);
	struct mm *mm = n->account ? mm_create_in(h, n->account)
				   : mm_create(h, n->max_pages ? n->max_pages : max_pages);

	if (!mm)
		return NULL;
	n->account = mm->memcg;
	if (numbered_add(&n->mm, mm))
		return mm;
	mmput(mm);
	return NULL;
}

static int code_space(struct snapshot *n, uint32_t i)
{
	struct codec *c = &n->c;
	struct mm *mm = numbered_get(&n->mm, i);
	uint64_t max_pages = mm ? atomic_load(&mm->memcg->max_pages) : 0;

	CODE(c, max_pages);
	if (!c->writing)
		mm = new_space(n, max_pages);
	if (!mm)
		return -ENOMEM;
	code_fields(c, mm);
	int err = c->writing ? write_areas(n, mm) : read_areas(n, mm);
	code_limits(c, mm);
	return err;
}

int snapshot_code_spaces(struct snapshot *n)
{
	uint32_t nr = codec_count(&n->c, n->mm.nr, SNAPSHOT_MAX_TASKS);
	int err = 0;

	for (uint32_t i = 0; i < nr && !err; i++)
		err = code_space(n, i);
	return err;
}

/* --- pages: writing ---------------------------------------------------------------------------------- */

/* Addresses of a space's own pages within one area, in order. */
struct own_pages {
	struct snapshot *snapshot;
	struct mm *mm;
	struct image_writer *writer;
	uint32_t space;
	char *buffer; /* for a row of BATCH_PAGES */
	gva_t *at;    /* all pages of one area */
	uint64_t nr_pages, room;
	int err;
};

static void see_page(void *ctx, gva_t address)
{
	struct own_pages *o = ctx;

	if (o->nr_pages == o->room) {
		uint64_t room = o->room ? 2 * o->room : 512;
		gva_t *more = realloc(o->at, room * sizeof(*more));
		if (!more) {
			o->err = -ENOMEM;
			return;
		}
		o->at = more;
		o->room = room;
	}
	o->at[o->nr_pages++] = address;
}

static void see_guard(void *ctx, gva_t address)
{
	struct own_pages *o = ctx;

	o->err = snapshot_refuse(o->snapshot, -ENOTSUP, "a guard page at %#lx cannot be saved", address);
}

static int write_row(struct own_pages *o, gva_t start, unsigned int nr)
{
	size_t bytes = (size_t)nr * PAGE_SIZE;
	int err = 0;

	if (read_process_memory(o->mm, o->buffer, start, bytes) != bytes)
		return -EIO;
	for (unsigned int i = 0; i < nr && !err; i++)
		err = image_add_page(o->writer, o->space, start + (uint64_t)i * PAGE_SIZE,
				     o->buffer + (size_t)i * PAGE_SIZE);
	return err;
}

static int write_rows(struct own_pages *o)
{
	int err = o->err;

	for (uint64_t i = 0, nr; i < o->nr_pages && !err; i += nr) {
		for (nr = 1; nr < BATCH_PAGES && i + nr < o->nr_pages; nr++)
			if (o->at[i + nr] != o->at[i] + nr * PAGE_SIZE)
				break;
		err = write_row(o, o->at[i], (unsigned int)nr);
	}
	return err;
}

static int write_space(struct snapshot *n, struct image_writer *w, uint32_t space)
{
	static const struct own_page_ops ops = {.page = see_page, .guard = see_guard};
	struct own_pages o = {.snapshot = n, .mm = numbered_get(&n->mm, space), .writer = w, .space = space};
	const struct vma *v;
	int err = 0;

	o.buffer = malloc((size_t)BATCH_PAGES * PAGE_SIZE);
	if (!o.buffer)
		return -ENOMEM;

	vma_for_each (v, &o.mm->vmas) { /* nobody changes areas of what does not run */
		if (err)
			break;
		o.nr_pages = 0;
		mm_each_own_page(o.mm, v, &ops, &o);
		err = write_rows(&o);
	}
	free(o.at);
	free(o.buffer);
	return err;
}

int snapshot_write_pages(struct snapshot *n, struct image_writer *w)
{
	int err = 0;

	for (uint32_t i = 0; i < n->mm.nr && !err; i++)
		err = write_space(n, w, i);
	return err;
}

/* --- pages: reading ---------------------------------------------------------------------------------- */

/* What is missing of 2 MiB. */
static uint64_t pages_to_block(gva_t address)
{
	return (PMD_SIZE - (address & ~PMD_MASK)) >> PAGE_SHIFT;
}

/* Pages of blocks do not go without a transfer, as those can that an entry says. */
static bool supply_fits(const struct snapshot *n)
{
	uint64_t nr = n->image->nr_pages;

	return !n->supply_has_to_fit || nr + nr / 4 <= atomic_load(&n->account->max_pages);
}

/* Whole aligned blocks are filled by the supply, if there is one and it takes them. */
static bool map_block(struct snapshot *n, struct mm *mm, gva_t address, uint64_t first, uint64_t nr)
{
	return n->supply && nr >= BLOCK_PAGES && supply_fits(n) && !(address & ~PMD_MASK) &&
	       !snapshot_supply_block(n->supply, mm, address, first);
}

/* Others by faults: each entry says its page. */
static int map_entries(struct snapshot *n, struct mm *mm, gva_t address, uint64_t first, uint64_t nr)
{
	struct image_page page[BATCH_PAGES];

	image_describe(n->image, first, nr, page);
	return mm_restore_pages(mm, address, swp_entry(n->image->device.index, first + 1), page, nr);
}

static int map_run(struct snapshot *n, const struct image_run *r)
{
	struct mm *mm = numbered_get(&n->mm, r->space);
	int err = mm ? 0 : -EBADMSG;

	for (uint64_t i = 0, nr; i < r->nr && !err; i += nr) {
		gva_t address = r->address + i * PAGE_SIZE;
		nr = BLOCK_PAGES;
		if (map_block(n, mm, address, r->first + i, r->nr - i))
			continue;
		nr = min_u64(min_u64(r->nr - i, BATCH_PAGES), pages_to_block(address));
		err = map_entries(n, mm, address, r->first + i, nr);
	}
	return err == -EINVAL ? snapshot_refuse(n, -EBADMSG, "pages where no memory is") : err;
}

int snapshot_map_pages(struct snapshot *n)
{
	int err = 0;

	for (uint64_t i = 0; i < n->image->nr_runs && !err; i++)
		err = map_run(n, &n->image->run[i]);
	for (uint32_t i = 0; i < n->mm.nr && !err; i++)
		mm_populate_locked(numbered_get(&n->mm, i));
	return err;
}
