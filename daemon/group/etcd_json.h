/* SPDX-License-Identifier: GPL-2.0 */
/*
 * etcd_json - requests and answers of etcd's v3 JSON gateway. Pure.
 *
 * The gateway carries bytes in base64 and 64-bit numbers as decimal strings, and
 * leaves out what is zero. Answers come over the network: each field is checked,
 * sizes are bounded, what is unknown is passed over.
 */
#ifndef DAG_ETCD_JSON_H
#define DAG_ETCD_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ETCD_KEY_MAX		255
#define ETCD_VALUE_MAX		(1u << 20)
#define ETCD_KVS_MAX		1024
#define ETCD_ANSWER_MAX		(16u << 20)
#define ETCD_URL_MAX		256
#define ETCD_MEMBERS_MAX	32

struct etcd_kv {
	char key[ETCD_KEY_MAX + 1];
	uint64_t mod;			/* revision of its last change */
	char *value;			/* NUL-terminated, malloc'ed */
	size_t len;
};

/* What a range or a transaction answers. */
struct etcd_reply {
	uint64_t cluster, member, revision, term;
	bool succeeded;			/* of a transaction: the comparisons held */
	unsigned nr;			/* keys of all ranges in it */
	struct etcd_kv *kv;
};

struct etcd_member {
	uint64_t id;
	char name[64];			/* "": has not started yet */
	char peer_url[ETCD_URL_MAX];
	bool learner;
};

struct etcd_members {
	uint64_t cluster;
	unsigned nr;
	struct etcd_member list[ETCD_MEMBERS_MAX];
};

struct etcd_status {
	uint64_t cluster, member, leader, term, index, applied, db_bytes;
	char version[32];
	bool learner;
};

/* Base64 of len bytes (malloc'ed), and back: strict, padded. NULL: no memory, or not base64. */
char *etcd_base64(const void *bytes, size_t len);
char *etcd_unbase64(const char *text, size_t len, size_t *ret_len);

/* Keys [key, end), or the one key if end is NULL; only those changed at min_mod or
 * later. The texts are malloc'ed, NULL: no memory. */
char *etcd_range_text(const char *key, const char *end, bool serializable, uint64_t min_mod);
char *etcd_member_add_text(const char *peer_url, bool learner);
char *etcd_member_id_text(uint64_t id);

/* A transaction: IF all comparisons hold THEN puts and deletions ELSE ranges. */
struct etcd_txn;
struct etcd_txn *etcd_txn_new(void);			/* NULL: no memory */
void etcd_txn_free(struct etcd_txn *tx);
/* The key's last change is mod; 0: there is no such key. */
void etcd_txn_if_mod(struct etcd_txn *tx, const char *key, uint64_t mod);
void etcd_txn_if_value(struct etcd_txn *tx, const char *key, const char *value);
/* No key of [key, end) was changed after revision. (A deletion is not seen.) */
void etcd_txn_if_unchanged(struct etcd_txn *tx, const char *key, const char *end, uint64_t revision);
void etcd_txn_put(struct etcd_txn *tx, const char *key, const char *value);
void etcd_txn_delete(struct etcd_txn *tx, const char *key);
void etcd_txn_else_range(struct etcd_txn *tx, const char *key, const char *end);
const char *etcd_txn_text(struct etcd_txn *tx);		/* NULL: an allocation failed */

/* -EBADMSG and a reason for anything that is not such an answer; ret is untouched then. */
int etcd_reply_parse(const char *text, size_t len, struct etcd_reply *ret, char *err, size_t errlen);
void etcd_reply_free(struct etcd_reply *rp);		/* also of a zeroed one */
const struct etcd_kv *etcd_reply_find(const struct etcd_reply *rp, const char *key);
int etcd_members_parse(const char *text, size_t len, struct etcd_members *ret, char *err,
		       size_t errlen);
int etcd_status_parse(const char *text, size_t len, struct etcd_status *ret, char *err, size_t errlen);
/* The message of an error answer, or the beginning of whatever it is. */
void etcd_error_text(const char *text, size_t len, char *ret, size_t retlen);

#endif
