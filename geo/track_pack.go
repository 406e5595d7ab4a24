package geo

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"sync"
)

// How the columns of a packed track stand.
const (
	columnsPlain   = 0
	columnsDeflate = 1 // RFC 1951
)

// deflaters are kept, since one takes 800 kB.
var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestCompression)
	if err != nil {
		panic(err) // only for a level that is none
	}
	return w
}}

// Pack is the Track to be kept: sorted by time, column by column, and compressed
// where that makes it smaller. The same fixes give the same bytes in whatever
// order they came, but another version of Go may compress otherwise. Nil when the
// Track is empty.
func (t Track) Pack() []byte {
	if t.n == 0 {
		return nil
	}
	rows := t.rows()
	plain := trackColumns(rows)
	head := binary.AppendUvarint([]byte{trackPacked}, uint64(t.hour)) //nolint:gosec // never negative
	head = binary.AppendUvarint(head, uint64(len(rows)))
	small := deflate(plain)
	if len(small) < len(plain) {
		return append(append(head, columnsDeflate), small...)
	}
	return append(append(head, columnsPlain), plain...)
}

func deflate(b []byte) []byte {
	var out bytes.Buffer
	w := deflaters.Get().(*flate.Writer) //nolint:forcetypeassert // nothing else is put there
	defer deflaters.Put(w)
	w.Reset(&out)
	_, err := w.Write(b)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a buffer takes everything
	}
	return out.Bytes()
}

// trackColumns are the fields of appendRow's rows, each field together: all first
// bytes, then all times, and so on. That compresses better.
func trackColumns(rows []trackRow) []byte {
	tags := make([]byte, 0, 8*len(rows))
	var times, lats, lngs, accs, flags, row []byte
	for i, r := range rows {
		row = appendRow(row[:0], trackRowBefore(rows, i), r)
		cut := func(to []byte) []byte {
			_, n := binary.Varint(row)
			to = append(to, row[:n]...)
			row = row[n:]
			return to
		}
		tag := row[0]
		tags, row = append(tags, tag), row[1:]
		times = cut(times)
		if tag&rowSamePos == 0 {
			lats = cut(lats)
			lngs = cut(lngs)
		}
		if tag&rowSameAcc == 0 {
			accs = cut(accs)
		}
		flags = append(flags, row...)
	}
	for _, c := range [][]byte{times, lats, lngs, accs, flags} {
		tags = append(tags, c...)
	}
	return tags
}

// unpackTrack reads what Pack wrote after its first byte.
func unpackTrack(b []byte) (hour int64, rows []trackRow, _ error) {
	r := trackReader{b: b}
	hour = r.hour()
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n == 0 || n > MaxTrackFixes {
		r.fail("its number of fixes cannot be")
		return 0, nil, r.err
	}
	r.b = r.b[size:]
	switch method := r.byte(); {
	case r.err != nil:
		return 0, nil, r.err
	case method == columnsDeflate:
		plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(r.b)), MaxTrackBytes+1))
		if err != nil {
			return 0, nil, errorf("", "cannot be uncompressed: %v", err)
		}
		r.b = plain
	case method != columnsPlain:
		return 0, nil, errorf("", "its compression %d is not known", method)
	}
	if len(r.b) > MaxTrackBytes {
		return 0, nil, errorf("", "has more than %d bytes when uncompressed", MaxTrackBytes)
	}
	rows = readTrackColumns(&r, int(n)) //nolint:gosec // bounded above
	if r.err == nil && len(r.b) > 0 {
		r.fail("has more than its fixes")
	}
	return hour, rows, r.err
}

func readTrackColumns(r *trackReader, n int) []trackRow {
	if len(r.b) < 2*n {
		r.fail("ends in the middle")
		return nil
	}
	rows := make([]trackRow, n)
	tags := r.b[:n]
	r.b = r.b[n:]
	for i := range rows {
		if tags[i]&^rowKnown != 0 {
			r.fail("a row has a mark that is not known")
		}
		rows[i].ms = trackRowBefore(rows, i).ms + r.step(tags[i])
	}
	column := func(same byte, field func(*trackRow) *int64) {
		last := int64(0)
		for i := range rows {
			if tags[i]&same == 0 {
				last += r.varint()
			}
			*field(&rows[i]) = last
		}
	}
	column(rowSamePos, func(row *trackRow) *int64 { return &row.lat })
	column(rowSamePos, func(row *trackRow) *int64 { return &row.lng })
	column(rowSameAcc, func(row *trackRow) *int64 { return &row.acc })
	var last trackRow
	for i := range rows {
		if tags[i]&rowFlags != 0 {
			last.flags, last.evidence = TrackFlags(r.byte()), TrackEvidence(r.byte())
		}
		rows[i].flags, rows[i].evidence = last.flags, last.evidence
		r.check(rows[i])
	}
	return rows
}
