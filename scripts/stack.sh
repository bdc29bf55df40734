#!/usr/bin/env bash
# Starts and ends the containers of docker-compose.yaml, and first makes what a deployment of its own needs and lacks:
# .env, passwords, keys, empty connections, a site's file, the image. What is there stays as it is.
#
#   scripts/stack.sh setup | up | down
#   scripts/stack.sh host NAME ADDRESS    prepares a folder for a worker on another host, which reaches this one there
#
# DEMO=1 also starts a MySQL with a small SPOQ Plus, an S3 and a server for recovery tests, and a site of them.
# SPOQPLUS_ENV_FILE names another .env.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 077

readonly env_file=${SPOQPLUS_ENV_FILE:-.env}
readonly demo=${DEMO:+1}

say() { printf '[stack] %s\n' "$*"; }
fail() {
    printf '[stack] error: %s\n' "$*" >&2
    exit 1
}

compose() { docker compose --env-file "$env_file" "$@"; }

setting() { # of the environment, else of .env, else the second argument
    local value=${!1:-}
    [ -n "$value" ] || value=$(sed -n "s/^$1=//p" "$env_file" | tail -n 1)
    printf '%s' "${value:-${2:-}}"
}

check_docker() {
    command -v docker >/dev/null || fail "there is no docker. Install Docker Engine with its compose and buildx plugins."
    docker info >/dev/null 2>&1 || fail "docker does not answer: $(docker info 2>&1 | tail -n 1)"
    docker compose version >/dev/null 2>&1 || fail "docker has no compose plugin: install docker-compose-plugin" \
        "(Docker's packages) or docker-compose-v2 (Ubuntu's)."
}

# ---- what a deployment has of its own ----

write_env() {
    local uid
    if [ -e "$env_file" ]; then return 0; fi
    uid=$(id -u)
    [ "$uid" != 0 ] || uid=50000 # containers don't run as root; this is the user of Airflow's image
    sed -e "s/^AIRFLOW_UID=.*/AIRFLOW_UID=$uid/" -e "s/^COMPOSE_PROFILES=.*/COMPOSE_PROFILES=${demo:+demo}/" \
        .env.example >"$env_file.part"
    mv "$env_file.part" "$env_file"
    say "wrote $env_file"
}

place() { # a file below the deployment's folder, of what comes on standard input; for its owner only
    local file=$home/$1
    cat >"$file.part"
    chmod 600 "$file.part"
    give "$file.part"
    mv "$file.part" "$file"
}

give() { # to who runs the containers
    if [ "$(id -u)" = 0 ]; then chown "$uid:0" "$@"; fi
}

lacks() { [ ! -s "$home/$1" ]; }

random() { head -c "$1" /dev/urandom | base64 --wrap=0 | tr '+/' '-_'; }
password() { random 32 | tr -d '='; }

make_secrets() {
    local redis results name
    # Without a line break at the end: Airflow takes all that a command prints.
    # Postgres and Redis know theirs from the first start on: what refers to a password is made with it, never later
    if lacks secrets/postgres_password; then
        password | place secrets/postgres_password
        printf 'postgresql+psycopg2://airflow:%s@postgres:5432/airflow' "$(cat "$home/secrets/postgres_password")" |
            place secrets/sql_alchemy_conn
    fi
    if lacks secrets/redis.conf; then
        redis=$(password)
        printf 'redis://:%s@redis:6379/0' "$redis" | place secrets/celery_broker_url
        printf '%s\n' "requirepass $redis" 'protected-mode no' 'dir /data' 'appendonly yes' 'save ""' \
            'maxmemory-policy noeviction' | place secrets/redis.conf
    fi
    if lacks secrets/celery_result_backend; then
        results=$(password)
        printf 'db+postgresql+psycopg2://celery:%s@postgres:5432/celery' "$results" | place secrets/celery_result_backend
    fi
    if lacks secrets/fernet_key; then random 32 | place secrets/fernet_key; fi
    for name in jwt_secret api_secret_key; do
        if lacks "secrets/$name"; then random 66 | place "secrets/$name"; fi
    done
    for name in admin_password grafana_password; do
        if lacks "secrets/$name"; then password | place "secrets/$name"; fi
    done
    if lacks secrets/metrics_token; then
        password | place secrets/metrics_token
        place api-server/metrics_token <"$home/secrets/metrics_token"
    fi
    if lacks secrets/slack_webhook; then # Alertmanager's; the real one has to be asked of Slack
        printf 'http://127.0.0.1:9/no-webhook-yet' | place secrets/slack_webhook
    fi
}

in_image() { # run a program of the image on the deployment's folder, as whoever owns it
    docker run --rm --network none --user "$uid:0" --volume "$home:/deploy" --entrypoint "$1" "$image" "${@:2}"
}

make_keys() {
    local host
    if lacks worker-backup/signing.key; then
        in_image spoqplus-backup keys generate /deploy/worker-backup >/dev/null
        say "made the signing key $home/worker-backup/signing.key"
    fi
    for host in worker-recovery api-server; do
        if lacks "$host/signing.pub"; then place "$host/signing.pub" <"$home/worker-backup/signing.pub"; fi
    done
    if lacks worker-recovery/signing.key; then place worker-recovery/signing.key <"$home/worker-backup/signing.key"; fi
}

