/* SPDX-License-Identifier: MIT */
/*
 * mailbox_model_test.c - the protocol of docs/traps.md, every interleaving of it.
 *
 * A program makes a few calls through its gate while its owner looks on, its runner runs it, and somebody kicks. Each step below is one
 * access to memory that others see, or one call of the host's. All states that can be reached are visited, and in each:
 *   - no call was made twice, and what the gate returns is that call's value
 *   - somebody can do something, unless all calls are over; and from each state the end can be reached
 * Three mistakes are built in as switches, and each must be found.
 *
 * Not here: registers, which vmm_test.c counts, and bounds in time: a gate may give up, and an owner may sleep, at any look.
 */
#include <stdlib.h>
#include <string.h>

#include "../../src/guest/abi.h"
#include "../harness.h"

#define NR_CALLS 3
#define NR_KICKS 3

/* Where the program is: in the order of gate.S. */
enum { IN_PROGRAM, IN_ENTRY, IN_ASK, IN_CLAIM, IN_ANSWER, IN_GIVE_UP, IN_READ, IN_DONE, IN_LEAVE, IN_EXIT };
/* Whose turn it is (runner.c), and whether the other sleeps. */
enum { TURN_OUT, TURN_RUNS };
/* Why KVM_RUN came back. */
enum { CAME_BY_CALL, CAME_BY_KICK, CAME_BY_END };
/* What the owner is about to do (run.c, mailbox.c). */
enum {
	OWNER_ENTERS,
	OWNER_ATTENDS,
	OWNER_LENDS,
	OWNER_LOOKS,
	OWNER_TAKES,
	OWNER_TIRES,
	OWNER_LOOKS_ONCE_MORE,
	OWNER_BEDS,
	OWNER_SLEEPS,
	OWNER_HANDLES,
	OWNER_REPLIES,
	OWNER_DISMISSES,
	OWNER_RECALLS,
	OWNER_CONCLUDES,
	OWNER_ENDED
};
/* What the runner is about to do. */
enum { RUNNER_LOOKS, RUNNER_BEDS, RUNNER_SLEEPS_ON, RUNNER_ENTERS, RUNNER_IN_GUEST, RUNNER_TELLS };

struct world {
	uint8_t program, call; /* of the call that it makes, or made last */
	uint8_t gave_up_old;   /* what XCHG found; 0xff: it has not been */
	uint8_t read;	       /* the value that the gate has read */
	uint8_t state, attended, value;
	uint8_t turn, sleeper; /* the word of runner.c */
	uint8_t runner, came, immediate, kicks_left;
	uint8_t kicked;
	uint8_t owner, taken; /* it handles a call that came by the mailbox */
	uint8_t result;	      /* of the call that was handled, for the next entry */
	uint8_t made[NR_CALLS + 1];
};

static enum { RIGHT, WITHOUT_EXCHANGE, WITHOUT_WAKE, WITHOUT_RESOLVING } mistake;

#define MAX_STATES (1u << 18)
#define MAX_EDGES  (1u << 20)

static struct world *seen;
static uint32_t *table, nr_seen, (*edges)[2], nr_edges, from;
static bool bad;

static uint32_t hash(const struct world *w)
{
	const uint8_t *bytes = (const uint8_t *)w;
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < sizeof(*w); i++)
		h = (h ^ bytes[i]) * 16777619u;
	return h;
}

static void reach(const struct world *w)
{
	uint32_t at = hash(w) % (2 * MAX_STATES);

	while (table[at] && memcmp(&seen[table[at] - 1], w, sizeof(*w)))
		at = (at + 1) % (2 * MAX_STATES);
	if (!table[at]) {
		assert_true(nr_seen < MAX_STATES);
		seen[nr_seen] = *w;
		table[at] = ++nr_seen;
	}
	assert_true(nr_edges < MAX_EDGES);
	edges[nr_edges][0] = from;
	edges[nr_edges++][1] = table[at] - 1;
}

