package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/footfall-engage/footfall/server/engage"
)

// MaxFileBytes is the largest configuration file that is read.
const MaxFileBytes = 32 << 10

// Load reads the defaults, then the YAML file at path (none if path is empty),
// then the environment (os.Getenv; an empty variable counts as absent). The
// error joins every problem, each an engage.Error whose message begins with the
// file and line or with the variable; it shows no secret. A file that cannot be
// read gives the operating system's error. Call Validate when the flags are set.
func Load(path string, env func(string) string) (Config, error) {
	c := Default()
	var errs problems
	if path != "" {
		data, err := readFile(path)
		if err != nil {
			return c, err
		}
		errs.add(c.apply(path, data))
	}
	for _, b := range c.bindings() {
		name := envName(b.path)
		if text := env(name); text != "" {
			errs.add(within(name, b.set(text)))
		}
	}
	return c, errs.join()
}

func readFile(path string) (_ []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(data) > MaxFileBytes {
		return nil, engage.Errorf(engage.TooLarge, "", "%s: a configuration file has at most %d bytes", path, MaxFileBytes)
	}
	return data, nil
}

// apply sets what the YAML document says; name stands in messages.
func (c *Config) apply(name string, data []byte) error {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return syntaxError(name, err)
	}
	d := decoder{file: name, bindings: map[string]binding{}, sections: map[string]bool{"": true}}
	for _, b := range c.bindings() {
		d.bindings[b.path] = b
		for i := range b.path {
			if b.path[i] == '.' {
				d.sections[b.path[:i]] = true
			}
		}
	}
	documents := 0
	for _, doc := range file.Docs {
		if _, comment := doc.Body.(*ast.CommentGroupNode); doc.Body == nil || comment {
			continue
		}
		if documents++; documents > 1 {
			d.problem(doc.Body, engage.Errorf(engage.Invalid, "", "a second YAML document; one is read"))
			break
		}
		d.value("", doc.Body)
	}
	return d.errs.join()
}

// syntaxError tells where the YAML is broken without quoting it, for what is
// quoted might be a secret that somebody put there.
func syntaxError(name string, err error) error {
	var ye yaml.Error
	if errors.As(err, &ye) && ye.GetToken() != nil && ye.GetToken().Position != nil {
		return engage.Errorf(engage.Invalid, "", "%s:%d: no valid YAML: %s", name, ye.GetToken().Position.Line, ye.GetMessage())
	}
	return engage.Errorf(engage.Invalid, "", "%s: no valid YAML", name)
}

// decoder walks the YAML tree and keeps every problem.
type decoder struct {
	file     string
	bindings map[string]binding
	sections map[string]bool
	errs     problems
}

func (d *decoder) problem(n ast.Node, err error) {
	where := d.file
	if t := n.GetToken(); t != nil && t.Position != nil {
		where = fmt.Sprintf("%s:%d", d.file, t.Position.Line)
	}
	d.errs.add(within(where, err))
}

// value reads the node that stands at path.
func (d *decoder) value(path string, n ast.Node) {
	b, leaf := d.bindings[path]
	switch v := n.(type) {
	case *ast.MappingNode:
		if leaf {
			d.problem(n, engage.Errorf(engage.Invalid, path, "is one value, not a section"))
			return
		}
		for _, kv := range v.Values {
			d.key(path, kv)
		}
	case *ast.MappingValueNode: // a mapping of one key, in older trees
		if leaf {
			d.problem(n, engage.Errorf(engage.Invalid, path, "is one value, not a section"))
			return
		}
		d.key(path, v)
	case *ast.SequenceNode:
		d.problem(n, engage.Errorf(engage.Invalid, path, "is not a list"))
	default:
		if !leaf {
			d.problem(n, engage.Errorf(engage.Invalid, path, "must be a section of key: value lines"))
			return
		}
		text, ok := scalar(n)
		if !ok {
			d.problem(n, engage.Errorf(engage.Invalid, path, "has no plain value; leave the line out for the default"))
			return
		}
		if err := b.set(text); err != nil {
			d.problem(n, err)
		}
	}
}

func (d *decoder) key(section string, kv *ast.MappingValueNode) {
	name, ok := scalar(kv.Key)
	if !ok {
		d.problem(kv.Key, engage.Errorf(engage.Invalid, section, "keys are plain words"))
		return
	}
	path := name
	if section != "" {
		path = section + "." + name
	}
	b, leaf := d.bindings[path]
	switch {
	case strings.Contains(name, "."), !leaf && !d.sections[path]:
		d.problem(kv.Key, unknown(path))
	case leaf && b.secret():
		d.problem(kv.Key, engage.Errorf(engage.Forbidden, path,
			"a secret does not stand in a configuration file, which is copied and committed: write it to a file of its own and name that in %s_file, or set %s", path, envName(path)))
	default:
		d.value(path, kv.Value)
	}
}

// scalar is the text of a plain value; false for null, anchors, aliases, tags
// and whatever else a configuration does not need.
func scalar(n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// within puts where before the message of an engage.Error.
func within(where string, err error) error {
	var e *engage.Error
	if err == nil || !errors.As(err, &e) {
		return err
	}
	c := *e
	c.Msg = where + ": " + c.Msg
	return &c
}

// problems gathers errors, so that a person can mend all at once.
type problems []error

func (p *problems) add(err error) {
	var several interface{ Unwrap() []error }
	switch {
	case err == nil:
	case errors.As(err, &several):
		*p = append(*p, several.Unwrap()...)
	default:
		*p = append(*p, err)
	}
}

func (p problems) join() error { return errors.Join(slices.Clone(p)...) }
