// SPDX-License-Identifier: GPL-2.0
#include "daemon/log/logdump.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log/record_walk.h"
#include "daemon/log/segfile.h"
#include "daemon/log/segment.h"

#define BUF_BYTES	(4u << 20)

struct dump {
	int dirfd;
	FILE *out;
	bool json;
	bool verify;		/* tell bad things instead of records */
	uint64_t from, to;
	uint8_t *buf;
	uint64_t *gens;
	size_t nr;
	bool comma;		/* something stands before in the innermost array */
	int bad;
	uint64_t records;
	/* end of the segment before */
	bool any;
	bool told;		/* it was bad itself */
	struct rec_cursor end;
	uint64_t end_limit;
	/* instead of showing anything */
	logdump_fn fn;
	void *ctx;
	int rc;
	bool over;
};

static const char *type_name(uint8_t type)
{
	static const char *const names[DAGTAP_REC_TYPES] = {
		[DAGTAP_REC_DATA] = "data", [DAGTAP_REC_FLUSH] = "flush",
		[DAGTAP_REC_DISCARD] = "discard", [DAGTAP_REC_ZEROES] = "zeroes",
		[DAGTAP_REC_FAIL] = "fail", [DAGTAP_REC_RESYNC] = "resync",
		[DAGTAP_REC_MARK] = "mark", [DAGTAP_REC_STATE] = "state",
	};

	return names[type];
}

static const char *kind_name(uint8_t kind)
{
	static const char *const names[DAGTAP_STATE_KINDS] = {
		[DAGTAP_STATE_EPOCH] = "epoch", [DAGTAP_STATE_GAP] = "gap",
		[DAGTAP_STATE_SEED_BEGIN] = "seed-begin", [DAGTAP_STATE_SEED_END] = "seed-end",
		[DAGTAP_STATE_CLOSE] = "close",
	};

	return names[kind];
}

static void flag_names(uint16_t flags, char ret[32])
{
	snprintf(ret, 32, "%s%s%s%s", flags & DAGTAP_RECF_FUA ? ",fua" : "",
		 flags & DAGTAP_RECF_META ? ",meta" : "", flags & DAGTAP_RECF_SYNC ? ",sync" : "",
		 flags & DAGTAP_RECF_NOUNMAP ? ",nounmap" : "");
}

/* The name of a mark is whatever a user typed. */
static void text_out(FILE *out, const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len && text[i]; i++) {
		if (text[i] < 0x20 || text[i] > 0x7e || text[i] == '"' || text[i] == '\\')
			fprintf(out, "\\u%04x", text[i]);
		else
			fputc(text[i], out);
	}
}

static void record_text(FILE *out, const struct dagtap_rec *rec, const uint8_t *payload)
{
	uint64_t ns = le64toh(rec->time_ns);
	char flags[32];

	flag_names(le16toh(rec->flags), flags);
	fprintf(out, "  lsn=%" PRIu64 " seq=%u epoch=%u time=%" PRIu64 ".%09" PRIu64 " %s",
		le64toh(rec->lsn), le32toh(rec->seq), le32toh(rec->epoch), ns / 1000000000,
		ns % 1000000000, type_name(rec->type));
	if (rec->kind)
		fprintf(out, " kind=%s", kind_name(rec->kind));
	if (rec->sectors)
		fprintf(out, " sector=%" PRIu64 " sectors=%u", le64toh(rec->sector),
			le32toh(rec->sectors));
	if (*flags)
		fprintf(out, " flags=%s", flags + 1);
	if (rec->type == DAGTAP_REC_MARK) {
		fputs(" name=\"", out);
		text_out(out, payload, le32toh(rec->payload));
		fputc('"', out);
	}
	fputc('\n', out);
}

