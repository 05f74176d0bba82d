/* SPDX-License-Identifier: MIT */
/*
 * snap_work.c - work whose result does not depend on when it is interrupted, copied or gone on with.
 *
 *	snap_work sum THREADS MIB ROUNDS	threads walk over memory of their own; prints the checksum of all
 *	snap_work talk MIB			fills memory, prints "ready", then obeys lines from its input
 *	snap_work tree CHILDREN ROUNDS		processes that pass a number round in pipes, and signals; prints the sum
 *	snap_work calls ROUNDS			calls close together among signals of a timer, faults, forks and execs; prints the sum
 *	snap_work end STATUS			ends so
 *	snap_work share CHILDREN ROUNDS		processes that change a number by turns in memory that they share; prints it
 *
 * talk: "w N" writes to N pages, "s" prints the sum of all, "o" writes all of it out, "k" makes a pair of sockets, "c" closes them, "m N" adds
 * to a number in shared memory and to one in a memfd and prints both, "v N" the same to two in System V segments, "a" tells of
 * areas that are locked or shared, "q" ends.
 */
#include <asm/prctl.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

static uint64_t mix(uint64_t x)
{
	x ^= x >> 31;
	x *= 0x9e3779b97f4a7c15ull;
	return x ^ x >> 29;
}

static uint64_t *map_pages(uint64_t nr)
{
	void *at = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		exit(2);
	return at;
}

/* --- sum --------------------------------------------------------------------------------------- */

struct worker {
	pthread_t thread;
	uint64_t seed, words, rounds, sum;
	double real;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t turns;
static _Thread_local uint64_t own;

static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t *word = map_pages(w->words * sizeof(*word) / PAGE);
	double real = 1.0;

	own = w->seed;
	for (uint64_t r = 0; r < w->rounds; r++) {
		for (uint64_t i = 0; i < w->words; i++) {
			own = mix(own + word[i]);
			word[i] ^= own;
			real = real * 0.999 + (double)(own >> 40);
		}
		pthread_mutex_lock(&lock);
		turns++;
		pthread_mutex_unlock(&lock);
	}
	w->sum = own;
	w->real = real;
	return NULL;
}

static int sum(int threads, uint64_t mib, uint64_t rounds)
{
	struct worker *w = calloc((size_t)threads, sizeof(*w));
	uint64_t total = 0;

	for (int i = 0; i < threads; i++) {
		w[i] = (struct worker){.seed = (uint64_t)i + 1,
				       .words = (mib << 20) / sizeof(uint64_t) / (uint64_t)threads,
				       .rounds = rounds};
		if (pthread_create(&w[i].thread, NULL, work, &w[i]))
			return 2;
	}
	for (int i = 0; i < threads; i++) {
		pthread_join(w[i].thread, NULL);
		total = mix(total + w[i].sum) ^ (uint64_t)w[i].real;
	}
	printf("sum %016lx of %lu turns\n", total, turns);
	return 0;
}

/* --- memory with a descriptor ------------------------------------------------------------------- */

static uint64_t *share_pages(uint64_t nr, int fd)
{
	void *at = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE,
			fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		exit(2);
	return at;
}

static int make_memfd(uint64_t nr)
{
	int fd = memfd_create("snap", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)(nr * PAGE)) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		exit(2);
	return fd;
}

/* Both numbers are where they were put, the memfd is what it was, and its area stays sealed. */
static void add_shared(uint64_t more)
{
	static uint64_t *number, *mapped;
	static int fd = -1;
	uint64_t x = 0;

	if (fd < 0) {
		number = share_pages(3, -1) + PAGE / 4;
		fd = make_memfd(20);
		mapped = share_pages(20, fd) + PAGE;
		syscall(SYS_mseal, mapped - PAGE, 20 * PAGE, 0);
		lseek(fd, 7, SEEK_SET);
	}
	*number += more;
	if (pread(fd, &x, sizeof(x), 8 * PAGE) != sizeof(x) || x != *mapped)
		exit(5);
	x += more;
	if (pwrite(fd, &x, sizeof(x), 8 * PAGE) != sizeof(x) || lseek(fd, 0, SEEK_CUR) != 7 ||
	    fcntl(fd, F_GET_SEALS) != F_SEAL_SHRINK || ftruncate(fd, PAGE) != -1 ||
	    munmap(mapped - PAGE, PAGE) != -1)
		exit(6);
	printf("%lu %lu\n", *number, *mapped);
}

static int own_segment = -1, key_segment;

