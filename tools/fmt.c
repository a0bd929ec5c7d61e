// SPDX-License-Identifier: GPL-2.0
#include "tools/fmt.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX	16

struct table {
	unsigned columns, rows, cap;
	char (*cells)[FMT_CELL];
};

void fmt_bytes(uint64_t bytes, char ret[32])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	double n = bytes;
	int u = 0;

	while (n >= 1024 && u < 5) {
		n /= 1024;
		u++;
	}
	if (u && n < 10 && n != (uint64_t)n)
		snprintf(ret, 32, "%.1f %s", n, units[u]);
	else
		snprintf(ret, 32, "%.0f %s", n, units[u]);
}

void fmt_seconds(double seconds, char ret[32])
{
	unsigned long s = seconds;

	if (seconds < 60)
		snprintf(ret, 32, "%.1f s", seconds < 0 ? 0.0 : seconds);
	else if (s < 3600)
		snprintf(ret, 32, "%lu min %lu s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(ret, 32, "%lu h %lu min", s / 3600, s % 3600 / 60);
	else
		snprintf(ret, 32, "%lu d %lu h", s / 86400, s % 86400 / 3600);
}

struct table *table_new(unsigned columns)
{
	struct table *tb = calloc(1, sizeof(*tb));

	if (!tb || columns > COLUMNS_MAX)
		abort();
	tb->columns = columns;
	return tb;
}

void table_row(struct table *tb, const char *const cells[])
{
	unsigned i;

	if (tb->rows == tb->cap) {
		tb->cap = tb->cap ? tb->cap * 2 : 16;
		tb->cells = realloc(tb->cells, (size_t)tb->cap * tb->columns * FMT_CELL);
		if (!tb->cells)
			abort();
	}
	for (i = 0; i < tb->columns; i++)
		snprintf(tb->cells[tb->rows * tb->columns + i], FMT_CELL, "%s", cells[i]);
	tb->rows++;
}

/* Columns on a terminal, not bytes: continuation bytes of UTF-8 take none. */
static size_t width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

void table_print(struct table *tb, FILE *out)
{
	size_t widths[COLUMNS_MAX] = { 0 };
	unsigned r, c;

	for (r = 0; r < tb->rows; r++) {
		for (c = 0; c < tb->columns; c++) {
			size_t w = width(tb->cells[r * tb->columns + c]);

			if (w > widths[c])
				widths[c] = w;
		}
	}
	for (r = 0; r < tb->rows; r++) {
		for (c = 0; c < tb->columns; c++) {
			const char *cell = tb->cells[r * tb->columns + c];

			if (c + 1 == tb->columns)
				fprintf(out, "%s\n", cell);
			else
				fprintf(out, "%s%*s  ", cell, (int)(widths[c] - width(cell)), "");
		}
	}
	free(tb->cells);
	free(tb);
}

struct json_object *obj_get(struct json_object *obj, const char *key)
{
	struct json_object *val = NULL;

	if (json_object_is_type(obj, json_type_object))
		json_object_object_get_ex(obj, key, &val);
	return val;
}

const char *obj_str(struct json_object *obj, const char *key)
{
	struct json_object *val = obj_get(obj, key);

	return json_object_is_type(val, json_type_string) ? json_object_get_string(val) : "";
}

int64_t obj_int(struct json_object *obj, const char *key)
{
	struct json_object *val = obj_get(obj, key);

	return json_object_is_type(val, json_type_int) ? json_object_get_int64(val) : 0;
}

double obj_double(struct json_object *obj, const char *key)
{
	struct json_object *val = obj_get(obj, key);

	if (!json_object_is_type(val, json_type_double) && !json_object_is_type(val, json_type_int))
		return 0;
	return json_object_get_double(val);
}

bool obj_bool(struct json_object *obj, const char *key)
{
	struct json_object *val = obj_get(obj, key);

	return json_object_is_type(val, json_type_boolean) && json_object_get_boolean(val);
}

size_t obj_len(struct json_object *array)
{
	return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}
