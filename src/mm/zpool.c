/* SPDX-License-Identifier: MIT */
/* zpool.c - see zpool.h. */
#include "zpool.h"

#include <string.h>

#include "memcg.h"
#include "page_alloc.h"

/* An entry of the directory. bytes 0: free. */
struct place {
	uint64_t owner;
	uint16_t at, bytes;
};

struct header {
	struct list_head by_room;
	uint16_t nr_places; /* free ones included; the last one is in use */
	uint16_t nr_objects;
	uint16_t top;
	struct place place[];
};

static struct header *header_of(const struct zpool *p, const struct page *page)
{
	return page_address(p->home->frames, page);
}

static struct page *page_of(const struct zpool *p, const struct header *h)
{
	return pfn_to_page(p->home->frames,
			   (pfn_t)(((const char *)h - p->home->frames->direct_map) >> PAGE_SHIFT));
}

static zhandle_t handle_of(const struct zpool *p, const struct header *h, unsigned int place)
{
	return (zhandle_t){page_to_pfn(p->home->frames, page_of(p, h)) << 8 | place};
}

static struct header *find(const struct zpool *p, zhandle_t handle, struct place **place)
{
	struct header *h = pfn_address(p->home->frames, handle.val >> 8);

	*place = &h->place[handle.val & 0xff];
	return h;
}

void zpool_init(struct zpool *p)
{
	pthread_mutex_init(&p->lock, NULL);
	p->home = NULL;
	for (unsigned int i = 0; i < ZPOOL_NR_CLASSES; i++)
		list_init(&p->by_room[i]);
	list_init(&p->oldest);
	atomic_init(&p->nr_frames, 0);
	atomic_init(&p->nr_objects, 0);
}

bool zpool_is_worth_a_frame(unsigned int bytes)
{
	return 2 * (bytes + sizeof(struct place)) <= PAGE_SIZE - sizeof(struct header);
}

/* --- room ---------------------------------------------------------------------------------------------------------- */

static unsigned int room(const struct header *h)
{
	return h->top - (unsigned int)(sizeof(*h) + h->nr_places * sizeof(h->place[0]));
}

static void put_in_class(struct zpool *p, struct header *h)
{
	list_add(&h->by_room, &p->by_room[room(h) / ZPOOL_CLASS_BYTES]);
}

static bool fits(const struct header *h, unsigned int bytes)
{
	bool has_place = h->nr_objects < h->nr_places;

	return (has_place || h->nr_places < ZPOOL_MOST_OBJECTS) &&
	       room(h) >= bytes + (has_place ? 0 : sizeof(h->place[0]));
}

#define LOOKS 8 /* at frames of one class */

static struct header *find_room(struct zpool *p, unsigned int bytes)
{
	for (unsigned int i = bytes / ZPOOL_CLASS_BYTES; i < ZPOOL_NR_CLASSES; i++) {
		unsigned int looks = 0;
		struct header *h;

		list_for_each_entry (h, &p->by_room[i], by_room) {
			if (fits(h, bytes))
				return h;
			if (++looks == LOOKS)
				break;
		}
	}
	return NULL;
}

static unsigned int take_place(struct header *h)
{
	unsigned int i = 0;

	while (i < h->nr_places && h->place[i].bytes)
		i++;
	h->nr_places += i == h->nr_places;
	return i;
}

/* --- frames -------------------------------------------------------------------------------------------------------- */

static struct header *begin_frame(struct zpool *p, struct zpool_home *home, struct page *page)
{
	if (!p->home)
		p->home = home;
	struct header *h = header_of(p, page);

	*h = (struct header){.top = PAGE_SIZE};
	atomic_fetch_or(&page->flags, PG_PRIVATE);
	list_init(&h->by_room);
	list_add_tail(&page->node, &p->oldest);
	atomic_fetch_add_explicit(&p->nr_frames, 1, memory_order_relaxed);
	return h;
}

static struct page *end_frame(struct zpool *p, struct header *h)
{
	struct page *page = page_of(p, h);

	list_del(&page->node);
	atomic_fetch_and(&page->flags, ~(uint32_t)PG_PRIVATE);
	atomic_fetch_sub_explicit(&p->nr_frames, 1, memory_order_relaxed);
	return page;
}

/* --- objects ------------------------------------------------------------------------------------------------------- */

bool zpool_add(struct zpool *p, struct zpool_home *home, struct page *fresh, const void *from,
	       unsigned int bytes, struct zpool_object *object)
{
	pthread_mutex_lock(&p->lock);
	struct header *h = fresh ? begin_frame(p, home, fresh) : find_room(p, bytes);
	if (h) {
		unsigned int i = take_place(h);
		h->top -= (uint16_t)bytes;
		h->nr_objects++;
		h->place[i] = (struct place){object->owner, h->top, (uint16_t)bytes};
		memcpy((char *)h + h->top, from, bytes);
		list_del(&h->by_room);
		put_in_class(p, h);
		atomic_fetch_add_explicit(&p->nr_objects, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&home->nr_objects, 1, memory_order_relaxed);
		object->handle = handle_of(p, h, i);
	}
	pthread_mutex_unlock(&p->lock);
	return h;
}

unsigned int zpool_read(struct zpool *p, zhandle_t handle, void *to)
{
	struct place *place;

	pthread_mutex_lock(&p->lock);
	const struct header *h = find(p, handle, &place);
	unsigned int bytes = place->bytes;
	memcpy(to, (const char *)h + place->at, bytes);
	pthread_mutex_unlock(&p->lock);
	return bytes;
}

