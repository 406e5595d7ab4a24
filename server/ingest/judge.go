package ingest

import (
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/footfall-engage/footfall/geo"
	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/identity"
)

const (
	// coarseResolution is the H3 resolution of positions without the consent to
	// precise ones; situate keeps them at the same.
	coarseResolution = 7
	// coarseAccuracyM is about the circumradius of such a cell.
	coarseAccuracyM = 1400
)

// fixBytes is about what an item takes that is a position, without its texts.
const fixBytes = 88

// judged is a batch after its items were judged one by one.
type judged struct {
	entries []engage.Entry
	rejects []*sdkpb.Reject
	through uint64 // highest seq
}

// judge decides which items of the batch may enter the log, changes the view by
// them, and encodes them, into the memory of room if that is enough. It owns the batch:
// positions are coarsened in place, and the items are in another order after it.
func (g *Gateway) judge(v *view, in *install, app *App, b *sdkpb.Batch, received time.Time, room []engage.Entry) judged {
	var j judged
	entries := slices.Grow(room[:0], len(b.Items))
	accepted := b.Items[:0]
	size := 0
	for _, item := range b.Items {
		j.through = max(j.through, item.GetSeq())
		x := v.judge(app, item, b, received)
		g.metrics.timed(x.how)
		if x.reject != nil {
			g.metrics.rejected(x.reject.GetCode())
			j.rejects = append(j.rejects, x.reject)
			continue
		}
		if x.kind == sdkproto.KindLogout {
			v.logout(engage.LogoutProfileID(in.key.workspace, in.key.install, item.GetSeq()), item.GetSeq())
		} else if x.kind == sdkproto.KindIdentify && !x.unproven {
			user := engage.PersonID(in.key.workspace, engage.IDUser+":"+item.GetIdentify().GetUserId())
			v.proved(user, engage.LogoutProfileID(in.key.workspace, in.key.install, item.GetSeq()), item.GetSeq())
		}
		g.metrics.accepted(x.kind)
		accepted = append(accepted, item)
		kind := engage.KindItem
		if x.unproven {
			kind = engage.KindUnproven
		}
		entries = append(entries, engage.Entry{Kind: kind, Key: in.entryKey, Occurred: x.at})
		if x.kind == sdkproto.KindLocation { // about; a little more memory costs less than to count
			size += fixBytes + len(item.GetItemId()) + len(item.GetBootId())
		} else {
			size += proto.Size(item)
		}
	}
	// One piece of memory for all bodies; the log owns it from here.
	buf := make([]byte, 0, size)
	j.entries = entries[:0]
	for i, item := range accepted {
		from := len(buf)
		grown, err := sdkproto.AppendItem(buf, item)
		if err != nil { // text that is not UTF-8, which both codecs refuse before
			g.metrics.rejected(string(sdkproto.RejectInvalid))
			j.rejects = append(j.rejects, sdkproto.NewReject(item, sdkproto.RejectInvalid, "", "cannot be encoded"))
			continue
		}
		buf = grown
		e := entries[i]
		e.Body = buf[from:len(buf):len(buf)]
		j.entries = append(j.entries, e)
	}
	return j
}

// verdict on one item.
type verdict struct {
	kind   sdkproto.Kind
	at     time.Time    // corrected, of an observation; zero of what the person said
	how    sdkproto.How // at was found; empty where it was not asked
	reject *sdkpb.Reject
	// unproven: it is an identification that nobody has proven.
	unproven bool
}

func (v *view) judge(app *App, item *sdkpb.Item, b *sdkpb.Batch, received time.Time) verdict {
	if reject := sdkproto.ValidateItem(item, b, received); reject != nil {
		out := verdict{reject: reject}
		if reject.GetField() == "occurred_ms" {
			out.how = sdkproto.HowAbsurd
		}
		return out
	}
	kind, reject := sdkproto.ItemBody(item)
	if reject != nil {
		return verdict{reject: reject}
	}
	var at time.Time
	var how sdkproto.How
	unproven := false
	if kind.Observation() {
		at, how = sdkproto.CorrectedTime(item, b, received)
	}
	switch kind {
	case sdkproto.KindLocation:
		reject = v.location(item, "location", item.GetLocation(), at)
	case sdkproto.KindRegionEvent:
		if reject = v.location(item, "region_event", item.GetRegionEvent().GetLocation(), at); reject == nil {
			v.regionEvent(item.GetRegionEvent(), at)
		}
	case sdkproto.KindBeacon:
		reject = v.beacon(item, at)
	case sdkproto.KindConsent:
		v.consent(item)
	case sdkproto.KindLifecycle:
		if item.GetSeq() >= v.phaseSeq {
			v.phaseSeq = item.GetSeq()
			v.background = item.GetLifecycle().GetState() == sdkpb.Lifecycle_STATE_BACKGROUND
		}
	case sdkproto.KindPermissions:
		if p := item.GetPermissions(); item.GetSeq() >= v.allowed.seq {
			v.allowed = permissions{item.GetSeq(), p.GetLocation(), p.GetPrecision()}
		}
	case sdkproto.KindIdentify:
		unproven, reject = identify(app, item, received)
	}
	return verdict{kind, at, how, reject, unproven}
}

