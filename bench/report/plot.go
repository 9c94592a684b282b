package report

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"gxswitch/bench/stat"
)

// figure is a plot with what it shows, as SVG that stands in an HTML page.
type figure struct {
	Title string
	SVG   template.HTML
}

// Of a plot.
const (
	plotWidth  = 17 * vg.Centimeter
	plotHeight = 9 * vg.Centimeter
)

// colours tell arms apart, also for readers who can't tell red from green
// (Okabe and Ito).
var colours = []color.Color{
	color.RGBA{0x77, 0x77, 0x77, 0xff},
	color.RGBA{0xe6, 0x9f, 0x00, 0xff},
	color.RGBA{0x00, 0x72, 0xb2, 0xff},
	color.RGBA{0xd5, 0x5e, 0x00, 0xff},
	color.RGBA{0x00, 0x9e, 0x73, 0xff},
	color.RGBA{0xcc, 0x79, 0xa7, 0xff},
}

func (r Results) colour(arm string) color.Color {
	for i, a := range r.Arms {
		if a.Name == arm {
			return colours[i%len(colours)]
		}
	}
	return color.Black
}

// series are the plots of those that there are figures for: their name, title,
// what is along the x axis, and which metric.
var series = []struct{ name, title, x, metric string }{
	{"throughput", "Throughput by frame size, one sender at full speed", "frame size (bytes, with FCS)", "delivered"},
	{"rfc2544", "Highest rate without loss, by frame size (RFC 2544)", "frame size (bytes, with FCS)", "no loss"},
	{"ports", "Throughput as idle ports grow, 64-byte frames", "idle ports", "delivered"},
	{"addresses", "Throughput as stations grow, 64-byte frames", "stations", "delivered"},
	{"broadcast", "Copies delivered of broadcast frames", "receiving ports", "delivered"},
}

// figures draws everything that has more than one point.
func (r Results) figures() ([]figure, error) {
	var all []figure
	for _, s := range series {
		var of []Measure
		for _, m := range r.Measures {
			if m.Series == s.name && m.answered() {
				of = append(of, m)
			}
		}
		if len(of) < 2 {
			continue
		}
		f, err := r.curve(of, s.title, s.x, s.metric)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	for _, m := range r.Measures {
		if m.Series != "latency" || !m.answered() {
			continue
		}
		f, err := r.latency(m)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// answered reports whether there is a figure of any arm.
func (m Measure) answered() bool {
	for _, round := range m.Rounds {
		for _, run := range round {
			if len(run.Values) > 0 {
				return true
			}
		}
	}
	return false
}

// curve draws a series: medians, and the range of the rounds as bars. The
// points stand at equal distances, whatever their numbers.
func (r Results) curve(of []Measure, title, x, metric string) (figure, error) {
	p := newPlot(x)
	var unit shown
	for _, m := range of[0].Metrics {
		if m.Name == metric {
			unit = show(m.Unit)
		}
	}
	p.Y.Label.Text, p.Y.Min = unit.unit, 0
	var names []string
	for _, m := range of {
		names = append(names, strconv.FormatFloat(m.X, 'f', -1, 64))
	}
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.4, float64(len(of))-0.6
	for k, arm := range r.Running() {
		var points plotter.XYs
		var ranges plotter.YErrors
		for i, m := range of {
			sum := m.Summary(arm, metric)
			if sum.N == 0 {
				continue
			}
			y := sum.Median / unit.scale
			beside := 0.03 * (float64(k) - float64(len(r.Running())-1)/2) // so that bars don't hide each other
			points = append(points, plotter.XY{X: float64(i) + beside, Y: y})
			ranges = append(ranges, struct{ Low, High float64 }{y - sum.Min/unit.scale, sum.Max/unit.scale - y})
		}
		if err := r.draw(p, arm, points, ranges); err != nil {
			return figure{}, err
		}
	}
	p.Y.Max *= 1.25 // for the legend
	return render(p, title)
}

// latency draws a distribution, all rounds together, so that the tail is seen:
// every nine has the same room.
func (r Results) latency(m Measure) (figure, error) {
	p := newPlot("round trip (µs)")
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.TickerFunc(logTicks)
	p.Y.Label.Text = "share of responses within"
	p.Y.Tick.Marker = plot.ConstantTicks{
		{Value: nines(0.5), Label: "50 %"}, {Value: nines(0.9), Label: "90 %"}, {Value: nines(0.99), Label: "99 %"},
		{Value: nines(0.999), Label: "99.9 %"}, {Value: nines(0.9999), Label: "99.99 %"},
	}
	p.Y.Min, p.Y.Max = 0, nines(0.9999)
	p.Legend.Top = false // there is nothing slow at the bottom
	for _, arm := range r.Running() {
		if err := r.draw(p, arm, m.distribution(arm), nil); err != nil {
			return figure{}, err
		}
	}
	return render(p, m.Name+": "+m.About)
}

func nines(share float64) float64 { return -math.Log10(1 - share) }

// logTicks labels 1, 2 and 5 of every power of ten.
func logTicks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for _, d := range []float64{1, 2, 5} {
			if v := d * math.Pow(10, e); v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', -1, 64)})
			}
		}
	}
	return ticks
}

// distribution is the median over the rounds at each quantile.
func (m Measure) distribution(arm string) plotter.XYs {
	var shares []float64
	at := map[float64][]float64{}
	for _, round := range m.Rounds {
		for _, q := range round[arm].CDF {
			if at[q.Share] == nil {
				shares = append(shares, q.Share)
			}
			at[q.Share] = append(at[q.Share], q.Seconds)
		}
	}
	var points plotter.XYs
	for _, s := range shares {
		if s < 1 { // the greatest of all stands in the table
			points = append(points, plotter.XY{X: stat.Median(at[s]) * 1e6, Y: nines(s)})
		}
	}
	return points
}

func newPlot(x string) *plot.Plot {
	p := plot.New()
	for _, s := range []*text.Style{&p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		s.Font.Variant = "Sans"
	}
	p.X.Label.Text = x
	p.Legend.Top, p.Legend.Left = true, false
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{0xe0}, color.Gray{0xe0}
	p.Add(grid)
	return p
}

func (r Results) draw(p *plot.Plot, arm string, points plotter.XYs, ranges plotter.YErrors) error {
	if len(points) == 0 {
		return nil
	}
	line, dots, err := plotter.NewLinePoints(points)
	if err != nil {
		return fmt.Errorf("plot %s: %w", arm, err)
	}
	line.Color, line.Width = r.colour(arm), vg.Points(1.5)
	dots.Color, dots.Shape, dots.Radius = r.colour(arm), draw.CircleGlyph{}, vg.Points(2)
	p.Add(line, dots)
	if len(ranges) > 0 {
		bars, err := plotter.NewYErrorBars(struct {
			plotter.XYs
			plotter.YErrors
		}{points, ranges})
		if err != nil {
			return fmt.Errorf("plot %s: %w", arm, err)
		}
		bars.Color = r.colour(arm)
		p.Add(bars)
	}
	p.Legend.Add(arm, line, dots)
	return nil
}

func render(p *plot.Plot, title string) (figure, error) {
	c := vgsvg.New(plotWidth, plotHeight)
	p.Draw(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return figure{}, err
	}
	svg := b.Bytes()
	if i := bytes.Index(svg, []byte("<svg")); i > 0 { // a page has its own prologue
		svg = svg[i:]
	}
	return figure{title, template.HTML(svg)}, nil
}
