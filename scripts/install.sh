#!/usr/bin/env bash
# install.sh DIRECTORY PROGRAM...: puts programs there, each in one step, so that one that runs is not written to.
set -euo pipefail
directory=$1
shift
mkdir -p "$directory"
for program in "$@"; do
  name=${program##*/}
  cmp -s "$program" "$directory/$name" && continue
  install -m 0755 "$program" "$directory/.$name.new"
  mv "$directory/.$name.new" "$directory/$name"
done
echo "in $directory: $(cd "$directory" && echo *)"
