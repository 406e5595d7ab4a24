package ingest

import (
	"context"
	"net/http"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

// renew gives a phone whose token is old another. One that cannot be made now is
// made another time: the old one is good.
func (g *Gateway) renew(ctx context.Context, app *App, install string, due bool) (token string) {
	if !due {
		return ""
	}
	token, err := g.rotate(ctx, app, install)
	if err != nil {
		_ = g.answer(ctx, err, "renew token")
		return ""
	}
	return token
}

// tokenRefresh gives the phone another token.
func (s *session) tokenRefresh(re uint64) {
	if e := s.g.mayAsk(s.in, refreshCost, "token_refresh"); e != nil {
		s.complain(re, e)
		return
	}
	if s.minted != nil && !s.confirm(re) {
		return
	}
	ctx, cancel := context.WithTimeout(s.life, claimWithin)
	defer cancel()
	token, err := s.g.rotate(ctx, s.app.Load(), s.in.key.install)
	if err != nil {
		s.complain(re, s.g.answer(ctx, err, "rotate token"))
		return
	}
	s.push(&sdkpb.Frame{Re: re, NewToken: &sdkpb.NewToken{DeviceToken: token}})
}

// postToken answers POST /sdk/v1/token.
func (g *Gateway) postToken(ctx context.Context, r *http.Request, codec sdkproto.Codec) (*sdkpb.BatchReply, error) {
	who, err := g.identify(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := body(r, codec, maxHelloBytes, new(sdkpb.TokenRefresh)); err != nil {
		return nil, err
	}
	in, err := g.ask(ctx, who, refreshCost, "token_refresh")
	if err != nil {
		return nil, err
	}
	defer g.installs.release(in)
	token, err := g.rotate(ctx, &who.app, who.install)
	if err != nil {
		return nil, err
	}
	return &sdkpb.BatchReply{NewToken: &sdkpb.NewToken{DeviceToken: token}}, nil
}
