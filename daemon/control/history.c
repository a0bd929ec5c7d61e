// SPDX-License-Identifier: GPL-2.0
/*
 * A ring of lines in memory is both the queue to the disk and what followers read:
 * `last` is the newest event, `written` the newest that is in the file. A line
 * leaves the ring when its place is needed; if it is not written by then, the new
 * one is lost instead.
 */
#include "daemon/control/history.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/log.h"

#define RING		1024
#define RECENT		16
#define SAME_MS		60000
#define TAIL_BYTES	(4u * HISTORY_LINE_MAX)
#define FLUSH_MS	2000
#define READ_MAX	10000
#define FIELDS_MAX	(HISTORY_LINE_MAX - 8192)
#define KINDS		48

/* An event that comes again and again. */
struct recent {
	char key[200];
	uint64_t ms;
	unsigned again;
};

struct history {
	char *dir, *member;
	pthread_t writer;
	pthread_mutex_t lock;
	pthread_cond_t added, wrote;
	char *ring[RING];		/* of seq: ring[seq % RING] */
	uint64_t last, written, lost;
	struct recent recent[RECENT];
	bool stop, failing;
	struct history_count counts[KINDS];	/* kinds are few, and fixed */

	pthread_mutex_t files;		/* while they are opened or renamed */
	int fd;
	uint64_t bytes;
};

static uint64_t clock_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void path_of(const struct history *h, int n, char *ret, size_t len)
{
	if (n)
		snprintf(ret, len, "%s/history.jsonl.%d", h->dir, n);
	else
		snprintf(ret, len, "%s/history.jsonl", h->dir);
}

/* ---- the writer ------------------------------------------------------------ */

static int open_file(struct history *h)
{
	char path[400];
	struct stat st;

	path_of(h, 0, path, sizeof(path));
	h->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (h->fd < 0 || fstat(h->fd, &st))
		return -errno;
	h->bytes = (uint64_t)st.st_size;
	return 0;
}

static int rotate(struct history *h)
{
	char from[400], to[400];
	int rc;

	pthread_mutex_lock(&h->files);
	if (h->fd >= 0)
		close(h->fd);
	for (int i = HISTORY_FILES - 1; i > 0; i--) {
		path_of(h, i - 1, from, sizeof(from));
		path_of(h, i, to, sizeof(to));
		if (rename(from, to) && errno != ENOENT)
			log_warn("history file=%s err=\"%m\"", from);
	}
	rc = open_file(h);
	pthread_mutex_unlock(&h->files);
	return rc;
}

static int write_line(struct history *h, const char *line, size_t len)
{
	int rc = 0;

	if (h->fd < 0 || h->bytes + len > HISTORY_FILE_BYTES)
		rc = rotate(h);
	while (!rc && len) {
		ssize_t n = write(h->fd, line, len);

		if (n < 0 && errno != EINTR)
			rc = -errno;
		if (n < 0)
			continue;
		line += n;
		len -= (size_t)n;
		h->bytes += (uint64_t)n;
	}
	return rc;
}

/* Said once; the events stay in the ring for those who follow. */
static void note_failure(struct history *h, int rc)
{
	if (rc && !h->failing)
		log_err("history dir=%s msg=\"not written\" err=\"%s\"", h->dir, strerror(-rc));
	h->failing = rc;
}

static char *new_line(struct history *h, const char *kind, const char *store,
		      struct json_object *fields, const char *text);

/* Lock held. What did not fit while the queue was full. */
static void say_lost(struct history *h)
{
	struct json_object *fields;
	char text[80], *line;

	if (!h->lost || h->last - h->written >= RING)
		return;
	snprintf(text, sizeof(text), "%llu events lost, the disk of the history was too slow",
		 (unsigned long long)h->lost);
	fields = json_object_new_object();
	json_object_object_add(fields, "lost", json_object_new_int64((int64_t)h->lost));
	line = new_line(h, "overflow", "", fields, text);
	if (!line)
		return;
	h->lost = 0;
	h->last++;
	free(h->ring[h->last % RING]);
	h->ring[h->last % RING] = line;
}

