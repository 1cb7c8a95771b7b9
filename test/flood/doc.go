// Package flood lets one tenant apply ten thousand grants beside another one, on an API server that is thrown away
// afterwards.
package flood
