package bench

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"brood/env"
	"brood/env/gym"
)

//go:embed vectorenvs.py
var vectorEnvironments string

// gymnasiumVariable names a Python with the environment's packages.
const gymnasiumVariable = "BROOD_GYMNASIUM_ENVS"

// BenchmarkGymnasium steps the same environments of Gymnasium with random actions
// through brood's bridge and through Gymnasium's own vector environments, in turns of a
// few seconds on the same machine, and reports steps per second and how many times
// Gymnasium's figure the bridge's is. BROOD_PYTHON names the interpreter,
// BROOD_GYMNASIUM_ENVS the environments (default CartPole-v1, separated by commas).
func BenchmarkGymnasium(b *testing.B) {
	python, err := gym.Interpreter("")
	if err != nil {
		b.Skip(err)
	}
	list := os.Getenv(gymnasiumVariable)
	if list == "" {
		list = "CartPole-v1"
	}
	for _, id := range strings.Split(list, ",") {
		for _, n := range []int{16, 64} {
			b.Run(fmt.Sprintf("%s/%d", id, n), func(b *testing.B) { compareSpeeds(b, python, id, n) })
		}
	}
}

// turnTime is how long each of the three is measured before it is the next one's turn.
const turnTime = 3 * time.Second

func compareSpeeds(b *testing.B, python, id string, n int) {
	e, err := gym.New(gym.Options{ID: gym.Prefix + id, Python: python})
	if err != nil {
		b.Fatal(err)
	}
	const turns = 3
	var bridge, async, sync float64
	for range b.N {
		for range turns {
			bridge += bridgeSpeed(b, e, n) / turns
			async += vectorSpeed(b, python, id, "async", n) / turns
			sync += vectorSpeed(b, python, id, "sync", n) / turns
		}
	}
	runs := float64(b.N)
	load, _ := os.ReadFile("/proc/loadavg")
	b.Logf("%s, %d environments: bridge %.0f, AsyncVectorEnv %.0f, SyncVectorEnv %.0f steps/s; load %s",
		id, n, bridge/runs, async/runs, sync/runs, strings.TrimSpace(string(load)))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(bridge/runs, "steps/s")
	b.ReportMetric(async/runs, "async-steps/s")
	b.ReportMetric(sync/runs, "sync-steps/s")
	b.ReportMetric(bridge/async, "x-async")
	b.ReportMetric(bridge/sync, "x-sync")
}

// bridgeSpeed steps n environments in two groups that take turns, as an engine does.
func bridgeSpeed(b *testing.B, e *gym.Env, n int) float64 {
	s, err := e.Open([]int{n / 2, n - n/2}, func(w string) { b.Log(w) })
	require.NoError(b, err)
	defer s.Close()
	l, spec := s.Lanes(), e.Spec()
	command := func(c env.Command) {
		for i := range l.Command {
			l.Command[i] = c
		}
	}
	groups := func(do func(int) error) {
		for g := range 2 {
			require.NoError(b, do(g))
		}
	}
	command(env.LaneReset)
	groups(s.Begin)
	groups(s.Wait)
	command(env.LaneStep)
	groups(s.Begin)
	steps, start := 0, time.Now()
	x := uint32(1)
	for time.Since(start) < turnTime {
		for g := range 2 {
			require.NoError(b, s.Wait(g))
			for i := range l.Action { // the other group's are not read now
				x = x*1664525 + 1013904223
				if spec.Action.Discrete {
					l.Action[i] = float32((x >> 16) % uint32(spec.Action.N))
				} else {
					l.Action[i] = float32(x>>8)/(1<<23) - 1
				}
			}
			require.NoError(b, s.Begin(g))
		}
		steps += n
	}
	seconds := time.Since(start).Seconds()
	groups(s.Wait)
	return float64(steps) / seconds
}

func vectorSpeed(b *testing.B, python, id, mode string, n int) float64 {
	cmd := exec.Command(python, "-c", vectorEnvironments, id, mode, strconv.Itoa(n), fmt.Sprint(turnTime.Seconds()))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(b, err)
	var answer struct {
		StepsPerSecond float64 `json:"steps_per_second"`
	}
	require.NoError(b, json.Unmarshal(out, &answer))
	return answer.StepsPerSecond
}
