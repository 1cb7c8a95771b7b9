// Package repo tests the repository itself: that what is written down in two places says the same in both, and that the
// code keeps to the sizes it set itself. It needs no server and no network.
package repo
