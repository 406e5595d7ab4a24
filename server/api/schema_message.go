package api

// localContentDoc describes engage.LocalContent, localActionDoc engage.LocalAction.
type localContentDoc struct {
	Title    string                    `json:"title,omitempty" doc:"Liquid template; absent here and below: as the message itself has it"`
	Body     string                    `json:"body,omitempty"`
	Subtitle string                    `json:"subtitle,omitempty" doc:"Of a push; the message itself must have one"`
	DeepLink string                    `json:"deep_link,omitempty"`
	ImageURL string                    `json:"image_url,omitempty"`
	Actions  map[string]localActionDoc `json:"actions,omitempty" doc:"By the id of the message's button"`
}

type localActionDoc struct {
	Label    string `json:"label,omitempty"`
	DeepLink string `json:"deep_link,omitempty"`
}
