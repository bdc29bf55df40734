#!/usr/bin/env bash
# What a careful administrator would write today: one stream from the server to the bucket.
set -euo pipefail

mysqldump --defaults-file="$LOGIN" --single-transaction --routines --triggers --events --hex-blob --master-data=2 \
    --default-character-set=utf8mb4 --all-databases |
    zstd --quiet | age --recipient "$RECIPIENT" | rclone rcat "store:$BUCKET/daily/mysql.sql.zst.age"
