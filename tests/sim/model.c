/* SPDX-License-Identifier: MIT */
/* model.c - the areas of the naive address space. See model.h. Everything is a loop over pages. */
#include "model.h"

#define GAP_PAGES    (STACK_GUARD_GAP >> PAGE_SHIFT)

#define BREAK_PAGES  600
#define BEFORE_BREAK 64
#define WINDOW_PAGES 4096
#define ABOVE_PAGES  256 /* that growth in place may use above mmap_base */
#define STACK_SPAN   1200

static bool stretch_init(struct model_stretch *s, uint64_t first, uint64_t nr)
{
	s->first = first;
	s->nr = nr;
	s->page = calloc(nr, sizeof(*s->page));
	return s->page;
}

bool model_init(struct model *m, struct model_host *h, const struct mm *mm)
{
	memset(m, 0, sizeof(*m));
	m->host = h;
	m->start_brk = m->brk = mm->start_brk;
	m->min_page = mm->mmap_min_addr >> PAGE_SHIFT;
	m->base_page = mm->mmap_base >> PAGE_SHIFT;
	return stretch_init(&m->stretch[MODEL_BREAK], (mm->start_brk >> PAGE_SHIFT) - BEFORE_BREAK,
			    BREAK_PAGES) &&
	       stretch_init(&m->stretch[MODEL_WINDOW], m->base_page - WINDOW_PAGES,
			    WINDOW_PAGES + ABOVE_PAGES) &&
	       stretch_init(&m->stretch[MODEL_STACK], (mm->task_size >> PAGE_SHIFT) - STACK_SPAN, STACK_SPAN);
}

void model_destroy(struct model *m)
{
	for (unsigned int i = 0; i < MODEL_STRETCHES; i++)
		free(m->stretch[i].page);
	memset(m, 0, sizeof(*m));
}

struct model_page *model_page(struct model *m, uint64_t page)
{
	for (unsigned int i = 0; i < MODEL_STRETCHES; i++) {
		struct model_stretch *s = &m->stretch[i];

		if (page >= s->first && page < s->first + s->nr)
			return &s->page[page - s->first];
	}
	return NULL;
}

bool model_is_mapped(struct model *m, uint64_t page)
{
	struct model_page *p = model_page(m, page);

	return p && p->mapped;
}

uint64_t model_mapped_pages(struct model *m)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < MODEL_STRETCHES; i++) {
		for (uint64_t k = 0; k < m->stretch[i].nr; k++)
			n += m->stretch[i].page[k].mapped;
	}
	return n;
}

uint64_t model_area_end(struct model *m, uint64_t page)
{
	for (page++; model_is_mapped(m, page) && model_page(m, page)->joined; page++)
		;
	return page;
}

#define NO_PAGE ~0ull

/* The first mapped page at or above `page`. */
static uint64_t next_mapped(struct model *m, uint64_t page)
{
	for (unsigned int i = 0; i < MODEL_STRETCHES; i++) {
		struct model_stretch *s = &m->stretch[i];

		for (uint64_t at = max_u64(page, s->first); at < s->first + s->nr; at++) {
			if (s->page[at - s->first].mapped)
				return at;
		}
	}
	return NO_PAGE;
}

/* The last mapped page below `page`. */
static uint64_t prev_mapped(struct model *m, uint64_t page)
{
	for (unsigned int i = MODEL_STRETCHES; i-- > 0;) {
		struct model_stretch *s = &m->stretch[i];

		for (uint64_t at = min_u64(page, s->first + s->nr); at-- > s->first;) {
			if (s->page[at - s->first].mapped)
				return at;
		}
	}
	return NO_PAGE;
}

static bool is_free(struct model *m, uint64_t page, uint64_t nr)
{
	uint64_t next = next_mapped(m, page);

	return next == NO_PAGE || page + nr <= next;
}

/* Free, and clear of the guard gap of the area behind. */
static bool fits(struct model *m, uint64_t page, uint64_t nr)
{
	uint64_t next = next_mapped(m, page);

	return next == NO_PAGE || page + nr + (model_page(m, next)->grows_down ? GAP_PAGES : 0) <= next;
}

