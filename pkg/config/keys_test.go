package config

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestKeysAreComplete(t *testing.T) {
	documented := map[string]bool{}
	for _, k := range Keys() {
		documented[k.Path] = true
		if k.Doc == "" {
			t.Errorf("%s: got no sentence in docs", k.Path)
		}
		if k.Type == "" || k.Required != (k.Default == "") {
			t.Errorf("%s: got type %q, default %q, required %v; want a type, and a default unless required",
				k.Path, k.Type, k.Default, k.Required)
		}
	}
	for path := range docs {
		if !documented[path] {
			t.Errorf("%s: is in docs, but is no key", path)
		}
	}
}

// What Keys calls a default is one: written out, it changes nothing.
func TestKeysDefaultsReadBack(t *testing.T) {
	for _, k := range Keys() {
		if k.Required {
			continue
		}
		got, want := parseKey(t, k.Path, k.Default), parseKey(t, k.Path, "")
		if got, want := fmt.Sprintf("%+v", *got), fmt.Sprintf("%+v", *want); got != want {
			t.Errorf("%s = %s\n got %s\nwant %s", k.Path, k.Default, got, want)
		}
	}
}

// parseKey reads a file with one key at a value, or, without one, with the
// tables around the key alone.
func parseKey(t *testing.T, path, value string) *Config {
	t.Helper()
	var b strings.Builder
	parts := strings.Split(path, ".")
	for i, part := range parts[:len(parts)-1] {
		header := strings.ReplaceAll(strings.Join(parts[:i+1], "."), "[]", "")
		if strings.HasSuffix(part, "[]") {
			fmt.Fprintf(&b, "[[%s]]\n", header)
		} else {
			fmt.Fprintf(&b, "[%s]\n", header)
		}
	}
	if value != "" {
		fmt.Fprintf(&b, "%s = %s\n", parts[len(parts)-1], value)
	}
	c, err := Parse("limeload.toml", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if ps := c.source.problems; len(ps) > 0 {
		t.Errorf("%s = %s: got problem %s", path, value, ps[0])
	}
	c.source = source{}
	return c
}

func TestFullExampleHasEveryKey(t *testing.T) {
	data, err := os.ReadFile("testdata/full.toml")
	if err != nil {
		t.Fatal(err)
	}
	// A key that means something to other types only stands under also.
	written := map[string]bool{}
	for path := range positions(data) {
		path = regexp.MustCompile(`\[\d+\]`).ReplaceAllString(path, "[]")
		written[strings.Replace(path, "health.also[].", "health.", 1)] = true
	}
	for _, k := range Keys() {
		if !written[k.Path] {
			t.Errorf("testdata/full.toml: got no %s", k.Path)
		}
	}
}

func TestDefaultsAreAmongTheirChoices(t *testing.T) {
	p := DefaultPool()
	for _, test := range []struct {
		value string
		all   []string
	}{
		{Default().Log.Level, LogLevels()},
		{Default().Log.Format, LogFormats()},
		{Default().Engine.Type, EngineTypes()},
		{p.Algorithm[0], Algorithms()},
		{p.Failback, Failbacks()},
		{p.OnSplit, OnSplits()},
		{p.Health.Initial, Initials()},
		{p.Health.OnDown, OnDowns()},
		{p.WhenDown, WhenDowns()},
		{p.Health.Type, HealthTypes()},
	} {
		if !slices.Contains(test.all, test.value) {
			t.Errorf("got default %q; want one of %q", test.value, test.all)
		}
	}
}

func TestShortDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 90 * time.Second: "1m30s", time.Minute: "1m", time.Hour: "1h", 90 * time.Minute: "1h30m", time.Millisecond: "1ms",
	} {
		if got := shortDuration(d); got != want {
			t.Errorf("%v: got %s; want %s", d, got, want)
		}
	}
}