static void record_json(struct dump *d, const struct dagtap_rec *rec, const uint8_t *payload)
{
	char flags[32];

	flag_names(le16toh(rec->flags), flags);
	fprintf(d->out,
		"%s{\"lsn\":%" PRIu64 ",\"seq\":%u,\"epoch\":%u,\"time_ns\":%" PRIu64
		",\"type\":\"%s\"", d->comma ? "," : "", le64toh(rec->lsn), le32toh(rec->seq),
		le32toh(rec->epoch), le64toh(rec->time_ns), type_name(rec->type));
	if (rec->kind)
		fprintf(d->out, ",\"kind\":\"%s\"", kind_name(rec->kind));
	if (rec->sectors)
		fprintf(d->out, ",\"sector\":%" PRIu64 ",\"sectors\":%u", le64toh(rec->sector),
			le32toh(rec->sectors));
	if (*flags)
		fprintf(d->out, ",\"flags\":\"%s\"", flags + 1);
	if (rec->type == DAGTAP_REC_MARK) {
		fputs(",\"name\":\"", d->out);
		text_out(d->out, payload, le32toh(rec->payload));
		fputc('"', d->out);
	}
	fputc('}', d->out);
	d->comma = true;
}

static void record_out(struct dump *d, const struct dagtap_rec *rec, const uint8_t *payload)
{
	uint64_t lsn = le64toh(rec->lsn);

	d->records++;
	if (d->fn) {
		if (lsn >= d->from && lsn < d->to && !d->rc)
			d->rc = d->fn(d->ctx, rec, payload);
		return;
	}
	if (d->verify || lsn < d->from || lsn >= d->to)
		return;
	if (d->json)
		record_json(d, rec, payload);
	else
		record_text(d->out, rec, payload);
}

static int record_fn(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	record_out(ctx, rec, payload);
	return 0;
}

/* Something is wrong with the segment at lsn. */
static void bad(struct dump *d, uint64_t gen, uint64_t lsn, const char *why)
{
	char name[SEG_NAME_BYTES];

	d->bad++;
	if (d->fn) {
		d->over = true;	/* whoever walks does not get beyond it */
		return;
	}
	seg_name(gen, name);
	if (!d->json) {
		fprintf(d->out, "%s: lsn=%" PRIu64 ": %s\n", name, lsn, why);
	} else {
		fprintf(d->out, "%s{\"file\":\"%s\",\"lsn\":%" PRIu64 ",\"bad\":\"%s\"}",
			d->comma ? "," : "", name, lsn, why);
		d->comma = true;
	}
}

/* ---- one segment -------------------------------------------------------- */

/* Headers only: the payloads are not read but for the names of marks. */
static const char *scan_headers(struct dump *d, int fd, const struct seg_meta *meta,
				struct rec_cursor *cur)
{
	while (cur->lsn < seg_limit(meta)) {
		uint8_t raw[sizeof(struct dagtap_rec) + DAGTAP_MARK_MAX] = { 0 };
		ssize_t got = segfile_read(fd, raw, sizeof(raw), seg_offset(meta->first_lsn, cur->lsn));
		struct dagtap_rec rec;
		const char *why;

		if (got < (ssize_t)sizeof(rec))
			return "cannot be read";
		memcpy(&rec, raw, sizeof(rec));
		why = rec_cursor_check(cur, &rec);
		if (!why && cur->lsn + rec_bytes(&rec) > seg_limit(meta))
			why = "record is cut short";
		if (why)
			return why;
		if (d->fn && cur->lsn >= d->to)
			return NULL;
		record_out(d, &rec, raw + sizeof(rec));
		if (d->rc)
			return NULL;
		rec_cursor_advance(cur, &rec);
	}
	return NULL;
}

static const char *scan_all(struct dump *d, int fd, const struct seg_meta *meta,
			    struct rec_cursor *cur)
{
	const char *why = NULL;

	while (cur->lsn < seg_limit(meta) && !why) {
		uint64_t left = seg_limit(meta) - cur->lsn;
		ssize_t got = segfile_read(fd, d->buf, left < BUF_BYTES ? left : BUF_BYTES,
					   seg_offset(meta->first_lsn, cur->lsn));
		size_t need;

		if (got < 0)
			return "cannot be read";
		if (!rec_scan(cur, d->buf, got, record_fn, d, &need, &why) && !why)
			why = "record is cut short";
	}
	return why;
}

