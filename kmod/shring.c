// SPDX-License-Identifier: GPL-2.0
/*
 * The ring's memory: a shmem file that the module makes, pins and maps. User
 * space gets the file itself, because io_uring of 6.1 registers no other kernel
 * memory. The file cannot shrink or grow; whatever user space does to its pages,
 * the module holds the ones it writes to and never reads an index from them.
 */
#include <linux/fcntl.h>
#include <linux/pagemap.h>
#include <linux/poll.h>
#include <linux/random.h>
#include <linux/shmem_fs.h>
#include <linux/vmalloc.h>

#include "tap.h"

static int pin_pages(struct store *s, struct address_space *mapping)
{
	unsigned long i;

	for (i = 0; i < s->nr_ring_pages; i++) {
		struct page *page = shmem_read_mapping_page(mapping, i);

		if (IS_ERR(page))
			return PTR_ERR(page);
		s->ring_pages[i] = page;
		set_page_dirty(page);
		cond_resched();
	}
	return 0;
}

/* s->ring_bytes is set. On an error the caller calls shring_destroy(). */
int shring_create(struct store *s)
{
	u64 bytes = 2 * PAGE_SIZE + s->ring_bytes;
	struct address_space *mapping;
	struct file *file;
	int rc;

	s->nr_ring_pages = bytes >> PAGE_SHIFT;
	s->ring_pages = kvcalloc(s->nr_ring_pages, sizeof(*s->ring_pages), GFP_KERNEL);
	s->slots = kvcalloc(TAP_SLOTS, sizeof(*s->slots), GFP_KERNEL);
	if (!s->ring_pages || !s->slots)
		return -ENOMEM;
	file = shmem_file_setup("dagtap", bytes, 0);
	if (IS_ERR(file))
		return PTR_ERR(file);
	s->ring_file = file;
	mapping = file->f_mapping;
	/* Not movable: long-term pins by io_uring need no migration then. */
	mapping_set_gfp_mask(mapping, GFP_HIGHUSER | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
	mapping_set_unevictable(mapping);
	rc = pin_pages(s, mapping);
	if (rc)
		return rc;
	SHMEM_I(file_inode(file))->seals |= F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW;
	s->hdr = vmap(s->ring_pages, s->nr_ring_pages, VM_MAP, PAGE_KERNEL);
	if (!s->hdr)
		return -ENOMEM;
	s->user = (void *)s->hdr + PAGE_SIZE;
	s->generation = get_random_u64() >> 1 | 1;
	return dagtap_ring_init(&s->ring, (void *)s->hdr + 2 * PAGE_SIZE, s->ring_bytes,
				s->slots, TAP_SLOTS);
}

void shring_destroy(struct store *s)
{
	unsigned long i;

	if (s->hdr)
		vunmap(s->hdr);
	if (s->ring_pages)
		for (i = 0; i < s->nr_ring_pages && s->ring_pages[i]; i++)
			put_page(s->ring_pages[i]);
	if (s->ring_file)
		fput(s->ring_file);
	kvfree(s->ring_pages);
	kvfree(s->slots);
}

/* Writes all of page 0: a new part of the log, or a first one. */
void shring_reset(struct store *s)
{
	struct dagtap_ring_hdr *hdr = s->hdr;

	hdr->magic = DAGTAP_RING_MAGIC;
	hdr->major = DAGTAP_ABI_MAJOR;
	hdr->minor = DAGTAP_ABI_MINOR;
	hdr->hdr_bytes = sizeof(*hdr);
	hdr->data_off = 2 * PAGE_SIZE;
	hdr->data_size = s->ring_bytes;
	memcpy(hdr->uuid, s->uuid, sizeof(hdr->uuid));
	hdr->dev_sectors = s->dev_sectors;
	hdr->lbs = s->lbs;
	hdr->region_bytes = s->region_bytes;
	WRITE_ONCE(hdr->generation, s->generation);
	shring_publish(s);
}

/* Caller holds s->lock. */
void shring_publish(struct store *s)
{
	struct dagtap_ring_hdr *hdr = s->hdr;

	WRITE_ONCE(hdr->commit_seq, s->ring.commit_seq);
	WRITE_ONCE(hdr->commit_time_ns, s->ring.commit_time_ns);
	WRITE_ONCE(hdr->reserve_lsn, s->ring.reserve_lsn);
	WRITE_ONCE(hdr->freed_lsn, s->ring.freed_lsn);
	WRITE_ONCE(hdr->stalls, s->stat.stalls);
	WRITE_ONCE(hdr->state, s->state);
	WRITE_ONCE(hdr->role, s->role);
	WRITE_ONCE(hdr->state_gen, s->state_gen);
	/* Who sees the LSN, in user space, sees the bytes below it. */
	smp_store_release(&hdr->commit_lsn, s->ring.commit_lsn);
}

/*
 * After a publication: the daemon sets want_wakeup, looks at commit_lsn again
 * and sleeps; we have moved commit_lsn and look at want_wakeup. The full barrier
 * is in wq_has_sleeper().
 */
void shring_wake(struct store *s)
{
	if (wq_has_sleeper(&s->poll_wq) && READ_ONCE(s->user->want_wakeup))
		wake_up_poll(&s->poll_wq, EPOLLIN | EPOLLRDNORM);
}
