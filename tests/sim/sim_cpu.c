/* SPDX-License-Identifier: MIT */
/*
 * sim_cpu.c - see sim_cpu.h. The walk follows Intel SDM vol. 3A, 4.5 to 4.8, and 4.10 for what may be cached.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sim_cpu.h"

#define DEFAULT_TABLE_PAGES  4096
#define DEFAULT_OBJECT_PAGES 8192
#define DEFAULT_NORMAL_PAGES 65536

#define ALL_RIGHTS	     (PTE_PRESENT | PTE_WRITE | PTE_USER)

/* --- frames ------------------------------------------------------------------------------------------------------ */

static int sim_add_bank(void *ctx, enum zone_type zone, pfn_t start, uint64_t *nr_pages)
{
	struct sim_machine *m = ctx;
	uint64_t nr = min_u64(*nr_pages, m->pages_left[zone]);

	if (!nr)
		return -ENOMEM;
	if (mprotect(pfn_address(&m->frames, start), nr << PAGE_SHIFT, PROT_READ | PROT_WRITE))
		return -errno;
	m->pages_left[zone] -= nr;
	*nr_pages = nr;
	return 0;
}

static int sim_discard(void *ctx, pfn_t start, uint64_t nr_pages)
{
	struct sim_machine *m = ctx;

	if (m->refuses_discard)
		return -EINVAL;
	return madvise(pfn_address(&m->frames, start), nr_pages << PAGE_SHIFT, MADV_DONTNEED) ? -errno : 0;
}

static const struct bank_ops sim_bank_ops = {.add_bank = sim_add_bank, .discard = sim_discard};

static uint64_t pages_or(uint64_t wanted, uint64_t otherwise)
{
	return wanted ? wanted : otherwise;
}

static bool sim_map_arena(struct sim_machine *m)
{
	pfn_t max_pfn = NORMAL_START_PFN + m->pages_left[ZONE_NORMAL];
	uint64_t bytes = (max_pfn << PAGE_SHIFT) + PMD_SIZE;
	char *base = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uintptr_t aligned;

	if (base == MAP_FAILED)
		return false;
	m->arena = base;
	m->arena_bytes = bytes;
	aligned = ((uintptr_t)base + PMD_SIZE - 1) & PMD_MASK;
	const struct frames_setup setup = {.direct_map = (void *)aligned,
					   .max_pfn = max_pfn,
					   .ops = &sim_bank_ops,
					   .ctx = m,
					   .nr_nodes = m->config.nodes,
					   .dma32_pages = m->config.dma32_pages,
					   .movable_pages = m->config.movable_pages,
					   .cma_pages = m->config.cma_pages,
					   .distance = m->config.distance,
					   .no_pcp = m->config.no_pcp};
	return !frames_setup(&m->frames, &setup);
}

struct sim_machine *sim_frames_new(const struct sim_config *config)
{
	static const struct sim_config defaults;
	struct sim_machine *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->config = config ? *config : defaults;
	m->config.levels = m->config.levels ? m->config.levels : 4;
	m->config.cpus = m->config.cpus ? m->config.cpus : 1;
	m->config.tlb_entries = m->config.tlb_entries ? m->config.tlb_entries : SIM_TLB_ENTRIES;
	m->config.tlb_ways = m->config.tlb_ways ? m->config.tlb_ways : 1;
	m->config.psc_levels = m->config.no_psc ? 0 : m->config.psc_levels ? m->config.psc_levels : 1;
	m->pages_left[ZONE_TABLE] = pages_or(m->config.table_pages, DEFAULT_TABLE_PAGES);
	m->pages_left[ZONE_OBJECT] = pages_or(m->config.object_pages, DEFAULT_OBJECT_PAGES);
	m->pages_left[ZONE_NORMAL] = pages_or(m->config.normal_pages, DEFAULT_NORMAL_PAGES);
	m->pages_left[ZONE_DMA32] = m->config.dma32_pages;
	m->pages_left[ZONE_MOVABLE] = m->pages_left[ZONE_NORMAL];
	if (sim_map_arena(m))
		return m;
	if (m->arena)
		munmap(m->arena, m->arena_bytes);
	free(m);
	return NULL;
}

void sim_frames_free(struct sim_machine *m)
{
	frames_destroy(&m->frames);
	munmap(m->arena, m->arena_bytes);
	free(m);
}

