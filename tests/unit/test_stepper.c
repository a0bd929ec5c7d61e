// SPDX-License-Identifier: GPL-2.0
/*
 * Steps with real programs, processes and addresses: a hook that writes down what
 * it is told, a systemctl of the test's own, a network namespace with a pair of
 * interfaces. Needs root, and is left out without.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/if_ether.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/net/service_addr.h"
#include "daemon/store/child.h"
#include "daemon/store/stepper.h"

static char dir[64], hook[96], file[96], bin[200], err[STEP_WHY_MAX];
static struct group_store st;
static struct stepper *sp;

static void put_file(const char *path, mode_t mode, const char *text)
{
	FILE *f = fopen(path, "w");

	cr_assert_not_null(f);
	fputs(text, f);
	fclose(f);
	chmod(path, mode);
}

static char *slurp(const char *name)
{
	static char buf[8192];
	char path[128];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "r");
	n = f ? fread(buf, 1, sizeof(buf) - 1, f) : 0;
	if (f)
		fclose(f);
	buf[n] = '\0';
	return buf;
}

static void shell(const char *cmd)
{
	cr_assert_eq(system(cmd), 0, "%s", cmd);
}

static void start(void)
{
	struct stepper_conf conf = {
		.store = "pg", .device = "/dev/mapper/pg", .member = "node1", .file = file, .path = bin,
		.check_ms = 200, .retry_ms = 5000,
	};

	cr_assert_eq(stepper_create(&conf, &sp), 0);
}

/* The hook's body says what to do for $DAG_ACTION; what it was told is in "told". */
static void make_hook(const char *body)
{
	char text[1024];

	snprintf(text, sizeof(text), "#!/bin/sh\ncd %s\n[ $DAG_ACTION = check ] || "
		 "echo $DAG_ACTION $DAG_STORE $DAG_DEVICE $DAG_MEMBER $DAG_EPOCH $DAG_REASON >>told\n"
		 "%s\n", dir, body);
	put_file(hook, 0755, text);
}

