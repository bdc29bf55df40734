#!/usr/bin/env bash
# mydumper on two threads, compressed by itself; age for each file; rclone to the bucket.
set -euo pipefail

mydumper --defaults-file="$LOGIN" --threads 2 --compress --triggers --events --routines \
    --regex '^(?!(mysql\.|sys\.))' --outputdir "$STAGING/dump"
cd "$STAGING/dump"
# shellcheck disable=SC2016 # the inner shell expands it
find . -type f -print0 |
    xargs -0 -P 2 -I '{}' sh -c 'age --recipient "$RECIPIENT" --output "$1.age" "$1" && rm "$1"' sh '{}'
rclone copy . "store:$BUCKET/daily"
