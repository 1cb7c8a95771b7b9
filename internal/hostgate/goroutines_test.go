package hostgate

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails when a goroutine is left running after all tests.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
