package api

import (
	"embed"
	"fmt"

	"github.com/gin-gonic/gin"
)

//go:embed live/index.html live/live.js live/live.css
var pageFiles embed.FS

// registerPage serves the live page. It needs no key: the data that it asks for do.
func registerPage(r *gin.Engine) error {
	for _, f := range []struct{ path, file, contentType string }{
		{"/", "index.html", "text/html; charset=utf-8"},
		{"/live.js", "live.js", "text/javascript; charset=utf-8"},
		{"/live.css", "live.css", "text/css; charset=utf-8"},
	} {
		body, err := pageFiles.ReadFile("live/" + f.file)
		if err != nil {
			return fmt.Errorf("read live page: %w", err)
		}
		static(r, f.path, f.contentType, body)
	}
	return nil
}
