package fcmsim

import "time"

// Latency draws one.
func Latency(s *Server) time.Duration { return s.latency() }
