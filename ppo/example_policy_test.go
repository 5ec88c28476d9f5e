package ppo_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"brood/ppo"
	"brood/train"
)

// A trained agent acts in another program, which needs its member file and no part of
// package train.
func ExampleLoadPolicy() {
	path, remove := trainedAgent()
	defer remove()

	agent, err := ppo.LoadPolicy(path)
	if err != nil {
		log.Fatal(err)
	}
	observation := []float32{0.01, 0, -0.02, 0.1} // cart and pole: positions and speeds
	action := make([]float32, agent.ActionSize())
	agent.Act(observation, action)
	push := map[float32]string{0: "left", 1: "right"}[action[0]]
	fmt.Println(agent.Agent().Env.ID, "pushes to one side:", push == "left" || push == "right")
	fmt.Println(agent.ObservationSize(), "numbers seen,", agent.ActionSize(), "done")
	// Output:
	// CartPole-v1 pushes to one side: true
	// 4 numbers seen, 1 done
}

// trainedAgent makes the member file of an agent that a short run trained.
func trainedAgent() (path string, remove func()) {
	dir, err := os.MkdirTemp("", "brood-example-*")
	if err != nil {
		log.Fatal(err)
	}
	cfg, err := train.Load("example", []byte("env: {count: 16}\nppo: {learning_rate: 3.0e-3}\npbt: {population_size: 1}\nrun: {total_steps: 20000, selection_episodes: 0, device: cpu}"), nil)
	if err != nil {
		log.Fatal(err)
	}
	run, err := train.New(cfg, train.Options{Dir: filepath.Join(dir, "run")})
	if err != nil {
		log.Fatal(err)
	}
	defer run.Close()
	if _, err := run.Train(context.Background()); err != nil {
		log.Fatal(err)
	}
	return filepath.Join(dir, "run", "best.ckpt"), func() { os.RemoveAll(dir) }
}
