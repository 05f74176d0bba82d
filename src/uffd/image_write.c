/* SPDX-License-Identifier: MIT */
/*
 * image_write.c - making an image: see image.h.
 *
 * Pages go out as they come, through a buffer. Contents that were there before are known by 128 bits of hash.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "image_bytes.h"
#include "image_chunks.h"
#include "image_format.h"

#define BUFFER_PAGES 256u
#define FIRST_ROOM   1024u

/* Where a content is in the file; 0: a free place in the table. */
struct content {
	XXH128_hash_t hash;
	uint64_t where;
};

struct image_writer {
	char *path, *temporary;
	const struct image *base;
	char base_path[IMAGE_PATH];
	int fd, error;
	char *buffer;
	unsigned int nr_buffered;
	uint64_t at;		     /* the next page of the file, in pages, with what is buffered */
	struct image_packer *packer; /* NULL: pages are stored as they are */
	struct image_chunk *chunk;
	uint64_t nr_chunks, chunk_room;
	uint64_t packed_end; /* of the last chunk, in bytes */
	struct image_run *run;
	uint64_t nr_runs, run_room;
	struct image_entry *entry;
	uint64_t nr_pages, page_room;
	struct content *content;
	uint64_t nr_contents, content_room; /* the room is a power of two */
};

static void writer_free(struct image_writer *w)
{
	if (w->fd >= 0)
		close(w->fd);
	free(w->path);
	free(w->temporary);
	free(w->buffer);
	free(w->run);
	free(w->entry);
	free(w->content);
	free(w->chunk);
	image_packer_destroy(w->packer);
	free(w);
}

static int note_base(struct image_writer *w, const struct image *base, const char *path)
{
	char *absolute = realpath(path, NULL);
	size_t bytes = absolute ? strlen(absolute) : 0;

	if (bytes && bytes < sizeof(w->base_path))
		memcpy(w->base_path, absolute, bytes);
	free(absolute);
	w->base = base;
	return w->base_path[0] ? 0 : bytes ? -ENAMETOOLONG : -errno;
}

int image_create(const char *path, const struct image *base, const char *base_path,
		 enum image_packing packing, struct image_writer **result)
{
	struct image_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	int bad = base ? note_base(w, base, base_path) : 0;
	if (bad) {
		free(w);
		return bad;
	}
	w->fd = -1;
	w->at = IMAGE_FIRST_PAGE;
	w->packed_end = IMAGE_FIRST_PAGE * PAGE_SIZE;
	w->packer = packing == IMAGE_PACKED ? image_packer_create() : NULL;
	w->path = strdup(path);
	w->buffer = malloc((size_t)BUFFER_PAGES * PAGE_SIZE);
	w->content = calloc(FIRST_ROOM, sizeof(*w->content));
	w->content_room = FIRST_ROOM;
	if (!w->path || !w->buffer || !w->content || (packing == IMAGE_PACKED && !w->packer) ||
	    asprintf(&w->temporary, "%s.XXXXXX", path) < 0) {
		writer_free(w);
		return -ENOMEM;
	}
	w->fd = mkostemp(w->temporary, O_CLOEXEC);
	if (w->fd < 0) {
		int err = -errno;
		writer_free(w);
		return err;
	}
	*result = w;
	return 0;
}

void image_abort(struct image_writer *w)
{
	unlink(w->temporary);
	writer_free(w);
}

static int grow(void **at, uint64_t *room, uint64_t nr, size_t bytes)
{
	if (nr < *room)
		return 0;
	uint64_t more = *room ? 2 * *room : FIRST_ROOM;
	void *bigger = realloc(*at, more * bytes);
	if (!bigger)
		return -ENOMEM;
	*at = bigger;
	*room = more;
	return 0;
}

static int write_chunk(struct image_writer *w, const char *pages, unsigned int nr)
{
	int err = grow((void **)&w->chunk, &w->chunk_room, w->nr_chunks, sizeof(*w->chunk));

	if (err)
		return err;
	struct image_chunk *c = &w->chunk[w->nr_chunks++];
	const void *bytes = image_pack(w->packer, pages, nr, c);
	c->offset = w->packed_end;
	w->packed_end += c->bytes;
	return image_bytes_write(w->fd, bytes, c->bytes, c->offset);
}

