/* SPDX-License-Identifier: MIT */
/* image.c - using an image: see image.h. Making one: image_write.c. */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <xxhash.h>

#include "image_bytes.h"
#include "image_chunks.h"
#include "image_format.h"
#include "image_order.h"
#include "image_ring.h"

void image_machine_cpu(struct image_machine *m)
{
	uint32_t a, b, c, d;

	memset(m->cpu, 0, sizeof(m->cpu));
	if (__get_cpuid(1, &a, &b, &c, &d)) {
		m->cpu[0] = c & ~(1u << 27); /* OSXSAVE says what the system has done */
		m->cpu[1] = d;
	}
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
		m->cpu[2] = b;
		m->cpu[3] = c & ~(1u << 4); /* OSPKE likewise */
		m->cpu[4] = d;
	}
}

/* --- checking ----------------------------------------------------------------------------------- */

/* Bytes of a file, or of memory that stands for one. */
struct source {
	int fd;
	const char *bytes; /* NULL: the file */
	uint64_t nr;
};

static int get(const struct source *s, void *to, uint64_t bytes, uint64_t offset)
{
	if (!s->bytes)
		return image_bytes_read(s->fd, to, bytes, offset);
	memcpy(to, s->bytes + offset, bytes); /* what lies within was checked */
	return 0;
}

static int bad(const char **why, int err, const char *what)
{
	*why = what;
	return err;
}

static bool lies_within(const struct image_section *s, uint64_t file_bytes)
{
	return s->offset >= PAGE_SIZE && s->offset <= file_bytes && s->bytes <= file_bytes - s->offset;
}

static int check_header(const struct source *s, struct image_header *h, const char **why)
{
	if (s->nr < PAGE_SIZE || get(s, h, sizeof(*h), 0) ||
	    memcmp(h->magic, IMAGE_MAGIC, sizeof(h->magic)) != 0)
		return bad(why, -EINVAL, "not a snapshot");
	if (h->version != IMAGE_VERSION || h->page_bytes != PAGE_SIZE)
		return bad(why, -ENOTSUP, "a snapshot of another version");
	if (h->sum != XXH3_64bits(h, offsetof(struct image_header, sum)))
		return bad(why, -EBADMSG, "the header is damaged");
	if (h->file_bytes != s->nr)
		return bad(why, -EBADMSG,
			   s->nr < h->file_bytes ? "the end is missing" : "something follows its end");
	for (unsigned int i = 0; i < NR_SECTIONS; i++)
		if (!lies_within(&h->section[i], s->nr))
			return bad(why, -EBADMSG, "a section lies outside");
	if (h->section[SECTION_STATE].bytes > IMAGE_MAX_STATE)
		return bad(why, -EBADMSG, "the state is too large");
	return 0;
}

/* The section in memory of the caller's, or NULL. */
static void *get_section(const struct source *s, const struct image_section *section, int *err)
{
	char *at = malloc(section->bytes ? section->bytes : 1);

	*err = at ? get(s, at, section->bytes, section->offset) : -ENOMEM;
	if (!*err && XXH3_64bits(at, section->bytes) != section->sum)
		*err = -EBADMSG;
	if (!*err)
		return at;
	free(at);
	return NULL;
}

static bool run_is_good(const struct image_run *r, const struct image_run *before, uint64_t first)
{
	uint64_t bytes = (uint64_t)r->nr << PAGE_SHIFT;

	if (!r->nr || r->first != first || r->space >= IMAGE_MAX_SPACES || r->address % PAGE_SIZE ||
	    r->address > TASK_SIZE || bytes > TASK_SIZE - r->address)
		return false;
	return !before || r->space > before->space ||
	       (r->space == before->space &&
		r->address >= before->address + ((uint64_t)before->nr << PAGE_SHIFT));
}

/* That the index may speak of. */
static uint64_t stored_pages(const struct image_header *h)
{
	return h->nr_packed ? h->nr_packed : h->section[SECTION_INDEX].offset / PAGE_SIZE - IMAGE_FIRST_PAGE;
}

