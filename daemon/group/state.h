/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The agreed state of a group: members, stores, copies. Pure: no I/O, no clock.
 *
 * Every member holds a snapshot. Group and members change in one place, each
 * store in another, so each part carries its own version; merging takes, part
 * by part, the higher (epoch, version) (group_state_merge).
 */
#ifndef DAG_GROUP_STATE_H
#define DAG_GROUP_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/uapi/dagtap.h"

#define GROUP_NAME_MAX		15
#define GROUP_MEMBERS_MAX	16
#define GROUP_STORES_MAX	128
#define STORE_NAME_MAX		DAGTAP_NAME_MAX
#define GROUP_PATH_MAX		255
#define GROUP_COMMENT_MAX	512
#define GROUP_NETWORKS_MAX	8
#define GROUP_LIST_MAX		512	/* characters of a list with blanks between */
/* Bytes a second of a copy's seed: no limit, whatever the store says. */
#define GROUP_RATE_NONE		((uint64_t)INT64_MAX)
#define GROUP_SERIAL_MAX	41
#define GROUP_CRL_MAX		8192	/* about 150 revoked certificates */
/* A restore leaves out so many epochs of each store: what a lost side may have used. */
#define GROUP_EPOCHS_LOST	65536

/* Who may activate a copy on a member by itself (semantics 29). */
enum group_policy { POLICY_UNRESTRICTED, POLICY_INTRASITE, POLICY_BLOCKED };
/* How much an activation may lose (semantics 26), in segments: 0, 6, 12, any. */
enum group_dial { DIAL_GOOD, DIAL_LOSSLESS, DIAL_BEST, DIAL_BEST_EFFORT };
/* Encryption, compression (semantics 15). */
enum group_wire { WIRE_INTER_SUBNET, WIRE_DISABLED, WIRE_ENABLED, WIRE_SEED_ONLY };

/* By which codec the log is compressed where the group's policy says so. */
enum group_codec { CODEC_LZ4, CODEC_ZSTD };
/* Over one network: by the group's policy, or always as it says here. */
enum network_compression { COMPRESS_BY_GROUP, COMPRESS_OFF, COMPRESS_LZ4, COMPRESS_ZSTD };

struct group_member {
	char name[64];			/* host name; CN of its certificate */
	char address[64];		/* replication address, numeric */
	uint16_t port;
	char site[32];
	char serial[GROUP_SERIAL_MAX];	/* of its certificate, hex; "": not known */
	char addresses[GROUP_LIST_MAX];	/* said by itself: group/netaddr.h */
	bool voter;			/* of the engine */
	uint32_t policy;		/* enum group_policy */
	uint32_t dial;			/* enum group_dial */
	uint32_t max_active, max_preferred_active;	/* stores; 0: no limit */
	bool maintenance;		/* activates nothing, is asked for nothing */
	bool stopped;			/* group stop: out until group start */
};

/* Votes in the engine where members are even; holds no copy (semantics 4). */
struct group_witness {
	char name[64];			/* "": none */
	char address[64];
	uint16_t port;
	char directory[GROUP_PATH_MAX + 1];
	char serial[GROUP_SERIAL_MAX];	/* as a member's */
	bool voter;			/* of the engine, as a member's */
};

/* A named set of subnets (semantics 12). */
struct group_network {
	char name[32];
	char subnets[GROUP_LIST_MAX];	/* ADDRESS/PREFIX ... */
	bool client;			/* the one that users come by */
	bool replication;
	bool ignore;
	uint32_t compression;		/* enum network_compression */
};

/* Lease and heartbeat of the group; what may stand together: group/lease.h. */
struct group_profile {
	uint32_t engine_heartbeat_ms, engine_election_ms;
	uint32_t lease_period_ms, lease_ms;
	uint32_t heartbeat_ms;		/* between daemons, on every network */
};

struct group_copy {
	char member[64];
	char device[GROUP_PATH_MAX + 1];	/* lower block device */
	char meta_device[GROUP_PATH_MAX + 1];	/* == device: metadata in its tail */
	uint64_t meta_block;			/* first 4 KiB block of the metadata */
	char log_dir[GROUP_PATH_MAX + 1];
	uint32_t preference;		/* 1..n */
	uint64_t replay_lag_ms;		/* replayed so much later; at most LAG_MS_MAX */
	uint64_t truncation_lag_ms;	/* kept so much longer after that */
	bool lag_off;			/* both count for nothing, but are remembered */
	bool suspended;
	bool activation_blocked;
	char comment[GROUP_COMMENT_MAX + 1];
	bool in_sync;			/* member of the in-sync set */
	uint32_t seed_request;		/* +1: the copy is to be seeded in full */
	bool seed_whole;		/* also with what the file system does not use */
	/* of a seed, until one has ended */
	uint64_t seed_rate;		/* bytes a second; 0: the store's */
};