/* The first thing behind the end that looks like a record there: it was one once. */
static bool has_residue(struct dump *d, int fd, const struct seg_meta *meta, uint64_t from)
{
	for (uint64_t at = from; at < seg_limit(meta); at += BUF_BYTES) {
		uint64_t left = seg_limit(meta) - at;
		ssize_t got = segfile_read(fd, d->buf, left < BUF_BYTES ? left : BUF_BYTES,
					   seg_offset(meta->first_lsn, at));

		if (got > 0 && seg_residue(d->buf, got, at))
			return true;
	}
	return false;
}

static void segment_head(struct dump *d, const struct seg_meta *meta)
{
	char name[SEG_NAME_BYTES];

	seg_name(meta->generation, name);
	if (!d->json) {
		fprintf(d->out, "%s: first_lsn=%" PRIu64 " bytes=%" PRIu64 "%s%s\n", name,
			meta->first_lsn, meta->seg_bytes, meta->flags & DAG_SEGF_START ? " start" : "",
			meta->flags & DAG_SEGF_RESET ? " reset" : "");
		return;
	}
	fprintf(d->out, "%s{\"file\":\"%s\",\"generation\":%" PRIu64 ",\"first_lsn\":%" PRIu64
		",\"bytes\":%" PRIu64 ",\"start\":%s,\"records\":[", d->comma ? "," : "", name,
		meta->generation, meta->first_lsn, meta->seg_bytes,
		meta->flags & DAG_SEGF_START ? "true" : "false");
	d->comma = false;
}

static void segment_foot(struct dump *d, const struct rec_cursor *cur, const char *why)
{
	if (!d->json)
		fprintf(d->out, "  end_lsn=%" PRIu64 " (%s)\n", cur->lsn, why ? why : "full");
	else
		fprintf(d->out, "],\"end_lsn\":%" PRIu64 ",\"end\":\"%s\"}", cur->lsn,
			why ? why : "full");
	d->comma = true;
}

/* Does the segment follow the one before it? */
static void check_link(struct dump *d, const struct seg_meta *meta)
{
	if (!d->any || d->told || (meta->flags & DAG_SEGF_START))
		return;
	if (meta->first_lsn != d->end.lsn)
		bad(d, meta->generation, d->end.lsn,
		    meta->first_lsn > d->end_limit ? "the records before this segment are missing"
						   : "the segment before this one ends too early");
	else if (d->end.any && meta->prev_crc != d->end.prev_crc)
		bad(d, meta->generation, meta->first_lsn, "does not follow the segment before");
}

/* The walk goes through it, if it follows what has been walked. */
static void walk_segment(struct dump *d, int fd, const struct seg_meta *meta, struct rec_cursor *cur)
{
	if (d->over || seg_limit(meta) <= d->from)
		return;
	d->over = meta->first_lsn >= d->to ||
		  meta->first_lsn > (d->any && d->end.lsn > d->from ? d->end.lsn : d->from);
	if (d->over)
		return;
	scan_headers(d, fd, meta, cur);
	d->over = d->rc || cur->lsn >= d->to;
	d->any = true;
	d->end = *cur;
}

static void one_segment(struct dump *d, size_t i)
{
	uint64_t gen = d->gens[i];
	char name[SEG_NAME_BYTES];
	struct rec_cursor cur;
	struct seg_meta meta;
	const char *why;
	int fd, before;

	seg_name(gen, name);
	fd = openat(d->dirfd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		if (errno != ENOENT)	/* recycled meanwhile */
			bad(d, gen, 0, "cannot be opened");
		return;
	}
	why = segfile_read(fd, d->buf, DAG_SEG_HDR_BYTES, 0) < (ssize_t)DAG_SEG_HDR_BYTES
		      ? "cannot be read" : seg_hdr_decode(d->buf, &meta);
	if (!why && meta.generation != gen)
		why = "header of another generation";
	if (why) {
		bad(d, gen, 0, why);
		d->told = true;
		close(fd);
		return;
	}
	cur = (struct rec_cursor){
		.lsn = meta.first_lsn, .prev_crc = meta.prev_crc,
		.any_prev = meta.flags & DAG_SEGF_START,
	};
	if (d->fn) {
		walk_segment(d, fd, &meta, &cur);
		close(fd);
		return;
	}
	if (d->verify) {
		check_link(d, &meta);
		before = d->bad;
		why = scan_all(d, fd, &meta, &cur);
		/* the last of the log may end torn: that is what recovery is for */
		if (why && i + 1 < d->nr && has_residue(d, fd, &meta, cur.lsn))
			bad(d, gen, cur.lsn, why);
		d->told = d->bad > before;
	} else if (d->from == d->to || (meta.first_lsn < d->to && seg_limit(&meta) > d->from)) {
		segment_head(d, &meta);
		why = scan_headers(d, fd, &meta, &cur);
		segment_foot(d, &cur, why);
	}
	d->any = true;
	d->end = cur;
	d->end_limit = seg_limit(&meta);
	close(fd);
}