static bool entry_is_good(const struct image_entry *e, const struct image_header *h)
{
	if (e->where != IMAGE_WORD && (e->where & IMAGE_BASE))
		return h->base_id && (e->where ^ IMAGE_BASE) < SWAP_MAX_SLOTS;
	return e->where == IMAGE_WORD ||
	       (e->where >= IMAGE_FIRST_PAGE && e->where - IMAGE_FIRST_PAGE < stored_pages(h));
}

/* Every number of the index. */
static bool index_is_good(const struct image_header *h, const struct image_run *run,
			  const struct image_entry *entry)
{
	uint64_t first = 0;

	for (uint64_t i = 0; i < h->nr_runs; i++) {
		if (!run_is_good(&run[i], i ? &run[i - 1] : NULL, first))
			return false;
		first += run[i].nr;
	}
	for (uint64_t i = 0; i < h->nr_pages; i++)
		if (!entry_is_good(&entry[i], h))
			return false;
	return first == h->nr_pages;
}

static bool index_has_room(const struct image_header *h)
{
	const uint64_t most = SWAP_MAX_SLOTS - 1;

	return h->nr_runs <= most && h->nr_pages < most &&
	       h->section[SECTION_INDEX].bytes ==
		       h->nr_runs * sizeof(struct image_run) + h->nr_pages * sizeof(struct image_entry);
}

static int load_index(struct image *i, const struct source *s, const struct image_header *h, const char **why)
{
	int err;

	if (!index_has_room(h))
		return bad(why, -EBADMSG, "the index is damaged");
	i->run = get_section(s, &h->section[SECTION_INDEX], &err);
	if (!i->run)
		return bad(why, err, "the index is damaged");
	i->nr_runs = h->nr_runs;
	i->nr_pages = h->nr_pages;
	i->entry = (struct image_entry *)(i->run + h->nr_runs);
	if (!index_is_good(h, i->run, i->entry))
		return bad(why, -EBADMSG, "the index is damaged");
	for (uint64_t n = 0; n < i->nr_pages; n++)
		i->nr_words += i->entry[n].where == IMAGE_WORD;
	return 0;
}

static int load_chunks(struct image *i, const struct source *s, const struct image_header *h,
		       const char **why)
{
	const struct image_section *table = &h->section[SECTION_CHUNKS];
	int err;

	if (h->nr_packed >= SWAP_MAX_SLOTS ||
	    table->bytes != image_nr_chunks(h->nr_packed) * sizeof(struct image_chunk))
		return bad(why, -EBADMSG, "the table of chunks is damaged");
	i->chunk = get_section(s, table, &err);
	if (!i->chunk || !image_chunks_good(i->chunk, h->nr_packed, PAGE_SIZE, s->nr))
		return bad(why, err ? err : -EBADMSG, "the table of chunks is damaged");
	i->nr_packed = h->nr_packed;
	return 0;
}

static int load(struct image *i, const struct source *s, struct image_header *header, const char **why)
{
	struct image_header h;
	int err = check_header(s, &h, why);

	*header = h;
	if (!err)
		err = load_chunks(i, s, &h, why);
	if (!err)
		err = load_index(i, s, &h, why);
	if (err)
		return err;
	i->state = get_section(s, &h.section[SECTION_STATE], &err);
	if (!i->state)
		return bad(why, err, "the state is damaged");
	i->state_bytes = h.section[SECTION_STATE].bytes;
	i->file_bytes = h.file_bytes;
	i->machine = h.machine;
	i->id = h.section[SECTION_INDEX].sum ^ h.section[SECTION_STATE].sum;
	return 0;
}

static void unload(struct image *i)
{
	free(i->run);
	free(i->state);
	free(i->chunk);
	i->run = NULL;
	i->state = NULL;
	i->chunk = NULL;
}

/* --- what it is based on -------------------------------------------------------------------------- */

static int open_layer(const char *path, unsigned int depth, struct image **result, const char **why);

