/* SPDX-License-Identifier: MIT */
/*
 * memfd.h - memfd_create: a descriptor for shared memory.
 *
 * The guest's descriptor stands for a memfd of the host that never has data: it gives the object its identity (st_dev, st_ino), its
 * size, its seals, and to each descriptor an offset. The data is an object of shared memory (mm/shmem.h) in the arena.
 *
 *   D1  the host's memfd and the object have one size, but while one of the calls here changes it
 *   D2  an object lives as long as a guest descriptor (memfd_adopt) or an area holds it
 * Locking: one mutex over the table of this process, which is small; io_lock as everywhere.
 */
#ifndef LODGE_LINUX_MEMFD_H
#define LODGE_LINUX_MEMFD_H

#include "../mm/backing.h"

struct memfd;
struct task;

/* What memfd_create() says of them before it looks at the name. */
bool memfd_flags_valid(unsigned int flags);
/* As memfd_create: a host descriptor, or -errno. *m, which may be NULL, is to be dropped when it is installed. */
int memfd_new(struct mm_host *h, struct memcg *cg, const char *name, unsigned int flags, struct memfd **m);

/* Whether an object of this path is that of a memfd. */
bool memfd_has_path(const char *path);

/* What a memfd is beside its contents. */
struct memfd_shape {
	char name[256];
	uint64_t bytes;
	uint32_t seals, mode;
};

/* 0; -ENOTSUP: it is none of memfd_new, or one of pages of a pool. */
int memfd_describe(int host_fd, struct memfd_shape *s);
/* One of that shape, as memfd_new; -EINVAL: there is none. */
int memfd_build(struct mm_host *h, const struct memfd_shape *s, struct memfd **m);

/*
 * The same for a new regular file of the host, whose data is to be in memory: `name` is what maps shows. It lasts while the file has a
 * name, until memfd_forget. 0 or -ENOMEM.
 */
int memfd_attach(struct mm_host *h, int host_fd, const char *name, const void *owner);
/* A name of the file behind host_fd is gone. */
void memfd_unlinked(int host_fd);
/* The files of an owner have no names any more. */
void memfd_forget(const void *owner);

/* What a new guest descriptor for host_fd holds until it is closed (memfd_drop): NULL when that is no memfd of a guest. */
struct memfd *memfd_adopt(int host_fd);
struct memfd *memfd_adopt_object(dev_t dev, ino_t ino);
void memfd_drop(struct memfd *m);

/* The object behind a host descriptor with a reference for the caller, or NULL. Cheap where there are no memfds. */
struct backing *memfd_find(int host_fd);
/* The same by the status of a file, or by what a guest descriptor of it holds. */
struct backing *memfd_find_object(dev_t dev, ino_t ino);
struct backing *memfd_object(const struct memfd *m);
bool memfd_is(int host_fd);

/* The file is no file: memory of a memfd or segment, of whatever pages. */
bool backing_is_memory(const struct backing *b);

/* The host's memfd has another size, or (extend) is to have that of the object. */
void memfd_resize(struct backing *b, uint64_t bytes);
void memfd_extend(struct backing *b, int host_fd);

/* Calls on one, as Linux has them. offset -1: at the position. */
int64_t memfd_read(struct backing *b, int host_fd, const struct iovec *iov, unsigned int nr, int64_t offset);
int64_t memfd_write(struct backing *b, struct memcg *cg, int host_fd, const struct iovec *iov,
		    unsigned int nr, int64_t offset);
int64_t memfd_fallocate(struct backing *b, struct memcg *cg, int host_fd, int mode, int64_t offset,
			int64_t bytes);
int64_t memfd_seek(struct backing *b, int host_fd, int64_t offset, int whence);
int64_t memfd_add_seals(struct backing *b, int host_fd, unsigned int seals);

/* What a mapping of it may do: 0, -EPERM; takes VM_MAYWRITE off a shared one by *may_not_write. prot: PROT_ bits. */
int memfd_check_map(int host_fd, unsigned int prot, bool shared, bool *may_not_write);

#endif
