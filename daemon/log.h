/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Messages of the daemon: one line, lower case, key=value, no full stop, with
 * the <N> prefix of sd-daemon(3) so that the journal knows the priority.
 */
#ifndef DAG_LOG_H
#define DAG_LOG_H

enum log_level { LOG_LV_ERR = 3, LOG_LV_WARN = 4, LOG_LV_NOTICE = 5, LOG_LV_INFO = 6, LOG_LV_DEBUG = 7 };

void log_set_level(enum log_level level);
void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_err(...)	log_msg(LOG_LV_ERR, __VA_ARGS__)
#define log_warn(...)	log_msg(LOG_LV_WARN, __VA_ARGS__)
#define log_notice(...)	log_msg(LOG_LV_NOTICE, __VA_ARGS__)
#define log_info(...)	log_msg(LOG_LV_INFO, __VA_ARGS__)
#define log_debug(...)	log_msg(LOG_LV_DEBUG, __VA_ARGS__)

#endif
