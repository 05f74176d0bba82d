/* SPDX-License-Identifier: MIT */
/* kmem_info.c - what caches hold, as numbers and as /proc/slabinfo shows it. */
#include <stdio.h>

#include "barn.h"
#include "slab.h"

static uint64_t sheaf_objects(const struct kmem_sheaf *s)
{
	return s ? sheaf_avail(s) : 0;
}

/* (registry) */
static void add_locals(struct kmem_cache *c, struct kmem_info *info)
{
	struct kmem_local *l;

	list_for_each_entry (l, &c->locals, node) {
		struct kmem_sheaf *s = local_main(l);
		info->in_sheaves += sheaf_avail(s) + sheaf_objects(l->spare) + sheaf_objects(l->deferred);
		info->alloc_fast += atomic_load_explicit(&s->pops, memory_order_relaxed);
		for (unsigned int i = 0; i < KMEM_MAX_NODES; i++)
			info->in_sheaves += sheaf_objects(l->alien[i]);
	}
}

static void add_nodes(struct kmem_cache *c, struct kmem_info *info)
{
	for (unsigned int i = 0; i < c->nr_nodes; i++) {
		struct kmem_node *n = &c->node[i];
		pthread_mutex_lock(&n->list_lock);
		info->slabs += n->nr_slabs;
		info->total_objects += n->total_objects;
		info->active_objects += n->total_objects - n->free_objects;
		info->in_sheaves += sheaf_objects(n->shared);
		info->sheaf_frames += n->shared != NULL;
		if (n->shared)
			info->shared = n->shared->limit;
		pthread_mutex_unlock(&n->list_lock);
	}
}

static void add_barn(struct kmem_cache *c, struct kmem_info *info)
{
	info->in_sheaves += barn_objects(c);
	pthread_mutex_lock(&c->barn.lock);
	for (const struct kmem_sheaf *s = c->waiting; s; s = s->next)
		info->in_sheaves += sheaf_avail(s);
	info->sheaf_frames += c->barn.nr_pages;
	pthread_mutex_unlock(&c->barn.lock);
}

/* (registry) */
static void collect(struct kmem_cache *c, struct kmem_info *info)
{
	memset(info, 0, sizeof(*info));
	info->object_size = c->size;
	info->objects_per_slab = c->per_slab;
	info->pages_per_slab = 1u << c->order;
	info->limit = c->slot ? c->sheaf_limit : 0;
	info->batchcount = (info->limit + 1) / 2;
	info->alloc_fast = atomic_load(&c->stat.alloc_fast);
	info->alloc_slow = atomic_load(&c->stat.alloc_slow);
	info->free_slow = atomic_load(&c->stat.free_slow);
	add_nodes(c, info);
	add_locals(c, info);
	add_barn(c, info);
	/* Another thread may move objects while we add. */
	info->active_objects -= min_u64(info->in_sheaves, info->active_objects);
	if (c->ops == &slob_ops)
		info->active_objects = info->total_objects = atomic_load(&c->slob_objects);
	info->frames = (atomic_load(&c->stat.slabs_created) - atomic_load(&c->stat.slabs_freed)) << c->order;
	info->frames += info->sheaf_frames;
	info->active_slabs = info->slabs;
}

void kmem_cache_info(struct kmem_cache *c, struct kmem_info *info)
{
	pthread_mutex_lock(&kmem_registry_lock);
	collect(c, info);
	pthread_mutex_unlock(&kmem_registry_lock);
}

unsigned int kmem_cache_check(struct kmem_cache *c, void (*complain)(const char *what, uint64_t where))
{
	return c->ops->check(c, complain);
}

struct text {
	char *buffer;
	size_t bytes, length;
};

static void text_add(struct text *t, int length)
{
	t->length += length > 0 ? (size_t)length : 0;
}

static char *text_end(const struct text *t)
{
	return t->length < t->bytes ? t->buffer + t->length : NULL;
}

static size_t text_room(const struct text *t)
{
	return t->length < t->bytes ? t->bytes - t->length : 0;
}

static void add_line(struct kmem_cache *c, void *arg)
{
	struct text *t = arg;
	struct kmem_info i;

	collect(c, &i);
	text_add(t,
		 snprintf(text_end(t), text_room(t),
			  "%-17s %6llu %6llu %6u %4u %4u : tunables %4u %4u %4u : slabdata %6llu %6llu %6u\n",
			  c->name, (unsigned long long)i.active_objects, (unsigned long long)i.total_objects,
			  i.object_size, i.objects_per_slab, i.pages_per_slab, i.limit, i.batchcount,
			  i.shared, (unsigned long long)i.active_slabs, (unsigned long long)i.slabs, 0u));
}

size_t kmem_slabinfo(struct frames *f, char *buffer, size_t bytes)
{
	struct text t = {.buffer = buffer, .bytes = bytes};

	text_add(&t, snprintf(buffer, bytes,
			      "slabinfo - version: 2.1\n"
			      "# name            <active_objs> <num_objs> <objsize> <objperslab> "
			      "<pagesperslab> : tunables "
			      "<limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> "
			      "<sharedavail>\n"));
	kmem_caches_visit(f, add_line, &t);
	return t.length;
}
