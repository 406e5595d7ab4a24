package sdkproto

import "time"

// The protocol versions that this package speaks.
const (
	ProtoMin = 1
	ProtoMax = 1
)

// Subprotocols of the websocket, in order of preference. A client offers one or
// both; offering none is answered with HTTP 400.
const (
	SubprotocolPB   = "sdkproto.v1.pb"
	SubprotocolJSON = "sdkproto.v1.json"
)

// Paths below the endpoint.
const (
	PathWS      = "/sdk/v1/ws"      // GET, websocket
	PathBatch   = "/sdk/v1/batch"   // POST Batch, answered by BatchReply
	PathInstall = "/sdk/v1/install" // POST Hello, answered by BatchReply with hello_ok
	PathToken   = "/sdk/v1/token"   // POST TokenRefresh, answered by BatchReply with new_token
	PathConfig  = "/sdk/v1/config"  // GET, answered by BatchReply with config
	PathInbox   = "/sdk/v1/inbox"   // GET ?cursor=, answered by BatchReply with inbox
)

// Headers of the POSTs. On the websocket hello carries the same.
const (
	HeaderAppKey        = "Footfall-App-Key"
	HeaderInstall       = "Footfall-Install"
	HeaderAuthorization = "Authorization" // "Bearer <device token>"
	HeaderCaps          = "Footfall-Caps" // hello's caps, joined by commas; absent means none
	BearerPrefix        = "Bearer "
)

// Content types of the POSTs and of their answers, one per codec.
const (
	ContentTypePB   = "application/x-protobuf"
	ContentTypeJSON = "application/json"
)

// Capabilities of an SDK, said in hello's caps. A server ignores those that it does
// not know, and gives to who says none what the first version gave.
const (
	// CapBubble: the SDK registers Regions.bubble and reports its exit. The server
	// then plans by the phone's slots and permissions.
	CapBubble = "bubble"
	// CapBeacons: the app looks for beacons now, for which iOS takes slots of its
	// regions.
	CapBeacons = "beacons"
	// CapResume: the SDK counts numbered frames, acknowledges them and resumes.
	CapResume = "resume"
	// CapInbox: the SDK keeps the inbox and asks for its changes by cursor. Inbox
	// messages then come in Inbox only, never as a Message of their own.
	CapInbox = "inbox"
	// CapConfig: the SDK takes Config.
	CapConfig = "config"
	// CapGoaway: the SDK takes Goaway.
	CapGoaway = "goaway"
	// CapTriggers: the SDK keeps in-app messages that wait for a trigger, which come in
	// Inbox, and shows them by the rules of the section "Messages that wait". It needs
	// CapInbox.
	CapTriggers = "triggers"
)

// BubbleID is the region id of the bubble. No place's begins with a tilde.
const BubbleID = "~bubble"

// Default limits. A server may state others in hello_ok; it never states more
// than its decoder takes.
const (
	MaxFrameBytes      = 64 << 10 // one websocket message, which may hold several frames
	MaxFramesPerWSMsg  = 256      // frames in one websocket message
	MaxBodyBytes       = 500_000  // of an HTTP body, after gunzip
	MaxGzipRatio       = 20       // decompressed to compressed, beyond GzipRatioFloor
	GzipRatioFloor     = 16 << 10 // a body that is not larger than this may be as repetitive as it likes
	MaxItemBytes       = 32 << 10 // one item, as protobuf
	MaxBatchItems      = 500      //
	MaxIDChars         = 100      // item_id, install_id, region ids, message ids, event names, topics
	MinInstallIDChars  = 8        //
	MaxZoneChars       = 64       // the name of a time zone
	MaxPropertiesBytes = 16 << 10 // properties_json, traits_json
	MaxPropertiesDepth = 10       // nesting of objects and arrays, the outermost included
	MaxTopics          = 100      // of one preferences item
	MaxCaps            = 20       // of one hello
	MaxCursorChars     = 200      // of the inbox
	MaxUnackedFrames   = 500      // numbered frames that the server holds for a phone
	MaxUnackedBytes    = 64 << 10 // of them, as protobuf
	MaxPushTokenChars  = 4096     //
	// MaxActivityTokenChars is how long the token of a Live Activity may be; those seen
	// have 160.
	MaxActivityTokenChars = 400
	MaxJWTChars           = 4096       // of identify.jwt
	DefaultCredit         = 500        // items in flight per session
	MaxQueueItems         = 10_000     // kept on the phone while it is offline
	MaxInboxMessages      = 100        // kept for a person, the newest
	MaxQueueBytes         = 10_000_000 // likewise, of items as protobuf
)

// Default times.
const (
	HelloWithin   = 5 * time.Second  // the server closes a socket whose first frame is later
	PingEvery     = 25 * time.Second // the server pings an open session
	DeadAfter     = 10 * time.Second // silence beyond the ping interval that makes a peer dead
	ClaimWithin   = 2 * time.Second  // an in-app message that is not claimed by then goes as a push
	PostWithin    = 10 * time.Second // what an OS gives a woken app
	DownAckWithin = 5 * time.Second  // a phone says that it has taken a numbered frame
	ResumeWithin  = 24 * time.Hour   // the server holds what a phone has not taken
	BackoffMin    = 1 * time.Second
	BackoffMax    = 300 * time.Second
	MaxAge        = 30 * 24 * time.Hour // offline age of an observation, and the window of dedupe
	MaxSkew       = 5 * time.Minute     // a corrected time may be this far ahead and is clamped silently
	MaxFuture     = 24 * time.Hour      // beyond it a time is absurd, between the two it is clamped and flagged
	RetryWithout  = 60 * time.Second    // after 429 without Retry-After
)

// ValidInstallID reports whether id may name an install: 8 to 100 of
// A-Z, a-z, 0-9, '.', '_', ':', '-'.
func ValidInstallID(id string) bool {
	if len(id) < MinInstallIDChars || len(id) > MaxIDChars {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '_', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}
