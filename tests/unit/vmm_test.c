/* SPDX-License-Identifier: MIT */
/*
 * vmm_test.c - the machine under KVM: descriptors, entry and exit, revocation in every form, several processors.
 *
 * Guests here are a few instructions each; they come back by a SYSCALL, or by the fault that is looked for. Skipped where
 * there is no KVM.
 */
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../src/vmm/kvm.h"
#include "../harness.h"

#define CODE_VA 0x400000ull
#define DATA_VA 0x10000000ull

/* Labels of code below, in .rodata of this file. */
#define BLOB(name, text)                                                                      \
	__asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection\n"); \
	extern const char name[], name##_end[]

BLOB(load_byte, "mov (%rbx), %al\n syscall\n");
BLOB(store_byte, "movb $7, (%rbx)\n syscall\n");
BLOB(call_rbx, "call *%rbx\n syscall\n");
BLOB(jump_rbx, "jmp *%rbx\n");
BLOB(just_ret, "ret\n");
BLOB(just_syscall, "syscall\n");
BLOB(just_ud2, "ud2\n");
BLOB(read_forever, "1: mov (%rbx), %al\n incq (%rcx)\n jmp 1b\n");
BLOB(spin, "1: pause\n jmp 1b\n");
BLOB(sum_pages, "xor %eax, %eax\n 1: add (%rbx), %rax\n add $4096, %rbx\n dec %rdx\n jnz 1b\n mov %rax, "
		"%r12\n syscall\n");

BLOB(access_word, "test %rdx, %rdx\n jz 1f\n mov %rcx, (%rbx)\n 1: mov (%rbx), %r12\n syscall\n");
BLOB(ring0_ltr, "mov $0x40, %eax\n ltr %ax\n jmp *%rbx\n");
BLOB(ring0_cs, "mov %cs, %eax\n mov %rax, (%rcx)\n jmp *%rbx\n");

BLOB(ring0_count, "1: inc %r12\n dec %rdx\n jnz 1b\n jmp *%rbx\n");
BLOB(call_twice, "syscall\n ud2\n");
BLOB(ask_forever,
     "1: mov $39, %eax\n syscall\n cmp $4711, %eax\n jne 2f\n cmp %r15, %rsp\n jne 2f\n inc %r12\n "
     "jmp 1b\n 2: ud2\n");

/* Counts the answers: each is one more than the last, and nothing but rax may change. */
BLOB(count_answers,
     "1: mov $500, %eax\n syscall\n cmp %r13, %rax\n jne 2f\n cmp %r15, %rsp\n jne 2f\n cmp $77, %rdi\n"
     "jne 2f\n inc %r13\n mov (%rbx), %r14b\n jmp 1b\n 2: ud2\n");
BLOB(call_forever, "1: mov $500, %eax\n syscall\n jmp 1b\n");

struct machine {
	struct arena arena;
	struct vm *vm;
	struct mm *mm;
	struct vcpu *v;
};

static bool have_kvm;

static struct mm *make_space(struct machine *m)
{
	struct mm *mm = mm_create(vm_mm_host(m->vm), 65536);

	assert_non_null(mm);
	struct mmap_request r = {.address = CODE_VA,
				 .length = PAGE_SIZE,
				 .prot = PROT_BITS_READ | PROT_BITS_WRITE | PROT_BITS_EXEC};
	r.flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
	assert_int_equal(mm_mmap(mm, &r), CODE_VA);
	return mm;
}

static int setup(void **state)
{
	static struct machine m;

	if (!have_kvm)
		return 0;
	memset(&m, 0, sizeof(m));
	assert_int_equal(arena_init(&m.arena, &(struct arena_setup){.max_bytes = 8ull << 30}), 0);
	m.vm = vm_create(&m.arena, NULL);
	assert_non_null(m.vm);
	m.mm = make_space(&m);
	assert_int_equal(vcpu_get(m.vm, &m.v), 0);
	*state = &m;
	return 0;
}

static int teardown(void **state)
{
	struct machine *m = *state;

	if (!have_kvm)
		return 0;
	vcpu_put(m->v);
	mmput(m->mm);
	assert_int_equal(vm_destroy(m->vm), 0);
	assert_int_equal(frames_leaked(&m->arena.frames), 0);
	arena_destroy(&m->arena);
	return 0;
}

static struct machine *machine(void **state)
{
	if (!have_kvm)
		skip();
	return *state;
}

/* --- running guests ----------------------------------------------------------------------------------------------------- */

static void put_code(struct mm *mm, const char *from, const char *to)
{
	assert_int_equal(copy_to_user(mm, CODE_VA, from, (size_t)(to - from)), 0);
}

#define PUT(mm, name) put_code(mm, name, name##_end)

static struct cpu_regs at_code(void)
{
	return (struct cpu_regs){.rip = CODE_VA, .rflags = 0x202, .rbx = DATA_VA, .rsp = CODE_VA + PAGE_SIZE};
}

/* Runs on, resolving faults as a task would, until anything that is not a fault, or one that earns a signal. */
static struct trap run(struct vcpu *v, struct mm *mm, struct cpu_regs *regs)
{
	struct trap trap;

	for (;;) {
		vcpu_run(v, mm, regs, &trap);
		if (trap.kind != TRAP_FAULT || do_user_addr_fault(mm, trap.address, trap.error_code).signo)
			return trap;
	}
}

static void map_data(struct mm *mm, uint64_t bytes, unsigned int prot)
{
	struct mmap_request r = {.address = DATA_VA, .length = bytes, .prot = prot};

	r.flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
	assert_int_equal(mm_mmap(mm, &r), DATA_VA);
}

#define RW (PROT_BITS_READ | PROT_BITS_WRITE)

static void expect_syscall(struct machine *m)
{
	struct cpu_regs regs = at_code();

	assert_int_equal(run(m->v, m->mm, &regs).kind, TRAP_SYSCALL);
}

static void expect_fault(struct machine *m, uint32_t error_code)
{
	struct cpu_regs regs = at_code();
	struct trap t = run(m->v, m->mm, &regs);

	assert_int_equal(t.kind, TRAP_FAULT);
	assert_int_equal(t.address, DATA_VA);
	assert_int_equal(t.error_code, error_code);
}

/* --- descriptors and frames --------------------------------------------------------------------------------------------- */

