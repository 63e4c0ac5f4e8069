package standing

// The rule of failback = "manual": a backend whose work backups have taken over waits for a person.
//
//	                  fit again, while backups serve
//	serving ──> out ──────────────────────────────────> held
//	   ^         │ fit again, while they do not           │
//	   ├─────────┘                                        │
//	   └────────────── Release: a person ─────────────────┘
//
// A backend is fit when nothing but people, and this rule, keep it out. It stays held over further failures, and
// while the backups are down as well: what it has may be older than what they were given. The start of the
// process is no recovery, nor is a backend that people have just put in or back.
func (p *Pool) failback(r *row, fit, backupsServe bool) {
	switch {
	case !p.o.Manual || r.Spec.Backup:
		r.held = false
	case fit && !r.fit && backupsServe && !r.fresh && !r.pass:
		r.held = true
	}
	if r.fit && !fit {
		r.pass = false
	}
	r.fit = fit
}

// backupsServe is whether, as of the last Settle, the pool's sessions went to backups.
func (p *Pool) backupsServe() bool {
	backups := false
	for _, r := range p.rows {
		if r.serves() && !r.Spec.Backup {
			return false
		}
		backups = backups || r.serves()
	}
	return backups
}

// serves is whether r got sessions as of the last Settle.
func (r *row) serves() bool { return r.ruling.settled && r.ruling.Cause == NoCause }
