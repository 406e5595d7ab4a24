package main

import (
	"strings"
	"testing"
)

func TestTheReceiptOfAnErasureSaysWhoAsked(t *testing.T) {
	s := newFakeServer(t, known(map[string]string{
		"DELETE /api/v1/people/user_id:ada?": `{"id":"e1","state":"done","by":"key-of-support","deleted":{"timeline":3}}`,
	}, 404, `{"code":"not_found"}`))
	code, out, errs := s.run("people", "erase", "user_id:ada", "--yes")
	if code != 0 || !strings.Contains(out, `"by": "key-of-support"`) {
		t.Errorf("code %d, printed %s%s", code, out, errs)
	}
}