/* Puts ring-0 code where the processor's thunk goes, runs it, and leaves by entry_done. */
static void run_ring0(struct machine *m, const char *from, const char *to, uint64_t rcx)
{
	struct kvm_sync_regs *s = vcpu_sync(m->v);

	memcpy(m->v->data + THUNK_OFFSET, from, (size_t)(to - from));
	s->sregs = m->v->kernel;
	s->regs = (struct kvm_regs){.rip = m->v->text_va + THUNK_OFFSET,
				    .rsp = m->v->data_va + CPU_RSP0,
				    .rflags = 2,
				    .rbx = m->vm->done,
				    .rcx = rcx};
	m->v->run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	assert_int_equal(vcpu_enter(m->v), 0);
	assert_int_equal(m->v->run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(m->v->run->io.port, GUEST_CALL_DONE);
}

static void ltr_sets_busy(void **state)
{
	struct machine *m = machine(state);
	uint8_t *type = (uint8_t *)m->v->data + CPU_GDT + GUEST_TSS + 5;

	assert_int_equal(*type, 0x8b); /* present, DPL 0, 64-bit TSS, busy */
	*type = 0x89;
	run_ring0(m, ring0_ltr, ring0_ltr_end, 0);
	assert_int_equal(*type, 0x8b);
}

static void ring0_selector(void **state)
{
	struct machine *m = machine(state);
	uint64_t *seen = (uint64_t *)(void *)(m->v->data + 0x200);

	run_ring0(m, ring0_cs, ring0_cs_end, m->v->data_va + 0x200);
	assert_int_equal(*seen, GUEST_KERNEL_CS);
}

static void exception_frame(void **state)
{
	struct machine *m = machine(state);
	struct cpu_regs regs = at_code();
	const uint64_t *frame = (const uint64_t *)(const void *)(m->v->data + CPU_RSP0 - 40);

	PUT(m->mm, just_ud2);
	struct trap t = run(m->v, m->mm, &regs);
	assert_int_equal(t.kind, TRAP_EXCEPTION);
	assert_int_equal(t.vector, 6);
	assert_int_equal(vcpu_sync(m->v)->regs.rsp, m->v->data_va + CPU_RSP0 - 40);
	assert_int_equal(frame[0], CODE_VA);
	assert_int_equal(frame[1], GUEST_USER_CS);
	assert_int_equal(frame[2] & 0x202, 0x202);
	assert_int_equal(frame[3], CODE_VA + PAGE_SIZE);
	assert_int_equal(frame[4], GUEST_USER_DS);
}

static void rsp0_moves(void **state)
{
	struct machine *m = machine(state);
	struct cpu_regs regs = at_code();
	uint64_t rsp0 = m->v->data_va + CPU_RSP0, other = rsp0 - 0x100;
	struct trap t;

	PUT(m->mm, just_ud2);
	run(m->v, m->mm, &regs);
	memcpy(m->v->data + CPU_TSS + 4, &other, sizeof(other));
	/* A new value counts from the next ltr on where ring 0 is emulated; set_sregs loads the task register again. */
	regs = at_code();
	vcpu_run(m->v, m->mm, &regs, &t);
	assert_int_equal(vcpu_sync(m->v)->regs.rsp, other - 40);
	memcpy(m->v->data + CPU_TSS + 4, &rsp0, sizeof(rsp0));
}

static void bad_frame_is_trapped(void **state)
{
	struct machine *m = machine(state);
	struct kvm_sync_regs *s = vcpu_sync(m->v);
	struct cpu_regs regs = at_code();
	struct thunk t;

	thunk_begin(&t, m->v);
	thunk_iretq(&t);
	s->sregs = m->v->kernel;
	s->regs = (struct kvm_regs){.rip = t.va, .rsp = thunk_frame(m->v, &regs), .rflags = 2};
	((uint64_t *)(void *)(m->v->data + CPU_RSP0 - 40))[1] = GUEST_KERNEL_CS;
	m->v->run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	assert_int_equal(vcpu_enter(m->v), 0);
	assert_int_equal(m->v->run->io.size, 1);
	assert_int_equal(m->v->run->io.port, 6); /* ud2 */
}

/* --- interrupts that cannot be masked ------------------------------------------------------------------------------------- */

static void send_nmi(struct vcpu *v)
{
	assert_int_equal(ioctl(v->fd, KVM_NMI), 0);
}

/* One step of a run that stands in the stub of an NMI, or ends. True: in the stub. */
static bool next_is_nmi(struct vcpu *v)
{
	v->run->kvm_dirty_regs = 0;
	assert_int_equal(vcpu_enter(v), 0);
	assert_int_equal(v->run->exit_reason, KVM_EXIT_IO);
	return v->run->io.size == 1 && v->run->io.port == VECTOR_NMI;
}

/* What the processor pushed for the NMI that is being handled: the address that it came at. */
static uint64_t nmi_rip(struct vcpu *v)
{
	const uint64_t *frame = (const uint64_t *)(const void *)(v->data + CPU_IST_NMI - 40);

	assert_int_equal(vcpu_sync(v)->regs.rsp, v->data_va + CPU_IST_NMI - 40);
	assert_int_equal(frame[1], GUEST_KERNEL_CS);
	return frame[0];
}

/* Two that come while one is handled: the processor keeps one of them, and it comes when the first has returned. */
static void nested_nmi(void **state)
{
	struct machine *m = machine(state);
	struct kvm_sync_regs *s = vcpu_sync(m->v);
	uint64_t start = m->v->text_va + THUNK_OFFSET,
		 end = start + (uint64_t)(ring0_count_end - ring0_count);

	memcpy(m->v->data + THUNK_OFFSET, ring0_count, (size_t)(ring0_count_end - ring0_count));
	s->sregs = m->v->kernel;
	s->regs = (struct kvm_regs){.rip = start,
				    .rsp = m->v->data_va + CPU_RSP0,
				    .rflags = 2,
				    .rbx = m->vm->done,
				    .rdx = 1000,
				    .r12 = 5};
	m->v->run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	send_nmi(m->v);
	assert_int_equal(vcpu_enter(m->v), 0);
	assert_int_equal(m->v->run->io.size, 1);
	assert_int_equal(m->v->run->io.port, VECTOR_NMI);
	assert_in_range(nmi_rip(m->v), start, end);
	send_nmi(m->v);
	send_nmi(m->v);
	assert_true(next_is_nmi(m->v));
	/* Not from within the first: that one's iretq was executed. */
	assert_in_range(nmi_rip(m->v), start, end);
	assert_false(next_is_nmi(m->v));
	assert_int_equal(m->v->run->io.port, GUEST_CALL_DONE);
	assert_int_equal(vcpu_sync(m->v)->regs.rdx, 0);
	assert_int_equal(vcpu_sync(m->v)->regs.r12, 1005);
}

/* A program does not see them, nor does the system call or fault that they meet. */
static void nmi_is_not_seen(void **state)
{
	struct machine *m = machine(state);
	struct cpu_regs regs;

	PUT(m->mm, sum_pages);
	map_data(m->mm, 64 * PAGE_SIZE, RW);
	for (unsigned int i = 0; i < 50; i++) {
		uint64_t before = m->v->stats.nmis;
		struct trap trap = {.kind = TRAP_FAULT};

		regs = at_code();
		regs.rdx = 64;
		regs.r15 = 0x1234567890abcdef;
		while (trap.kind == TRAP_FAULT) {
			send_nmi(m->v);
			send_nmi(m->v);
			before += 2;
			vcpu_run(m->v, m->mm, &regs, &trap);
			if (trap.kind == TRAP_DEAD)
				fail_msg("%s", trap.cause);
			if (trap.kind == TRAP_FAULT)
				assert_int_equal(
					do_user_addr_fault(m->mm, trap.address, trap.error_code).signo, 0);
		}
		assert_int_equal(trap.kind, TRAP_SYSCALL);
		assert_int_equal(m->v->stats.nmis, before);
		assert_int_equal(regs.rbx, DATA_VA + 64 * PAGE_SIZE);
		assert_int_equal(regs.r12, 0);
		assert_int_equal(regs.r15, 0x1234567890abcdef);
		assert_int_equal(regs.rsp, CODE_VA + PAGE_SIZE);
		assert_int_equal(mm_munmap(m->mm, DATA_VA, 64 * PAGE_SIZE), 0);
		map_data(m->mm, 64 * PAGE_SIZE, RW);
	}
}

/* --- system calls -------------------------------------------------------------------------------------------------------- */

static void syscall_registers(void **state)
{
	struct machine *m = machine(state);
	struct cpu_regs regs = {
		.rax = 39, .rbx = 2, .rdx = 4, .rsi = 5, .rdi = 6, .rbp = 7, .rsp = 0x1234560};
	struct trap t;

	PUT(m->mm, just_syscall);
	uint64_t *r8 = &regs.r8;
	for (unsigned int i = 0; i < 8; i++)
		r8[i] = 100 + i;
	regs.rip = CODE_VA;
	regs.rflags = 0x246;
	regs.fs_base = 0x7000;
	regs.gs_base = 0x8000;
	struct cpu_regs before = regs;
	t = run(m->v, m->mm, &regs);
	assert_int_equal(t.kind, TRAP_SYSCALL);
	assert_int_equal(regs.rip, CODE_VA + 2);
	assert_int_equal(regs.rcx, CODE_VA + 2);
	assert_int_equal(regs.r11 & ~0x10000ull, 0x246);
	assert_int_equal(regs.rflags & ~0x10000ull, 0x246);
	before.rip = regs.rip;
	before.rcx = regs.rcx;
	before.r11 = regs.r11;
	before.rflags = regs.rflags;
	assert_memory_equal(&before, &regs, sizeof(regs));
}

static void jump_to_lstar_is_no_syscall(void **state)
{
	struct machine *m = machine(state);
	struct cpu_regs regs = at_code();
	struct trap t;

	PUT(m->mm, call_rbx);
	regs.rbx = m->vm->lstar;
	regs.rcx = DATA_VA;
	t = run(m->v, m->mm, &regs);
	assert_int_equal(t.kind, TRAP_FAULT);
	assert_true(t.address >= KERNEL_DATA_BASE);
}

/* Its page went to make room, and there is none to look at it again: it is fetched once more, and the fault tells. */
static void unreadable_syscall_is_retried(void **state)
{
	struct machine *m = machine(state);
	struct cpu_regs regs = at_code();
	struct trap t;

	PUT(m->mm, jump_rbx);
	map_data(m->mm, PAGE_SIZE, RW);
	regs.rbx = m->vm->lstar;
	regs.rcx = DATA_VA + 2;
	regs.r11 = 0x202;
	assert_int_equal(run(m->v, m->mm, &regs).kind, TRAP_FAULT); /* and the code is mapped */
	regs = at_code();
	regs.rbx = m->vm->lstar;
	regs.rcx = DATA_VA + PAGE_SIZE + 2;
	t = run(m->v, m->mm, &regs);
	assert_true(t.address >= KERNEL_DATA_BASE); /* nothing is mapped there */
	assert_int_equal(mm_munmap(m->mm, DATA_VA, PAGE_SIZE), 0);
	map_data(m->mm, PAGE_SIZE, RW);
	m->mm->memcg->max_pages = atomic_load(&m->mm->memcg->usage_pages);
	regs = at_code();
	regs.rbx = m->vm->lstar;
	regs.rcx = DATA_VA + 2;
	regs.r11 = 0x202;
	t = run(m->v, m->mm, &regs);
	m->mm->memcg->max_pages = 65536;
	assert_int_equal(t.kind, TRAP_FAULT);
	assert_int_equal(t.address, DATA_VA);
	assert_int_equal(t.error_code, PF_USER | PF_INSTR);
	assert_int_equal(regs.rip, DATA_VA);
	assert_int_equal(regs.rflags, 0x202);
}

/* --- gates ---------------------------------------------------------------------------------------------------------------- */

#define NR_ASKED 39
#define ANSWER	 4711

static void open_gate(struct machine *m)
{
	vcpu_set_traps(m->v, VCPU_TRAPS_POLL);
	vcpu_set_answer(m->v, NR_ASKED, ANSWER);
}

/* Runs SYSCALL and then ud2 with these registers, and expects that the gate answered and changed nothing else. */
static void expect_answer(struct machine *m, struct cpu_regs regs, uint32_t answer)
{
	struct cpu_regs before = regs;
	uint64_t syscalls = vcpu_stats(m->v)->syscalls;
	struct trap t = run(m->v, m->mm, &regs);

	assert_int_equal(t.kind, TRAP_EXCEPTION);
	assert_int_equal(t.vector, 6);
	assert_int_equal(vcpu_stats(m->v)->syscalls, syscalls);
	assert_int_equal(regs.rcx, CODE_VA + 2);
	assert_int_equal(regs.r11 & ~0x10000ull, before.rflags);
	assert_int_equal(regs.rflags & ~0x10000ull, before.rflags);
	before.rax = answer;
	before.rcx = regs.rcx;
	before.r11 = regs.r11;
	before.rip = CODE_VA + 2;
	before.rflags = regs.rflags;
	assert_memory_equal(&before, &regs, sizeof(regs));
}

static struct cpu_regs asking(uint64_t rax)
{
	struct cpu_regs regs = {.rax = rax,
				.rbx = 2,
				.rdx = 4,
				.rsi = 5,
				.rdi = 6,
				.rbp = 7,
				.rsp = 0x1234567,
				.rip = CODE_VA,
				.rflags = 0x202,
				.fs_base = 0x7000,
				.gs_base = 0x8000};
	uint64_t *r8 = &regs.r8;

	for (unsigned int i = 0; i < 8; i++)
		r8[i] = 100 + i;
	return regs;
}

/* Status flags, DF, AC and ID, one by one and all together; rsp points nowhere, so that nothing can have been stored there. */
static void gate_keeps_registers(void **state)
{
	static const uint64_t flags[] = {0,    0x1,   0x4,     0x10,	 0x40,
					 0x80, 0x400, 0x40000, 0x200000, 0x2408d5 | 0x400};
	struct machine *m = machine(state);

	PUT(m->mm, call_twice);
	open_gate(m);
	for (unsigned int i = 0; i < ARRAY_SIZE(flags); i++) {
		struct cpu_regs regs = asking(NR_ASKED);
		regs.rflags |= flags[i];
		expect_answer(m, regs, ANSWER);
	}
	expect_answer(m, asking(0xffffffff00000000 | NR_ASKED), ANSWER); /* the low half is what counts */
	assert_int_equal(vcpu_stats(m->v)->answered, ARRAY_SIZE(flags) + 1);
}

static void expect_call(struct machine *m, struct cpu_regs regs)
{
	struct cpu_regs before = regs;
	struct trap t = run(m->v, m->mm, &regs);

	assert_int_equal(t.kind, TRAP_SYSCALL);
	before.rip = before.rcx = CODE_VA + 2;
	before.r11 = regs.r11;
	assert_int_equal(regs.r11 & ~0x10000ull, before.rflags);
	before.rflags = regs.rflags;
	assert_memory_equal(&before, &regs, sizeof(regs));
}

static void gate_lets_others_pass(void **state)
{
	static const uint64_t numbers[] = {NR_ASKED + 1, NR_ASKED + 256, NR_ASKED | 0x80000000, ~0ull, 512};
	struct machine *m = machine(state);

	PUT(m->mm, call_twice);
	open_gate(m);
	for (unsigned int i = 0; i < ARRAY_SIZE(numbers); i++)
		expect_call(m, asking(numbers[i]));
	vcpu_set_answer(m->v, NR_ASKED, ~0u);
	expect_call(m, asking(NR_ASKED));
	vcpu_set_answer(m->v, NR_ASKED, 5);
	expect_answer(m, asking(NR_ASKED), 5);
	vcpu_set_traps(m->v, VCPU_TRAPS_EXIT);
	struct mm *other = make_space(m);
	PUT(other, call_twice);
	struct cpu_regs regs = asking(NR_ASKED);
	assert_int_equal(run(m->v, other, &regs).kind, TRAP_SYSCALL);
	mmput(other);
}

/* Whoever has the processor, or the space, next finds nothing of what was said before. */
static void gate_forgets(void **state)
{
	struct machine *m = machine(state);

	PUT(m->mm, call_twice);
	for (unsigned int round = 0; round < 20; round++) {
		struct mm *mm = make_space(m), *mine = m->mm;
		PUT(mm, call_twice);
		m->mm = mm;
		open_gate(m);
		expect_answer(m, asking(NR_ASKED), ANSWER);
		m->mm = mine;
		expect_answer(m, asking(NR_ASKED), ANSWER);
		if (round % 2)
			m->mm = mm;
		vcpu_put(m->v);
		assert_int_equal(vcpu_get(m->vm, &m->v), 0);
		expect_call(m, asking(NR_ASKED));
		vcpu_set_traps(m->v, VCPU_TRAPS_POLL);
		expect_call(m, asking(NR_ASKED));
		m->mm = mine;
		mmput(mm);
	}
}

struct kicker {
	struct vcpu *v;
	_Atomic bool stop;
};

static void *kick_on(void *arg)
{
	struct kicker *k = arg;

	for (unsigned int i = 0; !atomic_load(&k->stop); i++) {
		vcpu_kick(k->v);
		for (volatile unsigned int wait = i * 7919 % 120000; wait; wait--)
			;
	}
	return NULL;
}

/* Wherever in the gate a kick finds the program, it goes on as if nothing had been. */
static void kicks_in_the_gate(void **state)
{
	struct machine *m = machine(state);
	struct kicker k = {.v = m->v};
	struct cpu_regs regs = at_code();
	uint64_t kicks = 0, calls = 0;
	pthread_t thread;

	PUT(m->mm, ask_forever);
	open_gate(m);
	regs.r15 = regs.rsp;
	assert_int_equal(pthread_create(&thread, NULL, kick_on, &k), 0);
	while (kicks + calls < 1000) {
		struct trap t = run(m->v, m->mm, &regs);
		if (t.kind == TRAP_SYSCALL) {
			assert_int_equal(regs.rax, NR_ASKED);
			assert_int_equal(regs.rip, CODE_VA + 7);
			regs.rax = ANSWER;
			calls++;
		} else {
			assert_int_equal(t.kind, TRAP_KICK);
			assert_in_range(regs.rip, CODE_VA,
					CODE_VA + (uint64_t)(ask_forever_end - ask_forever));
			kicks++;
		}
	}
	atomic_store(&k.stop, true);
	pthread_join(thread, NULL);
	assert_true(kicks);
	assert_true(regs.r12 >= calls);
}

/* --- mailboxes ------------------------------------------------------------------------------------------------------------ */

#define NR_COUNTED 500

static struct cpu_regs counting(void)
{
	struct cpu_regs regs = at_code();

	regs.r15 = regs.rsp;
	regs.rdi = 77;
	return regs;
}

/* What a handler finds: the registers as the program had them, whichever way they came. */
static void expect_counted_call(const struct cpu_regs *regs, uint64_t n)
{
	assert_int_equal(regs->rax, NR_COUNTED);
	assert_int_equal(regs->rip, CODE_VA + 7);
	assert_int_equal(regs->rcx, CODE_VA + 7);
	assert_int_equal(regs->r13, n);
	assert_int_equal(regs->rdi, 77);
	assert_int_equal(regs->rbx, DATA_VA);
	assert_int_equal(regs->rsp, regs->r15);
}

static void calls_by_mailbox(void **state)
{
	enum { CALLS = 2000 };
	struct machine *m = machine(state);
	struct cpu_regs regs = counting();

	PUT(m->mm, count_answers);
	map_data(m->mm, PAGE_SIZE, RW);
	vcpu_set_traps(m->v, VCPU_TRAPS_POLL);
	for (uint64_t n = 0; n < CALLS; n++) {
		struct trap t = run(m->v, m->mm, &regs);
		assert_int_equal(t.kind, TRAP_SYSCALL);
		expect_counted_call(&regs, n);
		regs.rax = n;
	}
	uint64_t calls = vcpu_stats(m->v)->syscalls + vcpu_stats(m->v)->polled;
	assert_int_equal(calls, CALLS);
}

/* What can happen between a call and its answer, or instead of it; the program's count stays right. */
static void disturb(struct machine *m, uint64_t *rng, struct cpu_regs *regs)
{
	static const enum vcpu_traps ways[] = {VCPU_TRAPS_EXIT, VCPU_TRAPS_AUTO, VCPU_TRAPS_POLL};
	_Alignas(64) static char area[16384];

	switch (random_below(rng, 64)) {
	case 0: /* the page that the program reads goes, and comes back by a fault */
		assert_int_equal(mm_munmap(m->mm, DATA_VA, PAGE_SIZE), 0);
		map_data(m->mm, PAGE_SIZE, RW);
		break;
	case 1:
		assert_true(vcpu_get_xsave(m->v, area, sizeof(area)) > 0);
		break;
	case 2:
		vcpu_set_traps(m->v, ways[random_below(rng, 3)]);
		break;
	case 3:
		vcpu_moved(m->v);
		break;
	case 4:
		usleep((useconds_t)random_below(rng, 200));
		break;
	case 5: /* another register has changed, as after a signal */
		regs->rbp = random_next(rng);
		break;
	case 6:
		vm_barrier(m->vm, m->mm);
		break;
	default:
		break;
	}
}

static void nothing_is_lost_or_done_twice(void **state)
{
	enum { CALLS = 2000 };
	struct machine *m = machine(state);
	struct kicker k = {.v = m->v};
	struct cpu_regs regs = counting();
	uint64_t rng = random_seed(8), n = 0, rbp = 0;
	pthread_t thread;

	PUT(m->mm, count_answers);
	map_data(m->mm, PAGE_SIZE, RW);
	vcpu_set_traps(m->v, VCPU_TRAPS_POLL);
	assert_int_equal(pthread_create(&thread, NULL, kick_on, &k), 0);
	while (n < CALLS) {
		struct trap t = run(m->v, m->mm, &regs);
		assert_true(t.kind == TRAP_SYSCALL || t.kind == TRAP_KICK);
		assert_in_range(regs.rip, CODE_VA, CODE_VA + (uint64_t)(count_answers_end - count_answers));
		assert_int_equal(regs.rbp, rbp);
		if (t.kind == TRAP_SYSCALL) {
			expect_counted_call(&regs, n);
			regs.rax = n++;
		}
		disturb(m, &rng, &regs);
		rbp = regs.rbp;
	}
	atomic_store(&k.stop, true);
	pthread_join(thread, NULL);
}

struct scribbler {
	struct gate_page *page;
	_Atomic bool stop;
};

static void *scribble(void *arg)
{
	struct scribbler *s = arg;
	uint64_t rng = random_seed(9);

	while (!atomic_load(&s->stop)) {
		uint32_t *words = (uint32_t *)s->page;
		unsigned int at = random_below(&rng, 4) ? 0 : (unsigned int)random_below(&rng, 80);
		__atomic_store_n(&words[at], (uint32_t)random_below(&rng, 7), __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Another thread of the program writes what it likes into its gate. Calls that were never made are the worst that comes of it. */
static void scribbled_mailbox(void **state)
{
	struct machine *m = machine(state);
	struct cpu_regs regs = counting(), fresh = regs;
	struct scribbler s = {0};
	struct kicker k = {.v = m->v};
	uint64_t rng = random_seed(10);
	pthread_t thread, kicks;

	PUT(m->mm, call_forever);
	map_data(m->mm, PAGE_SIZE, RW);
	vcpu_set_traps(m->v, VCPU_TRAPS_POLL);
	assert_int_equal(run(m->v, m->mm, &regs).kind, TRAP_SYSCALL);
	s.page = atomic_load(&m->v->gate);
	assert_non_null(s.page);
	assert_int_equal(pthread_create(&thread, NULL, scribble, &s), 0);
	assert_int_equal(pthread_create(&kicks, NULL, kick_on, &k), 0);
	for (unsigned int i = 0; i < 1000; i++) {
		struct trap t = run(m->v, m->mm, &regs);
		assert_int_not_equal(t.kind, TRAP_DEAD);
		disturb(m, &rng, &regs);
		if (t.kind == TRAP_FAULT || t.kind == TRAP_EXCEPTION || i % 8 == 0)
			regs = fresh; /* where it went is its own fault */
	}
	atomic_store(&s.stop, true);
	atomic_store(&k.stop, true);
	pthread_join(thread, NULL);
	pthread_join(kicks, NULL);
	vcpu_put(m->v);
	assert_int_equal(vcpu_get(m->vm, &m->v), 0);
	calls_by_mailbox(state);
	assert_int_equal(mm_check(m->mm, complain), 0);
}

/* As if the machine had so many threads that want to run. */
static void pretend_load(struct machine *m, const char *loadavg)
{
	int fd = memfd_create("loadavg", MFD_CLOEXEC);

	assert_int_equal(write(fd, loadavg, strlen(loadavg)), (ssize_t)strlen(loadavg));
	close(m->vm->load_fd);
	m->vm->load_fd = fd;
}

static void count_calls(struct machine *m, struct cpu_regs *regs, unsigned int calls)
{
	for (unsigned int i = 0; i < calls; i++) {
		assert_int_equal(run(m->v, m->mm, regs).kind, TRAP_SYSCALL);
		regs->rax = regs->r13;
	}
}

static void sessions_need_a_core(void **state)
{
	struct machine *m = machine(state);
	struct cpu_regs regs = counting();
	cpu_set_t cpus;

	if (getenv("LODGE_EMULATED"))
		skip(); /* nothing there is as quick as a session wants it */
	PUT(m->mm, count_answers);
	map_data(m->mm, PAGE_SIZE, RW);
	vcpu_set_traps(m->v, VCPU_TRAPS_AUTO);
	pretend_load(m, "9.00 9.00 9.00 9999/9999 9\n");
	count_calls(m, &regs, 500);
	assert_int_equal(vcpu_stats(m->v)->polled, 0);
	pretend_load(m, "0.00 0.00 0.00 1/99 9\n");
	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	if (CPU_COUNT(&cpus) < 2) {
		count_calls(m, &regs, 500);
		assert_int_equal(vcpu_stats(m->v)->polled, 0);
		return;
	}
	for (unsigned int i = 0; i < 5000 && !vcpu_stats(m->v)->polled; i++) {
		count_calls(m, &regs, 100);
		if (i % 10 == 9)
			mailbox_reset(m->v); /* on a machine that is busy really, sessions come to nothing */
	}
	assert_true(vcpu_stats(m->v)->polled);
}

/* As if the session's runner had stood in a run queue for so long, all its life. */
static void pretend_waiting(struct machine *m, const char *schedstat)
{
	int fd = memfd_create("schedstat", MFD_CLOEXEC), was;

	assert_int_equal(write(fd, schedstat, strlen(schedstat)), (ssize_t)strlen(schedstat));
	was = atomic_exchange(&m->v->runner.runner_fd, fd);
	if (was >= 0)
		close(was);
}

/* One call, in a session that has answered a multiple of 64 and is due to be looked at. */
static void call_at_a_look(struct machine *m, struct cpu_regs *regs)
{
	m->v->mailbox.calls = 64;
	m->v->mailbox.checked_ns = 0;
	count_calls(m, regs, 1);
}

/* On a machine that is busy really, sessions come to nothing: until one has been looked at and goes on. */
static bool session_goes_on(struct machine *m, struct cpu_regs *regs)
{
	struct mailbox *box = &m->v->mailbox;

	for (unsigned int i = 0; i < 5000 && !box->on; i++) {
		box->not_before_ns = 0;
		box->dense_needed = 1;
		count_calls(m, regs, 20);
		if (box->on && m->v->runner.lent)
			call_at_a_look(m, regs);
	}
	return box->on;
}

static void crowded_sessions_pause(void **state)
{
	struct machine *m = machine(state);
	struct mailbox *box = &m->v->mailbox;
	struct cpu_regs regs = counting();
	cpu_set_t cpus;

	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	if (getenv("LODGE_EMULATED") || CPU_COUNT(&cpus) < 2)
		skip();
	PUT(m->mm, count_answers);
	map_data(m->mm, PAGE_SIZE, RW);
	vcpu_set_traps(m->v, VCPU_TRAPS_AUTO);
	pretend_load(m, "0.00 0.00 0.00 1/99 9\n");
	assert_true(session_goes_on(m, &regs));

	/* All its time, whatever that was: there is no session before the end of the pause, and the next pause is longer. */
	pretend_waiting(m, "9 1000000000000000000 9\n");
	box->pause_ns = 2000000;
	for (unsigned int i = 0; i < 100 && box->on; i++)
		call_at_a_look(m, &regs);
	assert_false(box->on);
	assert_int_equal(box->fine_ns, 0);
	assert_int_equal(box->pause_ns, 4000000);
	box->not_before_ns = UINT64_MAX;
	count_calls(m, &regs, 200);
	assert_false(box->on);

	/* One that has its cores goes on, and in time the next pause is the least again. */
	box->waited_ns = 1000000000000000000;
	box->fine_ns = UINT64_MAX / 2;
	assert_true(session_goes_on(m, &regs));
	assert_int_equal(box->pause_ns, 2000000);
}

/* A program that asks for nothing, and one that waits for an answer, leave when they are kicked. */
static void *kick_later(void *arg)
{
	struct kicker *k = arg;

	usleep(20000);
	vcpu_kick(k->v);
	return NULL;
}

static void kick_stops_what_is_lent(void **state)
{
	struct machine *m = machine(state);
	struct kicker k = {.v = m->v};
	struct cpu_regs regs = counting();
	pthread_t thread;

	vcpu_set_traps(m->v, VCPU_TRAPS_POLL);
	PUT(m->mm, call_forever);
	assert_int_equal(run(m->v, m->mm, &regs).kind, TRAP_SYSCALL);
	usleep(2000); /* the gate gives up, and the runner sleeps */
	assert_int_equal(run(m->v, m->mm, &regs).kind, TRAP_SYSCALL);
	PUT(m->mm, spin);
	regs = counting();
	assert_int_equal(pthread_create(&thread, NULL, kick_later, &k), 0);
	assert_int_equal(run(m->v, m->mm, &regs).kind, TRAP_KICK);
	assert_in_range(regs.rip, CODE_VA, CODE_VA + 4);
	pthread_join(thread, NULL);
}

static uint64_t thread_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* An owner whose program computes sleeps meanwhile, and what the program uses is told. */
static void idle_owner_sleeps(void **state)
{
	struct machine *m = machine(state);
	struct kicker k = {.v = m->v};
	struct cpu_regs regs = counting();
	pthread_t thread;
	cpu_set_t cpus;

	assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
	if (CPU_COUNT(&cpus) < 2)
		skip(); /* its owner is who computes */
	vcpu_set_traps(m->v, VCPU_TRAPS_POLL);
	PUT(m->mm, spin);
	for (unsigned int i = 0; i < 10; i++) {
		uint64_t before = thread_ns();
		int64_t more = vcpu_more_cpu_ns(m->v);
		assert_int_equal(pthread_create(&thread, NULL, kick_later, &k), 0);
		assert_int_equal(run(m->v, m->mm, &regs).kind, TRAP_KICK);
		pthread_join(thread, NULL);
		if (thread_ns() - before < 5000000 && vcpu_more_cpu_ns(m->v) > more)
			return;
	}
	fail_msg("it looks on all the time");
}

extern const char gate_user[], gate_user_saved[], gate_user_known[], gate_user_gave_up[],
	gate_user_answered[];
extern const char gate_kernel[], gate_kernel_saved[], gate_kernel_known[], gate_kernel_gave_up[],
	gate_kernel_answered[];

/* Kicks rarely find a processor at the places that matter: here it is put there. */
static void stops_in_the_gate(void **state)
{
	struct machine *m = machine(state);
	struct cpu_regs regs = at_code();
	struct vm_platform p;

	PUT(m->mm, call_twice);
	open_gate(m);
	regs.rax = NR_ASKED;
	assert_int_equal(run(m->v, m->mm, &regs).kind, TRAP_EXCEPTION);
	assert_int_equal(vm_platform(m->vm, &p), 0);
	struct gate_page *page = atomic_load(&m->v->gate);
	bool user = p.syscall_cpl3;
	uint64_t known = (uint64_t)(user ? gate_user_known - gate_user : gate_kernel_known - gate_kernel);
	uint64_t saved = (uint64_t)(user ? gate_user_saved - gate_user : gate_kernel_saved - gate_kernel);
	uint64_t gave_up =
		(uint64_t)(user ? gate_user_gave_up - gate_user : gate_kernel_gave_up - gate_kernel);
	uint64_t answered =
		(uint64_t)(user ? gate_user_answered - gate_user : gate_kernel_answered - gate_kernel);
	const struct {
		uint64_t at;
		uint32_t state;
		uint64_t rcx; /* the register */
		enum gate_stop stop;
		uint64_t rax;
	} stops[] = {
		{0, GATE_STATE_IDLE, 0x5000, GATE_CALLS, 1},
		{saved, GATE_STATE_IDLE, 9, GATE_CALLS, 1},
		{known, GATE_STATE_IDLE, 9, GATE_ANSWERED, 1},
		{known + 5, GATE_STATE_IDLE, 9, GATE_CALLS, 1},
		{gave_up - 20, GATE_STATE_REQUEST, 9, GATE_CALLS, 1},
		{gave_up - 20, GATE_STATE_ANSWERED, 9, GATE_ANSWERED, 2},
		{gave_up, GATE_STATE_EXIT, GATE_STATE_REQUEST, GATE_CALLS, 1},
		{gave_up, GATE_STATE_EXIT, GATE_STATE_ANSWERED, GATE_ANSWERED, 2},
		{answered - 2, GATE_STATE_EXIT, 9, GATE_CALLS, 1},
		{answered, GATE_STATE_ANSWERED, 9, GATE_ANSWERED, 2},
		{answered + 7, GATE_STATE_ANSWERED, 9, GATE_ANSWERED, 1},
	};
	for (unsigned int i = 0; i < ARRAY_SIZE(stops); i++) {
		page->rcx = 0x5000;
		page->r11 = 0x246;
		page->state = stops[i].state;
		page->return_value = 2;
		regs.rip = GATE_BASE + m->v->id * GATE_STRIDE + stops[i].at;
		regs.rax = 1;
		regs.rcx = stops[i].rcx;
		regs.r11 = stops[i].at ? 7 : 0x246;
		assert_true(gate_holds(m->v, regs.rip));
		assert_int_equal(gate_resolve(m->v, &regs), stops[i].stop);
		assert_int_equal(regs.rax, stops[i].rax);
		assert_int_equal(regs.rip, 0x5000);
		assert_int_equal(regs.rcx, 0x5000);
		assert_int_equal(regs.r11, 0x246);
		assert_int_equal(regs.rflags, 0x246);
	}
}

static void platform_keeps_the_processor(void **state)
{
	struct machine *m = machine(state);
	struct vm_platform p;
	struct vcpu *other;

	assert_int_equal(vm_platform(m->vm, &p), 0);
	assert_ptr_equal(current_vcpu, m->v);
	assert_int_equal(vcpu_take(m->vm, &other), 0);
	assert_ptr_not_equal(other, m->v);
	vcpu_put(other);
}

/* --- translation --------------------------------------------------------------------------------------------------------- */

static void walk_agrees(void **state)
{
	struct machine *m = machine(state);
	struct cpu_regs regs = at_code();
	uint64_t expected = 0;

	map_data(m->mm, 64 * PAGE_SIZE, RW);
	for (uint64_t i = 0; i < 64; i++) {
		uint64_t value = i * i + 3;
		assert_int_equal(copy_to_user(m->mm, DATA_VA + i * PAGE_SIZE, &value, sizeof(value)), 0);
	}
	for (uint64_t i = 0; i < 64; i++) {
		pte_t *slot = pgtable_find(&m->mm->pgt, DATA_VA + i * PAGE_SIZE);
		uint64_t *bytes = pfn_address(m->mm->frames, pte_pfn(*slot));
		*bytes += i; /* behind the copy's back, through the walk alone */
		expected += *bytes;
	}
	PUT(m->mm, sum_pages);
	regs.rdx = 64;
	assert_int_equal(run(m->v, m->mm, &regs).kind, TRAP_SYSCALL);
	assert_int_equal(regs.r12, expected);
}

static void two_spaces(void **state)
{
	struct machine *m = machine(state);
	struct mm *other = make_space(m), *mine = m->mm;
	struct mm *space[2] = {mine, other};

	for (unsigned int i = 0; i < 2; i++) {
		uint64_t value = 1000 + i;
		map_data(space[i], PAGE_SIZE, RW);
		PUT(space[i], sum_pages);
		assert_int_equal(copy_to_user(space[i], DATA_VA, &value, sizeof(value)), 0);
	}
	for (unsigned int i = 0; i < 20; i++) {
		struct cpu_regs regs = at_code();
		regs.rdx = 1;
		assert_int_equal(run(m->v, space[i % 2], &regs).kind, TRAP_SYSCALL);
		assert_int_equal(regs.r12, 1000 + i % 2);
	}
	mmput(other);
}

/* What a program finds at an address, after it stored there if `store`; faults are resolved as they come. */
static uint64_t word_in(struct machine *m, struct mm *mm, gva_t address, bool store, uint64_t value)
{
	struct cpu_regs regs = at_code();

	regs.rbx = address;
	regs.rdx = store;
	regs.rcx = value;
	for (unsigned int i = 0; i < 16; i++) {
		struct trap t = run(m->v, mm, &regs);
		if (t.kind == TRAP_SYSCALL)
			return regs.r12;
		assert_int_equal(t.kind, TRAP_FAULT);
		assert_int_equal(do_user_addr_fault(mm, t.address, t.error_code).signo, 0);
	}
	fail_msg("the same fault 16 times");
	return 0;
}

/* Forks of forks on the real MMU: whatever it remembers of shared tables, every space finds what is its own. */
static void tree_of_spaces(void **state)
{
	enum { SPACES = 5, PAGES = 24, STEPS = 1500 };
	struct machine *m = machine(state);
	struct mm *mm[SPACES] = {m->mm};
	uint64_t want[SPACES][PAGES] = {{0}}, rng = random_seed(21);

	map_data(m->mm, PAGES * PAGE_SIZE, RW);
	m->mm->fault_around_pages = 1;
	PUT(m->mm, access_word);
	for (unsigned int step = 0; step < STEPS; step++) {
		unsigned int s = (unsigned int)random_below(&rng, SPACES),
			     p = (unsigned int)random_below(&rng, PAGES);
		unsigned int what = (unsigned int)random_below(&rng, 100), from;
		if (!mm[s]) {
			from = (unsigned int)random_below(&rng, SPACES);
			if (!mm[from])
				continue;
			assert_int_equal(mm_fork(mm[from], &mm[s]), 0);
			memcpy(want[s], want[from], sizeof(want[s]));
		} else if (what < 50) {
			want[s][p] = random_next(&rng);
			assert_int_equal(word_in(m, mm[s], DATA_VA + p * PAGE_SIZE, true, want[s][p]),
					 want[s][p]);
		} else if (what < 90) {
			assert_int_equal(word_in(m, mm[s], DATA_VA + p * PAGE_SIZE, false, 0), want[s][p]);
		} else if (s) {
			mmput(mm[s]);
			mm[s] = NULL;
		}
	}
	for (unsigned int s = 1; s < SPACES; s++) {
		if (mm[s])
			assert_int_equal(mm_check(mm[s], complain), 0);
		mmput(mm[s]);
	}
	assert_int_equal(mm_check(m->mm, complain), 0);
}

/* --- revocation ---------------------------------------------------------------------------------------------------------- */

static void unmapped_page_faults(void **state)
{
	struct machine *m = machine(state);

	PUT(m->mm, load_byte);
	map_data(m->mm, 4 * PAGE_SIZE, RW);
	expect_syscall(m);
	assert_int_equal(mm_munmap(m->mm, DATA_VA, PAGE_SIZE), 0);
	expect_fault(m, PF_USER);
}

static void unmapped_range_faults(void **state)
{
	struct machine *m = machine(state);

	PUT(m->mm, load_byte);
	map_data(m->mm, 8 * PAGE_SIZE, RW);
	for (uint64_t i = 0; i < 8; i++) {
		struct cpu_regs regs = at_code();
		regs.rbx += i * PAGE_SIZE;
		assert_int_equal(run(m->v, m->mm, &regs).kind, TRAP_SYSCALL);
	}
	assert_int_equal(mm_munmap(m->mm, DATA_VA + PAGE_SIZE, 6 * PAGE_SIZE), 0);
	for (uint64_t i = 0; i < 8; i++) {
		struct cpu_regs regs = at_code();
		regs.rbx += i * PAGE_SIZE;
		assert_int_equal(run(m->v, m->mm, &regs).kind, i == 0 || i == 7 ? TRAP_SYSCALL : TRAP_FAULT);
	}
}

static void read_only_page_faults(void **state)
{
	struct machine *m = machine(state);

	PUT(m->mm, store_byte);
	map_data(m->mm, 4 * PAGE_SIZE, RW);
	expect_syscall(m);
	assert_int_equal(mm_mprotect(m->mm, DATA_VA, PAGE_SIZE, PROT_BITS_READ), 0);
	expect_fault(m, PF_USER | PF_WRITE | PF_PROT);
	assert_int_equal(mm_mprotect(m->mm, DATA_VA, PAGE_SIZE, RW), 0);
	expect_syscall(m);
}

static void no_execute_faults(void **state)
{
	struct machine *m = machine(state);

	PUT(m->mm, call_rbx);
	map_data(m->mm, PAGE_SIZE, RW | PROT_BITS_EXEC);
	assert_int_equal(copy_to_user(m->mm, DATA_VA, just_ret, (size_t)(just_ret_end - just_ret)), 0);
	expect_syscall(m);
	assert_int_equal(mm_mprotect(m->mm, DATA_VA, PAGE_SIZE, RW), 0);
	expect_fault(m, PF_USER | PF_INSTR | PF_PROT);
}

static uint8_t load_data(struct machine *m)
{
	struct cpu_regs regs = at_code();

	assert_int_equal(run(m->v, m->mm, &regs).kind, TRAP_SYSCALL);
	return (uint8_t)regs.rax;
}

static void frame_change_is_seen(void **state)
{
	struct machine *m = machine(state);
	uint8_t nine = 9;

	PUT(m->mm, load_byte);
	map_data(m->mm, 64 * PAGE_SIZE, RW);
	assert_int_equal(load_data(m), 0); /* the zero page */
	assert_int_equal(copy_to_user(m->mm, DATA_VA, &nine, 1), 0);
	assert_int_equal(load_data(m), 9); /* another frame under the same address */
}

/* Tables are freed and become tables again, for other addresses, many times over. */
static void reused_tables(void **state)
{
	struct machine *m = machine(state);

	PUT(m->mm, load_byte);
	for (unsigned int round = 0; round < 200; round++) {
		uint8_t mark = (uint8_t)(round + 1);
		gva_t at = DATA_VA + (round % 7) * PMD_SIZE;
		struct mmap_request r = {.address = at, .length = PAGE_SIZE, .prot = RW};
		struct cpu_regs regs = at_code();
		r.flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
		assert_int_equal(mm_mmap(m->mm, &r), at);
		assert_int_equal(copy_to_user(m->mm, at, &mark, 1), 0);
		regs.rbx = at;
		assert_int_equal(run(m->v, m->mm, &regs).kind, TRAP_SYSCALL);
		assert_int_equal((uint8_t)regs.rax, mark);
		assert_int_equal(mm_munmap(m->mm, at, PAGE_SIZE), 0);
		regs = at_code();
		regs.rbx = at;
		assert_int_equal(run(m->v, m->mm, &regs).kind, TRAP_FAULT);
	}
	assert_int_equal(mm_check(m->mm, complain), 0);
}

/* More changes at once than the list of pokes and the thunk can hold. */
static void many_at_once(void **state)
{
	struct machine *m = machine(state);
	const uint64_t tables = 1500;

	PUT(m->mm, load_byte);
	map_data(m->mm, tables * PMD_SIZE, RW);
	m->mm->fault_around_pages = 1;
	for (uint64_t i = 0; i < tables; i++) {
		struct cpu_regs regs = at_code();
		regs.rbx = DATA_VA + i * PMD_SIZE;
		if (i % 100 == 0)
			assert_int_equal(run(m->v, m->mm, &regs).kind, TRAP_SYSCALL);
		else
			assert_int_equal(clear_user(m->mm, regs.rbx, 1), 0);
	}
	assert_int_equal(mm_munmap(m->mm, DATA_VA, tables * PMD_SIZE), 0);
	for (uint64_t i = 0; i < tables; i += 100) {
		struct cpu_regs regs = at_code();
		regs.rbx = DATA_VA + i * PMD_SIZE;
		assert_int_equal(run(m->v, m->mm, &regs).kind, TRAP_FAULT);
	}
}

/* A space is destroyed while its tables are still known to the machine; the next one gets the same frames. */
static void space_after_space(void **state)
{
	struct machine *m = machine(state);

	for (unsigned int round = 0; round < 30; round++) {
		struct mm *mm = make_space(m);
		uint64_t value = round;
		struct cpu_regs regs = at_code();
		regs.rdx = 1;
		PUT(mm, sum_pages);
		map_data(mm, PAGE_SIZE, RW);
		assert_int_equal(copy_to_user(mm, DATA_VA, &value, sizeof(value)), 0);
		assert_int_equal(run(m->v, mm, &regs).kind, TRAP_SYSCALL);
		assert_int_equal(regs.r12, round);
		mmput(mm);
	}
}

/* --- several processors -------------------------------------------------------------------------------------------------- */

struct other_cpu {
	struct machine *m;
	pthread_t thread;
	const char *from, *to;
	struct cpu_regs regs;
	struct trap last;
	_Atomic(struct vcpu *) v;
	_Atomic bool stop;
};

static void *other_main(void *arg)
{
	struct other_cpu *o = arg;
	struct vcpu *v;

	assert_int_equal(vcpu_get(o->m->vm, &v), 0);
	atomic_store(&o->v, v);
	do
		o->last = run(v, o->m->mm, &o->regs);
	while (o->last.kind == TRAP_KICK && !atomic_load(&o->stop));
	vcpu_put(v);
	return NULL;
}

#define COUNTER_VA (DATA_VA + 8 * PAGE_SIZE)

static uint64_t counter(struct machine *m)
{
	uint64_t n = 0;

	assert_int_equal(copy_from_user(m->mm, &n, COUNTER_VA, sizeof(n)), 0);
	return n;
}

static void start_other(struct other_cpu *o, struct machine *m)
{
	*o = (struct other_cpu){.m = m, .regs = at_code()};
	o->regs.rcx = COUNTER_VA;
	assert_int_equal(pthread_create(&o->thread, NULL, other_main, o), 0);
}

static void other_cpu_sees_unmap(void **state)
{
	struct machine *m = machine(state);
	struct other_cpu o;

	PUT(m->mm, read_forever);
	map_data(m->mm, 16 * PAGE_SIZE, RW);
	assert_int_equal(clear_user(m->mm, DATA_VA, 16 * PAGE_SIZE), 0);
	start_other(&o, m);
	while (counter(m) < 1000)
		usleep(1000);
	assert_int_equal(mm_munmap(m->mm, DATA_VA, PAGE_SIZE), 0);
	uint64_t after = counter(m);
	usleep(20000);
	/* It may have been past the load when the page went, so it counts once more at most. */
	assert_true(counter(m) <= after + 1);
	pthread_join(o.thread, NULL);
	assert_int_equal(o.last.kind, TRAP_FAULT);
	assert_int_equal(o.last.address, DATA_VA);
}

static void kick_stops_a_spinning_guest(void **state)
{
	struct machine *m = machine(state);
	struct other_cpu o;

	PUT(m->mm, spin);
	start_other(&o, m);
	while (!atomic_load(&o.v))
		usleep(1000);
	usleep(10000);
	atomic_store(&o.stop, true);
	vcpu_kick(atomic_load(&o.v));
	pthread_join(o.thread, NULL);
	assert_int_equal(o.last.kind, TRAP_KICK);
	assert_true(o.regs.rip >= CODE_VA && o.regs.rip < CODE_VA + 4);
}

static void kick_before_entry_is_kept(void **state)
{
	struct machine *m = machine(state);
	struct cpu_regs regs = at_code();
	struct trap t;

	PUT(m->mm, load_byte);
	map_data(m->mm, 4 * PAGE_SIZE, RW);
	expect_syscall(m);
	assert_int_equal(mm_munmap(m->mm, DATA_VA, PAGE_SIZE), 0); /* so that the next entry has a thunk */
	vcpu_kick(m->v);
	vcpu_run(m->v, m->mm, &regs, &t);
	assert_int_equal(t.kind, TRAP_KICK);
	assert_int_equal(regs.rip, CODE_VA);
	assert_int_equal(regs.rbx, DATA_VA);
	expect_fault(m, PF_USER);
}

#define KICKED_ROUNDS 12000

/* A kick may come when KVM has raised the fault and not delivered it: what runs next must not get it. */
static void kick_leaves_no_fault_behind(void **state)
{
	struct machine *m = machine(state);
	struct kicker k = {.v = m->v};
	pthread_t thread;
	struct trap t;

	PUT(m->mm, load_byte);
	expect_fault(m, PF_USER);
	assert_int_equal(copy_to_user(m->mm, CODE_VA + 64, just_syscall, 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, kick_on, &k), 0);
	for (unsigned int i = 0; i < KICKED_ROUNDS; i++) {
		struct cpu_regs faults = at_code(), calls = at_code();
		vcpu_run(m->v, m->mm, &faults, &t);
		assert_true(t.kind == TRAP_KICK || (t.kind == TRAP_FAULT && t.address == DATA_VA));
		calls.rip += 64;
		do
			vcpu_run(m->v, m->mm, &calls, &t);
		while (t.kind == TRAP_KICK);
		assert_int_equal(t.kind, TRAP_SYSCALL);
	}
	atomic_store(&k.stop, true);
	pthread_join(thread, NULL);
}

static void bad_rip_never_enters(void **state)
{
	struct machine *m = machine(state);
	struct cpu_regs regs = at_code();
	struct trap t;
	uint64_t runs = vcpu_stats(m->v)->runs;

	regs.rip = 0x800000000000ull;
	vcpu_run(m->v, m->mm, &regs, &t);
	assert_int_equal(t.kind, TRAP_EXCEPTION);
	assert_int_equal(t.vector, 13);
	assert_int_equal(vcpu_stats(m->v)->runs, runs);
}

/* --- the first processor ------------------------------------------------------------------------------------------------- */

#define NR_ASKERS 3

static void *ask(void *arg)
{
	return (void *)(intptr_t)boot_finish(arg);
}

static void ask_all_at_once(struct vm *vm)
{
	pthread_t thread[NR_ASKERS];
	void *err;

	for (unsigned int i = 0; i < NR_ASKERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, ask, vm), 0);
	for (unsigned int i = 0; i < NR_ASKERS; i++) {
		pthread_join(thread[i], &err);
		assert_null(err);
	}
}

/* Whether a thread began it, on a core that is free, or one of those that need it. */
static void first_processor_is_made_once(void **state)
{
	cpu_set_t all, here;

	(void)state;
	if (!have_kvm)
		skip();
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	for (unsigned int i = 0; i < 20; i++) {
		struct arena arena;
		CPU_ZERO(&here);
		CPU_SET((unsigned int)sched_getcpu(), &here);
		if (i % 2)
			assert_int_equal(sched_setaffinity(0, sizeof(here), &here), 0);
		assert_int_equal(arena_init(&arena, &(struct arena_setup){.max_bytes = 1ull << 30}), 0);
		struct vm *vm = vm_create(&arena, NULL);
		assert_non_null(vm);
		assert_false(i % 2 && vm->boot.has_thread);
		sched_setaffinity(0, sizeof(all), &all);
		if (i % 4 < 2) { /* else nobody ever wants one */
			ask_all_at_once(vm);
			assert_int_equal(vm->nr_vcpus, 1);
		}
		assert_int_equal(vm_destroy(vm), 0);
		arena_destroy(&arena);
	}
}

static void nothing(int signo)
{
	(void)signo;
}

#define TEST(name, fn)                          \
	{                                       \
		name, fn, setup, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST("vmm: ltr marks the TSS busy [A1]", ltr_sets_busy),
		TEST("vmm: ring 0 runs on the kernel's code selector [A6]", ring0_selector),
		TEST("vmm: an exception pushes ss, rsp, rflags, cs, rip below RSP0 [A3 A4]", exception_frame),
		TEST("vmm: the next trap lands on a changed RSP0 [A2]", rsp0_moves),
		TEST("vmm: a return to a frame without user cs ends in ud2 [A13]", bad_frame_is_trapped),
		TEST("vmm: NMIs during an NMI wait for its end, and the one that is kept comes then [A15]",
		     nested_nmi),
		TEST("vmm: NMIs change nothing for a program [A15]", nmi_is_not_seen),
		TEST("vmm: SYSCALL delivers every register and changes rcx and r11 only [A8 A9 A10]",
		     syscall_registers),
		TEST("vmm: a jump to LSTAR is a fault, not a system call [F9]", jump_to_lstar_is_no_syscall),
		TEST("vmm: a SYSCALL whose page cannot be read is fetched again [F9]",
		     unreadable_syscall_is_retried),
		TEST("vmm: finding out what the machine is leaves the caller its processor",
		     platform_keeps_the_processor),
		TEST("vmm: a gate answers and keeps every register, flag and the stack [A9][A10]",
		     gate_keeps_registers),
		TEST("vmm: a gate lets calls pass that it has no answer for [A11]", gate_lets_others_pass),
		TEST("vmm: a gate has nothing to say to the next task or space", gate_forgets),
		TEST("vmm: a kick anywhere in a gate is as if it had come before or after",
		     kicks_in_the_gate),
		TEST("vmm: a stop in a gate is before the call or behind it", stops_in_the_gate),
		TEST("vmm: calls by the mailbox are complete, and their answers arrive [A9][A10]",
		     calls_by_mailbox),
		TEST("vmm: no call is lost or made twice, whatever comes between",
		     nothing_is_lost_or_done_twice),
		TEST("vmm: a mailbox that the guest writes into harms the guest alone [F9]",
		     scribbled_mailbox),
		TEST("vmm: calls go by the mailbox where a core is free", sessions_need_a_core),
		TEST("vmm: calls exit where the mailbox's threads wait for a core", crowded_sessions_pause),
		TEST("vmm: a kick reaches a program that is lent", kick_stops_what_is_lent),
		TEST("vmm: the owner of a program that computes sleeps", idle_owner_sleeps),
		TEST("vmm: the hardware's walk and ours agree [B9 G8]", walk_agrees),
		TEST("vmm: two spaces alternate on one processor [A7]", two_spaces),
		TEST("vmm: forks of forks write for themselves on the real MMU [M3][M4][M7]", tree_of_spaces),
		TEST("vmm: an unmapped page faults at once [B10]", unmapped_page_faults),
		TEST("vmm: every page of an unmapped range faults, its neighbours do not [B10]",
		     unmapped_range_faults),
		TEST("vmm: a page made read-only faults on the next write [B11]", read_only_page_faults),
		TEST("vmm: a page made non-executable faults on the next call [B17]", no_execute_faults),
		TEST("vmm: another frame under an address is seen [K14]", frame_change_is_seen),
		TEST("vmm: freed table pages serve again as tables", reused_tables),
		TEST("vmm: more revocations at once than one entry can carry", many_at_once),
		TEST("vmm: spaces that follow each other do not see each other", space_after_space),
		TEST("vmm: a processor running the space sees an unmap", other_cpu_sees_unmap),
		TEST("vmm: a kick stops a spinning guest", kick_stops_a_spinning_guest),
		TEST("vmm: a kick before the entry loses neither itself nor the revocation",
		     kick_before_entry_is_kept),
		TEST("vmm: a fault whose delivery a kick put off is not another program's",
		     kick_leaves_no_fault_behind),
		TEST("vmm: a rip outside the user half never enters the guest [B29]", bad_rip_never_enters),
		{"vmm: the first processor is made once, by whoever comes first",
		 first_processor_is_made_once, NULL, NULL, NULL},
	};
	struct sigaction sa = {.sa_handler = nothing};

	sigaction(KICK_SIGNAL, &sa, NULL);
	have_kvm = access("/dev/kvm", R_OK | W_OK) == 0;
	return cmocka_run_group_tests_name("vmm", tests, NULL, NULL);
}
