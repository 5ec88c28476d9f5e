package dash

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
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

// shared is the browser of all tests: starting one takes longer than most of them.
var shared struct {
	sync.Mutex
	context.Context
	cancel []context.CancelFunc
}

func TestMain(m *testing.M) {
	code := m.Run()
	for i := len(shared.cancel) - 1; i >= 0; i-- {
		shared.cancel[i]()
	}
	os.Exit(code)
}

func sharedBrowser(t testing.TB) context.Context {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.Context != nil {
		return shared.Context
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser(t)), chromedp.WindowSize(1400, 1000),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // which Chromium does not have for root
	}
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	whole, cancelToo := chromedp.NewContext(allocator)
	// The browser lives as long as the context of its first action.
	require.NoError(t, chromedp.Do(whole, chromedp.Navigate("about:blank")))
	shared.Context, shared.cancel = whole, []context.CancelFunc{cancel, cancelToo}
	return whole
}

func openTab(t testing.TB, width, height int64) *tab {
	t.Helper()
	own, cancel := chromedp.NewContext(sharedBrowser(t))
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(own, chromedp.EmulateViewport(width, height)))
	require.NoError(t, chromedp.Listen(own, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the page: %s %s", e.ExceptionDetails.Text, described(e.ExceptionDetails.Exception))
		case *log.EventEntryAdded: // among these is what the content policy refuses
			if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
				t.Errorf("the page: %s", e.Entry.Text)
			}
		}
	}))
	ctx, cancelToo := context.WithTimeout(own, 90*time.Second)
	t.Cleanup(cancelToo)
	p := &tab{ctx, t}
	p.do(protocol(log.Enable, cdp.Empty{}), protocol(runtime.Enable, cdp.Empty{}))
	return p
}

