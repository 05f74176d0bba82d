/* SPDX-License-Identifier: MIT */
/* world.c - operations on the core and on the model. See world.h. */
#include "world.h"

#include "../../src/mm/diff.h"
#include "../../src/mm/compaction.h"
#include "../../src/mm/migrate.h"
#include "../../src/mm/truncate.h"

#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

const char *const op_name[NR_OPS] = {
#define X(name, weight) [OP_##name] = #name,
	WORLD_OPS(X)
#undef X
};

const unsigned int op_weight[NR_OPS] = {
#define X(name, weight) [OP_##name] = weight,
	WORLD_OPS(X)
#undef X
};

void op_print(FILE *to, const struct op *o)
{
	fprintf(to,
		"\t{.kind = OP_%s, .space = %u, .cpu = %u, .word = %u, .prot = %u, .place = %u, .flavour = "
		"%u, .fail = %u,\n"
		"\t .page = %#llx, .nr = %llu, .other = %#llx, .other_nr = %llu, .value = %#llx},\n",
		op_name[o->kind], o->space, o->cpu, o->word, o->prot, o->place, o->flavour, o->fail,
		(unsigned long long)o->page, (unsigned long long)o->nr, (unsigned long long)o->other,
		(unsigned long long)o->other_nr, (unsigned long long)o->value);
}

/* --- beginning and end -------------------------------------------------------------------------------------------- */

static void map_stack(struct world *w)
{
	struct model_map m = {.page = WORLD_STACK_TOP - 33,
			      .nr = 33,
			      .prot = PROT_READ | PROT_WRITE,
			      .file = -1};
	struct mmap_request q = {.address = m.page << PAGE_SHIFT, .length = 33 << PAGE_SHIFT, .prot = m.prot};

	m.place = PLACE_FIXED;
	m.grows_down = true;
	q.flags = MAP_FIXED | MAP_GROWSDOWN | MAP_PRIVATE | MAP_ANONYMOUS;
	world_same_result(w, mm_mmap(w->space[0].mm, &q), model_mmap(&w->space[0].model, &m));
}

void world_init(struct world *w, struct shape shape, char *why, size_t why_bytes)
{
	struct sim_config config = {.kind = shape.kind, .levels = shape.levels, .cpus = WORLD_CPUS};
	struct mm *mm;

	memset(w, 0, sizeof(*w));
	w->why = why;
	w->why_bytes = why_bytes;
	config.tlb_entries = shape.tlb_entries;
	w->machine = sim_machine_new(&config);
	mm = w->machine ? mm_create(&w->machine->host, 1u << 20) : NULL;
	if (!mm)
		_exit(3);
	world_zswap_begin(w, shape.zswap_frames);
	world_swap_begin(w);
	w->space[0].mm = mm;
	mm->fault_around_pages = shape.fault_around;
	mm->start_brk = mm->brk = WORLD_BREAK_PAGE << PAGE_SHIFT;
	mm->stack_limit_bytes = MODEL_STACK_PAGES << PAGE_SHIFT;
	w->disk[0] = sim_disk_new(w->machine, 50 * PAGE_SIZE + 24);
	w->disk[1] = sim_disk_new(w->machine, 3 * PAGE_SIZE);
	if (!w->disk[0] || !w->disk[1] || !model_host_init(&w->model_host, w->disk) ||
	    !model_init(&w->space[0].model, &w->model_host, mm))
		_exit(3);
	for (unsigned int i = 0; i < WORLD_CPUS; i++)
		sim_cpu_load(&w->machine->cpu[i], mm);
	map_stack(w);
}

static unsigned int nr_spaces(const struct world *w)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < WORLD_SPACES; i++)
		nr += w->space[i].mm != NULL;
	return nr;
}

/* A space that is in use: number `wanted`, or the next. */
static unsigned int some_space(const struct world *w, unsigned int wanted)
{
	wanted %= WORLD_SPACES;
	while (!w->space[wanted].mm)
		wanted = (wanted + 1) % WORLD_SPACES;
	return wanted;
}

static void cpu_enter(struct world *w, unsigned int cpu, unsigned int space)
{
	w->cpu_space[cpu] = space;
	sim_cpu_load(&w->machine->cpu[cpu], w->space[space].mm);
}

