package ingest_test

import (
	"net/http"
	"testing"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
	"github.com/footfall-engage/footfall/server/ingest"
)

// A phone that begins anew says whose place it takes. That is noted and nothing else:
// whoever says it of somebody's phone gains nothing, and takes nothing from it.
func TestToSayAFormerInstallGainsNothing(t *testing.T) {
	w := newWorld(t, ingest.Limits{})
	w.installs.known = map[string]ingest.Install{"phone-00001": {Consents: everything()}}
	ada := w.open("phone-00001", sdkproto.Protobuf{})
	ada.send(&sdkpb.Frame{Id: 2, TokenRefresh: &sdkpb.TokenRefresh{}})
	adas := ada.next().NewToken.GetDeviceToken()

	h := hello("phone-00002")
	h.FormerInstall = "phone-00001"
	reply, status := w.post(sdkproto.PathInstall, h, nil)
	eves := reply.GetHelloOk().GetNewDeviceToken()
	if status != http.StatusOK || eves == "" || reply.HelloOk.ThroughSeq != 0 || reply.Inbox != nil || reply.Regions != nil {
		t.Fatalf("%d %v", status, reply)
	}
	if said := w.log.hellos(t, "phone-00002"); len(said) != 1 || said[0].FormerInstall != "phone-00001" {
		t.Errorf("noted: %v", said)
	}
	if n := w.metric("footfall_ingest_begun_anew_total", ""); n != 1 {
		t.Errorf("counted %v times", n)
	}

	// Nothing of Ada's consents is hers: a position is refused.
	reply, status = w.post(sdkproto.PathBatch, batch(fix(1, 38.7, -9.1)), auth("phone-00002", eves))
	if status != http.StatusOK || len(reply.Ack.GetRejects()) != 1 || reply.Ack.Rejects[0].Code != string(sdkproto.RejectConsent) {
		t.Errorf("a position of hers: %d %v", status, reply)
	}
	// Ada's token is not hers, nor hers Ada's.
	for install, token := range map[string]string{"phone-00001": eves, "phone-00002": adas} {
		if reply, status := w.post(sdkproto.PathBatch, batch(), auth(install, token)); status != http.StatusUnauthorized {
			t.Errorf("another's token for %s: %d %v", install, status, reply)
		}
	}
	// Ada's session goes on, and so does her token.
	ada.send(&sdkpb.Frame{Id: 3, Batch: batch(fix(1, 38.7, -9.1))})
	f := ada.next()
	for f.Regions != nil { // she is where there are places
		f = ada.next()
	}
	if f.Re != 3 || f.Ack == nil || len(f.Ack.GetRejects()) != 0 {
		t.Errorf("her session: %v", f)
	}
	if reply, status := w.post(sdkproto.PathBatch, batch(), auth("phone-00001", adas)); status != http.StatusOK {
		t.Errorf("her token: %d %v", status, reply)
	}

	// Who has a token has no former install any more.
	h = hello("phone-00002")
	h.DeviceToken, h.FormerInstall = eves, "phone-00003"
	if reply, status := w.post(sdkproto.PathInstall, h, nil); status != http.StatusOK {
		t.Fatalf("%d %v", status, reply)
	}
	if said := w.log.hellos(t, "phone-00002"); len(said) != 2 || said[1].FormerInstall != "" {
		t.Errorf("noted with a token: %v", said)
	}
}
