package api

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

// registerHealth adds what probes and Prometheus ask, without a key: it says
// nothing of any workspace.
func (s *server) registerHealth(r *gin.Engine) {
	r.GET("/healthz", func(c *gin.Context) {
		c.Header("Cache-Control", "no-store")
		c.JSON(http.StatusOK, gin.H{"status": "ok", "version": s.o.Version})
	})
	r.GET("/readyz", func(c *gin.Context) {
		c.Header("Cache-Control", "no-store")
		ready, missing := s.o.Ready()
		if ready {
			c.JSON(http.StatusOK, gin.H{"status": "ready"})
			return
		}
		if missing == nil {
			missing = []string{}
		}
		c.JSON(http.StatusServiceUnavailable, gin.H{"status": "not_ready", "missing": missing})
	})
	if s.o.Metrics != nil {
		r.GET("/metrics", gin.WrapH(s.o.Metrics))
	}
}
