package engage

import "slices"

// KindDisclaim has the owner of a profile forget whom an app or a page said, without
// proof, that it is: JSON Disclaim; at the profile's key.
const KindDisclaim Kind = "disclaim"

// Claims is the collection of Claim.
const Claims = "claims"

// Claim says that a profile of whom nobody knows who it is was once called somebody,
// without proof (profile.Profile.Claimed): where to look when that person is erased.
// Neither names an identifier. It lives until one of the two is erased: the newest claim
// alone stands in the profile, and its timeline has them all.
type Claim struct {
	V       int    `json:"v"`       // 1
	Of      string `json:"of"`      // PersonID of the identifier that was named
	Profile string `json:"profile"` // at which it was
	AtUS    int64  `json:"at_us"`   // log time of the newest, Unix microseconds; 0 of an earlier build's
}

// ClaimShelf is what the ids of the claims to be a person begin with, by PersonID.
func ClaimShelf(of string) string { return of + "/" }

// ID of a claim's document.
func (c *Claim) ID() string { return ClaimShelf(c.Of) + c.Profile }

// Disclaim says who was erased, by what their identifiers mint (PersonID): who was only
// said to be them is told no identifier.
type Disclaim struct {
	Persons []string `json:"persons"` // sorted
}

// Names reports whether an identifier ("user_id:ada") is one of them.
func (d Disclaim) Names(workspace, identifier string) bool {
	_, is := slices.BinarySearch(d.Persons, PersonID(workspace, identifier))
	return is
}

// IsAddress reports whether a value that is kept of somebody else, such as an attribute,
// is the e-mail address of one of them.
func (d Disclaim) IsAddress(workspace string, value any) bool {
	text, is := value.(string)
	if !is {
		return false
	}
	id, err := Identifier(IDEmail, text)
	return err == nil && d.Names(workspace, id)
}
