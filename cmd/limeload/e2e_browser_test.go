//go:build linux

package main_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/limeload/limeload/pkg/testserver"
)

// browserFlags keep the browser to what the test asks of it: no window, no sandbox
// (tests run as root), nothing of its own on the network.
var browserFlags = []chromedp.ExecAllocatorOption{
	chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
	chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
	chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
	chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true),
	chromedp.Flag("disable-background-timer-throttling", true), chromedp.Flag("disable-renderer-backgrounding", true),
	chromedp.Flag("force-color-profile", "srgb"),
}

// tab is a page in a browser of its own.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	errors []string // what the console was told of
}

// openTab starts a browser, with an empty profile, and opens a page in it. When t ends
// the console must have told of no error but those that allow accepts.
func openTab(t *testing.T, url string, width, height int64, allow func(text string) bool) *tab {
	t.Helper()
	flags := append([]chromedp.ExecAllocatorOption{
		chromedp.ExecPath(testserver.Chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(patience),
	}, browserFlags...)
	ctx, stop := chromedp.NewExecAllocator(context.Background(), flags...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.EmulateViewport(width, height))
	b.theme("light")
	b.do(chromedp.Navigate(url))
	t.Cleanup(func() { b.check(allow) })
	return b
}

func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.errors = append(b.errors, fmt.Sprintf("exception: %s", e.ExceptionDetails.Exception.Description))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			b.errors = append(b.errors, fmt.Sprintf("console: %s", e.Args[0].Description))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			b.errors = append(b.errors, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}

func (b *tab) check(allow func(text string) bool) {
	if b.t.Failed() {
		b.screenshot("failed-" + strings.ReplaceAll(b.t.Name(), "/", "-"))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.errors {
		if allow == nil || !allow(text) {
			b.t.Errorf("the browser's console has an error: %s", text)
		}
	}
}

func (b *tab) do(step chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, step); err != nil {
		b.t.Fatal(err)
	}
}

// eval answers what an expression of JavaScript is in the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits until a condition in JavaScript holds in the page.
func (b *tab) until(what, condition string) {
	b.t.Helper()
	for end := time.Now().Add(patience); !eval[bool](b, "Boolean("+condition+")"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("the page does not show that %s within %v: %s\n%s", what, patience, condition, eval[string](b, "document.body.innerText"))
		}
	}
}

// says waits until what a selector finds contains a text.
func (b *tab) says(selector, text string) {
	b.t.Helper()
	b.until(selector+" says "+text, fmt.Sprintf("document.querySelector(%s)?.textContent.includes(%s)", strconv.Quote(selector), strconv.Quote(text)))
}

// click clicks with the mouse on what a selector finds, as a person does.
func (b *tab) click(selector string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible)); err != nil {
		b.t.Fatalf("click %s: %v", selector, err)
	}
}

func (b *tab) typeText(text string) { b.t.Helper(); b.do(chromedp.KeyEvent(text)) }

// theme sets what the system of the person prefers: light or dark, and no motion, so
// that pictures are of what stands still.
func (b *tab) theme(scheme string) {
	b.t.Helper()
	b.do(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
		})
		return chromedp.Void{}, err
	})
}

// screenshots is where pictures of the page are put, for people to look at.
func screenshots() string {
	if dir := os.Getenv("LIMELOAD_SCREENSHOTS"); dir != "" {
		return dir
	}
	return filepath.Join("testdata", "screenshots")
}

// screenshot takes a picture of what is in the window; longScreenshot of all of the page.
func (b *tab) screenshot(name string) { b.t.Helper(); b.picture(name, chromedp.CaptureScreenshot()) }
func (b *tab) longScreenshot(name string) {
	b.t.Helper()
	b.picture(name, chromedp.FullScreenshot(100))
}

func (b *tab) picture(name string, take chromedp.Action[[]byte]) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, take)
	if err == nil {
		err = os.MkdirAll(screenshots(), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(screenshots(), name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// nameless are the controls that a screen reader could not name, by their role.
func (b *tab) nameless() (found []string) {
	b.t.Helper()
	tree, err := chromedp.Run(b.ctx, func(ctx context.Context, t *chromedp.Target) (accessibility.GetFullAXTreeResult, error) {
		return cdp.Call(ctx, t, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	})
	if err != nil {
		b.t.Fatal(err)
	}
	controls := " button link textbox searchbox spinbutton combobox checkbox dialog table region "
	seen := 0
	for _, n := range tree.Nodes {
		if n.Ignored || n.Role == nil || !strings.Contains(controls, " "+strings.Trim(string(n.Role.Value), `"`)+" ") {
			continue
		}
		seen++
		if n.Name == nil || strings.Trim(string(n.Name.Value), `"`) == "" {
			found = append(found, string(n.Role.Value))
		}
	}
	if seen < 10 {
		b.t.Errorf("the accessibility tree has %d controls; want the page's", seen)
	}
	return found
}

// pale are the texts that are too close to their background: less than WCAG's 4.5 to 1.
func (b *tab) pale() []string {
	b.t.Helper()
	return eval[[]string](b, contrast)
}

// contrast computes what WCAG 2.2, 1.4.3, asks for, from the colours as they are
// painted: a canvas turns any notation into bytes.
const contrast = `(() => {
	const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
	const rgba = (color) => {
		canvas.clearRect(0, 0, 1, 1);
		canvas.fillStyle = color;
		canvas.fillRect(0, 0, 1, 1);
		const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
		return [r, g, b, a / 255];
	};
	const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3]));
	const background = (node) => {
		if (!node) return [255, 255, 255];
		const own = rgba(getComputedStyle(node).backgroundColor);
		return own[3] === 1 ? own.slice(0, 3) : over(own, background(node.parentElement));
	};
	const light = (color) => {
		const [r, g, b] = color.map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const found = new Set();
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walker.nextNode()) {
		const node = walker.currentNode.parentElement;
		if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest(":disabled, .skip, noscript, option")) continue;
		const under = background(node);
		const [a, b] = [light(over(rgba(getComputedStyle(node).color), under)), light(under)].sort((x, y) => y - x);
		const ratio = (a + 0.05) / (b + 0.05);
		if (ratio < 4.5) found.add(node.tagName + "." + node.className + " " + ratio.toFixed(2) + ": " + walker.currentNode.data.trim().slice(0, 30));
	}
	return [...found];
})()`
