#!/usr/bin/env bash
# Looks at a Slipway with a real Chromium: `browser.sh test` runs tests/browser, `browser.sh screenshots` puts pictures
# into target/screenshots, `browser.sh stay` keeps it running until Ctrl-C. What is started is stopped, however it ends.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Seconds that all of it may take; a third of it is usual.
limit=1500

missing=()
command -v node >/dev/null || missing+=(nodejs)
command -v chromium >/dev/null || missing+=(chromium)
[ -e tests/browser/node_modules/.package-lock.json ] || missing+=("tests/browser/node_modules (npm)")
if [ ${#missing[@]} -gt 0 ]; then
    echo "SKIPPED: nothing was looked at in a browser; missing: ${missing[*]}. tests/scripts/setup.sh installs them as root." >&2
    [ "${REQUIRE_BACKENDS:-0}" != 1 ] || exit 1
    exit 0
fi

case "${1:-test}" in
test) what=(node --test --test-reporter=spec tests/browser/*.test.mjs) ;;
screenshots) what=(node tests/browser/screenshots.mjs target/screenshots) ;;
stay) exec target/debug/slipway-browser-site -- sleep infinity ;;
*)
    echo "usage: browser.sh test|screenshots|stay" >&2
    exit 2
    ;;
esac
exec timeout --foreground --kill-after=30 "$limit" target/debug/slipway-browser-site -- "${what[@]}"
