#!/bin/sh
# Makes the token by which the builder of compose.yaml joins, in ./secrets/join_token.
set -eu
cd "$(dirname "$0")"
umask 077
docker compose exec -T api-1 slipway --json builders token |
    sed -n 's/.*"token": *"\([^"]*\)".*/\1/p' >secrets/join_token.new
[ -s secrets/join_token.new ] || { echo "join-token: there is no token in the answer" >&2 && exit 1; }
chmod 644 secrets/join_token.new
mv secrets/join_token.new secrets/join_token
