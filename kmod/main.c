// SPDX-License-Identifier: GPL-2.0
/*
 * dagtap: puts every write to a block device into a log that user space ships.
 * Documentation/design.md has the invariants, uapi/dagtap.h the contract.
 */
#define pr_fmt(fmt) "dagtap: " fmt

#include <linux/module.h>

#include "tap.h"

struct workqueue_struct *tap_wq;
struct workqueue_struct *tap_meta_wq;

unsigned int tap_clear_interval_ms = 5000;
module_param_named(clear_interval_ms, tap_clear_interval_ms, uint, 0644);
MODULE_PARM_DESC(clear_interval_ms, "time between passes that clear intent bits");

static int __init dagtap_init(void)
{
	int rc = -ENOMEM;

	tap_wq = alloc_workqueue("dagtap", WQ_MEM_RECLAIM | WQ_HIGHPRI, 0);
	if (!tap_wq)
		return rc;
	tap_meta_wq = alloc_workqueue("dagtap_meta", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!tap_meta_wq)
		goto err_wq;
	rc = event_init();
	if (rc)
		goto err_meta_wq;
	rc = proc_init();
	if (rc)
		goto err_event;
	rc = chardev_init();
	if (rc)
		goto err_proc;
	rc = target_init();
	if (rc)
		goto err_chardev;
	pr_info("version=%u.%u\n", DAGTAP_ABI_MAJOR, DAGTAP_ABI_MINOR);
	return 0;

err_chardev:
	chardev_exit();
err_proc:
	proc_exit();
err_event:
	event_exit();
err_meta_wq:
	destroy_workqueue(tap_meta_wq);
err_wq:
	destroy_workqueue(tap_wq);
	return rc;
}

static void __exit dagtap_exit(void)
{
	target_exit();
	chardev_exit();
	proc_exit();
	stores_destroy();
	event_exit();
	destroy_workqueue(tap_meta_wq);
	destroy_workqueue(tap_wq);
}

module_init(dagtap_init);
module_exit(dagtap_exit);

MODULE_DESCRIPTION("write log of a block device for replication");
MODULE_AUTHOR("the dag authors");
MODULE_LICENSE("GPL");
MODULE_SOFTDEP("pre: libcrc32c");
