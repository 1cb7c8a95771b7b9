// Package realm holds the realms that the demo and the tests run against: exports that Keycloak 26.4.2 and 26.7.3
// import at their start (--import-realm). README.md says what is in them and what of it a production realm needs.
package realm

import _ "embed"

// Name is the name of the realm: its issuer URL is <Keycloak>/realms/tokengrant.
const Name = "tokengrant"

// File is the name under which Keycloak expects the export in its data/import folder.
const File = Name + "-realm.json"

// NameB is the name of a second realm, whose client jwt-bearer takes tokens of the first.
const NameB = "tokengrant-b"

// Export is the realm export. Its secrets are made for demos: the secret of each client that has one is its ID and
// "-secret", the password of each user the name and "-password".
//
//go:embed tokengrant-realm.json
var Export []byte

// ExportB is the export of the second realm.
//
//go:embed tokengrant-b-realm.json
var ExportB []byte