static void *writer_main(void *arg)
{
	struct history *h = arg;

	pthread_mutex_lock(&h->lock);
	while (!h->stop || h->written < h->last) {
		char *line;
		int rc;

		if (h->written == h->last) {
			pthread_cond_wait(&h->added, &h->lock);
			continue;
		}
		/* its place is not taken before `written` passes it */
		line = h->ring[(h->written + 1) % RING];
		pthread_mutex_unlock(&h->lock);
		rc = write_line(h, line, strlen(line));
		pthread_mutex_lock(&h->lock);
		note_failure(h, rc);
		h->written++;
		say_lost(h);
		if (h->written == h->last) {
			pthread_mutex_unlock(&h->lock);
			if (h->fd >= 0 && fdatasync(h->fd))
				log_warn("history dir=%s msg=\"not synced\" err=\"%m\"", h->dir);
			pthread_mutex_lock(&h->lock);
			pthread_cond_broadcast(&h->wrote);
		}
	}
	pthread_mutex_unlock(&h->lock);
	return NULL;
}

/* ---- life ------------------------------------------------------------------ */

static uint64_t seq_of(const char *line)
{
	const char *at = strstr(line, "\"seq\":");

	return at ? strtoull(at + 6, NULL, 10) : 0;
}

/* The newest number in a file's end; a torn last line is ended. */
static uint64_t find_last(const struct history *h, int n)
{
	char path[400], *buf = malloc(TAIL_BYTES + 1), *line, *next;
	uint64_t seq = 0, got;
	ssize_t len = 0;
	off_t size;
	int fd;

	path_of(h, n, path, sizeof(path));
	fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
	if (fd >= 0 && buf) {
		size = lseek(fd, 0, SEEK_END);
		len = pread(fd, buf, TAIL_BYTES, size > (off_t)TAIL_BYTES ? size - TAIL_BYTES : 0);
		if (len > 0 && buf[len - 1] != '\n' && write(fd, "\n", 1) < 0)
			log_warn("history file=%s err=\"%m\"", path);
	}
	if (len > 0) {
		buf[len] = '\0';
		for (line = buf; line; line = next) {
			next = strchr(line, '\n');
			if (next)
				*next++ = '\0';
			got = seq_of(line);
			if (got > seq)
				seq = got;
		}
	}
	if (fd >= 0)
		close(fd);
	free(buf);
	return seq;
}

static void destroy(struct history *h)
{
	for (int i = 0; i < RING; i++)
		free(h->ring[i]);
	if (h->fd >= 0)
		close(h->fd);
	pthread_mutex_destroy(&h->lock);
	pthread_mutex_destroy(&h->files);
	pthread_cond_destroy(&h->added);
	pthread_cond_destroy(&h->wrote);
	free(h->dir);
	free(h->member);
	free(h);
}

int history_open(const char *dir, const char *member, struct history **ret)
{
	struct history *h = calloc(1, sizeof(*h));
	pthread_condattr_t attr;
	int rc;

	if (!h)
		return -ENOMEM;
	h->fd = -1;
	h->dir = strdup(dir);
	h->member = strdup(member);
	pthread_mutex_init(&h->lock, NULL);
	pthread_mutex_init(&h->files, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&h->added, &attr);
	pthread_cond_init(&h->wrote, &attr);
	pthread_condattr_destroy(&attr);
	rc = h->dir && h->member ? 0 : -ENOMEM;
	for (int i = 0; !rc && !h->last && i < HISTORY_FILES; i++)
		h->last = find_last(h, i);
	h->written = h->last;
	if (!rc)
		rc = open_file(h);
	if (!rc)
		rc = -pthread_create(&h->writer, NULL, writer_main, h);
	if (rc) {
		destroy(h);
		return rc;
	}
	*ret = h;
	return 0;
}

void history_close(struct history *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&h->lock);
	h->stop = true;
	pthread_cond_broadcast(&h->added);
	pthread_mutex_unlock(&h->lock);
	pthread_join(h->writer, NULL);
	destroy(h);
}

/* ---- adding ------------------------------------------------------------------ */

static void put_time(struct json_object *o)
{
	struct timespec ts;
	struct tm tm;
	char text[48];
	size_t n;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, sizeof(text) - n, ".%03ldZ", ts.tv_nsec / 1000000);
	json_object_object_add(o, "time", json_object_new_string(text));
}

