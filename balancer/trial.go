package balancer

// A backend on trial has one session at a time: the next one that comes, whatever the algorithm would have
// chosen, so that the trial happens soon. Where ip-hash comes first in the chain, it is the next one that is at
// home there, since others would not be with their backend.
//
//	          Acquire            ClaimTrial           EndTrial
//	free ----------------> taken ----------> claimed ----------> free
//
// Whoever acquires calls ClaimTrial at once: only the session knows whether it is the trial, since another
// table may have been in force a moment ago. All is in one word of the Backend, the phase in its lowest two
// bits and above them the ticket, the number of the trial.

const (
	trialFree uint64 = iota
	trialTaken
	trialClaimed
	trialPhase = 3 // mask
	nextTicket = 4 // a ticket's unit in the word
)

// ClaimTrial answers the ticket of the trial that the Acquire before it began, or 0 if that was an ordinary
// one. It costs a load for an ordinary one.
func (b *Backend) ClaimTrial() (ticket uint32) {
	w := b.trial.Load()
	if w&trialPhase != trialTaken || !b.trial.CompareAndSwap(w, w-trialTaken+trialClaimed) {
		return 0
	}
	return uint32(w / nextTicket)
}

// EndTrial makes room for the next trial. A ticket whose trial is over has no effect.
func (b *Backend) EndTrial(ticket uint32) {
	w := b.trial.Load()
	if w&trialPhase == trialClaimed && uint32(w/nextTicket) == ticket {
		b.trial.CompareAndSwap(w, w-trialClaimed+trialFree)
	}
}

// beginTrials makes room whatever trial there was: its session may live on for long.
func (b *Backend) beginTrials() {
	for {
		w := b.trial.Load()
		if b.trial.CompareAndSwap(w, w&^trialPhase+nextTicket+trialFree) {
			return
		}
	}
}

// takeTrial begins a trial, unless there is one or the backend is at its limit.
func (b *Backend) takeTrial(limit int64) bool {
	w := b.trial.Load()
	if w&trialPhase != trialFree || !b.trial.CompareAndSwap(w, w+nextTicket+trialTaken) {
		return false
	}
	if !b.reserve(limit) {
		b.trial.CompareAndSwap(w+nextTicket+trialTaken, w+nextTicket+trialFree)
		return false
	}
	return true
}

// try begins the trial of a backend that waits for one and suits the request; nil if there is none.
func (t *tier) try(q request) *Backend {
	for _, i := range t.trials {
		r := &t.rows[i]
		if !q.tried.Has(r.backend) && t.atHome(i, q) && r.backend.takeTrial(r.limit) {
			return r.backend
		}
	}
	return nil
}

// atHome reports whether the client may be sent to the row at i for a trial: under ip-hash only one that would
// be sent there anyway.
func (t *tier) atHome(i int32, q request) bool {
	if !t.sticky() || !q.client.IsValid() {
		return true
	}
	return t.slotOf(t.hashOf(q.client)) == i
}

// sticky reports whether clients have a home.
func (t *tier) sticky() bool {
	_, ok := t.chain[0].(ipHash)
	return ok
}
