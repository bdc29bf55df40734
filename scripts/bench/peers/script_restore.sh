#!/usr/bin/env bash
# The strategy's own script: aws s3 cp, openssl, gunzip into mysql.
set -euo pipefail

dump=$STAGING/mysql.sql.gz
aws s3 cp "s3://$BUCKET/daily/mysql.sql.gz.enc" "$STAGING/" --no-progress
openssl enc -d -aes-256-cbc -in "$dump.enc" -out "$dump" -k "$BACKUP_PASSWORD"
gunzip <"$dump" | mysql --defaults-file="$LOGIN"
