#!/usr/bin/env bash
# Builds the commit before the newest migration, which is the release before this one as long as there are no releases,
# and prints where its binary is.
set -euo pipefail
cd "$(dirname "$0")/../.."
newest=$(git log -1 --diff-filter=A --format=%H -- migrations)
previous=$(git rev-parse "$newest^")
place=$PWD/target/previous
if [ "$(git -C "$place/tree" rev-parse HEAD 2>/dev/null || true)" != "$previous" ]; then
    git worktree remove --force "$place/tree" 2>/dev/null || rm -rf "$place/tree"
    git worktree prune
    git worktree add --detach "$place/tree" "$previous" >&2
fi
cargo build --manifest-path "$place/tree/Cargo.toml" --target-dir "$place/build" -p slipway --bins >&2
echo "$place/build/debug/slipway"
