package proxy

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/limeload/limeload/pkg/limit"
)

// Refusal says what would be in the way of a client now: no name for nothing, else the
// name and the rule or limit in words. Nothing is counted or taken. It follows admit, and
// like there those who are held before the client have what they wait for first.
func (l *Listener) Refusal(client netip.Addr) (name, rule string) {
	a := l.conf.Load().Admission
	if a == nil {
		return "", ""
	}
	if a.Access != nil && a.Access.Denies(client) && !a.AccessDryRun {
		return AccessDenied.String(), a.Access.Rule(client)
	}
	if a.Memory.Near() {
		return LimitMemory.String(), fmt.Sprintf("the process is near its limit of %d bytes", a.Memory.Limit())
	}
	if n := a.All.Connections; n > 0 && !a.All.DryRun {
		inside, ahead := int(l.inside.Load()), l.ahead(a.All.DelayConnections, line{limit: LimitConnections}, spot{})
		if inside+ahead >= n {
			return LimitConnections.String(), fmt.Sprintf("%d of %d sessions", inside, n) + inLine(ahead)
		}
	}
	now := limit.Now()
	if src, ok := l.source(a, client); ok && !a.Each.isZero() && !a.Each.DryRun {
		if name, rule := l.sourceRefusal(&a.Each, src, now); name != "" {
			return name, rule
		}
	}
	if !a.All.Rate.IsZero() && !a.All.DryRun {
		wait, ahead := l.rate.Wait(a.All.Rate, now), l.ahead(a.All.DelayRate, line{limit: LimitRate}, spot{})
		if wait > 0 || early(ahead, a.All.Rate.Interval()) {
			due := wait + time.Duration(ahead)*a.All.Rate.Interval()
			return LimitRate.String(), fmt.Sprintf("the next session is due in %v", due.Round(time.Millisecond)) + inLine(ahead)
		}
	}
	return "", ""
}

// sourceRefusal is Refusal for what one source may take.
func (l *Listener) sourceRefusal(q *Quota, src limit.Source, now int64) (name, rule string) {
	places := l.ahead(q.DelayConnections, line{LimitSourceConnections, src}, spot{})
	tokens := l.ahead(q.DelayRate, line{LimitSourceRate, src}, spot{})
	outcome, live, wait := l.table.Load().Look(src, q.Quota, now)
	switch {
	case outcome == limit.NoRoom:
		return LimitSourceTable.String(), fmt.Sprintf("%s is new, and all %d sources that can be known have sessions", src.Prefix(), l.table.Load().Stats().Limit)
	case q.Connections > 0 && live+places >= q.Connections:
		return LimitSourceConnections.String(), fmt.Sprintf("%s has %d of %d sessions", src.Prefix(), live, q.Connections) + inLine(places)
	case outcome == limit.TooFast || early(tokens, q.Rate.Interval()):
		due := wait + time.Duration(tokens)*q.Rate.Interval()
		return LimitSourceRate.String(), fmt.Sprintf("%s may have its next session in %v", src.Prefix(), due.Round(time.Millisecond)) + inLine(tokens)
	}
	return "", ""
}

// inLine says how many are held that came before.
func inLine(ahead int) string {
	if ahead == 0 {
		return ""
	}
	return fmt.Sprintf(", %d in line before it", ahead)
}