# What a worker on another host needs: Celery's two passwords, a signing key of its own, and the public ones of all.
make_host() {
    local name=$1 address=$2 file hosts=hosts/$1
    [[ $name =~ ^[a-z][a-z0-9-]*$ ]] || fail "'$name' is no name of a host and queue: small letters, digits, hyphens."
    [ ! -e "$home/$hosts" ] || fail "$home/$hosts is there already."
    mkdir -p "$home/$hosts"/{secrets,config,worker-backup}
    give "$home/hosts" "$home/$hosts" "$home/$hosts"/*
    for file in celery_broker_url celery_result_backend; do
        sed -E "s/@(redis|postgres):/@$address:/" "$home/secrets/$file" | place "$hosts/secrets/$file"
    done
    in_image spoqplus-backup keys generate "/deploy/$hosts/worker-backup" >/dev/null
    for file in worker-backup worker-recovery api-server "$hosts/worker-backup"; do
        place "$file/$name.pub" <"$home/$hosts/worker-backup/signing.pub"
    done
    place "$hosts/worker-backup/signing.pub" <"$home/worker-backup/signing.pub"
    echo '{}' | place "$hosts/worker-backup/connections.json"
    sed -e "s/^site: .*/site: $name/" -e "s/queue: backup$/queue: $name/" \
        -e "s|/backup/repository|&/$name|" -e "s|s3://spoqplus-backup|&-$name|" \
        -e "s|public_key_files: .*|public_key_files: [/run/spoqplus/signing.pub, /run/spoqplus/$name.pub]|" \
        include/compose/site.yaml | place "$hosts/config/$name.yaml"
    sed -e "s/^SPOQPLUS_QUEUE=.*/SPOQPLUS_QUEUE=$name/" "$env_file" | place "$hosts/env"
    say "$home/$hosts: bring it to that host as its ./deploy, and env as its .env. Fill in config/$name.yaml there and here" \
        "($home/config/), connections.json there. Then, there: docker compose -f include/compose/worker.yaml up -d"
}

make_site() {
    local host recipient
    for host in api-server worker-backup worker-recovery; do
        if lacks "$host/connections.json"; then echo '{}' | place "$host/connections.json"; fi
    done
    if compgen -G "$home/config/*.y*ml" >/dev/null; then return 0; fi
    if [ -z "$demo" ]; then
        place config/spoqplus.yaml <include/compose/site.yaml
        say "wrote $home/config/spoqplus.yaml: fill in encryption.recipients, and connections (docs/deployment.md)"
        return 0
    fi
    make_demo_credentials
    # as whoever restores would do on a machine of their own
    if lacks worker-recovery/identity.txt; then
        in_image age-keygen | place worker-recovery/identity.txt
    fi
    recipient=$(sed -n 's/^# public key: //p' "$home/worker-recovery/identity.txt")
    sed "s/AGE_RECIPIENT/$recipient/" include/compose/demo.yaml | place config/spoqplus.yaml
    say "wrote a site of the demonstration, $home/config/spoqplus.yaml"
}

make_demo_credentials() {
    local access secret backup restore root
    access=$(password | head -c 20) secret=$(password) backup=$(password) restore=$(password) root=$(password)
    printf '%s\n' "$root" | place secrets/mysql_root_password
    place secrets/s3.json <<JSON
{"identities": [{"name": "spoqplus", "credentials": [{"accessKey": "$access", "secretKey": "$secret"}],
  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
JSON
    local s3="\"spoqplus_aws\": {\"conn_type\": \"aws\", \"login\": \"$access\", \"password\": \"$secret\",
  \"extra_dejson\": {\"endpoint_url\": \"http://seaweedfs:8333\", \"region_name\": \"us-east-1\"}}"
    printf '{%s}\n' "$s3" | place api-server/connections.json
    printf '{"spoqplus_mysql": {"conn_type": "mysql", "host": "mysql", "login": "spoqplus_backup", "password": "%s"},\n%s}\n' \
        "$backup" "$s3" | place worker-backup/connections.json
    printf '{"spoqplus_mysql": {"conn_type": "mysql", "host": "mysql", "login": "spoqplus_restore", "password": "%s"},
"spoqplus_test_mysql": {"conn_type": "mysql", "host": "sandbox", "login": "spoqplus_restore", "password": "%s"},\n%s}\n' \
        "$restore" "$restore" "$s3" | place worker-recovery/connections.json
}

choose_profiles() { # of .env, and the demonstration's when it is asked for
    local profiles
    profiles=$(setting COMPOSE_PROFILES)
    if [ -n "$demo" ] && [[ ,$profiles, != *,demo,* ]]; then profiles=demo${profiles:+,$profiles}; fi
    export COMPOSE_PROFILES=$profiles
}

set_up() {
    check_docker
    write_env
    choose_profiles
    home=$(setting SPOQPLUS_HOME ./deploy) uid=$(setting AIRFLOW_UID)
    image=$(setting SPOQPLUS_IMAGE spoqplus-backup:3.3.2)
    mkdir -p "$home"/{secrets,config,api-server,worker-backup,worker-recovery}
    home=$(cd "$home" && pwd)
    give "$home" "$home"/*
    make_secrets
    if [ "${image/\//}" = "$image" ]; then # with a / it is one of a registry
        say "building the image $image (some minutes the first time)"
        compose build --quiet init
    fi
    make_keys
    make_site
}

case ${1:-} in
setup) set_up ;;
up)
    set_up
    compose up --detach --no-build --wait --wait-timeout "${SPOQPLUS_START_SECONDS:-900}"
    say "$(setting SPOQPLUS_URL http://localhost:8080): log in as admin; the password is in $home/secrets/admin_password"
    ;;
host)
    [ $# -eq 3 ] || fail "usage: scripts/stack.sh host NAME ADDRESS"
    set_up
    make_host "$2" "$3"
    ;;
down)
    check_docker
    [ -e "$env_file" ] || fail "there is no $env_file, so nothing that \`make up\` started."
    compose --profile '*' down
    ;;
*)
    echo "usage: scripts/stack.sh setup | up | down | host NAME ADDRESS" >&2
    exit 2
    ;;
esac
