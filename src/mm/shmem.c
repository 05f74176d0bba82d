/* SPDX-License-Identifier: MIT */
/* shmem.c - shared memory without a file. See shmem.h. */
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "mm.h"
#include "shmem.h"

static struct shmem *to_shmem(struct backing *b)
{
	return container_of(b, struct shmem, backing);
}

static int64_t shmem_ops_size(struct backing *b)
{
	return (int64_t)atomic_load(&to_shmem(b)->size_bytes);
}

static void shmem_release(struct backing *b)
{
	struct shmem *s = to_shmem(b);
	struct mm_host *h = b->cache.mm_host;

	free(s->path);
	kmem_cache_free(&h->mapping_cache, s);
}

static const struct backing_ops shmem_ops = {
	.size = shmem_ops_size,
	.release = shmem_release,
};

struct backing *shmem_create(struct mm_host *h, uint64_t size_bytes, const char *path)
{
	struct shmem *s = kmem_cache_zalloc(&h->mapping_cache);

	if (!s)
		return NULL;
	s->path = path ? strdup(path) : NULL;
	if (path && !s->path) {
		kmem_cache_free(&h->mapping_cache, s);
		return NULL;
	}
	backing_init(&s->backing, h, &shmem_ops);
	atomic_store(&s->size_bytes, size_bytes);
	s->backing.dev = makedev(0, 1);
	s->backing.ino = atomic_fetch_add(&h->shmem_ino, 1) + 1;
	s->backing.path = path ? s->path : SHMEM_ANON_PATH;
	return &s->backing;
}
