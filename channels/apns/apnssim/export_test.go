package apnssim

import "time"

// NextLatency draws a latency as a request would.
func NextLatency(s *Server) time.Duration { return s.latency() }
