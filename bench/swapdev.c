/* SPDX-License-Identifier: MIT */
/*
 * swapdev.c - what a swap file's transfers cost, beside those of fio and of a bare ring: the same file, block size and depth.
 *
 *	swapdev lodge	src/linux/swapfile.c, called as the core does: 32 transfers of 64 pages under way; single pages one by one
 *	swapdev floor	nothing but io_uring: registered file and buffers, O_DIRECT; no checksums, one thread
 *	swapdev fio	Debian's fio with ioengine=io_uring
 *
 * With `read`, `write` or `single` as a second word, floor and fio make that part alone, and print "* ns"; `mixed`: half of the transfers
 * read and half write, per page each way; `object`: 64 KiB at a random place.
 *
 * Prints "device-write ns", "device-read ns" (per page, in order) and "device-latency ns" (a single page at a random place, until it
 * is there). The file is swap.data beside the program; its first page is a header and stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../include/lodge.h"
#include "../src/linux/swapfile.h"
#include "prog/clock.h"

#define SLOTS	131072ull /* 512 MiB */
#define RUN	64u	  /* pages of a transfer */
#define DEPTH	32u
#define OBJECT	16u
#define SINGLES 2000u
#define WALK	2147483647ull /* a prime: no place comes twice */

static char path[4096];
static const char *only = ""; /* one part, or all */
static char *memory;	      /* DEPTH * RUN pages */

static void fill(void)
{
	uint64_t *word = (uint64_t *)(void *)memory, x = 1;

	for (size_t i = 0; i < (size_t)DEPTH * RUN * PAGE_SIZE / sizeof(*word); i++)
		word[i] = x = x * 6364136223846793005ull + 1442695040888963407ull;
}

static uint64_t random_slot(unsigned int i)
{
	return 1 + i * WALK % (SLOTS - 1 - 8 * RUN);
}

static void print(const char *variant, uint64_t start, uint64_t nr)
{
	printf("%s %.1f\n", *only ? "*" : variant, (double)(clock_now_ns() - start) / (double)nr);
}

/* --- through lodge ------------------------------------------------------------------------------------------------ */

struct transfer {
	struct swap_io io;
	struct iovec iov[RUN];
	uint64_t tags[RUN];
	sem_t *over;
};

static int worst; /* result of any transfer */

static void transfer_done(struct swap_io *io)
{
	struct transfer *t = (struct transfer *)(void *)io;

	if (io->result)
		__atomic_store_n(&worst, io->result, __ATOMIC_RELAXED);
	sem_post(t->over);
}

static void transfer_set(struct transfer *t, char *at, uint64_t slot, unsigned int nr, bool write)
{
	for (unsigned int i = 0; i < nr; i++) {
		t->iov[i] = (struct iovec){at + (size_t)i * PAGE_SIZE, PAGE_SIZE};
		t->tags[i] = slot + i;
	}
	t->io = (struct swap_io){.slot = slot,
				 .nr = nr,
				 .write = write,
				 .iov = t->iov,
				 .tags = t->tags,
				 .done = transfer_done};
}

static void wait_one(sem_t *over)
{
	while (sem_wait(over))
		;
}

#define GROUPS 4u /* a group is submitted at once, and begins again when all of it is over */
#define EACH   (DEPTH / GROUPS)

static void wait_group(sem_t *over)
{
	for (unsigned int i = 0; i < EACH; i++)
		wait_one(over);
}

