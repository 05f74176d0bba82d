/* SPDX-License-Identifier: MIT */
/*
 * runner.h - a thread that runs a processor in its owner's place, while the owner looks into its mailbox (docs/traps.md).
 *
 * One word says whose turn it is. The owner sets up registers and lends the processor; the runner does the one KVM_RUN, with
 * what belongs to it, and the processor is out again: what it ended with is in the vCPU. Between the two the owner touches
 * nothing of the processor but what is atomic. A runner is made when it is first needed and lives as long as its processor.
 *
 * Times: an owner that looks on uses a core, and so does a runner, which is where the program runs. runner_cpu_ns is what has to be added
 * to the owner's own processor time to have the program's.
 */
#ifndef LODGE_VMM_RUNNER_H
#define LODGE_VMM_RUNNER_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/* (A) atomic  (O) the owner  (T) times_lock */
struct runner {
	_Atomic uint32_t
		turn; /* (A) RUNNER_, and RUNNER_SLEEPS: whoever's turn it is not waits for it in a futex */
	_Atomic bool there;    /* (A) the thread was made */
	pthread_t thread;      /* valid when there */
	_Atomic bool calls;    /* (A) the program waits for a call that its owner makes */
	bool lent;	       /* (O) from runner_lend until runner_take_back, or runner_is_out was true */
	cpu_set_t processors;  /* (O) that both threads may use */
	cpu_set_t mine;	       /* (O) those of them that the runner may use at the moment */
	int owner_fd;	       /* (O) what the owner waits for processors (cores.c); -1: not known */
	_Atomic int runner_fd; /* (A) the runner likewise */
	pthread_mutex_t times_lock;
	bool open;				  /* (T) it was lent and has not been taken back */
	uint64_t owner_since_ns, runner_since_ns; /* (T) the threads' times when it was lent */
	int64_t owner_ns, runner_ns;		  /* (T) what they used while it was, before that */
};

void runner_init(struct runner *r);
/* Ends the thread; it is not lent. */
void runner_destroy(struct runner *r);

/* How many processors the two may use. 0 or -errno. */
int runner_count_processors(struct vcpu *v, unsigned int *nr);
/* Makes the thread, if it is not there, and has it run anywhere but where the caller, its owner, is now. 0 or -errno. */
int runner_prepare(struct vcpu *v);
/* Lets it run wherever its owner may. */
void runner_let_go(struct vcpu *v);

/* Has vcpu_run_entered called there. */
void runner_lend(struct vcpu *v);

/* True: the processor is out, and the owner's again. */
bool runner_is_out(struct vcpu *v);

/* Waits for it without using a core, a signal at most. */
void runner_wait(struct vcpu *v);

/* It runs the program now, which does not wait for its owner. Any thread. */
bool runner_runs(struct vcpu *v);

/* Interrupts it. Any thread. */
void runner_kick(struct vcpu *v);

/* The program's time less the owner's; any thread. */
int64_t runner_cpu_ns(struct vcpu *v);
/* What owners have spent looking on, handlers included, and what runners have run, so far. */
uint64_t runner_owner_ns(struct vcpu *v);

/* Its owner leaves, and takes with it what is open for it alone. */
void runner_forget_owner(struct runner *r);
/* For another owner: no times. */
void runner_reset(struct runner *r);

#endif