/* Where it was, or beside the image. */
static int find_base(const char *path, const struct image_header *h, unsigned int depth, struct image **base,
		     const char **why)
{
	char near[2 * IMAGE_PATH];
	const char *slash = strrchr(path, '/'), *name = strrchr(h->base, '/');
	int err = open_layer(h->base, depth, base, why);

	if (err != -ENOENT)
		return err;
	snprintf(near, sizeof(near), "%.*s%s",
		 slash ? (int)min_u64((uint64_t)(slash - path + 1), IMAGE_PATH) : 0, path,
		 name ? name + 1 : h->base);
	return open_layer(near, depth, base, why);
}

/* Pages of the base become pages of a file. */
static bool resolve(struct image *i)
{
	for (uint64_t n = 0; n < i->nr_pages; n++) {
		struct image_entry *e = &i->entry[n];
		if (e->where == IMAGE_WORD || !(e->where & IMAGE_BASE))
			continue;
		uint64_t page = e->where ^ IMAGE_BASE;
		if (!i->base || page >= i->base->nr_pages || i->base->entry[page].where == IMAGE_WORD)
			return false;
		e->where = i->base->entry[page].where + (1ull << IMAGE_LAYER_SHIFT);
	}
	return true;
}

static int load_base(struct image *i, const char *path, const struct image_header *h, unsigned int depth,
		     const char **why)
{
	int err = 0;

	if (depth + 1 >= IMAGE_MAX_LAYERS)
		return bad(why, -EBADMSG, "it is based on too many others");
	if (h->base[IMAGE_PATH - 1] || !h->base[0])
		return bad(why, -EBADMSG, "the header is damaged");
	err = find_base(path, h, depth + 1, &i->base, why);
	if (err == -ENOENT)
		return bad(why, err, "the snapshot that it is based on is missing");
	if (err)
		return bad(why, err, "the snapshot that it is based on is none, or damaged");
	if (i->base->id != h->base_id)
		return bad(why, -ESTALE, "the snapshot that it is based on is another one");
	i->nr_layers = i->base->nr_layers + 1;
	return resolve(i) ? 0 : bad(why, -EBADMSG, "the index is damaged");
}

int image_check(const void *bytes, size_t nr, const char **why)
{
	const struct source s = {.fd = -1, .bytes = bytes, .nr = nr};
	struct image i = {.fd = -1};
	struct image_header h;
	int err = load(&i, &s, &h, why);

	unload(&i);
	return err;
}

/* --- pages ---------------------------------------------------------------------------------------- */

static struct image *to_image(struct swap_device *d)
{
	return container_of(d, struct image, device);
}

static void fill_word(void *to, uint64_t word)
{
	for (unsigned int n = 0; n < PAGE_SIZE / sizeof(word); n++)
		memcpy((char *)to + n * sizeof(word), &word, sizeof(word));
}

/* How many of nr pages from `slot` on lie one behind the other in the file; one of a word is by itself. */
static unsigned int row_of(const struct image *i, uint64_t slot, unsigned int nr)
{
	const struct image_entry *e = &i->entry[slot - 1];
	unsigned int n = 1;

	while (e->where != IMAGE_WORD && n < nr && e[n].where == e->where + n)
		n++;
	return n;
}

/* What was in the way says itself. */
static void get_singly(struct image_row *r)
{
	const struct source s = {.fd = r->fd};

	r->err = 0;
	for (r->nr_read = 0; r->nr_read < r->nr && !r->err; r->nr_read += !r->err)
		r->err = get(&s, r->iov[r->nr_read].iov_base, PAGE_SIZE, (r->where + r->nr_read) * PAGE_SIZE);
}

static void get_row(struct image_row *r)
{
	r->err = 0;
	if (r->chunks)
		r->nr_read =
			image_chunks_read(r->chunks, r->where - IMAGE_FIRST_PAGE, r->iov, r->nr, &r->err);
	else if (preadv(r->fd, r->iov, (int)r->nr, (off_t)(r->where * PAGE_SIZE)) !=
		 (ssize_t)r->nr * (ssize_t)PAGE_SIZE)
		get_singly(r);
}

