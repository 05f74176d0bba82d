/* SPDX-License-Identifier: MIT */
/*
 * sys_exec.c - execve and execveat, and how a guest's path becomes a program.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "answers.h"
#include "argstack.h"
#include "exec.h"
#include "path.h"
#include "sleep.h"
#include "syscall.h"

#define MAX_STRINGS   (1u << 20) /* more pointers than the largest stack has room for */
#define ARG_BYTES_MAX (6u << 20)

/* A descriptor to read from for an object that was found, if it is a file that may be executed. */
static int open_executable(int fd)
{
	struct stat st;
	int ret;

	if (fstat(fd, &st))
		return -errno;
	if (S_ISLNK(st.st_mode))
		return -ELOOP;
	if (!S_ISREG(st.st_mode) || faccessat(fd, "", X_OK, AT_EMPTY_PATH | AT_EACCESS))
		return -EACCES;
	ret = path_reopen(fd, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return ret < 0 ? -errno : ret;
}

static int exec_open_path(struct task *t, const struct path *p, unsigned int flags)
{
	struct path_target target;
	int ret = path_target(t, p, flags, &target);

	if (ret < 0)
		return ret;
	ret = open_executable(target.fd);
	close(target.fd);
	return ret;
}

int exec_open(struct task *t, const char *path)
{
	struct path p;

	if (strlen(path) >= sizeof(p.text))
		return -ENAMETOOLONG;
	path_from_text(t, path, &p);
	return exec_open_path(t, &p, 0);
}

/* --- the arguments -------------------------------------------------------------------------- */

/* A NULL-terminated array of strings, copied from the guest. */
struct strings {
	char **at;
	size_t nr, room;
	size_t *bytes; /* of all strings of the call so far */
};

static void strings_free(struct strings *s)
{
	for (size_t i = 0; i < s->nr; i++)
		free(s->at[i]);
	free(s->at);
}

static int strings_grow(struct strings *s)
{
	size_t room = s->room ? s->room * 2 : 32;
	char **at = s->nr + 1 < s->room ? s->at : reallocarray(s->at, room, sizeof(*at));

	if (!at)
		return -ENOMEM;
	if (s->nr + 1 >= s->room)
		s->room = room;
	s->at = at;
	s->at[s->nr] = s->at[s->nr + 1] = NULL;
	return 0;
}

static int strings_add(struct task *t, struct strings *s, gva_t from, char *buffer)
{
	int64_t len = strncpy_from_user(t->mm, buffer, from, ARGSTACK_MAX_STRING);

	if (len == -ENAMETOOLONG)
		return -E2BIG;
	if (len < 0)
		return (int)len;
	*s->bytes += (size_t)len + 1;
	if (*s->bytes > ARG_BYTES_MAX)
		return -E2BIG;
	s->at[s->nr] = strdup(buffer);
	if (!s->at[s->nr])
		return -ENOMEM;
	s->nr++;
	return 0;
}

/* Reads an array of pointers to strings; NULL is an empty one. */
static int strings_get(struct task *t, struct strings *s, gva_t array, char *buffer)
{
	int err = strings_grow(s);
	uint64_t string;

	for (; !err && array; array += sizeof(string)) {
		if (copy_from_user(t->mm, &string, array, sizeof(string)))
			return -EFAULT;
		if (!string)
			break;
		if (s->nr == MAX_STRINGS)
			return -E2BIG;
		err = strings_grow(s);
		if (!err)
			err = strings_add(t, s, string, buffer);
	}
	return err;
}

/* --- the change ----------------------------------------------------------------------------- */

/* One execve. */
struct execve {
	struct task *t;
	struct path path;
	unsigned int path_flags;
	size_t bytes;
	struct strings argv, envp;
	char name[PATH_MAX + 32]; /* AT_EXECFN */
	int fd;
	bool only_check; /* whether it could be run, and no more */
	struct mm *mm;
	struct files *files;	 /* of its own, where they were shared */
	struct sighand *sighand; /* the same */
	struct exec_result program;
};

static bool is_alone(void *ctx)
{
	struct task *t = ctx;
	bool alone;

	pthread_mutex_lock(&t->sandbox->lock);
	alone = t->process->nr_threads == 1;
	pthread_mutex_unlock(&t->sandbox->lock);
	return alone;
}

/* All other threads end; this one becomes the leader. -EAGAIN when it is to end itself. */
static int kill_others(struct task *t)
{
	struct process *p = t->process;
	struct task *other;
	int err;

	pthread_mutex_lock(&t->sandbox->lock);
	err = p->group_exit || p->exec_task ? -EAGAIN : 0;
	if (!err) {
		p->exec_task = t;
		list_for_each_entry (other, &p->threads, thread_node)
			if (other != t)
				task_kick(other, ATTENTION_KILLED);
	}
	pthread_mutex_unlock(&t->sandbox->lock);
	if (!err)
		err = sleep_for(t, &(struct sleep){.done = is_alone, .ctx = t, .only_death = true});
	pthread_mutex_lock(&t->sandbox->lock);
	if (p->exec_task == t)
		p->exec_task = NULL;
	if (!err) {
		t->tid = t->pid;
		answers_tell(t);
	}
	pthread_mutex_unlock(&t->sandbox->lock);
	return err ? -EAGAIN : 0;
}

/* A space with the limits of the old one, on the same account. */
static struct mm *new_space(struct task *t)
{
	struct mm *mm = mm_create_in(t->mm->host, t->mm->memcg);

	if (!mm)
		return NULL;
	mm->stack_limit_bytes = t->mm->stack_limit_bytes;
	mm->as_limit_bytes = t->mm->as_limit_bytes;
	mm->data_limit_bytes = t->mm->data_limit_bytes;
	mm->memlock_limit_bytes = t->mm->memlock_limit_bytes;
	mm->privileged = t->mm->privileged;
	mm->mmap_min_addr = t->mm->mmap_min_addr;
	mm->max_map_count = t->mm->max_map_count;
	mm->fault_around_pages = t->mm->fault_around_pages;
	return mm;
}

/* What is shared with others stays theirs. */
static int take_parts(struct execve *e)
{
	struct task *t = e->t;

	e->files = files_copy(t->files);
	e->sighand = sighand_copy(t->sighand);
	return e->files && e->sighand ? 0 : -ENOMEM;
}

static int load(struct execve *e)
{
	const struct exec_request r = {.path = e->name,
				       .fd = e->fd,
				       .argv = (const char *const *)e->argv.at,
				       .envp = (const char *const *)e->envp.at,
				       .mm = e->mm,
				       .hostfiles = e->t->hostfiles,
				       .vdso = e->t->vdso,
				       .guest = e->t,
				       .cred = &e->t->cred,
				       .aslr = e->t->aslr && !(e->t->personality & ADDR_NO_RANDOMIZE),
				       .bottom_up = e->t->personality & ADDR_COMPAT_LAYOUT};

	e->fd = -1;
	return exec_load(&r, &e->program, NULL);
}

/* From here on nothing fails. */
static void become(struct execve *e)
{
	struct task *t = e->t;
	struct sandbox *s = t->sandbox;
	struct mm *old = t->mm, *old_first = NULL;
	struct sighand *old_sighand = t->sighand;
	struct files *old_files = t->files;

	task_release_space(t);
	sighand_reset(e->sighand, false);
	pthread_mutex_lock(&s->lock);
	t->mm = e->mm;
	t->sighand = e->sighand;
	t->files = e->files;
	t->process->has_execed = true;
	timers_delete_all(t->process);
	cred_exec(&t->cred);
	answers_tell_cred(t);
	if (t->process == s->first) {
		old_first = s->first_mm;
		s->first_mm = t->mm;
		mmget(t->mm);
	}
	t->sig.altstack_sp = t->sig.altstack_bytes = 0;
	t->sig.altstack_flags = SS_DISABLE;
	pthread_mutex_unlock(&s->lock);
	sighand_release(old_sighand);
	files_holds_drop(&t->holds);
	if (atomic_load(&old_files->refs) == 1) /* nobody else's */
		filelocks_move(&t->files->locks, &old_files->locks);
	files_release(old_files);
	files_close_on_exec(t->files);
	e->mm = NULL;
	e->files = NULL;
	e->sighand = NULL;
	mmput(old);
	mmput(old_first);
	t->personality &=
		~(uint32_t)READ_IMPLIES_EXEC; /* a program of 64 bits says by its headers what it wants */
	task_start_program(t, &e->program);
}

static int change(struct execve *e)
{
	int err;

	e->mm = new_space(e->t);
	err = e->mm ? take_parts(e) : -ENOMEM;
	if (!err)
		err = load(e);
	if (err)
		return err == -EINVAL ? -ENOEXEC : err;
	err = kill_others(e->t);
	if (!err && vcpu_reset_fpu(e->t->vcpu))
		err = -ENOMEM;
	if (err)
		free(e->program.exe_path);
	else
		become(e);
	return err;
}

static int get_arguments(struct execve *e, gva_t argv, gva_t envp)
{
	char *buffer = malloc(ARGSTACK_MAX_STRING);
	int err = buffer ? 0 : -ENOMEM;

	e->argv.bytes = e->envp.bytes = &e->bytes;
	if (!err)
		err = strings_get(e->t, &e->argv, argv, buffer);
	if (!err)
		err = strings_get(e->t, &e->envp, envp, buffer);
	free(buffer);
	return err;
}

/* Whether there is a program is told before what is wrong with its arguments. */
static int64_t do_execve(struct execve *e, gva_t argv, gva_t envp)
{
	struct task *t = e->t;
	int err = 0;

	e->fd = exec_open_path(t, &e->path, e->path_flags);
	if (e->fd < 0)
		err = e->fd;
	if (!err)
		err = get_arguments(e, argv, envp);
	if (!err && e->only_check)
		err = 1;
	if (!err)
		err = change(e);
	strings_free(&e->argv);
	strings_free(&e->envp);
	if (e->fd >= 0)
		close(e->fd);
	mmput(e->mm);
	files_release(e->files);
	sighand_release(e->sighand);
	free(e);
	if (err > 0)
		return 0;
	/* The registers are the new program's, and rax is one of them. */
	return err ? err : (int64_t)t->regs.rax;
}

static int64_t sys_execve(struct task *t, const uint64_t a[6])
{
	struct execve *e = calloc(1, sizeof(*e));
	int err = e ? path_get(t, AT_FDCWD, a[0], &e->path) : -ENOMEM;

	if (err) {
		free(e);
		return err;
	}
	e->t = t;
	strcpy(e->name, e->path.text);
	return do_execve(e, a[1], a[2]);
}

/* What a program finds as its name: by a descriptor, "/dev/fd/N" and what follows. */
static void name_by_descriptor(struct execve *e, int fd)
{
	bool plain = fd == AT_FDCWD || e->path.text[0] == '/';

	if (plain)
		strcpy(e->name, e->path.text);
	else
		snprintf(e->name, sizeof(e->name), "/dev/fd/%d%s%s", fd, e->path.text[0] ? "/" : "",
			 e->path.text);
}

#define EXECVE_CHECK 0x10000 /* AT_EXECVE_CHECK, Linux 6.14: only whether it could be run */

static int64_t sys_execveat(struct task *t, const uint64_t a[6])
{
	struct execve *e;
	int flags = (int)a[4], err;

	e = calloc(1, sizeof(*e));
	err = e ? path_get(t, (int)a[0], a[1], &e->path) : -ENOMEM;
	if ((!err || err == -EBADF) && !e->path.text[0] && !(flags & AT_EMPTY_PATH))
		err = -ENOENT;
	if ((!err || err == -EBADF) && (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | EXECVE_CHECK)))
		err = -EINVAL;
	if (err) {
		free(e);
		return err;
	}
	e->t = t;
	e->path_flags =
		(flags & AT_EMPTY_PATH ? PATH_EMPTY : 0) | (flags & AT_SYMLINK_NOFOLLOW ? PATH_NOFOLLOW : 0);
	e->only_check = flags & EXECVE_CHECK;
	name_by_descriptor(e, (int)a[0]);
	return do_execve(e, a[2], a[3]);
}

const struct syscall_entry sys_exec_calls[] = {
	SYSCALL_ENTRY(execve),
	SYSCALL_ENTRY(execveat),
	{0},
};
