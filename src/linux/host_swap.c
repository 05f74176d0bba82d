/* SPDX-License-Identifier: MIT */
/* host_swap.c - lodge.h: where a host's pages go when memory is short. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "../../include/lodge.h"
#include "../mm/mm.h"
#include "../vmm/vm.h"
#include "compressor.h"
#include "report.h"
#include "space.h"
#include "swapfile.h"

#define MAX_SWAP_PRIORITY 32767

/* swap_lock is held. */
static int add_file(struct lodge_host *host, const char *path, uint64_t bytes, int priority,
		    struct lodge_error *err)
{
	const struct swapfile_setup setup = {.path = path,
					     .bytes = bytes,
					     .priority = priority < 0 ? -1 - host->nr_swaps : priority,
					     .inject = host->inject};
	struct swapfile *file;

	int ret = swapfile_open(&setup, &file, err);
	if (ret)
		return ret;
	ret = swap_on(vm_mm_host(host->vm), &file->device);
	if (ret) {
		swapfile_close(file);
		return report_error(err, ret, "swap %s: %s", path,
				    ret == -EPERM ? "too many swap devices" : strerror(-ret));
	}
	host->nr_swaps += priority < 0;
	return 0;
}

int lodge_host_swapon(struct lodge_host *host, const char *path, uint64_t bytes, int priority,
		      struct lodge_error *err)
{
	if (priority < -1 || priority > MAX_SWAP_PRIORITY)
		return report_error(err, -EINVAL, "swap %s: priority %d is not one of 0 to %d", path,
				    priority, MAX_SWAP_PRIORITY);
	pthread_mutex_lock(&host->swap_lock);
	int ret = add_file(host, path, bytes, priority, err);
	pthread_mutex_unlock(&host->swap_lock);
	return ret;
}

static bool is_file(const struct swap_device *d, const void *st)
{
	return swapfile_is(d, st);
}

/* swap_lock is held. */
static int remove_file(struct lodge_host *host, const char *path, struct lodge_error *err)
{
	struct stat st;

	if (stat(path, &st))
		return report_error(err, -errno, "swap %s: %s", path, strerror(errno));
	struct swap_device *d = swap_find_device(vm_mm_host(host->vm), is_file, &st);
	if (!d)
		return report_error(err, -EINVAL, "swap %s: it is not in use", path);
	bool ranked = d->priority >= 0;
	int ret = swap_off(d);
	if (ret)
		return report_error(err, ret, "swap %s: there is no room for what is in it", path);
	host->nr_swaps -= !ranked;
	return 0;
}

int lodge_host_swapoff(struct lodge_host *host, const char *path, struct lodge_error *err)
{
	pthread_mutex_lock(&host->swap_lock);
	int ret = remove_file(host, path, err);
	pthread_mutex_unlock(&host->swap_lock);
	return ret;
}

static int add_memory_device(struct lodge_host *host, uint64_t bytes, struct lodge_error *err)
{
	struct swap_device *d = zswap_device_create(bytes >> PAGE_SHIFT);

	if (!d)
		return report_error(err, -ENOMEM, "compressed swap: out of memory");
	d->priority = -1 - host->nr_swaps;
	int ret = swap_on(vm_mm_host(host->vm), d);
	if (ret) {
		d->ops->release(d);
		return report_error(err, ret, "compressed swap of %llu bytes: %s", (unsigned long long)bytes,
				    ret == -EPERM ? "too many swap devices" : strerror(-ret));
	}
	host->nr_swaps++;
	return 0;
}

int lodge_host_swap_compress(struct lodge_host *host, const char *algorithm, uint64_t pool_bytes,
			     uint64_t alone_bytes, struct lodge_error *err)
{
	struct mm_host *h = vm_mm_host(host->vm);
	const struct zswap_ops *ops = compressor_find(algorithm);

	if (!ops)
		return report_error(err, -EINVAL, "compressed swap: '%s' is neither zstd nor lz4", algorithm);
	int ret = zswap_on(h, ops, pool_bytes >> PAGE_SHIFT);
	if (ret)
		return report_error(err, ret, "compressed swap in %llu bytes: %s",
				    (unsigned long long)pool_bytes, strerror(-ret));
	if (alone_bytes)
		ret = add_memory_device(host, alone_bytes, err);
	if (ret)
		zswap_off(h);
	return ret;
}

void host_swap_off(struct mm_host *h)
{
	for (unsigned int i = 0; i < MAX_SWAP_DEVICES; i++)
		if (h->swap.device[i])
			swap_off(h->swap.device[i]);
}
