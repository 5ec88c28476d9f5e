// Package tensorboard encodes and reads the event files that TensorBoard shows:
// scalars, the hyperparameters of its HPARAMS tab, and the mark of a new process. It
// knows no files: everything is appended to memory that the caller writes out.
//
// The messages are few and small, so they are encoded by hand over protowire; the
// generated code of TensorFlow's protocol would be many times as large. The tests
// read the files with TensorBoard itself.
package tensorboard

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of the fields that are used, by message.
const (
	eventWallTime    = 1
	eventStep        = 2
	eventFileVersion = 3
	eventSummary     = 5
	eventSessionLog  = 7

	sessionLogStatus = 1
	statusStart      = 1

	summaryValue     = 1
	valueTag         = 1
	valueSimpleValue = 2
	valueTensor      = 8
	valueMetadata    = 9
)

// fileVersion says that the file may hold a mark of a new process.
const fileVersion = "brain.Event:2"

// Tag is the name of a series of scalars, encoded once.
type Tag struct {
	name string
	// head is a value's encoding up to its four bytes of number.
	head []byte
}

// NewTag returns the tag of a name; what is before its first slash is the group under
// which TensorBoard shows it.
func NewTag(name string) Tag {
	var value []byte
	value = protowire.AppendTag(value, valueTag, protowire.BytesType)
	value = protowire.AppendString(value, name)
	value = protowire.AppendTag(value, valueSimpleValue, protowire.Fixed32Type)
	head := protowire.AppendTag(nil, summaryValue, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(value)+4))
	return Tag{name: name, head: append(head, value...)}
}

// Name is the tag as it was given.
func (t Tag) Name() string { return t.name }

// AppendScalar appends a scalar to the values of a summary.
func AppendScalar(summary []byte, t Tag, x float32) []byte {
	return binary.LittleEndian.AppendUint32(append(summary, t.head...), math.Float32bits(x))
}

// AppendVersion appends the record that a file begins with.
func AppendVersion(dst []byte, wall float64) []byte {
	b, start := openEvent(dst, wall, 0)
	b = protowire.AppendTag(b, eventFileVersion, protowire.BytesType)
	b = protowire.AppendString(b, fileVersion)
	return closeRecord(b, start)
}

// AppendStart appends the mark of a process that goes on: a reader drops what it has
// of that step and later ones.
func AppendStart(dst []byte, wall float64, step int64) []byte {
	b, start := openEvent(dst, wall, step)
	b = protowire.AppendTag(b, eventSessionLog, protowire.BytesType)
	b = protowire.AppendBytes(b, protowire.AppendVarint(protowire.AppendTag(nil, sessionLogStatus, protowire.VarintType), statusStart))
	return closeRecord(b, start)
}

// AppendSummary appends a record with the values of a summary.
func AppendSummary(dst []byte, wall float64, step int64, summary []byte) []byte {
	b, start := openEvent(dst, wall, step)
	b = protowire.AppendTag(b, eventSummary, protowire.BytesType)
	b = protowire.AppendBytes(b, summary)
	return closeRecord(b, start)
}

func openEvent(dst []byte, wall float64, step int64) (b []byte, start int) {
	b, start = openRecord(dst)
	b = protowire.AppendTag(b, eventWallTime, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, math.Float64bits(wall))
	b = protowire.AppendTag(b, eventStep, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(step)), start
}

// Event is a record of an event file. It is valid during the call it is passed to.
type Event struct {
	Wall float64
	Step int64
	// Start is the mark of a process that goes on.
	Start bool
	// Scalars by tag; nil without any.
	Scalars map[string]float32
}

func decode(data []byte) (*Event, error) {
	e := &Event{}
	err := fields(data, func(number protowire.Number, x uint64, text []byte) error {
		switch number {
		case eventWallTime:
			e.Wall = math.Float64frombits(x)
		case eventStep:
			e.Step = int64(x)
		case eventSessionLog:
			return fields(text, func(number protowire.Number, x uint64, _ []byte) error {
				e.Start = e.Start || number == sessionLogStatus && x == statusStart
				return nil
			})
		case eventSummary:
			return fields(text, func(number protowire.Number, _ uint64, value []byte) error {
				if number != summaryValue {
					return nil
				}
				return e.decodeValue(value)
			})
		}
		return nil
	})
	return e, err
}

func (e *Event) decodeValue(value []byte) error {
	var tag string
	var number float32
	scalar := false
	err := fields(value, func(n protowire.Number, x uint64, text []byte) error {
		switch n {
		case valueTag:
			tag = string(text)
		case valueSimpleValue:
			number, scalar = math.Float32frombits(uint32(x)), true
		}
		return nil
	})
	if err == nil && scalar {
		if e.Scalars == nil {
			e.Scalars = map[string]float32{}
		}
		e.Scalars[tag] = number
	}
	return err
}

// fields calls each with every field of a message: its number, and its value as a
// number or as bytes.
func fields(message []byte, each func(number protowire.Number, x uint64, text []byte) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		var x uint64
		var text []byte
		switch kind {
		case protowire.VarintType:
			x, n = protowire.ConsumeVarint(message)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(message)
			x = uint64(v)
		case protowire.Fixed64Type:
			x, n = protowire.ConsumeFixed64(message)
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := each(number, x, text); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}
