#!/usr/bin/env bash
# restic as it comes, with a repository that is there already; its cache stays for the next day.
set -euo pipefail

export RESTIC_PASSWORD=$BACKUP_PASSWORD RESTIC_CACHE_DIR=$STAGING/cache
restic --repo "s3:$AWS_ENDPOINT_URL/$BUCKET" backup --quiet "$UPLOADS"
