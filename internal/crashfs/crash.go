package crashfs

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// Choice says what of all that is not certain is on the disk after a crash.
type Choice struct {
	kind choiceKind
	seed uint64
}

type choiceKind int

const (
	nothing choiceKind = iota
	everything
	random
)

var (
	// Nothing: only what was synced.
	Nothing = Choice{kind: nothing}
	// Everything: all that was done, the half operation of the crash included.
	Everything = Choice{kind: everything}
)

// Random draws from everything that is possible.
func Random(seed uint64) Choice { return Choice{random, seed} }

func (c Choice) String() string {
	switch c.kind {
	case nothing:
		return "nothing that was not synced"
	case everything:
		return "everything"
	}
	return fmt.Sprintf("a random part, seed %d", c.seed)
}

// Crash stops the machine and returns the disk as a restart finds it. It can be called
// again, for another choice.
func (d *Disk) Crash(c Choice) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	r := restart{choice: c, rand: rand.New(rand.NewPCG(c.seed, 0)), files: map[*file]*file{}}
	after := New()
	after.root = r.folder(d.root)
	return after
}

// Kill ends the process and returns the disk as the next process finds it: nothing is
// lost, but what is not synced can still be lost in a later crash.
func (d *Disk) Kill() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	after := New()
	after.root = clone(d.root, map[node]node{})
	return after
}

// clone copies a folder and all that it ever led to.
func clone(f *folder, done map[node]node) *folder {
	copied := newFolder()
	done[f] = copied
	of := func(n node) node {
		switch n := n.(type) {
		case *folder:
			if done[n] == nil {
				clone(n, done)
			}
		case *file:
			if done[n] == nil {
				// The data of changes is never written to.
				done[n] = &file{slices.Clone(n.now), slices.Clone(n.durable), slices.Clone(n.pending)}
			}
		default:
			return nil
		}
		return done[n]
	}
	for name, n := range f.now {
		copied.now[name] = of(n)
	}
	for name, n := range f.durable {
		copied.durable[name] = of(n)
	}
	for _, c := range f.pending {
		copied.pending = append(copied.pending, nameChange{c.name, of(c.node)})
	}
	return copied
}

// restart makes the disk after a crash.
type restart struct {
	choice Choice
	rand   *rand.Rand
	// files are those that a name was found for. Two names of one file stay that; a
	// folder has one name, and becomes two folders where both are there.
	files map[*file]*file
}

func (r *restart) folder(f *folder) *folder {
	values := map[string][]node{}
	for name, n := range f.durable {
		values[name] = []node{n}
	}
	for _, c := range f.pending {
		if values[c.name] == nil {
			values[c.name] = []node{nil}
		}
		values[c.name] = append(values[c.name], c.node)
	}
	after := newFolder()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		list := values[name]
		var n node
		switch r.choice.kind {
		case nothing:
			n = list[0]
		case everything:
			n = list[len(list)-1]
		case random:
			n = list[r.rand.IntN(len(list))]
		}
		switch n := n.(type) {
		case *folder:
			after.now[name] = r.folder(n)
		case *file:
			if r.files[n] == nil {
				content := r.content(n)
				r.files[n] = &file{now: content, durable: slices.Clone(content)}
			}
			after.now[name] = r.files[n]
		}
	}
	after.durable = maps.Clone(after.now)
	return after
}

// content is what a file holds after the crash.
func (r *restart) content(f *file) []byte {
	content := slices.Clone(f.durable)
	kind := r.choice.kind
	if kind == random && r.rand.IntN(4) == 0 {
		kind = choiceKind(r.rand.IntN(2))
	}
	// In half of the cases changes reach the disk in order, up to a point.
	last := len(f.pending)
	if kind == random && r.rand.IntN(2) == 0 {
		last = r.rand.IntN(len(f.pending) + 1)
	}
	for i, c := range f.pending {
		switch {
		case kind == everything || kind == random && i < last && last < len(f.pending):
			content = c.apply(content)
		case kind == random && (i == last || last == len(f.pending)):
			content = r.part(c, content)
		}
	}
	return content
}

// sector is what a disk writes whole or not at all.
const sector = 512

// part applies part of a change, or nothing of it, or all.
func (r *restart) part(c change, content []byte) []byte {
	which := r.rand.IntN(5)
	switch {
	case which == 0:
		return content
	case which == 1 || c.truncate || len(c.data) == 0:
		return c.apply(content)
	case which == 2: // torn at a byte
		c.data = c.data[:r.rand.IntN(len(c.data))]
		return c.apply(content)
	}
	// The size, and some of the sectors; with which == 3 none.
	end := c.offset + int64(len(c.data))
	if int64(len(content)) < end {
		content = append(content, make([]byte, end-int64(len(content)))...)
	}
	for at := c.offset; at < end && which == 4; {
		next := min((at/sector+1)*sector, end)
		if r.rand.IntN(2) == 0 {
			copy(content[at:next], c.data[at-c.offset:next-c.offset])
		}
		at = next
	}
	return content
}
