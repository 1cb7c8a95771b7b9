// Package controllers keeps TokenGrants: it is the only code with a Kubernetes client.
//
// The life of a reconcile of a TokenGrant:
//
//  1. gather reads everything: the grant, its issuer, its credential, its Secret. What is missing is a failure with
//     a Reason, not an error: only a change of an object can help, and a watch wakes us.
//  2. plan.Decide, pure, says whether to mint, to check, or to wait, and until when.
//  3. source mints the token at the issuer and verifies it; nothing unverified goes further.
//  4. check asks Nextcloud who the token is, where the grant says so and it is due.
//  5. publish writes the Secret, at once and whole, or repairs it.
//  6. outcome, pure, turns what happened into the status: one patch, and one event where something changed.
//
// The Secret is the truth: it carries the record of the token that it holds. Status is a projection of it and can be
// lost; memory only saves requests and can be lost as well. So a restart mints nothing.
package controllers
