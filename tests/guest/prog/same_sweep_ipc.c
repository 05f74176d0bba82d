/* SPDX-License-Identifier: MIT */
/*
 * same_sweep_ipc.c - the calls on semaphores, message queues and segments of System V, with every interesting argument. The objects are made
 * when the program begins and are removed at its end.
 */
#include "sweep.h"

#define A(name)                         \
	{                               \
#name, (uintptr_t)&name \
	}
/* The first of each is the program's own. Natively others have small numbers. */
static struct sweep_value sets[] = {
	{"set", 0},
	{"-1", -1ul},
	{"none", INT_MAX},
	{"min", (uint64_t)INT_MIN},
};
static struct sweep_value queues[] = {
	{"queue", 0},
	{"-1", -1ul},
	{"none", INT_MAX},
	{"min", (uint64_t)INT_MIN},
};
static struct sweep_value segments[] = {
	{"segment", 0},
	{"-1", -1ul},
	{"none", INT_MAX},
	{"min", (uint64_t)INT_MIN},
};
static struct sembuf up = {0, 1, 0}, down = {1, -1, IPC_NOWAIT}, zero = {0, 0, IPC_NOWAIT},
		     beyond = {3, 1, 0}, far = {0, 32767, 0}, too_far[] = {{0, 32767, 0}, {0, 1, 0}},
		     undone = {0, 1, SEM_UNDO}, flags = {0, 1, ~0};
static const struct sweep_value operations[] = {
	A(up),	  A(down),     A(zero),		  A(beyond),	     A(far), A(too_far), A(undone),
	A(flags), {"NULL", 0}, {"hole", AT_HOLE}, {"edge", AT_EDGE},
};
static const struct sweep_value counts[] = {
	{"1", 1}, {"0", 0}, {"-1", -1ul}, {"2", 2}, {"500", 500}, {"501", 501}, {"1<<32", 1ull << 32},
};
static const struct timespec soon = {0, 1000}, negative = {-1, 0}, many = {0, 1000000000};
static const struct sweep_value spans[] = {
	{"NULL", 0}, A(soon), A(negative), A(many), {"hole", AT_HOLE},
};
static const struct sweep_value indexes[] = {
	{"0", 0}, {"-1", -1ul}, {"2", 2}, {"3", 3}, {"max", INT_MAX},
};
static const struct sweep_value set_values[] = {
	{"1", 1}, {"-1", -1ul}, {"0", 0}, {"32767", 32767}, {"32768", 32768}, {"1<<32", 1ull << 32},
};
static const struct sweep_value no_commands[] = {
	{"20", 20}, {"-1", -1ul}, {"4", 4}, {"99", 99}, {"1<<16", 1 << 16},
};
static const struct sweep_value keys[] = {
	{"private", 0},
	{"nobody's", 0x7654321},
};
static const struct sweep_value nrs[] = {
	{"3", 3}, {"0", 0}, {"-1", -1ul}, {"32000", 32000}, {"32001", 32001}, {"max", INT_MAX},
};
static struct {
	long type;
	char text[20];
} message = {1, "text"}, no_type = {0, "text"}, minus_type = {-1, "text"};
static const struct sweep_value messages[] = {
	A(message), A(no_type), A(minus_type), {"NULL", 0}, {"hole", AT_HOLE}, {"edge", AT_EDGE},
};
static const struct sweep_value sizes[] = {
	{"4", 4}, {"-1", -1ul}, {"8193", 8193},	     {"0", 0},
	{"3", 3}, {"20", 20},	{"min", 1ull << 63}, {"1<<32", 1ull << 32},
};
static const struct sweep_value types[] = {
	{"0", 0}, {"1", 1}, {"2", 2}, {"-1", -1ul}, {"-5", -5ul}, {"min", 1ull << 63},
};
static const struct sweep_value receive_flags[] = {
	{"NOWAIT", IPC_NOWAIT},
	{"NOERROR", IPC_NOWAIT | MSG_NOERROR},
	{"EXCEPT", IPC_NOWAIT | MSG_EXCEPT},
	{"COPY", IPC_NOWAIT | 040000},
	{"COPY, EXCEPT", IPC_NOWAIT | 040000 | MSG_EXCEPT},
	{"COPY alone", 040000},
	{"odd", IPC_NOWAIT | 1},
};

