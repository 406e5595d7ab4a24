package engage

// CallOccasion is the occasion of a call of the API: of every person whom the call names,
// so that a call that is made again under its key has no effect, also for a person who has
// become one with another meanwhile.
func CallOccasion(workspace, campaign, key string) string {
	return hashID("call", workspace, campaign, key)
}
