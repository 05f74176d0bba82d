/* SPDX-License-Identifier: MIT */
/* Special mappings: frames of the host in every space, as wholes; copied by who writes, never counted, back after they were dropped. */
#include "../../src/mm/special_mapping.h"
#include "../sim/fixture.h"

#include <errno.h>

#define P     PAGE_SIZE
#define RW    (PROT_READ | PROT_WRITE)
#define PAGES 4

struct scene {
	struct fixture *x;
	struct page *frames;
	uint32_t refs[2]; /* of them, before anybody maps them */
	struct special_mapping mapping[2];
	gva_t data, code;
};

static const uint64_t words[2] = {0x6461746164617461, 0x65646f6365646f63};

static int setup(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	struct frames *f;

	s->x = fixture_new(NULL);
	f = &s->x->machine->frames;
	s->frames = page_alloc(f, GFP_TABLE | __GFP_ZERO, 1);
	if (!s->frames)
		return -1;
	for (unsigned int i = 0; i < 2; i++) {
		atomic_fetch_or(&s->frames[i].flags, PG_RESERVED);
		s->refs[i] = atomic_load(&s->frames[i].refs);
		memcpy(page_address(f, &s->frames[i]), &words[i], sizeof(words[i]));
	}
	s->mapping[0] = (struct special_mapping){.name = "[data]",
						 .vm_flags = VM_READ | VM_MAYREAD | VM_IO | VM_PFNMAP,
						 .nr_pages = PAGES,
						 .pfn = page_to_pfn(f, s->frames),
						 .nr_frames = 1};
	s->mapping[1] = (struct special_mapping){.name = "[code]",
						 .vm_flags = VM_READ | VM_EXEC | VM_MAYREAD | VM_MAYWRITE |
							     VM_MAYEXEC,
						 .nr_pages = 1,
						 .pfn = page_to_pfn(f, s->frames + 1),
						 .nr_frames = 1};
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct scene *s = *state;
	struct frames *f = &s->x->machine->frames;
	int err = 0;

	mm_munmap(s->x->mm, 0, s->x->mm->task_size);
	for (unsigned int i = 0; i < 2; i++) {
		err |= atomic_load(&s->frames[i].refs) != s->refs[i] || atomic_load(&s->frames[i].mapcount);
		atomic_fetch_and(&s->frames[i].flags, ~(uint32_t)PG_RESERVED);
	}
	page_free_block(f, s->frames, 1);
	err |= fixture_free(s->x);
	free(s);
	return err;
}

static void install(struct scene *s)
{
	int64_t at = install_special_mappings(s->x->mm, s->mapping, 2);

	assert_true(at > 0);
	s->data = (gva_t)at;
	s->code = s->data + PAGES * P;
}

/* Where mmap would have put five pages; no access faults, and nothing is resident. */
static void they_are_there_at_once(void **state)
{
	struct scene *s = *state;
	struct mm *mm = s->x->mm;

	install(s);
	assert_int_equal(s->code + P, mm->mmap_base);
	assert_string_equal(mm_vma_name(mm, vma_find(&mm->vmas, s->data)), "[data]");
	assert_int_equal(fixture_load(s->x, s->data), words[0]);
	assert_int_equal(fixture_load(s->x, s->code), words[1]);
	assert_int_equal(atomic_load(&mm->min_flt), 0);
	assert_int_equal(mm_rss_pages(mm), 0);
	assert_int_equal(mm->total_vm_pages, PAGES + 1);
	assert_signal(s->x, SIM_LOAD, s->data + P, SIGBUS, BUS_ADRERR);
	assert_signal(s->x, SIM_STORE, s->data, SIGSEGV, SEGV_ACCERR);
	assert_signal(s->x, SIM_STORE, s->code, SIGSEGV, SEGV_ACCERR);
	assert_mm_sound(mm);
}

/* Both spaces see the host's change until one of them has written. */
static void who_writes_gets_a_copy(void **state)
{
	struct scene *s = *state;
	struct mm *mm = s->x->mm, *child;
	uint64_t *word = page_address(&s->x->machine->frames, s->frames + 1), now = 77, got;

	install(s);
	assert_int_equal(mm_mprotect(mm, s->code, P, RW), 0);
	assert_int_equal(mm_fork(mm, &child), 0);
	fixture_store(s->x, s->code, 5);
	assert_int_equal(mm_counter(mm, MM_ANONPAGES), 1);
	assert_int_equal(*word, words[1]);
	*word = now;
	assert_int_equal(fixture_load(s->x, s->code), 5);
	assert_int_equal(copy_from_user(child, &got, s->code, sizeof(got)), 0);
	assert_int_equal(got, now);
	assert_int_equal(copy_to_user(child, s->code, &words[0], sizeof(words[0])), 0);
	assert_int_equal(*word, now);
	assert_int_equal(fixture_load(s->x, s->code), 5);
	assert_mm_sound(mm);
	assert_mm_sound(child);
	mmput(child);
	assert_int_equal(fixture_load(s->x, s->data), words[0]);
}

