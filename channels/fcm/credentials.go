package fcm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/oauth2/google"
)

// maxCredentials is the size of a key file, in bytes; Google's have about 2,400.
const maxCredentials = 64 << 10

// Credentials are service accounts' key files by their project. They are secrets.
type Credentials map[string][]byte

// String hides them.
func (c Credentials) String() string {
	return fmt.Sprintf("service accounts of %q", slices.Sorted(maps.Keys(c)))
}

// GoString hides them.
func (c Credentials) GoString() string { return c.String() }

// Add takes a key file's content. An error is an OptionError of field
// "credentials_json", and says nothing of the content.
func (c Credentials) Add(keyFile []byte) error {
	if _, err := google.JWTConfigFromJSON(keyFile, scope); err != nil {
		return &OptionError{"credentials_json", "not a service account's key file"}
	}
	var account struct {
		ProjectID string `json:"project_id"`
	}
	switch err := json.Unmarshal(keyFile, &account); {
	case err != nil || account.ProjectID == "":
		return &OptionError{"credentials_json", "has no project_id"}
	case c[account.ProjectID] != nil:
		return &OptionError{"credentials_json", fmt.Sprintf("a second service account of project %q", account.ProjectID)}
	}
	c[account.ProjectID] = keyFile
	return nil
}

// AddFile takes the key file at a path, or, of a folder, each file in it whose name
// ends in ".json". It reads the links that such files are where they are mounted. An
// error names the file.
func (c Credentials) AddFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("FCM credentials: %w", err)
	}
	paths := []string{path}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return fmt.Errorf("FCM credentials: %w", err)
		}
		paths = nil
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".json") {
				paths = append(paths, filepath.Join(path, e.Name()))
			}
		}
		if len(paths) == 0 {
			return fmt.Errorf("FCM credentials: no file in %s ends in .json", path)
		}
	}
	for _, p := range paths {
		b, err := readLimited(p)
		if err == nil {
			err = c.Add(b)
		}
		if err != nil {
			return fmt.Errorf("FCM credentials in %s: %w", p, err)
		}
	}
	return nil
}

func readLimited(path string) (_ []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := io.ReadAll(io.LimitReader(f, maxCredentials+1))
	if err == nil && len(b) > maxCredentials {
		err = &OptionError{"credentials_json", fmt.Sprintf("more than %d bytes", maxCredentials)}
	}
	return b, err
}
