#!/usr/bin/env bash
# The strategy's own script, as far as uploads go: tar -czf, aws s3 cp; every day all of them.
set -euo pipefail

archive=$STAGING/files_$DAY.tar.gz
tar -czf "$archive" "$UPLOADS"
aws s3 cp "$archive" "s3://$BUCKET/daily/" --no-progress
rm "$archive"
