// SPDX-License-Identifier: GPL-2.0
/*
 * A driver for builds without libFuzzer: runs the named files, or for -t SECONDS
 * random inputs and mutations of the files named after it. The seed is printed,
 * and -s SEED repeats a run. An input that ends the process stays in ./crash-last.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_MAX	8192
#define CORPUS_MAX	256

static uint8_t *corpus[CORPUS_MAX];
static size_t lens[CORPUS_MAX];
static unsigned nr_corpus;

static void load(const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t n;

	if (fd < 0 || nr_corpus == CORPUS_MAX)
		return;
	corpus[nr_corpus] = malloc(INPUT_MAX);
	n = read(fd, corpus[nr_corpus], INPUT_MAX);
	close(fd);
	if (n >= 0)
		lens[nr_corpus++] = (size_t)n;
}

static size_t next_input(uint8_t *buf)
{
	size_t len = (size_t)(rand() % (rand() % 4 ? 64 : INPUT_MAX));
	unsigned changes = 1 + (unsigned)(rand() % 8);

	if (!nr_corpus || rand() % 4 == 0) {
		for (size_t i = 0; i < len; i++)
			buf[i] = (uint8_t)rand();
		if (len)
			buf[0] &= 7;
		return len;
	}
	len = lens[(unsigned)rand() % nr_corpus];
	memcpy(buf, corpus[(unsigned)rand() % nr_corpus], INPUT_MAX);
	while (len && changes--)
		buf[(size_t)rand() % len] = (uint8_t)rand();
	return len;
}

static void keep(const uint8_t *buf, size_t len)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("crash-last", O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd >= 0 && pwrite(fd, buf, len, 0) == (ssize_t)len && ftruncate(fd, (off_t)len))
		perror("crash-last");
}

int main(int argc, char **argv)
{
	static uint8_t buf[INPUT_MAX];
	unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid(), secs = 0;
	unsigned long runs = 0;
	time_t end;
	int opt;

	while ((opt = getopt(argc, argv, "t:s:")) != -1) {
		if (opt == 't')
			secs = (unsigned)atoi(optarg);
		else if (opt == 's')
			seed = (unsigned)atoi(optarg);
		else
			return 2;
	}
	for (int i = optind; i < argc; i++)
		load(argv[i]);
	for (unsigned i = 0; i < nr_corpus; i++)
		LLVMFuzzerTestOneInput(corpus[i], lens[i]);
	printf("seed %u\n", seed);
	fflush(stdout);		/* abort() would lose it */
	srand(seed);
	end = time(NULL) + secs;
	while (secs && time(NULL) < end) {
		for (int i = 0; i < 100; i++, runs++) {
			size_t len = next_input(buf);

			keep(buf, len);
			LLVMFuzzerTestOneInput(buf, len);
		}
	}
	unlink("crash-last");
	printf("%lu runs\n", runs);
	return 0;
}
