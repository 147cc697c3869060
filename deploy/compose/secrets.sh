#!/bin/sh
# Makes the passwords, keys and tokens of compose.yaml in ./secrets, once; what is there stays. Keep secret_key
# with your backups: without it the secrets in the database cannot be read.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
# Only you may look into the folder. The files are readable, because containers see them under their own users.
chmod 700 secrets

random() { openssl rand -hex 24; }

# keep NAME TEXT…: a file with these lines, unless it is there.
keep() {
    name=secrets/$1
    shift
    [ -s "$name" ] || { printf '%s\n' "$@" >"$name.new" && chmod 444 "$name.new" && mv "$name.new" "$name"; }
}

keep postgres_password "$(random)"
keep bus_password "$(random)"
keep live_password "$(random)"
keep s3_password "$(random)"
bus_password=$(cat secrets/bus_password)
live_password=$(cat secrets/live_password)
s3_password=$(cat secrets/s3_password)

keep secret_key "$(openssl rand -base64 32)"
keep bootstrap_token "slw_$(random)"
# The builder's file must be there before its token is.
[ -e secrets/join_token ] || { : >secrets/join_token && chmod 644 secrets/join_token; }

keep database_url "postgres://slipway:$(cat secrets/postgres_password)@postgres/slipway"
keep bus_url "amqp://slipway:$bus_password@rabbitmq/slipway"
keep live_url "redis://:$live_password@redis"
keep rabbitmq.conf "default_vhost = slipway" "default_user = slipway" "default_pass = $bus_password"
keep redis.conf "requirepass $live_password" 'save ""' "appendonly no"
keep s3.env "MINIO_ROOT_USER=slipway" "MINIO_ROOT_PASSWORD=$s3_password" \
    "AWS_ACCESS_KEY_ID=slipway" "AWS_SECRET_ACCESS_KEY=$s3_password"