/* Top down below mmap_base. 0: nowhere. */
static uint64_t find_room(struct model *m, uint64_t nr)
{
	struct model_stretch *s = &m->stretch[MODEL_WINDOW];
	uint64_t end = m->base_page;
	uint64_t above = next_mapped(m, m->base_page);

	if (above != NO_PAGE &&
	    !(model_is_mapped(m, above) && model_page(m, above)->joined && above == m->base_page) &&
	    model_page(m, above)->grows_down && above - GAP_PAGES < end)
		end = above - GAP_PAGES;
	for (uint64_t at = m->base_page; at-- > s->first;) {
		struct model_page *p = &s->page[at - s->first];

		if (p->mapped) {
			uint64_t gap = p->grows_down && !model_is_mapped(m, at - 1) ? GAP_PAGES : 0;

			end = at - min_u64(gap, at);
		} else if (end >= at && end - at >= nr) {
			return end - nr;
		}
	}
	return 0;
}

/* --- areas ------------------------------------------------------------------------------------------------------- */

static bool same_kind(const struct model_page *a, const struct model_page *b)
{
	return a->mapped && b->mapped && a->prot == b->prot && a->shared == b->shared &&
	       a->no_write == b->no_write && a->flags == b->flags && a->grows_down == b->grows_down &&
	       a->account == b->account && a->object == b->object && a->pgoff + 1 == b->pgoff;
}

static bool same_anon(const struct model_page *a, const struct model_page *b)
{
	if (a->anon && b->anon)
		return a->anon == b->anon;
	return !(a->anon ? a : b)->deep;
}

static uint64_t area_start(struct model *m, uint64_t page)
{
	while (model_page(m, page)->joined)
		page--;
	return page;
}

static void set_anon(struct model *m, uint64_t page, unsigned int anon, bool deep)
{
	uint64_t end = model_area_end(m, page);

	for (uint64_t at = area_start(m, page); at < end; at++) {
		model_page(m, at)->anon = anon;
		model_page(m, at)->deep = deep;
	}
}

/* The family of a neighbour that differs in protection alone; 0: it has none or is another kind. */
static unsigned int kin(struct model_page *a, struct model_page *b, const struct model_page *neighbour)
{
	struct model_page like_b;

	if (!a || !b)
		return 0;
	like_b = *b;
	like_b.prot = a->prot;
	return same_kind(a, &like_b) && !neighbour->deep ? neighbour->anon : 0;
}

/* The first private page is about to come. */
static void prepare_anon(struct model *m, uint64_t page)
{
	uint64_t start = area_start(m, page), end = model_area_end(m, page);
	unsigned int anon = kin(model_page(m, end - 1), model_page(m, end), model_page(m, end));

	if (!anon)
		anon = kin(model_page(m, start - 1), model_page(m, start), model_page(m, start - 1));
	set_anon(m, page, anon ? anon : ++m->host->nr_anons, false);
}

void model_set_anon(struct model *m, uint64_t page, bool anon)
{
	if (!anon)
		set_anon(m, page, 0, false);
	else if (!model_page(m, page)->anon)
		prepare_anon(m, page);
}

/* Joins the areas that meet at `page`, if they are of one kind. */
static void merge_at(struct model *m, uint64_t page)
{
	struct model_page *a = model_page(m, page - 1), *b = model_page(m, page);

	if (!a || !b || !same_kind(a, b) || !same_anon(a, b))
		return;
	b->joined = true;
	a = a->anon ? a : b;
	set_anon(m, page, a->anon, a->deep);
}

static void split_at(struct model *m, uint64_t page)
{
	struct model_page *p = model_page(m, page);

	if (p)
		p->joined = false;
}

static void unmap(struct model *m, uint64_t page, uint64_t nr)
{
	for (uint64_t i = 0; i < nr; i++) {
		struct model_page *p = model_page(m, page + i);

		if (p)
			memset(p, 0, sizeof(*p));
	}
	split_at(m, page + nr);
}

