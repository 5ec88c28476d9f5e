// Command vector generates the vector kernels of package simd, everything but
// the matrix routines, for AVX-512 and AVX2. Each kernel is written once; an
// emitter knows the differences. Run it through go generate in the package
// above.
package main

import (
	"bytes"
	_ "embed"
	"flag"
	"fmt"
	"go/format"
	"log"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
	"github.com/mmcloughlin/avo/reg"
)

// topics are the files the kernels of an instruction set go to.
var topics = []struct {
	name  string
	write func(*emitter)
}{{"elementwise", elementwise}, {"random", random}, {"loss", loss}, {"steps", steps}}

//go:embed path.go.tmpl
var pathTemplate string

var config = printer.Config{Argv: []string{"go", "run", "./vector"}, Pkg: "simd"}

func main() {
	out := flag.String("dir", "..", "folder to write to")
	flag.Parse()
	for _, isa := range []struct {
		name  string
		width int
	}{{"AVX512", 16}, {"AVX2", 8}} {
		if err := generate(*out, isa.name, isa.width); err != nil {
			log.Fatalf("vector: %s: %v", isa.name, err)
		}
	}
}

// generate writes the assembly by topic, the declarations of all of it, and the
// Go code between these and the Path.
func generate(out, isa string, width int) error {
	suffix := "_" + strings.ToLower(isa) + "_amd64"
	all := ir.NewFile()
	for _, topic := range topics {
		e := newEmitter(isa, width)
		topic.write(e)
		e.finish()
		file, err := e.Result()
		if err != nil {
			return err
		}
		if err := pass.Compile.Execute(file); err != nil {
			return fmt.Errorf("%s: %w", topic.name, err)
		}
		if err := checkRegisters(file, width); err != nil {
			return err
		}
		assembly, err := printer.NewGoAsm(config).Print(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, topic.name+suffix+".s"), assembly, 0o644); err != nil {
			return err
		}
		all.Constraints = file.Constraints
		all.Sections = append(all.Sections, file.Sections...)
	}
	stubs, err := printer.NewStubs(config).Print(all)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "stubs"+suffix+".go"), stubs, 0o644); err != nil {
		return err
	}
	return writePath(filepath.Join(out, "path"+suffix+".go"), isa, width)
}

// checkRegisters refuses what the register allocator does not know: that AVX2
// has 16 vector registers.
func checkRegisters(file *ir.File, width int) error {
	if width == 16 {
		return nil
	}
	for _, f := range file.Functions() {
		for _, i := range f.Instructions() {
			for _, r := range i.Registers() {
				if p := reg.ToPhysical(r); p != nil && p.Kind() == reg.KindVector && p.PhysicalIndex() >= 16 {
					return fmt.Errorf("%s needs more than 16 vector registers at %s", f.Name, i.Opcode)
				}
			}
		}
	}
	return nil
}

func writePath(name, isa string, width int) error {
	t, err := template.New("path").Parse(pathTemplate)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "// %s\n\n", config.GeneratedWarning())
	data := map[string]any{"ISA": isa, "Name": strings.ToLower(isa), "Width": width, "Steps": environments}
	if err := t.Execute(&b, data); err != nil {
		return err
	}
	source, err := format.Source(b.Bytes())
	if err != nil {
		return err
	}
	return os.WriteFile(name, source, 0o644)
}
