package deliver_test

import (
	"testing"
	"time"

	"github.com/footfall-engage/footfall/channels"
	"github.com/footfall-engage/footfall/server/engage"
)

func TestWhereATokenLivesIsToldOnceItIsLearned(t *testing.T) {
	bubble(t, func(w *world) {
		w.senders.say(channels.Outcome{Kind: channels.Accepted, Status: 200, Environment: "sandbox"})
		w.start()
		known := iphone("b")
		known.Push.Environment = "sandbox"
		w.accept(send("d1", iphone("a")), send("d2", known))
		w.want("told", w.told.lives, []engage.TokenEnvironment{{Install: "a", Token: "tok-a", Environment: "sandbox"}})
		w.end()
	})
}

func TestATokenThatWasRegisteredAfterTheProviderSaysItDiedLives(t *testing.T) {
	bubble(t, func(w *world) {
		w.senders.say(channels.Outcome{Kind: channels.TokenGone, Reason: "Unregistered", Status: 410, GoneSince: noon.Add(-time.Hour)})
		w.start()
		older, newer := iphone("older"), iphone("newer")
		older.Push.At, newer.Push.At = noon.Add(-2*time.Hour), noon.Add(-time.Minute)
		w.accept(send("d1", older))
		w.accept(send("d2", newer))
		if len(w.told.dead) != 1 || w.told.dead[0].Install != "older" {
			t.Errorf("dead: %+v", w.told.dead)
		}
		w.want("told", w.told.list(), []string{"d1 inboxed inbox token_dead 1", "d2 inboxed inbox token_dead 1"})
		w.end()
	})
}