static void unpin(struct world_pin *p)
{
	if (!p->nr)
		return;
	user_pin_release(p->mm, &p->pin);
	p->nr = 0;
}

static void space_end(struct world *w, unsigned int space)
{
	struct mm *mm = w->space[space].mm;

	for (unsigned int i = 0; i < WORLD_PINS; i++) /* a call that holds pages holds the space */
		if (w->pins[i].nr && w->pins[i].mm == mm)
			unpin(&w->pins[i]);
	w->space[space].mm = NULL;
	for (unsigned int i = 0; i < WORLD_CPUS; i++) {
		if (w->cpu_space[i] != space)
			continue;
		if (nr_spaces(w))
			cpu_enter(w, i, some_space(w, i));
		else
			sim_cpu_load(&w->machine->cpu[i], NULL);
	}
	mmput(mm);
	model_destroy(&w->space[space].model);
}

/* What the disk has in the end is what the model's file has. */
static void compare_disk(struct world *w, unsigned int i)
{
	const struct model_object *o = &w->model_host.files[i];
	const struct sim_disk *d = w->disk[i];

	if (d->bytes != o->bytes)
		world_differs(w, "file %u has %llu bytes, the model's %llu", i, (unsigned long long)d->bytes,
			      (unsigned long long)o->bytes);
	for (uint64_t k = 0; k < o->pages; k++) {
		for (unsigned int n = 0; n < MODEL_WORDS; n++) {
			uint64_t word;

			memcpy(&word, d->data + (k << PAGE_SHIFT) + model_word_offset[n], 8);
			if (model_file_has(o, k, n) && word != o->word[k][n])
				world_differs(w, "file %u has %#llx in page %llu, the model %#llx", i,
					      (unsigned long long)word, (unsigned long long)k,
					      (unsigned long long)o->word[k][n]);
		}
	}
}

void world_end(struct world *w)
{
	w->op = NULL;
	for (unsigned int i = 0; i < WORLD_PINS; i++)
		unpin(&w->pins[i]);
	for (unsigned int i = 0; i < WORLD_SPACES; i++)
		if (w->space[i].mm)
			space_end(w, i);
	world_images_end(w);
	world_swap_end(w);
	for (unsigned int i = 0; i < MODEL_FILES; i++) {
		backing_put(&w->disk[i]->backing);
		if (w->disk[i]->releases != 1)
			world_differs(w, "file %u was released %u times", i, w->disk[i]->releases);
		compare_disk(w, i);
	}
	for (enum zone_type z = 0; z < NR_ZONES; z++)
		if (zone_check(&w->machine->frames, z, complain))
			world_differs(w, "zone_check found violations");
	if (sim_machine_free(w->machine))
		world_differs(w, "something was leaked");
	for (unsigned int i = 0; i < MODEL_FILES; i++)
		sim_disk_free(w->disk[i]);
	model_host_destroy(&w->model_host);
}

/* --- areas -------------------------------------------------------------------------------------------------------- */

/*
 * When an allocation may fail, an operation is kept within one area, so that it is done or not; then what the core says of a lack of
 * memory is believed.
 */
static uint64_t clip(struct model *m, const struct op *o, uint64_t page, uint64_t nr)
{
	if (!o->fail || !model_is_mapped(m, page))
		return o->fail ? 1 : nr;
	return min_u64(nr, model_area_end(m, page) - page);
}

