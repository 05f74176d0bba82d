/* SPDX-License-Identifier: MIT */
/*
 * avx_tls.c - vector registers, mask registers and thread-local variables survive faults, system calls and handlers of signals.
 *
 * Each round fills every vector register, then, within the same piece of assembly, writes to an untouched
 * page, makes a system call and raises a signal whose handler changes all of them, and compares. Prints the widest registers it could use.
 */
#include <immintrin.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ROUNDS	  2000
#define PAGE	  4096
#define NR_ZMM	  32
#define NR_YMM	  16
#define ZMM_BYTES 64
#define YMM_BYTES 32

static __thread uint64_t tls_round;
static __thread char tls_text[100] = "initialised";

static uint8_t before[NR_ZMM * ZMM_BYTES] __attribute__((aligned(64)));
static uint8_t after[NR_ZMM * ZMM_BYTES] __attribute__((aligned(64)));
static uint64_t masks_before[8], masks_after[8];

static void fill(unsigned int round)
{
	uint32_t x = round * 2654435761u + 1;

	for (size_t i = 0; i < sizeof(before); i++) {
		x = x * 1664525u + 1013904223u;
		before[i] = (uint8_t)(x >> 24);
	}
	for (unsigned int i = 0; i < 8; i++)
		memcpy(&masks_before[i], before + 8 * i, 8);
	memset(after, 0, sizeof(after));
}

/* A fault, then getpid, a signal, and a fault. */
#define TRAPS		     "movb $1, (%[page])\n\tmov $39, %%eax\n\tsyscall\n\tud2\n\tmovb $2, 4096(%[page])\n\t"

#define LOAD(i, width, reg)  "vmovdqu" width " " #i "*" reg "bytes(%[in]), %%" reg #i "\n\t"
#define STORE(i, width, reg) "vmovdqu" width " %%" reg #i ", " #i "*" reg "bytes(%[out])\n\t"

#define ALL_16(op, w, r)                                                                                 \
	op(0, w, r) op(1, w, r) op(2, w, r) op(3, w, r) op(4, w, r) op(5, w, r) op(6, w, r) op(7, w, r)  \
		op(8, w, r) op(9, w, r) op(10, w, r) op(11, w, r) op(12, w, r) op(13, w, r) op(14, w, r) \
			op(15, w, r)
#define ALL_32(op, w, r)                                                                                   \
	ALL_16(op, w, r)                                                                                   \
	op(16, w, r) op(17, w, r) op(18, w, r) op(19, w, r) op(20, w, r) op(21, w, r) op(22, w, r)         \
		op(23, w, r) op(24, w, r) op(25, w, r) op(26, w, r) op(27, w, r) op(28, w, r) op(29, w, r) \
			op(30, w, r) op(31, w, r)

#define SIZES	      ".set zmmbytes, 64\n\t.set ymmbytes, 32\n\t.set xmmbytes, 16\n\t"

#define ONES(i, w, r) "vpternlogd $255, %%zmm" #i ", %%zmm" #i ", %%zmm" #i "\n\t"

__attribute__((target("avx512f,avx512bw"))) static void change_zmm(void)
{
	__asm__ volatile(ALL_32(ONES, "", "") "kxnorq %%k1, %%k1, %%k1\n\tkxnorq %%k7, %%k7, %%k7\n\t"
			 :
			 :
			 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
			   "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18",
			   "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27",
			   "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k7");
}

__attribute__((target("avx512f,avx512bw"))) static void round_zmm(char *page)
{
	__asm__ volatile(
		SIZES ALL_32(LOAD, "64", "zmm") "kmovq (%[kin]), %%k1\n\tkmovq 8(%[kin]), %%k7\n\t" TRAPS
			ALL_32(STORE, "64", "zmm") "kmovq %%k1, (%[kout])\n\tkmovq %%k7, 8(%[kout])\n\t"
		:
		: [in] "r"(before), [out] "r"(after), [page] "r"(page), [kin] "r"(masks_before),
		  [kout] "r"(masks_after)
		: "rax", "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
		  "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16",
		  "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26",
		  "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k7");
}

__attribute__((target("avx2"))) static void change_ymm(void)
{
	__asm__ volatile("vzeroall" ::
				 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
				   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

__attribute__((target("avx2"))) static void round_ymm(char *page)
{
	__asm__ volatile(SIZES ALL_16(LOAD, "", "ymm") TRAPS ALL_16(STORE, "", "ymm")
			 :
			 : [in] "r"(before), [out] "r"(after), [page] "r"(page)
			 : "rax", "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
			   "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			   "xmm15");
}

#define SSE_LOAD(i, w, r)  "movdqu " #i "*16(%[in]), %%xmm" #i "\n\t"
#define SSE_STORE(i, w, r) "movdqu %%xmm" #i ", " #i "*16(%[out])\n\t"

#define SSE_ZERO(i, w, r)  "pxor %%xmm" #i ", %%xmm" #i "\n\t"

static void change_xmm(void)
{
	__asm__ volatile(ALL_16(SSE_ZERO, "", "")::
				 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
				   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

static void round_xmm(char *page)
{
	__asm__ volatile(ALL_16(SSE_LOAD, "", "") TRAPS ALL_16(SSE_STORE, "", "")
			 :
			 : [in] "r"(before), [out] "r"(after), [page] "r"(page)
			 : "rax", "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
			   "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			   "xmm15");
}

struct width {
	const char *name;
	void (*round)(char *page);
	void (*change)(void); /* all of its registers */
	size_t bytes;
	int masks;
};

static struct width widest(void)
{
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
		return (struct width){"zmm", round_zmm, change_zmm, NR_ZMM * ZMM_BYTES, 1};
	if (__builtin_cpu_supports("avx2"))
		return (struct width){"ymm", round_ymm, change_ymm, NR_YMM * YMM_BYTES, 0};
	return (struct width){"xmm", round_xmm, change_xmm, NR_YMM * 16, 0};
}

static struct width width;

static void change_all(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)info;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2; /* past the ud2 */
	width.change();
}

/* The x87 and SSE control words too. */
static int control_words_hold(void)
{
	uint32_t mxcsr = _mm_getcsr();
	uint16_t cw;

	__asm__ volatile("fnstcw %0" : "=m"(cw));
	return mxcsr >> 6 == 0x1f80 >> 6 && cw == 0x37f;
}

static int one_round(const struct width *w, unsigned int round)
{
	char *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return 2;
	tls_round = round;
	snprintf(tls_text, sizeof(tls_text), "round %u", round);
	fill(round);
	w->round(page);
	if (memcmp(before, after, w->bytes) || page[0] != 1 || page[PAGE] != 2)
		return 3;
	if (w->masks && (masks_before[0] != masks_after[0] || masks_before[1] != masks_after[1]))
		return 4;
	if (tls_round != round || (unsigned int)atoi(tls_text + 6) != round)
		return 5;
	munmap(page, 2 * PAGE);
	return control_words_hold() ? 0 : 6;
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = change_all, .sa_flags = SA_SIGINFO};

	width = widest();
	sigaction(SIGILL, &action, NULL);
	if (strcmp(tls_text, "initialised"))
		return 7;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		int failed = one_round(&width, i);

		if (failed) {
			printf("round %u: failed %d\n", i, failed);
			return failed;
		}
	}
	puts(width.name);
	return 0;
}
