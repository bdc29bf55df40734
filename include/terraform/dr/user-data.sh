#!/bin/bash
# Runs once on each new application server: says where the database is, and lets the application fetch its login.
set -euo pipefail

secret=$(aws secretsmanager get-secret-value --region '${region}' --secret-id '${database_secret}' \
    --query SecretString --output text)

umask 077
{
    echo "database.default.hostname = ${database_endpoint}"
    echo "database.default.port = ${database_port}"
    echo "$secret" # database.default.username = ... and database.default.password = ...
} > /var/www/html/.env.dr
cat /var/www/html/.env.base /var/www/html/.env.dr > /var/www/html/.env
chown www-data:www-data /var/www/html/.env
rm /var/www/html/.env.dr
systemctl restart php-fpm nginx
