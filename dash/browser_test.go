package dash

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"brood/internal/pyenv"
	"brood/presets"
	"brood/train"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

var screenshots = flag.String("screenshots", "", "folder to write pictures of the page to, such as docs/images of the module")

// browser finds Chromium.
func browser(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	pyenv.Missing(t, "there is no chromium in PATH to open the page with")
	return ""
}

// tab is a page in a browser, whose errors fail the test.
type tab struct {
	context.Context
	t testing.TB
}

func openTab(t testing.TB, width, height int64) *tab {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser(t)), chromedp.WindowSize(int(width), int(height)),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // which Chromium does not have for root
	}
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	whole, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	// The browser lives as long as the context of its first action.
	require.NoError(t, chromedp.Do(whole, chromedp.EmulateViewport(width, height)))
	require.NoError(t, chromedp.Listen(whole, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the page: %s", e.ExceptionDetails.Text)
		case *log.EventEntryAdded: // among these is what the content policy refuses
			if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
				t.Errorf("the page: %s", e.Entry.Text)
			}
		}
	}))
	ctx, cancel := context.WithTimeout(whole, 90*time.Second)
	t.Cleanup(cancel)
	p := &tab{ctx, t}
	p.do(protocol(log.Enable, cdp.Empty{}), protocol(runtime.Enable, cdp.Empty{}))
	return p
}

// protocol is a command of the browser's own that chromedp has no name for.
func protocol[P, R any](command cdp.Command[P, R], parameters P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, command, parameters)
		return err
	})
}

func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	require.NoError(p.t, chromedp.Do(p, actions...))
}

// scheme sets what prefers-color-scheme says.
func (p *tab) scheme(name string) {
	p.t.Helper()
	p.do(protocol(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}}))
}

// open opens a page and waits until it is drawn.
func (p *tab) open(url string) {
	p.t.Helper()
	p.do(chromedp.Navigate(url))
	p.wait("window.brood && window.brood.drawn !== null")
}

// run runs a statement.
func (p *tab) run(statement string) {
	p.t.Helper()
	value[bool](p, "(() => { "+statement+"; return true })()")
}

// value is what an expression comes to.
func value[T any](p *tab, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(p.t, err, expression)
	return v
}

// wait waits until an expression is true.
func (p *tab) wait(expression string) {
	p.t.Helper()
	if _, err := chromedp.Run(p, chromedp.Poll[bool]("!!("+expression+")", chromedp.WithPollingTimeout(20*time.Second))); err != nil {
		text, _ := chromedp.Run(p, chromedp.Evaluate[string](`JSON.stringify(window.brood?.messages) + document.body.innerText.slice(0, 1500)`))
		require.NoError(p.t, err, "%s\nthe page: %s", expression, text)
	}
}

// ink counts the pixels of a canvas that are not as its corner is.
const ink = `((c) => { const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data; let n = 0;
	for (let i = 0; i < d.length; i += 4) if (Math.abs(d[i]-d[0]) + Math.abs(d[i+1]-d[1]) + Math.abs(d[i+2]-d[2]) + Math.abs(d[i+3]-d[3]) > 24) n++; return n; })`

func TestPageOfAFinishedRun(t *testing.T) {
	s := serve(t, Options{Dirs: []string{trained(t)}})
	p := openTab(t, 1400, 1000)
	p.open(s.URL())
	p.wait(`document.getElementById("state").textContent === "finished"`)
	require.Equal(t, 40, value[int](p, `brood.charts[0].plot.data[0].length`), "an x for each update")
	require.Equal(t, 7, value[int](p, `brood.charts[0].plot.data.length`), "x, 4 members, median and best")
	require.Greater(t, value[int](p, ink+`(document.querySelector("#returns canvas"))`), 2000, "curves are drawn")
	for i := range value[int](p, `brood.charts.length`) {
		p.run(fmt.Sprintf(`brood.charts[%d].element.scrollIntoView()`, i))
		p.wait(fmt.Sprintf(`brood.charts[%d].plot && %s(brood.charts[%d].element.querySelector("canvas")) > 300`, i, ink, i))
	}
	require.True(t, value[bool](p, `document.querySelectorAll("#strategies tbody tr").length > 0`), "strategies are told")
}