/* Pages of a row that are what they should be, up to the first that is not. */
static unsigned int count_right(struct image *i, uint64_t slot, const struct iovec *iov, unsigned int nr)
{
	const struct image_entry *e = &i->entry[slot - 1];
	struct image_order *order = atomic_load(&i->order);
	unsigned int n = 0;

	while (n < nr && (e[n].where == IMAGE_WORD || XXH3_64bits(iov[n].iov_base, PAGE_SIZE) == e[n].sum))
		n++;
	atomic_fetch_add(&i->nr_read, n);
	atomic_fetch_add(&i->nr_bad, n < nr);
	if (order)
		image_order_note(order, slot - 1, n);
	return n;
}

/* Rows of one submission on their way from the file. */
struct batch {
	struct image *image;
	unsigned int nr;
	struct image_row row[IMAGE_RING_ROWS];
	struct swap_io *io[IMAGE_RING_ROWS]; /* of each row */
};

/* What has come is judged in order: an error is that of the first page that is not there. */
static void judge_row(struct image *i, const struct image_row *r, struct swap_io *x)
{
	if (x->result)
		return;
	unsigned int nr = r->err ? r->nr_read : r->nr;
	unsigned int right = count_right(i, x->slot + x->nr_done, r->iov, nr);
	x->nr_done += right;
	x->result = right < nr ? -EBADMSG : r->err;
}

/* A row alone is read by the thread that asks: it waits for it anyway. */
static void bring_rows(struct batch *b)
{
	struct image *i = b->image;

	if (b->nr < 2 || !image_ring_read(i->ring, b->row, b->nr))
		for (unsigned int n = 0; n < b->nr; n++)
			b->row[n].err = -EAGAIN;
	for (unsigned int n = 0; n < b->nr; n++) {
		struct image_row *r = &b->row[n];
		if (r->where == IMAGE_WORD)
			r->err = 0;
		else if (r->err)
			get_row(r);
		judge_row(i, r, b->io[n]);
	}
	b->nr = 0;
}

static struct image_row row_at(const struct image *i, uint64_t where, struct iovec *iov, unsigned int nr)
{
	const struct image *layer = i;

	if (where == IMAGE_WORD)
		return (struct image_row){.iov = iov, .nr = nr, .where = where, .fd = -1};
	for (uint64_t n = entry_layer(where); n; n--)
		layer = layer->base;
	return (struct image_row){
		.iov = iov, .nr = nr, .where = entry_page(where), .fd = layer->fd, .chunks = layer->chunks};
}

static void add_rows(struct batch *b, struct swap_io *x)
{
	const struct image *i = b->image;

	for (unsigned int n = 0, nr; n < x->nr; n += nr) {
		const struct image_entry *e = &i->entry[x->slot + n - 1];
		if (b->nr == ARRAY_SIZE(b->row))
			bring_rows(b);
		nr = row_of(i, x->slot + n, x->nr - n);
		b->row[b->nr] = row_at(i, e->where, x->iov + n, nr);
		b->io[b->nr++] = x;
		if (e->where == IMAGE_WORD)
			fill_word(x->iov[n].iov_base, e->sum);
	}
}

static void image_submit(struct swap_device *d, struct swap_io **io, unsigned int nr)
{
	struct batch b = {.image = to_image(d)};

	for (unsigned int n = 0; n < nr; n++) {
		io[n]->result = io[n]->write ? -EROFS : 0;
		io[n]->nr_done = 0;
		if (!io[n]->write)
			add_rows(&b, io[n]);
	}
	bring_rows(&b);
	for (unsigned int n = 0; n < nr; n++)
		io[n]->done(io[n]);
}

static void image_release(struct swap_device *d)
{
	image_close(to_image(d));
}

static const struct swap_device_ops image_ops = {.submit = image_submit, .release = image_release};