// location judges a position, and what can only be known where positions may be.
// The position is nil where the OS attached none.
func (v *view) location(item *sdkpb.Item, field string, l *sdkpb.Location, at time.Time) *sdkpb.Reject {
	if item.GetSeq() < v.from {
		return sdkproto.NewReject(item, sdkproto.RejectConsent, field, "it was made before a logout that is in force")
	}
	if !v.mayLocate(item.GetSeq()) {
		phase := "in the foreground"
		if v.background {
			phase = "in the background"
		}
		if v.mayLocate(math.MaxUint64) {
			return sdkproto.NewReject(item, sdkproto.RejectConsent, field, "it was made before the consent to location %s", phase)
		}
		return sdkproto.NewReject(item, sdkproto.RejectConsent, field, "no consent to location %s", phase)
	}
	if l == nil {
		return nil
	}
	p := geo.Point{Lat: l.GetLat(), Lng: l.GetLng()}
	if !v.grantedAt(sdkpb.Consent_PURPOSE_LOCATION_PRECISE, item.GetSeq()) {
		cell, err := geo.CellOf(p, coarseResolution)
		if err != nil {
			return sdkproto.NewReject(item, sdkproto.RejectInvalid, field, "is not a position")
		}
		p = cell.Center()
		// Course, speed and height would tell more than the cell does.
		l.Lat, l.Lng, l.AccuracyM = p.Lat, p.Lng, max(l.GetAccuracyM(), coarseAccuracyM)
		l.SpeedMps, l.BearingDeg, l.AltitudeM = nil, nil, nil
		l.ProtoReflect().SetUnknown(nil)
	}
	if !v.positioned || !at.Before(v.positionAt) {
		v.position, v.positionAt, v.positioned = p, at, true
		v.accuracyM, v.speedMPS = l.GetAccuracyM(), l.GetSpeedMps()
	}
	return nil
}

// regionEvent notes that the bubble was left. The event enters the log like any
// other, so that the install's sequence has no hole; its region is no place's.
func (v *view) regionEvent(r *sdkpb.RegionEvent, at time.Time) {
	if r.GetRegionId() == sdkproto.BubbleID && r.GetTransition() == sdkpb.RegionEvent_TRANSITION_EXIT && at.After(v.leftAt) {
		v.leftAt = at
	}
}

// beacon judges that a beacon was heard, which is a position in other words.
func (v *view) beacon(item *sdkpb.Item, at time.Time) *sdkpb.Reject {
	b := item.GetBeacon()
	if reject := v.location(item, "beacon", b.GetLocation(), at); reject != nil {
		return reject
	}
	if !v.grantedAt(sdkpb.Consent_PURPOSE_LOCATION_PRECISE, item.GetSeq()) {
		b.RssiDbm, b.DistanceM = nil, nil
		b.ProtoReflect().SetUnknown(nil)
	}
	return nil
}

func (v *view) consent(item *sdkpb.Item) {
	c := item.GetConsent()
	a := &v.answers[c.GetPurpose()]
	if item.GetSeq() < a.seq { // the person has answered again since
		if !c.GetGranted() && a.grantedAt(item.GetSeq()) {
			a.yes = a.seq + 1
		}
		return
	}
	a.seq = item.GetSeq()
	if c.GetGranted() {
		if !a.granted() {
			a.yes = a.seq + 1
		}
		return
	}
	a.yes = 0
	if !v.located() {
		v.forgetPosition()
	} else if c.GetPurpose() == sdkpb.Consent_PURPOSE_LOCATION_PRECISE && v.positioned {
		if cell, err := geo.CellOf(v.position, coarseResolution); err == nil {
			v.position, v.accuracyM, v.speedMPS = cell.Center(), max(v.accuracyM, coarseAccuracyM), 0
		}
	}
}

// identify judges an identification by its proof, at the server's time, and takes the
// proof out of it: nobody behind the gateway needs one, and one that does not expire
// must not lie about.
func identify(app *App, item *sdkpb.Item, received time.Time) (unproven bool, _ *sdkpb.Reject) {
	i := item.GetIdentify()
	proven, fault := app.Identity.Judge(identity.Proof{UserID: i.GetUserId(), HMAC: i.GetHmac(), JWT: i.GetJwt()}, received)
	if fault != nil {
		code := sdkproto.RejectIdentity
		if fault.Expired {
			code = sdkproto.RejectExpired
		}
		return false, sdkproto.NewReject(item, code, fault.Field, "%s", fault.Reason)
	}
	if app.Suppressed != nil && app.Suppressed("user_id:"+i.GetUserId()) {
		if proven {
			return false, sdkproto.NewReject(item, sdkproto.RejectConsent, "user_id", "wants to be left alone: it is on the suppression list")
		}
		i.UserId, i.TraitsJson = "", "" // who has proven nothing is not told who is on the list
	}
	i.Hmac, i.Jwt = "", ""
	i.ProtoReflect().SetUnknown(nil) // a proof of a later version, perhaps
	return !proven, nil
}
