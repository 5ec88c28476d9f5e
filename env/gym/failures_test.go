package gym_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/env/gym"
)

// A configuration that cannot be run says which key is to blame, and what would do.
func TestRefusals(t *testing.T) {
	t.Parallel()
	real := options(t, gym.Prefix+"CartPole-v1", nil).Python
	fake := func(module string) string {
		path := filepath.Join(t.TempDir(), "python")
		// A Python in which importing the module fails.
		script := fmt.Sprintf("#!/bin/sh\n{ echo 'import sys; sys.modules[%q] = None'; cat; } | exec %s -u - \"$3\"\n", module, real)
		require.NoError(t, os.WriteFile(path, []byte(script), 0o755))
		return path
	}
	for name, c := range map[string]struct {
		change func(o *gym.Options)
		option string
		want   []string
	}{
		"no such environment": {func(o *gym.Options) { o.ID = "gymnasium:CartPol-v1" }, "id", []string{"CartPol", "CartPole-v1"}},
		"version":             {func(o *gym.Options) { o.ID = "gymnasium:CartPole-v7" }, "id", []string{"v7", "CartPole-v1"}},
		"no module":           {func(o *gym.Options) { o.ID = "gymnasium:no_such_module:X-v0" }, "id", []string{"no_such_module"}},
		"keyword":             {func(o *gym.Options) { o.Kwargs = map[string]any{"grav": 1} }, "kwargs", []string{"grav"}},
		"not JSON":            {func(o *gym.Options) { o.Kwargs = map[string]any{"f": func() {}} }, "kwargs", []string{"JSON"}},
		"wrapper's form":      {func(o *gym.Options) { o.Wrappers = []string{"gymnasium.wrappers"} }, "wrappers", []string{"package.module:Wrapper"}},
		"wrapper's module":    {func(o *gym.Options) { o.Wrappers = []string{"no_such_module:W"} }, "wrappers", []string{"no_such_module"}},
		"wrapper's name":      {func(o *gym.Options) { o.Wrappers = []string{"gymnasium.wrappers:NoSuch"} }, "wrappers", []string{"NoSuch"}},
		"wrapper's kind":      {func(o *gym.Options) { o.Wrappers = []string{"gymnasium:__name__"} }, "wrappers", []string{"str"}},
		"no Python":           {func(o *gym.Options) { o.Python = "/no/such/python" }, "python", []string{"/no/such/python", gym.PythonVariable}},
		"not Python":          {func(o *gym.Options) { o.Python = "/bin/false" }, "python", []string{"/bin/false", "exit status 1"}},
		"no Gymnasium":        {func(o *gym.Options) { o.Python = fake("gymnasium") }, "python", []string{"has no gymnasium", "-m pip install gymnasium"}},
		"no NumPy":            {func(o *gym.Options) { o.Python = fake("numpy") }, "python", []string{"has no numpy", "-m pip install"}},
		"text": {func(o *gym.Options) { o.ID, o.Kwargs = shapes, map[string]any{"observations": "text"} }, "id",
			[]string{"['words']", "Text", "MultiBinary"}},
		"sequence": {func(o *gym.Options) { o.ID, o.Kwargs = shapes, map[string]any{"observations": "sequence"} }, "id", []string{"Sequence"}},
		"actions":  {func(o *gym.Options) { o.ID, o.Kwargs = shapes, map[string]any{"actions": "dict"} }, "id", []string{"Dict", "Discrete, MultiDiscrete, MultiBinary and Box"}},
		"interval": {func(o *gym.Options) { o.ID, o.Kwargs = shapes, map[string]any{"actions": "empty interval"} }, "id", []string{"Low[0] is 1"}},
		"its step": {func(o *gym.Options) { o.ID, o.Kwargs = trouble, map[string]any{"what": "raise", "at": 1} }, "id",
			[]string{"the step is broken", "Traceback"}},
		"its end": {func(o *gym.Options) { o.ID, o.Kwargs = trouble, map[string]any{"what": "exit", "at": 1} }, "python", []string{"exit status 7"}},
		"its silence": {func(o *gym.Options) {
			o.ID, o.Kwargs, o.Timeout = trouble, map[string]any{"what": "hang", "at": 1}, 4*time.Second
		}, "python", []string{"env.timeout"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t, gym.Prefix+"CartPole-v1", nil)
			c.change(&o)
			_, err := gym.New(o)
			var option *gym.OptionError
			require.ErrorAs(t, err, &option)
			require.Equal(t, c.option, option.Option, "%v", err)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

// once is a session of environments one of which gets into trouble once, at its second
// step.
func once(t *testing.T, what string, o gym.Options, n int) (env.Session, *[]string) {
	t.Helper()
	o.Kwargs = map[string]any{"what": what, "at": 2, "once": filepath.Join(t.TempDir(), "done")}
	// Python is asked about one that gets into no trouble.
	calm := o
	calm.Kwargs = nil
	e, err := gym.New(calm)
	require.NoError(t, err)
	var warnings []string
	s, err := gym.Known(o, e.Spec()).Open([]int{n}, func(w string) { warnings = append(warnings, w) })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	reset(t, s, 0, n)
	return s, &warnings
}

// One environment's failure cuts off its own episode, at the last observation that is
// sound, and no other's.
func TestAnEnvironmentThatFailsBeginsAnew(t *testing.T) {
	t.Parallel()
	for what, said := range map[string]string{
		"raise": "ValueError: the step is broken", "nan": "observation 1 is NaN", "nan reward": "the reward is NaN"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			o := options(t, trouble, nil)
			o.Workers = 1
			s, warnings := once(t, what, o, 3)
			l := s.Lanes()
			draw := l.Obs[1]
			step(t, s, 0)
			require.Empty(t, *warnings)
			step(t, s, 1) // environment 0 is the first to come to its second step
			require.Len(t, *warnings, 1)
			require.Contains(t, (*warnings)[0], said)
			require.Contains(t, (*warnings)[0], "environment 0")
			require.Equal(t, []uint8{env.LaneTruncated | env.LaneFailed, 0, 0}, l.Outcome)
			require.Equal(t, []float32{1, draw}, l.Final[:2])
			require.Equal(t, []float32{0, 1, 1}, l.Reward)
			require.Equal(t, []float32{0, 2, 2}, []float32{l.Obs[0], l.Obs[2], l.Obs[4]})
			require.NotEqual(t, draw, l.Obs[1], "the new episode has the seed of the old one")
			for range 3 {
				step(t, s, 0)
			}
			require.Equal(t, []uint8{0, env.LaneTruncated, env.LaneTruncated}, l.Outcome)
			require.Len(t, *warnings, 1)
		})
	}
}

// A reset that fails once is done again.
func TestAResetThatFailsIsDoneAgain(t *testing.T) {
	t.Parallel()
	o := options(t, trouble, map[string]any{})
	e, err := gym.New(o)
	require.NoError(t, err)
	o.Kwargs = map[string]any{"what": "reset", "at": 0, "once": filepath.Join(t.TempDir(), "done")}
	var warnings []string
	s, err := gym.Known(o, e.Spec()).Open([]int{3}, func(w string) { warnings = append(warnings, w) })
	require.NoError(t, err)
	defer s.Close()
	reset(t, s, 0, 3)
	require.Len(t, warnings, 1)
	require.Contains(t, warnings[0], "no reset today")
	step(t, s, 0)
	require.Equal(t, []uint8{0, 0, 0}, s.Lanes().Outcome)
	require.Equal(t, []float32{1, 1, 1}, s.Lanes().Reward)
}

// A worker that dies is started anew; what was under way in its environments is cut
// off, and the other worker's goes on.
func TestAWorkerThatDiesIsStartedAnew(t *testing.T) {
	t.Parallel()
	for what, said := range map[string]string{"exit": "exit status 7", "kill": "signal: killed", "hang": "did not answer within"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			o := options(t, trouble, nil)
			if what == "hang" {
				o.Timeout = 10 * time.Second
			}
			s, warnings := once(t, what, o, 6)
			l := s.Lanes()
			step(t, s, 0)
			step(t, s, 1)
			require.Len(t, *warnings, 1)
			require.Contains(t, (*warnings)[0], said)
			cut := 0
			for i, outcome := range l.Outcome {
				if outcome == 0 {
					require.Equal(t, float32(2), l.Obs[2*i])
					continue
				}
				cut++
				require.Equal(t, uint8(env.LaneTruncated|env.LaneFailed), outcome)
				require.Equal(t, float32(0), l.Obs[2*i])
				// One that took the step before is cut off after it, the others before.
				require.Equal(t, 1+l.Reward[i], l.Final[2*i])
			}
			// Both workers race to be the first at their second step.
			require.Contains(t, []int{3, 6}, cut)
			for range 3 {
				step(t, s, 0)
			}
			for i, outcome := range l.Outcome {
				require.Contains(t, []uint8{0, env.LaneTruncated}, outcome, "environment %d", i)
			}
			require.Len(t, *warnings, 1)
		})
	}
}