static uint64_t *attach(int id, int flags)
{
	void *at = shmat(id, NULL, flags);

	if (id < 0 || at == (void *)-1)
		exit(8);
	return at;
}

/* One segment that is gone when it is let go, and one with a key, which is attached twice: once for reading. */
static void add_segments(uint64_t more)
{
	static uint64_t *alone, *with_key;
	static const uint64_t *again;
	struct shmid_ds a, b;

	if (own_segment < 0) {
		own_segment = shmget(IPC_PRIVATE, 5 * PAGE, IPC_CREAT | 0600);
		key_segment = shmget(0x10d9e, 3 * PAGE + 1, IPC_CREAT | 0640);
		alone = attach(own_segment, 0) + PAGE / 4;
		with_key = attach(key_segment, 0) + PAGE / 8;
		again = attach(key_segment, SHM_RDONLY) + PAGE / 8;
		shmctl(own_segment, IPC_RMID, NULL);
	}
	*alone += more;
	*with_key += more;
	if (shmctl(own_segment, IPC_STAT, &a) || shmctl(key_segment, IPC_STAT, &b) ||
	    shmget(0x10d9e, 0, 0) != key_segment || a.shm_dtime || a.shm_nattch != 1 ||
	    !(a.shm_perm.mode & 01000))
		exit(9);
	printf("%lu %lu, attached %lu, mode %o\n", *alone, *again, (unsigned long)b.shm_nattch,
	       b.shm_perm.mode);
}

/* --- areas with attributes ------------------------------------------------------------------------ */

#define LOCKED_PAGES 1024ul

/* Whether one line of a file of the process has both. */
static bool has_line(const char *path, const char *a, const char *b)
{
	FILE *f = fopen(path, "r");
	char line[512];
	bool has = false;

	while (f && !has && fgets(line, sizeof(line), f))
		has = strstr(line, a) && strstr(line, b);
	if (f)
		fclose(f);
	return has;
}

/* Memory that is locked, some of it below none that is; and a file that is only open for reading, mapped shared. */
static void tell_areas(void)
{
	static unsigned char there[LOCKED_PAGES];
	static uint64_t *locked;
	static void *file;
	uint64_t sum = 0, resident = 0;
	char start[32];

	if (!locked) {
		int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
		file = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
		close(fd);
		locked = map_pages(LOCKED_PAGES + 512);
		for (uint64_t i = 0; i < LOCKED_PAGES / 2; i++)
			locked[i * PAGE / 8] = i;
		if (file == MAP_FAILED || mlock(locked, LOCKED_PAGES * PAGE))
			exit(7);
	}
	for (uint64_t i = 0; i < LOCKED_PAGES; i++)
		sum += locked[i * PAGE / 8];
	mincore(locked, LOCKED_PAGES * PAGE, there);
	for (uint64_t i = 0; i < LOCKED_PAGES; i++)
		resident += there[i] & 1;
	snprintf(start, sizeof(start), "%lx-", (unsigned long)file);
	printf("sum %lu, resident %lu, %s, %s\n", sum, resident,
	       has_line("/proc/self/status", "VmLck:", " 4096 kB") ? "locked" : "not locked",
	       has_line("/proc/self/maps", start, "r--s") ? "shared" : "not shared");
}

/* --- talk -------------------------------------------------------------------------------------- */

static int talk(uint64_t mib)
{
	uint64_t nr = mib << 20 >> 12, *word = map_pages(nr), total;
	char line[256];
	int pair[2] = {-1, -1};

	for (uint64_t i = 0; i < nr; i++)
		word[i * PAGE / 8] = i + 1;
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		switch (line[0]) {
		case 'w':
			for (uint64_t i = 0, to = strtoul(line + 2, NULL, 10); i < to && i < nr; i++)
				word[i * PAGE / 8] += 1000000;
			puts("done");
			break;
		case 's':
			total = 0;
			for (uint64_t i = 0; i < nr; i++)
				total += word[i * PAGE / 8];
			printf("%lu\n", total);
			break;
		case 'o':
			for (uint64_t i = 0, n = 16; i < nr; i += n)
				if (write(1, &word[i * PAGE / 8], n * PAGE) != (ssize_t)(n * PAGE))
					return 3;
			break;
		case 'm':
			add_shared(strtoul(line + 2, NULL, 10));
			break;
		case 'v':
			add_segments(strtoul(line + 2, NULL, 10));
			break;
		case 'a':
			tell_areas();
			break;
		case 'k':
			puts(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) ? "failed" : "done");
			break;
		case 'c':
			puts(close(pair[0]) || close(pair[1]) ? "failed" : "done");
			break;
		default:
			return 0;
		}
		fflush(stdout);
	}
	return 0;
}

