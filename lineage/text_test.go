package lineage

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"brood/pbt"
	"brood/train"

	"github.com/stretchr/testify/require"
)

func text(t *testing.T, write func(*bytes.Buffer) error) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, write(&b))
	return b.String()
}

// drawn are the first column of the lines that tell a life.
func drawn(text string) (lives []string) {
	for _, line := range strings.Split(text, "\n") {
		if found := regexp.MustCompile(`^(\S* ?[^a-z]*member \d+) +\d+ +(start|\d+) `).FindStringSubmatch(line); found != nil {
			lives = append(lives, found[1])
		}
	}
	return lives
}

func TestTextOfSwapsAndChains(t *testing.T) {
	tree := readMixed(t)
	out := text(t, func(b *bytes.Buffer) error { return tree.WriteText(b, false) })
	require.Equal(t, []string{
		"member 0", "↓ member 1",
		"member 1", "├ member 0", "│ ↓ member 2", "└ member 2", "  ↓ member 3", "  └ member 0",
	}, drawn(out), out)
	require.Regexp(t, `(?m)^├ member 0 +10 +1 +0\.0 +- +reset +30$`, out)
	require.Regexp(t, `(?m)^  ↓ member 3 +20 +2 +3\.0 +- +reset +living$`, out)
	require.Contains(t, out, "4 members, 100 updates  6 exploits, depth 3\n2 of 4 members of the start have living descendants\n")
	require.Contains(t, out, "2 lives without living descendants are not drawn")
	require.Regexp(t, `(?m)^member 0      learning_rate  \S+  0\.0001@10↑  0\.0002@20↑  0\.0003@30↑$`, out)

	out = text(t, func(b *bytes.Buffer) error { return tree.WriteText(b, true) })
	require.Len(t, drawn(out), len(tree.Lives), out)
	require.NotContains(t, out, "not drawn")

	out = text(t, func(b *bytes.Buffer) error { return tree.WriteMember(b, 2) })
	require.Equal(t, []string{"member 1", "member 0", "member 2", "member 2", "member 2", "member 2"}, drawn(out), out)
	require.ErrorIs(t, tree.WriteMember(&bytes.Buffer{}, 4), ErrMember)
}

// big is a run of 64 members and many exploits in which lines die out and chains
// grow long.
func big(t *testing.T, source func(r *rand.Rand, interval, member int) int) *Tree {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	var copyings []copying
	for interval := range 60 {
		for m := range 64 {
			if s := source(r, interval, m); s >= 0 && s != m {
				copyings = append(copyings, copying{int64(10 * (interval + 1)), m, s})
			}
		}
	}
	handMade(t, dir, 64, copyings, func(c *train.Config) {
		c.PBT.Hyperparameters = []pbt.Hyperparameter{pbt.LogRange("learning_rate", 1e-5, 1e-2)}
	})
	tree, err := Read(dir)
	require.NoError(t, err)
	return tree
}

func TestTextFitsATerminal(t *testing.T) {
	for name, tree := range map[string]*Tree{
		"random": big(t, func(r *rand.Rand, _, _ int) int {
			if r.IntN(5) > 0 {
				return -1
			}
			return r.IntN(64)
		}),
		// Member i+1 copies member i before i copies again: a comb as deep as it goes.
		"comb": big(t, func(_ *rand.Rand, interval, m int) int {
			if m == interval+1 {
				return interval
			}
			return -1
		}),
		// Everyone's weights wander on at every interval.
		"carousel": big(t, func(_ *rand.Rand, _, m int) int { return (m + 1) % 64 }),
	} {
		t.Run(name, func(t *testing.T) {
			for _, all := range []bool{false, true} {
				out := text(t, func(b *bytes.Buffer) error { return tree.WriteText(b, all) })
				for _, line := range strings.Split(strings.ReplaceAll(out, tree.Run, "DIR"), "\n") {
					require.LessOrEqual(t, utf8.RuneCountInString(line), textWidth, line)
				}
				want := len(tree.Lives)
				if !all {
					want = 0
					for _, living := range tree.LivingDescendants() {
						if living > 0 {
							want++
						}
					}
				}
				require.Len(t, drawn(out), want)
				hidden := ""
				if n := len(tree.Lives) - want; n > 0 {
					hidden = fmt.Sprint(n)
				}
				require.Equal(t, hidden, strings.TrimSuffix(regexp.MustCompile(`(?m)^\d+ lives without`).FindString(out), " lives without"))
				require.Len(t, regexp.MustCompile(`(?m)  living( +\+\d+)?$`).FindAllString(out, -1), 64, "every member is there once")
			}
			for m := range 64 {
				out := text(t, func(b *bytes.Buffer) error { return tree.WriteMember(b, m) })
				for _, line := range strings.Split(strings.ReplaceAll(out, tree.Run, "DIR"), "\n") {
					require.LessOrEqual(t, utf8.RuneCountInString(line), textWidth, line)
				}
			}
		})
	}
}

