/* SPDX-License-Identifier: MIT */
/*
 * ipc_test.c - semaphores and messages of System V by many threads at once, each a task of its own process. What the semaphores and queues
 * protect is plain memory, so that a sanitizer of threads sees what they order.
 */
#include "../../src/linux/ipc.h"
#include "../../src/linux/msg.h"
#include "../../src/linux/sem.h"
#include "../../src/linux/task.h"

#include "../harness.h"

#define NR_TASKS    6
#define ROUNDS	    2000
#define NR_MESSAGES 1500

static struct sandbox *sandbox;
static struct task *tasks[NR_TASKS];

static int setup(void **state)
{
	(void)state;
	sandbox = sandbox_new(LODGE_NET_NONE, 0);
	assert_non_null(sandbox);
	for (int i = 0; i < NR_TASKS; i++) {
		tasks[i] = calloc(1, sizeof(*tasks[i]));
		tasks[i]->sandbox = sandbox;
		tasks[i]->process = process_new(sandbox);
		tasks[i]->process->pid = tasks[i]->pid = tasks[i]->tid = 100 + i;
		cred_init(&tasks[i]->cred, &sandbox->identity);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_true(ipc_ns_is_empty(sandbox->ipc));
	for (int i = 0; i < NR_TASKS; i++) {
		process_free(tasks[i]->process);
		free(tasks[i]);
	}
	sandbox_destroy(sandbox);
	return 0;
}

/* Whatever a thread finds: it must not leave its function as the test's own would. */
static _Atomic unsigned int nr_wrong;

static void expect(bool is_so)
{
	if (!is_so)
		atomic_fetch_add(&nr_wrong, 1);
}

static void run_all(void *(*run)(void *task))
{
	pthread_t thread[NR_TASKS];

	for (int i = 0; i < NR_TASKS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, run, tasks[i]), 0);
	for (int i = 0; i < NR_TASKS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(nr_wrong, 0);
}

/* --- semaphores ------------------------------------------------------------------------------ */

static int set;
static unsigned long protected; /* by the set's first semaphore */

static void *take_turns(void *task)
{
	struct sembuf down = {0, -1, 0}, up[] = {{0, 1, 0}, {1, 1, 0}};

	for (int i = 0; i < ROUNDS; i++) {
		expect(sem_operate(task, set, &down, 1, NULL) == 0);
		protected++;
		expect(sem_operate(task, set, up, 2, NULL) == 0);
	}
	return NULL;
}

static void a_semaphore_excludes(void **state)
{
	(void)state;
	protected = 0;
	set = (int)sem_get(tasks[0], IPC_PRIVATE, 2, IPC_CREAT | 0600);
	assert_true(set >= 0);
	assert_int_equal(sem_set_value(tasks[0], set, 0, 1), 0);
	run_all(take_turns);
	assert_int_equal(protected, (unsigned long)NR_TASKS * ROUNDS);
	assert_int_equal(sem_ask(tasks[0], set, 0, GETVAL), 1);
	assert_int_equal(sem_ask(tasks[0], set, 1, GETVAL), NR_TASKS * ROUNDS);
	assert_int_equal(sem_remove(tasks[0], set), 0);
}

/* All of one call or nothing: whoever holds both has taken them at once, so that nobody waits for ever. */
static void *take_both(void *arg)
{
	struct task *t = arg;
	bool odd = t->pid & 1;
	struct sembuf down[] = {{odd, -1, SEM_UNDO}, {!odd, -1, SEM_UNDO}},
		      up[] = {{odd, 1, SEM_UNDO}, {!odd, 1, SEM_UNDO}};

	for (int i = 0; i < ROUNDS / 4; i++) {
		expect(sem_operate(t, set, down, 2, NULL) == 0);
		protected++;
		if (i % 50 == 49)
			sem_process_exits(t->process); /* gives back what it holds */
		else
			expect(sem_operate(t, set, up, 2, NULL) == 0);
	}
	return NULL;
}

static void what_ends_gives_back(void **state)
{
	(void)state;
	protected = 0;
	set = (int)sem_get(tasks[0], IPC_PRIVATE, 2, IPC_CREAT | 0600);
	assert_int_equal(sem_set_value(tasks[0], set, 0, 1), 0);
	assert_int_equal(sem_set_value(tasks[0], set, 1, 1), 0);
	run_all(take_both);
	assert_int_equal(protected, (unsigned long)NR_TASKS * (ROUNDS / 4));
	assert_int_equal(sem_ask(tasks[0], set, 0, GETVAL), 1);
	assert_int_equal(sem_ask(tasks[0], set, 1, GETVAL), 1);
	assert_int_equal(sem_remove(tasks[0], set), 0);
}

static void *wait_until_removed(void *arg)
{
	struct task *t = arg;
	struct sembuf down = {0, -1, 0};

	if (t != tasks[0]) {
		expect(sem_operate(t, set, &down, 1, NULL) == -EIDRM);
		return NULL;
	}
	while (sem_ask(t, set, 0, GETNCNT) != NR_TASKS - 1)
		sched_yield();
	expect(sem_remove(t, set) == 0);
	return NULL;
}

static void removal_wakes_all(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		set = (int)sem_get(tasks[0], IPC_PRIVATE, 1, IPC_CREAT | 0600);
		run_all(wait_until_removed);
	}
}

