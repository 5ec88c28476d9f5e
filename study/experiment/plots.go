package experiment

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"brood/ckpt"
	"brood/internal/stats"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// palette is Okabe and Ito's, told apart by people with any kind of colour vision;
// its black and yellow last. Every arm has a glyph and dashes of its own too.
var palette = []color.NRGBA{
	{0x00, 0x72, 0xB2, 0xFF}, {0xE6, 0x9F, 0x00, 0xFF}, {0x00, 0x9E, 0x73, 0xFF}, {0x56, 0xB4, 0xE9, 0xFF},
	{0xCC, 0x79, 0xA7, 0xFF}, {0xD5, 0x5E, 0x00, 0xFF}, {0x00, 0x00, 0x00, 0xFF}, {0xF0, 0xE4, 0x42, 0xFF},
}

var (
	glyphs = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.PyramidGlyph{}, draw.PlusGlyph{}, draw.CrossGlyph{}}
	dashes = [][]vg.Length{nil, {6, 2}, {2, 2}, {8, 2, 2, 2}, {4, 4}, {1, 3}}
	grey   = color.NRGBA{0x88, 0x88, 0x88, 0xFF}
)

func colourOf(arm int) color.NRGBA { return palette[arm%len(palette)] }

func lineOf(arm int) draw.LineStyle {
	return draw.LineStyle{Color: colourOf(arm), Width: vg.Points(1.6), Dashes: dashes[arm%len(dashes)]}
}

func glyphOf(arm int) draw.GlyphStyle {
	return draw.GlyphStyle{Color: colourOf(arm), Radius: vg.Points(3), Shape: glyphs[arm%len(glyphs)]}
}

// Size of a plot.
const (
	plotWidth  = 7.2 * vg.Inch
	plotHeight = 4.2 * vg.Inch
)

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding = vg.Points(8)
	p.BackgroundColor = color.White
	p.Legend.Padding = vg.Points(2)
	p.Legend.ThumbnailWidth = vg.Points(28)
	p.Legend.YPosition = draw.PosCenter
	for _, f := range []*font.Font{&p.Title.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font,
		&p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.Legend.TextStyle.Font} {
		f.Variant = "Sans"
	}
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color = color.NRGBA{0xDD, 0xDD, 0xDD, 0xFF}
	p.Add(grid)
	return p
}

