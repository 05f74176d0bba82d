/* SPDX-License-Identifier: MIT */
/* model.c - the naive address space. See model.h. Everything is a loop over pages. */
#include "model.h"

#define GAP_PAGES    (STACK_GUARD_GAP >> PAGE_SHIFT)

#define BREAK_PAGES  600
#define BEFORE_BREAK 64
#define WINDOW_PAGES 4096
#define ABOVE_PAGES  256 /* that growth in place may use above mmap_base */
#define STACK_SPAN   1200

const uint16_t model_word_offset[MODEL_WORDS] = {16, 4080};

static bool stretch_init(struct model_stretch *s, uint64_t first, uint64_t nr)
{
	s->first = first;
	s->nr = nr;
	s->page = calloc(nr, sizeof(*s->page));
	return s->page;
}

bool model_init(struct model *m, const struct mm *mm, struct sim_file files[MODEL_FILES])
{
	memset(m, 0, sizeof(*m));
	m->start_brk = m->brk = mm->start_brk;
	m->min_page = mm->mmap_min_addr >> PAGE_SHIFT;
	m->base_page = mm->mmap_base >> PAGE_SHIFT;
	for (unsigned int i = 0; i < MODEL_FILES; i++)
		m->files[i].file = &files[i];
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
	for (unsigned int i = 0; i < m->nr_objects; i++) {
		free(m->objects[i]->word);
		free(m->objects[i]);
	}
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

static bool is_mapped(struct model *m, uint64_t page)
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
	for (page++; is_mapped(m, page) && model_page(m, page)->joined; page++)
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
	    !(is_mapped(m, above) && model_page(m, above)->joined && above == m->base_page) &&
	    model_page(m, above)->grows_down && above - GAP_PAGES < end)
		end = above - GAP_PAGES;
	for (uint64_t at = m->base_page; at-- > s->first;) {
		struct model_page *p = &s->page[at - s->first];

		if (p->mapped) {
			uint64_t gap = p->grows_down && !is_mapped(m, at - 1) ? GAP_PAGES : 0;

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
	       a->grows_down == b->grows_down && a->account == b->account && a->object == b->object &&
	       a->pgoff + 1 == b->pgoff;
}

static bool same_anon(const struct model_page *a, const struct model_page *b)
{
	return !a->anon || !b->anon || a->anon == b->anon;
}

static uint64_t area_start(struct model *m, uint64_t page)
{
	while (model_page(m, page)->joined)
		page--;
	return page;
}

static void set_anon(struct model *m, uint64_t page, unsigned int anon)
{
	uint64_t end = model_area_end(m, page);

	for (uint64_t at = area_start(m, page); at < end; at++)
		model_page(m, at)->anon = anon;
}

/* The family of a neighbour that differs in protection alone; 0: it has none or is another kind. */
static unsigned int kin(struct model_page *a, struct model_page *b, const struct model_page *neighbour)
{
	struct model_page like_b;

	if (!a || !b)
		return 0;
	like_b = *b;
	like_b.prot = a->prot;
	return same_kind(a, &like_b) ? neighbour->anon : 0;
}

/* The first private page is about to come. */
static void prepare_anon(struct model *m, uint64_t page)
{
	uint64_t start = area_start(m, page), end = model_area_end(m, page);
	unsigned int anon = kin(model_page(m, end - 1), model_page(m, end), model_page(m, end));

	if (!anon)
		anon = kin(model_page(m, start - 1), model_page(m, start), model_page(m, start - 1));
	set_anon(m, page, anon ? anon : ++m->nr_anons);
}

/* Joins the areas that meet at `page`, if they are of one kind. */
static void merge_at(struct model *m, uint64_t page)
{
	struct model_page *a = model_page(m, page - 1), *b = model_page(m, page);

	if (!a || !b || !same_kind(a, b) || !same_anon(a, b))
		return;
	b->joined = true;
	set_anon(m, page, a->anon ? a->anon : b->anon);
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

static struct model_object *object_new(struct model *m, uint64_t pages)
{
	struct model_object *o = calloc(1, sizeof(*o));

	o->pages = pages;
	o->word = calloc(pages, sizeof(*o->word));
	m->objects[m->nr_objects++] = o;
	return o;
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
	kind.account = !r->shared && (r->prot & PROT_WRITE);
	if (r->place == PLACE_NOREPLACE) {
		uint64_t next = next_mapped(m, at);

		if (next != NO_PAGE && next < at + r->nr)
			return -EEXIST;
	}
	if (r->place == PLACE_ANYWHERE || (r->place == PLACE_HINT && !fits(m, at, r->nr)))
		at = find_room(m, r->nr);
	if (!at)
		return -ENOMEM;
	if (r->file >= 0 && r->shared && (r->prot & PROT_WRITE))
		return -EACCES;
	if (r->file >= 0) {
		kind.object = &m->files[r->file];
		kind.pgoff = r->pgoff;
	} else if (r->shared) {
		kind.object = object_new(m, r->nr);
	} else {
		kind.pgoff = at;
	}
	map(m, at, r->nr, &kind);
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
		if (p->object && p->object->file && p->shared && (prot & PROT_WRITE))
			return -EACCES;
		if (p->prot != prot) {
			split_at(m, page);
			split_at(m, stop);
			for (uint64_t i = page; i < stop; i++) {
				struct model_page *q = model_page(m, i);

				q->prot = (uint8_t)prot;
				if (prot & PROT_WRITE)
					q->account |= !q->shared;
				else if (!q->object && !q->anon)
					q->account = false;
			}
			merge_at(m, page);
			merge_at(m, stop);
		}
		page = stop;
	}
	return 0;
}

static void forget(struct model_page *p)
{
	if (!p->object)
		memset(p->word, 0, sizeof(p->word));
	p->own = false;
}

int model_dontneed(struct model *m, uint64_t page, uint64_t nr)
{
	int err = 0;

	for (uint64_t i = page; i < page + nr; i++) {
		if (is_mapped(m, i))
			forget(model_page(m, i));
		else
			err = -ENOMEM;
	}
	return err;
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
	return in_one_stretch(m, v->old, v->new_nr) && !(p->mapped && p->object && !p->object->file);
}

static int64_t move_pages(struct model *m, uint64_t old, uint64_t old_nr, uint64_t new, uint64_t new_nr)
{
	struct model_page first = *model_page(m, old);
	struct model_page *copy = calloc(new_nr, sizeof(*copy));

	for (uint64_t i = 0; i < new_nr; i++) {
		copy[i] = i < old_nr ? *model_page(m, old + i) : first;
		if (i >= old_nr)
			forget(&copy[i]);
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
		forget(p);
	}
	merge_at(m, v->old + v->new_nr);
	return (int64_t)(v->old << PAGE_SHIFT);
}

int64_t model_mremap(struct model *m, const struct model_move *v)
{
	uint64_t old_nr = v->old_nr, new = v->new;

	if (v->fixed && overlap(v))
		return -EINVAL;
	if (!is_mapped(m, v->old))
		return -EFAULT;
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

/* --- accesses ---------------------------------------------------------------------------------------------------- */

/* Grows a stack down to `page` if there is one that may. */
static bool grow_stack(struct model *m, uint64_t page)
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
		forget(q);
		q->pgoff = p->pgoff - (first - at);
		q->joined = at > page;
	}
	p->joined = true;
	return true;
}

