/* SPDX-License-Identifier: MIT */
/*
 * model_words.c - what is in the naive address space's memory. See model.h.
 *
 * A word of a shared page, or of a private file page that was never written, lives in the object; any other in the page's record.
 */
#include "model.h"

#include <unistd.h>

const uint16_t model_word_offset[MODEL_WORDS] = {16, 4080};

/* --- objects ------------------------------------------------------------------------------------------------------ */

static bool object_init(struct model_object *o, uint64_t pages)
{
	o->pages = pages;
	o->word = calloc(pages, sizeof(*o->word));
	o->pin = calloc(pages, sizeof(*o->pin));
	return o->word && o->pin;
}

static void object_free(struct model_object *o)
{
	free(o->word);
	free(o->pin);
}

static bool file_init(struct model_object *o, struct sim_disk *d)
{
	o->disk = d;
	o->bytes = d->bytes;
	if (!object_init(o, MODEL_FILE_PAGES))
		return false;
	for (uint64_t i = 0; i < MODEL_FILE_PAGES; i++)
		for (unsigned int w = 0; w < MODEL_WORDS; w++)
			memcpy(&o->word[i][w], d->data + (i << PAGE_SHIFT) + model_word_offset[w], 8);
	return true;
}

bool model_host_init(struct model_host *h, struct sim_disk *disks[MODEL_FILES])
{
	bool fine = true;

	memset(h, 0, sizeof(*h));
	for (unsigned int i = 0; i < MODEL_FILES; i++)
		fine &= file_init(&h->files[i], disks[i]);
	return fine;
}

void model_host_destroy(struct model_host *h)
{
	for (unsigned int i = 0; i < MODEL_FILES; i++)
		object_free(&h->files[i]);
	while (h->objects) {
		struct model_object *o = h->objects;

		h->objects = o->next;
		object_free(o);
		free(o);
	}
}

struct model_object *model_object_new(struct model_host *h, uint64_t pages)
{
	struct model_object *o = calloc(1, sizeof(*o));

	if (!o || !object_init(o, pages))
		_exit(3);
	o->next = h->objects;
	h->objects = o;
	return o;
}

bool model_file_has(const struct model_object *o, uint64_t pgoff, unsigned int w)
{
	return !o->disk || (pgoff << PAGE_SHIFT) + model_word_offset[w] < o->bytes;
}

static bool behind_end(const struct model_object *o, uint64_t pgoff)
{
	return o->disk && pgoff >= BYTES_TO_PAGES(o->bytes);
}

void model_punch(struct model_object *o, uint64_t pgoff, uint64_t nr)
{
	for (uint64_t i = pgoff; i < pgoff + nr && i < o->pages; i++) {
		memset(o->word[i], 0, sizeof(o->word[i]));
		o->pin[i] = 0;
	}
}

/* Private copies behind the new end are gone as well. */
static void truncate_copies(struct model *m, const struct model_object *o)
{
	for (unsigned int i = 0; i < MODEL_STRETCHES; i++) {
		for (uint64_t k = 0; k < m->stretch[i].nr; k++) {
			struct model_page *p = &m->stretch[i].page[k];

			if (p->mapped && p->object == o && behind_end(o, p->pgoff))
				model_forget(p);
		}
	}
}

void model_truncate(struct model_object *o, uint64_t bytes, struct model *const *m, unsigned int nr)
{
	bool shrinks = bytes < o->bytes;

	o->bytes = bytes;
	for (uint64_t i = 0; i < o->pages; i++) {
		for (unsigned int w = 0; w < MODEL_WORDS; w++) {
			if (!model_file_has(o, i, w))
				o->word[i][w] = 0;
		}
		if (behind_end(o, i))
			o->pin[i] = 0;
	}
	for (unsigned int i = 0; i < nr && shrinks; i++)
		truncate_copies(m[i], o);
}

/* --- pages -------------------------------------------------------------------------------------------------------- */

/* The record that a word of the page lives in is its own, not the object's. */
static bool is_own(const struct model_page *p)
{
	return !p->object || (!p->shared && p->own);
}

void model_forget(struct model_page *p)
{
	memset(p->word, 0, sizeof(p->word));
	p->own = false;
	p->pin = 0;
}

void model_set_own(struct model_page *p, bool own)
{
	if (!p->object || p->shared || p->own == own)
		return;
	if (own)
		memcpy(p->word, p->object->word[p->pgoff], sizeof(p->word));
	p->own = own;
}

static bool allows(const struct model_page *p, enum sim_access kind)
{
	if (kind == SIM_STORE)
		return p->prot & PROT_WRITE;
	if (kind == SIM_FETCH)
		return p->prot & PROT_EXEC;
	return p->prot;
}

