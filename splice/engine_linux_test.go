package splice_test

import (
	"testing"

	"github.com/limeload/limeload/splice"
	"github.com/limeload/limeload/splice/splicetest"
)

// TestSplice runs the conformance suite over the Linux reactor.
func TestSplice(t *testing.T) { splicetest.Run(t, newEngine(splice.TypeSplice)) }
