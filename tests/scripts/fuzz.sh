#!/bin/sh
# Runs every fuzz target, or those named as arguments, under libFuzzer for FUZZ_SECS seconds each (60). Inputs that reach
# something new are kept in target/fuzz and begun with the next time; one that breaks a target goes to fuzz/found, where
# `make test` runs it from then on. Needs a C++ compiler for libFuzzer, and no nightly Rust. FUZZ_PROFILE=release builds
# everything anew, optimised: for runs of hours.
set -eu
cd "$(dirname "$0")/../.."

secs=${FUZZ_SECS:-60}
profile=${FUZZ_PROFILE:-dev}
names=${*:-$(cargo run -q -p slipway-fuzz)}
RUSTC_WORKSPACE_WRAPPER=$PWD/tests/scripts/fuzz-rustc.sh cargo build --profile "$profile" -p slipway-fuzz --bin slipway-fuzz
[ "$profile" = dev ] && built=debug || built=$profile
# The next build of the workspace puts its own there.
mkdir -p target/fuzz
cp "target/$built/slipway-fuzz" target/fuzz/program

broken=
for name in $names; do
    inputs=target/fuzz/$name
    found=fuzz/found/$name
    mkdir -p "$inputs" "$found"
    echo "--- $name, $secs s"
    SLIPWAY_FUZZ_TARGET=$name target/fuzz/program -max_total_time="$secs" -timeout=20 -rss_limit_mb=2048 -max_len=4096 -len_control=0 \
        -print_final_stats=1 -artifact_prefix="$found/" "$inputs" "$found" || broken="$broken $name"
    rmdir "$found" 2>/dev/null || true
done
rmdir fuzz/found 2>/dev/null || true
[ -z "$broken" ] || { echo "broken:$broken; the inputs lie in fuzz/found" >&2; exit 1; }
