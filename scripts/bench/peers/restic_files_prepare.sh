#!/usr/bin/env bash
# Makes the repository, which happens once in its life and is not measured.
set -euo pipefail

export RESTIC_PASSWORD=$BACKUP_PASSWORD RESTIC_CACHE_DIR=$STAGING/cache
restic --repo "s3:$AWS_ENDPOINT_URL/$BUCKET" init --quiet