int model_munmap(struct model *m, uint64_t page, uint64_t nr)
{
	if (!nr)
		return -EINVAL;
	unmap(m, page, nr);
	return 0;
}

static void map(struct model *m, uint64_t page, uint64_t nr, const struct model_page *kind)
{
	unmap(m, page, nr);
	for (uint64_t i = 0; i < nr; i++) {
		struct model_page *p = model_page(m, page + i);

		*p = *kind;
		p->mapped = true;
		p->joined = i > 0;
		p->pgoff = kind->pgoff + i;
	}
	merge_at(m, page);
	merge_at(m, page + nr);
}

int64_t model_mmap(struct model *m, const struct model_map *r)
{
	struct model_page kind = {.prot = (uint8_t)r->prot, .shared = r->shared, .grows_down = r->grows_down};
	uint64_t at = r->page;

	if (!r->nr)
		return -EINVAL;
	kind.flags = r->flags;
	kind.account = !r->shared && (r->prot & PROT_WRITE) && !(r->flags & VM_NORESERVE);
	kind.no_write = r->shared && r->no_write;
	if (r->place == PLACE_NOREPLACE) {
		uint64_t next = next_mapped(m, at);

		if (next != NO_PAGE && next < at + r->nr)
			return -EEXIST;
	}
	if (r->place == PLACE_ANYWHERE || (r->place == PLACE_HINT && !fits(m, at, r->nr)))
		at = find_room(m, r->nr);
	if (!at)
		return -ENOMEM;
	if (kind.no_write && (r->prot & PROT_WRITE))
		return -EACCES;
	if (r->file >= 0) {
		kind.object = &m->host->files[r->file];
		kind.pgoff = r->pgoff;
	} else if (r->shared) {
		kind.object = model_object_new(m->host, r->nr);
	} else {
		kind.pgoff = at;
	}
	map(m, at, r->nr, &kind);
	if ((r->flags & VM_LOCKED) || r->populate)
		model_populate(m, at, r->nr);
	return (int64_t)(at << PAGE_SHIFT);
}

int model_mprotect(struct model *m, uint64_t page, uint64_t nr, unsigned int prot)
{
	uint64_t end = page + nr;

	while (page < end) {
		struct model_page *p = model_page(m, page);
		uint64_t stop;

		if (!p || !p->mapped)
			return -ENOMEM;
		stop = min_u64(end, model_area_end(m, page));
		if (p->no_write && (prot & PROT_WRITE))
			return -EACCES;
		if (p->prot != prot) {
			bool will_be_had = (p->flags & VM_LOCKED) && !p->shared && !(p->prot & PROT_WRITE) &&
					   (prot & PROT_WRITE);

			split_at(m, page);
			split_at(m, stop);
			for (uint64_t i = page; i < stop; i++) {
				struct model_page *q = model_page(m, i);

				q->prot = (uint8_t)prot;
				if (prot & PROT_WRITE)
					q->account |= !q->shared && !(q->flags & VM_NORESERVE);
				else if (!q->object && !q->anon)
					q->account = false;
			}
			merge_at(m, page);
			merge_at(m, stop);
			if (will_be_had)
				model_populate(m, page, stop - page);
		}
		page = stop;
	}
	return 0;
}

/* --- flags of areas ----------------------------------------------------------------------------------------------- */

/* Gives the part [page, stop) of one area other flags. */
static void set_flags(struct model *m, uint64_t page, uint64_t stop, uint32_t flags)
{
	if (model_page(m, page)->flags == flags)
		return;
	split_at(m, page);
	split_at(m, stop);
	for (uint64_t i = page; i < stop; i++)
		model_page(m, i)->flags = flags;
	merge_at(m, page);
	merge_at(m, stop);
}

int model_mlock(struct model *m, uint64_t page, uint64_t nr, uint32_t flags)
{
	uint64_t end = page + nr, stop;

	for (; page < end; page = stop) {
		struct model_page *p = model_page(m, page);

		if (!p || !p->mapped)
			return -ENOMEM;
		stop = min_u64(end, model_area_end(m, page));
		set_flags(m, page, stop, (p->flags & ~(uint32_t)VM_LOCKED_MASK) | flags);
	}
	return 0;
}

