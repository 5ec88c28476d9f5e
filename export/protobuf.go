package export

import "encoding/binary"

// message is an encoded message of Protocol Buffers: fields one after the other, each
// a key and a value. The few kinds of fields that ONNX has are all there is here.
type message []byte

// The kinds of values on the wire.
const (
	wireVarint = 0
	wireBytes  = 2
)

func (m message) key(field, wire int) message {
	return binary.AppendUvarint(m, uint64(field<<3|wire))
}

func (m message) integer(field int, v int64) message {
	return binary.AppendUvarint(m.key(field, wireVarint), uint64(v))
}

// bytes adds bytes, a text or a message.
func (m message) bytes(field int, v []byte) message {
	return append(binary.AppendUvarint(m.key(field, wireBytes), uint64(len(v))), v...)
}

func (m message) text(field int, v string) message { return m.bytes(field, []byte(v)) }
