package ingest

import "github.com/footfall-engage/footfall/sdkproto"

// Forget ends the session of an install whose person was erased, whose token is not
// good any more, and drops what was remembered of the install: if it comes again, it
// is judged by what is known of it then.
func (g *Gateway) Forget(workspace, id string) {
	if s := g.sessions.find(workspace, id); s != nil {
		s.close(sdkproto.CloseToken, "the install is not known any more", patiently)
	}
	g.installs.forget(installKey{workspace, id})
}

func (x *installs) forget(key installKey) {
	x.mu.Lock()
	in := x.byKey[key]
	if in != nil && in.users == 0 {
		x.unused.Remove(in.element)
		delete(x.byKey, key)
	}
	x.mu.Unlock()
	if in == nil {
		return
	}
	in.mu.Lock()
	in.loaded = false
	in.view = view{}
	in.lastSeq.Store(0)
	in.mu.Unlock()
	in.downMu.Lock()
	x.forgetDown(in)
	in.downMu.Unlock()
}