static int advised_flags(const struct model_page *p, int advice, uint32_t *flags)
{
	*flags = p->flags;
	switch (advice) {
	case MADV_DONTFORK:
		*flags |= VM_DONTCOPY;
		return 0;
	case MADV_DOFORK:
		*flags &= ~(uint32_t)VM_DONTCOPY;
		return 0;
	case MADV_WIPEONFORK:
		*flags |= VM_WIPEONFORK;
		return p->object ? -EINVAL : 0;
	case MADV_KEEPONFORK:
		*flags &= ~(uint32_t)VM_WIPEONFORK;
		return 0;
	case MADV_SEQUENTIAL:
		*flags = (*flags & ~(uint32_t)VM_RAND_READ) | VM_SEQ_READ;
		return 0;
	case MADV_NORMAL:
		*flags &= ~(uint32_t)(VM_RAND_READ | VM_SEQ_READ);
		return 0;
	case MADV_HUGEPAGE:
		*flags = (*flags & ~(uint32_t)VM_NOHUGEPAGE) | VM_HUGEPAGE;
		return 0;
	default: /* MADV_NOHUGEPAGE */
		*flags = (*flags & ~(uint32_t)VM_HUGEPAGE) | VM_NOHUGEPAGE;
		return 0;
	}
}

static int advise_part(struct model *m, uint64_t page, uint64_t stop, int advice)
{
	struct model_page *p = model_page(m, page);
	uint32_t flags = 0;
	int err;

	switch (advice) {
	case MADV_DONTNEED:
		for (uint64_t i = page; i < stop && !(p->flags & VM_LOCKED); i++)
			model_forget(model_page(m, i));
		return p->flags & VM_LOCKED ? -EINVAL : 0;
	case MADV_FREE:
		return (p->flags & VM_LOCKED) || p->object ? -EINVAL : 0;
	case MADV_REMOVE:
		if ((p->flags & VM_LOCKED) || !p->object)
			return -EINVAL;
		if (!p->shared || p->no_write)
			return -EACCES;
		model_punch(p->object, p->pgoff, stop - page);
		return 0;
	case MADV_COLD:
	case MADV_PAGEOUT:
		return p->flags & VM_LOCKED ? -EINVAL : 0;
	case MADV_WILLNEED:
		return 0;
	default:
		err = advised_flags(p, advice, &flags);
		if (!err)
			set_flags(m, page, stop, flags);
		return err;
	}
}

int model_madvise(struct model *m, uint64_t page, uint64_t nr, int advice)
{
	uint64_t end = page + nr;
	int err, hole = 0;

	if (advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE)
		return model_populate_for(m, page, nr, advice == MADV_POPULATE_WRITE);
	while (page < end) {
		uint64_t stop;

		if (!model_is_mapped(m, page)) {
			hole = -ENOMEM;
			page++;
			continue;
		}
		stop = min_u64(end, model_area_end(m, page));
		err = advise_part(m, page, stop, advice);
		if (err)
			return err;
		page = stop;
	}
	return hole;
}

gva_t model_brk(struct model *m, gva_t brk)
{
	uint64_t old = BYTES_TO_PAGES(m->brk), new = BYTES_TO_PAGES(brk);

	if (brk < m->start_brk)
		return m->brk;
	if (new > old) {
		struct model_page heap = {.prot = PROT_READ | PROT_WRITE, .account = true, .pgoff = old};

		if (!fits(m, old, new - old + 1))
			return m->brk;
		map(m, old, new - old, &heap);
	} else if (new < old) {
		unmap(m, new, old - new);
	}
	m->brk = brk;
	return brk;
}

/* --- mremap ------------------------------------------------------------------------------------------------------ */

static bool in_one_stretch(struct model *m, uint64_t page, uint64_t nr)
{
	for (unsigned int i = 0; i < MODEL_STRETCHES; i++) {
		struct model_stretch *s = &m->stretch[i];

		if (page >= s->first && page + nr <= s->first + s->nr)
			return true;
	}
	return false;
}