static void do_mmap(struct world *w, const struct op *o, struct mm *mm, struct model *model)
{
	static const unsigned int place_flag[NR_PLACES] = {
		[PLACE_FIXED] = MAP_FIXED, [PLACE_NOREPLACE] = MAP_FIXED_NOREPLACE};
	struct model_map m = {.page = o->page, .nr = o->nr, .prot = o->prot, .place = o->place, .file = -1};
	struct mmap_request q = {.length = (o->nr << PAGE_SHIFT) - o->value % 4096, .prot = o->prot};
	int64_t got;

	m.shared = o->flavour == 5 || o->flavour == 7;
	m.file = o->flavour >= 6 ? (int)(o->value >> 20) % MODEL_FILES : -1;
	m.no_write = m.file >= 0 && m.shared && (o->value >> 24) % 4 == 0;
	m.flags =
		((o->value >> 28) % 16 == 0 ? VM_LOCKED : 0) | ((o->value >> 32) % 8 == 0 ? VM_NORESERVE : 0);
	m.grows_down = o->flavour == 0 && (o->value >> 40) % 4 == 0;
	m.populate = (o->value >> 36) % 16 == 0;
	m.pgoff = o->other_nr % 40;
	q.address = o->place == PLACE_ANYWHERE ? 0 : o->page << PAGE_SHIFT;
	q.flags = place_flag[o->place] | (m.shared ? MAP_SHARED : MAP_PRIVATE) |
		  (m.populate ? MAP_POPULATE : 0) | (m.grows_down ? MAP_GROWSDOWN : 0) |
		  (m.flags & VM_LOCKED ? MAP_LOCKED : 0) | (m.flags & VM_NORESERVE ? MAP_NORESERVE : 0);
	if (m.file < 0) {
		q.flags |= MAP_ANONYMOUS;
	} else {
		q.file = &w->disk[m.file]->backing;
		q.pgoff = m.pgoff;
		q.may_not_write = m.no_write;
	}
	got = mm_mmap(mm, &q);
	if (got == -ENOMEM && o->fail)
		return;
	world_same_result(w, got, model_mmap(model, &m));
}

static void do_mremap(struct world *w, const struct op *o, struct mm *mm, struct model *model)
{
	struct model_move v = {.old = o->page, .old_nr = o->nr, .new_nr = o->other_nr, .new = o->other};
	unsigned int flags;
	int64_t got;

	v.may_move = o->flavour != 0;
	v.fixed = o->flavour >= 4 && !o->fail;
	flags = (v.may_move ? MREMAP_MAYMOVE : 0) | (v.fixed ? MREMAP_FIXED : 0);
	if (!model_can_mremap(model, &v))
		return;
	got = mm_mremap(mm, v.old << PAGE_SHIFT, v.old_nr << PAGE_SHIFT, v.new_nr << PAGE_SHIFT, flags,
			v.new << PAGE_SHIFT);
	if (got == -ENOMEM && o->fail)
		return;
	world_same_result(w, got, model_mremap(model, &v));
}

static bool ran_out(const struct op *o, int result)
{
	return o->fail && (result == -ENOMEM || result == -EAGAIN);
}

static void do_mlock(struct world *w, const struct op *o, struct mm *mm, struct model *model)
{
	static const uint32_t lock[] = {VM_LOCKED, VM_LOCKED | VM_LOCKONFAULT, 0, 0};
	uint64_t nr = clip(model, o, o->page, o->nr), bytes = nr << PAGE_SHIFT;
	uint32_t flags = lock[o->flavour % ARRAY_SIZE(lock)];
	gva_t at = o->page << PAGE_SHIFT;
	int wanted, got = flags ? mm_mlock(mm, at, bytes, flags & VM_LOCKONFAULT ? MLOCK_ONFAULT : 0)
				: mm_munlock(mm, at, bytes);

	if (ran_out(o, got) && model_is_mapped(model, o->page)) {
		if ((vma_find(&mm->vmas, at)->flags & VM_LOCKED_MASK) == flags)
			model_mlock(model, o->page, nr, flags);
		world_resync(w, o->space);
		return;
	}
	wanted = model_mlock(model, o->page, nr, flags);
	if (flags && !wanted && model_populate(model, o->page, nr))
		wanted = -ENOMEM;
	world_same_result(w, got, wanted);
}

