/* SPDX-License-Identifier: MIT */
/* The kernel's door for faults on host memory: each way of filling, what is there already, events, refusals. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/mm/types.h"
#include "../../src/uffd/userfault.h"
#include "../harness.h"

#define PAGES 64u
#define BYTES (PAGES * PAGE_SIZE)
#define HUGE  (2ull << 20)

static struct userfault door;

static void open_door(uint64_t wanted)
{
	const char *why = "";

	if (!userfault_open(&door, wanted, &why))
		return;
	print_message("# no userfaultfd: %s\n", why);
	skip();
}

static void need(uint64_t feature)
{
	if (door.features & feature)
		return;
	userfault_close(&door);
	print_message("# this kernel lacks feature %#llx\n", (unsigned long long)feature);
	skip();
}

static char *map(uint64_t bytes)
{
	char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	return at;
}

/* Memory that waits for us. */
static char *map_armed(uint64_t modes)
{
	char *at = map(BYTES);

	assert_int_equal(userfault_register(&door, at, BYTES, modes), 0);
	return at;
}

static char *pattern(void)
{
	char *at = map(BYTES);

	for (unsigned int i = 0; i < PAGES; i++)
		memset(at + i * PAGE_SIZE, (int)i + 1, PAGE_SIZE);
	return at;
}

static void close_all(char *at)
{
	munmap(at, BYTES);
	userfault_close(&door);
}

/* --- touching on another thread ----------------------------------------------------------------------- */

struct toucher {
	pthread_t thread;
	volatile char *at;
	bool write;
	int pipe; /* 0, or where the kernel takes a byte from `at` to */
	char seen;
};

static void *touch(void *arg)
{
	struct toucher *t = arg;

	if (t->pipe) {
		t->seen = (char)write(t->pipe, (const char *)t->at, 1);
		return NULL;
	}
	if (t->write)
		*t->at = 77;
	t->seen = *t->at;
	return NULL;
}

static void start(struct toucher *t, char *at, bool write)
{
	*t = (struct toucher){.at = at, .write = write};
	assert_int_equal(pthread_create(&t->thread, NULL, touch, t), 0);
}

static struct uffd_msg next_message(void)
{
	struct pollfd p = {.fd = door.fd, .events = POLLIN};
	struct uffd_msg m;

	assert_int_equal(poll(&p, 1, 60000), 1);
	assert_int_equal(userfault_read(&door, &m, 1), 1);
	return m;
}

static uint64_t fault_flags(const char *page)
{
	struct uffd_msg m = next_message();

	assert_int_equal(m.event, UFFD_EVENT_PAGEFAULT);
	assert_int_equal(userfault_page(&m), (uintptr_t)page);
	return m.arg.pagefault.flags;
}

static char finish(struct toucher *t)
{
	assert_int_equal(pthread_join(t->thread, NULL), 0);
	return t->seen;
}

/* --- cases --------------------------------------------------------------------------------------------- */

static void copies(void **state)
{
	struct toucher t;
	uint64_t done;

	(void)state;
	open_door(UFFD_FEATURE_EXACT_ADDRESS);
	char *at = map_armed(UFFDIO_REGISTER_MODE_MISSING), *from = pattern();
	start(&t, at + 5 * PAGE_SIZE + 123, false);
	assert_int_equal(fault_flags(at + 5 * PAGE_SIZE), 0);
	assert_int_equal(userfault_copy(&door, at + 4 * PAGE_SIZE, from + 4 * PAGE_SIZE, 4 * PAGE_SIZE,
					&done),
			 0);
	assert_int_equal(done, 4 * PAGE_SIZE);
	assert_int_equal(finish(&t), 6);
	at[4 * PAGE_SIZE] = 99;
	assert_int_equal(userfault_copy(&door, at, from, BYTES, &done), 0); /* around those that are there */
	assert_int_equal(done, BYTES);
	assert_int_equal(at[4 * PAGE_SIZE], 99);
	at[4 * PAGE_SIZE] = 5;
	assert_memory_equal(at, from, BYTES);
	munmap(from, BYTES);
	close_all(at);
}

static void zeroes_and_wakes(void **state)
{
	struct toucher t;
	struct uffd_msg m;
	uint64_t done;

	(void)state;
	open_door(0);
	assert_int_equal(userfault_read(&door, &m, 1), -EAGAIN);
	char *at = map_armed(UFFDIO_REGISTER_MODE_MISSING);
	start(&t, at, false);
	fault_flags(at);
	assert_int_equal(userfault_wake(&door, at, PAGE_SIZE), 0); /* it asks again */
	fault_flags(at);
	assert_int_equal(userfault_zeropage(&door, at, 2 * PAGE_SIZE, &done), 0);
	assert_int_equal(finish(&t), 0);
	assert_int_equal(userfault_zeropage(&door, at, 3 * PAGE_SIZE, &done), 0);
	assert_int_equal(done, 3 * PAGE_SIZE);
	close_all(at);
}

