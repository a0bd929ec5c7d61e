// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/etcd_json.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/group/state_json.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *etcd_base64(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	char *text = malloc((len + 2) / 3 * 4 + 1), *to = text;

	if (!text)
		return NULL;
	for (; len; p += 3) {
		uint32_t n = p[0] << 16 | (len > 1 ? p[1] << 8 : 0) | (len > 2 ? p[2] : 0);

		*to++ = digits[n >> 18];
		*to++ = digits[n >> 12 & 63];
		*to++ = len > 1 ? digits[n >> 6 & 63] : '=';
		*to++ = len > 2 ? digits[n & 63] : '=';
		len -= len > 2 ? 3 : len;
	}
	*to = '\0';
	return text;
}

static int digit_value(char c)
{
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? at - digits : -1;
}

char *etcd_unbase64(const char *text, size_t len, size_t *ret_len)
{
	size_t i, pad = 0, n = 0;
	char *bytes;

	if (len % 4)
		return NULL;
	while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
		pad++;
	bytes = malloc(len / 4 * 3 + 1);
	if (!bytes)
		return NULL;
	for (i = 0; i < len; i += 4) {
		uint32_t v = 0;
		size_t j;

		for (j = 0; j < 4; j++) {
			int d = i + j < len - pad ? digit_value(text[i + j]) : 0;

			if (d < 0) {
				free(bytes);
				return NULL;
			}
			v = v << 6 | d;
		}
		bytes[n++] = v >> 16;
		bytes[n++] = v >> 8;
		bytes[n++] = v;
	}
	n -= pad;
	bytes[n] = '\0';
	*ret_len = n;
	return bytes;
}

/* ---- requests ------------------------------------------------------------ */

static bool add(struct json_object *obj, const char *key, struct json_object *val)
{
	if (val && !json_object_object_add(obj, key, val))
		return true;
	json_object_put(val);
	return false;
}

static bool add_bytes(struct json_object *obj, const char *key, const char *bytes)
{
	char *text = etcd_base64(bytes, strlen(bytes));
	bool ok = text && add(obj, key, json_object_new_string(text));

	free(text);
	return ok;
}

static bool add_u64(struct json_object *obj, const char *key, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, n);
	return add(obj, key, json_object_new_string(text));
}

static char *take_text(struct json_object *obj, bool ok)
{
	const char *text = ok ? json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN) : NULL;
	char *copy = text ? strdup(text) : NULL;

	json_object_put(obj);
	return copy;
}

char *etcd_range_text(const char *key, const char *end, bool serializable, uint64_t min_mod)
{
	struct json_object *obj = json_object_new_object();
	bool ok = obj && add_bytes(obj, "key", key);

	if (ok && end)
		ok = add_bytes(obj, "range_end", end);
	if (ok && serializable)
		ok = add(obj, "serializable", json_object_new_boolean(true));
	if (ok && min_mod)
		ok = add_u64(obj, "min_mod_revision", min_mod);
	return take_text(obj, ok);
}

char *etcd_member_add_text(const char *peer_url, bool learner)
{
	struct json_object *obj = json_object_new_object(), *urls = json_object_new_array();
	bool ok = obj && urls && !json_object_array_add(urls, json_object_new_string(peer_url));

	if (ok && learner)
		ok = add(obj, "isLearner", json_object_new_boolean(true));
	if (ok)
		ok = add(obj, "peerURLs", urls);
	else
		json_object_put(urls);
	return take_text(obj, ok);
}

char *etcd_member_id_text(uint64_t id)
{
	struct json_object *obj = json_object_new_object();

	return take_text(obj, obj && add_u64(obj, "ID", id));
}

struct etcd_txn {
	struct json_object *obj, *compare, *success, *failure;
	bool broken;
};

struct etcd_txn *etcd_txn_new(void)
{
	struct etcd_txn *tx = calloc(1, sizeof(*tx));