static void do_madvise(struct world *w, const struct op *o, struct mm *mm, struct model *model)
{
	static const int advices[] = {MADV_DONTNEED,	  MADV_DONTNEED,      MADV_DONTNEED,
				      MADV_FREE,	  MADV_REMOVE,	      MADV_DONTFORK,
				      MADV_DOFORK,	  MADV_DOFORK,	      MADV_WIPEONFORK,
				      MADV_KEEPONFORK,	  MADV_HUGEPAGE,      MADV_HUGEPAGE,
				      MADV_HUGEPAGE,	  MADV_COLLAPSE,      MADV_COLLAPSE,
				      MADV_NOHUGEPAGE,	  MADV_SEQUENTIAL,    MADV_NORMAL,
				      MADV_WILLNEED,	  MADV_PAGEOUT,	      MADV_COLD,
				      MADV_POPULATE_READ, MADV_POPULATE_WRITE};
	int advice = advices[o->value % ARRAY_SIZE(advices)], got;
	uint64_t nr = clip(model, o, o->page, o->nr);

	got = mm_madvise(mm, o->page << PAGE_SHIFT, nr << PAGE_SHIFT, advice);
	if (advice == MADV_FREE) /* the model has no words for what may vanish: nobody comes for it */
		atomic_store(&mm->memcg->ageing.nr_lazyfree, 0);
	if (advice == MADV_COLLAPSE) { /* what is there stays; whether it moves is not the model's business */
		world_resync(w, o->space);
		return;
	}
	if (ran_out(o, got) && model_is_mapped(model, o->page))
		world_resync(w, o->space);
	else
		world_same_result(w, got, model_madvise(model, o->page, nr, advice));
}

static void do_munmap(struct world *w, const struct op *o, struct mm *mm, struct model *model)
{
	uint64_t nr = clip(model, o, o->page, o->nr);
	int got = mm_munmap(mm, o->page << PAGE_SHIFT, nr << PAGE_SHIFT);

	if (!ran_out(o, got))
		world_same_result(w, got, model_munmap(model, o->page, nr));
}

static void do_mprotect(struct world *w, const struct op *o, struct mm *mm, struct model *model)
{
	uint64_t nr = clip(model, o, o->page, o->nr);
	int got = mm_mprotect(mm, o->page << PAGE_SHIFT, nr << PAGE_SHIFT, o->prot);

	if (!ran_out(o, got) || !model_is_mapped(model, o->page))
		world_same_result(w, got, model_mprotect(model, o->page, nr, o->prot));
}

static void do_brk(struct world *w, const struct op *o, struct mm *mm, struct model *model)
{
	gva_t brk = (WORLD_BREAK_PAGE << PAGE_SHIFT) + o->value % (WORLD_BREAK_HOT << PAGE_SHIFT), got;

	if (o->flavour == 0)
		brk = o->value % (WORLD_BREAK_PAGE << PAGE_SHIFT);
	got = mm_brk(mm, brk);
	if (o->fail && got == model->brk)
		return;
	world_same_result(w, (int64_t)got, (int64_t)model_brk(model, brk));
	world_resync(w, o->space); /* a heap in use has its next pages at once */
}

/* --- spaces ------------------------------------------------------------------------------------------------------- */

/* A number for a new space, or WORLD_SPACES. */
static unsigned int free_slot(const struct world *w)
{
	unsigned int slot = 0;

	while (slot < WORLD_SPACES && w->space[slot].mm)
		slot++;
	return slot;
}

static void do_fork(struct world *w, const struct op *o, unsigned int parent)
{
	unsigned int slot = free_slot(w);
	struct mm *child = NULL;
	int err;

	if (slot == WORLD_SPACES)
		return;
	err = mm_fork_ahead(w->space[parent].mm, o->value % 3 * 20, &child);
	if (err == -ENOMEM && o->fail)
		return;
	world_same_result(w, err, 0);
	if (err)
		return;
	w->space[slot].mm = child;
	if (!model_fork(&w->space[slot].model, &w->space[parent].model))
		_exit(3);
	cpu_enter(w, o->cpu, slot);
}

static void count_difference(void *ctx, gva_t address)
{
	(void)address;
	++*(unsigned int *)ctx;
}

/* A new space in the state of another one: 0, or the error. */
static int make_clone(struct world *w, const struct op *o, unsigned int from, struct memcg *account,
		      struct mm **clone, struct model *model)
{
	unsigned int differences = 0;
	int err = mm_clone(w->space[from].mm, account, clone);