static bool allows(const struct model_page *p, enum sim_access kind)
{
	if (kind == SIM_STORE)
		return p->prot & PROT_WRITE;
	if (kind == SIM_FETCH)
		return p->prot & PROT_EXEC;
	return p->prot;
}

static uint64_t file_word(const struct model_page *p, unsigned int w)
{
	uint64_t offset = (p->pgoff << PAGE_SHIFT) + model_word_offset[w];

	return offset < p->object->file->bytes ? sim_file_word(offset) : 0;
}

/* Where a word of the page lives: in an object that is shared, or in the page's own record. */
static uint64_t *word_of(struct model_page *p, unsigned int w)
{
	return p->object && !p->object->file ? &p->object->word[p->pgoff][w] : &p->word[w];
}

static bool behind_file_end(const struct model_page *p)
{
	return p->object && p->object->file && !p->own && p->pgoff >= BYTES_TO_PAGES(p->object->file->bytes);
}

/* A fetch from a page that is not there is refused when it is brought in, so what that raises comes first. */
static bool refused(const struct model_page *p, enum sim_access kind)
{
	return !allows(p, kind) && !(kind == SIM_FETCH && p->prot && behind_file_end(p));
}

struct fault_signal model_access(struct model *m, enum sim_access kind, uint64_t page, unsigned int w,
				 uint64_t *value)
{
	struct fault_signal sig = {.signo = SIGSEGV, .code = SEGV_MAPERR};
	struct model_page *p = model_page(m, page);

	sig.address = (page << PAGE_SHIFT) + model_word_offset[w];
	if (!p || (!p->mapped && !grow_stack(m, page)))
		return sig;
	sig.code = SEGV_ACCERR;
	if (refused(p, kind))
		return sig;
	if (kind == SIM_STORE && !p->shared && !p->anon)
		prepare_anon(m, page);
	if (behind_file_end(p))
		return (struct fault_signal){SIGBUS, BUS_ADRERR, sig.address};
	if (p->object && p->object->file && !p->own) {
		for (unsigned int i = 0; i < MODEL_WORDS; i++)
			p->word[i] = file_word(p, i);
		p->own = kind == SIM_STORE;
	}
	if (kind == SIM_STORE)
		*word_of(p, w) = *value;
	else
		*value = *word_of(p, w);
	return (struct fault_signal){0};
}
