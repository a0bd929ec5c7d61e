/* SPDX-License-Identifier: GPL-2.0 */
/* fmt - numbers for people, and aligned tables. */
#ifndef DAGCTL_FMT_H
#define DAGCTL_FMT_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define FMT_CELL	160

/* 0 B, 12 KiB, 1.5 GiB */
void fmt_bytes(uint64_t bytes, char ret[32]);
/* 0.3 s, 12.0 s, 5 min 3 s, 2 h 10 min, 3 d 4 h */
void fmt_seconds(double seconds, char ret[32]);

struct table;
struct table *table_new(unsigned columns);
/* One row of `columns` cells; the first row is the head. */
void table_row(struct table *tb, const char *const cells[]);
void table_print(struct table *tb, FILE *out);	/* and free */

/* Values of an object; where the key is absent or of another type: "", 0, false. */
const char *obj_str(struct json_object *obj, const char *key);
int64_t obj_int(struct json_object *obj, const char *key);
double obj_double(struct json_object *obj, const char *key);
bool obj_bool(struct json_object *obj, const char *key);
struct json_object *obj_get(struct json_object *obj, const char *key);
size_t obj_len(struct json_object *array);	/* 0 if it is none */

#endif
