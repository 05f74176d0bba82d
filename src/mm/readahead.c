/* SPDX-License-Identifier: MIT */
/* readahead.c - see readahead.h. */
#include "readahead.h"
#include "vma.h"

#define NO_MARK (~0ull)

static uint32_t widest(const struct ra_request *r)
{
	return r->max_pages << (r->vm_flags & VM_SEQ_READ && r->max_pages > 1);
}

static uint32_t next_size(uint32_t size, uint32_t max)
{
	if (size < max / 16)
		return size * 4;
	return size <= max / 2 ? size * 2 : max;
}

/* The largest power of two up to n, which is not 0. */
static uint32_t power_of_two_below(uint32_t n)
{
	return 1u << (31 - __builtin_clz(n));
}

/* How many pages a window of about `size` has that begins at `index`: it ends at a multiple of its width. */
static uint32_t aligned_size(const struct ra_request *r, uint64_t index, uint32_t size)
{
	size = power_of_two_below(size);
	return size - (uint32_t)((r->vpn + (index - r->index)) & (size - 1));
}

/* Once more, behind the last window; that is marked where it begins. */
static struct ra_window append(struct file_ra_state *ra, const struct ra_request *r, uint32_t last_width)
{
	uint64_t first = ra->start + ra->size;

	ra->start = first;
	ra->size = aligned_size(r, first, next_size(last_width, widest(r)));
	ra->async_size = ra->size;
	return (struct ra_window){first, ra->size, first};
}

static bool is_sequence(const struct file_ra_state *ra, const struct ra_request *r)
{
	return (r->vm_flags & VM_SEQ_READ) || (ra->size && r->index == ra->start + ra->size);
}

/* The window of the miss, and the one behind it. */
static struct ra_window begin_sequence(struct file_ra_state *ra, const struct ra_request *r)
{
	uint32_t max = widest(r), width = next_size(ra->size ? ra->size : r->around_pages, max);

	ra->start = r->index;
	ra->size = aligned_size(r, r->index, width);
	ra->async_size = 0;
	if (max == 1)
		return (struct ra_window){r->index, 1, NO_MARK};
	struct ra_window ahead = append(ra, r, width);
	return (struct ra_window){r->index, (uint32_t)(ahead.first - r->index) + ahead.nr_pages, ahead.mark};
}

struct ra_window readahead_sync(struct file_ra_state *ra, const struct ra_request *r)
{
	if (r->vm_flags & VM_RAND_READ) {
		*ra = (struct file_ra_state){0};
		return (struct ra_window){r->index, 1, NO_MARK};
	}
	if (is_sequence(ra, r))
		return begin_sequence(ra, r);
	*ra = (struct file_ra_state){.start = r->around_first, .size = r->around_pages};
	return (struct ra_window){r->around_first, r->around_pages, NO_MARK};
}

struct ra_window readahead_async(struct file_ra_state *ra, const struct ra_request *r)
{
	if (r->vm_flags & VM_RAND_READ)
		return (struct ra_window){.first = r->index, .mark = NO_MARK};
	/* The mark of another area, or one left from before: the window goes on from there. */
	if (!ra->size || r->index != ra->start + ra->size - ra->async_size)
		*ra = (struct file_ra_state){r->index, aligned_size(r, r->index, r->around_pages), 0};
	return append(ra, r, ra->size);
}
