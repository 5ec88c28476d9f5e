package gym

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"
)

//go:embed bridge.py
var bridge string

// The kinds of replies of the bridge.
const (
	replyDone    = 'k'
	replyFailed  = 'f' // a list of failure
	replyRefused = 'r' // a refusal
)

// process is one Python that runs the bridge.
type process struct {
	cmd      *exec.Cmd
	requests *os.File // a byte per request: the region
	replies  *os.File
	head     [6]byte       // of the reply that is being read
	output   *tail         // the end of what it printed
	exited   chan struct{} // closed when it has ended; err is set then
	err      error
}

// startProcess starts the bridge with the file of the shared memory, if any.
func startProcess(python, config string, memory *os.File) (*process, error) {
	requestsOut, requestsIn, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("a pipe to Python: %w", err)
	}
	repliesOut, repliesIn, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a pipe from Python: %w", err), requestsOut.Close(), requestsIn.Close())
	}
	p := &process{requests: requestsIn, replies: repliesOut, output: &tail{}, exited: make(chan struct{})}
	// The program comes by standard input, so that its argument shows in a list of
	// processes what it is, and modules in the working directory can be imported.
	p.cmd = exec.Command(python, "-u", "-", config)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = strings.NewReader(bridge), p.output, p.output
	if memory == nil {
		memory = requestsOut // a file that is open, in the place of one that is not used
	}
	p.cmd.ExtraFiles = []*os.File{memory, requestsOut, repliesIn}
	p.cmd.Env = environment(os.Environ())
	// A process that an environment left behind may keep the output open.
	p.cmd.WaitDelay = time.Second
	prepareCommand(p.cmd)
	err = spawn(p.cmd)
	err = errors.Join(err, requestsOut.Close(), repliesIn.Close())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s cannot be started: %w", python, err), requestsIn.Close(), repliesOut.Close())
	}
	go func() {
		p.err = p.cmd.Wait()
		killGroup(p.cmd) // what it left behind would hold its pipes open
		close(p.exited)
	}()
	return p, nil
}

// environment adds to the variables of a worker: it is one of several, so that its
// libraries should not start threads for all cores each, and the order of its sets
// must not differ from one worker to another.
func environment(variables []string) []string {
	for _, v := range []string{"OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "MKL_NUM_THREADS=1", "PYTHONHASHSEED=0"} {
		name, _, _ := strings.Cut(v, "=")
		if _, set := os.LookupEnv(name); !set {
			variables = append(variables, v)
		}
	}
	return variables
}

// spawner starts processes on an OS thread that lives as long as this process: on
// Linux a child is killed when the thread that started it ends.
var spawner = sync.OnceValue(func() chan func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

func spawn(cmd *exec.Cmd) error {
	started := make(chan error)
	spawner() <- func() { started <- cmd.Start() }
	return <-started
}

// request sends a region. That a process is dead shows when its reply is read.
func (p *process) request(region int) { p.requests.Write([]byte{byte(region)}) }

// maxReply bounds a reply: a traceback for each of many environments.
const maxReply = 64 << 20

// reply is one of a process.
type reply struct {
	kind   byte
	region int
	body   []byte // JSON, or nothing
}

// reply waits for the next reply, at most for the timeout.
func (p *process) reply(timeout time.Duration) (r reply, err error) {
	if err := p.replies.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return r, err
	}
	if _, err := io.ReadFull(p.replies, p.head[:]); err != nil {
		return r, err
	}
	r.kind, r.region = p.head[0], int(p.head[1])
	n := binary.LittleEndian.Uint32(p.head[2:])
	if n > maxReply {
		return r, fmt.Errorf("a reply of %d bytes; at most %d are expected", n, maxReply)
	}
	if n > 0 {
		r.body = make([]byte, n)
		_, err = io.ReadFull(p.replies, r.body)
	}
	return r, err
}

// kill ends the process and all that it started, and waits until it has ended.
func (p *process) kill() {
	select {
	case <-p.exited: // its number may be another's by now
	default:
		killGroup(p.cmd)
		<-p.exited
	}
	p.requests.Close()
	p.replies.Close()
}

// stop lets the process close its environments, and kills it if that takes longer.
func (p *process) stop(patience time.Duration) {
	p.requests.Close()
	select {
	case <-p.exited:
	case <-time.After(patience):
	}
	p.kill()
}

// epitaph says how a process that does not answer ended; err is what reading its reply
// gave. It waits for the end of one whose replies have ended.
func (p *process) epitaph(err error) string {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err.Error()
	}
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		return "it closed its replies and goes on"
	}
	how := "exit status 0"
	if p.err != nil {
		how = p.err.Error()
	}
	if said := p.output.String(); said != "" {
		how += "\n" + said
	}
	return how
}

// tail is the end of what was written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// tailBytes is a traceback and some lines of an environment's own.
const tailBytes = 8 << 10

// Write keeps the last of p.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if more := len(t.text) - tailBytes; more > 0 {
		t.text = append(t.text[:0], t.text[more:]...)
	}
	return len(p), nil
}

// String is what was kept, without space at its ends.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