/* Lock held: the number is the next. Consumes fields. */
static char *new_line(struct history *h, const char *kind, const char *store,
		      struct json_object *fields, const char *text)
{
	struct json_object *o = json_object_new_object();
	const char *json;
	char *line = NULL;

	json_object_object_add(o, "seq", json_object_new_int64((int64_t)h->last + 1));
	put_time(o);
	json_object_object_add(o, "member", json_object_new_string(h->member));
	json_object_object_add(o, "kind", json_object_new_string(kind));
	json_object_object_add(o, "store", json_object_new_string(store));
	json_object_object_add(o, "text", json_object_new_string(text));
	if (fields && strlen(json_object_to_json_string_ext(fields, JSON_C_TO_STRING_PLAIN)) >
	    FIELDS_MAX) {
		json_object_object_add(o, "cut", json_object_new_boolean(true));
		json_object_put(fields);
		fields = NULL;
	}
	if (fields) {
		json_object_object_foreach(fields, key, val)
			if (!json_object_object_get_ex(o, key, NULL))
				json_object_object_add(o, key, json_object_get(val));
		json_object_put(fields);
	}
	json = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
					      JSON_C_TO_STRING_NOSLASHESCAPE);
	if (asprintf(&line, "%s\n", json) < 0)
		line = NULL;
	json_object_put(o);
	return line;
}

/* Lock held. Said within the last minute already? *ret_again: how often since. */
static bool repeated(struct history *h, const char *kind, const char *store, const char *text,
		     unsigned *ret_again)
{
	struct recent *oldest = &h->recent[0];
	uint64_t now = clock_ms(CLOCK_MONOTONIC);
	char key[sizeof(oldest->key)];

	*ret_again = 0;
	if (strcmp(kind, "refused") && strcmp(kind, "network") && strcmp(kind, "tap"))
		return false;
	snprintf(key, sizeof(key), "%.16s %.40s %.140s", kind, store, text);
	for (int i = 0; i < RECENT; i++) {
		struct recent *r = &h->recent[i];

		if (r->ms < oldest->ms)
			oldest = r;
		if (strcmp(r->key, key))
			continue;
		r->again++;
		if (now - r->ms < SAME_MS)
			return true;
		*ret_again = r->again - 1;
		r->again = 0;
		r->ms = now;
		return false;
	}
	memcpy(oldest->key, key, sizeof(key));
	oldest->ms = now;
	oldest->again = 0;
	return false;
}

static void count_kind(struct history *h, const char *kind)
{
	for (int i = 0; i < KINDS; i++) {
		struct history_count *c = &h->counts[i];

		if (!c->kind[0])
			snprintf(c->kind, sizeof(c->kind), "%s", kind);
		if (!strcmp(c->kind, kind)) {
			c->count++;
			return;
		}
	}
}

unsigned history_counts(struct history *h, struct history_count *ret, unsigned max)
{
	unsigned n = 0;

	if (!h)
		return 0;
	pthread_mutex_lock(&h->lock);
	for (int i = 0; i < KINDS && n < max && h->counts[i].kind[0]; i++)
		ret[n++] = h->counts[i];
	pthread_mutex_unlock(&h->lock);
	return n;
}

static void add_locked(struct history *h, const char *kind, const char *store,
		       struct json_object *fields, const char *text)
{
	unsigned again;
	char *line;

	if (repeated(h, kind, store, text, &again)) {
		json_object_put(fields);
		return;
	}
	if (again && !fields)
		fields = json_object_new_object();
	if (again)
		json_object_object_add(fields, "again", json_object_new_int64(again));
	if (h->last - h->written >= RING) {
		json_object_put(fields);
		h->lost++;
		return;
	}
	line = new_line(h, kind, store, fields, text);
	if (!line) {
		h->lost++;
		return;
	}
	h->last++;
	free(h->ring[h->last % RING]);
	h->ring[h->last % RING] = line;
	pthread_cond_broadcast(&h->added);
}

void history_add(struct history *h, const char *kind, const char *store, struct json_object *fields,
		 const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	if (!h) {
		json_object_put(fields);
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&h->lock);
	count_kind(h, kind);
	add_locked(h, kind, store, fields, text);
	pthread_mutex_unlock(&h->lock);
}

