/* SPDX-License-Identifier: MIT */
/*
 * snapshot.c - lodge_snapshot_save, _load and _info.
 *
 * What is saved is a clone: the space goes on as soon as that is made, and its memory is copied before it is overwritten, as any clone's. What is
 * loaded is a space that does not run, whose pages are brought from the file when they are touched (image.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "../uffd/image_order.h"
#include "../vmm/vm.h"
#include "prefetch.h"
#include "report.h"
#include "shm.h"
#include "snapshot.h"
#include "snapshot_supply.h"
#include "space.h"
#include "task.h"
#include "tty.h"
#include "view.h"

/* --- the machine ------------------------------------------------------------------------------------ */

static int describe_machine(const struct lodge_host *host, struct image_machine *m)
{
	struct vm_platform p;
	int err = vm_platform(host->vm, &p);

	if (err)
		return err;
	memset(m, 0, sizeof(*m));
	m->xcr0 = p.xcr0;
	m->xsave_bytes = p.xsave_bytes;
	m->vdso_sum = XXH3_64bits(page_address(host->vdso.frames, host->vdso.pages + 1), PAGE_SIZE);
	image_machine_cpu(m);
	return 0;
}

/* What is wrong with this machine, or NULL. */
static const char *compare_machines(const struct image_machine *saved, const struct image_machine *here)
{
	if (saved->xcr0 != here->xcr0 || saved->xsave_bytes != here->xsave_bytes)
		return "made on a machine with other vector registers";
	for (unsigned int i = 0; i < ARRAY_SIZE(saved->cpu); i++)
		if (saved->cpu[i] & ~here->cpu[i])
			return "made on a machine that can do what this one cannot";
	return saved->vdso_sum == here->vdso_sum ? NULL : "made by another version of lodge";
}

/* --- saving ------------------------------------------------------------------------------------------- */

/* Into which file, and how. */
struct saving {
	const char *path, *base_path;
	const struct image *base; /* or NULL */
	enum image_packing packing;
};

static int write_image(struct snapshot *n, const struct image_machine *m, const struct saving *how)
{
	struct image_writer *w;
	int err = image_create(how->path, how->base, how->base_path, how->packing, &w);

	if (err)
		return err;
	err = snapshot_write_pages(n, w);
	if (!err)
		err = snapshot_code(n);
	if (!err)
		return image_finish(w, m, n->c.bytes, n->c.nr);
	image_abort(w);
	return err;
}

static int save(struct lodge_space *clone, const struct saving *how, struct lodge_error *err)
{
	struct snapshot n = {.c.writing = true, .sandbox = clone->sandbox, .shm = clone->shm};
	struct image_machine m;
	int ret = snapshot_note(&n);

	if (!ret)
		ret = describe_machine(clone->host, &m);
	if (!ret)
		ret = write_image(&n, &m, how);
	free(n.c.bytes);
	snapshot_destroy(&n);
	return ret ? report_error(err, ret, "%s: %s", how->path, n.why[0] ? n.why : strerror(-ret)) : 0;
}

static int clone_and_save(struct lodge_space *space, const struct saving *how, struct lodge_error *err)
{
	struct lodge_space *clone;
	int ret = lodge_space_clone(space, NULL, &clone, err);

	if (ret)
		return ret;
	ret = save(clone, how, err);
	lodge_space_destroy(clone);
	return ret;
}

int lodge_snapshot_save(struct lodge_space *space, const char *path, struct lodge_error *err)
{
	const struct lodge_save_options o = {0};

	return lodge_snapshot_save_as(space, path, &o, err);
}

int lodge_snapshot_save_as(struct lodge_space *space, const char *path, const struct lodge_save_options *o,
			   struct lodge_error *err)
{
	struct saving how = {.path = path,
			     .base_path = o->base,
			     .packing = o->compress ? IMAGE_PACKED : IMAGE_PLAIN};
	const char *why = NULL;
	struct image *base = NULL;
	int ret = o->base ? image_open(o->base, &base, &why) : 0;

	if (ret)
		return report_error(err, ret, "%s: %s", o->base, why);
	how.base = base;
	ret = clone_and_save(space, &how, err);
	if (base)
		image_close(base);
	return ret;
}

