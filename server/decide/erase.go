package decide

import (
	"github.com/footfall-engage/footfall/server/engage"
)

// erase forgets a person or a binding, and what was to wake for it.
func erase(tx engage.Tx, e engage.Entry) error {
	st, err := tx.Load(e.Key)
	if err != nil || st == nil {
		return err
	}
	if p, is := st.(*Person); is {
		for id, w := range p.Waiting {
			tx.ClearTimer(e.Key, w.For+"/"+id)
		}
		for delivery, d := range p.Open {
			if !d.State.Terminal() {
				tx.ClearTimer(e.Key, "expire/"+delivery)
			}
		}
	}
	tx.Delete(e.Key)
	return nil
}

// begets reports whether an entry makes a person of somebody who is not known. What
// follows from something earlier does not: whom it is about was erased meanwhile.
func begets(k engage.Kind) bool {
	switch k {
	case engage.KindTimer, engage.KindCall, engage.KindOutcome, engage.KindReceipt, engage.KindDeviceGone, engage.KindYield, engage.KindRedemption, engage.KindItems,
		engage.KindDisclaim, engage.KindShadow:
		return false
	}
	return true
}
