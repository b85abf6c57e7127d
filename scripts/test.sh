#!/bin/sh
# Runs all tests, and prints the time of each test binary, and the slowest tests and modules with
# an Envoy. Arguments go to `cargo test`.
set -u
cd "$(dirname "$0")/.."

# Tests with an Envoy mostly wait, so more of them run than there are cores. RUST_TEST_THREADS=1
# runs one at a time.
: "${RUST_TEST_THREADS:=$(($(getconf _NPROCESSORS_ONLN) * 3))}"
export RUST_TEST_THREADS

mkdir -p target
log=target/test.log
export TEST_TIMES="$PWD/target/test-times.tsv"
: >"$TEST_TIMES"

begun=$(date +%s)
{ cargo test --workspace "$@" 2>&1; echo $? >target/test.status; } | tee "$log"
status=$(cat target/test.status)

echo "Where the time went, in seconds:"
# After "Running <source> (<binary>)", cargo prints "…; finished in 1.23s".
awk '
    / Running / { what = $2 == "unittests" ? $3 " " $NF : $2 }
    / Doc-tests / { what = $0; sub(/ +/, "", what) }
    /^test result: / { seconds = $NF; sub(/s$/, "", seconds); printf "%8.1f  %s\n", seconds, what }
' "$log" | sort -rn | awk '$1 >= 1'
printf '%8d  all, with building\n' $(($(date +%s) - begun))
echo "The slowest tests with an Envoy (they run $RUST_TEST_THREADS at a time):"
grep "::" "$TEST_TIMES" | sort -rn | head -n 15 | awk -F '\t' '{ printf "%8.1f  %s\n", $1, $2 }'
echo "The slowest modules, all their tests together:"
awk -F '\t' '/::/ { module = $2; sub(/::[^:]*$/, "", module); sum[module] += $1 }
    END { for (module in sum) printf "%8.1f  %s\n", sum[module], module }' "$TEST_TIMES" |
    sort -rn | head -n 10
exit "$status"
