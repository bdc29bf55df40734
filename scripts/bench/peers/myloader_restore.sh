#!/usr/bin/env bash
# rclone from the bucket, age for each file, myloader on its four threads.
set -euo pipefail

rclone copy "store:$BUCKET/daily" "$STAGING/dump"
cd "$STAGING/dump"
# shellcheck disable=SC2016 # the inner shell expands it
find . -name '*.age' -print0 |
    xargs -0 -P 2 -I '{}' sh -c 'age --decrypt --identity "$IDENTITY" --output "${1%.age}" "$1" && rm "$1"' sh '{}'
myloader --defaults-file="$LOGIN" --directory "$STAGING/dump"
