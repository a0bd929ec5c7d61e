/* SPDX-License-Identifier: GPL-2.0 */
/* complete - candidates for the shell: `dagctl --complete WORD...`. */
#ifndef DAGCTL_COMPLETE_H
#define DAGCTL_COMPLETE_H

#include "tools/cli.h"

/* words: what stands after `dagctl`, the last one is being typed (may be ""). */
int complete(const struct cli_verb *verbs, int nr, char **words);

#endif
