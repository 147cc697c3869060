#!/bin/sh
# rustc for the workspace's own crates while `make fuzz` builds them: with the coverage by which libFuzzer is led. It is
# LLVM's own, as cargo-fuzz turns it on without sanitizers, so that a stable rustc has it.
set -eu
rustc=$1
shift
exec "$rustc" "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
