package deliver

import "context"

// kin are Owners that know which profiles have become one person. A message keeps the
// profile that it was decided for.
type kin interface {
	// Same reports whether two different ids are one person's by now.
	Same(ctx context.Context, workspace, a, b string) (bool, error)
}

// same reports whether two profiles are one person.
func (d *Deliverer) same(ctx context.Context, workspace, a, b string) (bool, error) {
	if a == b {
		return true, nil
	}
	if k, knows := d.o.Owners.(kin); knows {
		return k.Same(ctx, workspace, a, b)
	}
	return false, nil
}
