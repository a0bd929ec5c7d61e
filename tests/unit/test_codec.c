// SPDX-License-Identifier: GPL-2.0
/*
 * The log compressed on its way between members in one program: the copy is the same,
 * byte for byte, with each codec, from ring and spool, in a seed, with a copy that takes
 * none; and packs that are none end the connection and change nothing.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/group/uuid.h"
#include "daemon/ship/compress.h"
#include "daemon/ship/frame.h"
#include "tests/lib/cluster.h"

#define MIB	2048ull		/* sectors */
#define WAIT_MS	30000

static struct cluster cl;
static struct tap_mem_dev *dev;
static uint8_t block[65536];

TestSuite(codec, .timeout = 110);

static void start(struct cluster_conf conf)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (!getenv("DAG_TEST_VERBOSE"))
		dup2(fd, STDERR_FILENO);
	close(fd);
	cr_assert_eq(cluster_start(&cl, &conf), 0);
	cr_assert_eq(cluster_open(&cl, 0, &dev), 0);
}

static struct cluster_conf conf_of(unsigned nodes, enum dag_codec codec)
{
	return (struct cluster_conf){
		.nodes = nodes, .sectors = 16 * MIB, .ring_mib = 4, .segment_mib = 4,
		.late_ms_max = 2000, .full_timeout_ms = 5000, .security = STREAM_PLAIN,
		.codec = codec,
	};
}

static void stop(void)
{
	tap_mem_dev_close(dev);
	cluster_stop(&cl);
}

/* Text, with noise in every fourth write. */
static void write_many(unsigned n)
{
	static unsigned count;

	while (n--) {
		unsigned sectors = 1 + ++count * 31 % 128;

		for (unsigned i = 0; i < sectors * 512; i++)
			block[i] = count % 4 ? (uint8_t)"a line of a database "[(i + count) % 21] :
					       (uint8_t)rand();
		cr_assert_eq(tap_mem_write(dev, count * 7919ull % (16 * MIB - 128), block,
					   sectors * 512, count % 16 == 0), 0);
	}
}

static void equal(unsigned copy)
{
	cr_assert_eq(cluster_equal(&cl, 0, copy, WAIT_MS), 0, "the devices differ");
	cr_assert_eq(cluster_await(&cl, 0, copy, "status", "Healthy", WAIT_MS), 0);
}

/* As both ends say. */
static void says(unsigned copy, const char *active, const char *passive)
{
	cr_assert_eq(cluster_await(&cl, 0, copy, "compression", active, WAIT_MS), 0, "%s", active);
	cr_assert_eq(cluster_await(&cl, copy, copy, "compression", passive, WAIT_MS), 0, "%s", passive);
}

struct codec_case {
	enum dag_codec codec;
	enum stream_security security;
	enum loop_backend backend;
};

ParameterizedTestParameters(codec, the_copy_is_the_same)
{
	static struct codec_case cases[] = {
		{ DAG_CODEC_NONE, STREAM_PLAIN, LOOP_AUTO }, { DAG_CODEC_LZ4, STREAM_PLAIN, LOOP_AUTO },
		{ DAG_CODEC_ZSTD, STREAM_PLAIN, LOOP_POSIX }, { DAG_CODEC_LZ4, STREAM_TLS, LOOP_POSIX },
		{ DAG_CODEC_ZSTD, STREAM_TLS, LOOP_AUTO },
	};

	return cr_make_param_array(struct codec_case, cases, sizeof(cases) / sizeof(cases[0]));
}

ParameterizedTest(struct codec_case *c, codec, the_copy_is_the_same)
{
	struct cluster_conf conf = conf_of(2, c->codec);

	conf.security = c->security;
	conf.backend = c->backend;
	start(conf);
	says(1, compress_name(c->codec), compress_name(c->codec));
	write_many(300);
	equal(1);
	if (c->codec == DAG_CODEC_NONE) {
		cr_assert_eq(cluster_u64(&cl, 0, 1, "compression_wire_bytes"), 0);
	} else {
		uint64_t raw = cluster_u64(&cl, 0, 1, "compression_log_bytes");

		cr_assert_gt(raw, 4 << 20);
		cr_assert_lt(cluster_u64(&cl, 0, 1, "compression_wire_bytes"), raw / 2);
		cr_assert_gt(cluster_u64(&cl, 1, 1, "compression_log_bytes"), 4 << 20);
	}
	stop();
}

/* One member offers, one takes it, one does not. */
Test(codec, a_copy_that_takes_none_gets_the_log_as_it_is)
{
	struct cluster_conf conf = conf_of(3, DAG_CODEC_ZSTD);

	conf.no_codec = 1u << 1;
	start(conf);
	write_many(200);
	says(1, "none (not taken there)", "none");
	says(2, "zstd", "zstd");
	equal(1);
	equal(2);
	stop();
}

