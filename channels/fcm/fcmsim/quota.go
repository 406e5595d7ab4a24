package fcmsim

import (
	"sync"
	"time"
)

// Quotas are FCM's limits; 0 is no limit, and the zero value has none.
type Quotas struct {
	// ProjectPerMinute counts all requests of a project, refused ones too. The minutes
	// begin with the first request, not with the clock's.
	ProjectPerMinute int
	DevicePerMinute  int
	DevicePerHour    int
	// CollapsibleBurst are the collapsible messages that a device may get at once; one
	// more is allowed after each CollapsibleEvery. Messages with a TTL of 0 are exempt.
	CollapsibleBurst int
	CollapsibleEvery time.Duration
}

// DocumentedQuotas are those of the real service.
func DocumentedQuotas() Quotas {
	return Quotas{
		ProjectPerMinute: 600_000, DevicePerMinute: 240, DevicePerHour: 5000,
		CollapsibleBurst: 20, CollapsibleEvery: 3 * time.Minute,
	}
}

// window counts within a span of time that begins with its first use.
type window struct {
	began time.Time
	n     int
}

// take counts one, or tells how long to wait.
func (w *window) take(now time.Time, limit int, span time.Duration) (time.Duration, bool) {
	if limit <= 0 {
		return 0, true
	}
	if now.Sub(w.began) >= span || w.began.IsZero() {
		w.began, w.n = now, 0
	}
	if w.n >= limit {
		return w.began.Add(span).Sub(now), false
	}
	w.n++
	return 0, true
}

// deviceUse is what a device has had.
type deviceUse struct {
	minute, hour window
	// collapsible is when the bucket was, or will be, empty of debt: one message adds
	// CollapsibleEvery to it.
	collapsible time.Time
}

// quotas counts.
type quotas struct {
	mu       sync.Mutex
	projects map[string]*window
	devices  map[string]*deviceUse
}

// project counts a request.
func (q *quotas) project(limits Quotas, project string, now time.Time) (fault, bool) {
	if limits.ProjectPerMinute <= 0 {
		return fault{}, true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.projects == nil {
		q.projects = make(map[string]*window)
	}
	w := q.projects[project]
	if w == nil {
		w = &window{}
		q.projects[project] = w
	}
	if wait, ok := w.take(now, limits.ProjectPerMinute, time.Minute); !ok {
		return overQuota("project:"+project, "Quota exceeded for quota metric 'Messages' and limit 'Messages per minute' of service 'fcm.googleapis.com'.", wait), false
	}
	return fault{}, true
}

// device counts a message to a device.
func (q *quotas) device(limits Quotas, token string, collapsible bool, now time.Time) (fault, bool) {
	if limits.DevicePerMinute <= 0 && limits.DevicePerHour <= 0 && limits.CollapsibleBurst <= 0 {
		return fault{}, true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.devices == nil {
		q.devices = make(map[string]*deviceUse)
	}
	u := q.devices[token]
	if u == nil {
		u = &deviceUse{}
		q.devices[token] = u
	}
	wait, ok := u.hour.take(now, limits.DevicePerHour, time.Hour)
	if ok {
		wait, ok = u.minute.take(now, limits.DevicePerMinute, time.Minute)
	}
	if !ok {
		return overQuota("device", "Device message rate exceeded.", wait), false
	}
	if !collapsible || limits.CollapsibleBurst <= 0 {
		return fault{}, true
	}
	if u.collapsible.Before(now) {
		u.collapsible = now
	}
	debt := u.collapsible.Sub(now) + limits.CollapsibleEvery
	if most := time.Duration(limits.CollapsibleBurst) * limits.CollapsibleEvery; debt > most {
		return overQuota("device", "Collapsible message rate exceeded.", debt-most), false
	}
	u.collapsible = u.collapsible.Add(limits.CollapsibleEvery)
	return fault{}, true
}