/* What lies below the gap moves up. */
static void close_gap(struct header *h, unsigned int at, unsigned int bytes)
{
	memmove((char *)h + h->top + bytes, (char *)h + h->top, at - h->top);
	h->top += (uint16_t)bytes;
	for (unsigned int i = 0; i < h->nr_places; i++)
		if (h->place[i].bytes && h->place[i].at < at)
			h->place[i].at += (uint16_t)bytes;
}

void zpool_remove(struct zpool *p, zhandle_t handle)
{
	struct page *empty = NULL;
	struct place *place;

	pthread_mutex_lock(&p->lock);
	struct header *h = find(p, handle, &place);
	unsigned int at = place->at, bytes = place->bytes;

	place->bytes = 0;
	h->nr_objects--;
	close_gap(h, at, bytes);
	while (h->nr_places && !h->place[h->nr_places - 1].bytes)
		h->nr_places--;
	list_del(&h->by_room);
	if (h->nr_objects)
		put_in_class(p, h);
	else
		empty = end_frame(p, h);
	atomic_fetch_sub_explicit(&p->nr_objects, 1, memory_order_relaxed);
	pthread_mutex_unlock(&p->lock);
	atomic_fetch_sub_explicit(&p->home->nr_objects, 1, memory_order_relaxed);
	if (!empty)
		return;
	atomic_fetch_sub(&p->home->nr_frames, 1);
	page_put(p->home->frames, empty);
}

unsigned int zpool_take_oldest(struct zpool *p, struct zpool_object *object, unsigned int *nr_frames)
{
	unsigned int nr = 0;

	*nr_frames = 0;
	pthread_mutex_lock(&p->lock);
	for (uint64_t left = atomic_load(&p->nr_frames); left; left--) {
		struct page *page = list_entry(p->oldest.next, struct page, node);
		const struct header *h = header_of(p, page);

		if (nr + h->nr_objects > ZPOOL_MOST_OBJECTS)
			break;
		for (unsigned int i = 0; i < h->nr_places; i++)
			if (h->place[i].bytes)
				object[nr++] = (struct zpool_object){handle_of(p, h, i), h->place[i].owner};
		list_del(&page->node);
		list_add_tail(&page->node, &p->oldest);
		++*nr_frames;
	}
	pthread_mutex_unlock(&p->lock);
	return nr;
}

/* --- recounting ---------------------------------------------------------------------------------------------------- */

bool zpool_has(struct zpool *p, zhandle_t handle, uint64_t owner)
{
	struct place *place;
	bool has = false;

	pthread_mutex_lock(&p->lock);
	if (p->home && (handle.val >> 8) < p->home->frames->max_pfn &&
	    (atomic_load(&pfn_to_page(p->home->frames, handle.val >> 8)->flags) & PG_PRIVATE)) {
		const struct header *h = find(p, handle, &place);
		has = (handle.val & 0xff) < h->nr_places && place->bytes && place->owner == owner;
	}
	pthread_mutex_unlock(&p->lock);
	return has;
}

struct pool_check {
	struct zpool *p;
	const struct memcg *cg;
	void (*complain)(const char *what, uint64_t where);
	unsigned int bad;
	uint64_t nr_frames, nr_objects;
};

static void fail_if(struct pool_check *c, bool wrong, const char *what, const struct page *page)
{
	c->bad += wrong;
	if (wrong && c->complain)
		c->complain(what, page_to_gpa(c->p->home->frames, page));
}

static bool is_in_class(const struct zpool *p, const struct header *wanted)
{
	const struct header *h;

	list_for_each_entry (h, &p->by_room[room(wanted) / ZPOOL_CLASS_BYTES], by_room)
		if (h == wanted)
			return true;
	return false;
}

static void check_frame(struct pool_check *c, const struct page *page)
{
	const struct header *h = header_of(c->p, page);
	unsigned int bytes = 0, nr = 0;

	fail_if(c, !(atomic_load(&page->flags) & PG_PRIVATE) || atomic_load(&page->refs) != 1,
		"frame of compressed pages that is not the pool's alone", page);
	fail_if(c, page->memcg != c->cg, "frame of compressed pages of another account", page);
	for (unsigned int i = 0; i < h->nr_places; i++) {
		bytes += h->place[i].bytes;
		nr += h->place[i].bytes != 0;
		fail_if(c, h->place[i].bytes && h->place[i].at < h->top, "compressed page in the room", page);
	}
	fail_if(c, h->top + bytes != PAGE_SIZE, "compressed pages with gaps", page);
	fail_if(c, !nr || nr != h->nr_objects, "frame counts another number of compressed pages", page);
	fail_if(c, !is_in_class(c->p, h), "frame of compressed pages on the wrong list", page);
	c->nr_frames++;
	c->nr_objects += nr;
}

unsigned int zpool_check(struct zpool *p, const struct memcg *cg,
			 void (*complain)(const char *what, uint64_t where))
{
	struct pool_check c = {.p = p, .cg = cg, .complain = complain};
	const struct page *page;

	pthread_mutex_lock(&p->lock);
	list_for_each_entry (page, &p->oldest, node)
		check_frame(&c, page);
	c.bad += c.nr_frames != atomic_load(&p->nr_frames) || c.nr_objects != atomic_load(&p->nr_objects);
	pthread_mutex_unlock(&p->lock);
	return c.bad;
}
