package config

import "time"

// Uploads bounds the files of people, events and purchases that come in.
type Uploads struct {
	// MaxMB of one file as it comes, in MiB.
	MaxMB int
	// WaitingMB of all files that are not processed yet, in MiB.
	WaitingMB int
	// Open is how many uploads of a workspace may be under way.
	Open int
	// RowsPerS of all uploads together; 0: as fast as live traffic leaves room.
	RowsPerS int
	// ReportDays that an upload that has ended is kept with its report.
	ReportDays int
}

// MaxBytes is MaxMB.
func (u Uploads) MaxBytes() int64 { return int64(u.MaxMB) << 20 }

// WaitingBytes is WaitingMB.
func (u Uploads) WaitingBytes() int64 { return int64(u.WaitingMB) << 20 }

// Keep is ReportDays.
func (u Uploads) Keep() time.Duration { return time.Duration(u.ReportDays) * 24 * time.Hour }

func defaultUploads() Uploads {
	return Uploads{MaxMB: 4096, WaitingMB: 16_384, Open: 50, ReportDays: 30}
}

func (u *Uploads) bindings() []binding {
	return []binding{
		{"uploads.max_mb", &u.MaxMB, "Megabytes (1048576 bytes) of one file of people, events or purchases as it comes, 1 to 65536."},
		{"uploads.waiting_mb", &u.WaitingMB, "Megabytes that the files of all workspaces which are not processed yet may take in data_dir together, uploads.max_mb to 1048576. An upload beyond them is told to come later."},
		{"uploads.open", &u.Open, "Uploads of one workspace that may be under way, 1 to 1000. They are processed one after the other, workspaces in turn."},
		{"uploads.rows_per_s", &u.RowsPerS, "Rows of all uploads together that go into the log per second, 100 to 1000000. 0: as many as live traffic, which goes first, leaves room for."},
		{"uploads.report_days", &u.ReportDays, "Days that an upload which has ended is kept with the report of its refused rows, 1 to 365. For so long the same file sent again is known and not read."},
	}
}

func (u *Uploads) validate(bad func(field, format string, args ...any), between func(field string, is, low, high int)) {
	between("uploads.max_mb", u.MaxMB, 1, 65_536)
	between("uploads.waiting_mb", u.WaitingMB, max(u.MaxMB, 1), 1_048_576)
	between("uploads.open", u.Open, 1, 1000)
	if u.RowsPerS != 0 && (u.RowsPerS < 100 || u.RowsPerS > 1_000_000) {
		bad("uploads.rows_per_s", "must be 0, or 100 to 1000000, is %d", u.RowsPerS)
	}
	between("uploads.report_days", u.ReportDays, 1, 365)
}
