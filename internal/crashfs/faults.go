package crashfs

import (
	"errors"
	"math"
	"slices"
	"strings"
)

// ErrStopped is what every operation returns once the machine has stopped.
var ErrStopped = errors.New("the machine has stopped")

// Forever is a [Plan.For] that does not end.
const Forever = math.MaxInt

// Plan says what goes wrong. The zero value: nothing.
type Plan struct {
	// At is the number of the first operation that does not work, from 1. Operations
	// are those that change something or make it durable; with Reads only those that
	// read are counted, and fail.
	At    int
	Reads bool
	// Stop stops the machine in the middle of that operation.
	Stop bool
	// Err is what that operation and the next ones, For in all (0: 1), fail with.
	Err error
	For int
}

// faults counts operations and carries out a plan.
type faults struct {
	plan       Plan
	operations int
	reads      int
	failed     []string
	log        []string
	stopped    bool
	// current is the error of the operation that is hit at this moment.
	current error
}

// Break carries out a plan from now on, counting anew.
func (d *Disk) Break(p Plan) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = faults{plan: p, stopped: d.stopped}
}

// Operations is how many there were since [Disk.Break], those that failed included.
func (d *Disk) Operations() (changing, reading int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.operations, d.reads
}

// Stopped says whether the machine has stopped.
func (d *Disk) Stopped() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopped
}

// Failed lists the operations that failed, and Log all that changed something or
// made it durable, each with the paths it was about.
func (d *Disk) Failed() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.failed)
}

// Log: see Failed.
func (d *Disk) Log() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.log)
}

// operation counts one that changes something or makes it durable.
func (f *faults) operation(op string, paths ...string) error {
	f.operations++
	text := op + " " + strings.Join(paths, " ")
	f.log = append(f.log, text)
	return f.judge(!f.plan.Reads, f.operations, op, paths[0], text)
}

// reading counts one that reads.
func (f *faults) reading(op, path string) error {
	f.reads++
	return f.judge(f.plan.Reads, f.reads, op, path, op+" "+path)
}

func (f *faults) judge(counts bool, n int, op, path, text string) error {
	f.current = nil
	if f.stopped {
		return pathError(op, path, ErrStopped)
	}
	if !counts || f.plan.At == 0 || n < f.plan.At || n-f.plan.At >= max(f.plan.For, 1) {
		return nil
	}
	err := f.plan.Err
	if f.plan.Stop {
		f.stopped, err = true, ErrStopped
	}
	f.failed = append(f.failed, text)
	f.current = pathError(op, path, err)
	return f.current
}

// hit says whether an error is of the operation that is under way: half of it is done.
func (f *faults) hit(err error) bool { return err == f.current }

// reaches says whether half of an operation reaches the disk because the machine stops
// in it. One that merely fails has done nothing, but for those that say otherwise.
func (f *faults) reaches(err error) bool { return f.hit(err) && f.stopped }