static void setup(void)
{
	if (geteuid())
		cr_skip_test("not root");
	log_set_level(0);
	signal(SIGPIPE, SIG_IGN);
	strcpy(dir, "/tmp/dag-stepper-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(hook, sizeof(hook), "%s/hook", dir);
	snprintf(file, sizeof(file), "%s/steps/pg.json", dir);
	snprintf(bin, sizeof(bin), "%s/bin:/usr/sbin:/usr/bin:/sbin:/bin", dir);
	memset(&st, 0, sizeof(st));
	strcpy(st.exec, hook);
	st.step_timeout_ms = 20000;
	make_hook("exit 0");
	start();
}

static void teardown(void)
{
	char cmd[100];

	if (geteuid())
		return;
	stepper_put(sp);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	shell(cmd);
}

TestSuite(stepper, .init = setup, .fini = teardown, .timeout = 60);

static void goal(bool up, bool force, uint32_t epoch, const char *reason)
{
	struct steps_plan plan;
	struct stepper_goal g = {
		.plan = &plan, .mount_point = "", .reason = reason, .timeout_ms = st.step_timeout_ms,
		.epoch = epoch, .up = up, .force = force,
	};

	memset(&plan, 0, sizeof(plan));
	cr_assert_eq(steps_plan_make(&st, &plan, err, sizeof(err)), 0, "%s", err);
	stepper_set(sp, &g);
}

static struct stepper_status status(void)
{
	struct stepper_status s;

	stepper_status(sp, &s);
	return s;
}

#define up_is(rc)	cr_assert_eq(stepper_wait(sp, true, 30000, err, sizeof(err)), rc, "%s", err)
#define down_is(rc)	cr_assert_eq(stepper_wait(sp, false, 30000, err, sizeof(err)), rc, "%s", err)

Test(stepper, a_hook_is_told_all)
{
	goal(true, false, 7, "activation");
	up_is(0);
	cr_assert_eq(status().state, STEPS_MOUNTED);
	cr_assert_str_eq(slurp("told"), "start pg /dev/mapper/pg node1 7 activation\n");
	cr_assert(stepper_left(file));
	goal(false, false, 7, "dismount");
	down_is(0);
	cr_assert_eq(status().state, STEPS_DISMOUNTED);
	cr_assert_str_eq(slurp("told"), "start pg /dev/mapper/pg node1 7 activation\n"
			 "stop pg /dev/mapper/pg node1 7 dismount\n");
	cr_assert_not(stepper_left(file));
}

Test(stepper, a_failure_names_step_cause_and_what_next)
{
	make_hook("echo first; echo no licence >&2; [ $DAG_ACTION = stop ] || exit 3");
	goal(true, false, 1, "activation");
	up_is(-ENOTRECOVERABLE);
	cr_assert_not_null(strstr(err, "exec "), "%s", err);
	cr_assert_not_null(strstr(err, "no licence; status 3"), "%s", err);
	cr_assert_not_null(strstr(err, "dagctl store mount"), "%s", err);
	cr_assert(status().failed);
	cr_assert(stepper_is_down(sp));
	/* one try */
	goal(true, false, 1, "activation");
	up_is(-ENOTRECOVERABLE);
	cr_assert_not_null(strstr(slurp("told"), "stop"));
	make_hook("exit 0");
	stepper_retry(sp, true);
	up_is(0);
	cr_assert_not(status().failed);
}

/* What others are told: not here again, for a while, whatever role it has by then. */
Test(stepper, failures_are_remembered_beyond_the_activation)
{
	uint64_t first;

	cr_assert_eq(status().retry_ms, 0);
	make_hook("[ $DAG_ACTION = stop ] || exit 3");
	goal(true, false, 1, "activation");
	up_is(-ENOTRECOVERABLE);
	cr_assert_eq(status().failures, 1);
	first = status().retry_ms;
	cr_assert(first > 3000 && first <= 5000, "%llu", (unsigned long long)first);
	{
		struct steps_plan plan;

		cr_assert_eq(steps_plan_make(&st, &plan, err, sizeof(err)), 0);
		cr_assert_eq(status().failed_plan, steps_plan_crc(&plan));
		strcat(st.exec, "2");	/* mended by other settings */
		cr_assert_eq(steps_plan_make(&st, &plan, err, sizeof(err)), 0);
		cr_assert_neq(status().failed_plan, steps_plan_crc(&plan));
		st.exec[strlen(st.exec) - 1] = '\0';
	}
	goal(false, true, 1, "fence");
	down_is(0);
	cr_assert_eq(status().failures, 1);
	cr_assert_gt(status().retry_ms, 0);
	/* again, in the next activation, and by itself in the same one */
	goal(true, false, 3, "activation");
	up_is(-ENOTRECOVERABLE);
	cr_assert_eq(status().failures, 2);
	cr_assert_gt(status().retry_ms, 5000);
	stepper_retry(sp, false);
	up_is(-ENOTRECOVERABLE);
	cr_assert_eq(status().failures, 3);
	cr_assert_gt(status().retry_ms, 10000);
	/* mended */
	make_hook("exit 0");
	stepper_retry(sp, false);
	up_is(0);
	cr_assert_eq(status().failures, 0);
	cr_assert_eq(status().retry_ms, 0);
}

/* A zombie, which only its parent has not looked at yet, does not. */
static bool lives(pid_t pid)
{
	char path[64], line[300] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	fclose(f);
	return line[0] && !strstr(line, ") Z");
}

/* It and all that it has started are gone, and its start is undone. */
Test(stepper, a_hook_that_hangs_is_killed_with_its_group)
{
	uint64_t begin = now_ms();
	pid_t pid;

	make_hook("[ $DAG_ACTION = start ] || exit 0\n"
		  "trap '' TERM\n(trap '' TERM; sleep 300) & echo $! >pid\nsleep 300");
	st.step_timeout_ms = 500;
	goal(true, false, 1, "activation");
	up_is(-ENOTRECOVERABLE);
	cr_assert_not_null(strstr(err, "not done in 500 ms, killed"), "%s", err);
	cr_assert_lt(now_ms() - begin, 15000);
	pid = atoi(slurp("pid"));
	cr_assert_gt(pid, 0);
	for (int i = 0; i < 200 && lives(pid); i++)
		usleep(20000);
	cr_assert_not(lives(pid), "the child of the hook lives");
	cr_assert_not_null(strstr(slurp("told"), "stop"));
}

/* What goes on in the background holds the output open; nobody waits for it. */
Test(stepper, a_hook_may_leave_something_running)
{
	uint64_t begin = now_ms();

	make_hook("sleep 20 & echo done");
	goal(true, false, 1, "activation");
	up_is(0);
	cr_assert_lt(now_ms() - begin, 8000);
}

Test(stepper, a_fence_ends_what_runs)
{
	uint64_t begin;

	make_hook("[ $DAG_ACTION = start ] || exit 0\nsleep 300");
	goal(true, false, 1, "activation");
	for (int i = 0; i < 300 && !status().running[0]; i++)
		usleep(10000);
	cr_assert_eq(status().state, STEPS_MOUNTING);
	begin = now_ms();
	goal(false, true, 1, "fence");
	down_is(0);
	cr_assert_lt(now_ms() - begin, 8000);
	cr_assert_not_null(strstr(slurp("told"), "stop pg /dev/mapper/pg node1 1 fence"));
}

Test(stepper, held_for_a_move)
{
	goal(true, false, 1, "activation");
	up_is(0);
	stepper_hold(sp, "move");
	down_is(0);
	/* whoever says up again meanwhile does not matter */
	goal(true, false, 1, "activation");
	down_is(0);
	cr_assert_not_null(strstr(slurp("told"), "stop pg /dev/mapper/pg node1 1 move"));
	stepper_release(sp);
	up_is(0);
}

Test(stepper, what_does_not_stop_stays_up)
{
	make_hook("[ $DAG_ACTION != stop ] || { echo users inside; exit 1; }");
	goal(true, false, 1, "activation");
	up_is(0);
	stepper_hold(sp, "move");
	down_is(-ENOTRECOVERABLE);
	cr_assert_not_null(strstr(err, "users inside"), "%s", err);
	cr_assert_eq(status().state, STEPS_MOUNTED);
	stepper_release(sp);
	up_is(0);
	/* the gate is shut now: down in any case */
	goal(false, true, 1, "fence");
	down_is(0);
	cr_assert(stepper_is_down(sp));
}

static unsigned count(const char *text, const char *word)
{
	unsigned n = 0;

	for (; (text = strstr(text, word)); text += strlen(word))
		n++;
	return n;
}

Test(stepper, a_restarted_daemon_goes_on)
{
	make_hook("[ $DAG_ACTION != check ] || [ -e runs ]\n");
	snprintf(err, sizeof(err), "touch %s/runs", dir);
	shell(err);
	goal(true, false, 1, "activation");
	up_is(0);
	stepper_put(sp);
	start();
	goal(true, false, 1, "activation");
	up_is(0);
	cr_assert_eq(count(slurp("told"), "start"), 1);
	/* it died with the daemon: started again */
	stepper_put(sp);
	snprintf(err, sizeof(err), "rm %s/runs", dir);
	shell(err);
	start();
	goal(true, false, 1, "activation");
	up_is(0);
	cr_assert_eq(count(slurp("told"), "start"), 2);
	/* moved away while no daemon ran: what was up goes down */
	stepper_put(sp);
	start();
	goal(false, true, 2, "fence");
	down_is(0);
	cr_assert_eq(count(slurp("told"), "stop"), 1);
}

Test(stepper, a_damaged_file_is_no_crash)
{
	stepper_put(sp);
	put_file(file, 0600, "{\"boot\":\"x\",\"up\":[{]}");
	start();
	goal(true, false, 1, "activation");
	up_is(0);
}

Test(stepper, what_ends_by_itself_is_said)
{
	make_hook("[ $DAG_ACTION != check ] || { echo it has crashed; exit 1; }");
	goal(true, false, 1, "activation");
	up_is(0);
	for (int i = 0; i < 500 && !status().error[0]; i++)
		usleep(10000);
	cr_assert_not_null(strstr(status().error, "it has crashed"), "%s", status().error);
	cr_assert_eq(status().state, STEPS_MOUNTED);
}

Test(stepper, a_hook_that_others_can_write_is_refused)
{
	chmod(hook, 0757);
	goal(true, false, 1, "activation");
	up_is(-ENOTRECOVERABLE);
	cr_assert_not_null(strstr(err, "others than root"), "%s", err);
	cr_assert_str_eq(slurp("told"), "");
}

Test(stepper, a_unit_is_started_stopped_and_killed)
{
	char path[128], text[400];

	snprintf(path, sizeof(path), "%s/bin", dir);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/bin/systemctl", dir);
	snprintf(text, sizeof(text), "#!/bin/sh\n[ $2 = is-active ] || echo $* >>%s/told\n"
		 "[ $2 != stop ] || [ ! -e %s/hang ] || sleep 300\n", dir, dir);
	put_file(path, 0755, text);
	st.exec[0] = '\0';
	strcpy(st.unit, "pg.service");
	goal(true, false, 1, "activation");
	up_is(0);
	goal(false, false, 1, "dismount");
	down_is(0);
	cr_assert_str_eq(slurp("told"), "--no-ask-password start -- pg.service\n"
			 "--no-ask-password stop -- pg.service\n");
	goal(true, false, 2, "activation");
	up_is(0);
	snprintf(err, sizeof(err), "touch %s/hang", dir);
	shell(err);
	st.step_timeout_ms = 300;
	goal(false, true, 2, "fence");
	down_is(0);
	cr_assert_not_null(strstr(slurp("told"), "--no-ask-password kill -- pg.service"));
}

/* ---- addresses -------------------------------------------------------------------- */

static int listen_arp(const char *iface)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ARP));

	at.sll_ifindex = (int)if_nametoindex(iface);
	cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

