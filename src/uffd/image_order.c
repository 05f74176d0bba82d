/* SPDX-License-Identifier: MIT */
/* image_order.c - see image_order.h. */
#include "image_order.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "image.h"

#define MAGIC	"LODGEORD"
#define VERSION 1u

struct order_header {
	char magic[8];
	uint32_t version, page_bytes;
	uint64_t id, nr, sum; /* sum: of the numbers */
};

struct image_order {
	_Atomic uint32_t refs;
	uint64_t id, nr_pages;
	_Atomic uint64_t nr;	 /* (A) */
	_Atomic uint64_t *is_in; /* (A) a bit for each page */
	_Atomic uint32_t page[]; /* (A) [0, nr), of which the last may not be there yet: + 1, 0 for those */
};

struct image_order *image_order_begin(struct image *i)
{
	struct image_order *o = calloc(1, sizeof(*o) + i->nr_pages * sizeof(o->page[0]));

	if (!o)
		return NULL;
	o->is_in = calloc(i->nr_pages / 64 + 1, sizeof(*o->is_in));
	if (!o->is_in) {
		free(o);
		return NULL;
	}
	o->id = i->id;
	o->nr_pages = i->nr_pages;
	atomic_store(&o->refs, 2);
	atomic_store(&i->order, o);
	return o;
}

void image_order_put(struct image_order *o)
{
	if (!o || atomic_fetch_sub(&o->refs, 1) > 1)
		return;
	free(o->is_in);
	free(o);
}

void image_order_note(struct image_order *o, uint64_t first, unsigned int nr)
{
	for (uint64_t page = first; page < first + nr; page++) {
		uint64_t bit = 1ull << page % 64;
		if (!(atomic_fetch_or(&o->is_in[page / 64], bit) & bit))
			atomic_store(&o->page[atomic_fetch_add(&o->nr, 1)], (uint32_t)page + 1);
	}
}

static char *path_of(const char *path)
{
	char *name;

	return asprintf(&name, "%s.order", path) < 0 ? NULL : name;
}

/* The numbers as the file has them. */
static uint32_t *numbers_of(const struct image_order *o, uint64_t *nr)
{
	uint64_t all = atomic_load(&o->nr);
	uint32_t *list = malloc(all * sizeof(*list) + 1);

	*nr = 0;
	for (uint64_t i = 0; list && i < all; i++) {
		uint32_t page = atomic_load(&o->page[i]);
		if (page)
			list[(*nr)++] = page - 1;
	}
	return list;
}

static int write_file(const char *path, const struct order_header *h, const uint32_t *list)
{
	char *temporary;
	int err = 0;

	if (asprintf(&temporary, "%s.XXXXXX", path) < 0)
		return -ENOMEM;
	int fd = mkostemp(temporary, O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f) {
		err = -errno;
		if (fd >= 0)
			close(fd);
	} else {
		bool whole =
			fwrite(h, sizeof(*h), 1, f) == 1 && fwrite(list, sizeof(*list), h->nr, f) == h->nr;
		if (fclose(f) || !whole || rename(temporary, path))
			err = errno ? -errno : -EIO;
	}
	if (err && fd >= 0)
		unlink(temporary);
	free(temporary);
	return err;
}

int image_order_write(const struct image_order *o, const char *path)
{
	struct order_header h = {.magic = MAGIC, .version = VERSION, .page_bytes = PAGE_SIZE, .id = o->id};
	uint32_t *list = numbers_of(o, &h.nr);
	char *name = path_of(path);
	int err = -ENOMEM;

	if (list && name) {
		h.sum = XXH3_64bits(list, h.nr * sizeof(*list));
		err = write_file(name, &h, list);
	}
	free(list);
	free(name);
	return err;
}

static bool is_good(const struct image *i, const uint32_t *list, uint64_t nr, uint64_t sum)
{
	if (XXH3_64bits(list, nr * sizeof(*list)) != sum)
		return false;
	for (uint64_t n = 0; n < nr; n++)
		if (list[n] >= i->nr_pages)
			return false;
	return true;
}

static uint32_t *read_numbers(const struct image *i, FILE *f, uint64_t *nr)
{
	struct order_header h;

	if (fread(&h, sizeof(h), 1, f) != 1 || memcmp(h.magic, MAGIC, sizeof(h.magic)) != 0 ||
	    h.version != VERSION || h.page_bytes != PAGE_SIZE || h.id != i->id || !h.nr || h.nr > i->nr_pages)
		return NULL;
	uint32_t *list = malloc(h.nr * sizeof(*list));
	if (!list)
		return NULL;
	if (fread(list, sizeof(*list), h.nr, f) == h.nr && is_good(i, list, h.nr, h.sum)) {
		*nr = h.nr;
		return list;
	}
	free(list);
	return NULL;
}

uint32_t *image_order_read(const struct image *i, const char *path, uint64_t *nr)
{
	char *name = path_of(path);
	FILE *f = name ? fopen(name, "re") : NULL;
	uint32_t *list = f ? read_numbers(i, f, nr) : NULL;

	if (f)
		fclose(f);
	free(name);
	return list;
}
