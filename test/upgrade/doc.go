// Package upgrade lets the operator of this checkout go on with what an older one has written, and an older one with what
// this one has written: nothing is minted because of that, and nothing is rewritten.
//
// testdata has what versions have written, see `make upgrade-record`. An older version that writes now, and goes on after
// this one, is built from the repository's history, where that is there.
package upgrade