// save writes the plot with its legend to the right of the data, in the format of
// the file's extension.
func (r *report) save(p *plot.Plot, legend plot.Legend, file string) error {
	canvas, err := draw.NewFormattedCanvas(plotWidth, plotHeight, strings.TrimPrefix(filepath.Ext(file), "."))
	if err != nil {
		return fmt.Errorf("study: plot %s: %w", file, err)
	}
	drawPlot(draw.New(canvas), p, legend)
	var text bytes.Buffer
	if _, err := canvas.WriteTo(&text); err != nil {
		return fmt.Errorf("study: plot %s: %w", file, err)
	}
	// Where Liberation Sans is not installed a browser would take a serif font.
	drawing := bytes.ReplaceAll(text.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
	return ckpt.WriteFile(ckpt.OS, filepath.Join(r.dir, file), drawing)
}

func drawPlot(c draw.Canvas, p *plot.Plot, legend plot.Legend) {
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	size := legend.Rectangle(c).Size()
	margin := vg.Points(10)
	data := draw.Crop(c, margin/2, -size.X-2*margin, margin/2, -margin/2)
	p.Draw(data)
	legend.Top, legend.Left = true, true
	legend.XOffs = c.Max.X - margin - size.X - c.Min.X
	legend.YOffs = -vg.Points(34)
	legend.Draw(c)
}

// zeroLine draws a line at a height over the whole width.
func zeroLine(p *plot.Plot, y float64) {
	line := plotter.NewFunction(func(float64) float64 { return y })
	line.Color, line.Width, line.Samples = grey, vg.Points(1), 2
	p.Add(line)
	p.Y.Min, p.Y.Max = min(p.Y.Min, y), max(p.Y.Max, y)
}

// intervals are points with error bars at given places.
type intervals struct {
	x []float64
	y []stats.Interval
}

func (v intervals) Len() int                    { return len(v.x) }
func (v intervals) XY(i int) (float64, float64) { return v.x[i], v.y[i].Mean }
func (v intervals) YError(i int) (float64, float64) {
	return v.y[i].Mean - v.y[i].Low, v.y[i].High - v.y[i].Mean
}

// addIntervals draws a line of points with error bars and names it in the legend.
func addIntervals(p *plot.Plot, legend *plot.Legend, name string, arm int, v intervals, connect bool) error {
	if len(v.x) == 0 {
		return nil
	}
	bars, err := plotter.NewYErrorBars(v)
	if err != nil {
		return err
	}
	bars.Color, bars.CapWidth = colourOf(arm), vg.Points(4)
	line, points, err := plotter.NewLinePoints(v)
	if err != nil {
		return err
	}
	line.LineStyle, points.GlyphStyle = lineOf(arm), glyphOf(arm)
	p.Add(bars, points)
	if !connect {
		legend.Add(name, points)
		return nil
	}
	p.Add(line)
	legend.Add(name, line, points)
	return nil
}

// positions are ticks at 0, 1, 2 ... with names.
func positions(names []string) plot.ConstantTicks {
	ticks := make(plot.ConstantTicks, len(names))
	for i, name := range names {
		ticks[i] = plot.Tick{Value: float64(i), Label: name}
	}
	return ticks
}

// logTicks are 1, 2 and 5 times the powers of ten; with many powers, those alone
// have labels.
func logTicks(low, high float64) (ticks []plot.Tick) {
	first, last := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	for power := first; power <= last; power++ {
		for _, by := range []float64{1, 2, 5} {
			value := by * math.Pow(10, power)
			if value < low || value > high {
				continue
			}
			tick := plot.Tick{Value: value}
			if by == 1 || last-first <= 2 {
				tick.Label = strconv.FormatFloat(value, 'g', 2, 64)
			}
			ticks = append(ticks, tick)
		}
	}
	return ticks
}

// beside moves the i-th of n series so that their error bars do not cover each
// other.
func beside(i, n int) float64 { return (float64(i) - float64(n-1)/2) * 0.09 }

// plotReturns draws the mean difference to the source over the updates after.
func (r *report) plotReturns(workload int, file string) error {
	p := newPlot("After an exploit: "+r.spec.Presets[workload].Label, "updates after the exploit", "mean return less the source's")
	names := make([]string, len(r.after))
	for k, n := range r.after {
		names[k] = strconv.FormatInt(n, 10)
	}
	p.X.Tick.Marker = positions(names)
	p.X.Min, p.X.Max = -0.4, float64(len(names))-0.6
	zeroLine(p, 0)
	legend := p.Legend
	for a, arm := range r.spec.arms {
		var v intervals
		for k := range r.after {
			if i := bootstrap(r.values(workload, overSource(a, k))); !math.IsNaN(i.Mean) {
				v.x, v.y = append(v.x, float64(k)+beside(a, len(r.spec.arms))), append(v.y, i)
			}
		}
		if err := addIntervals(p, &legend, arm.Name, a, v, true); err != nil {
			return fmt.Errorf("study: plot %s: arm %s: %w", file, arm.Name, err)
		}
	}
	return r.save(p, legend, file)
}

// plotDistribution draws a figure of every exploit by arm, with the quartiles, on a
// logarithmic axis or, for a cosine, one from -1 to 1. It says whether there was
// anything to draw.
func (r *report) plotDistribution(workload int, file, title, axis string, of func(arm int) func(*Exploit) *float64, log bool) (drawn bool, err error) {
	if log { // gonum/plot makes room for an axis' label where it would be on a linear one
		title, axis = title+", "+axis, ""
	}
	p := newPlot(title, "", axis)
	legend := p.Legend
	var names []string
	for a, arm := range r.spec.arms {
		values := slices.Concat(r.values(workload, of(a))...)
		if log {
			values = slices.DeleteFunc(values, func(x float64) bool { return x <= 0 })
		}
		if len(values) == 0 {
			continue
		}
		at := float64(len(names))
		names = append(names, arm.Name)
		if err := addDistribution(p, at, a, values); err != nil {
			return false, fmt.Errorf("study: plot %s: arm %s: %w", file, arm.Name, err)
		}
	}
	if len(names) == 0 {
		return false, nil
	}
	if log {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.TickerFunc(logTicks)
		p.Y.Min, p.Y.Max = p.Y.Min*0.8, p.Y.Max*1.25
	} else { // a cosine
		zeroLine(p, 0)
		p.Y.Min, p.Y.Max = -1.05, 1.05
		p.Y.Tick.Marker = plot.ConstantTicks{{Value: -1, Label: "-1"}, {Value: -0.5, Label: "-0.5"}, {Value: 0, Label: "0"},
			{Value: 0.5, Label: "0.5"}, {Value: 1, Label: "1"}}
	}
	p.X.Tick.Marker = positions(names)
	p.X.Min, p.X.Max = -0.6, float64(len(names))-0.4
	return true, r.save(p, legend, file)
}

// addDistribution draws a point per value, a bar from the lower to the upper
// quartile and a mark at the median.
func addDistribution(p *plot.Plot, at float64, arm int, values []float64) error {
	points := make(plotter.XYs, len(values))
	for i, y := range values {
		// Spread without chance: the golden ratio's multiples cover the width evenly.
		_, spread := math.Modf(float64(i) * math.Phi)
		points[i] = plotter.XY{X: at - 0.3 + 0.35*spread, Y: y}
	}
	scatter, err := plotter.NewScatter(points)
	if err != nil {
		return err
	}
	faint := colourOf(arm)
	faint.A = 0x90
	scatter.GlyphStyle = draw.GlyphStyle{Color: faint, Radius: vg.Points(2), Shape: glyphs[arm%len(glyphs)]}
	middle := stats.Interval{Mean: quantile(values, 0.5), Low: quantile(values, 0.25), High: quantile(values, 0.75)}
	bars, err := plotter.NewYErrorBars(intervals{[]float64{at + 0.2}, []stats.Interval{middle}})
	if err != nil {
		return err
	}
	bars.Color, bars.Width, bars.CapWidth = colourOf(arm), vg.Points(1.6), vg.Points(6)
	median, err := plotter.NewScatter(plotter.XYs{{X: at + 0.2, Y: middle.Mean}})
	if err != nil {
		return err
	}
	median.GlyphStyle = draw.GlyphStyle{Color: colourOf(arm), Radius: vg.Points(3.5), Shape: draw.CircleGlyph{}}
	p.Add(scatter, bars, median)
	return nil
}

// plotCurves draws the best return over steps by strategy, with bands.
func (r *report) plotCurves(workload int, file string) error {
	p := newPlot("Whole runs: "+r.spec.Presets[workload].Label, "environment steps of the population, in millions", "best member's return in training (IQM)")
	legend := p.Legend
	var lines []plot.Plotter
	for a, arm := range r.spec.arms {
		c := r.curveOf(workload, a)
		if len(c.steps) == 0 {
			continue
		}
		upper, lower, middle := make(plotter.XYs, 0, 2*len(c.steps)), make(plotter.XYs, 0, len(c.steps)), make(plotter.XYs, 0, len(c.steps))
		for k, x := range c.steps {
			upper = append(upper, plotter.XY{X: x / 1e6, Y: c.best[k].High})
			lower = append(lower, plotter.XY{X: x / 1e6, Y: c.best[k].Low})
			middle = append(middle, plotter.XY{X: x / 1e6, Y: c.best[k].Mean})
		}
		slices.Reverse(lower)
		band, err := plotter.NewPolygon(append(upper, lower...))
		if err != nil {
			return fmt.Errorf("study: plot %s: strategy %s: %w", file, arm.Name, err)
		}
		faint := colourOf(a)
		faint.A = 0x1A
		band.Color, band.LineStyle.Width = faint, 0
		line, err := plotter.NewLine(middle)
		if err != nil {
			return fmt.Errorf("study: plot %s: strategy %s: %w", file, arm.Name, err)
		}
		line.LineStyle = lineOf(a)
		p.Add(band)
		lines = append(lines, line)
		legend.Add(arm.Name, line)
	}
	p.Add(lines...)
	return r.save(p, legend, file)
}

// plotFactors draws copy less reset by bin; it says whether any bin has an interval.
func (r *report) plotFactors(bins []stats.Interval, file string) (drawn bool, err error) {
	p := newPlot("Copy less reset", "largest factor by which a hyperparameter changed", "difference in standard deviations")
	var v intervals
	names := make([]string, len(bins))
	for i, b := range bins {
		names[i] = binName(i)
		if !math.IsNaN(b.Mean) {
			v.x, v.y = append(v.x, float64(i)), append(v.y, b)
		}
	}
	if len(v.x) == 0 {
		return false, nil
	}
	p.X.Tick.Marker = positions(names)
	p.X.Min, p.X.Max = -0.5, float64(len(names))-0.5
	zeroLine(p, 0)
	legend := p.Legend
	if err := addIntervals(p, &legend, "all workloads", 0, v, false); err != nil {
		return false, fmt.Errorf("study: plot %s: %w", file, err)
	}
	return true, r.save(p, legend, file)
}