static void kernel_waits(void **state)
{
	struct toucher t;
	int fds[2], status;
	uint64_t done;

	(void)state;
	open_door(0);
	char *at = map_armed(UFFDIO_REGISTER_MODE_MISSING), *from = pattern(), got;
	start(&t, at, true);
	assert_int_equal(fault_flags(at) & UFFD_PAGEFAULT_FLAG_WRITE, UFFD_PAGEFAULT_FLAG_WRITE);
	assert_int_equal(userfault_copy(&door, at, from, PAGE_SIZE, &done), 0);
	assert_int_equal(finish(&t), 77);
	pid_t child = fork(); /* a child's memory is not armed: without EVENT_FORK its pages are zeroes */
	if (!child)
		_exit(at[PAGE_SIZE]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(pipe(fds), 0);
	t = (struct toucher){.at = at + PAGE_SIZE, .pipe = fds[1]};
	assert_int_equal(pthread_create(&t.thread, NULL, touch, &t), 0);
	fault_flags(at + PAGE_SIZE);
	assert_int_equal(userfault_copy(&door, at + PAGE_SIZE, from + PAGE_SIZE, PAGE_SIZE, &done), 0);
	assert_int_equal(finish(&t), 1);
	assert_int_equal(read(fds[0], &got, 1), 1);
	assert_int_equal(got, 2);
	close(fds[0]);
	close(fds[1]);
	munmap(from, BYTES);
	close_all(at);
}

static char *aligned(char *at)
{
	return (char *)(((uintptr_t)at + HUGE - 1) & ~(HUGE - 1));
}

static void moves(void **state)
{
	uint64_t done;

	(void)state;
	open_door(UFFD_FEATURE_MOVE);
	need(UFFD_FEATURE_MOVE);
	char *to = map(2 * HUGE), *from = map(2 * HUGE), *there = aligned(to), *page = aligned(from);
	madvise(page, HUGE, MADV_HUGEPAGE);
	memset(page, 42, HUGE);
	assert_int_equal(userfault_register(&door, there, HUGE, UFFDIO_REGISTER_MODE_MISSING), 0);
	assert_int_equal(userfault_move(&door, there, page, HUGE, &done), 0);
	assert_int_equal(done, HUGE);
	assert_true(there[0] == 42 && !memcmp(there, there + 1, HUGE - 1));
	assert_int_equal(page[5 * PAGE_SIZE], 0); /* it has left */
	page[PAGE_SIZE] = 1;
	assert_int_equal(userfault_move(&door, there, page, PAGE_SIZE, &done), 0); /* there already */
	munmap(to, 2 * HUGE);
	munmap(from, 2 * HUGE);
	userfault_close(&door);
}

static sigjmp_buf after_bus;
static siginfo_t bus_info;

static void bus_handler(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	bus_info = *info;
	siglongjmp(after_bus, 1);
}

static void poisons(void **state)
{
	struct sigaction old, action = {.sa_sigaction = bus_handler, .sa_flags = SA_SIGINFO};
	volatile bool stopped = false;
	uint64_t done;
	int fds[2];

	(void)state;
	open_door(UFFD_FEATURE_POISON);
	need(UFFD_FEATURE_POISON);
	char *at = map_armed(UFFDIO_REGISTER_MODE_MISSING);
	assert_int_equal(userfault_poison(&door, at, PAGE_SIZE, &done), 0);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], at, 1), -1);
	sigaction(SIGBUS, &action, &old);
	if (!sigsetjmp(after_bus, 1))
		(void)*(volatile char *)at;
	else
		stopped = true;
	sigaction(SIGBUS, &old, NULL);
	assert_true(stopped);
	assert_ptr_equal(bus_info.si_addr, at);
	close(fds[0]);
	close(fds[1]);
	close_all(at);
}

static void continues(void **state)
{
	struct toucher t;
	uint64_t done;

	(void)state;
	open_door(UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_MISSING_SHMEM);
	need(UFFD_FEATURE_MINOR_SHMEM);
	int fd = memfd_create("userfault", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, BYTES), 0);
	char *at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	assert_int_equal(pwrite(fd, "abc", 3, 3 * PAGE_SIZE), 3);
	assert_int_equal(userfault_register(&door, at, BYTES,
					    UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_MISSING),
			 0);
	start(&t, at + 3 * PAGE_SIZE, false);
	assert_int_equal(fault_flags(at + 3 * PAGE_SIZE), UFFD_PAGEFAULT_FLAG_MINOR);
	assert_int_equal(userfault_continue(&door, at + 3 * PAGE_SIZE, PAGE_SIZE, &done), 0);
	assert_int_equal(finish(&t), 'a');
	assert_int_equal(userfault_continue(&door, at + 9 * PAGE_SIZE, PAGE_SIZE, &done), -EFAULT);
	close(fd);
	close_all(at);
}

