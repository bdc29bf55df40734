#!/usr/bin/env bash
# The strategy's own script, as far as the database goes: dump, gzip -9, openssl, aws s3 cp.
set -euo pipefail

dump=$STAGING/mysql.sql.gz
mysqldump --defaults-file="$LOGIN" --single-transaction --routines --triggers --events --all-databases |
    gzip -9 >"$dump"
openssl enc -aes-256-cbc -salt -in "$dump" -out "$dump.enc" -k "$BACKUP_PASSWORD"
aws s3 cp "$dump.enc" "s3://$BUCKET/daily/" --no-progress
