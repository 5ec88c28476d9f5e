package cu

import (
	"fmt"

	"brood/kernels"
	"brood/tensor"
)

// segments lists for each treatment what an exploit does to a member's bytes, in
// order, neighbours of one effect joined.
func (p *Plan) segments() error {
	most := 0
	for _, s := range kernels.Strategies() {
		for _, scaled := range []bool{false, true} {
			list, err := segments(p.Layout, Treatment{s, scaled})
			if err != nil {
				return err
			}
			p.Treatments, p.Segments = append(p.Treatments, Treatment{s, scaled}), append(p.Segments, list)
			most = max(most, len(list))
		}
	}
	for i := range p.Segments {
		for len(p.Segments[i]) < most {
			p.Segments[i] = append(p.Segments[i], Segment{Effect: EffectZero})
		}
	}
	p.Params.SegmentCount = int32(most)
	return nil
}

func segments(l *tensor.Layout, x Treatment) (list segmentList, err error) {
	effects, _ := x.Strategy.Effects(x.ScaleMomentum)
	if err := checkEffects(l, effects); err != nil {
		return nil, fmt.Errorf("cu: the exploit strategy %s: %w", x.Strategy, err)
	}
	for i := range l.Sections() {
		b := &l.Sections()[i]
		all := Segment{Offset: int64(b.Offset), Source: int64(b.Offset), Bytes: int64(b.Size)}
		switch b.Exploit {
		case tensor.Copy:
			all.Effect = EffectCopy
			list.add(all)
		case tensor.Clear:
			all.Effect = EffectZero
			list.add(all)
		case tensor.Keep:
		case tensor.ByStrategy:
			for j := range b.Tensors {
				list.addTensor(b, j, effects)
			}
		}
	}
	return list, nil
}

// checkEffects refuses, besides what the layout does, squares of what a source
// is not staged with.
func checkEffects(l *tensor.Layout, effects tensor.Effects) error {
	if err := l.CheckEffects(effects, kernels.GroupExpAvg); err != nil {
		return err
	}
	if effects[kernels.GroupExpAvgSq] != tensor.Squared {
		return nil
	}
	mean, step := effects[kernels.GroupExpAvg], effects[kernels.GroupStep]
	if mean != tensor.FromSource && mean != tensor.Scaled || step != tensor.FromSource {
		return fmt.Errorf("it makes %s of the source's %s and %s, and does not take these", kernels.GroupExpAvgSq, kernels.GroupExpAvg, kernels.GroupStep)
	}
	return nil
}

type segmentList []Segment

// add joins a segment to the last one where both are one run with one effect.
func (l *segmentList) add(s Segment) {
	if n := len(*l) - 1; n >= 0 {
		last := &(*l)[n]
		if last.Effect == s.Effect && last.Offset+last.Bytes == s.Offset && last.Source+last.Bytes == s.Source {
			last.Bytes += s.Bytes
			return
		}
	}
	*l = append(*l, s)
}

// addTensor adds the j-th tensor of a section and the padding behind it, which is
// zero and stays zero under every effect.
func (l *segmentList) addTensor(b *tensor.Block, j int, effects tensor.Effects) {
	t := &b.Tensors[j]
	end := b.Offset + b.Size
	if j+1 < len(b.Tensors) {
		end = b.Tensors[j+1].Offset
	}
	s := Segment{Offset: int64(t.Offset), Source: int64(t.Offset), Bytes: int64(end - t.Offset)}
	switch effects[t.Group()] {
	case tensor.FromSource:
		s.Effect = EffectCopy
	case tensor.Zero:
		s.Effect = EffectZero
	case tensor.Scaled:
		s.Effect = EffectScale
	case tensor.Squared:
		s.Effect, s.Source = EffectSquare, int64(b.Sibling(t, kernels.GroupExpAvg).Offset)
	case tensor.Own:
		return
	}
	l.add(s)
}