/* Gratuitous ARP packets for the address, within ms. */
static unsigned heard(int fd, const char *address, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t until = now_ms() + (uint64_t)ms;
	unsigned n = 0;
	uint8_t want[4], frame[128];

	inet_pton(AF_INET, address, want);
	while (now_ms() < until) {
		if (poll(&p, 1, 50) <= 0 || recv(fd, frame, sizeof(frame), 0) < 42)
			continue;
		n += !memcmp(frame + 28, want, 4) && !memcmp(frame + 38, want, 4);
	}
	return n;
}

static void own_network(void)
{
	if (unshare(CLONE_NEWNET))
		cr_skip_test("no network namespaces");
	shell("ip link set lo up && ip link add eth0 type veth peer name eth1 && ip link set eth0 up "
	      "&& ip link set eth1 up && ip addr add 10.9.0.1/24 dev eth0 && "
	      "ip addr add fd09::1/64 dev eth0 nodad");
}

Test(stepper, addresses_come_and_go)
{
	struct stepper *old = sp;
	char mine[] = "ip addr show dev eth0 | grep -q";
	bool ours;
	int fd;

	own_network();
	stepper_put(old);
	start();		/* its sockets are to be of this network */
	fd = listen_arp("eth1");
	st.exec[0] = '\0';
	strcpy(st.addresses, "10.9.0.50 fd09::50 eth0=10.8.0.1/16 10.9.0.1");
	goal(true, false, 1, "activation");
	up_is(0);
	shell("ip addr show dev eth0 | grep -q '10.9.0.50/24.*eth0:dag'");
	shell("ip addr show dev eth0 | grep -q '10.8.0.1/16.*eth0:dag'");
	shell("ip addr show dev eth0 | grep -A1 'fd09::50/64' | grep -q 'preferred_lft 0'");
	cr_assert_geq(heard(fd, "10.9.0.50", 1600), 3);
	cr_assert_eq(service_addr_there("10.9.0.50", &ours), 0);
	cr_assert(ours);
	cr_assert_eq(service_addr_there("10.9.0.1", &ours), 0);
	cr_assert_not(ours);
	/* somebody takes one away: it comes back by itself */
	shell("ip addr del 10.9.0.50/24 dev eth0");
	for (int i = 0; i < 500 && service_addr_there("10.9.0.50", NULL); i++)
		usleep(10000);
	cr_assert_eq(service_addr_there("10.9.0.50", NULL), 0);
	goal(false, false, 1, "dismount");
	down_is(0);
	shell("! ip addr show dev eth0 | grep -q '10.9.0.50\\|10.8.0.1\\|fd09::50'");
	snprintf(err, sizeof(err), "%s '10.9.0.1/24'", mine);
	shell(err);		/* not ours: it stays */
	close(fd);
}