/* --- the program, while KVM_RUN runs it ------------------------------------------------------------------------------- */

/* The value of a call is its number. */
static void leave(struct world w)
{
	bad |= w.read != w.call;
	w.program = IN_PROGRAM;
	w.read = 0;
	w.gave_up_old = 0xff;
	reach(&w);
}

static void come_out(struct world w, uint8_t why)
{
	w.came = why;
	w.runner = RUNNER_TELLS;
	reach(&w);
}

static void go(struct world w, uint8_t to)
{
	w.program = to;
	reach(&w);
}

static void spin_once(struct world w, uint8_t awaited, uint8_t otherwise)
{
	if (w.state == GATE_STATE_ANSWERED)
		go(w, IN_READ);
	else if (w.state != awaited)
		go(w, otherwise);
	else
		go(w, IN_GIVE_UP); /* or looks again, which changes nothing */
}

static void give_up(struct world w)
{
	uint8_t old = w.state;

	if (mistake == WITHOUT_EXCHANGE) {
		w.state = GATE_STATE_EXIT;
		go(w, IN_EXIT);
		return;
	}
	w.state = GATE_STATE_EXIT;
	w.gave_up_old = old;
	go(w, old == GATE_STATE_ANSWERED ? IN_READ : IN_EXIT);
}

static void step_program(struct world w)
{
	switch (w.program) {
	case IN_PROGRAM:
		if (w.call == NR_CALLS) {
			come_out(w, CAME_BY_END);
			return;
		}
		w.call++;
		go(w, IN_ENTRY);
		break;
	case IN_ENTRY:
		go(w, w.attended ? IN_ASK : IN_EXIT);
		break;
	case IN_ASK:
		w.state = GATE_STATE_REQUEST;
		go(w, IN_CLAIM);
		break;
	case IN_CLAIM:
		spin_once(w, GATE_STATE_REQUEST, IN_ANSWER);
		break;
	case IN_ANSWER:
		spin_once(w, GATE_STATE_TAKEN, IN_EXIT);
		break;
	case IN_GIVE_UP:
		give_up(w);
		break;
	case IN_READ:
		w.read = w.value;
		go(w, IN_DONE);
		break;
	case IN_DONE:
		w.state = GATE_STATE_IDLE;
		go(w, IN_LEAVE);
		break;
	case IN_LEAVE:
		leave(w);
		break;
	default:
		come_out(w, CAME_BY_CALL);
		break;
	}
}

/* --- the runner ------------------------------------------------------------------------------------------------------- */

static void runner_to(struct world w, uint8_t to)
{
	w.runner = to;
	reach(&w);
}

static void step_runner(struct world w)
{
	switch (w.runner) {
	case RUNNER_LOOKS:
		runner_to(w, w.turn == TURN_RUNS ? RUNNER_ENTERS : RUNNER_BEDS);
		break;
	case RUNNER_BEDS: /* compare-and-exchange, and the futex looks again */
		if (w.turn == TURN_OUT)
			w.sleeper = 1;
		runner_to(w, w.turn == TURN_OUT ? RUNNER_SLEEPS_ON : RUNNER_LOOKS);
		break;
	case RUNNER_SLEEPS_ON:
		if (w.turn == TURN_OUT && w.sleeper)
			return; /* until whoever changes the word wakes it */
		if (mistake != WITHOUT_WAKE)
			runner_to(w, RUNNER_LOOKS);
		break;
	case RUNNER_ENTERS:
		if (w.immediate)
			come_out(w, CAME_BY_KICK);
		else
			runner_to(w, RUNNER_IN_GUEST);
		break;
	case RUNNER_IN_GUEST:
		if (w.immediate && w.program != IN_EXIT) /* from halfway it is let go on */
			come_out(w, CAME_BY_KICK);
		step_program(w);
		break;
	default:
		w.turn = TURN_OUT;
		w.sleeper = 0;
		runner_to(w, RUNNER_LOOKS);
		break;
	}
}

