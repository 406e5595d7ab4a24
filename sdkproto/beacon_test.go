package sdkproto_test

import (
	"testing"

	"github.com/footfall-engage/footfall/sdkproto"
	"github.com/footfall-engage/footfall/sdkproto/sdkpb"
)

func TestABeaconHasOneSpelling(t *testing.T) {
	number := func(n uint32) *uint32 { return &n }
	for _, c := range []struct {
		name   string
		beacon *sdkpb.Beacon
		want   string
	}{
		{"iBeacon", &sdkpb.Beacon{Ibeacon: &sdkpb.IBeacon{
			Uuid: "F7826DA6-4fa2-4e98-8024-BC5B71E0893E", Major: number(0), Minor: number(65535),
		}}, "ibeacon:f7826da6-4fa2-4e98-8024-bc5b71e0893e:0:65535"},
		{"Eddystone", &sdkpb.Beacon{EddystoneUid: &sdkpb.EddystoneUid{
			Namespace: "EDD1EBEAC04E5DEFA017", Instance: "0bdb87539B67",
		}}, "eddystone:edd1ebeac04e5defa017:0bdb87539b67"},
		{"invalid", &sdkpb.Beacon{Ibeacon: &sdkpb.IBeacon{Uuid: "F7826DA6-4fa2-4e98-8024-BC5B71E0893E"}}, ""},
		{"none", nil, ""},
	} {
		if got := sdkproto.BeaconID(c.beacon); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