bool image_find(const struct image *i, uint32_t space, uint64_t address, uint64_t *page)
{
	uint64_t low = 0, high = i->nr_runs;

	while (low < high) {
		uint64_t middle = (low + high) / 2;
		const struct image_run *r = &i->run[middle];
		if (r->space < space ||
		    (r->space == space && r->address + ((uint64_t)r->nr << PAGE_SHIFT) <= address))
			low = middle + 1;
		else
			high = middle;
	}
	if (low == i->nr_runs || i->run[low].space != space || i->run[low].address > address)
		return false;
	*page = i->run[low].first + ((address - i->run[low].address) >> PAGE_SHIFT);
	return true;
}

bool image_page_is(const struct image *i, uint64_t page, const void *bytes)
{
	char own[PAGE_SIZE];
	struct iovec iov = {own, PAGE_SIZE};

	if (i->entry[page].where == IMAGE_WORD)
		return false;
	struct image_row r = row_at(i, i->entry[page].where, &iov, 1);
	get_row(&r);
	return !r.err && !memcmp(own, bytes, PAGE_SIZE);
}

void image_where(const struct image *i, uint64_t page, uint32_t *space, uint64_t *address)
{
	uint64_t low = 0, high = i->nr_runs;

	while (high - low > 1) {
		uint64_t middle = (low + high) / 2;
		if (i->run[middle].first <= page)
			low = middle;
		else
			high = middle;
	}
	*space = i->run[low].space;
	*address = i->run[low].address + ((page - i->run[low].first) << PAGE_SHIFT);
}

uint64_t image_packed_bytes(const struct image *i)
{
	uint64_t bytes = 0;

	for (uint64_t n = 0; n < image_nr_chunks(i->nr_packed); n++)
		bytes += i->chunk[n].bytes;
	return bytes;
}

void image_describe(const struct image *i, uint64_t first, uint64_t nr, struct image_page *page)
{
	for (uint64_t n = 0; n < nr; n++) {
		const struct image_entry *e = &i->entry[first + n];
		page[n] = (struct image_page){e->where == IMAGE_WORD, e->sum};
	}
}

/* --- opening ------------------------------------------------------------------------------------- */

static int open_source(const char *path, struct source *s, const char **why)
{
	struct stat st;

	*s = (struct source){.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
	if (s->fd < 0 || fstat(s->fd, &st))
		return bad(why, -errno, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return bad(why, -EINVAL, "not a snapshot");
	s->nr = (uint64_t)st.st_size;
	return 0;
}

static int open_layer(const char *path, unsigned int depth, struct image **result, const char **why)
{
	struct image *i = calloc(1, sizeof(*i));
	struct image_header h;
	struct source s;

	if (!i)
		return bad(why, -ENOMEM, "out of memory");
	int err = open_source(path, &s, why);
	i->fd = s.fd;
	atomic_init(&i->refs, 1);
	if (!err)
		err = load(i, &s, &h, why);
	i->nr_layers = 1;
	if (!err && h.base_id)
		err = load_base(i, path, &h, depth, why);
	if (!err && i->nr_packed)
		i->chunks = image_chunks_create(i->fd, i->chunk, i->nr_packed);
	if (!err) {
		i->ring = image_ring_create();
		err = i->ring && !i->chunks == !i->nr_packed ? 0 : bad(why, -ENOMEM, "out of memory");
	}
	if (err) {
		image_close(i);
		return err;
	}
	i->device.ops = &image_ops;
	i->device.path = "image";
	i->device.nr_slots = i->nr_pages + 2; /* slot 0 is nobody's; an image without pages has one slot */
	*result = i;
	return 0;
}

int image_open(const char *path, struct image **result, const char **why)
{
	return open_layer(path, 0, result, why);
}

void image_get(struct image *i)
{
	atomic_fetch_add(&i->refs, 1);
}

void image_close(struct image *i)
{
	if (atomic_fetch_sub(&i->refs, 1) != 1)
		return;
	if (i->base)
		image_close(i->base);
	if (i->fd >= 0)
		close(i->fd);
	image_ring_destroy(i->ring);
	image_chunks_destroy(i->chunks);
	image_order_put(atomic_load(&i->order));
	unload(i);
	free(i);
}