/* --- revocation -------------------------------------------------------------------------------------------------- */

/* A frame may be given away only after the revocation: what is forgotten now must still be somebody's. */
static void check_frame_is_held(struct sim_cpu *cpu, pte_t entry)
{
	struct frames *f = &cpu->machine->frames;

	if (!entry || pte_pfn(entry) >= f->max_pfn)
		return; /* a device's: nobody counts it */
	if (!atomic_load(&pfn_to_page(f, pte_pfn(entry))->refs))
		cpu->machine->nr_bad_batches++;
}

static void tlb_revoke(struct sim_cpu *cpu, const struct mmu_batch *batch)
{
	sim_psc_flush(&cpu->psc);
	if (cpu->mm != batch->mm && !cpu->uses_pcid)
		return;
	for (unsigned int i = 0; i < cpu->tlb.entries; i++) {
		struct sim_translation *t = &cpu->tlb.entry[i];
		gva_t address = (t->page - 1) << PAGE_SHIFT;

		if (!t->page || address < batch->start || address >= batch->end)
			continue;
		check_frame_is_held(cpu, t->rights);
		t->page = 0;
	}
}

static void shadow_drop(struct sim_cpu *cpu, pfn_t table, unsigned int first, unsigned int last)
{
	pte_t *entries = cpu->shadow[table];

	for (unsigned int i = first; entries && i <= last; i++) {
		check_frame_is_held(cpu, entries[i]);
		entries[i] = 0;
	}
}

/* Forgets what table page `table` holds and every cached entry that points at it. */
static void shadow_drop_table(struct sim_cpu *cpu, pfn_t table)
{
	shadow_drop(cpu, table, 0, PTRS_PER_TABLE - 1);
	for (pfn_t t = 0; t < SIM_MAX_TABLES; t++) {
		for (unsigned int i = 0; cpu->shadow[t] && i < PTRS_PER_TABLE; i++) {
			if (cpu->shadow[t][i] && pte_pfn(cpu->shadow[t][i]) == table)
				cpu->shadow[t][i] = 0;
		}
	}
	free(cpu->shadow[table]);
	cpu->shadow[table] = NULL;
}

static void shadow_revoke(struct sim_cpu *cpu, const struct mmu_batch *batch)
{
	struct page *page;

	for (unsigned int i = 0; i < batch->nr_tables; i++)
		shadow_drop(cpu, batch->tables[i].table, batch->tables[i].first, batch->tables[i].last);
	list_for_each_entry (page, &batch->freed_tables, node)
		shadow_drop_table(cpu, page_to_pfn(&cpu->machine->frames, page));
}

static bool batch_is_sound(const struct mmu_batch *batch)
{
	if (!batch->mm || batch->nr_tables > MMU_BATCH_TABLES || batch->start > batch->end ||
	    ((batch->start | batch->end) & ~PAGE_MASK))
		return false;
	for (unsigned int i = 0; i < batch->nr_tables; i++) {
		const struct mmu_batch_table *t = &batch->tables[i];

		if (t->table >= SIM_MAX_TABLES || t->first > t->last || t->last >= PTRS_PER_TABLE || !t->nr ||
		    t->nr > PTRS_PER_TABLE)
			return false;
	}
	return true;
}

static void sim_free_tables(struct sim_machine *m, struct mmu_batch *batch)
{
	struct page *page, *next;

	list_for_each_entry_safe (page, next, &batch->freed_tables, node) {
		pte_t *entry = page_address(&m->frames, page);

		list_del(&page->node);
		for (unsigned int i = 0; i < PTRS_PER_TABLE; i++)
			pte_set(entry + i, SIM_TABLE_POISON);
		pgtable_free_page(&m->frames, page);
	}
}

static void sim_revoke(void *ctx, struct mmu_batch *batch)
{
	struct sim_machine *m = ctx;

	m->nr_revokes++;
	if (!batch_is_sound(batch)) {
		m->nr_bad_batches++;
		return;
	}
	for (unsigned int i = 0; i < m->config.cpus && !m->config.forget_revoke; i++) {
		struct sim_cpu *cpu = &m->cpu[i];

		pthread_mutex_lock(&cpu->lock);
		if (m->config.kind == SIM_TLB)
			tlb_revoke(cpu, batch);
		else
			shadow_revoke(cpu, batch);
		pthread_mutex_unlock(&cpu->lock);
	}
	sim_free_tables(m, batch);
}