static void lodge_walk(struct swapfile *f, bool write)
{
	static struct transfer t[DEPTH];
	struct swap_io *io[EACH];
	sem_t over[GROUPS];
	uint64_t start = clock_now_ns(), nr = 0;

	for (unsigned int g = 0; g < GROUPS; g++)
		sem_init(&over[g], 0, EACH); /* as if it were over */
	for (uint64_t slot = 1; slot + RUN * EACH <= SLOTS;) {
		unsigned int g = (unsigned int)(nr / EACH % GROUPS);
		wait_group(&over[g]);
		for (unsigned int i = 0; i < EACH; i++, nr++, slot += RUN) {
			struct transfer *next = &t[nr % DEPTH];
			next->over = &over[g];
			transfer_set(next, memory + nr % DEPTH * RUN * PAGE_SIZE, slot, RUN, write);
			io[i] = &next->io;
		}
		f->device.ops->submit(&f->device, io, EACH);
	}
	for (unsigned int g = 0; g < GROUPS; g++)
		wait_group(&over[g]);
	print(write ? "device-write" : "device-read", start, nr * RUN);
	for (unsigned int g = 0; g < GROUPS; g++)
		sem_destroy(&over[g]);
}

static void lodge_singles(struct swapfile *f)
{
	struct transfer t;
	struct swap_io *io = &t.io;
	sem_t over;
	uint64_t start = clock_now_ns();

	sem_init(&over, 0, 0);
	t.over = &over;
	for (unsigned int i = 0; i < SINGLES; i++) {
		transfer_set(&t, memory, random_slot(i), 1, false);
		f->device.ops->submit(&f->device, &io, 1);
		wait_one(&over);
	}
	print("device-latency", start, SINGLES);
	sem_destroy(&over);
}

static int run_lodge(void)
{
	const struct swapfile_setup setup = {.path = path, .bytes = SLOTS * PAGE_SIZE};
	struct lodge_error err;
	struct swapfile *f;

	if (swapfile_open(&setup, &f, &err)) {
		fprintf(stderr, "swapdev: %s\n", err.text);
		return 1;
	}
	lodge_walk(f, true);
	/* In the order of the writes: the buffers come round, and a slot has what its buffer had. */
	lodge_walk(f, false);
	lodge_singles(f);
	swapfile_close(f);
	if (worst)
		fprintf(stderr, "swapdev: a transfer failed: %s\n", strerror(-worst));
	return worst != 0;
}

/* --- without ------------------------------------------------------------------------------------------------------ */

static void prepare(struct io_uring *ring, bool write, char *at, unsigned int bytes, uint64_t offset)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	if (write)
		io_uring_prep_write_fixed(sqe, 0, at, bytes, offset, 0);
	else
		io_uring_prep_read_fixed(sqe, 0, at, bytes, offset, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
}

static void reap(struct io_uring *ring, unsigned int bytes)
{
	struct io_uring_cqe *cqe;

	if (io_uring_wait_cqe(ring, &cqe) || cqe->res != (int)bytes)
		worst = -EIO;
	io_uring_cqe_seen(ring, cqe);
}

enum walk { READS, WRITES, BOTH };

static const char *const walk_name[] = {"device-read", "device-write", "*"};

/* BOTH: one transfer each way in turn, in halves of the file; per page that comes and one that goes. */
static void floor_walk(struct io_uring *ring, enum walk walk)
{
	const uint64_t end = walk == BOTH ? SLOTS / 2 : SLOTS;
	uint64_t start = clock_now_ns(), nr = 0;
	unsigned int busy = 0;

	for (uint64_t slot = 1; slot + RUN <= end; nr++) {
		bool write = walk == WRITES || (walk == BOTH && nr % 2);
		if (busy == DEPTH) {
			reap(ring, RUN * PAGE_SIZE);
			busy--;
		}
		prepare(ring, write, memory + nr % DEPTH * RUN * PAGE_SIZE, RUN * PAGE_SIZE,
			(slot + (walk == BOTH && write ? end : 0)) * PAGE_SIZE);
		io_uring_submit(ring);
		busy++;
		slot += walk == BOTH && !write ? 0 : RUN;
	}
	for (; busy; busy--)
		reap(ring, RUN * PAGE_SIZE);
	print(walk_name[walk], start, nr * RUN / (walk == BOTH ? 2 : 1));
}

