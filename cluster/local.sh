#!/bin/sh
# A local Cairn cluster: several nodes as processes of this machine.
#
#   local.sh up [N] [--dir DIR]      create (if need be), start, wait until ready; 3 nodes in ./.cairn by default
#   local.sh kill|stop|start|pause|resume NAME...    NAME is n1, n2, ... or leader
#   local.sh add | replace NAME | remove NAME [--force]    another node, one in the place of another, one less
#   local.sh status | logs [NAME...] [--follow] | down | destroy
#
# DIR/env is for the shell to source:  . ./.cairn/env
# This script builds the binary into DIR/bin; `cairn cluster` does the work.
set -eu

case "${1-}" in
'' | -h | --help | help)
	sed -n '2,10s/^# \{0,1\}//p' "$0"
	exit 0
	;;
esac

dir=.cairn
previous=
for arg in "$@"; do
	case "$arg" in
	--dir=*) dir=${arg#--dir=} ;;
	esac
	if [ "$previous" = --dir ]; then
		dir=$arg
	fi
	previous=$arg
done

binary=$dir/bin/cairn
if [ "$1" = up ]; then
	mkdir -p "$dir/bin"
	target=$(cd "$dir/bin" && pwd)/cairn
	(cd "$(dirname "$0")/.." && go build -o "$target" ./cmd/cairn)
elif [ ! -x "$binary" ]; then
	echo "local.sh: no cluster in $dir: \`$0 up --dir $dir\` makes one" >&2
	exit 4
fi

case "$binary" in
/*) ;;
*) binary=./$binary ;;
esac
exec "$binary" cluster "$@"