/* --- messages -------------------------------------------------------------------------------- */

static int queue;
static unsigned long sum_received[NR_TASKS];

static void send_numbers(struct task *t)
{
	for (unsigned long n = 1; n <= NR_MESSAGES; n++) {
		struct message *m = message_new((long)(n % 3) + 1, sizeof(n) + n % 500);
		expect(m);
		memcpy(message_text(m), &n, sizeof(n));
		expect(msg_send(t, queue, m, 0) == 0);
	}
}

/* Each of the receivers takes one type. */
static void receive_numbers(struct task *t, long type)
{
	unsigned long n, *sum = &sum_received[t->pid - 100];
	struct message *m;

	for (int i = 0; i < NR_TASKS / 2 * (NR_MESSAGES / 3); i++) {
		expect(msg_receive(t, queue, 1000, type, 0, &m) == 0);
		expect(message_type(m) == type);
		memcpy(&n, message_text(m), sizeof(n));
		*sum += n;
		message_free(m);
	}
}

static void *send_or_receive(void *arg)
{
	struct task *t = arg;
	int i = t->pid - 100;

	if (i < NR_TASKS / 2)
		send_numbers(t);
	else
		receive_numbers(t, i - NR_TASKS / 2 + 1);
	return NULL;
}

static void every_message_arrives(void **state)
{
	unsigned long sum = 0;

	(void)state;
	memset(sum_received, 0, sizeof(sum_received));
	queue = (int)msg_get(tasks[0], IPC_PRIVATE, IPC_CREAT | 0600);
	run_all(send_or_receive);
	for (int i = 0; i < NR_TASKS; i++)
		sum += sum_received[i];
	assert_int_equal(sum, NR_TASKS / 2 * (NR_MESSAGES * (NR_MESSAGES + 1ul) / 2));
	assert_int_equal(msg_remove(tasks[0], queue), 0);
}

/* --- objects that come and go ---------------------------------------------------------------- */

#define NR_KEYS 3

/* Whatever a call meets, it is one of these. */
static void is_expected(int64_t ret)
{
	expect(ret >= 0 || ret == -EINVAL || ret == -EIDRM || ret == -EAGAIN || ret == -ENOMSG ||
	       ret == -EFBIG);
}

static void *come_and_go(void *arg)
{
	struct task *t = arg;
	unsigned int seed = (unsigned int)t->pid;
	struct sembuf down = {0, -1, IPC_NOWAIT | SEM_UNDO}, up = {1, 1, SEM_UNDO};
	struct semid_ds ds;

	for (int i = 0; i < ROUNDS; i++) {
		key_t key = 1 + rand_r(&seed) % NR_KEYS;
		int id = (int)sem_get(t, key, 2, IPC_CREAT | 0600),
		    q = (int)msg_get(t, key, IPC_CREAT | 0600);
		struct message *m = message_new(1, 10);

		is_expected(id);
		is_expected(sem_operate(t, id, &up, 1, NULL));
		is_expected(sem_operate(t, id, &down, 1, NULL));
		is_expected(sem_stat(t, rand_r(&seed) % NR_KEYS, SEM_STAT_ANY, &ds));
		if (msg_send(t, q, m, IPC_NOWAIT))
			message_free(m);
		if (!msg_receive(t, q, 10, 0, IPC_NOWAIT, &m))
			message_free(m);
		if (rand_r(&seed) % 4 == 0)
			is_expected(sem_remove(t, id));
		if (rand_r(&seed) % 4 == 0)
			is_expected(msg_remove(t, q));
		if (rand_r(&seed) % 50 == 0)
			sem_process_exits(t->process);
	}
	return NULL;
}

static void objects_come_and_go(void **state)
{
	(void)state;
	run_all(come_and_go);
	for (key_t key = 1; key <= NR_KEYS; key++) {
		sem_remove(tasks[0], (int)sem_get(tasks[0], key, 0, 0));
		msg_remove(tasks[0], (int)msg_get(tasks[0], key, 0));
	}
}

int main(void)
{
#define CASE(title, fn)                          \
	{                                        \
		title, fn, setup, teardown, NULL \
	}
	const struct CMUnitTest tests[] = {
		CASE("ipc: a semaphore excludes", a_semaphore_excludes),
		CASE("ipc: operations of a call are one, and undone at the end", what_ends_gives_back),
		CASE("ipc: removal wakes all that wait", removal_wakes_all),
		CASE("ipc: every message arrives once", every_message_arrives),
		CASE("ipc: sets and queues come and go under their users", objects_come_and_go),
	};

	return cmocka_run_group_tests_name("ipc", tests, NULL, NULL);
}
