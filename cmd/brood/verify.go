package main

import (
	"fmt"
	"io"

	"brood/ckpt"
	"brood/train"
)

// verified is an element of what `inspect --verify --json` prints.
type verified struct {
	Path     string   `json:"path"`
	Sound    bool     `json:"sound"`
	SetAside bool     `json:"set_aside"`
	Members  int      `json:"members,omitempty"`
	Problems []string `json:"problems"`
}

// runVerify prints the state of everything that a path means; the error says how
// much of it is damaged.
func runVerify(out io.Writer, path string, asJSON bool) error {
	verdicts, err := train.Verify(path)
	if err != nil {
		return err
	}
	list := make([]verified, len(verdicts))
	damaged := 0
	for i := range verdicts {
		v := &verdicts[i]
		list[i] = verified{Path: v.Path, Sound: v.Sound(), SetAside: v.SetAside, Members: v.Members, Problems: []string{}}
		for _, problem := range v.Problems {
			list[i].Problems = append(list[i].Problems, v.Problem(problem))
		}
		if !v.Sound() {
			damaged++
		}
	}
	if asJSON {
		err = printJSON(out, list)
	} else {
		printVerified(out, list)
	}
	if err == nil && damaged > 0 {
		err = fmt.Errorf("%w: %d of %d are not sound", ckpt.ErrDamaged, damaged, len(list))
	}
	return err
}

func printVerified(out io.Writer, list []verified) {
	for _, v := range list {
		state := "sound"
		switch {
		case v.SetAside:
			state = "set aside"
		case !v.Sound:
			state = "damaged"
		}
		members := ""
		if v.Members > 0 {
			members = "  " + plural(int64(v.Members), "member")
		}
		fmt.Fprintf(out, "%-10s %s%s\n", state, v.Path, members)
		for _, problem := range v.Problems {
			fmt.Fprintf(out, "%-10s   %s\n", "", problem)
		}
	}
}