/* --- the owner -------------------------------------------------------------------------------------------------------- */

static void owner_to(struct world w, uint8_t to)
{
	w.owner = to;
	reach(&w);
}

static void handle(struct world w)
{
	bad |= w.made[w.call]++ > 0;
	w.result = w.call;
	owner_to(w, w.taken ? OWNER_REPLIES : OWNER_ENTERS);
	if (w.taken)
		owner_to(w, OWNER_DISMISSES); /* more than rax has changed */
}

/* gate_resolve: was the call over that it was stopped in? */
static bool is_over(const struct world *w)
{
	if (w->program == IN_PROGRAM || mistake == WITHOUT_RESOLVING)
		return true;
	return w->program >= IN_READ || (w->program >= IN_CLAIM && w->state == GATE_STATE_ANSWERED);
}

static void conclude(struct world w)
{
	w.taken = 0;
	if (w.came == CAME_BY_END) {
		owner_to(w, OWNER_ENDED);
		return;
	}
	if (w.came == CAME_BY_CALL || !is_over(&w)) {
		owner_to(w, OWNER_HANDLES);
		return;
	}
	if (w.program != IN_PROGRAM) { /* the value is in rax, or at hand */
		w.read = w.program >= IN_DONE && w.program <= IN_LEAVE ? w.read : w.value;
		bad |= w.read != w.call;
	}
	w.kicked = w.immediate = 0;
	w.result = w.call;
	owner_to(w, OWNER_ENTERS);
}

static void take(struct world w, uint8_t otherwise)
{
	if (w.state != GATE_STATE_REQUEST) {
		owner_to(w, otherwise);
		return;
	}
	w.state = GATE_STATE_TAKEN;
	w.attended = 1;
	w.taken = 1;
	owner_to(w, OWNER_HANDLES);
}

static void reply(struct world w)
{
	w.value = w.result;
	if (w.state == GATE_STATE_TAKEN) {
		w.state = GATE_STATE_ANSWERED;
		w.taken = 0;
		owner_to(w, OWNER_LOOKS);
	} else {
		owner_to(w, OWNER_DISMISSES);
	}
}

/* All registers are set: whatever the gate was at, the call is over. */
static void enter(struct world w)
{
	bad |= w.result != w.call;
	w.program = IN_PROGRAM;
	w.read = 0;
	w.gave_up_old = 0xff;
	w.immediate = w.kicked;
	w.state = GATE_STATE_IDLE;
	owner_to(w, OWNER_ATTENDS);
}

static void step_owner(struct world w)
{
	switch (w.owner) {
	case OWNER_ENTERS:
		enter(w);
		break;
	case OWNER_ATTENDS:
		w.attended = 1;
		owner_to(w, OWNER_LENDS);
		break;
	case OWNER_LENDS:
		w.turn = TURN_RUNS;
		w.sleeper = 0;
		owner_to(w, OWNER_LOOKS);
		break;
	case OWNER_LOOKS:
		owner_to(w, w.turn == TURN_OUT ? OWNER_CONCLUDES : OWNER_TAKES);
		break;
	case OWNER_TAKES:
		take(w, OWNER_TIRES);
		break;
	case OWNER_TIRES: /* or looks again, which changes nothing */
		w.attended = 0;
		owner_to(w, OWNER_LOOKS_ONCE_MORE);
		break;
	case OWNER_LOOKS_ONCE_MORE:
		take(w, OWNER_BEDS);
		break;
	case OWNER_BEDS:
		if (w.turn == TURN_RUNS)
			w.sleeper = 1;
		owner_to(w, w.turn == TURN_RUNS ? OWNER_SLEEPS : OWNER_LOOKS);
		break;
	case OWNER_SLEEPS:
		if (w.turn == TURN_OUT || !w.sleeper)
			owner_to(w, OWNER_LOOKS);
		break;
	case OWNER_HANDLES:
		handle(w);
		break;
	case OWNER_REPLIES:
		reply(w);
		break;
	case OWNER_DISMISSES:
		w.attended = 0;
		if (w.state == GATE_STATE_TAKEN)
			w.state = GATE_STATE_EXIT;
		owner_to(w, OWNER_RECALLS);
		break;
	case OWNER_RECALLS:
		if (w.turn == TURN_OUT) {
			w.taken = 0;
			owner_to(w, OWNER_ENTERS);
		}
		break;
	case OWNER_CONCLUDES:
		conclude(w);
		break;
	default:
		break;
	}
}

