#!/usr/bin/env bash
# Run once by the PostgreSQL image: creates the service's role with its password before `customerd migrate` needs the role.
set -euo pipefail
psql --set ON_ERROR_STOP=1 --set "password=$CUSTOMERD_SERVICE_PASSWORD" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    <<<"CREATE ROLE customerd_service LOGIN PASSWORD :'password'"