// described is what an exception says of itself.
func described(o *runtime.RemoteObject) string {
	if o == nil {
		return ""
	}
	return fmt.Sprint(o.Description)
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

// A page that is open sees the run go on, and its end, by itself.
func TestPageSeesARunToItsEnd(t *testing.T) {
	r := runHere(t)
	r.until(t, 12)
	p := openTab(t, 1400, 1000)
	p.open(r.server.URL())
	p.wait(`document.getElementById("state").textContent === "running" && !document.getElementById("controls").hidden`)
	require.Less(t, value[int](p, `brood.store.history.updates`), 40)

	// Commands take effect at the end of an update, of which the run needs one more.
	p.run(`document.getElementById("pause").click()`)
	p.wait(`document.getElementById("state").textContent === "pausing …"`)
	require.EqualValues(t, 13, <-r.updates)
	p.wait(`document.getElementById("state").textContent === "paused"`)
	p.run(`document.getElementById("checkpoint").click()`)
	p.wait(`brood.store.run.checkpoint.update === 13`)
	p.run(`document.getElementById("pause").click()`)
	p.wait(`document.getElementById("state").textContent === "running"`)
	r.finish(t)
	p.wait(`document.getElementById("state").textContent === "finished"`)
	p.wait(`brood.store.history.updates === 40 && brood.store.history.points.length === 40 && brood.charts[0].plot.data[0].length === 40`)
	require.Positive(t, value[int](p, `brood.messages.rows ?? 0`), "the figures came as events")
	p.wait(`document.getElementById("controls").hidden`)
	p.wait(`brood.store.family.exploits === brood.store.run.exploits && brood.store.run.exploits > 0`)
	require.NoError(t, r.server.Close())
	p.wait(`!document.getElementById("ended").hidden`)
}

func TestStopIsAskedTwice(t *testing.T) {
	r := runHere(t)
	r.until(t, 5)
	p := openTab(t, 1400, 1000)
	p.open(r.server.URL())
	p.wait(`!document.getElementById("controls").hidden`)
	p.run(`document.getElementById("stop").click()`)
	require.Equal(t, "Really stop?", value[string](p, `document.getElementById("stop").textContent`))
	require.False(t, r.server.runs[0].live.here().Stopping, "once is not enough")
	p.run(`document.getElementById("stop").click()`)
	r.finish(t)
	p.wait(`document.getElementById("state").textContent === "stopped"`)
}

func TestPageBehindAToken(t *testing.T) {
	s := serve(t, Options{Dirs: []string{trained(t)}, Address: "0.0.0.0:0"})
	p := openTab(t, 1000, 800)
	p.do(chromedp.Navigate(s.local("/")))
	require.Contains(t, value[string](p, `document.body.innerText`), "needs the token")
	p.open(s.local("/?token=" + s.guard.token))
	require.Equal(t, "/", value[string](p, `location.pathname + location.search`), "the token does not stay in the address")
	require.Empty(t, value[string](p, `document.cookie`), "no script can read it")
	require.Equal(t, 40, value[int](p, `brood.charts[0].plot.data[0].length`))
}

func TestThemes(t *testing.T) {
	s := serve(t, Options{Dirs: []string{trained(t)}})
	p := openTab(t, 1000, 800)
	background := `getComputedStyle(document.body).backgroundColor`
	p.scheme("light")
	p.open(s.URL())
	light := value[string](p, background)
	curves := value[string](p, `document.querySelector("#returns canvas").toDataURL()`)
	p.scheme("dark")
	p.wait(background + ` !== "` + light + `"`)
	dark := value[string](p, background)
	p.wait(`document.querySelector("#returns canvas")?.toDataURL() !== "` + curves + `"`)
	p.run(`const s = document.getElementById("theme"); s.value = "light"; s.dispatchEvent(new Event("change"))`)
	require.Equal(t, light, value[string](p, background), "the switch has the last word")
	p.open(s.URL())
	require.Equal(t, light, value[string](p, background), "and is remembered")
	p.run(`const s = document.getElementById("theme"); s.value = "system"; s.dispatchEvent(new Event("change"))`)
	require.Equal(t, dark, value[string](p, background))
}

// Nothing is wider than a phone, and everything that can be used has a name.
func TestPageOnAPhone(t *testing.T) {
	s := serve(t, Options{Dirs: []string{trained(t)}})
	p := openTab(t, 360, 740)
	p.open(s.URL())
	require.LessOrEqual(t, value[int](p, `document.documentElement.scrollWidth`), 360)
	require.Empty(t, value[[]string](p, `[...document.querySelectorAll("button, select, canvas.tree")].filter((e) =>
		!(e.textContent.trim() && e.tagName === "BUTTON") && !e.getAttribute("aria-label") && !e.closest("label")?.textContent.trim()).map((e) => e.outerHTML)`))
}

func TestComparisonOfRuns(t *testing.T) {
	one, two := trained(t), trained(t, "run.total_steps=10240", "pbt.optimizer_exploit_strategy=copy")
	s := serve(t, Options{Dirs: []string{one, two}})
	p := openTab(t, 1400, 1000)
	p.open(s.URL())
	p.wait(`brood.compare?.plot && brood.compare.plot.data.length === 5 && brood.compare.plot.data[3].some((x) => x !== null)`)
	require.Contains(t, value[string](p, `document.getElementById("runs").innerText`), "copy", "what differs is told")
	p.run(`document.querySelectorAll("#runs button")[1].click()`)
	p.wait(`brood.store.run.run === 1 && brood.store.history.updates === 20 && brood.charts[0].plot?.data[0].length === 20`)
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
	run, err := train.New(configOf(t, string(text), "pbt.population_size=16", "run.total_steps=2e6", "pbt.perturbation_interval=4"), train.Options{Dir: dir})
	require.NoError(t, err)
	_, err = run.Train(t.Context())
	require.NoError(t, err)
	require.NoError(t, run.Close())
	s := serve(t, Options{Dirs: []string{dir}})
	for _, theme := range []string{"light", "dark"} {
		p := openTab(t, 1440, 1300)
		p.scheme(theme)
		p.open(s.URL())
		p.wait(`/step [5-9][0-9]/.test(document.getElementById("played").textContent)`)
		// The member whose weights have come the longest way.
		p.run(`const f = brood.store.family, way = (id) => brood.tree.ancestry(f.current[id]).length;
			brood.store.select(f.current.map((_, m) => m).sort((a, b) => way(b) - way(a))[0]); window.scrollTo(0, 0)`)
		p.wait(`document.querySelector("#member h3")`)
		p.picture("dashboard" + map[string]string{"light": "", "dark": "-dark"}[theme] + ".png")
	}
	p := openTab(t, 390, 1600)
	p.open(s.URL())
	p.wait(`/step [5-9][0-9]/.test(document.getElementById("played").textContent)`)
	p.picture("dashboard-phone.png")
}
