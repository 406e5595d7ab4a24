package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

func (s *server) registerAudit() {
	register(s, operation{
		method: http.MethodGet, path: "/audit", id: "list-changes", tag: tagOperations, role: catalog.Admin,
		summary: "List who changed what",
		description: "Every change of what marketers and operators define, the newest first: campaigns, places, apps, keys, webhooks, write keys, settings. It is the configuration log itself, so nothing can be changed without standing in it. " +
			"An import is one change of several documents. Who looked at or changed a person is with the person (GET /people/{id}/accesses).",
	}, s.listChanges)
}

type auditInput struct {
	Kind catalog.Kind `query:"kind" enum:"campaign,place,app,key,webhook,write_key,workspace,attributes,limits,offer,catalogue" doc:"Only documents of this kind"`
	ID   string       `query:"id" maxLength:"100" doc:"Only the document of this id"`
	By   string       `query:"by" maxLength:"100" doc:"Only changes by this key (id)"`
	From time.Time    `query:"from" doc:"Not before"`
	To   time.Time    `query:"to" doc:"Before"`
	Paging
}

type changeView struct {
	Revision  uint64       `json:"revision" doc:"Of the configuration; decisions name it"`
	At        time.Time    `json:"at"`
	By        string       `json:"by" doc:"Id of the key; system: the server itself"`
	ByName    string       `json:"by_name,omitempty" doc:"Name of the key; absent when it is gone"`
	Kind      catalog.Kind `json:"kind"`
	ID        string       `json:"id,omitempty" doc:"Absent: several documents together"`
	Version   int64        `json:"version,omitempty"`
	Action    string       `json:"action" enum:"created,changed,deleted,imported"`
	Documents int          `json:"documents" doc:"More than 1: an import"`
	Changed   []string     `json:"changed,omitempty" doc:"Paths of the fields that differ from the version before. What they were stands with campaigns alone (diff)"`
}

func (s *server) listChanges(_ context.Context, who caller, in *auditInput) (*answered[list[changeView]], error) {
	before := uint64(0)
	if in.Cursor != "" {
		var err error
		if before, err = strconv.ParseUint(in.Cursor, 10, 64); err != nil || before == 0 {
			return nil, engage.Errorf(engage.Invalid, "cursor", "is not one of this list")
		}
	}
	made := s.o.Catalog.Audit(catalog.Audited{
		Workspace: who.workspace, Kind: in.Kind, ID: in.ID, By: in.By, From: in.From, To: in.To, Before: before, Limit: in.Limit + 1,
	})
	page := Page[catalog.Made]{Items: made}
	if len(made) > in.Limit {
		page.Items = made[:in.Limit]
		page.Next = strconv.FormatUint(page.Items[in.Limit-1].Revision, 10)
	}
	return listOf(page, func(m catalog.Made) changeView {
		v := changeView{
			Revision: m.Revision, At: m.Change.At, By: m.Change.By, ByName: s.keyName(who.workspace, m.Change.By),
			Kind: m.Change.Kind, ID: m.Change.ID, Version: m.Change.Version, Documents: m.Documents,
		}
		switch {
		case m.Documents > 1:
			v.Action = "imported"
		case m.Change.Body == nil:
			v.Action = "deleted"
		case m.Before == nil:
			v.Action = "created"
		default:
			v.Action = "changed"
			v.Changed = paths(differences(m.Before, m.Change.Body))
		}
		return v
	}), nil
}