/* --- loading ------------------------------------------------------------------------------------------- */

void host_drop_images(struct lodge_host *host)
{
	struct swap_device *d;

	pthread_mutex_lock(&host->image_lock);
	while ((d = swap_find_idle_image(vm_mm_host(host->vm))))
		swap_off(d);
	pthread_mutex_unlock(&host->image_lock);
}

static int make_sandbox(struct snapshot *n, struct lodge_space *space, const struct lodge_space_options *o,
			const char **bad)
{
	const struct view_setup view = {.rw_dirs = o->rw_dirs,
					.mounts = o->mounts,
					.nr_mounts = (unsigned int)o->nr_mounts,
					.mm_host = vm_mm_host(space->host->vm)};
	int err = view_create(&view, &n->view, bad);

	if (err)
		return err;
	n->sandbox = space->sandbox = sandbox_new(o->net, o->max_pids);
	if (!n->sandbox)
		return -ENOMEM;
	memcpy(n->sandbox->caller_fds, o->fds, sizeof(o->fds));
	return 0;
}

/* Options that tasks have each for themselves. */
static void give_options(struct sandbox *s, const struct lodge_space_options *o)
{
	struct process *p;
	struct task *t;

	space_apply_options(s, s->first_mm->memcg, o);
	list_for_each_entry (p, &s->processes, node) {
		list_for_each_entry (t, &p->threads, thread_node) {
			t->trace = o->trace;
			t->log = (struct log_hook){o->log, o->log_ctx};
		}
	}
}

static int fill(struct snapshot *n, struct lodge_space *space, const struct lodge_space_options *o)
{
	const char *bad = NULL;
	int err = make_sandbox(n, space, o, &bad);

	if (err)
		return bad ? snapshot_refuse(n, err, "%s: %s", bad, strerror(-err)) : err;
	n->c.bytes = n->image->state;
	n->c.nr = n->image->state_bytes;
	err = snapshot_code(n);
	if (err)
		return err;
	give_options(n->sandbox, o);
	return ttys_begin(n->sandbox);
}

static void log_fallback(const struct lodge_space_options *o, const char *why)
{
	char line[160];

	snprintf(line, sizeof(line), "userfaultfd: %s; memory comes by faults of the guest instead", why);
	o->log(o->log_ctx, line);
}

/* Where userfaultfd is not to be had, faults of the guest do its work. */
static int open_supply(struct snapshot *n, struct lodge_host *host, const struct lodge_space_options *o)
{
	const char *why = "";

	n->supply_has_to_fit = o->pages == LODGE_PAGES_AUTO;
	if (arena_open_lazy(&host->arena, &why)) {
		if (o->pages == LODGE_PAGES_UFFD && o->log)
			log_fallback(o, why);
		return 0;
	}
	n->supply = snapshot_supply_create(atomic_load(&host->arena.lazy), n->image, host->vm, host->inject);
	return n->supply ? 0 : -ENOMEM;
}

static bool was_recorded(const struct image *image, const char *path)
{
	uint64_t nr = 0;

	free(image_order_read(image, path, &nr));
	return nr;
}

/* The image is a device by now; with no space it goes again. */
static int load(struct lodge_space *space, struct image *image, const char *path,
		const struct lodge_space_options *o, uint64_t memory_bytes, struct lodge_error *err)
{
	struct lodge_host *host = space->host;
	struct snapshot n = {.image = image,
			     .vm = host->vm,
			     .hostfiles = &host->hostfiles,
			     .vdso = &host->vdso,
			     .shm = space->shm,
			     .max_pages = memory_bytes >> PAGE_SHIFT};
	enum lodge_pages how = o->pages;
	int ret = 0;

	if (how == LODGE_PAGES_AUTO && was_recorded(image, path))
		how = LODGE_PAGES_PREFETCH;
	if (how == LODGE_PAGES_AUTO || how == LODGE_PAGES_UFFD) {
		how = LODGE_PAGES_LAZY; /* what blocks leave over */
		ret = open_supply(&n, host, o);
	}
	if (!ret)
		ret = fill(&n, space, o);
	if (!ret)
		ret = prefetch_begin(&n, path, how, &space->prefetch);
	snapshot_destroy(&n);
	view_release(n.view);
	if (n.supply)
		supply_put(snapshot_supply_of(n.supply));
	return ret ? report_error(err, ret, "%s: %s", path, n.why[0] ? n.why : strerror(-ret)) : 0;
}

