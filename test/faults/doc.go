// Package faults breaks one thing after the other while the operator works on a real API server, and measures what that
// costs: a sampler reads every Secret twice a second, and the scripted issuers keep a ledger of every token they sign. The
// table it prints is that of docs/faults.md. Between the operator and what it talks to stands Toxiproxy, which does to
// connections what networks do.
//
// Tests that share the cluster with nobody, or one operator for all, run one after the other; those whose operator works in
// one namespace only run together at the end.
package faults
