// SPDX-License-Identifier: GPL-2.0
#include "daemon/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static enum log_level level_max = LOG_LV_INFO;

void log_set_level(enum log_level level)
{
	level_max = level;
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	char line[1024];
	int saved = errno, n;
	va_list ap;

	if (level > level_max)
		return;
	n = snprintf(line, sizeof(line), "<%d>", level);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	/* one write: lines of several threads do not mix */
	if (write(STDERR_FILENO, line, n) < 0)
		errno = saved;
	errno = saved;
}
