package decide

import (
	"encoding/json"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/fastjson"
	"github.com/footfall-engage/footfall/server/profile"
)

// What is read and written for nearly every event: as encoding/json has it, sooner. Fields
// need nothing here.
var (
	personJSON = fastjson.Of[Person](fastjson.Ints[profile.Stamp]())
	touchJSON  = fastjson.Of[engage.Touch]()

	sendJSON     = fastjson.Of[engage.Send]()
	triggerJSON  = fastjson.Of[engage.Trigger]()
	decisionJSON = fastjson.Of[engage.Decision](fastjson.Raw[engage.Saw]())
)

// document is a decision as it is kept.
type document engage.Decision

// Encode is what the partition stores of it.
func (d *document) Encode() ([]byte, error) {
	return decisionJSON.Append(make([]byte, 0, 1280), (*engage.Decision)(d))
}

// Encode implements engage.State.
func (p *Person) Encode() ([]byte, error) {
	return personJSON.Append(make([]byte, 0, 640+64*len(p.Attributes)+40*len(p.AttributeAt)+2*len(p.Touched)), p)
}

// written is what a timeline has of something that happened, as JSON.
func written(data any) ([]byte, error) {
	switch x := data.(type) {
	case *engage.Trigger:
		return triggerJSON.Append(make([]byte, 0, 512), x)
	case engage.Touch:
		return touchJSON.Append(make([]byte, 0, 512), &x)
	}
	return json.Marshal(data)
}