static void floor_singles(struct io_uring *ring, unsigned int pages)
{
	uint64_t start = clock_now_ns();

	for (unsigned int i = 0; i < SINGLES; i++) {
		prepare(ring, false, memory, pages * PAGE_SIZE, random_slot(i) * PAGE_SIZE);
		io_uring_submit_and_wait(ring, 1);
		reap(ring, pages * PAGE_SIZE);
	}
	print("device-latency", start, SINGLES);
}

/* mixed and object are done only when they are asked for. */
static bool wanted(const char *part)
{
	return !strcmp(only, part) || (!*only && strcmp(part, "mixed") != 0 && strcmp(part, "object") != 0);
}

static int run_floor(void)
{
	struct iovec all = {memory, (size_t)DEPTH * RUN * PAGE_SIZE};
	int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	struct io_uring ring;

	if (fd < 0 || io_uring_queue_init(DEPTH, &ring, 0) || io_uring_register_files(&ring, &fd, 1) ||
	    io_uring_register_buffers(&ring, &all, 1)) {
		perror("swapdev");
		return 1;
	}
	if (wanted("write"))
		floor_walk(&ring, WRITES);
	if (wanted("read"))
		floor_walk(&ring, READS);
	if (wanted("mixed"))
		floor_walk(&ring, BOTH);
	if (wanted("single"))
		floor_singles(&ring, 1);
	if (wanted("object"))
		floor_singles(&ring, OBJECT);
	io_uring_queue_exit(&ring);
	close(fd);
	return worst != 0;
}

/* One job of fio; its terse output has the bandwidth in KiB/s and the mean latency in us at these places. */
static int fio(const char *variant, const char *options, bool write, bool latency)
{
	char command[8192], line[8192];
	const unsigned int field = (write ? 47u : 6u) + (latency ? 33u : 0u); /* from 0: bw; lat mean */
	unsigned int at = 0;

	snprintf(command, sizeof(command),
		 "fio --name=swap --filename=%s --direct=1 --ioengine=io_uring --offset=4k --size=511m "
		 "--minimal "
		 "--terse-version=3 %s",
		 path, options);
	FILE *f = popen(command, "r");
	char *word = f && fgets(line, sizeof(line), f) ? line : NULL;
	for (; word && at < field; at++) {
		word = strchr(word, ';');
		word += word ? 1 : 0;
	}
	double value = word ? strtod(word, NULL) : 0;
	if (!f || pclose(f) || value <= 0)
		return 1;
	printf("%s %.1f\n", *only ? "*" : variant,
	       latency ? value * 1e3 : (double)PAGE_SIZE / 1024 / value * 1e9);
	return 0;
}

static int run_fio(void)
{
	int err = 0;

	if (wanted("write"))
		err |= fio("device-write", "--rw=write --bs=256k --iodepth=32", true, false);
	if (wanted("read"))
		err |= fio("device-read", "--rw=read --bs=256k --iodepth=32", false, false);
	if (wanted("single"))
		err |= fio("device-latency", "--rw=randread --bs=4k --iodepth=1 --number_ios=2000", false,
			   true);
	if (wanted("mixed")) /* as much is written as is read: either bandwidth is that of pairs */
		err |= fio("*", "--rw=rw --bs=256k --iodepth=32", true, false);
	if (wanted("object"))
		err |= fio("*", "--rw=randread --bs=64k --iodepth=1 --number_ios=2000", false, true);
	return err;
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');

	if (argc != 2 && argc != 3)
		return 2;
	only = argc == 3 ? argv[2] : "";
	snprintf(path, sizeof(path), "%.*s/swap.data", slash ? (int)(slash - argv[0]) : 1,
		 slash ? argv[0] : ".");
	memory = mmap(NULL, (size_t)DEPTH * RUN * PAGE_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	fill();
	if (!strcmp(argv[1], "lodge"))
		return run_lodge();
	return !strcmp(argv[1], "fio") ? run_fio() : run_floor();
}