/* ---- reading ------------------------------------------------------------------- */

uint64_t history_last_seq(struct history *h)
{
	uint64_t seq;

	if (!h)
		return 0;
	pthread_mutex_lock(&h->lock);
	seq = h->last;
	pthread_mutex_unlock(&h->lock);
	return seq;
}

char *history_next(struct history *h, uint64_t *seq, unsigned timeout_ms, uint64_t *ret_missed)
{
	struct timespec until = clock_after_ms(timeout_ms);
	uint64_t want;
	char *line = NULL;

	*ret_missed = 0;
	if (!h)
		return NULL;
	pthread_mutex_lock(&h->lock);
	while (h->last <= *seq)
		if (pthread_cond_timedwait(&h->added, &h->lock, &until))
			break;
	want = *seq + 1;
	while (want <= h->last && (h->last - want >= RING || !h->ring[want % RING] ||
				   seq_of(h->ring[want % RING]) != want))
		want++;
	if (want <= h->last) {
		*ret_missed = want - *seq - 1;
		*seq = want;
		line = strdup(h->ring[want % RING]);
	}
	pthread_mutex_unlock(&h->lock);
	if (line)
		line[strcspn(line, "\n")] = '\0';
	return line;
}

/* The newest `max` objects that passed. */
struct kept {
	struct json_object **at;
	unsigned max, nr, first;
};

static void keep(struct kept *k, struct json_object *o)
{
	if (k->nr < k->max) {
		k->at[k->nr++] = o;
		return;
	}
	json_object_put(k->at[k->first]);
	k->at[k->first] = o;
	k->first = (k->first + 1) % k->max;
}

static const char *text_of(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_string) ?
	       json_object_get_string(v) : "";
}

/* ms of a time as put_time() writes it; 0: it is none. */
static uint64_t time_ms(const char *text)
{
	struct tm tm = { .tm_isdst = 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	time_t s = end ? timegm(&tm) : 0;

	if (s <= 0)
		return 0;
	return (uint64_t)s * 1000 + (*end == '.' ? strtoul(end + 1, NULL, 10) : 0);
}

static bool passes(const struct history_filter *f, struct json_object *o)
{
	return (!f->store || !strcmp(f->store, text_of(o, "store"))) &&
	       (!f->kind || !strcmp(f->kind, text_of(o, "kind"))) &&
	       (!f->since_ms || time_ms(text_of(o, "time")) >= f->since_ms);
}

static void take_line(const char *line, const struct history_filter *f, struct kept *k)
{
	struct json_object *o;

	if (seq_of(line) <= f->after_seq)
		return;
	o = json_tokener_parse(line);
	if (json_object_is_type(o, json_type_object) && passes(f, o))
		keep(k, o);
	else
		json_object_put(o);
}

static void flush(struct history *h)
{
	struct timespec until = clock_after_ms(FLUSH_MS);

	pthread_mutex_lock(&h->lock);
	while (h->written < h->last)
		if (pthread_cond_timedwait(&h->wrote, &h->lock, &until))
			break;
	pthread_mutex_unlock(&h->lock);
}

int history_read(struct history *h, const struct history_filter *f, struct json_object *list)
{
	struct kept k = { .max = f->max ? f->max : READ_MAX };
	FILE *file[HISTORY_FILES];
	char path[400], *line = NULL;
	size_t cap = 0;

	if (!h)
		return 0;
	k.at = calloc(k.max, sizeof(k.at[0]));
	if (!k.at)
		return -ENOMEM;
	flush(h);
	pthread_mutex_lock(&h->files);
	for (int i = 0; i < HISTORY_FILES; i++) {
		path_of(h, i, path, sizeof(path));
		file[i] = fopen(path, "re");
	}
	pthread_mutex_unlock(&h->files);
	for (int i = HISTORY_FILES - 1; i >= 0; i--) {
		while (file[i] && getline(&line, &cap, file[i]) > 0)
			take_line(line, f, &k);
		if (file[i])
			fclose(file[i]);
	}
	free(line);
	for (unsigned i = 0; i < k.nr; i++)
		json_object_array_add(list, k.at[(k.first + i) % k.max]);
	free(k.at);
	return 0;
}
