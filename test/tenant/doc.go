// Package tenant attacks the running operator as somebody who is admin of one namespace and nothing else: who may write
// TokenGrants, TokenIssuers, Secrets and ServiceAccounts there. Each attempt of the table says what it got. The operator is
// the program with the permissions and policies that config/ installs, the API server is real; issuers and the Nextcloud
// are stand-ins, the tenant's own among them. `make audit-tenant` runs it and prints the table.
package tenant