/* ---- the directory ------------------------------------------------------ */

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int list(struct dump *d, const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *de;
	size_t cap = 0;
	int rc = 0;

	if (!dir)
		return -errno;
	d->dirfd = dup(dirfd(dir));
	while (!rc && (de = readdir(dir))) {
		uint64_t gen, *grown;

		if (!seg_name_parse(de->d_name, &gen))
			continue;
		if (d->nr == cap) {
			cap = cap ? 2 * cap : 64;
			grown = realloc(d->gens, cap * sizeof(gen));
			if (!grown) {
				rc = -ENOMEM;
				break;
			}
			d->gens = grown;
		}
		d->gens[d->nr++] = gen;
	}
	closedir(dir);
	if (d->nr)
		qsort(d->gens, d->nr, sizeof(*d->gens), by_value);
	return rc;
}

static int run(struct dump *d, const char *dir)
{
	int rc;

	d->dirfd = -1;
	d->buf = malloc(BUF_BYTES);
	rc = d->buf ? list(d, dir) : -ENOMEM;
	if (!rc && d->json)
		fprintf(d->out, "{\"%s\":[", d->verify ? "bad" : "segments");
	for (size_t i = 0; !rc && i < d->nr && !d->over; i++)
		one_segment(d, i);
	if (!rc && d->json)
		fprintf(d->out, "],\"count\":%zu,\"records\":%" PRIu64 "}\n", d->nr, d->records);
	if (d->dirfd >= 0)
		close(d->dirfd);
	free(d->gens);
	free(d->buf);
	return rc;
}

int logdump_dir(const char *dir, FILE *out, bool json, uint64_t from, uint64_t to)
{
	struct dump d = { .out = out, .json = json, .from = from, .to = to };

	return run(&d, dir);
}

int logdump_verify(const char *dir, FILE *out, bool json)
{
	struct dump d = { .out = out, .json = json, .verify = true };
	int rc = run(&d, dir);

	if (rc)
		return rc;
	if (!json)
		fprintf(out, "%zu segments, %" PRIu64 " records, %d bad\n", d.nr, d.records, d.bad);
	return d.bad;
}

int logdump_walk(const char *dir, uint64_t from, uint64_t to, logdump_fn fn, void *ctx,
		 uint64_t *ret_end)
{
	struct dump d = { .from = from, .to = to, .fn = fn, .ctx = ctx };
	int rc = run(&d, dir);

	if (rc)
		return rc;
	*ret_end = d.any && d.end.lsn > from ? d.end.lsn : from;
	return d.rc;
}

int logdump_residue(const char *dir, uint64_t lsn)
{
	struct dump d = { .dirfd = -1, .buf = malloc(BUF_BYTES) };
	int rc = d.buf ? list(&d, dir) : -ENOMEM;
	char name[SEG_NAME_BYTES];
	struct seg_meta meta;
	int fd = -1;

	if (!rc && d.nr) {
		seg_name(d.gens[d.nr - 1], name);
		fd = openat(d.dirfd, name, O_RDONLY | O_CLOEXEC);
		rc = fd < 0 ? -errno : 0;
	}
	if (fd >= 0) {
		if (segfile_read(fd, d.buf, DAG_SEG_HDR_BYTES, 0) < (ssize_t)DAG_SEG_HDR_BYTES ||
		    seg_hdr_decode(d.buf, &meta))
			rc = 1;
		else
			rc = has_residue(&d, fd, &meta, lsn < meta.first_lsn ? meta.first_lsn : lsn);
		close(fd);
	}
	if (d.dirfd >= 0)
		close(d.dirfd);
	free(d.gens);
	free(d.buf);
	return rc;
}
