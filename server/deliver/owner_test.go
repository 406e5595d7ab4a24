package deliver_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
)

// owners knows whose phones are; those that are not named are Ada's.
type owners struct {
	mu     sync.Mutex
	of     map[string]string
	broken bool
}

func (o *owners) Owner(_ context.Context, _, install string) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken {
		return "", errors.New("nobody answers")
	}
	if p, ok := o.of[install]; ok {
		return p, nil
	}
	return "ada", nil
}

func (o *owners) set(install, profile string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of[install] = profile
}

func (o *owners) breaks(yes bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken = yes
}

// What was decided for a person reaches no phone that they have left: not by claim,
// push, the repetition of a push, nor by the inbox.
func TestAPhoneThatIsAnothersGetsNothing(t *testing.T) {
	bubble(t, func(w *world) {
		o := &owners{of: map[string]string{}}
		w.owners = o
		w.start()
		w.sessions.set("a")

		w.accept(send("d1", phone("a"), phone("b")))
		w.want("offered", w.sessions.took(), []string{"a/in_app/d1"})
		o.set("a", "eve") // Ada logs out with the message on its way
		w.want("claim", w.claim("a", "d1"), "elsewhere")
		w.pass(2 * time.Second)
		w.want("pushed to the phone that she has", w.senders.attempts(), []string{"tok-b@2s"})

		w.accept(send("d2", phone("a")))
		w.want("nothing more is offered", w.sessions.took(), []string{"a/in_app/d1"})
		w.want("nothing is pushed", w.senders.attempts(), []string{"tok-b@2s"})
		w.want("inbox", w.inbox("ada"), []string{"d2"})
		w.want("told", w.told.list(), []string{"d1 accepted fcm b 1", "d2 inboxed inbox logged_out 0"})

		// A push that is to be repeated is not, once she has left.
		w.senders.answer = func(channels.Message, int) (channels.Outcome, error) {
			return channels.Outcome{Kind: channels.RetryAfter, Status: 503}, nil
		}
		w.accept(send("d3", phone("b")))
		before := len(w.senders.attempts())
		o.set("b", "eve")
		w.pass(time.Minute)
		w.want("attempts", len(w.senders.attempts()), before)
		w.end()
	})
}

// While nobody knows whose a phone is, its messages wait.
func TestAPhoneOfWhomNobodyKnowsWaits(t *testing.T) {
	bubble(t, func(w *world) {
		o := &owners{of: map[string]string{}, broken: true}
		w.owners = o
		w.start()
		w.sessions.set("a")
		w.accept(send("d1", phone("a")))
		w.want("offered", w.sessions.took(), []string(nil))
		w.want("attempts", w.senders.attempts(), []string(nil))
		o.breaks(false)
		w.pass(time.Minute)
		if n := len(w.senders.attempts()); n != 1 {
			t.Errorf("%d attempts", n)
		}
		w.end()
	})
}
