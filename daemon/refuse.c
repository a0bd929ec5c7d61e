// SPDX-License-Identifier: GPL-2.0
#include "daemon/refuse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int refuse(char *err, size_t errlen, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, errlen, fmt, ap);
	va_end(ap);
	return -EINVAL;
}
