/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DAG_REFUSE_H
#define DAG_REFUSE_H

#include <stddef.h>

/* Says why something that was given is not taken, into err; -EINVAL. */
int refuse(char *err, size_t errlen, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
