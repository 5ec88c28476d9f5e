package main

import (
	"math"

	"github.com/mmcloughlin/avo/reg"
)

// The steps of environments. Formulas, constants and units are those of package
// env, whose float64 code the tests compare with.

// environments are the steps as the path's code declares them.
var environments = []struct {
	ID, Function, Kernel string
	StateSize            int
}{
	{"CartPole-v1", "cartPole", "CartPole", 4},
	{"MountainCar-v0", "mountainCar", "MountainCar", 2},
	{"MountainCarContinuous-v0", "mountainCarContinuous", "MountainCarContinuous", 2},
	{"Pendulum-v1", "pendulum", "Pendulum", 2},
	{"Acrobot-v1", "acrobot", "Acrobot", 4},
}

func steps(e *emitter) {
	e.cartPole()
	e.mountainCar()
	e.mountainCarContinuous()
	e.pendulum()
	e.acrobot()
}

// batch is the parameters of a step.
type batch struct {
	state                         []reg.Register // by component
	action, reward, terminated, n reg.Register
}

func (e *emitter) step(name string, components int) batch {
	e.function("step"+name, "func(state, action, reward, terminated *float32, n, stride int)",
		"advances n environments by one step.")
	b := batch{action: e.ptr("action"), reward: e.ptr("reward"), terminated: e.ptr("terminated"), n: e.ptr("n")}
	b.state = append(b.state, e.ptr("state"))
	stride := e.ptr("stride")
	for c := 1; c < components; c++ {
		next := e.GP64()
		e.LEAQ(at(b.state[c-1], stride), next)
		b.state = append(b.state, next)
	}
	return b
}

func (e *emitter) cartPole() {
	const (
		totalMass  = 1.1
		massLength = 0.1 * 0.5
		tau        = 0.02
	)
	b := e.step("CartPole", 4)
	e.rows(b.n, func(i reg.Register) {
		theta, w := e.load(at(b.state[2], i)), e.load(at(b.state[3], i))
		sin, cos := e.sincos(theta)
		right := e.compare(equal, e.load(at(b.action, i)), e.get(e.f(1)))
		push := e.choose(right, e.f(10/totalMass), e.get(e.f(-10/totalMass)))
		temp := e.mul(e.mul(w, w), sin)
		e.scaleAddTo(temp, e.f(massLength/totalMass), push)

		divisor := e.mul(cos, cos)
		e.mulAddTo(divisor, e.get(e.f(-0.5*0.1/totalMass)), e.f(0.5*4.0/3.0))
		angular := e.mul(sin, e.f(9.8))
		e.accNegMul(angular, cos, temp)
		angular = e.div(angular, divisor)
		linear := temp
		e.accNegMul(linear, e.mul(angular, cos), e.f(massLength/totalMass))

		x, v := e.load(at(b.state[0], i)), e.load(at(b.state[1], i))
		e.accMul(x, v, e.f(tau))
		e.accMul(v, linear, e.f(tau))
		e.accMul(theta, w, e.f(tau))
		e.accMul(w, angular, e.f(tau))
		for c, s := range []vec{x, v, theta, w} {
			e.store(s, at(b.state[c], i))
		}
		out := e.compare(greater, e.abs(x), e.f(2.4))
		fallen := e.compare(greater, e.abs(theta), e.f(12*2*math.Pi/360))
		e.store(e.where(e.either(out, fallen), e.f(1)), at(b.terminated, i))
		e.store(e.get(e.f(1)), at(b.reward, i))
	})
	e.end()
}

// moveCar pushes the car of both mountain car tasks and returns where it is at
// or beyond the goal and does not move back.
func (e *emitter) moveCar(b batch, i reg.Register, push vec, goal float64) mask {
	x, v := e.load(at(b.state[0], i)), e.load(at(b.state[1], i))
	_, cos := e.sincos(e.mul(x, e.f(3)))
	e.addTo(v, push)
	e.accNegMul(v, cos, e.f(0.0025))
	v = e.clamp(v, e.f(-0.07), e.f(0.07))
	wall := e.get(e.f(-1.2))
	x = e.clamp(e.add(x, v), wall, e.f(0.6))
	zero := e.zero()
	stopped := e.both(e.compare(equal, x, wall), e.compare(less, v, zero))
	v = e.choose(stopped, zero, v)
	e.store(x, at(b.state[0], i))
	e.store(v, at(b.state[1], i))
	return e.both(e.compare(notBelow, x, e.f(goal)), e.compare(notBelow, v, zero))
}

func (e *emitter) mountainCar() {
	b := e.step("MountainCar", 2)
	e.rows(b.n, func(i reg.Register) {
		push := e.mul(e.sub(e.load(at(b.action, i)), e.f(1)), e.f(0.001))
		e.store(e.where(e.moveCar(b, i, push, 0.5), e.f(1)), at(b.terminated, i))
		e.store(e.get(e.f(-1)), at(b.reward, i))
	})
	e.end()
}

func (e *emitter) mountainCarContinuous() {
	b := e.step("MountainCarContinuous", 2)
	e.rows(b.n, func(i reg.Register) {
		action := e.load(at(b.action, i))
		push := e.mul(e.clamp(action, e.f(-1), e.f(1)), e.f(0.0015))
		arrived := e.moveCar(b, i, push, 0.45)
		e.store(e.where(arrived, e.f(1)), at(b.terminated, i))
		reward := e.where(arrived, e.f(100))
		e.accNegMul(reward, e.mul(action, action), e.f(0.1))
		e.store(reward, at(b.reward, i))
	})
	e.end()
}

// wrap brings angles into [-pi, pi] by whole turns.
func (e *emitter) wrap(angle vec) vec {
	high, low := split(2 * math.Pi)
	if e.double {
		high, low = 2*math.Pi, 2.4492935982947064e-16
	}
	turns := e.round(e.mul(angle, e.f(0.5/math.Pi)))
	v := e.get(angle)
	e.accNegMul(v, turns, e.f(high))
	e.accNegMul(v, turns, e.f(low))
	return v
}

func (e *emitter) pendulum() {
	const dt = 0.05
	b := e.step("Pendulum", 2)
	e.rows(b.n, func(i reg.Register) {
		theta, w := e.load(at(b.state[0], i)), e.load(at(b.state[1], i))
		torque := e.clamp(e.load(at(b.action, i)), e.f(-2), e.f(2))
		fromUpright := e.wrap(theta)
		cost := e.mul(fromUpright, fromUpright)
		e.accMul(cost, e.mul(w, w), e.f(0.1))
		e.accMul(cost, e.mul(torque, torque), e.f(0.001))
		e.store(e.negate(cost), at(b.reward, i))
		e.store(e.zero(), at(b.terminated, i))

		sin, _ := e.sincos(theta)
		e.accMul(w, sin, e.f(15*dt))
		e.accMul(w, torque, e.f(3*dt))
		w = e.clamp(w, e.f(-8), e.f(8))
		e.accMul(theta, w, e.f(dt))
		e.store(theta, at(b.state[0], i))
		e.store(w, at(b.state[1], i))
	})
	e.end()
}