/* More than the ring holds while it is away: out of the spool, and its seed before. */
Test(codec, it_catches_up_in_packs)
{
	start(conf_of(2, DAG_CODEC_LZ4));
	write_many(50);
	equal(1);
	node_cut(&cl.node[1], true);
	write_many(400);
	node_cut(&cl.node[1], false);
	equal(1);
	says(1, "lz4", "lz4");
	write_many(50);
	equal(1);
	stop();
}

/* ---- packs that are none -------------------------------------------------------- */

/* As the active that has gone would call, with an offer; the copy's log goes on. */
static struct stream *call_copy(struct frame_welcome *w)
{
	struct stream_conf sc = { .creds = cl.node[0].creds, .security = cl.conf.security,
				  .timeout_ms = 3000 };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(cl.node[1].port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	uint64_t end = cluster_u64(&cl, 1, 1, "durable_lsn");
	struct frame_hello h = { .kind = DAG_KIND_LOG, .group_generation = 1, .epoch = 1,
				 .nonce = 4711, .end_lsn = end, .oldest_lsn = end, .nr_history = 1,
				 .codecs = DAG_HELLO_CODEC(DAG_CODEC_ZSTD) | DAG_HELLO_CODEC(7) };
	struct dag_welcome frame;
	struct dag_hello raw;
	struct stream *st;

	h.history[0] = (struct frame_epoch){ 1, cluster_store(&cl).start_lsn };
	uuid_parse_text(cl.em.gs.uuid, h.group);
	memcpy(h.store, cl.uuid, 16);
	cr_assert_eq(stream_connect(&sc, (struct sockaddr *)&to, sizeof(to), NULL, 0, &st), 0);
	frame_hello_encode(&h, &raw);
	cr_assert_eq(stream_write_full(st, &raw, sizeof(raw), 3000), 0);
	cr_assert_eq(stream_read_full(st, &frame, sizeof(frame), 20000), 0);
	cr_assert_eq(frame_welcome_decode(&frame, w), 0);
	cr_assert_eq(w->refusal, DAG_OK, "%s", frame_refusal_text(w->refusal));
	cr_assert_eq(w->codec, DAG_CODEC_ZSTD);
	return st;
}

/* The copy hangs up; what it had stays what it has. */
static void hangs_up(const void *bytes, size_t len)
{
	struct frame_welcome w;
	struct stream *st = call_copy(&w);
	uint64_t before = cluster_u64(&cl, 1, 1, "durable_lsn");
	struct dag_ack ack;
	int rc;

	cr_assert_eq(w.resume, DAG_RESUME_LOG);
	cr_assert_eq(w.resume_lsn, before);
	cr_assert_eq(stream_write_full(st, bytes, len, 3000), 0);
	do
		rc = stream_read_full(st, &ack, sizeof(ack), 20000);
	while (!rc);
	cr_assert_eq(rc, -ECONNRESET);
	stream_close(st);
	cr_assert_eq(cluster_u64(&cl, 1, 1, "inspected_lsn"), before);
	cr_assert_eq(cluster_u64(&cl, 1, 1, "durable_lsn"), before);
}

Test(codec, packs_that_are_none_end_the_connection)
{
	struct cluster_conf conf = conf_of(2, DAG_CODEC_ZSTD);
	struct packer *pk;
	const void *pack;
	size_t len;

	conf.security = STREAM_TLS;	/* its goodbye is seen, though the test holds the socket */
	start(conf);
	write_many(50);
	equal(1);
	tap_mem_dev_close(dev);
	node_stop(&cl.node[0]);
	memset(block, 0xa5, sizeof(block));
	hangs_up(block, 4096);
	/* a head that is right, and no zstd behind it */
	cr_assert_eq(packer_create(DAG_CODEC_ZSTD, &pk), 0);
	len = packer_pack(pk, block, sizeof(block), true, &pack);
	memcpy(block, pack, len);
	memset(block + sizeof(struct dag_pack), 0x5a, len - sizeof(struct dag_pack));
	hangs_up(block, len);
	/* all of it right, but not a record of this log */
	memset(block, 0, sizeof(block));
	len = packer_pack(pk, block, sizeof(block), true, &pack);
	hangs_up(pack, len);
	packer_free(pk);
	cr_assert_eq(node_start(&cl.node[0]), 0);
	cr_assert_eq(cluster_open(&cl, 0, &dev), 0);
	write_many(20);
	equal(1);
	stop();
}
