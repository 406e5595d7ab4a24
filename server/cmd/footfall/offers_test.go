package main

import (
	"fmt"
	"strings"
	"testing"
)

// A file of codes is read whatever it is: lines or the first column of a table, with a
// header or without; the last portion says that it is the last.
func TestAFileOfCodesIsSentInPortions(t *testing.T) {
	var file strings.Builder
	file.WriteString("\ufeffCode;for whom\r\n\n\"A-1\";x\r\nB-2,y\n")
	for n := range sentCodes {
		fmt.Fprintf(&file, "C-%d\n", n)
	}
	var portions []string
	err := eachCodes(strings.NewReader(file.String()), func(rows []codeRow, more bool) error {
		portions = append(portions, fmt.Sprint(len(rows), " from ", rows[0].code, " in line ", rows[0].line, " ", more))
		return nil
	})
	want := fmt.Sprintf("[%d from A-1 in line 3 true 2 from C-%d in line %d false]", sentCodes, sentCodes-2, sentCodes+3)
	if err != nil || fmt.Sprint(portions) != want {
		t.Errorf("%v, %v, want %s", portions, err, want)
	}
	if err := eachCodes(strings.NewReader("code\n\n"), nil); err == nil {
		t.Error("a file without codes is sent")
	}
}