static const struct mmu_ops sim_mmu_ops = {.revoke = sim_revoke};

/* --- the machine ------------------------------------------------------------------------------------------------- */

/* One 1 GiB page for supervisors, below the first kernel slot of a root. */
static bool sim_make_kernel_half(struct sim_machine *m)
{
	pte_t entry = PTE_PRESENT | PTE_WRITE | PTE_HUGE | PTE_ACCESSED | PTE_DIRTY;

	for (unsigned int i = 0; i + 3 < m->config.levels; i++) {
		pte_t *table;

		m->kernel_table[i] = page_alloc(&m->frames, GFP_TABLE | __GFP_ZERO, 0);
		if (!m->kernel_table[i])
			return false;
		table = page_address(&m->frames, m->kernel_table[i]);
		table[0] = entry;
		entry = pte_make(page_to_pfn(&m->frames, m->kernel_table[i]),
				 PTE_PRESENT | PTE_WRITE | PTE_ACCESSED);
	}
	m->host.kernel_entry = entry;
	return true;
}

struct sim_machine *sim_machine_new(const struct sim_config *config)
{
	struct sim_machine *m = sim_frames_new(config);

	if (!m)
		return NULL;
	for (unsigned int i = 0; i < SIM_MAX_CPUS; i++) {
		m->cpu[i].machine = m;
		sim_tlb_init(&m->cpu[i].tlb, m->config.tlb_entries, m->config.tlb_ways);
		pthread_mutex_init(&m->cpu[i].lock, NULL);
	}
	if (mm_host_init(&m->host, &m->frames, &sim_mmu_ops, m)) {
		sim_frames_free(m);
		return NULL;
	}
	m->host.levels = m->config.levels;
	if (sim_make_kernel_half(m))
		return m;
	sim_machine_free(m);
	return NULL;
}

uint64_t sim_machine_free(struct sim_machine *m)
{
	uint64_t lost = mm_host_destroy(&m->host) + m->nr_bad_batches;

	for (unsigned int i = 0; i < ARRAY_SIZE(m->kernel_table); i++) {
		if (m->kernel_table[i])
			page_free(&m->frames, m->kernel_table[i]);
	}
	lost += frames_leaked(&m->frames);
	for (unsigned int i = 0; i < SIM_MAX_CPUS; i++) {
		for (pfn_t t = 0; t < SIM_MAX_TABLES; t++)
			free(m->cpu[i].shadow[t]);
		pthread_mutex_destroy(&m->cpu[i].lock);
	}
	sim_frames_free(m);
	return lost;
}

static unsigned int sim_address_bits(const struct sim_machine *m)
{
	return PAGE_SHIFT + 9 * m->config.levels;
}

gva_t sim_kernel_base(const struct sim_machine *m)
{
	return ~0ull << (sim_address_bits(m) - 1);
}

void sim_cpu_load(struct sim_cpu *cpu, struct mm *mm)
{
	pthread_mutex_lock(&cpu->lock);
	cpu->mm = mm;
	sim_tlb_flush(&cpu->tlb);
	sim_psc_flush(&cpu->psc);
	pthread_mutex_unlock(&cpu->lock);
}

void sim_cpu_load_cr3(struct sim_cpu *cpu, struct mm *mm, uint16_t pcid, bool keep)
{
	pthread_mutex_lock(&cpu->lock);
	cpu->mm = mm;
	cpu->pcid = pcid & 0xfff;
	cpu->uses_pcid = true;
	if (!keep) {
		sim_tlb_flush_context(&cpu->tlb, cpu->pcid);
		sim_psc_flush(&cpu->psc);
	}
	pthread_mutex_unlock(&cpu->lock);
}

void sim_cpu_flush(struct sim_cpu *cpu)
{
	pthread_mutex_lock(&cpu->lock);
	sim_tlb_flush(&cpu->tlb);
	sim_psc_flush(&cpu->psc);
	for (pfn_t t = 0; t < SIM_MAX_TABLES; t++) {
		free(cpu->shadow[t]);
		cpu->shadow[t] = NULL;
	}
	pthread_mutex_unlock(&cpu->lock);
}

