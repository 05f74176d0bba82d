/* SPDX-License-Identifier: MIT */
/*
 * vma.c - ns per operation on the areas of an address space: find, insert, erase, and the search for room.
 *
 *	vma lodge|rbtree	prints "OPERATION_NUMBER ns" for 10, 1000 and 100000 areas
 *
 * lodge is the tree of src/mm/vma.c, rbtree that of textbook.c. Both hold the same ranges, get them in the same order and
 * keep them in objects of the same size that lie scattered in memory: what differs is the tree. Areas have 1 to 16 pages
 * and gaps of 0 to 15 pages in front of them. A search asks for 1 to 16 pages at the highest place that fits: one in
 * sixteen finds no such gap, and has to go below all areas. Before anything is timed both answer every question, and
 * must agree.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/mm/vma.h"
#include "prog/clock.h"
#include "textbook.h"

#define LOW	   (1ull << 30)
#define BASE	   (1ull << 40) /* the lowest area begins a little above */
#define MAX_AREAS  100000u
#define MAX_TREES  64u
#define MAX_BATCH  4096u
#define QUERIES	   4096u
#define MEASURE_NS 100000000u

union object {
	struct vma vma;
	struct text_node text;
};

enum side { LODGE, RBTREE };

/* Equal trees, so that a batch of operations on small ones takes long enough for the clock. */
struct forest {
	enum side side;
	unsigned int nr_trees, nr_areas; /* areas in each */
	gva_t high;			 /* end of the highest area */
	struct vma_tree vmas[MAX_TREES];
	struct text_tree texts[MAX_TREES];
	union object *objects; /* of tree k, area i: k * nr_areas + order[i] */
	unsigned int order[MAX_AREAS];
};

static uint64_t seed = 88172645463325252ull;

static uint64_t random_below(uint64_t bound)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % bound;
}

static void shuffle(unsigned int *order, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		order[i] = i;
	for (unsigned int i = nr; i > 1; i--) {
		unsigned int j = (unsigned int)random_below(i), was = order[j];
		order[j] = order[i - 1];
		order[i - 1] = was;
	}
}

static union object *object_at(struct forest *f, unsigned int tree, unsigned int area)
{
	return &f->objects[tree * f->nr_areas + f->order[area]];
}

static inline void forest_insert(struct forest *f, unsigned int tree, unsigned int area)
{
	union object *o = object_at(f, tree, area);

	if (f->side == LODGE)
		vma_link(&f->vmas[tree], &o->vma);
	else
		text_insert(&f->texts[tree], &o->text);
}

static inline void forest_erase(struct forest *f, unsigned int tree, unsigned int area)
{
	union object *o = object_at(f, tree, area);

	if (f->side == LODGE)
		vma_unlink(&f->vmas[tree], &o->vma);
	else
		text_erase(&f->texts[tree], &o->text);
}

/* Where the area begins that lies at or after an address; 0: none does. */
static inline gva_t forest_find(struct forest *f, unsigned int tree, gva_t address)
{
	if (f->side == LODGE) {
		const struct vma *vma = vma_find(&f->vmas[tree], address);
		return vma ? vma->start : 0;
	}
	const struct text_node *n = text_find(&f->texts[tree], address);
	return n ? n->start : 0;
}

/* The limits are those of mmap: right up to the highest area, and far down below the lowest one. */
static inline gva_t forest_gap(struct forest *f, unsigned int tree, uint64_t length)
{
	if (f->side == LODGE) {
		const struct vma_gap gap = {.length = length, .low_limit = LOW, .high_limit = f->high};
		return (gva_t)vma_gap_topdown(&f->vmas[tree], &gap);
	}
	return (gva_t)text_gap(&f->texts[tree], length, LOW, f->high);
}

static void object_init(const struct forest *f, union object *o, gva_t start, gva_t end)
{
	if (f->side == LODGE)
		o->vma = (struct vma){.start = start, .end = end};
	else
		o->text = (struct text_node){.start = start, .end = end};
}

static int forest_build(struct forest *f, enum side side, unsigned int nr_areas)
{
	*f = (struct forest){.side = side, .nr_areas = nr_areas, .high = BASE};
	f->nr_trees = nr_areas < 1000 ? MAX_TREES : 1;
	f->objects = calloc((size_t)f->nr_trees * nr_areas, sizeof(*f->objects));
	if (!f->objects)
		return -1;
	seed = 88172645463325252ull;
	shuffle(f->order, nr_areas);
	for (unsigned int tree = 0; tree < f->nr_trees; tree++) {
		vma_tree_init(&f->vmas[tree]);
		text_init(&f->texts[tree]);
	}
	for (unsigned int i = 0; i < nr_areas; i++) {
		gva_t start = f->high + (random_below(16) << PAGE_SHIFT);
		f->high = start + ((1 + random_below(16)) << PAGE_SHIFT);
		for (unsigned int tree = 0; tree < f->nr_trees; tree++) {
			object_init(f, object_at(f, tree, i), start, f->high);
			forest_insert(f, tree, i);
		}
	}
	return 0;
}

static struct {
	gva_t address[QUERIES];
	uint64_t length[QUERIES];
} query;

