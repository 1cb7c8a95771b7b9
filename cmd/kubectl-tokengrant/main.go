// Command kubectl-tokengrant is the kubectl plugin of TokenGrant: kubectl tokengrant status, inspect, renew, doctor,
// render, login, version. It works with the rights of whoever runs it and prints no token and no secret.
//
// Exit codes: 0 all is well, 1 something is broken or could not be done, 2 the command line is wrong.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubeconfigs with exec and cloud credentials
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := newApp().run(ctx, os.Args[1:])
	cancel()
	os.Exit(code)
}
