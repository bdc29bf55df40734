#!/usr/bin/env bash
# The strategy's own script: aws s3 cp, tar -xzf.
set -euo pipefail

archive=$STAGING/files_$DAY.tar.gz
aws s3 cp "s3://$BUCKET/daily/files_$DAY.tar.gz" "$STAGING/" --no-progress
tar -xzf "$archive" -C "$RESTORED"
rm "$archive"