static void step_kicker(struct world w)
{
	if (!w.kicks_left || w.owner == OWNER_ENDED)
		return;
	w.kicks_left--;
	w.kicked = w.immediate = 1;
	if (w.owner == OWNER_SLEEPS) /* a signal ends the sleep */
		w.owner = OWNER_LOOKS;
	reach(&w);
}

/* --- all of it -------------------------------------------------------------------------------------------------------- */

static bool is_end(const struct world *w)
{
	return w->owner == OWNER_ENDED;
}

/* Goes back from the ends. Returns the states from which none can be reached. */
static uint32_t count_lost(void)
{
	bool *ends = calloc(nr_seen, sizeof(*ends)), more = true;
	uint32_t lost = 0;

	for (uint32_t i = 0; i < nr_seen; i++)
		ends[i] = is_end(&seen[i]);
	while (more) {
		more = false;
		for (uint32_t i = nr_edges; i-- > 0;)
			if (ends[edges[i][1]] && !ends[edges[i][0]])
				more = ends[edges[i][0]] = true;
	}
	for (uint32_t i = 0; i < nr_seen; i++)
		lost += !ends[i];
	free(ends);
	return lost;
}

struct verdict {
	bool bad;
	uint32_t states, lost;
};

static struct verdict explore(void)
{
	struct world first = {.state = GATE_STATE_IDLE, .gave_up_old = 0xff, .kicks_left = NR_KICKS};

	seen = calloc(MAX_STATES, sizeof(*seen));
	table = calloc(2 * MAX_STATES, sizeof(*table));
	edges = calloc(MAX_EDGES, sizeof(*edges));
	assert_true(seen && table && edges);
	nr_seen = nr_edges = 0;
	bad = false;
	from = 0;
	reach(&first);
	for (from = 0; from < nr_seen && !bad; from++) {
		struct world w = seen[from];
		step_runner(w);
		step_owner(w);
		step_kicker(w);
	}
	struct verdict v = {.bad = bad, .states = nr_seen, .lost = bad ? 0 : count_lost()};
	free(seen);
	free(table);
	free(edges);
	return v;
}

static void every_interleaving(void **state)
{
	(void)state;
	mistake = RIGHT;
	struct verdict v = explore();
	print_message("%u states\n", v.states);
	assert_true(v.states > 1000);
	assert_false(v.bad);
	assert_int_equal(v.lost, 0);
}

static void mistakes_are_found(void **state)
{
	(void)state;
	mistake = WITHOUT_EXCHANGE;
	assert_true(explore().bad);
	mistake = WITHOUT_WAKE;
	assert_true(explore().lost > 0);
	mistake = WITHOUT_RESOLVING;
	assert_true(explore().bad);
}

#define TEST(name, fn)                     \
	{                                  \
		name, fn, NULL, NULL, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST("mailbox: no interleaving loses a call, makes one twice or ends in a stop",
		     every_interleaving),
		TEST("mailbox: the model finds a give-up that does not look, a wake that is forgotten, a "
		     "kick that "
		     "loses a call",
		     mistakes_are_found),
	};

	return cmocka_run_group_tests_name("mailbox_model", tests, NULL, NULL);
}
