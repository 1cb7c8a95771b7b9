// Package apiserver tests the API itself on a real API server: what several writers make of one object, what applying a
// manifest again changes, and how objects outlive a change of their CRD.
package apiserver
