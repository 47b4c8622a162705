#!/usr/bin/env bash
# test.sh [ARGUMENTS OF cargo test]: sets up what the tests use, runs all of them, and stops what was started for them.
set -euo pipefail
cd "$(dirname "$0")/.."

# Of an earlier set-up; not for this run to stop, if it still runs.
had_engine_of_ours=0
if [ -f build/dockerd.pid ]; then
  if kill -0 "$(cat build/dockerd.pid)" 2>/dev/null; then had_engine_of_ours=1; else rm -f build/dockerd.pid; fi
fi
stop_engine() {
  # Only an engine that this very run started.
  [ "$had_engine_of_ours" = 0 ] && [ -f build/dockerd.pid ] || return 0
  echo "tests: stopping the Docker Engine that was started for them"
  local pid
  pid=$(cat build/dockerd.pid)
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 200); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  rm -f build/dockerd.pid
}
trap stop_engine EXIT

scripts/setup-tests.sh
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export CORDON_BIN=$PWD/build/bin CORDON_GUEST=$PWD/build/bin/cordon-guest CORDON_TEST_CLIS=$PWD/build/clis/node_modules
cargo test --locked --workspace "$@"
