// Package stack starts the real servers TokenGrant is developed and tested
// against, as plain processes of this machine: etcd, kube-apiserver and
// kube-controller-manager, Keycloak, Nextcloud (or its stand-in), and the
// operator. No container engine is needed.
//
// The binaries come from pinned sources: Kubernetes and etcd are built from Go
// modules (hack/kubernetes, verified by its go.sum), Keycloak comes through
// Maven (verified by keycloak.sha256). Both are kept in CacheDir, so only the
// first use is slow.
//
// StartCluster adds a node that runs pods, on Linux and as root.
//
// Every service listens on 127.0.0.1 only, or inside a Node, on a free port, and
// writes its logs and data into one directory. Nothing outlives the program that started it,
// unless the service was started detached: then Down ends it.
package stack
