#!/bin/sh
# Lets Nextcloud accept Keycloak's tokens. The image runs it once, as www-data, when Nextcloud is installed.
# docs/nextcloud.md says what each setting is for.
set -eu
cd /var/www/html

# Keycloak is on loopback here, where Nextcloud sends no requests by itself.
php occ config:system:set allow_local_remote_servers --type=boolean --value=true
php occ app:install user_oidc
php occ user_oidc:provider keycloak \
	--clientid=nextcloud --clientsecret=nextcloud-secret \
	--discoveryuri=http://localhost:8080/realms/tokengrant/.well-known/openid-configuration \
	--check-bearer=1 --bearer-provisioning=0 \
	--unique-uid=0 --mapping-uid=preferred_username