static int open_image(struct lodge_host *host, const char *path, struct image **image,
		      struct lodge_error *err)
{
	struct image_machine here;
	const char *why = NULL;
	int ret = image_open(path, image, &why);

	if (ret)
		return report_error(err, ret, "%s: %s", path, why);
	ret = describe_machine(host, &here);
	why = ret ? strerror(-ret) : compare_machines(&(*image)->machine, &here);
	if (why)
		ret = ret ? ret : -ENOEXEC;
	else
		ret = swap_on_image(vm_mm_host(host->vm), &(*image)->device);
	if (!ret)
		return 0;
	image_close(*image);
	if (!why)
		why = ret == -EPERM ? "too many snapshots are open" : strerror(-ret);
	return report_error(err, ret, "%s: %s", path, why);
}

static int load_locked(struct lodge_space *space, const char *path, const struct lodge_space_options *o,
		       uint64_t memory_bytes, struct lodge_error *err)
{
	struct image *image;
	int ret = open_image(space->host, path, &image, err);

	return ret ? ret : load(space, image, path, o, memory_bytes, err);
}

int lodge_snapshot_load(struct lodge_host *host, const char *path, const struct lodge_space_options *opt,
			struct lodge_space **result, struct lodge_error *err)
{
	struct lodge_space_options o;
	int ret = space_read_options(&o, opt, err);
	struct lodge_space *space = ret ? NULL : calloc(1, sizeof(*space));

	if (ret)
		return ret;
	if (!space)
		return report_error(err, -ENOMEM, "out of memory");
	space->host = host;
	space->shm = shm_ns_create(vm_mm_host(host->vm));
	pthread_mutex_lock(&host->image_lock);
	ret = space->shm ? load_locked(space, path, &o, opt ? opt->memory_bytes : 0, err)
			 : report_error(err, -ENOMEM, "out of memory");
	pthread_mutex_unlock(&host->image_lock);
	if (ret) {
		lodge_space_destroy(space);
		return ret;
	}
	space->loaded = true;
	*result = space;
	return 0;
}

int lodge_snapshot_save_order(struct lodge_space *space, struct lodge_error *err)
{
	int ret = prefetch_write_order(space->prefetch);

	if (ret == -EINVAL)
		return report_error(err, ret, "nothing was recorded");
	return ret ? report_error(err, ret, "the order of pages: %s", strerror(-ret)) : 0;
}

/* --- looking ------------------------------------------------------------------------------------------- */

int lodge_snapshot_info(const char *path, FILE *out, struct lodge_error *err)
{
	const char *why = NULL;
	struct image *i;
	int ret = image_open(path, &i, &why);

	if (ret)
		return report_error(err, ret, "%s: %s", path, why);
	uint64_t spaces = i->nr_runs ? i->run[i->nr_runs - 1].space + 1ull : 0;
	fprintf(out,
		"version %u\nid %016" PRIx64 "\nbytes %" PRIu64 "\nspaces %" PRIu64 "\npages %" PRIu64
		"\nof one word %" PRIu64 "\nstate bytes %zu\nvector state bytes %u\n",
		IMAGE_VERSION, i->id, i->file_bytes, spaces, i->nr_pages, i->nr_words, i->state_bytes,
		i->machine.xsave_bytes);
	if (i->nr_packed)
		fprintf(out, "compressed pages %" PRIu64 "\ncompressed bytes %" PRIu64 "\n", i->nr_packed,
			image_packed_bytes(i));
	if (i->nr_layers > 1)
		fprintf(out, "based on id %016" PRIx64 "\nlayers %u\n", i->base->id, i->nr_layers);
	uint64_t nr_order = 0;
	free(image_order_read(i, path, &nr_order));
	if (nr_order)
		fprintf(out, "pages in the order of their use %" PRIu64 "\n", nr_order);
	image_close(i);
	return fflush(out) || ferror(out) ? -EIO : 0;
}