	if (!tx)
		return NULL;
	tx->obj = json_object_new_object();
	tx->compare = json_object_new_array();
	tx->success = json_object_new_array();
	tx->failure = json_object_new_array();
	tx->broken = !tx->obj || !add(tx->obj, "compare", tx->compare) ||
		     !add(tx->obj, "success", tx->success) || !add(tx->obj, "failure", tx->failure);
	return tx;
}

void etcd_txn_free(struct etcd_txn *tx)
{
	if (tx)
		json_object_put(tx->obj);
	free(tx);
}

/* A new object in one of the lists; NULL: broken, now or before. */
static struct json_object *grow(struct etcd_txn *tx, struct json_object *list)
{
	struct json_object *obj = tx->broken ? NULL : json_object_new_object();

	if (obj && !json_object_array_add(list, obj))
		return obj;
	json_object_put(obj);
	tx->broken = true;
	return NULL;
}

static struct json_object *comparison(struct etcd_txn *tx, const char *key, const char *target,
				      const char *result)
{
	struct json_object *obj = grow(tx, tx->compare);

	if (obj && (!add_bytes(obj, "key", key) ||
		    !add(obj, "target", json_object_new_string(target)) ||
		    !add(obj, "result", json_object_new_string(result))))
		tx->broken = true;
	return obj;
}

void etcd_txn_if_mod(struct etcd_txn *tx, const char *key, uint64_t mod)
{
	struct json_object *obj = comparison(tx, key, "MOD", "EQUAL");

	if (obj && !add_u64(obj, "mod_revision", mod))
		tx->broken = true;
}

void etcd_txn_if_value(struct etcd_txn *tx, const char *key, const char *value)
{
	struct json_object *obj = comparison(tx, key, "VALUE", "EQUAL");

	if (obj && !add_bytes(obj, "value", value))
		tx->broken = true;
}

void etcd_txn_if_unchanged(struct etcd_txn *tx, const char *key, const char *end, uint64_t revision)
{
	struct json_object *obj = comparison(tx, key, "MOD", "LESS");

	if (obj && (!add_bytes(obj, "range_end", end) ||
		    !add_u64(obj, "mod_revision", revision + 1)))
		tx->broken = true;
}

static struct json_object *operation(struct etcd_txn *tx, struct json_object *list, const char *kind,
				     const char *key)
{
	struct json_object *op = grow(tx, list), *obj = op ? json_object_new_object() : NULL;

	if (!op)
		return NULL;
	if (!obj || !add(op, kind, obj) || !add_bytes(obj, "key", key)) {
		tx->broken = true;
		return NULL;
	}
	return obj;
}

void etcd_txn_put(struct etcd_txn *tx, const char *key, const char *value)
{
	struct json_object *obj = operation(tx, tx->success, "request_put", key);

	if (obj && !add_bytes(obj, "value", value))
		tx->broken = true;
}

void etcd_txn_delete(struct etcd_txn *tx, const char *key)
{
	operation(tx, tx->success, "request_delete_range", key);
}

void etcd_txn_else_range(struct etcd_txn *tx, const char *key, const char *end)
{
	struct json_object *obj = operation(tx, tx->failure, "request_range", key);

	if (obj && end && !add_bytes(obj, "range_end", end))
		tx->broken = true;
}

const char *etcd_txn_text(struct etcd_txn *tx)
{
	return tx->broken ? NULL : json_object_to_json_string_ext(tx->obj, JSON_C_TO_STRING_PLAIN);
}

/* ---- answers ------------------------------------------------------------- */

static int bad(char *err, size_t errlen, const char *what)
{
	snprintf(err, errlen, "etcd's answer: %s", what);
	return -EBADMSG;
}

