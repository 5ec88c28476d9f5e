package main

import (
	"testing"

	"brood/ckpt"

	"github.com/stretchr/testify/assert"
)

func TestActionsAreDescribed(t *testing.T) {
	for want, a := range map[string]ckpt.ActionInfo{
		"one of 2 choices":                     {Type: ckpt.Discrete, N: 2},
		"3 choices at once: of 3, 2, 2":        {Type: ckpt.MultiDiscrete, N: 7, NVec: []int{3, 2, 2}},
		"1 number":                             {Type: ckpt.Continuous, N: 1},
		"6 numbers":                            {Type: ckpt.Continuous, N: 6},
		`"mixed", which is no type of actions`: {Type: "mixed"},
	} {
		assert.Equal(t, want, describeActions(a))
	}
}
