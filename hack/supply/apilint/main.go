// Command apilint checks the types of the API against the conventions of Kubernetes:
//
//	apilint ./api/...
package main

import (
	"fmt"
	"os"

	"golang.org/x/tools/go/analysis/multichecker"
	"sigs.k8s.io/kube-api-linter/pkg/plugin/base"
	_ "sigs.k8s.io/kube-api-linter/pkg/registration" // all rules
)

// settings are kube-api-linter's. Each rule that is off says why.
var settings = map[string]any{
	"linters": map[string]any{
		"disable": []string{
			"commentstart",      // a comment says the contract; it need not begin with the name of the field
			"defaults",          // controller-gen reads kubebuilder:default; the other marker is for Kubernetes' own generators
			"nodurations",       // users write 90s or 720h, and the schema checks it
			"nonpointerstructs", // an absent struct and an empty one mean the same here
			"optionalfields",    // the same of strings and numbers: the schema fills in the defaults
			"requiredfields",    // the schema requires them; what our own code writes is checked by it
		},
		// Beyond those that are on by default.
		"enable": []string{"nophase", "notimestamp", "statussubresource"},
	},
	"lintersConfig": map[string]any{
		// Both are for Kubernetes' own types.
		"conditions": map[string]any{"isFirstField": "Ignore", "useProtobuf": "Ignore", "usePatchStrategy": "Ignore"},
	},
}

func main() {
	plugin, err := base.New(settings)
	if err == nil {
		analyzers, failed := plugin.BuildAnalyzers()
		if err = failed; err == nil {
			multichecker.Main(analyzers...) // exits
		}
	}
	fmt.Fprintln(os.Stderr, "apilint:", err)
	os.Exit(1)
}