/* --- the walk ---------------------------------------------------------------------------------------------------- */

struct walk {
	struct sim_cpu *cpu;
	gva_t address;
	enum sim_access kind;
	uint32_t error;	       /* bits that any fault of this access has */
	pte_t rights;	       /* of the levels so far */
	pte_t rights_at[5];    /* down to and with each entry used */
	unsigned int level;    /* of the first of them */
	unsigned int depth;    /* entries used */
	pte_t *slot[5];	       /* where they are, from the root down */
	pte_t entry[5];	       /* what they were */
	pte_t *shadow_slot[5]; /* where they are cached, or NULL */
	gpa_t gpa;
};

static bool is_canonical(const struct sim_machine *m, gva_t address)
{
	unsigned int unused = 64 - sim_address_bits(m);

	return (gva_t)((int64_t)(address << unused) >> unused) == address;
}

static bool has_reserved_bits(pte_t entry, unsigned int level)
{
	uint64_t reserved = PTE_PFN_MASK & ~((1ull << SIM_PHYS_BITS) - 1);

	if (level && (entry & PTE_HUGE)) {
		if (level > 2)
			return true;
		reserved |= ((1ull << level_shift(level)) - 1) & ~0x1fffull;
	}
	return entry & reserved;
}

/* Rights add up over the levels: W and U must be set everywhere, NX anywhere counts. */
static pte_t rights_join(pte_t upper, pte_t entry)
{
	return (upper & entry & ~PTE_NX) | ((upper | entry) & PTE_NX);
}

static bool rights_allow(pte_t rights, enum sim_access kind)
{
	if (!(rights & PTE_USER))
		return false;
	if (kind == SIM_STORE)
		return rights & PTE_WRITE;
	return kind != SIM_FETCH || !(rights & PTE_NX);
}

static pte_t *shadow_slot(struct sim_cpu *cpu, pfn_t table, unsigned int index)
{
	if (cpu->machine->config.kind != SIM_SHADOW || table >= SIM_MAX_TABLES)
		return NULL;
	if (!cpu->shadow[table])
		cpu->shadow[table] = calloc(PTRS_PER_TABLE, sizeof(pte_t));
	return cpu->shadow[table] ? cpu->shadow[table] + index : NULL;
}

/* One level down: 0, or an error code. *table becomes the next table. */
static uint32_t walk_step(struct walk *w, pfn_t *table, unsigned int level, bool use_shadow)
{
	struct frames *f = &w->cpu->machine->frames;
	unsigned int index = level_index(w->address, level), d = w->depth;
	pte_t entry;

	w->slot[d] = (pte_t *)pfn_address(f, *table) + index;
	w->shadow_slot[d] = shadow_slot(w->cpu, *table, index);
	entry = use_shadow && w->shadow_slot[d] ? *w->shadow_slot[d] : 0;
	if (!entry) {
		entry = pte_read(w->slot[d]);
		w->cpu->nr_entry_reads++;
		w->cpu->nr_uncached_reads += d && (w->entry[d - 1] & PTE_PCD);
	}
	if (!(entry & PTE_PRESENT))
		return SIM_FAULTED | w->error;
	if (has_reserved_bits(entry, level))
		return SIM_FAULTED | w->error | PF_PROT | PF_RSVD;
	w->entry[d] = entry;
	w->depth++;
	w->rights = rights_join(w->rights, entry);
	w->rights_at[d] = w->rights;
	*table = pte_pfn(entry);
	return 0;
}