static bool overlap(const struct model_move *v)
{
	return v->old + v->old_nr > v->new && v->new + v->new_nr > v->old;
}

bool model_can_mremap(struct model *m, const struct model_move *v)
{
	struct model_page *p = model_page(m, v->old);

	if (!p || !v->old_nr || !v->new_nr || !in_one_stretch(m, v->old, v->old_nr))
		return false;
	if (v->fixed && (!in_one_stretch(m, v->new, v->new_nr) || (!p->mapped && overlap(v))))
		return false;
	if (v->new_nr <= v->old_nr)
		return true;
	return in_one_stretch(m, v->old, v->new_nr) && !(p->mapped && p->object && !p->object->disk);
}

static int64_t move_pages(struct model *m, uint64_t old, uint64_t old_nr, uint64_t new, uint64_t new_nr)
{
	struct model_page first = *model_page(m, old);
	struct model_page *copy = calloc(new_nr, sizeof(*copy));

	for (uint64_t i = 0; i < new_nr; i++) {
		copy[i] = i < old_nr ? *model_page(m, old + i) : first;
		if (i >= old_nr)
			model_forget(&copy[i]);
		copy[i].pgoff = (first.object || first.anon ? first.pgoff : new) + i;
		copy[i].joined = i > 0;
	}
	unmap(m, new, new_nr);
	for (uint64_t i = 0; i < new_nr; i++)
		*model_page(m, new + i) = copy[i];
	free(copy);
	unmap(m, old, old_nr);
	merge_at(m, new);
	merge_at(m, new + new_nr);
	return (int64_t)(new << PAGE_SHIFT);
}

static int64_t grow_here(struct model *m, const struct model_move *v)
{
	for (uint64_t i = v->old + v->old_nr; i < v->old + v->new_nr; i++) {
		struct model_page *p = model_page(m, i);

		*p = *model_page(m, i - 1);
		p->pgoff++;
		p->joined = true;
		model_forget(p);
	}
	merge_at(m, v->old + v->new_nr);
	return (int64_t)(v->old << PAGE_SHIFT);
}

/* All areas of a range, with the holes between them. */
static int64_t move_range(struct model *m, const struct model_move *v)
{
	uint64_t page = v->old, end = v->old + v->old_nr;

	while (page < end) {
		uint64_t stop = page + 1;

		if (model_is_mapped(m, page)) {
			stop = min_u64(end, model_area_end(m, page));
			unmap(m, v->new + (page - v->old), stop - page);
			move_pages(m, page, stop - page, v->new + (page - v->old), stop - page);
		}
		page = stop;
	}
	return (int64_t)(v->new << PAGE_SHIFT);
}

static int64_t do_mremap(struct model *m, const struct model_move *v)
{
	uint64_t old_nr = v->old_nr, new = v->new;

	if (v->fixed && overlap(v))
		return -EINVAL;
	if (!model_is_mapped(m, v->old))
		return -EFAULT;
	if (v->fixed && v->old_nr == v->new_nr)
		return move_range(m, v);
	if ((v->fixed || v->new_nr > old_nr) &&
	    v->old + min_u64(old_nr, v->new_nr) > model_area_end(m, v->old))
		return -EFAULT;
	if (v->fixed) {
		unmap(m, v->new, v->new_nr);
	}
	if (old_nr > v->new_nr) {
		unmap(m, v->old + v->new_nr, old_nr - v->new_nr);
		old_nr = v->new_nr;
	}
	if (old_nr == v->new_nr && !v->fixed)
		return (int64_t)(v->old << PAGE_SHIFT);
	if (!v->fixed) {
		if (v->old + old_nr == model_area_end(m, v->old) &&
		    is_free(m, v->old + old_nr, v->new_nr - old_nr))
			return grow_here(m, v);
		if (!v->may_move)
			return -ENOMEM;
		new = find_room(m, v->new_nr);
		if (!new)
			return -ENOMEM;
	}
	return move_pages(m, v->old, old_nr, new, v->new_nr);
}

