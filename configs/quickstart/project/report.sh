#!/usr/bin/env bash
# report.sh FILE: what was spent, by category, largest first.
set -euo pipefail
awk -F, 'NR > 2 { sum[$2] = $3 } END { for (c in sum) printf "%s %.2f\n", c, sum[c] }' "$1" | sort -k2,2nr