Test(stepper, an_address_without_an_interface)
{
	own_network();
	stepper_put(sp);
	start();
	st.exec[0] = '\0';
	strcpy(st.addresses, "10.9.0.50 10.77.0.1");
	goal(true, false, 1, "activation");
	up_is(-ENOTRECOVERABLE);
	cr_assert_not_null(strstr(err, "address 10.77.0.1 failed: no interface here has a subnet"), "%s",
			   err);
	cr_assert_neq(service_addr_there("10.9.0.50", NULL), 0, "the former one is undone");
	strcpy(st.addresses, "eth7=10.9.0.50/24");
	goal(true, false, 1, "activation");
	up_is(-ENOTRECOVERABLE);
	cr_assert_not_null(strstr(err, "no interface eth7"), "%s", err);
}

/* ---- programs ----------------------------------------------------------------------- */

Test(stepper, children)
{
	char *yes[] = { "sh", "-c", "echo a; echo; printf 'b\\tc'; exit 5", NULL };
	char *none[] = { "/no/such/program", NULL };
	char *signalled[] = { "sh", "-c", "kill -9 $$", NULL };
	char *env[] = { "PATH=/usr/bin:/bin", NULL };
	struct child_conf conf = { .name = "x", .argv = yes, .envp = env, .timeout_ms = 10000,
				   .cancel_fd = -1 };
	char last[64];

	cr_assert_eq(child_run(&conf, last, sizeof(last)), 5);
	cr_assert_str_eq(last, "b c");
	conf.argv = none;
	cr_assert_eq(child_run(&conf, last, sizeof(last)), 127);
	cr_assert_not_null(strstr(last, "No such file"), "%s", last);
	conf.argv = signalled;
	cr_assert_eq(child_run(&conf, last, sizeof(last)), 137);
}