/* A number as the gateway writes it: a string of digits; absent: 0. */
static int get_u64(struct json_object *obj, const char *key, uint64_t *ret, char *err, size_t errlen)
{
	struct json_object *val;
	const char *s;
	char *end;

	if (!json_object_object_get_ex(obj, key, &val)) {
		*ret = 0;
		return 0;
	}
	s = json_object_is_type(val, json_type_string) ? json_object_get_string(val) : "";
	errno = 0;
	*ret = strtoull(s, &end, 10);
	if (!isdigit((unsigned char)s[0]) || *end || errno)
		return bad(err, errlen, "a number is none");
	return 0;
}

static int get_flag(struct json_object *obj, const char *key, bool *ret, char *err, size_t errlen)
{
	struct json_object *val;

	*ret = false;
	if (!json_object_object_get_ex(obj, key, &val))
		return 0;
	if (!json_object_is_type(val, json_type_boolean))
		return bad(err, errlen, "a flag is none");
	*ret = json_object_get_boolean(val);
	return 0;
}

static int get_text(struct json_object *obj, const char *key, char *ret, size_t size, char *err,
		    size_t errlen)
{
	struct json_object *val;
	size_t len, i;
	const char *s;

	memset(ret, 0, size);
	if (!json_object_object_get_ex(obj, key, &val))
		return 0;
	if (!json_object_is_type(val, json_type_string))
		return bad(err, errlen, "a text is none");
	s = json_object_get_string(val);
	len = json_object_get_string_len(val);
	if (len >= size)
		return bad(err, errlen, "a text is too long");
	for (i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return bad(err, errlen, "a text has a control character");
	memcpy(ret, s, len);
	return 0;
}

/* The array under key, or an absent one: NULL. */
static int get_list(struct json_object *obj, const char *key, size_t max, struct json_object **ret,
		    char *err, size_t errlen)
{
	*ret = NULL;
	if (!json_object_object_get_ex(obj, key, ret))
		return 0;
	if (!json_object_is_type(*ret, json_type_array))
		return bad(err, errlen, "a list is none");
	if (json_object_array_length(*ret) > max)
		return bad(err, errlen, "a list is too long");
	return 0;
}

static int get_header(struct json_object *obj, uint64_t *cluster, uint64_t *member,
		      uint64_t *revision, uint64_t *term, char *err, size_t errlen)
{
	struct json_object *head;
	int r;

	if (!json_object_object_get_ex(obj, "header", &head) ||
	    !json_object_is_type(head, json_type_object))
		return bad(err, errlen, "no header");
	r = get_u64(head, "cluster_id", cluster, err, errlen);
	if (!r)
		r = get_u64(head, "member_id", member, err, errlen);
	if (!r)
		r = get_u64(head, "revision", revision, err, errlen);
	if (!r)
		r = get_u64(head, "raft_term", term, err, errlen);
	return r;
}

static int take_key(struct json_object *obj, struct etcd_kv *kv, char *err, size_t errlen)
{
	struct json_object *val;
	size_t len;
	char *key;
	int r = 0;

	if (!json_object_object_get_ex(obj, "key", &val) ||
	    !json_object_is_type(val, json_type_string))
		return bad(err, errlen, "a key is missing");
	key = etcd_unbase64(json_object_get_string(val), json_object_get_string_len(val), &len);
	if (!key)
		return bad(err, errlen, "a key is not base64");
	if (!len || len > ETCD_KEY_MAX || strlen(key) != len)
		r = bad(err, errlen, "a key is too long or has a NUL");
	else
		memcpy(kv->key, key, len + 1);
	free(key);
	return r;
}

static int take_kv(struct json_object *obj, struct etcd_kv *kv, char *err, size_t errlen)
{
	struct json_object *val;
	const char *text = "";
	size_t len = 0;
	int r;

	if (!json_object_is_type(obj, json_type_object))
		return bad(err, errlen, "a key is no object");
	r = take_key(obj, kv, err, errlen);
	if (!r)
		r = get_u64(obj, "mod_revision", &kv->mod, err, errlen);
	if (r)
		return r;
	if (!kv->mod || kv->mod > INT64_MAX)
		return bad(err, errlen, "a revision is not valid");
	if (json_object_object_get_ex(obj, "value", &val)) {
		if (!json_object_is_type(val, json_type_string))
			return bad(err, errlen, "a value is none");
		text = json_object_get_string(val);
		len = json_object_get_string_len(val);
	}
	if (len > ETCD_VALUE_MAX / 3 * 4)
		return bad(err, errlen, "a value is too long");
	kv->value = etcd_unbase64(text, len, &kv->len);
	return kv->value ? 0 : bad(err, errlen, "a value is not base64");
}

static int take_kvs(struct json_object *obj, struct etcd_reply *rp, char *err, size_t errlen)
{
	struct json_object *list;
	size_t i, n;
	int r;

	r = get_list(obj, "kvs", ETCD_KVS_MAX - rp->nr, &list, err, errlen);
	n = !r && list ? json_object_array_length(list) : 0;
	if (n) {
		struct etcd_kv *kv = realloc(rp->kv, (rp->nr + n) * sizeof(*kv));

		if (!kv)
			return -ENOMEM;
		rp->kv = kv;
		memset(kv + rp->nr, 0, n * sizeof(*kv));
	}
	for (i = 0; !r && i < n; i++) {
		r = take_kv(json_object_array_get_idx(list, i), &rp->kv[rp->nr], err, errlen);
		if (!r)
			rp->nr++;
	}
	return r;
}

static int take_responses(struct json_object *obj, struct etcd_reply *rp, char *err, size_t errlen)
{
	struct json_object *list, *range;
	size_t i, n;
	int r;

	r = get_list(obj, "responses", ETCD_KVS_MAX, &list, err, errlen);
	n = !r && list ? json_object_array_length(list) : 0;
	for (i = 0; !r && i < n; i++) {
		struct json_object *one = json_object_array_get_idx(list, i);

		if (!json_object_is_type(one, json_type_object))
			r = bad(err, errlen, "a response is no object");
		else if (!json_object_object_get_ex(one, "response_range", &range))
			continue;
		else if (!json_object_is_type(range, json_type_object))
			r = bad(err, errlen, "a range is no object");
		else
			r = take_kvs(range, rp, err, errlen);
	}
	return r;
}

int etcd_reply_parse(const char *text, size_t len, struct etcd_reply *ret, char *err, size_t errlen)
{
	struct json_object *obj = json_parse_strict(text, len, err, errlen);
	struct etcd_reply rp = { .nr = 0 };
	unsigned i;
	int r;

	if (!obj)
		return -EBADMSG;
	r = get_header(obj, &rp.cluster, &rp.member, &rp.revision, &rp.term, err, errlen);
	if (!r && (!rp.revision || rp.revision > INT64_MAX))
		r = bad(err, errlen, "no revision");
	if (!r)
		r = get_flag(obj, "succeeded", &rp.succeeded, err, errlen);
	if (!r)
		r = take_kvs(obj, &rp, err, errlen);
	if (!r)
		r = take_responses(obj, &rp, err, errlen);
	for (i = 0; !r && i < rp.nr; i++)
		if (rp.kv[i].mod > rp.revision)
			r = bad(err, errlen, "a key is newer than the answer");
	json_object_put(obj);
	if (r)
		etcd_reply_free(&rp);
	else
		*ret = rp;
	return r;
}

void etcd_reply_free(struct etcd_reply *rp)
{
	unsigned i;

	for (i = 0; i < rp->nr; i++)
		free(rp->kv[i].value);
	free(rp->kv);
	memset(rp, 0, sizeof(*rp));
}

const struct etcd_kv *etcd_reply_find(const struct etcd_reply *rp, const char *key)
{
	unsigned i;

	for (i = 0; i < rp->nr; i++)
		if (!strcmp(rp->kv[i].key, key))
			return &rp->kv[i];
	return NULL;
}

static int take_member(struct json_object *obj, struct etcd_member *ret, char *err, size_t errlen)
{
	struct json_object *urls;
	int r;

	if (!json_object_is_type(obj, json_type_object))
		return bad(err, errlen, "a member is no object");
	r = get_u64(obj, "ID", &ret->id, err, errlen);
	if (!r)
		r = get_text(obj, "name", ret->name, sizeof(ret->name), err, errlen);
	if (!r)
		r = get_flag(obj, "isLearner", &ret->learner, err, errlen);
	if (!r)
		r = get_list(obj, "peerURLs", 16, &urls, err, errlen);
	if (r)
		return r;
	if (urls && json_object_array_length(urls)) {
		struct json_object *url = json_object_array_get_idx(urls, 0);

		if (!json_object_is_type(url, json_type_string) ||
		    json_object_get_string_len(url) >= ETCD_URL_MAX)
			return bad(err, errlen, "a member's url is not valid");
		snprintf(ret->peer_url, sizeof(ret->peer_url), "%s", json_object_get_string(url));
	}
	return ret->id ? 0 : bad(err, errlen, "a member has no id");
}

int etcd_members_parse(const char *text, size_t len, struct etcd_members *ret, char *err,
		       size_t errlen)
{
	struct json_object *obj = json_parse_strict(text, len, err, errlen), *list = NULL;
	struct etcd_members ms = { .nr = 0 };
	uint64_t ignored;
	size_t n;
	int r;

	if (!obj)
		return -EBADMSG;
	r = get_header(obj, &ms.cluster, &ignored, &ignored, &ignored, err, errlen);
	if (!r)
		r = get_list(obj, "members", ETCD_MEMBERS_MAX, &list, err, errlen);
	n = !r && list ? json_object_array_length(list) : 0;
	for (; !r && ms.nr < n; ms.nr++)
		r = take_member(json_object_array_get_idx(list, ms.nr), &ms.list[ms.nr], err, errlen);
	if (!r && !ms.nr)
		r = bad(err, errlen, "no members");
	json_object_put(obj);
	if (!r)
		*ret = ms;
	return r;
}

int etcd_status_parse(const char *text, size_t len, struct etcd_status *ret, char *err, size_t errlen)
{
	struct json_object *obj = json_parse_strict(text, len, err, errlen);
	struct etcd_status st = { .cluster = 0 };
	uint64_t revision;
	int r;

	if (!obj)
		return -EBADMSG;
	r = get_header(obj, &st.cluster, &st.member, &revision, &st.term, err, errlen);
	if (!r)
		r = get_u64(obj, "leader", &st.leader, err, errlen);
	if (!r)
		r = get_u64(obj, "raftIndex", &st.index, err, errlen);
	if (!r)
		r = get_u64(obj, "raftAppliedIndex", &st.applied, err, errlen);
	if (!r)
		r = get_u64(obj, "dbSize", &st.db_bytes, err, errlen);
	if (!r)
		r = get_text(obj, "version", st.version, sizeof(st.version), err, errlen);
	if (!r)
		r = get_flag(obj, "isLearner", &st.learner, err, errlen);
	json_object_put(obj);
	if (!r)
		*ret = st;
	return r;
}

void etcd_error_text(const char *text, size_t len, char *ret, size_t retlen)
{
	char ignored[128];
	struct json_object *obj = json_parse_strict(text, len, ignored, sizeof(ignored)), *val;
	const char *s = NULL;
	size_t i;

	if (obj && json_object_object_get_ex(obj, "message", &val))
		s = json_object_get_string(val);
	if (!s)
		snprintf(ret, retlen, "%.*s", len > 160 ? 160 : (int)len, text);
	else
		snprintf(ret, retlen, "%s", s);
	for (i = 0; ret[i]; i++)
		if ((unsigned char)ret[i] < 0x20 || ret[i] == 0x7f)
			ret[i] = ' ';
	json_object_put(obj);
}
