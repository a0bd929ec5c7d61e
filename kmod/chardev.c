// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/dagtap: one open file attaches to one store. Everything from user space
 * is copied once and checked before it has an effect; outputs are copied last.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/uaccess.h>

#include "tap.h"

struct tap_file {
	struct mutex attach_mutex;	/* one ATTACH at a time */
	struct store *store;		/* set once, with a store-release */
	u64 seen_lsn;			/* commit_lsn that poll reported last */
	u64 seen_state;			/* state_gen that INFO reported last */
};

static int tap_open(struct inode *inode, struct file *file)
{
	struct tap_file *tf;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	tf = kzalloc(sizeof(*tf), GFP_KERNEL);
	if (!tf)
		return -ENOMEM;
	mutex_init(&tf->attach_mutex);
	tf->seen_lsn = ~0ull;
	file->private_data = tf;
	return nonseekable_open(inode, file);
}

static int tap_release(struct inode *inode, struct file *file)
{
	struct tap_file *tf = file->private_data;

	if (tf->store)
		store_detach(tf->store);
	kfree(tf);
	return 0;
}

static __poll_t tap_poll(struct file *file, poll_table *wait)
{
	struct tap_file *tf = file->private_data;
	struct store *s = smp_load_acquire(&tf->store);	/* of do_attach() */
	__poll_t mask = 0;
	u64 commit_lsn, state_gen;

	if (!s)
		return EPOLLERR;
	poll_wait(file, &s->poll_wq, wait);
	spin_lock_irq(&s->lock);
	commit_lsn = s->ring.commit_lsn;
	state_gen = s->state_gen;
	spin_unlock_irq(&s->lock);
	/* Reported once; the reader then sees commit_lsn in the ring header. */
	if (xchg(&tf->seen_lsn, commit_lsn) != commit_lsn)
		mask |= EPOLLIN | EPOLLRDNORM;
	if (READ_ONCE(tf->seen_state) != state_gen)
		mask |= EPOLLPRI;
	return mask;
}

static void fill_attach(struct store *s, struct dagtap_attach *arg)
{
	arg->major = DAGTAP_ABI_MAJOR;
	arg->minor = DAGTAP_ABI_MINOR;
	arg->ring_bytes = 2 * PAGE_SIZE + s->ring_bytes;
	spin_lock_irq(&s->lock);
	arg->generation = s->generation;
	arg->freed_lsn = s->ring.freed_lsn;
	arg->commit_lsn = s->ring.commit_lsn;
	arg->commit_seq = s->ring.commit_seq;
	arg->epoch = s->ring.epoch;
	arg->tag = s->ring.tag;
	arg->role = s->role;
	arg->crashed = s->crashed;
	spin_unlock_irq(&s->lock);
}

static long do_attach(struct tap_file *tf, void __user *user)
{
	struct dagtap_attach arg;
	struct store *s;
	int fd, rc;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.major != DAGTAP_ABI_MAJOR)
		return -EPROTO;
	if (arg.flags || arg.rsvd)
		return -EINVAL;
	mutex_lock(&tf->attach_mutex);
	rc = -EBUSY;
	if (tf->store)
		goto unlock;
	fd = get_unused_fd_flags(O_CLOEXEC);
	rc = fd;
	if (fd < 0)
		goto unlock;
	rc = store_attach(arg.uuid, &s);
	if (rc)
		goto put_fd;
	fill_attach(s, &arg);
	arg.ring_fd = fd;
	if (copy_to_user(user, &arg, sizeof(arg))) {
		rc = -EFAULT;
		goto detach;
	}
	fd_install(fd, get_file(s->ring_file));
	smp_store_release(&tf->store, s);	/* to tap_poll(), tap_ioctl() */
	lease_kick(s);
	mutex_unlock(&tf->attach_mutex);
	return 0;

detach:
	store_detach(s);
put_fd:
	put_unused_fd(fd);
unlock:
	mutex_unlock(&tf->attach_mutex);
	return rc;
}

static long do_lease(void __user *user)
{
	struct dagtap_lease arg;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	return lease_set(&arg);
}

static long do_info(struct tap_file *tf, void __user *user)
{
	struct dagtap_info *info = kmalloc(sizeof(*info), GFP_KERNEL);
	long rc = 0;

	if (!info)
		return -ENOMEM;
	store_info(tf->store, info);
	WRITE_ONCE(tf->seen_state, info->state_gen);
	if (copy_to_user(user, info, sizeof(*info)))
		rc = -EFAULT;
	kfree(info);
	return rc;
}

static long call_store(struct store *s, unsigned int cmd, void *arg)
{
	switch (cmd) {
	case DAGTAP_IOC_ACK:
		return commit_ack(s, arg);
	case DAGTAP_IOC_ROLE:
		return role_set(s, arg);
	case DAGTAP_IOC_MODE:
		return role_mode(s, arg);
	case DAGTAP_IOC_RESYNC:
		return resync_extent(s, arg);
	case DAGTAP_IOC_MARK:
		return resync_mark(s, arg);
	case DAGTAP_IOC_REGIONS:
		return resync_regions(s, arg);
	case DAGTAP_IOC_RESTART:
		return role_restart(s, arg);
	default:
		return -ENOTTY;
	}
}

static long tap_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct tap_file *tf = file->private_data;
	struct store *s = smp_load_acquire(&tf->store);	/* of do_attach() */
	void __user *user = (void __user *)arg;
	union {
		struct dagtap_ack ack;
		struct dagtap_role_set role;
		struct dagtap_mode_set mode;
		struct dagtap_resync resync;
		struct dagtap_mark mark;
		struct dagtap_regions regions;
		struct dagtap_restart restart;
	} u;
	size_t bytes = _IOC_SIZE(cmd);
	long rc;

	if (cmd == DAGTAP_IOC_ATTACH)
		return do_attach(tf, user);
	if (cmd == DAGTAP_IOC_LEASE)
		return do_lease(user);
	if (_IOC_TYPE(cmd) != DAGTAP_IOC_MAGIC)
		return -ENOTTY;
	if (!s)
		return -ENOTCONN;
	if (cmd == DAGTAP_IOC_INFO)
		return do_info(tf, user);
	if (bytes > sizeof(u))
		return -ENOTTY;
	if (copy_from_user(&u, user, bytes))
		return -EFAULT;
	rc = call_store(s, cmd, &u);
	if (!rc && _IOC_DIR(cmd) & _IOC_READ && copy_to_user(user, &u, bytes))
		return -EFAULT;
	return rc;
}

static const struct file_operations tap_fops = {
	.owner = THIS_MODULE,
	.open = tap_open,
	.release = tap_release,
	.poll = tap_poll,
	.unlocked_ioctl = tap_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice tap_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "dagtap",
	.fops = &tap_fops,
	.mode = 0600,
};

int chardev_init(void)
{
	return misc_register(&tap_misc);
}

void chardev_exit(void)
{
	misc_deregister(&tap_misc);
}
