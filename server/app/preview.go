package app

import (
	"github.com/footfall-engage/footfall/server/api"
	"github.com/footfall-engage/footfall/server/decide"
)

// preview is api.Options.Preview: what the decision's own code makes of it.
func preview(of *api.PreviewOf) ([]api.Previewed, error) {
	got, err := decide.PreviewArms(decide.PreviewOf{
		Campaign: of.Campaign, Attributes: of.Attributes, Person: of.Person, Platform: of.Platform, Locale: of.Locale,
		Places: of.Places, Trigger: of.Trigger, At: of.At,
		Catalogues: of.Catalogues, Items: of.Items, Example: of.Example,
	})
	if err != nil {
		return nil, err
	}
	out := make([]api.Previewed, len(got))
	for i, p := range got {
		out[i] = api.Previewed{Arm: p.Arm, Platform: p.Platform, Phone: p.Phone, Rendered: p.Rendered, Lacking: p.Lacking, Err: p.Err, Samples: p.Samples, Asks: p.Asks}
	}
	return out, nil
}