_Static_assert(!(BUFFER_PAGES % IMAGE_CHUNK_PAGES), "only the last chunk of all has fewer pages");

static int write_chunks(struct image_writer *w)
{
	int err = 0;

	for (unsigned int i = 0; i < w->nr_buffered && !err; i += IMAGE_CHUNK_PAGES)
		err = write_chunk(w, w->buffer + (size_t)i * PAGE_SIZE,
				  (unsigned int)min_u64(w->nr_buffered - i, IMAGE_CHUNK_PAGES));
	return err;
}

static int flush(struct image_writer *w)
{
	uint64_t first = w->at - w->nr_buffered;
	int err = w->packer ? write_chunks(w)
			    : image_bytes_write(w->fd, w->buffer, (size_t)w->nr_buffered * PAGE_SIZE,
						first * PAGE_SIZE);

	w->nr_buffered = 0;
	return err;
}

/* --- contents ----------------------------------------------------------------------------------- */

static struct content *find_content(const struct image_writer *w, XXH128_hash_t hash)
{
	uint64_t i = hash.low64;

	for (;; i++) {
		struct content *c = &w->content[i & (w->content_room - 1)];
		if (!c->where || XXH128_isEqual(c->hash, hash))
			return c;
	}
}

static int more_contents(struct image_writer *w)
{
	struct image_writer bigger = {.content_room = 2 * w->content_room};

	bigger.content = calloc(bigger.content_room, sizeof(*bigger.content));
	if (!bigger.content)
		return -ENOMEM;
	for (uint64_t i = 0; i < w->content_room; i++)
		if (w->content[i].where)
			*find_content(&bigger, w->content[i].hash) = w->content[i];
	free(w->content);
	w->content = bigger.content;
	w->content_room = bigger.content_room;
	return 0;
}

/* Where the page is in the file from now on. */
static int put_page(struct image_writer *w, const void *page, uint64_t *where)
{
	XXH128_hash_t hash = XXH3_128bits(page, PAGE_SIZE);
	int err = 2 * w->nr_contents >= w->content_room ? more_contents(w) : 0;

	if (err)
		return err;
	struct content *c = find_content(w, hash);
	*where = c->where;
	if (c->where)
		return 0;
	*where = w->at;
	*c = (struct content){hash, w->at};
	w->nr_contents++;
	memcpy(w->buffer + (size_t)w->nr_buffered * PAGE_SIZE, page, PAGE_SIZE);
	w->at++;
	return ++w->nr_buffered == BUFFER_PAGES ? flush(w) : 0;
}

/* --- the index ---------------------------------------------------------------------------------- */

static bool continues(const struct image_run *r, uint32_t space, uint64_t address)
{
	return r->space == space && r->address + ((uint64_t)r->nr << PAGE_SHIFT) == address &&
	       r->nr < UINT32_MAX;
}

static bool all_one_word(const void *page)
{
	const uint64_t *word = page;

	return !memcmp(word, word + 1, PAGE_SIZE - sizeof(*word));
}

/* The base has it at the same address. */
static bool is_in_base(const struct image_writer *w, uint32_t space, uint64_t address, const void *page,
		       uint64_t *where)
{
	uint64_t nr;

	if (!w->base || !image_find(w->base, space, address, &nr) || !image_page_is(w->base, nr, page))
		return false;
	*where = IMAGE_BASE | nr;
	return true;
}

int image_add_page(struct image_writer *w, uint32_t space, uint64_t address, const void *page)
{
	struct image_entry entry = {.where = IMAGE_WORD};
	int err = grow((void **)&w->run, &w->run_room, w->nr_runs, sizeof(*w->run));

	if (!err)
		err = grow((void **)&w->entry, &w->page_room, w->nr_pages, sizeof(*w->entry));
	if (err)
		return err;
	if (all_one_word(page)) {
		memcpy(&entry.sum, page, sizeof(entry.sum));
	} else {
		entry.sum = XXH3_64bits(page, PAGE_SIZE);
		if (!is_in_base(w, space, address, page, &entry.where))
			err = put_page(w, page, &entry.where);
	}
	if (err)
		return err;
	if (!w->nr_runs || !continues(&w->run[w->nr_runs - 1], space, address))
		w->run[w->nr_runs++] = (struct image_run){address, w->nr_pages, space, 0};
	w->run[w->nr_runs - 1].nr++;
	w->entry[w->nr_pages++] = entry;
	return 0;
}