struct group_store {
	char name[STORE_NAME_MAX];
	uint8_t uuid[16];
	uint64_t sectors;		/* of the mapped device */
	uint32_t region_bytes;
	uint32_t ring_mib;
	uint32_t segment_mib;
	uint64_t quota_bytes;		/* of a log directory, 0: none */
	uint32_t mode;			/* enum dagtap_mode */
	bool ack_durable;		/* commit mode waits for durable, else received */
	uint32_t min_in_sync;		/* copies besides the active */
	uint32_t late_ms_max;		/* a copy later than this leaves the set */
	uint32_t full_timeout_ms;
	uint64_t keep_bytes;		/* of segments, beyond truncation */
	uint64_t seed_rate;		/* bytes a second that seeds read; 0: no limit */
	/* steps of an activation (semantics 25a); each may be "": none */
	bool manual;			/* not activated by itself */
	bool dismounted;		/* by a person's wish: steps are undone */
	bool client_stays;		/* stays where the client network is lost */
	char fs_type[16];
	char mount_point[GROUP_PATH_MAX + 1];
	char mount_options[GROUP_PATH_MAX + 1];
	char unit[128];			/* of systemd */
	char exec[GROUP_PATH_MAX + 1];
	uint32_t step_timeout_ms;	/* 0: 60 s */
	char addresses[GROUP_LIST_MAX];	/* service: IFACE=ADDRESS/PREFIX ... */
	/* activation */
	uint32_t epoch;			/* 0: never active */
	char active[64];
	uint64_t start_lsn;		/* of the epoch; 0: lower bound of the module */
	/* The active's device is the log up to here when the epoch begins: what stands
	 * between here and start_lsn was given up. 0: up to start_lsn. */
	uint64_t point_lsn;
	uint64_t version;		/* of this store's part */
	bool removed;			/* tombstone */
	uint32_t nr_copies;
	struct group_copy copies[GROUP_MEMBERS_MAX];
};

struct group_state {
	char name[GROUP_NAME_MAX + 1];
	char uuid[37];
	uint64_t generation;		/* G; +1 at a restore after lost quorum */
	uint64_t version;		/* of group and members */
	char founder[64];		/* file engine: where members are changed */
	char crl[GROUP_CRL_MAX];	/* revoked certificates: net/creds.h; "": never any list */
	char engine[16];		/* "file", "etcd"; "": file */
	char engine_url[GROUP_LIST_MAX];	/* of an etcd that exists; "": our own */
	char manager[64];		/* decides first; others after a delay */
	char address[64];		/* ADDRESS/PREFIX that follows the manager */
	char heartbeat_key[65];		/* hex, 32 bytes */
	bool no_dac;			/* datacenter activation mode is off */
	uint32_t encryption, compression;	/* enum group_wire */
	uint32_t codec;			/* enum group_codec */
	bool manual_networks;		/* not discovered by themselves */
	struct group_profile profile;
	struct group_witness witness, alternate;
	uint32_t nr_networks;
	struct group_network networks[GROUP_NETWORKS_MAX];
	uint32_t nr_members;
	struct group_member members[GROUP_MEMBERS_MAX];
	uint32_t nr_stores;
	uint32_t room;			/* of stores, malloc'ed: no larger than needed, as a
					 * snapshot is taken many times a second */
	struct group_store *stores;
	/*
	 * Of a snapshot, not agreed: no majority has confirmed it since this daemon
	 * started. Good for looking at; nothing may be opened or closed by it.
	 */
	bool unconfirmed;
};

int group_state_init(struct group_state *gs);		/* empty; -ENOMEM */
void group_state_free(struct group_state *gs);
int group_state_copy(struct group_state *to, const struct group_state *from);
/* Room for that many stores, GROUP_STORES_MAX at most, new ones zero; the others may move.
 * -ENOMEM */
int group_state_room(struct group_state *gs, uint32_t nr);

/* JSON text (malloc'ed) and back; -EINVAL with a reason in err on bad input. ret
 * must be initialised, and is empty after a failure. */
char *group_state_to_json(const struct group_state *gs);
int group_state_from_json(const char *json, struct group_state *ret, char *err, size_t errlen);
/* Take what is newer in `from`; 1 if anything changed, else 0. Other group: -EXDEV. */
int group_state_merge(struct group_state *gs, const struct group_state *from);

struct group_member *group_find_member(struct group_state *gs, const char *name);
struct group_store *group_find_store(struct group_state *gs, const char *name);
struct group_store *group_find_store_uuid(struct group_state *gs, const uint8_t uuid[16]);
struct group_copy *group_find_copy(struct group_store *st, const char *member);
/* Room for another store, the place of a removed one if need be; NULL: full, or no
 * memory. The others may move. */
struct group_store *group_add_store(struct group_state *gs, const uint8_t uuid[16]);
/* Does it replay late by intent? */
static inline bool group_copy_lagged(const struct group_copy *cp)
{
	return cp->replay_lag_ms && !cp->lag_off;
}
/* Does the epoch begin with a device that is older than its log? */
static inline bool group_store_at_point(const struct group_store *st)
{
	return st->point_lsn && st->point_lsn < st->start_lsn;
}
/* Letters, digits, '.', '-', '_'; begins with a letter or digit; <= max. */
bool group_name_valid(const char *name, size_t max);
/* Equal where group, members and living stores have equal versions. */
uint64_t group_state_digest(const struct group_state *gs);
/* tag of dagtap records: crc32c of (1 as 64 bits little endian, uuid) */
uint32_t group_store_tag(const struct group_store *st);

#endif
