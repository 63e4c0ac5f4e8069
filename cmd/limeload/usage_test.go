package main

import (
	"testing"

	"github.com/limeload/limeload/pkg/usage/usagetest"
)

func TestFlagsSayWhatIsWrong(t *testing.T) { usagetest.Flags(t, newRoot, 20) }