	if (err == -ENOMEM && o->fail)
		return err;
	world_same_result(w, err, 0);
	if (err)
		return err;
	if (!model_clone(model, &w->space[from].model))
		_exit(3);
	mm_diff(*clone, w->space[from].mm, count_difference, &differences);
	if (differences)
		world_differs(w, "%u pages of a clone differ", differences);
	return 0;
}

static void do_clone(struct world *w, const struct op *o, unsigned int from)
{
	unsigned int slot = free_slot(w);

	if (slot < WORLD_SPACES && !make_clone(w, o, from, NULL, &w->space[slot].mm, &w->space[slot].model))
		cpu_enter(w, o->cpu, slot);
}

/* A space goes back, or over, to what another one is, on the account that it has. */
static void do_reset(struct world *w, const struct op *o, unsigned int space)
{
	unsigned int from = w->cpu_space[o->cpu];
	struct model model;
	struct mm *clone;

	if (from == space || make_clone(w, o, from, w->space[space].mm->memcg, &clone, &model))
		return;
	space_end(w, space);
	w->space[space].mm = clone;
	w->space[space].model = model;
	cpu_enter(w, o->cpu, space);
}

static void do_restore(struct world *w, const struct op *o, unsigned int from)
{
	unsigned int slot = free_slot(w);
	struct mm *mm = slot < WORLD_SPACES ? world_restore(w, o, w->space[from].mm) : NULL;

	if (!mm)
		return;
	w->space[slot].mm = mm;
	if (!model_restore(&w->space[slot].model, &w->space[from].model))
		_exit(3);
	world_resync(w, slot); /* which areas have pages of their own */
	world_same_areas(w, slot);
	cpu_enter(w, o->cpu, slot);
}

/* --- access from outside ------------------------------------------------------------------------------------------ */

static void do_copy(struct world *w, const struct op *o, unsigned int space, bool to_user)
{
	uint64_t core_value = o->value, model_value = o->value;
	gva_t address = (o->page << PAGE_SHIFT) + model_word_offset[o->word];
	struct mm *mm = w->space[space].mm;
	size_t left = to_user ? copy_to_user(mm, address, &core_value, 8)
			      : copy_from_user(mm, &core_value, address, 8);
	struct fault_signal sig;

	if (left && o->fail) {
		world_resync_stack(w, space, o->page);
		world_resync(w, space);
		return;
	}
	sig = model_access(&w->space[space].model, to_user ? SIM_STORE : SIM_LOAD, o->page, o->word,
			   &model_value);
	world_same_result(w, (int64_t)left, sig.signo ? 8 : 0);
	if (!left && core_value != model_value)
		world_differs(w, "copied %#llx, the model has %#llx", (unsigned long long)core_value,
			      (unsigned long long)model_value);
}

static void do_pin(struct world *w, const struct op *o, unsigned int space)
{
	struct world_pin *p = &w->pins[o->flavour % WORLD_PINS];
	struct model *m = &w->space[space].model;
	struct iovec iov = {(void *)(o->page << PAGE_SHIFT), (1 + o->nr % WORLD_PIN_PAGES) << PAGE_SHIFT};
	unsigned int n = 0;

	if (p->nr)
		return;
	p->write = o->prot & PROT_WRITE;
	if (user_pin(w->space[space].mm, &iov, 1, 0, p->write, &p->pin)) {
		p->pin.nr_pages = 0;
		if (o->fail) {
			world_resync_stack(w, space, o->page);
			world_resync(w, space);
			return;
		}
	}
	for (; n < iov.iov_len >> PAGE_SHIFT; n++) {
		uint64_t page = o->page + n;
		struct model_page *q = model_page(m, page);

		if (o->fail && n == p->pin.nr_pages) {
			world_resync_stack(w, space, page);
			break;
		}
		if (!q || (!q->mapped && !model_grow_stack(m, page)) ||
		    model_touch(m, page, p->write ? SIM_STORE : SIM_LOAD))
			break;
		if (p->write)
			p->name[n] = model_pin(m, page);
	}
	if (o->fail)
		world_resync(w, space);
	world_same_result(w, p->pin.nr_pages, n);
	p->nr = n;
	p->mm = w->space[space].mm;
}