/* --- tree -------------------------------------------------------------------------------------- */

static atomic_ulong heard;

static void hear(int signo)
{
	(void)signo;
	atomic_fetch_add(&heard, 1);
}

static void pass_on(int from, int to, uint64_t rounds, uint64_t number)
{
	uint64_t x;

	for (uint64_t r = 0; r < rounds; r++) {
		if (read(from, &x, sizeof(x)) != sizeof(x))
			exit(3);
		x = mix(x + number);
		if (write(to, &x, sizeof(x)) != sizeof(x))
			exit(4);
	}
	kill(getppid(), SIGUSR1);
	exit(0);
}

static int tree(int children, uint64_t rounds)
{
	struct sigaction sa = {.sa_handler = hear, .sa_flags = SA_RESTART};
	int first[2], from, status, ok = 0;
	uint64_t x = 1;

	sigaction(SIGUSR1, &sa, NULL);
	if (pipe(first))
		return 2;
	from = first[0];
	for (int i = 0; i < children; i++) {
		int next[2];
		if (pipe(next))
			return 2;
		pid_t pid = fork();
		if (!pid) {
			close(first[1]);
			close(next[0]);
			pass_on(from, next[1], rounds, (uint64_t)i);
		}
		if (pid < 0)
			return 2;
		close(from);
		close(next[1]);
		from = next[0];
	}
	for (uint64_t r = 0; r < rounds; r++)
		if (write(first[1], &x, sizeof(x)) != sizeof(x) || read(from, &x, sizeof(x)) != sizeof(x))
			return 3;
	while (wait(&status) > 0)
		ok += !status;
	printf("number %016lx, %d children, signals %s\n", x, ok, heard ? "heard" : "not heard");
	return 0;
}

/* --- calls ------------------------------------------------------------------------------------- */

static volatile sig_atomic_t ticks;

static void tick(int signo)
{
	(void)signo;
	ticks++;
	(void)!lseek(-1, 0, SEEK_CUR); /* a call in the middle of another's answer */
}

static _Thread_local volatile sig_atomic_t nr_own;

static void count_own(int signo)
{
	(void)signo;
	nr_own++;
}

static void must(bool fine, int status)
{
	if (!fine)
		exit(status);
}

/* Memory that comes, is stored to, and goes: each takes back what processors know. */
static uint64_t touch(uint64_t n)
{
	uint64_t *at = map_pages(4);

	at[0] = n;
	at[PAGE / 8] = mix(n);
	must(!mprotect(at, PAGE, PROT_READ), 11);
	uint64_t sum = at[0] + at[PAGE / 8];
	must(!munmap(at, 4 * PAGE), 12);
	return sum;
}

/* A signal that a call sends to who makes it has been handled when the call is over. */
static void signal_self(void)
{
	sig_atomic_t before = nr_own;

	must(!tgkill(getpid(), gettid(), SIGUSR2), 16);
	must(nr_own == before + 1, 17);
}

/* A call that changes more than rax: what gs names from then on. */
static void move_gs(uint64_t n)
{
	static const uint64_t words[2] = {17, 71};
	uint64_t got;

	must(!syscall(SYS_arch_prctl, ARCH_SET_GS, &words[n % 2]), 18);
	__asm__ volatile("mov %%gs:0, %0" : "=r"(got));
	must(got == words[n % 2], 19);
}

static void child(uint64_t n)
{
	char status[8];
	int ended, expected = (int)(n % 100);
	pid_t parent = getpid(), pid = fork();

	if (!pid) {
		must(getppid() == parent && getpid() != parent && getpid() == gettid(), 13);
		if (n % 2)
			_exit(expected);
		snprintf(status, sizeof(status), "%d", expected);
		execl("/proc/self/exe", "snap_work", "end", status, NULL);
		_exit(101);
	}
	must(pid > 0 && waitpid(pid, &ended, 0) == pid, 14);
	must(WIFEXITED(ended) && WEXITSTATUS(ended) == expected, 15);
}

struct caller {
	pthread_t thread;
	uint64_t rounds, sum;
	bool forks;
};

