package config_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/limeload/limeload/pkg/config"
)

const onePool = "\n[[pool]]\nname = \"p\"\nbackend = [{ address = \"10.0.0.1:1\" }]\n"

func listenerWith(t *testing.T, keys string) config.Listener {
	t.Helper()
	c := parse(t, "[[listener]]\nname = \"l\"\nlisten = [\":1\"]\npool = \"p\"\n"+keys+onePool)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c.Listeners[0]
}

func TestPreset(t *testing.T) {
	tests := []struct {
		name, keys             string
		idle, half, stall      time.Duration
		keepaliveIdle, userEnd time.Duration
	}{
		{"none is the defaults", "", 0, 30 * time.Second, time.Hour, time.Minute, 0},
		{"postgres", `preset = "postgres"`, 0, 30 * time.Second, time.Hour, time.Minute, 0},
		{"mysql", `preset = "mysql"`, 0, 30 * time.Second, time.Hour, time.Minute, 0},
		{"redis", `preset = "redis"`, 0, 30 * time.Second, time.Minute, time.Minute, 0},
		{"http", `preset = "http"`, 2 * time.Minute, 10 * time.Second, time.Minute, time.Minute, 0},
		{
			"written keys win", "preset = \"http\"\ntimeouts = { idle = \"1h\" }\nuser_timeout = \"9s\"",
			time.Hour, 10 * time.Second, time.Minute, time.Minute, 9 * time.Second,
		},
		{
			"keys that are written as the default win", "preset = \"http\"\n[listener.timeouts]\nidle = \"0s\"\nstall = \"0s\"",
			0, 10 * time.Second, 0, time.Minute, 0,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := listenerWith(t, test.keys)
			got := fmt.Sprint(l.Timeouts.Idle, l.Timeouts.HalfClose, l.Timeouts.Stall, l.Keepalive.Idle, l.UserTimeout)
			want := fmt.Sprint(test.idle, test.half, test.stall, test.keepaliveIdle, test.userEnd)
			if got != want {
				t.Errorf("got %s; want %s (idle, half_close, stall, keepalive.idle, user_timeout)", got, want)
			}
		})
	}
}

// A flag is as explicit as a key of the file, and laying flags over does not bring a
// preset over what was written.
func TestPresetSettlesOnce(t *testing.T) {
	c := parse(t, "[[listener]]\nname = \"l\"\nlisten = [\":1\"]\npool = \"p\"\npreset = \"http\"\ntimeouts = { idle = \"1h\" }\n"+onePool)
	level := "debug"
	if err := c.Overlay(config.Flags{LogLevel: &level}); err != nil {
		t.Fatal(err)
	}
	if l := c.Listeners[0]; l.Timeouts.Idle != time.Hour || l.Timeouts.Stall != time.Minute || l.Preset != "http" {
		t.Errorf("got %+v, preset %q; want idle 1h, stall 1m, preset http", l.Timeouts, l.Preset)
	}
}

// The table in docs/configuration.md is what the presets say.
func TestPresetsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range config.Presets() {
		l := listenerWith(t, fmt.Sprintf("preset = %q", name))
		k := l.Keepalive
		row := fmt.Sprintf("| `%s` | %s | %s | %s | %.0f/%.0f/%d | %s |", name, short(l.Timeouts.Idle), short(l.Timeouts.HalfClose),
			short(l.Timeouts.Stall), k.Idle.Seconds(), k.Interval.Seconds(), k.Count, short(l.UserTimeout))
		if !strings.Contains(string(doc), row) {
			t.Errorf("docs/configuration.md has no row %s", row)
		}
	}
}

// short is 2m instead of 2m0s, and 1h instead of 1h0m0s.
func short(d time.Duration) string {
	return strings.NewReplacer("m0s", "m", "h0m0s", "h").Replace(d.String())
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]config.Rate{
		"0": 0, "0B/s": 0, "1000B/s": 1000, "10kB/s": 10e3, "10KB/s": 10e3, "10MB/s": 10e6, "1.5 GB/s": 1.5e9,
		"1KiB/s": 1024, "2MiB/s": 2 << 20, "1GiB/s": 1 << 30, "100Mbit/s": 12.5e6, "8kbit/s": 1000, "1Gbit/s": 125e6,
	} {
		got, err := config.ParseRate(text)
		if err != nil || got != want {
			t.Errorf("%s: got %d, %v; want %d", text, got, err, want)
		}
		if again, err := config.ParseRate(got.String()); err != nil || again != got {
			t.Errorf("%s is written as %s, which is %d, %v; want %d", text, got, again, err, got)
		}
	}
}

func FuzzParseRate(f *testing.F) {
	for _, s := range []string{"10MB/s", "0", "1e3B/s", "-1kbit/s", "GB/s", "NaNB/s", "infMB/s", "0x1B/s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := config.ParseRate(s)
		if err != nil {
			return
		}
		if again, err := config.ParseRate(r.String()); err != nil || again != r {
			t.Errorf("%q is %d, written %s, which is %d, %v", s, r, r, again, err)
		}
	})
}