static void make_queries(const struct forest *f)
{
	for (unsigned int i = 0; i < QUERIES; i++) {
		query.address[i] = BASE + random_below(f->high - BASE);
		query.length[i] = (1 + random_below(16)) << PAGE_SHIFT;
	}
}

/* --- passes: each returns the operations it did, and adds the time to *spent --------------------------------------- */

static volatile gva_t sink;

static unsigned int pass_find(struct forest *f, uint64_t *spent)
{
	uint64_t start = clock_now_ns(), sum = 0;

	for (unsigned int i = 0; i < QUERIES; i++)
		sum += forest_find(f, 0, query.address[i]);
	*spent += clock_now_ns() - start;
	sink = sum;
	return QUERIES;
}

static unsigned int pass_gap(struct forest *f, uint64_t *spent)
{
	static unsigned int from;
	unsigned int nr = 256;
	uint64_t start = clock_now_ns(), sum = 0;

	for (unsigned int i = 0; i < nr; i++)
		sum += forest_gap(f, 0, query.length[(from + i) % QUERIES]);
	*spent += clock_now_ns() - start;
	sink = sum;
	from += nr;
	return nr;
}

struct batch {
	unsigned int nr; /* areas of each tree */
	unsigned int area[MAX_AREAS];
};

static void choose_batch(const struct forest *f, struct batch *b)
{
	shuffle(b->area, f->nr_areas);
	b->nr = f->nr_areas / 2 < MAX_BATCH ? f->nr_areas / 2 : MAX_BATCH;
}

static unsigned int each_of_batch(struct forest *f, const struct batch *b,
				  void (*operation)(struct forest *f, unsigned int tree, unsigned int area),
				  uint64_t *spent)
{
	uint64_t start = clock_now_ns();

	for (unsigned int tree = 0; tree < f->nr_trees; tree++)
		for (unsigned int i = 0; i < b->nr; i++)
			operation(f, tree, b->area[i]);
	*spent += clock_now_ns() - start;
	return b->nr * f->nr_trees;
}

/* Goes out and comes in again, in another order than it went. */
static void turn_over(struct batch *b)
{
	static unsigned int order[MAX_AREAS], was[MAX_AREAS];

	shuffle(order, b->nr);
	memcpy(was, b->area, b->nr * sizeof(was[0]));
	for (unsigned int i = 0; i < b->nr; i++)
		b->area[i] = was[order[i]];
}

static struct batch batch;

static unsigned int pass_insert(struct forest *f, uint64_t *spent)
{
	uint64_t other = 0;

	choose_batch(f, &batch);
	each_of_batch(f, &batch, forest_erase, &other);
	turn_over(&batch);
	return each_of_batch(f, &batch, forest_insert, spent);
}

static unsigned int pass_erase(struct forest *f, uint64_t *spent)
{
	uint64_t other = 0;

	choose_batch(f, &batch);
	unsigned int nr = each_of_batch(f, &batch, forest_erase, spent);
	turn_over(&batch);
	each_of_batch(f, &batch, forest_insert, &other);
	return nr;
}

static double measure(struct forest *f, unsigned int (*pass)(struct forest *f, uint64_t *spent))
{
	uint64_t spent = 0, done = 0, begin = clock_now_ns();

	pass(f, &spent); /* not counted */
	for (spent = 0; clock_now_ns() - begin < MEASURE_NS || !done;)
		done += pass(f, &spent);
	return (double)spent / (double)done;
}

static const struct {
	const char *name;
	unsigned int (*pass)(struct forest *f, uint64_t *spent);
} operations[] = {{"find", pass_find}, {"insert", pass_insert}, {"erase", pass_erase}, {"gap", pass_gap}};

/* The answers of both must be the same; *mine is left as it was. */
static int agree(struct forest *mine, struct forest *other)
{
	uint64_t spent = 0;

	pass_insert(other, &spent);
	for (unsigned int i = 0; i < QUERIES; i++) {
		gva_t address = query.address[i];
		uint64_t length = query.length[i];
		if (forest_find(mine, 0, address) != forest_find(other, 0, address))
			return -1;
		if (i < QUERIES / 16 && forest_gap(mine, 0, length) != forest_gap(other, 0, length))
			return -1;
	}
	return 0;
}

static int run(struct forest *mine, struct forest *other, enum side side, unsigned int nr_areas)
{
	if (forest_build(other, side == LODGE ? RBTREE : LODGE, nr_areas) ||
	    forest_build(mine, side, nr_areas))
		return -1;
	make_queries(mine);
	int err = agree(mine, other);
	free(other->objects);
	for (unsigned int i = 0; !err && i < ARRAY_SIZE(operations); i++)
		printf("%s_%u %.1f\n", operations[i].name, nr_areas, measure(mine, operations[i].pass));
	free(mine->objects);
	return err;
}

int main(int argc, char **argv)
{
	static struct forest mine, other;
	bool lodge = argc == 2 && !strcmp(argv[1], "lodge");

	if (!lodge && (argc != 2 || strcmp(argv[1], "rbtree") != 0))
		return 2;
	for (unsigned int nr = 10; nr <= MAX_AREAS; nr *= 100)
		if (run(&mine, &other, lodge ? LODGE : RBTREE, nr)) {
			fprintf(stderr, "vma: out of memory, or the trees do not agree\n");
			return 1;
		}
	return 0;
}