static void do_pin_write(struct world *w, const struct op *o)
{
	struct world_pin *p = &w->pins[o->flavour % WORLD_PINS];
	unsigned int n = p->nr ? (unsigned int)o->nr % p->nr : 0;
	char *frame;

	if (!p->nr || !p->write || !model_pin_has(&w->model_host, p->name[n], o->word))
		return;
	frame = page_address(&w->machine->frames, p->pin.pages[n]);
	memcpy(frame + model_word_offset[o->word], &o->value, 8);
	for (unsigned int i = 0; i < WORLD_SPACES; i++)
		if (w->space[i].mm)
			model_write_pinned(&w->space[i].model, p->name[n], o->word, o->value);
	model_write_pinned_object(&w->model_host, p->name[n], o->word, o->value);
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static void do_file_write(struct world *w, const struct op *o)
{
	struct model_object *f = &w->model_host.files[o->flavour % MODEL_FILES];
	struct address_space *as = &f->disk->backing.cache;
	uint64_t page = o->nr % MODEL_FILE_PAGES, at = (page << PAGE_SHIFT) + model_word_offset[o->word];

	if (!model_file_has(f, page, o->word))
		return;
	pthread_rwlock_wrlock(&as->io_lock);
	pthread_mutex_lock(&f->disk->lock);
	memcpy(f->disk->data + at, &o->value, 8);
	pthread_mutex_unlock(&f->disk->lock);
	filemap_refresh(as, at, at + 8);
	pthread_rwlock_unlock(&as->io_lock);
	f->word[page][o->word] = o->value;
}

static void set_disk_size(struct sim_disk *d, uint64_t bytes)
{
	pthread_mutex_lock(&d->lock);
	if (bytes < d->bytes)
		memset(d->data + bytes, 0, d->bytes - bytes);
	d->bytes = bytes;
	pthread_mutex_unlock(&d->lock);
}

static void do_truncate(struct world *w, const struct op *o)
{
	static const uint64_t tail[] = {0, 24, 2048};
	struct model_object *f = &w->model_host.files[o->flavour % MODEL_FILES];
	struct address_space *as = &f->disk->backing.cache;
	uint64_t old = f->bytes,
		 bytes = (o->value % (MODEL_FILE_PAGES - 1) << PAGE_SHIFT) + tail[o->prot % 3];
	struct model *m[WORLD_SPACES];
	unsigned int nr = 0;

	pthread_rwlock_wrlock(&as->io_lock);
	set_disk_size(f->disk, bytes);
	if (bytes < old)
		truncate_pagecache(as, bytes);
	if (bytes > old)
		filemap_refresh(as, old, min_u64(bytes, page_align_up(old)));
	pthread_rwlock_unlock(&as->io_lock);
	for (unsigned int i = 0; i < WORLD_SPACES; i++)
		if (w->space[i].mm)
			m[nr++] = &w->space[i].model;
	model_truncate(f, bytes, m, nr);
}

/* Now and then the disk refuses. */
static void do_sync(struct world *w, const struct op *o, struct mm *mm)
{
	struct sim_disk *d = w->disk[o->flavour % MODEL_FILES];
	int err;

	d->write_error = o->value % 4 ? 0 : -EIO;
	w->wrote_badly |= d->write_error != 0;
	if (o->prot & 1)
		err = writeback_sync(&d->backing.cache, 0, ~0ull);
	else
		err = mm_msync(mm, o->page << PAGE_SHIFT, o->nr << PAGE_SHIFT, MS_SYNC);
	d->write_error = 0;
	if (err && err != -ENOMEM && !(err == -EIO && w->wrote_badly))
		world_differs(w, "writing back fails with %d", err);
}

/* --- frames ------------------------------------------------------------------------------------------------------- */

static void do_migrate(struct world *w, const struct op *o, struct mm *mm)
{
	struct frames *f = &w->machine->frames;
	struct page *from = world_frame(mm, o->page), *to;

	if (!from || !page_get_unless_zero(from))
		return;
	to = page_alloc(f, GFP_USER, 0);
	if (to && page_migrate(&w->machine->host, from, to))
		page_put(f, to);
	page_put(f, from);
}

static void do_compact(struct world *w, const struct op *o)
{
	struct zone *z = node_zone(&w->machine->frames, 0, ZONE_NORMAL);

	compact_zone(&w->machine->frames, z, 4 + o->flavour % 6, COMPACT_PRIO_SYNC_FULL);
}

static bool can_write(struct world *w, const struct op *o, unsigned int space)
{
	struct model_page *p = model_page(&w->space[space].model, o->page);

	/* What is stored behind the end of a file is anybody's guess. */
	return !p || !p->mapped || !p->object || !p->shared || model_file_has(p->object, p->pgoff, o->word) ||
	       p->pgoff >= BYTES_TO_PAGES(p->object->bytes);
}

static void op_do(struct world *w, const struct op *o, unsigned int space)
{
	struct mm *mm = w->space[space].mm;
	struct model *model = &w->space[space].model;

	switch (o->kind) {
	case OP_MMAP:
		do_mmap(w, o, mm, model);
		break;
	case OP_MUNMAP:
		do_munmap(w, o, mm, model);
		break;
	case OP_MPROTECT:
		do_mprotect(w, o, mm, model);
		break;
	case OP_MADVISE:
		do_madvise(w, o, mm, model);
		break;
	case OP_MLOCK:
		do_mlock(w, o, mm, model);
		break;
	case OP_MREMAP:
		do_mremap(w, o, mm, model);
		break;
	case OP_BRK:
		do_brk(w, o, mm, model);
		break;
	case OP_LOAD:
	case OP_FETCH:
		world_access(w, o->kind == OP_LOAD ? SIM_LOAD : SIM_FETCH, o->page, o->word, o->cpu, 0);
		break;
	case OP_STORE:
		if (can_write(w, o, w->cpu_space[o->cpu]))
			world_access(w, SIM_STORE, o->page, o->word, o->cpu, o->value);
		break;
	case OP_COPY_FROM:
		do_copy(w, o, space, false);
		break;
	case OP_COPY_TO:
		if (can_write(w, o, space))
			do_copy(w, o, space, true);
		break;
	case OP_SWITCH:
		cpu_enter(w, o->cpu, space);
		break;
	case OP_FORK:
		do_fork(w, o, space);
		break;
	case OP_CLONE:
		do_clone(w, o, space);
		break;
	case OP_RESET:
		do_reset(w, o, space);
		break;
	case OP_RESTORE:
		do_restore(w, o, space);
		break;
	case OP_EXIT:
		if (nr_spaces(w) > 1)
			space_end(w, space);
		break;
	case OP_PIN:
		do_pin(w, o, space);
		break;
	case OP_PIN_WRITE:
		do_pin_write(w, o);
		break;
	case OP_UNPIN:
		unpin(&w->pins[o->flavour % WORLD_PINS]);
		break;
	case OP_FILE_WRITE:
		do_file_write(w, o);
		break;
	case OP_FILE_TRUNCATE:
		do_truncate(w, o);
		break;
	case OP_SYNC:
		do_sync(w, o, mm);
		break;
	case OP_MIGRATE:
		do_migrate(w, o, mm);
		break;
	case OP_COMPACT:
		do_compact(w, o);
		break;
	case OP_SWAP_OUT:
		world_swap_out(w, o, mm);
		break;
	case OP_SWAP_OFF:
		world_swap_off(w, o);
		break;
	case OP_SWAP_ERRORS:
		world_swap_errors(w, o);
		break;
	default:
		filemap_drop(&w->disk[o->flavour % MODEL_FILES]->backing.cache, 0, ~0ull);
		break;
	}
}

void op_run(struct world *w, const struct op *o)
{
	struct frames *f = &w->machine->frames;
	uint64_t failed = atomic_load(&f->nr_fail);
	struct op now = *o;

	now.space = some_space(w, o->kind <= OP_BRK || o->kind > OP_FETCH ? o->space : w->cpu_space[o->cpu]);
	w->op = &now;
	atomic_store(&f->fail_in, (long)o->fail);
	op_do(w, &now, now.space);
	atomic_store(&f->fail_in, 0);
	if (atomic_load(&f->nr_fail) != failed) {
		w->nr_fails++;
		if (w->space[now.space].mm)
			world_resync(w, now.space);
	}
	w->op = o;
}
