package convert

import "fmt"

// step carries out one opcode, which was read at start.
func (u *unpickler) step(op byte, start int) error {
	switch op {
	case 0x80: // protocol
		if version, err := u.uint(1); err != nil || version < 2 || version > 5 {
			return u.orDamaged(err, start, "protocol %d; want 2 to 5", version)
		}
		return nil
	case 0x95: // a frame's length, which changes nothing
		n, err := u.uint(8)
		if err != nil || n > uint64(len(u.data)-u.at) {
			return u.orDamaged(err, start, "a frame of %d bytes, and %d are left", n, len(u.data)-u.at)
		}
		return nil
	case '(':
		u.marks = append(u.marks, len(u.stack))
		return nil
	case 'q', 'r', 'h', 'j', 0x94:
		return u.remember(op, start)
	case ')', 't', 0x85, 0x86, 0x87:
		return u.makeTuple(op)
	case 'a', 'e', 's', 'u':
		return u.fill(op, start)
	case 'c', 'i', 0x93, 'R', 'b', 'Q', 'o', 0x81, 0x92:
		return u.object(op, start)
	case 0x82, 0x83, 0x84:
		return fmt.Errorf("%w: the file would run an object of Python's extension registry (at byte %d of the pickle)", ErrRefused, start)
	}
	v, err := u.plain(op, start)
	if err == nil {
		u.push(v)
	}
	return err
}

// orDamaged is err, or where there is none the damage that the text describes.
func (u *unpickler) orDamaged(err error, start int, format string, args ...any) error {
	if err != nil {
		return err
	}
	return u.damaged(start, format, args...)
}

// plain gives the value of an opcode that stands for one.
func (u *unpickler) plain(op byte, start int) (any, error) {
	signed := func(size int, bits uint) (any, error) {
		n, err := u.uint(size)
		return int64(n<<(64-bits)) >> (64 - bits), err
	}
	unsigned := func(size int) (any, error) {
		n, err := u.uint(size)
		return int64(n), err
	}
	switch op {
	case 'N':
		return nil, nil
	case 0x88:
		return true, nil
	case 0x89:
		return false, nil
	case 'K':
		return unsigned(1)
	case 'M':
		return unsigned(2)
	case 'J':
		return signed(4, 32)
	case 0x8a:
		return u.long()
	case 'G':
		return u.float()
	case 'X':
		return u.text(4)
	case 'U', 0x8c:
		return u.text(1)
	case '}':
		return &dict{}, nil
	case ']':
		return &list{}, nil
	}
	return nil, u.damaged(start, "opcode 0x%02x is not one that torch.save writes for a state dict", op)
}

// remember carries out the opcodes of the memo.
func (u *unpickler) remember(op byte, start int) error {
	size := map[byte]int{'q': 1, 'h': 1, 'r': 4, 'j': 4}[op]
	n, err := u.uint(size)
	if err != nil {
		return err
	}
	key := uint32(n)
	if op == 'h' || op == 'j' {
		v, ok := u.memo[key]
		if !ok {
			return u.damaged(start, "value %d is used before it is there", key)
		}
		u.push(v)
		return nil
	}
	if op == 0x94 { // the next number
		key = uint32(len(u.memo))
	}
	v, err := u.top()
	if err == nil {
		u.memo[key] = v
	}
	return err
}

func (u *unpickler) makeTuple(op byte) error {
	var values []any
	var err error
	switch op {
	case ')':
	case 't':
		values, err = u.popMark()
	default:
		values, err = u.pop(int(op) - 0x84)
	}
	if err == nil {
		u.push(append(tuple(nil), values...))
	}
	return err
}

// fill carries out the opcodes that put values into a list or a map.
func (u *unpickler) fill(op byte, start int) error {
	values, err := []any(nil), error(nil)
	switch op {
	case 'a':
		values, err = u.pop(1)
	case 's':
		values, err = u.pop(2)
	default:
		values, err = u.popMark()
	}
	if err != nil {
		return err
	}
	target, err := u.top()
	if err != nil {
		return err
	}
	if op == 'a' || op == 'e' {
		l, ok := target.(*list)
		if !ok {
			return u.damaged(start, "values are appended to a %s; want a list", kindOf(target))
		}
		l.items = append(l.items, values...)
		return nil
	}
	d, ok := target.(*dict)
	if !ok || len(values)%2 != 0 {
		return u.damaged(start, "%d keys and values are put into a %s; want pairs and a map", len(values), kindOf(target))
	}
	for i := 0; i < len(values); i += 2 {
		if err := d.set(values[i], values[i+1]); err != nil {
			return u.damaged(start, "%v", err)
		}
	}
	return nil
}

// object carries out the opcodes that name objects of Python and do something with
// them.
func (u *unpickler) object(op byte, start int) error {
	switch op {
	case 'c', 'i', 0x93:
		return u.name(op, start)
	case 'R':
		return u.reduce(start)
	case 'b':
		return u.build(start)
	case 'Q':
		id, err := u.pop(1)
		if err != nil {
			return err
		}
		v, err := u.persistent(id[0])
		if err == nil {
			u.push(v)
		}
		return err
	}
	return fmt.Errorf("%w: the file would make an object of a class of its own (opcode 0x%02x at byte %d of the pickle)", ErrRefused, op, start)
}

func (u *unpickler) name(op byte, start int) error {
	var g global
	var err error
	if op == 0x93 {
		names, err := u.pop(2)
		if err != nil {
			return err
		}
		module, isText := names[0].(string)
		name, isTextToo := names[1].(string)
		if !isText || !isTextToo {
			return u.damaged(start, "an object is named by a %s and a %s; want two texts", kindOf(names[0]), kindOf(names[1]))
		}
		g = global{module, name}
	} else {
		if g.module, err = u.line(); err != nil {
			return err
		}
		if g.name, err = u.line(); err != nil {
			return err
		}
	}
	if err := u.known(g); err != nil {
		return err
	}
	if op == 'i' {
		return u.damaged(start, "%.80s is made by opcode 0x69, which torch.save does not write", g)
	}
	u.push(g)
	return nil
}

func (u *unpickler) reduce(start int) error {
	values, err := u.pop(2)
	if err != nil {
		return err
	}
	g, isGlobal := values[0].(global)
	args, isTuple := values[1].(tuple)
	if !isGlobal || !isTuple {
		return u.damaged(start, "a %s is called with a %s; want the name of an object and a tuple", kindOf(values[0]), kindOf(values[1]))
	}
	v, err := u.call(g, args)
	if err != nil {
		return err
	}
	u.push(v)
	return nil
}

// build leaves the attributes of an ordered map out: state dicts keep version
// numbers of their modules there.
func (u *unpickler) build(start int) error {
	if _, err := u.pop(1); err != nil {
		return err
	}
	target, err := u.top()
	if err != nil {
		return err
	}
	if _, ok := target.(*dict); !ok {
		return u.damaged(start, "attributes are set of a %s; want a map", kindOf(target))
	}
	return nil
}