func TestTreeReactsToClicksAndKeys(t *testing.T) {
	s := serve(t, Options{Dirs: []string{trained(t)}})
	p := openTab(t, 1400, 1400)
	p.open(s.URL())
	require.Contains(t, value[string](p, `document.getElementById("member").textContent`), "Choose a member")
	before := value[string](p, `brood.tree.canvas.toDataURL()`)
	// A member whose present life began by a copy.
	copied := value[int](p, `brood.store.family.lives[brood.store.family.current.find((id) => brood.store.family.lives[id].p >= 0)].m`)
	at := value[map[string]float64](p, fmt.Sprintf(`(() => { brood.tree.canvas.scrollIntoView({block: "center"}); const r = brood.tree.canvas.getBoundingClientRect();
		const l = brood.tree.laneOf(%d); return {x: r.x + l.x, y: r.y + l.y}; })()`, copied))
	p.do(chromedp.MouseClickXY(at["x"], at["y"]))
	p.wait(fmt.Sprintf(`document.querySelector("#member h3")?.textContent.startsWith("Member %d")`, copied))
	require.NotEqual(t, before, value[string](p, `brood.tree.canvas.toDataURL()`), "the way is drawn")
	require.Contains(t, value[string](p, `document.getElementById("member").textContent`), "copied member")
	require.Greater(t, value[int](p, `document.querySelectorAll("#member table tbody tr").length`), 1, "values along the ancestry")
	require.Greater(t, value[int](p, `document.querySelectorAll("#member .chip").length`), 1)

	p.run(`brood.tree.canvas.focus()`)
	p.do(chromedp.KeyEvent(kb.Home))
	p.wait(`brood.store.selected === 0`)
	p.do(chromedp.KeyEvent(kb.ArrowDown))
	p.wait(`brood.store.selected === 1`)
	p.do(chromedp.KeyEvent(kb.Escape))
	p.wait(`brood.store.selected === null`)
}

func TestPlayingMoves(t *testing.T) {
	for _, id := range []string{"CartPole-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1"} {
		t.Run(id, func(t *testing.T) {
			s := serve(t, Options{Dirs: []string{trained(t, "env.id="+id, "run.total_steps=2048")}})
			p := openTab(t, 1400, 1000)
			p.open(s.URL())
			p.wait(`/step [1-9]/.test(document.getElementById("played").textContent)`)
			require.Greater(t, value[int](p, ink+`(brood.player.canvas)`), 500, "a scene is drawn")
			first := value[string](p, `brood.player.canvas.toDataURL()`)
			encoded, err := json.Marshal(first)
			require.NoError(t, err)
			p.wait(`brood.player.canvas.toDataURL() !== ` + string(encoded))
		})
	}
}

// picture writes what is seen, where -screenshots is given.
func (p *tab) picture(name string) {
	if *screenshots == "" {
		return
	}
	data, err := chromedp.Run(p, chromedp.CaptureScreenshot())
	require.NoError(p.t, err)
	require.NoError(p.t, os.MkdirAll(*screenshots, 0o755))
	require.NoError(p.t, os.WriteFile(filepath.Join(*screenshots, name), data, 0o644))
}

// The pictures of the documentation, of a run of the preset: only with -screenshots.
func TestPictures(t *testing.T) {
	if *screenshots == "" {
		t.Skip("only with -screenshots FOLDER")
	}
	preset, _ := presets.Find("cartpole")
	text, err := preset.YAML()
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "cartpole")
	run, err := train.New(configOf(t, string(text), "pbt.population_size=16", "run.total_steps=6e6"), train.Options{Dir: dir})
	require.NoError(t, err)
	_, err = run.Train(t.Context())
	require.NoError(t, err)
	require.NoError(t, run.Close())
	s := serve(t, Options{Dirs: []string{dir}})
	for _, theme := range []string{"light", "dark"} {
		p := openTab(t, 1440, 1500)
		p.scheme(theme)
		p.open(s.URL())
		p.wait(`/step [5-9][0-9]/.test(document.getElementById("played").textContent)`)
		p.run(`brood.store.select(brood.store.run.best_member); window.scrollTo(0, 0)`)
		p.wait(`document.querySelector("#member h3")`)
		p.picture("dashboard" + map[string]string{"light": "", "dark": "-dark"}[theme] + ".png")
	}
	p := openTab(t, 390, 2400)
	p.open(s.URL())
	p.picture("dashboard-phone.png")
}
