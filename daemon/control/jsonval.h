/* SPDX-License-Identifier: GPL-2.0 */
/*
 * jsonval - values out of what another sent. Nothing of it is believed: what is missing
 * or of another type reads as empty, zero or false.
 */
#ifndef DAG_JSONVAL_H
#define DAG_JSONVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;

const char *val_str(struct json_object *o, const char *key);	/* lives as long as o */
double val_num(struct json_object *o, const char *key);
int64_t val_whole(struct json_object *o, const char *key);
uint64_t val_count(struct json_object *o, const char *key);	/* below zero: 0 */
bool val_flag(struct json_object *o, const char *key);
/* Of an array, with the array; else 0 and what is no array, or NULL. */
size_t val_length(struct json_object *o, const char *key, struct json_object **ret);

#endif