/* --- the end ------------------------------------------------------------------------------------ */

static int write_index(struct image_writer *w, struct image_header *h)
{
	struct image_section *s = &h->section[SECTION_INDEX];
	size_t runs = w->nr_runs * sizeof(*w->run), pages = w->nr_pages * sizeof(*w->entry);
	XXH3_state_t *sum = XXH3_createState();
	int err;

	if (!sum)
		return -ENOMEM;
	XXH3_64bits_reset(sum);
	XXH3_64bits_update(sum, w->run, runs);
	XXH3_64bits_update(sum, w->entry, pages);
	*s = (struct image_section){w->packer ? w->packed_end : w->at * PAGE_SIZE, runs + pages,
				    XXH3_64bits_digest(sum)};
	XXH3_freeState(sum);
	err = image_bytes_write(w->fd, w->run, runs, s->offset);
	return err ? err : image_bytes_write(w->fd, w->entry, pages, s->offset + runs);
}

static int write_state(struct image_writer *w, struct image_header *h, const void *state, size_t bytes)
{
	struct image_section *s = &h->section[SECTION_STATE];
	const struct image_section *before = &h->section[SECTION_INDEX];

	*s = (struct image_section){before->offset + before->bytes, bytes, XXH3_64bits(state, bytes)};
	return image_bytes_write(w->fd, state, bytes, s->offset);
}

static int write_table(struct image_writer *w, struct image_header *h)
{
	struct image_section *s = &h->section[SECTION_CHUNKS];
	const struct image_section *before = &h->section[SECTION_STATE];
	size_t bytes = w->nr_chunks * sizeof(*w->chunk);

	*s = (struct image_section){before->offset + before->bytes, bytes, XXH3_64bits(w->chunk, bytes)};
	h->nr_packed = w->packer ? w->at - IMAGE_FIRST_PAGE : 0;
	h->file_bytes = s->offset + bytes;
	return image_bytes_write(w->fd, w->chunk, bytes, s->offset);
}

static int write_header(struct image_writer *w, struct image_header *h)
{
	char page[PAGE_SIZE] = "";

	memcpy(h->magic, IMAGE_MAGIC, sizeof(h->magic));
	h->version = IMAGE_VERSION;
	h->page_bytes = PAGE_SIZE;
	h->nr_runs = w->nr_runs;
	h->nr_pages = w->nr_pages;
	h->sum = XXH3_64bits(h, offsetof(struct image_header, sum));
	memcpy(page, h, sizeof(*h));
	return image_bytes_write(w->fd, page, sizeof(page), 0);
}

/* A name that is there after a crash is there with what it names. */
static int rename_durably(struct image_writer *w)
{
	if (fsync(w->fd) || rename(w->temporary, w->path))
		return -errno;
	int dir = open(dirname(w->path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return 0;
	fsync(dir);
	close(dir);
	return 0;
}

int image_finish(struct image_writer *w, const struct image_machine *m, const void *state, size_t bytes)
{
	struct image_header h;
	int err = flush(w);

	memset(&h, 0, sizeof(h));
	h.machine = *m;
	if (w->base) {
		h.base_id = w->base->id;
		memcpy(h.base, w->base_path, sizeof(h.base));
	}
	if (!err)
		err = write_index(w, &h);
	if (!err)
		err = write_state(w, &h, state, bytes);
	if (!err)
		err = write_table(w, &h);
	if (!err)
		err = write_header(w, &h);
	if (!err)
		err = rename_durably(w);
	if (err)
		unlink(w->temporary);
	writer_free(w);
	return err;
}