// The part of Graphviz's grammar that is used, token by token:
//
//	graph: "digraph" ID "{" (stmt ";")* "}"
//	stmt:  ID "=" ID | ID ["->" ID] [attr]
//	attr:  "[" ID "=" ID ("," ID "=" ID)* "]"
type dotParser struct {
	t      *testing.T
	tokens []string
	nodes  map[string]bool
	edges  [][2]string
}

var dotToken = regexp.MustCompile(`^\s*(->|[{}\[\];,=]|[A-Za-z_][A-Za-z_0-9]*|"(?:[^"\\]|\\.)*")`)

func parseDOT(t *testing.T, text string) *dotParser {
	p := &dotParser{t: t, nodes: map[string]bool{}}
	for rest := text; strings.TrimSpace(rest) != ""; {
		found := dotToken.FindStringSubmatch(rest)
		require.NotNil(t, found, "no token: %.40q", rest)
		p.tokens, rest = append(p.tokens, found[1]), rest[len(found[0]):]
	}
	p.want("digraph")
	p.id()
	p.want("{")
	for p.tokens[0] != "}" {
		p.statement()
		p.want(";")
	}
	p.want("}")
	require.Empty(t, p.tokens, "after the graph")
	return p
}

func (p *dotParser) next() string {
	require.NotEmpty(p.t, p.tokens, "the graph ends early")
	token := p.tokens[0]
	p.tokens = p.tokens[1:]
	return token
}

func (p *dotParser) want(token string) { require.Equal(p.t, token, p.next()) }

func (p *dotParser) id() string {
	id := p.next()
	require.Regexp(p.t, `^[A-Za-z_"]`, id, "an ID")
	return id
}

func (p *dotParser) statement() {
	name := p.id()
	switch p.tokens[0] {
	case "=":
		p.next()
		p.id()
		return
	case "->":
		p.next()
		target := p.id()
		require.True(p.t, p.nodes[name] && p.nodes[target], "an edge between nodes that were named: %s -> %s", name, target)
		p.edges = append(p.edges, [2]string{name, target})
	default:
		if name != "node" {
			require.False(p.t, p.nodes[name], "%s twice", name)
			p.nodes[name] = true
		}
	}
	if p.tokens[0] != "[" {
		return
	}
	for p.next(); ; {
		p.id()
		p.want("=")
		p.id()
		if p.tokens[0] != "," {
			break
		}
		p.next()
	}
	p.want("]")
}

func TestDOT(t *testing.T) {
	tree := readMixed(t)
	tree.Run = `a "quoted" \ folder`
	p := parseDOT(t, text(t, func(b *bytes.Buffer) error { return tree.WriteDOT(b, nil) }))
	require.Len(t, p.nodes, len(tree.Lives))
	var want [][2]string
	for id, l := range tree.Lives {
		if l.Parent != None {
			want = append(want, [2]string{fmt.Sprintf("life%d", l.Parent), fmt.Sprintf("life%d", id)})
		}
	}
	require.Equal(t, want, p.edges)

	around, err := tree.Around(2)
	require.NoError(t, err)
	p = parseDOT(t, text(t, func(b *bytes.Buffer) error { return tree.WriteDOT(b, around) }))
	require.Len(t, p.nodes, len(around))
	require.Len(t, p.edges, 3, "the ancestors of all lives are there")
}