static void protects(void **state)
{
	struct toucher t;

	(void)state;
	open_door(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	need(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	char *at = map_armed(UFFDIO_REGISTER_MODE_WP);
	memset(at, 1, BYTES);
	assert_int_equal(userfault_protect(&door, at, BYTES, true), 0);
	start(&t, at + PAGE_SIZE, false);
	assert_int_equal(finish(&t), 1); /* reading is allowed */
	start(&t, at + PAGE_SIZE, true);
	assert_int_equal(fault_flags(at + PAGE_SIZE), UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE);
	assert_int_equal(userfault_protect(&door, at + PAGE_SIZE, PAGE_SIZE, false), 0);
	assert_int_equal(finish(&t), 77);
	close_all(at);
}

static void *throw_away(void *at)
{
	return madvise(at, PAGE_SIZE, MADV_DONTNEED) ? at : NULL;
}

static void removal_comes_first(void **state)
{
	struct pollfd p;
	pthread_t thread;
	uint64_t done;
	void *failed;
	int err;

	(void)state;
	open_door(UFFD_FEATURE_EVENT_REMOVE);
	need(UFFD_FEATURE_EVENT_REMOVE);
	char *at = map_armed(UFFDIO_REGISTER_MODE_MISSING), *from = pattern();
	assert_int_equal(userfault_copy(&door, at, from, PAGE_SIZE, &done), 0);
	assert_int_equal(pthread_create(&thread, NULL, throw_away, at), 0);
	p = (struct pollfd){.fd = door.fd, .events = POLLIN};
	assert_int_equal(poll(&p, 1, 60000), 1);
	assert_int_equal(userfault_copy(&door, at + PAGE_SIZE, from, PAGE_SIZE, &done), -EAGAIN);
	assert_int_equal(done, 0);
	struct uffd_msg m = next_message();
	assert_int_equal(m.event, UFFD_EVENT_REMOVE);
	assert_int_equal(m.arg.remove.start, (uintptr_t)at);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	do
		err = userfault_copy(&door, at, from + PAGE_SIZE, PAGE_SIZE, &done);
	while (err == -EAGAIN);
	assert_int_equal(err, 0);
	assert_int_equal(at[0], 2);
	munmap(from, BYTES);
	close_all(at);
}

static void nothing_is_registered(void **state)
{
	struct toucher t;
	uint64_t done;

	(void)state;
	open_door(0);
	char *at = map_armed(UFFDIO_REGISTER_MODE_MISSING), *from = pattern();
	start(&t, at, false);
	fault_flags(at);
	assert_int_equal(userfault_unregister(&door, at, BYTES), 0);
	assert_int_equal(finish(&t), 0); /* it was woken */
	assert_int_equal(userfault_copy(&door, at + PAGE_SIZE, from, PAGE_SIZE, &done), -ENOENT);
	assert_int_equal(done, 0);
	munmap(at + PAGE_SIZE, BYTES - PAGE_SIZE);
	assert_int_equal(userfault_copy(&door, at + PAGE_SIZE, from, PAGE_SIZE, &done), -ENOENT);
	assert_int_equal(userfault_register(&door, at + PAGE_SIZE, PAGE_SIZE, UFFDIO_REGISTER_MODE_MISSING),
			 -EINVAL);
	munmap(from, BYTES);
	close_all(at);
}

static void closing_lets_go(void **state)
{
	struct toucher t;

	(void)state;
	open_door(0);
	char *at = map_armed(UFFDIO_REGISTER_MODE_MISSING);
	start(&t, at, false);
	fault_flags(at);
	userfault_close(&door);
	assert_int_equal(finish(&t), 0);
	munmap(at, BYTES);
}

static int refused(void)
{
	const char *why = "";
	struct userfault u;

	if (setgid(65534) || setuid(65534))
		return 2;
	int err = userfault_open(&u, 0, &why);
	return (err == -EPERM || err == -EACCES) && strstr(why, "unprivileged_userfaultfd") ? 0 : 1;
}

static void refusal_says_why(void **state)
{
	char value = '1';
	int fd = open("/proc/sys/vm/unprivileged_userfaultfd", O_RDONLY), status;

	(void)state;
	if (fd >= 0) {
		assert_int_equal(read(fd, &value, 1), 1);
		close(fd);
	}
	if (getuid() || value != '0')
		skip();
	pid_t child = fork();
	if (!child)
		_exit(refused());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

#define CASE(title, function)                     \
	{                                         \
		title, function, NULL, NULL, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE("userfault: a missing page is copied, around what is there [K2][K19]", copies),
		CASE("userfault: zeroes; who is woken without them asks again [K13]", zeroes_and_wakes),
		CASE("userfault: a write waits as a read does, and so does the kernel; a child does not [K7]",
		     kernel_waits),
		CASE("userfault: a huge page is moved, and leaves where it was [K25]", moves),
		CASE("userfault: a poisoned page is SIGBUS for who touches it and an error for the kernel "
		     "[K24]",
		     poisons),
		CASE("userfault: a page that its object has is mapped, one that it lacks is not [K15]",
		     continues),
		CASE("userfault: a write to a protected page is told, a read is not [K4]", protects),
		CASE("userfault: filling waits for a removal to be read [K25]", removal_comes_first),
		CASE("userfault: what is not registered is not filled, and its waiters are woken [K3]",
		     nothing_is_registered),
		CASE("userfault: nobody waits when the door is closed [K3]", closing_lets_go),
		CASE("userfault: where it is not allowed, one line says what to do [K3]", refusal_says_why),
	};

	return cmocka_run_group_tests_name("userfault", tests, NULL, NULL);
}
