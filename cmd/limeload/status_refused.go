package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/limeload/limeload/pkg/client"
	"github.com/limeload/limeload/pkg/show"
)

// refusedTable says which clients listeners did not let in; nil if there was none.
func refusedTable(all []client.Listener, now time.Time) *show.Table {
	t := show.NewTable("LISTENER", "REFUSED BY", ">CLIENTS", "LATEST ONE", ">AGO", "RULE")
	rows := 0
	for i := range all {
		l := &all[i]
		for _, kind := range []struct {
			counts map[string]uint64
			dryRun bool
		}{{l.Refused, false}, {l.RefusedDryRun, true}} {
			for _, reason := range slices.Sorted(maps.Keys(kind.counts)) {
				latest := latestRefused(l, reason, kind.dryRun)
				ago := ""
				if latest.Client != "" {
					ago = show.Ago(now, &latest.Time)
				}
				t.Row(l.Name, refusedBy(reason, kind.dryRun), fmt.Sprint(kind.counts[reason]), latest.Client, ago, latest.Rule)
				rows++
			}
		}
	}
	if rows == 0 {
		return nil
	}
	return t
}

func refusedBy(reason string, dryRun bool) string {
	if dryRun {
		return reason + " (dry run)"
	}
	return reason
}

// latestRefused is the zero value where none was told of yet.
func latestRefused(l *client.Listener, reason string, dryRun bool) client.Refused {
	i := slices.IndexFunc(l.Lately, func(r client.Refused) bool { return r.Reason == reason && r.DryRun == dryRun })
	if i < 0 {
		return client.Refused{}
	}
	return l.Lately[i]
}
