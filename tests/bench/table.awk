# SPDX-License-Identifier: GPL-2.0
#
# Samples "sample JOB ROUND base|dag VALUE" into a table, one row for each job:
# median (min..max) of both sides, and of the ratio dag/base of each round.
# Lines "job JOB UNIT BASE-NAME DAG-NAME TEXT" name the jobs, in order; lines
# "note JOB TEXT" are printed below its row. Fails if a sample is missing.

function sorted(v, n,	i, j, t)
{
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && v[j - 1] > v[j]; j--) {
			t = v[j]
			v[j] = v[j - 1]
			v[j - 1] = t
		}
}

function show(v, n, f,	m)
{
	sorted(v, n)
	m = n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
	return sprintf(f " (" f ".." f ")", m, v[1], v[n])
}

function rest(from,	i, s)
{
	for (i = from; i <= NF; i++)
		s = s (i > from ? " " : "") $i
	return s
}

$1 == "job" {
	if (!($2 in unit))
		order[++jobs] = $2
	unit[$2] = $3
	base[$2] = $4
	dag[$2] = $5
	text[$2] = rest(6)
}

$1 == "sample" && $5 + 0 > 0 {
	value[$2, $3, $4] = $5 + 0
}

$1 == "note" {
	notes[$2] = notes[$2] "    " rest(3) "\n"
}

END {
	fmt = "%-32s %-5s %-9s %-24s %-8s %-24s %s\n"
	printf fmt, "job", "unit", "base", "", "dag", "", "ratio"
	for (j = 1; j <= jobs; j++) {
		k = order[j]
		for (r = 1; r <= rounds; r++) {
			b[r] = value[k, r, "base"]
			d[r] = value[k, r, "dag"]
			if (!b[r] || !d[r]) {
				printf "no sample: %s round %d\n", k, r >"/dev/stderr"
				exit 1
			}
			q[r] = d[r] / b[r]
		}
		f = unit[k] == "MB/s" ? "%.1f" : "%.0f"
		printf fmt, text[k], unit[k], base[k], show(b, rounds, f), dag[k],
			show(d, rounds, f), show(q, rounds, "%.2f")
		printf "%s", notes[k]
	}
	if (!jobs) {
		print "no jobs" >"/dev/stderr"
		exit 1
	}
}