// Failures of one region while another one is under way in the same worker mix nothing
// up: every environment goes on from its own step, or begins anew.
func TestFailuresWhileAnotherRegionIsUnderWay(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"raise", "nan", "exit"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			o := options(t, trouble, nil)
			o.Workers = 1
			e, err := gym.New(o)
			require.NoError(t, err)
			o.Kwargs = map[string]any{"what": what, "at": 3, "once": filepath.Join(t.TempDir(), "done")}
			var warnings []string
			s, err := gym.Known(o, e.Spec()).Open([]int{2, 3, 4}, func(w string) { warnings = append(warnings, w) })
			require.NoError(t, err)
			defer s.Close()
			l, regions := s.Lanes(), [][2]int{{0, 2}, {2, 5}}
			begin := func(region int, command env.Command) {
				for i := regions[region][0]; i < regions[region][1]; i++ {
					l.Command[i], l.Seed[i] = command, uint32(i)
				}
				require.NoError(t, s.Begin(region))
			}
			begin(0, env.LaneReset)
			begin(1, env.LaneReset)
			count := make([]float32, 5)
			for turn := range 14 {
				region := turn % 2
				require.NoError(t, s.Wait(region))
				for i := regions[region][0]; i < regions[region][1]; i++ {
					switch {
					case turn < 2 || l.Outcome[i] != 0:
						count[i] = 0
					default:
						count[i]++
					}
					require.Equal(t, count[i], l.Obs[2*i], "environment %d in turn %d", i, turn)
				}
				begin(region, env.LaneStep)
			}
			require.NoError(t, s.Wait(0))
			require.NoError(t, s.Wait(1))
			require.Len(t, warnings, 1)
		})
	}
}

