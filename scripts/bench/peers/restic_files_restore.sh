#!/usr/bin/env bash
# restic as it comes, with the cache of the machine that made the backup.
set -euo pipefail

export RESTIC_PASSWORD=$BACKUP_PASSWORD RESTIC_CACHE_DIR=$STAGING/cache
restic --repo "s3:$AWS_ENDPOINT_URL/$BUCKET" restore latest --quiet --target "$RESTORED"
