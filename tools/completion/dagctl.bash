# SPDX-License-Identifier: GPL-2.0
# bash completion for dagctl: the tool knows its own verbs, and asks the daemon
# for the names of stores and members.

_dagctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local words=("${COMP_WORDS[@]:1:COMP_CWORD}")

	COMPREPLY=()
	case $prev in
	--device | --meta-device | --token-file | --token-out | --socket)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--exec)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--unit)
		mapfile -t COMPREPLY < <(systemctl list-unit-files --no-legend --no-pager 2>/dev/null |
			cut -d' ' -f1 | grep -F -- "$cur")
		return
		;;
	--log-dir | --mount-point)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	esac
	if [[ ${COMP_WORDS[1]} == log && $cur == */* ]]; then
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
	fi
	mapfile -t COMPREPLY < <(dagctl --complete "${words[@]}" 2>/dev/null)
}
complete -F _dagctl dagctl
