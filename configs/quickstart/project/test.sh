#!/usr/bin/env bash
# Fails while report.sh is wrong.
set -uo pipefail
cd "$(dirname "$0")"
failed=0

check() {
  if [ "$2" = "$3" ]; then
    echo "ok    $1"
  else
    echo "FAIL  $1: expected '$3', got '$2'"
    failed=1
  fi
}

report=$(bash report.sh expenses.csv)
check "amounts of a category are added up" "$(grep '^travel ' <<<"$report")" "travel 50.00"
check "the first entry counts" "$(grep '^books ' <<<"$report")" "books 25.75"
check "every category is there" "$(wc -l <<<"$report")" "3"
check "the largest comes first" "$(head -n 1 <<<"$report")" "travel 50.00"
exit "$failed"