static void *make_calls(void *arg)
{
	struct caller *c = arg;
	int fd = memfd_create("calls", 0);
	uint64_t back;

	for (uint64_t n = 0; n < c->rounds; n++) {
		off_t at = (off_t)(n % 512 * sizeof(n));
		must(pwrite(fd, &n, sizeof(n), at) == sizeof(n), 3);
		must(lseek(fd, at, SEEK_SET) == at, 4);
		must(read(fd, &back, sizeof(back)) == sizeof(back) && back == n, 5);
		must(lseek(fd, 0, SEEK_CUR) == at + (off_t)sizeof(n), 6);
		c->sum = mix(c->sum + back);
		if (n % 64 == 0)
			c->sum += touch(n);
		if (n % 32 == 0)
			signal_self();
		if (n % 16 == 0)
			move_gs(n / 16);
		if (n % 512 == 0 && c->forks)
			child(n / 512);
		if (n % 128 == 0)
			usleep(n % 384);
	}
	return NULL;
}

static int calls(uint64_t rounds)
{
	const struct itimerval every = {{0, 700}, {0, 700}}, never = {{0, 0}, {0, 0}};
	struct sigaction sa = {.sa_handler = tick, .sa_flags = SA_RESTART}, self = {.sa_handler = count_own};
	struct caller one = {.rounds = rounds, .forks = true}, other = {.rounds = rounds / 4};

	sigaction(SIGALRM, &sa, NULL);
	sigaction(SIGUSR2, &self, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	if (pthread_create(&other.thread, NULL, make_calls, &other))
		return 2;
	make_calls(&one);
	pthread_join(other.thread, NULL);
	setitimer(ITIMER_REAL, &never, NULL);
	printf("calls %016lx %016lx, ticks %s\n", one.sum, other.sum, ticks ? "heard" : "not heard");
	return 0;
}

/* --- share ------------------------------------------------------------------------------------- */

#define SHARED_PAGES 40ul

struct common {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t turn, value;
};

static void take_turn(struct common *c, uint64_t *words, int fd, uint64_t round)
{
	uint64_t at = mix(c->value) % (SHARED_PAGES * PAGE / 8), x;

	if (pread(fd, &x, sizeof(x), (off_t)at * 8) != sizeof(x))
		exit(3);
	c->value = mix(c->value + x + words[at] + round);
	words[at] = c->value;
	if (pwrite(fd, &c->value, sizeof(c->value), (off_t)at * 8) != sizeof(x))
		exit(4);
	c->turn++;
}

static void take_turns(struct common *c, int fd, uint64_t me, uint64_t children, uint64_t rounds)
{
	uint64_t *words = me % 2 ? share_pages(SHARED_PAGES, fd) : (uint64_t *)c + PAGE / 8;

	for (uint64_t r = 0; r < rounds; r++) {
		pthread_mutex_lock(&c->lock);
		while (c->turn % children != me)
			pthread_cond_wait(&c->changed, &c->lock);
		take_turn(c, words, fd, r);
		pthread_cond_broadcast(&c->changed);
		pthread_mutex_unlock(&c->lock);
	}
	exit(0);
}

static int share(uint64_t children, uint64_t rounds)
{
	struct common *c = (struct common *)share_pages(SHARED_PAGES + 1, -1);
	int fd = make_memfd(SHARED_PAGES), status, ok = 0;
	pthread_mutexattr_t of_lock;
	pthread_condattr_t of_cond;

	pthread_mutexattr_init(&of_lock);
	pthread_mutexattr_setpshared(&of_lock, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&c->lock, &of_lock);
	pthread_condattr_init(&of_cond);
	pthread_condattr_setpshared(&of_cond, PTHREAD_PROCESS_SHARED);
	pthread_cond_init(&c->changed, &of_cond);
	for (uint64_t i = 0; i < children; i++) {
		pid_t pid = fork();
		if (!pid)
			take_turns(c, fd, i, children, rounds);
		if (pid < 0)
			return 2;
	}
	while (wait(&status) > 0)
		ok += !status;
	printf("value %016lx after %lu turns, %d children\n", c->value, c->turn, ok);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "calls"))
		return calls(strtoul(argv[2], NULL, 10));
	if (argc == 3 && !strcmp(argv[1], "end"))
		return atoi(argv[2]);
	if (argc == 5 && !strcmp(argv[1], "sum"))
		return sum(atoi(argv[2]), strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
	if (argc == 3 && !strcmp(argv[1], "talk"))
		return talk(strtoul(argv[2], NULL, 10));
	if (argc == 4 && !strcmp(argv[1], "tree"))
		return tree(atoi(argv[2]), strtoul(argv[3], NULL, 10));
	if (argc == 4 && !strcmp(argv[1], "share"))
		return share(strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
	return 2;
}
