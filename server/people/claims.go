package people

import (
	"context"
	"fmt"
	"slices"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/store"
)

// persons are what the subject's identifiers mint: whom others may have been said to be.
func (s *Subject) persons() (all, users []string) {
	for _, id := range s.Identifiers {
		all = append(all, engage.PersonID(s.Workspace, id))
	}
	for _, p := range s.Profiles() {
		if !engage.MintedByInstall(p) {
			all = append(all, p)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	for _, p := range all {
		if engage.MintedByUser(p) {
			users = append(users, p)
		}
	}
	return all, users
}

// disclaim has those who were said to be the person, without proof, forget it: profiles of
// whom nobody knows who they are, which stay what they are for the rest. It adds how many
// claims it deleted, and apart from these how many were made since the erasure was asked for:
// what a page goes on saying does not hold it up.
func (s *Service) disclaim(ctx context.Context, e *job, deleted, since map[string]int64) error {
	all, users := e.Subject.persons()
	own := e.Subject.Profiles()
	var profiles []string
	var old, young []store.Key
	for _, of := range users {
		q := store.Query{Workspace: e.Workspace, IDPrefix: engage.ClaimShelf(of)}
		err := store.NewTyped[engage.Claim](s.o.States, engage.Claims).Each(ctx, q, func(c store.Item[engage.Claim]) error {
			if slices.Contains(own, c.Value.Profile) {
				return nil // it is erased itself
			}
			profiles = append(profiles, c.Value.Profile)
			if c.Value.AtUS > e.AtUS {
				young = append(young, c.Key)
			} else {
				old = append(old, c.Key)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("look for claims: %w", err)
		}
	}
	if len(profiles) == 0 {
		return nil
	}
	slices.Sort(profiles)
	if err := s.o.Engine.Disclaim(ctx, e.Workspace, engage.Disclaim{Persons: all}, slices.Compact(profiles)); err != nil {
		return fmt.Errorf("have others forget that they were said to be the person: %w", err)
	}
	if err := s.remove(ctx, s.o.States, engage.Claims, old, deleted); err != nil {
		return err
	}
	return s.remove(ctx, s.o.States, engage.Claims, young, since)
}