/* A fetch from a page that is not there is refused when it is brought in, so what that raises comes first. */
static bool refused(const struct model_page *p, enum sim_access kind)
{
	return !allows(p, kind) &&
	       !(kind == SIM_FETCH && p->prot && p->object && !is_own(p) && behind_end(p->object, p->pgoff));
}

int model_touch(struct model *m, uint64_t page, enum sim_access kind)
{
	struct model_page *p = model_page(m, page);

	if (refused(p, kind))
		return SIGSEGV;
	if (kind == SIM_STORE && !p->shared)
		model_set_anon(m, page, true);
	if (p->object && !is_own(p) && behind_end(p->object, p->pgoff))
		return SIGBUS;
	if (kind == SIM_STORE)
		model_set_own(p, true);
	return 0;
}

static uint64_t *word_of(struct model_page *p, unsigned int w)
{
	return is_own(p) ? &p->word[w] : &p->object->word[p->pgoff][w];
}

struct fault_signal model_access(struct model *m, enum sim_access kind, uint64_t page, unsigned int w,
				 uint64_t *value)
{
	struct fault_signal sig = {.signo = SIGSEGV, .code = SEGV_MAPERR};
	struct model_page *p = model_page(m, page);

	sig.address = (page << PAGE_SHIFT) + model_word_offset[w];
	if (!p || (!p->mapped && !model_grow_stack(m, page)))
		return sig;
	sig.signo = model_touch(m, page, kind);
	sig.code = sig.signo == SIGSEGV ? SEGV_ACCERR : BUS_ADRERR;
	if (sig.signo)
		return sig;
	if (kind == SIM_STORE)
		*word_of(p, w) = *value;
	else
		*value = *word_of(p, w);
	return (struct fault_signal){0};
}

int model_populate(struct model *m, uint64_t page, uint64_t nr)
{
	for (uint64_t i = page; i < page + nr; i++) {
		struct model_page *p = model_page(m, i);

		if (!p || !p->mapped || (p->flags & VM_LOCKONFAULT))
			continue;
		if (!p->prot ||
		    model_touch(m, i, !p->shared && (p->prot & PROT_WRITE) ? SIM_STORE : SIM_LOAD))
			return -EFAULT;
	}
	return 0;
}

int model_populate_for(struct model *m, uint64_t page, uint64_t nr, bool write)
{
	for (uint64_t i = page; i < page + nr; i++) {
		struct model_page *p = model_page(m, i);

		if (!p || !p->mapped)
			return -ENOMEM;
		if (!(p->prot & (write ? PROT_WRITE : PROT_READ)))
			return -EINVAL;
		if (model_touch(m, i, write ? SIM_STORE : SIM_LOAD))
			return -EFAULT;
	}
	return 0;
}

/* --- pins --------------------------------------------------------------------------------------------------------- */

unsigned int model_pin(struct model *m, uint64_t page)
{
	struct model_page *p = model_page(m, page);
	unsigned int *pin = is_own(p) ? &p->pin : &p->object->pin[p->pgoff];

	if (!*pin)
		*pin = ++m->host->nr_pins;
	return *pin;
}

void model_write_pinned(struct model *m, unsigned int pin, unsigned int w, uint64_t value)
{
	for (unsigned int i = 0; i < MODEL_STRETCHES; i++) {
		for (uint64_t k = 0; k < m->stretch[i].nr; k++) {
			struct model_page *p = &m->stretch[i].page[k];

			if (p->mapped && p->pin == pin)
				p->word[w] = value;
		}
	}
}

bool model_pin_has(const struct model_host *h, unsigned int pin, unsigned int w)
{
	for (unsigned int i = 0; i < MODEL_FILES; i++) {
		for (uint64_t k = 0; k < h->files[i].pages; k++) {
			if (h->files[i].pin[k] == pin)
				return model_file_has(&h->files[i], k, w);
		}
	}
	return true;
}

static void write_object(struct model_object *o, unsigned int pin, unsigned int w, uint64_t value)
{
	for (uint64_t i = 0; i < o->pages; i++) {
		if (o->pin[i] == pin)
			o->word[i][w] = value;
	}
}

void model_write_pinned_object(struct model_host *h, unsigned int pin, unsigned int w, uint64_t value)
{
	for (unsigned int i = 0; i < MODEL_FILES; i++)
		write_object(&h->files[i], pin, w, value);
	for (struct model_object *o = h->objects; o; o = o->next)
		write_object(o, pin, w, value);
}