static void calls_may_read_them(void **state)
{
	struct scene *s = *state;
	struct page *page;
	uint64_t got;

	install(s);
	assert_int_equal(copy_from_user(s->x->mm, &got, s->data, sizeof(got)), 0);
	assert_int_equal(got, words[0]);
	assert_int_equal(copy_to_user(s->x->mm, s->data, &got, sizeof(got)), sizeof(got));
	assert_int_equal(copy_from_user(s->x->mm, &got, s->data + P, sizeof(got)), sizeof(got));
	assert_int_equal(get_user_pages(s->x->mm, s->data, 1, 0, &page), -EFAULT);
	assert_int_equal(get_user_pages(s->x->mm, s->code, 1, 0, &page), 1);
	put_user_pages(s->x->mm, 1, &page);
}

static void dropped_entries_come_back(void **state)
{
	struct scene *s = *state;
	struct mm *mm = s->x->mm;

	install(s);
	assert_int_equal(mm_madvise(mm, s->code, P, MADV_DONTNEED), 0);
	assert_int_equal(fixture_pte(s->x, s->code), 0);
	assert_int_equal(fixture_load(s->x, s->code), words[1]);
	assert_int_equal(mm_mprotect(mm, s->code, P, RW), 0);
	assert_int_equal(mm_madvise(mm, s->code, P, MADV_DONTNEED), 0);
	fixture_store(s->x, s->code, 9); /* two faults: the entry, then the copy */
	assert_int_equal(fixture_load(s->x, s->code), 9);
	assert_int_equal(mm_madvise(mm, s->code, P, MADV_DONTNEED), 0);
	assert_int_equal(fixture_load(s->x, s->code), words[1]);
	assert_int_equal(mm_madvise(mm, s->data, PAGES * P, MADV_DONTNEED), -EINVAL);
	assert_mm_sound(mm);
}

static void they_are_never_cut(void **state)
{
	struct scene *s = *state;
	struct mm *mm = s->x->mm;
	gva_t to = 0x10000000;

	install(s);
	assert_int_equal(mm_munmap(mm, s->data, P), -EINVAL);
	assert_int_equal(mm_munmap(mm, s->data + 3 * P, 2 * P), -EINVAL);
	assert_int_equal(mm_mprotect(mm, s->data + P, P, PROT_NONE), -EINVAL);
	assert_int_equal(mm_mremap(mm, s->data, P, P, MREMAP_MAYMOVE | MREMAP_FIXED, to), -EINVAL);
	assert_int_equal(mm_mremap(mm, s->data, PAGES * P, PAGES * P + P, MREMAP_MAYMOVE, 0), -EFAULT);
	assert_int_equal(mm_mremap(mm, s->data, PAGES * P, PAGES * P, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	assert_int_equal(fixture_load(s->x, to), words[0]);
	assert_int_equal(mm_munmap(mm, to, PAGES * P), 0);
	assert_signal(s->x, SIM_LOAD, to, SIGSEGV, SEGV_MAPERR);
	assert_int_equal(fixture_load(s->x, s->code), words[1]);
	assert_mm_sound(mm);
}

static void limits_hold(void **state)
{
	struct scene *s = *state;
	struct mm *mm = s->x->mm;

	mm->as_limit_bytes = PAGES * P;
	assert_int_equal(install_special_mappings(mm, s->mapping, 2), -ENOMEM);
	assert_int_equal(mm->vmas.nr, 0);
	mm->as_limit_bytes += P;
	install(s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define CASE(title, fn) {title, fn, setup, teardown, NULL}
		CASE("special mapping: its pages are there at once, uncounted [F15][F16]",
		     they_are_there_at_once),
		CASE("special mapping: who writes gets a copy [F15]", who_writes_gets_a_copy),
		CASE("special mapping: calls read it, nobody pins device memory [F16]", calls_may_read_them),
		CASE("special mapping: dropped entries come back", dropped_entries_come_back),
		CASE("special mapping: moved and unmapped as a whole only", they_are_never_cut),
		CASE("special mapping: the limit of the space holds", limits_hold),
	};

	return cmocka_run_group_tests_name("special_mapping", tests, NULL, NULL);
}
