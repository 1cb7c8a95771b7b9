// Package recipes holds docs/recipes to its word: the manifests of each page are decoded strictly, its templates are
// rendered with a token that the stand-in for Nextcloud accepts, and the program that its pod runs is run with them.
//
// Rclone and Envoy come from the cache (make consumers); curl and python3 must be on the PATH.
package recipes
