/* SPDX-License-Identifier: MIT */
/* The listing of a 32-bit program (pause), made by the calls that its loader makes, at the addresses that it had. */
#include "../../src/linux/maps.h"
#include "../../src/mm/layout.h"
#include "../sim/fixture.h"

#define RX (PROT_READ | PROT_EXEC)
#define RW (PROT_READ | PROT_WRITE)

struct pause {
	struct fixture *x;
	struct sim_file program, ld, libc;
};

static void file_init(struct sim_file *file, struct fixture *x, uint64_t dev, uint64_t ino, const char *path)
{
	sim_file_init(file, x->machine, 0x200000);
	file->backing.dev = dev;
	file->backing.ino = ino;
	file->backing.path = path;
}

static void map(const struct pause *p, struct mmap_request r)
{
	r.flags |= MAP_PRIVATE | MAP_FIXED | (r.file ? 0 : MAP_ANONYMOUS);
	assert_int_equal(mm_mmap(p->x->mm, &r), r.address);
}

static void map_file(const struct pause *p, struct sim_file *file, gva_t start, gva_t end, uint64_t pgoff,
		     unsigned int prot)
{
	map(p, (struct mmap_request){.address = start,
				     .length = end - start,
				     .prot = prot,
				     .file = &file->backing,
				     .pgoff = pgoff});
}

static void map_anonymous(const struct pause *p, gva_t start, gva_t end)
{
	map(p, (struct mmap_request){.address = start, .length = end - start, .prot = RW});
}

/* What execve maps: the program, its interpreter, the vDSO, a stack. */
static void exec_maps(struct pause *p)
{
	map_file(p, &p->program, 0x08048000, 0x08049000, 0, RX);
	map_file(p, &p->program, 0x08049000, 0x0804a000, 0, RW);
	map_file(p, &p->ld, 0x008ac000, 0x008cc000, 0, RX);
	map_file(p, &p->ld, 0x008cc000, 0x008ce000, 0x1f, RW);
	map(p,
	    (struct mmap_request){.address = 0x002c8000, .length = PAGE_SIZE, .prot = RX, .name = "[vdso]"});
	map(p, (struct mmap_request){
		       .address = 0xbfb8b000, .length = 0x21000, .prot = RW, .extra_flags = VM_STACK_FLAGS});
	p->x->mm->start_stack = 0xbfbab000;
}

/* What ld.so does: libc in one piece, a hole in it, data over it, the rest anonymous; then data that was relocated is protected. */
static void loader_maps(struct pause *p)
{
	map_file(p, &p->libc, 0x008d0000, 0x00a64000, 0, RX);
	assert_int_equal(mm_mprotect(p->x->mm, 0x00a5d000, 0x7000, PROT_NONE), 0);
	map_file(p, &p->libc, 0x00a5e000, 0x00a61000, 0x18d, RW);
	map_anonymous(p, 0x00a61000, 0x00a64000);
	map_anonymous(p, 0xb77c1000, 0xb77c2000);
	map_anonymous(p, 0xb77de000, 0xb77e0000);
	assert_int_equal(mm_mprotect(p->x->mm, 0x00a5e000, 0x2000, PROT_READ), 0);
	assert_int_equal(mm_mprotect(p->x->mm, 0x008cc000, PAGE_SIZE, PROT_READ), 0);
}

static const char listing[] =
	"002c8000-002c9000 r-xp 00000000 00:00 0                                  [vdso]\n"
	"008ac000-008cc000 r-xp 00000000 08:01 260681                             /lib/ld-2.12.90.so\n"
	"008cc000-008cd000 r--p 0001f000 08:01 260681                             /lib/ld-2.12.90.so\n"
	"008cd000-008ce000 rw-p 00020000 08:01 260681                             /lib/ld-2.12.90.so\n"
	"008d0000-00a5d000 r-xp 00000000 08:01 260688                             /lib/libc-2.12.90.so\n"
	"00a5d000-00a5e000 ---p 0018d000 08:01 260688                             /lib/libc-2.12.90.so\n"
	"00a5e000-00a60000 r--p 0018d000 08:01 260688                             /lib/libc-2.12.90.so\n"
	"00a60000-00a61000 rw-p 0018f000 08:01 260688                             /lib/libc-2.12.90.so\n"
	"00a61000-00a64000 rw-p 00000000 00:00 0 \n"
	"08048000-08049000 r-xp 00000000 08:03 2114849                            /usr/bin/pause\n"
	"08049000-0804a000 rw-p 00000000 08:03 2114849                            /usr/bin/pause\n"
	"b77c1000-b77c2000 rw-p 00000000 00:00 0 \n"
	"b77de000-b77e0000 rw-p 00000000 00:00 0 \n"
	"bfb8b000-bfbac000 rw-p 00000000 00:00 0                                  [stack]\n";

static void listing_of_pause(void **state)
{
	struct pause p = {.x = *state};
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	p.x->mm->task_size = layout_table[LAYOUT_I386].task_size;
	file_init(&p.program, p.x, 0x803, 2114849, "/usr/bin/pause");
	file_init(&p.ld, p.x, 0x801, 260681, "/lib/ld-2.12.90.so");
	file_init(&p.libc, p.x, 0x801, 260688, "/lib/libc-2.12.90.so");
	exec_maps(&p);
	loader_maps(&p);
	assert_int_equal(proc_maps(p.x->mm, out), 0);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(text, listing);
	assert_int_equal(p.x->mm->vmas.nr, 14);
	free(text);
	assert_mm_sound(p.x->mm);
	assert_int_equal(mm_munmap(p.x->mm, 0, p.x->mm->task_size), 0);
	backing_put(&p.program.backing);
	backing_put(&p.ld.backing);
	backing_put(&p.libc.backing);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{"maps: the fourteen lines of a 32-bit program, from its loader's mmap and mprotect [R4]",
		 listing_of_pause, fixture_setup, fixture_teardown, NULL},
	};

	return cmocka_run_group_tests_name("maps", tests, NULL, NULL);
}
