package server

import "fmt"

// Ready reports whether clients can be served: by a listener, or as a whole for the
// empty name, which needs every pool, those that no listener uses too. If not, why
// tells a person. The error is ErrUnknown.
func (s *Server) Ready(listener string) (ready bool, why string, err error) {
	if why := s.outOfService(); why != "" {
		return false, why, nil
	}
	st := s.state.Load()
	if listener != "" && st.listener(listener) == nil {
		return false, "", fmt.Errorf("listener %q: %w", listener, ErrUnknown)
	}
	for _, l := range st.listeners {
		if listener != "" && l.cfg.Name != listener {
			continue
		}
		if why := st.pool(l.cfg.Pool).unready(); why != "" {
			return false, "listener " + l.cfg.Name + ": " + why, nil
		}
	}
	if listener == "" {
		for _, p := range st.pools {
			if why := p.unready(); why != "" {
				return false, why, nil
			}
		}
	}
	return true, "", nil
}

// PoolReady is Ready for one pool.
func (s *Server) PoolReady(pool string) (ready bool, why string, err error) {
	if why := s.outOfService(); why != "" {
		return false, why, nil
	}
	p := s.state.Load().pool(pool)
	if p == nil {
		return false, "", fmt.Errorf("pool %q: %w", pool, ErrUnknown)
	}
	why = p.unready()
	return why == "", why, nil
}

// outOfService is why nothing is served now, empty if that is not so.
func (s *Server) outOfService() string {
	select {
	case <-s.started:
	default:
		return "starting"
	}
	if s.stopping.Load() {
		return "stopping"
	}
	return ""
}