static struct sweep_call calls[] = {
	CALL(semget, CHANGES, WITH(keys, 0x7654321), WITH(nrs, 3), ONLY(0600)),
	CALL(semop, CHANGES, WITH(sets, 0), WITH(operations, &up), WITH(counts, 1)),
	CALL(semtimedop, CHANGES, WITH(sets, 0), WITH(operations, &up), WITH(counts, 1), WITH(spans, 0)),
	CALL(semctl, CHANGES | VALUE, WITH(sets, 0), WITH(indexes, 0), ONLY(GETVAL), ONLY(0)),
	CALL(semctl, CHANGES | VALUE, WITH(sets, 0), WITH(indexes, 0), ONLY(GETNCNT), ONLY(0)),
	CALL(semctl, CHANGES | VALUE, WITH(sets, 0), WITH(indexes, 0), ONLY(GETZCNT), ONLY(0)),
	CALL(semctl, CHANGES, WITH(sets, 0), WITH(indexes, 0), ONLY(GETALL), OUT),
	CALL(semctl, CHANGES, WITH(sets, 0), WITH(indexes, 0), ONLY(SETVAL), WITH(set_values, 1)),
	CALL(semctl, CHANGES, WITH(sets, 0), WITH(indexes, 0), ONLY(SETALL), OUT),
	CALL(semctl, CHANGES, WITH(sets, 0), WITH(indexes, 0), ONLY(IPC_STAT), OUT),
	CALL(semctl, CHANGES, WITH(sets, 0), WITH(indexes, 0), ONLY(IPC_INFO), OUT),
	CALL(semctl, CHANGES, WITH(sets, 0), WITH(indexes, 0), ONLY(SEM_INFO), OUT),
	CALL(semctl, CHANGES, WITH(sets, 0), WITH(indexes, 0), WITH(no_commands, 20), OUT),
	CALL(msgget, CHANGES, WITH(keys, 0x7654321), ONLY(0600)),
	CALL(msgsnd, CHANGES, WITH(queues, 0), WITH(messages, &message), WITH(sizes, 4), ONLY(IPC_NOWAIT)),
	CALL(msgrcv, CHANGES | VALUE, WITH(queues, 0), OUT, WITH(sizes, 20), WITH(types, 0),
	     WITH(receive_flags, IPC_NOWAIT)),
	CALL(msgctl, CHANGES, WITH(queues, 0), ONLY(IPC_STAT), OUT),
	CALL(msgctl, CHANGES, WITH(queues, 0), ONLY(IPC_INFO), OUT),
	CALL(msgctl, CHANGES, WITH(queues, 0), ONLY(MSG_INFO), OUT),
	CALL(msgctl, CHANGES, WITH(queues, 0), WITH(no_commands, 20), OUT),
	CALL(shmget, CHANGES, WITH(keys, 0x7654321), WITH(sizes, 4), ONLY(0600)),
	CALL(shmctl, CHANGES, WITH(segments, 0), ONLY(IPC_STAT), OUT),
	CALL(shmctl, CHANGES, WITH(segments, 0), ONLY(IPC_INFO), OUT),
	CALL(shmctl, CHANGES, WITH(segments, 0), ONLY(SHM_INFO), OUT),
	CALL(shmctl, CHANGES, WITH(segments, 0), WITH(no_commands, 20), OUT),
	CALL(shmat, CHANGES, WITH(segments, 0), WITH(sweep_addresses, 0), BITS(0)),
	CALL(shmdt, CHANGES, WITH(sweep_addresses, AT_RW)),
	/* The last, since they leave no rights. */
	CALL(semctl, CHANGES, WITH(sets, 0), WITH(indexes, 0), ONLY(IPC_SET), OUT),
	CALL(shmctl, CHANGES, WITH(segments, 0), ONLY(IPC_SET), OUT),
};

/* Where an object is the base of an argument, it is the one that there is now. */
static void place(const struct sweep_value *values, uint64_t id)
{
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].a[0].kind.values == values)
			calls[i].a[0].base = id;
}

int main(int argc, char **argv)
{
	bool lists = argc > 1 && !strcmp(argv[1], "--list");
	int set = lists ? 0 : semget(IPC_PRIVATE, 3, IPC_CREAT | 0600),
	    queue = lists ? 0 : msgget(IPC_PRIVATE, IPC_CREAT | 0600),
	    segment = lists ? 0 : shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600), ret;

	sets[0].value = (uint64_t)set;
	queues[0].value = (uint64_t)queue;
	segments[0].value = (uint64_t)segment;
	place(sets, (uint64_t)set);
	place(queues, (uint64_t)queue);
	place(segments, (uint64_t)segment);
	ret = sweep_main(argc, argv, calls, ARRAY_SIZE(calls));
	if (lists)
		return ret;
	semctl(set, 0, IPC_RMID);
	msgctl(queue, IPC_RMID, NULL);
	shmctl(segment, IPC_RMID, NULL);
	return ret;
}