// What always fails ends the session, with Python's traceback.
func TestAnEnvironmentThatAlwaysFailsIsAnError(t *testing.T) {
	t.Parallel()
	for what, said := range map[string]string{"raise": "the step is broken", "exit": "exit status 7", "nan": "observation 1 is NaN"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			o := options(t, trouble, nil)
			e, err := gym.New(o)
			require.NoError(t, err)
			o.Kwargs = map[string]any{"what": what, "at": 2}
			warnings := 0
			s, err := gym.Known(o, e.Spec()).Open([]int{1}, func(string) { warnings++ })
			require.NoError(t, err)
			defer s.Close()
			reset(t, s, 0, 1)
			for range 20 {
				s.Lanes().Command[0] = env.LaneStep
				require.NoError(t, s.Begin(0))
				if err = s.Wait(0); err != nil {
					break
				}
			}
			require.ErrorContains(t, err, said)
			require.ErrorContains(t, err, "environment 0 failed 3 times")
			require.Equal(t, 2, warnings)
			if what == "raise" {
				require.ErrorContains(t, err, "brood_test_envs.py")
			}
		})
	}
}

// A known spec that is not the environment's is found out.
func TestAnEnvironmentThatIsNotWhatWasKnown(t *testing.T) {
	t.Parallel()
	o := options(t, gym.Prefix+"CartPole-v1", nil)
	s, err := gym.Known(o, env.Spec{ObsDim: 3, Action: env.ActionSpace{Discrete: true, N: 2}}).Open([]int{1}, nil)
	require.NoError(t, err)
	defer s.Close()
	s.Lanes().Command[0] = env.LaneReset
	require.NoError(t, s.Begin(0))
	require.ErrorContains(t, s.Wait(0), "has 4 observations and 2 choices here, and had 3 observations and 2 choices")
}

func TestClosedSession(t *testing.T) {
	t.Parallel()
	s, _ := open(t, options(t, trouble, nil), 2, nil)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.ErrorContains(t, s.Begin(0), "closed")
}

const orphanArgument = "run-an-orphan"

// orphan is a program whose workers hang in a step, so that they do not notice that
// their requests have ended; it prints their ids, and waits to be killed.
func orphan() {
	e := gym.Known(gym.Options{ID: trouble, Kwargs: map[string]any{"what": "hang", "at": 1}, Python: os.Args[2], Workers: 2},
		env.Spec{ObsDim: 2, Action: env.ActionSpace{Discrete: true, N: 2}})
	s, err := e.Open([]int{2}, nil)
	for _, command := range []env.Command{env.LaneReset, env.LaneStep} {
		if err == nil {
			s.Lanes().Command[0], s.Lanes().Command[1] = command, command
			err = s.Begin(0)
		}
		if err == nil && command == env.LaneReset {
			err = s.Wait(0)
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	for _, thread := range threads() {
		more, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%s/children", thread))
		children = append(children, more...)
	}
	fmt.Println(strings.Join(strings.Fields(string(children)), " "), err == nil)
	select {}
}

func threads() (list []string) {
	entries, _ := os.ReadDir("/proc/self/task")
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// No Python outlives a brood that is killed.
func TestNoOrphans(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/task"); err != nil {
		t.Skip("children are found in /proc, which this system does not have")
	}
	python := options(t, gym.Prefix+"CartPole-v1", nil).Python
	cmd := exec.Command(os.Args[0], orphanArgument, python)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, line)
	seen := map[int]bool{}
	for _, word := range strings.Fields(line) {
		if pid, err := strconv.Atoi(word); err == nil {
			require.NoError(t, syscall.Kill(pid, 0))
			seen[pid] = true
		}
	}
	require.Len(t, seen, 2, line)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	for pid := range seen {
		require.Eventually(t, func() bool { return !running(pid) }, 20*time.Second, 10*time.Millisecond, "process %d is left", pid)
	}
}

// running says whether a process is there and no zombie that nobody has waited for.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}
