/* SPDX-License-Identifier: MIT */
/*
 * same_others.c - calls that programs about memory make beside those about memory.
 */
#include "window.h"

#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

static void clocks(void)
{
	struct timeval tv;
	struct timespec ts;
	time_t now = time(NULL);

	TELL(gettimeofday(&tv, NULL));
	TELL(clock_gettime(CLOCK_REALTIME, &ts));
	printf("agree: %d %d\n", tv.tv_sec - now <= 1, ts.tv_sec - now <= 1);
	TELL(syscall(SYS_gettimeofday, KERNEL, NULL));
	TELL(syscall(SYS_gettimeofday, NULL, NULL));
	TELL(syscall(SYS_time, KERNEL) < 0 ? -1 : 0);
	printf("the call agrees: %d\n", syscall(SYS_time, NULL) - now <= 1);
}

static void processor(void)
{
	unsigned int cpu = 9999, node = 9999;

	TELL(getcpu(&cpu, &node));
	printf("known: %d, node %u\n", cpu < 9999, node);
	TELL(syscall(SYS_getcpu, NULL, NULL, NULL));
	TELL(syscall(SYS_getcpu, KERNEL, NULL, NULL));
	TELL(syscall(SYS_getcpu, NULL, KERNEL, NULL));
}

static volatile sig_atomic_t signals;

static void count_signal(int signo)
{
	(void)signo;
	signals++;
}

/* Signals the thread of the case until one has come through. */
static void *signaller(void *thread)
{
	while (!signals) {
		usleep(10000);
		pthread_kill(*(pthread_t *)thread, SIGUSR1);
	}
	return NULL;
}

static void pausing(void)
{
	pthread_t self = pthread_self(), other;

	signal(SIGUSR1, count_signal);
	if (pthread_create(&other, NULL, signaller, &self))
		return;
	TELL(pause());
	pthread_join(other, NULL);
	printf("came through: %d\n", signals > 0);
}

static void opening(void)
{
	int fd = open("opened", O_RDWR | O_CREAT | O_EXCL, 0640);
	struct stat st;
	char back[8] = "";

	TELL(fd < 0 ? -1 : 0);
	TELL(open("opened", O_RDWR | O_CREAT | O_EXCL, 0640));
	COUNT(write(fd, "Lenovo\n", 7));
	COUNT(lseek(fd, 0, SEEK_SET));
	COUNT(read(fd, back, 8));
	COUNT(read(fd, back, 8));
	TELL(fstat(fd, &st));
	printf("size %ld mode %o\n", (long)st.st_size, st.st_mode & 0777);
	TELL(close(fd));
	TELL(close(fd));
	TELL(open("nowhere", O_RDONLY));
	TELL(unlink("opened"));
}

static void direct(void)
{
	int fd = letter_file("direct", 4, 0), d = open("direct", O_RDWR | O_DIRECT);

	fsync(fd);
	TELL(d < 0 ? -1 : 0);
	put(0, 4, RW);
	COUNT(pread(d, AT(0), PAGE, PAGE));
	printf("%c\n", AT(0)[0]);
	COUNT(pread(d, AT(0) + 1, PAGE, PAGE));
	COUNT(pread(d, AT(0), PAGE, 1));
	COUNT(pread(d, AT(0), 100, 0));
	memset(AT(1), 'd', PAGE);
	COUNT(pwrite(d, AT(1), PAGE, 0));
	printf("%c\n", byte_of_file(fd, 0));
	COUNT(pread(d, AT(8), PAGE, 0));
	close(d);
	close(fd);
}

static void random_numbers(void)
{
	unsigned char a[16], b[16];

	COUNT(syscall(SYS_getrandom, a, 16, 0));
	COUNT(syscall(SYS_getrandom, b, 16, 1));
	printf("differ: %d\n", !!memcmp(a, b, 16));
}

static void exact_usage(void)
{
	struct rusage before, after;

	put(0, 64, RW);
	getrusage(RUSAGE_SELF, &before);
	for (long i = 63; i >= 0; i -= 7)
		AT(i)[0] = 1;
	getrusage(RUSAGE_SELF, &after);
	printf("faults counted: %d\n", after.ru_minflt - before.ru_minflt > 0);
	printf("major ones: %ld\n", after.ru_majflt - before.ru_majflt);
	TELL(getrusage(12345, &after));
	TELL(syscall(SYS_getrusage, RUSAGE_SELF, KERNEL));
}

static const struct guest_case cases[] = {
	{"gettimeofday, time and clock_gettime agree [J2]", clocks},
	{"getcpu [J2]", processor},
	{"pause ends with a signal [J2]", pausing},
	{"open, read and write of a file [J2][L1]", opening},
	{"O_DIRECT: alignment and contents [J2][L2]", direct},
	{"getrandom [J2]", random_numbers},
	{"getrusage counts faults", exact_usage},
};

CASES_MAIN(cases)