int64_t model_mremap(struct model *m, const struct model_move *v)
{
	int64_t result = do_mremap(m, v);

	if (result >= 0 && v->new_nr > v->old_nr) {
		uint64_t page = (uint64_t)result >> PAGE_SHIFT;

		if (model_page(m, page)->flags & VM_LOCKED)
			model_populate(m, page + v->old_nr, v->new_nr - v->old_nr);
	}
	return result;
}

/* --- stacks ------------------------------------------------------------------------------------------------------ */

/* Grows a stack down to `page` if there is one that may. */
bool model_grow_stack(struct model *m, uint64_t page)
{
	uint64_t first = next_mapped(m, page), prev = prev_mapped(m, page);
	struct model_page *p = first == NO_PAGE ? NULL : model_page(m, first);

	if (!p || !p->grows_down || model_area_end(m, first) - page > MODEL_STACK_PAGES || page < m->min_page)
		return false;
	if (prev != NO_PAGE && !model_page(m, prev)->grows_down && model_page(m, prev)->prot &&
	    page < prev + 1 + GAP_PAGES)
		return false;
	for (uint64_t at = first; at-- > page;) {
		struct model_page *q = model_page(m, at);

		*q = *p;
		model_forget(q);
		q->pgoff = p->pgoff - (first - at);
		q->joined = at > page;
	}
	p->joined = true;
	return true;
}

/* --- forks ------------------------------------------------------------------------------------------------------- */

/* An area of the parent as its child has it. */
static void fork_area(struct model *m, uint64_t page, uint64_t end)
{
	struct model_page area = *model_page(m, page);
	bool wipe = area.flags & VM_WIPEONFORK;

	if (area.flags & VM_DONTCOPY) {
		unmap(m, page, end - page);
		return;
	}
	for (uint64_t i = page; i < end; i++) {
		struct model_page *p = model_page(m, i);

		p->flags &= ~(uint32_t)VM_LOCKED_MASK;
		p->pin = 0;
		if (wipe)
			model_forget(p);
	}
	if (area.anon && !wipe)
		set_anon(m, page, ++m->host->nr_anons, true);
	else
		set_anon(m, page, 0, false);
}

/* And as a clone has it: with everything but what calls hold of it. */
static void clone_area(struct model *m, uint64_t page, uint64_t end)
{
	bool anon = model_page(m, page)->anon;

	for (uint64_t i = page; i < end; i++)
		model_page(m, i)->pin = 0;
	set_anon(m, page, anon ? ++m->host->nr_anons : 0, anon);
}

static bool copy_areas(struct model *child, struct model *parent,
		       void (*area)(struct model *m, uint64_t page, uint64_t end))
{
	*child = *parent;
	for (unsigned int i = 0; i < MODEL_STRETCHES; i++) {
		struct model_stretch *s = &child->stretch[i];

		if (!stretch_init(s, s->first, s->nr))
			return false;
		memcpy(s->page, parent->stretch[i].page, s->nr * sizeof(*s->page));
	}
	for (uint64_t page = next_mapped(child, 0), end; page != NO_PAGE; page = next_mapped(child, end)) {
		end = model_area_end(child, page);
		area(child, page, end);
	}
	return true;
}

bool model_fork(struct model *child, struct model *parent)
{
	return copy_areas(child, parent, fork_area);
}

bool model_clone(struct model *clone, struct model *from)
{
	return copy_areas(clone, from, clone_area);
}

/* Mapped anew, so areas join that did not because of what had happened in them. */
static void restore_area(struct model *m, uint64_t page, uint64_t end)
{
	set_anon(m, page, 0, false);
	for (uint64_t i = page; i < end; i++) {
		struct model_page *p = model_page(m, i);

		p->pin = 0;
		p->account = !p->shared && (p->prot & PROT_WRITE) && !(p->flags & VM_NORESERVE);
		if (!p->object)
			p->pgoff = i;
	}
	merge_at(m, page);
}

bool model_restore(struct model *m, struct model *from)
{
	return copy_areas(m, from, restore_area);
}