/* Sets A, and D where it is due, in one entry unless it has changed meanwhile. */
static bool walk_mark(struct walk *w, unsigned int d)
{
	bool leaf = d + 1 == w->depth;
	pte_t marked = w->entry[d] | PTE_ACCESSED | (leaf && w->kind == SIM_STORE ? PTE_DIRTY : 0);
	pte_t expected = w->entry[d];

	if (marked == expected)
		return true;
	if (!__atomic_compare_exchange_n(w->slot[d], &expected, marked, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return false;
	w->entry[d] = marked;
	return true;
}

static void walk_cache(struct walk *w)
{
	struct sim_cpu *cpu = w->cpu;
	unsigned int leaf = w->depth - 1;

	if (cpu->machine->config.kind == SIM_SHADOW) {
		for (unsigned int d = 0; d <= leaf; d++) {
			if (w->shadow_slot[d])
				*w->shadow_slot[d] = w->entry[d];
		}
		return;
	}
	sim_tlb_insert(&cpu->tlb, w->address >> PAGE_SHIFT, cpu->pcid,
		       (w->gpa & PTE_PFN_MASK) | w->rights | (w->entry[leaf] & (PTE_DIRTY | PTE_GLOBAL)));
	for (unsigned int d = 0; d < leaf; d++)
		if (w->level - d <= cpu->machine->config.psc_levels)
			sim_psc_insert(&cpu->psc, w->level - d, w->address, cpu->pcid,
				       (w->entry[d] & PTE_PFN_MASK) | w->rights_at[d]);
}

enum walk_result { WALK_DONE, WALK_FAULT, WALK_AGAIN };

/* A walk from `table` at `level` down to a leaf; w->rights are those of the levels above. */
static enum walk_result walk_from(struct walk *w, pfn_t table, unsigned int level, bool use_shadow,
				  uint32_t *error)
{
	gpa_t offset_mask;

	w->depth = 0;
	w->level = level;
	for (;; level--) {
		*error = walk_step(w, &table, level, use_shadow);
		if (*error)
			return WALK_FAULT;
		if (!level || (w->entry[w->depth - 1] & PTE_HUGE))
			break;
	}
	offset_mask = (1ull << level_shift(level)) - 1;
	w->gpa = ((table << PAGE_SHIFT) & ~offset_mask) | (w->address & offset_mask);
	if (!rights_allow(w->rights, w->kind)) {
		*error = SIM_FAULTED | w->error | PF_PROT;
		return WALK_FAULT;
	}
	for (unsigned int d = 0; d < w->depth; d++) {
		/* A cached entry is trusted: only a write that must set D looks at memory again. */
		bool cached = use_shadow && w->shadow_slot[d] && *w->shadow_slot[d] == w->entry[d];

		if (!cached && !walk_mark(w, d))
			return WALK_AGAIN;
	}
	walk_cache(w);
	return WALK_DONE;
}

static uint32_t walk_memory(struct walk *w)
{
	const struct pgtable *pt = &w->cpu->mm->pgt;
	pfn_t root = page_to_pfn(&w->cpu->machine->frames, pt->root);
	enum walk_result r;
	uint32_t error;

	do {
		w->rights = ALL_RIGHTS;
		r = walk_from(w, root, pt->levels - 1, false, &error);
	} while (r == WALK_AGAIN);
	return r == WALK_FAULT ? error : 0;
}

/* What the processor remembers of a page: 0 and w->gpa, an error code, or ~0 when it must walk. */
static uint32_t tlb_lookup(struct walk *w)
{
	struct sim_translation *t = sim_tlb_find(&w->cpu->tlb, w->address >> PAGE_SHIFT, w->cpu->pcid);

	if (!t)
		return ~0u;
	if (!rights_allow(t->rights, w->kind))
		return SIM_FAULTED | w->error | PF_PROT;
	if (w->kind == SIM_STORE && !(t->rights & PTE_DIRTY))
		return ~0u;
	w->gpa = (t->rights & PTE_PFN_MASK) | (w->address & ~PAGE_MASK);
	return 0;
}

/* The lowest level that is cached: its slot and *level, or NULL. */
static const struct sim_translation *psc_find(const struct walk *w, unsigned int *level)
{
	struct sim_cpu *cpu = w->cpu;

	for (*level = 1; *level <= cpu->machine->config.psc_levels; ++*level) {
		const struct sim_translation *p = sim_psc_slot(&cpu->psc, *level, w->address);
		if (sim_psc_holds(p, *level, w->address, cpu->pcid))
			return p;
	}
	return NULL;
}

static uint32_t psc_lookup(struct walk *w)
{
	unsigned int level;
	const struct sim_translation *p = psc_find(w, &level);
	uint32_t error;

	if (!p)
		return ~0u;
	w->cpu->psc.nr_hits[level - 1]++;
	w->rights = p->rights & (ALL_RIGHTS | PTE_NX);
	switch (walk_from(w, pte_pfn(p->rights), level - 1, false, &error)) {
	case WALK_DONE:
		return 0;
	case WALK_FAULT:
		return error;
	default:
		return ~0u;
	}
}

static uint32_t translate_tlb(struct walk *w)
{
	uint32_t r = tlb_lookup(w);

	if (r == ~0u)
		r = psc_lookup(w);
	if (r == ~0u)
		r = walk_memory(w);
	if (r) {
		/* A page fault makes the processor forget what it knew of the address. */
		sim_tlb_forget(&w->cpu->tlb, w->address >> PAGE_SHIFT, w->cpu->pcid);
		for (unsigned int level = 1; level <= SIM_PSC_LEVELS; level++)
			sim_psc_slot(&w->cpu->psc, level, w->address)->page = 0;
	}
	return r;
}

/* What is cached is used as long as it allows the access; what it forbids is looked up in memory before it faults. */
static uint32_t translate_shadow(struct walk *w)
{
	const struct pgtable *pt = &w->cpu->mm->pgt;
	pfn_t root = page_to_pfn(&w->cpu->machine->frames, pt->root);
	uint32_t error;

	w->rights = ALL_RIGHTS;
	if (walk_from(w, root, pt->levels - 1, true, &error) == WALK_DONE &&
	    (w->kind != SIM_STORE || (w->entry[w->depth - 1] & PTE_DIRTY)))
		return 0;
	return walk_memory(w);
}

static uint32_t translate_locked(struct sim_cpu *cpu, enum sim_access kind, gva_t address, gpa_t *gpa)
{
	struct walk w = {.cpu = cpu, .address = address, .kind = kind};
	uint32_t r;

	if (!is_canonical(cpu->machine, address))
		return SIM_GP;
	w.error = PF_USER | (kind == SIM_STORE ? PF_WRITE : 0) | (kind == SIM_FETCH ? PF_INSTR : 0);
	r = cpu->machine->config.kind == SIM_TLB ? translate_tlb(&w) : translate_shadow(&w);
	*gpa = w.gpa;
	return r;
}

uint32_t sim_translate(struct sim_cpu *cpu, enum sim_access kind, gva_t address, gpa_t *gpa)
{
	uint32_t r;

	pthread_mutex_lock(&cpu->lock);
	r = translate_locked(cpu, kind, address, gpa);
	pthread_mutex_unlock(&cpu->lock);
	return r;
}

/* --- accesses ---------------------------------------------------------------------------------------------------- */

static uint32_t access_once(struct sim_cpu *cpu, enum sim_access kind, gva_t address, void *data,
			    size_t bytes)
{
	gpa_t gpa = 0;
	uint32_t r;

	pthread_mutex_lock(&cpu->lock);
	r = translate_locked(cpu, kind, address, &gpa);
	if (!r) {
		char *at = cpu->machine->frames.direct_map + gpa;

		if (kind == SIM_STORE)
			memcpy(at, data, bytes);
		else
			memcpy(data, at, bytes);
	}
	pthread_mutex_unlock(&cpu->lock);
	return r;
}

static struct fault_signal access_in_page(struct sim_cpu *cpu, enum sim_access kind, gva_t address,
					  void *data, size_t bytes)
{
	struct fault_signal sig = {0};

	for (unsigned int tries = 0; tries < SIM_FAULT_LIMIT; tries++) {
		uint32_t r = access_once(cpu, kind, address, data, bytes);

		if (!r)
			return sig;
		if (r == SIM_GP)
			return (struct fault_signal){.signo = SIGSEGV, .code = SI_KERNEL};
		cpu->nr_faults++;
		cpu->last_error = r & ~SIM_FAULTED;
		cpu->last_address = address;
		sig = do_user_addr_fault(cpu->mm, address, cpu->last_error);
		if (sig.signo)
			return sig;
	}
	return (struct fault_signal){.signo = -1, .address = address};
}

struct fault_signal sim_access(struct sim_cpu *cpu, enum sim_access kind, gva_t address, void *data,
			       size_t bytes)
{
	struct fault_signal sig = {0};

	while (bytes && !sig.signo) {
		size_t n = min_u64(bytes, PAGE_SIZE - (address & ~PAGE_MASK));

		sig = access_in_page(cpu, kind, address, data, n);
		address += n;
		data = (char *)data + n;
		bytes -= n;
	}
	return sig;
}
