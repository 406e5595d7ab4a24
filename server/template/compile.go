package template

import (
	"errors"
	"slices"
	"strings"
)

// node is a step of a template.
type node interface {
	exec(r *run) (signal, error)
}

// signal says how a step ended.
type signal uint8

const (
	goOn signal = iota
	breakLoop
	nextRound
)

type (
	textNode struct {
		text string
		line int
	}
	objectNode struct{ *expr }
	assignNode struct {
		name string
		*expr
	}
	captureNode struct {
		name string
		body []node
	}
	// ifNode takes the first branch whose condition is true; nil means always.
	ifNode struct{ branches []branch }
	branch struct {
		cond   *expr
		negate bool // of unless
		body   []node
	}
	caseNode struct {
		*expr
		whens     []when
		otherwise []node
	}
	when struct {
		values []*expr
		body   []node
	}
	forNode struct {
		name          string
		line          int
		list          *expr // or from and to
		from, to      *expr
		limit, offset *expr // nil means none
		reversed      bool
		body, none    []node
	}
	signalNode signal
)

type compiler struct {
	pieces []piece
	at     int
	depth  int
	loops  int
	used   map[string]bool // variables that are read
	set    map[string]bool // variables that the template itself sets
	paths  [][]string      // of variables that are read, with their properties
	// mentions are catalogues and fields of items, items the variables that are assigned an
	// item, with its catalogue.
	mentions []Mention
	items    map[string]string
}

var errNoArgument = errors.New("an argument is missing")

// tags that begin a block, and what may stand in it before its end.
func clauses(tag string) []string {
	switch tag {
	case "if", "unless":
		return []string{"elsif", "else"}
	case "case":
		return []string{"when", "else"}
	case "for":
		return []string{"else"}
	case "capture":
		return []string{}
	default:
		return nil
	}
}

// block compiles until one of the tags in ends, which it returns; the zero
// piece at the end of the source.
func (c *compiler) block(ends ...string) ([]node, piece, error) {
	var out []node
	for c.at < len(c.pieces) {
		p := c.pieces[c.at]
		c.at++
		switch p.kind {
		case textPiece:
			out = append(out, textNode{p.args, p.line})
			continue
		case objectPiece:
			e, err := c.expr(p.args, p.line)
			if err != nil {
				return nil, piece{}, err
			}
			out = append(out, objectNode{e})
			continue
		}
		if slices.Contains(ends, p.name) {
			return out, p, nil
		}
		n, err := c.tag(p)
		if err != nil {
			return nil, piece{}, err
		}
		out = append(out, n)
	}
	return out, piece{}, nil
}

func (c *compiler) expr(src string, line int) (*expr, error) {
	ls, err := lex(src, line)
	if err != nil {
		return nil, err
	}
	return c.compile(ls, src, line)
}

func (c *compiler) tag(p piece) (node, error) {
	if clauses(p.name) != nil {
		c.depth++
		defer func() { c.depth-- }()
		if c.depth > MaxNesting {
			return nil, tooLarge(p.line, "tags are nested at most %d deep", MaxNesting)
		}
	}
	switch p.name {
	case "if", "unless":
		return c.ifTag(p)
	case "case":
		return c.caseTag(p)
	case "for":
		return c.forTag(p)
	case "capture":
		return c.captureTag(p)
	case "assign":
		return c.assignTag(p)
	case "break", "continue":
		if c.loops == 0 {
			return nil, invalid(p.line, "{%% %s %%} stands outside of a loop", p.name)
		}
		if p.args != "" {
			return nil, invalid(p.line, "{%% %s %%} takes nothing, has %q", p.name, clip(p.args))
		}
		if p.name == "break" {
			return signalNode(breakLoop), nil
		}
		return signalNode(nextRound), nil
	case "include", "render", "layout", "section", "import", "extends":
		return nil, invalid(p.line, "{%% %s %%} is not allowed: templates cannot read other files", p.name)
	case "else", "elsif", "when", "endif", "endunless", "endcase", "endfor", "endcapture", "endraw", "endcomment":
		return nil, invalid(p.line, "{%% %s %%} has no beginning", p.name)
	default:
		return nil, invalid(p.line, "unknown tag %q; known are if, unless, case, for, assign, capture, comment, raw, break, continue", clip(p.name))
	}
}

// body compiles one part of the block that began with start, until one of its
// clauses or its end.
func (c *compiler) body(start piece, ends ...string) ([]node, piece, error) {
	end := "end" + start.name
	body, stop, err := c.block(append(ends, end)...)
	if err != nil {
		return nil, piece{}, err
	}
	if stop.name == "" {
		return nil, piece{}, invalid(start.line, "{%% %s %%} is not closed by {%% %s %%}", start.name, end)
	}
	if (stop.name == end || stop.name == "else") && stop.args != "" {
		return nil, piece{}, invalid(stop.line, "{%% %s %%} takes nothing, has %q", stop.name, clip(stop.args))
	}
	return body, stop, nil
}

func (c *compiler) ifTag(p piece) (node, error) {
	n := &ifNode{}
	cond, err := c.expr(p.args, p.line)
	if err != nil {
		return nil, err
	}
	for head := p; ; {
		ends := clauses(p.name)
		if head.name == "else" {
			ends = nil
		}
		body, stop, err := c.body(p, ends...)
		if err != nil {
			return nil, err
		}
		n.branches = append(n.branches, branch{cond: cond, negate: head.name == "unless", body: body})
		switch stop.name {
		case "elsif":
			if cond, err = c.expr(stop.args, stop.line); err != nil {
				return nil, err
			}
		case "else":
			cond = nil
		default:
			return n, nil
		}
		head = stop
	}
}

func (c *compiler) caseTag(p piece) (node, error) {
	e, err := c.expr(p.args, p.line)
	if err != nil {
		return nil, err
	}
	n := &caseNode{expr: e}
	before, head, err := c.body(p, "when", "else")
	if err != nil {
		return nil, err
	}
	for _, b := range before {
		if text, ok := b.(textNode); !ok || strings.Trim(text.text, space) != "" {
			return nil, invalid(p.line, "something stands between {%% case %%} and its first {%% when %%}")
		}
	}
	for head.name != "endcase" {
		var values []*expr
		ends := []string{"when", "else"}
		if head.name == "else" {
			ends = nil
		} else {
			ls, err := lex(head.args, head.line)
			if err != nil {
				return nil, err
			}
			for _, part := range split(ls, func(l lexeme) bool { return l.is(",") || l.word("or") }) {
				v, err := c.compile(part, head.args, head.line)
				if err != nil {
					return nil, err
				}
				values = append(values, v)
			}
		}
		body, stop, err := c.body(p, ends...)
		if err != nil {
			return nil, err
		}
		if head.name == "else" {
			n.otherwise = body
		} else {
			n.whens = append(n.whens, when{values, body})
		}
		head = stop
	}
	return n, nil
}

func (c *compiler) forTag(p piece) (node, error) {
	ls, err := lex(p.args, p.line)
	if err != nil {
		return nil, err
	}
	if len(ls) < 3 || ls[0].kind != lexName || !ls[1].word("in") {
		return nil, invalid(p.line, `{%% for %%} wants "name in list", has %q`, clip(p.args))
	}
	n := &forNode{name: ls[0].s, line: p.line}
	if err := c.sets(n.name, p); err != nil {
		return nil, err
	}
	ls = ls[2:]
	end := loopModifiers(ls)
	mods := ls[end:]
	if err := c.loopSource(n, ls[:end], p); err != nil {
		return nil, err
	}
	for len(mods) > 0 {
		if mods[0].word("reversed") {
			n.reversed = true
			mods = mods[1:]
			continue
		}
		if len(mods) < 3 || !mods[1].is(":") {
			return nil, invalid(p.line, "syntax error at %q in %q", mods[0].s, clip(p.args))
		}
		end := loopModifiers(mods[2:]) + 2
		e, err := c.compile(mods[2:end], p.args, p.line)
		if err != nil {
			return nil, err
		}
		if mods[0].word("limit") {
			n.limit = e
		} else {
			n.offset = e
		}
		mods = mods[end:]
	}
	c.loops++
	body, stop, err := c.body(p, "else")
	c.loops--
	if err != nil {
		return nil, err
	}
	n.body = body
	if stop.name == "else" {
		if n.none, _, err = c.body(p); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// loopModifiers is where reversed, limit: or offset: begin.
func loopModifiers(ls []lexeme) int {
	for i := 1; i < len(ls); i++ {
		if ls[i-1].is("|") || ls[i].kind != lexName {
			continue
		}
		if ls[i].s == "reversed" || (ls[i].s == "limit" || ls[i].s == "offset") && i+1 < len(ls) && ls[i+1].is(":") {
			return i
		}
	}
	return len(ls)
}

// loopSource compiles what a loop goes over.
func (c *compiler) loopSource(n *forNode, ls []lexeme, p piece) error {
	var err error
	if !ls[0].is("(") || !ls[len(ls)-1].is(")") {
		n.list, err = c.compile(ls, p.args, p.line)
		return err
	}
	bounds := split(ls[1:len(ls)-1], func(l lexeme) bool { return l.is("..") })
	if len(bounds) != 2 {
		n.list, err = c.compile(ls, p.args, p.line)
		return err
	}
	if n.from, err = c.compile(bounds[0], p.args, p.line); err != nil {
		return err
	}
	if n.to, err = c.compile(bounds[1], p.args, p.line); err != nil {
		return err
	}
	if len(bounds[0]) == 1 && len(bounds[1]) == 1 && bounds[0][0].kind == lexNumber && bounds[1][0].kind == lexNumber {
		a, errA := number(bounds[0][0].s)
		b, errB := number(bounds[1][0].s)
		from, okA := a.(int)
		to, okB := b.(int)
		if errA != nil || errB != nil || !okA || !okB {
			return invalid(p.line, "a range is between whole numbers, not in %q", clip(p.args))
		}
		if span(from, to) > MaxLoop {
			return tooLarge(p.line, "a loop runs at most %d times; %q runs more often", MaxLoop, clip(p.args))
		}
	}
	return nil
}

// span is how many numbers there are from a to b, MaxLoop+1 for any number
// above MaxLoop.
func span(a, b int) int {
	switch {
	case b < a:
		return 0
	case uint64(b)-uint64(a) >= MaxLoop: // modular, so right however far apart
		return MaxLoop + 1
	default:
		return b - a + 1
	}
}

func (c *compiler) captureTag(p piece) (node, error) {
	ls, err := lex(p.args, p.line)
	if err != nil {
		return nil, err
	}
	if len(ls) != 1 || ls[0].kind != lexName {
		return nil, invalid(p.line, "{%% capture %%} wants a name, has %q", clip(p.args))
	}
	if err := c.sets(ls[0].s, p); err != nil {
		return nil, err
	}
	// A break must not leave a capture half done.
	loops := c.loops
	c.loops = 0
	body, _, err := c.body(p)
	c.loops = loops
	return &captureNode{name: ls[0].s, body: body}, err
}

func (c *compiler) assignTag(p piece) (node, error) {
	ls, err := lex(p.args, p.line)
	if err != nil {
		return nil, err
	}
	if len(ls) < 3 || ls[0].kind != lexName || !ls[1].is("=") {
		return nil, invalid(p.line, `{%% assign %%} wants "name = value", has %q`, clip(p.args))
	}
	e, err := c.compile(ls[2:], p.args, p.line)
	if err != nil {
		return nil, err
	}
	delete(c.items, ls[0].s)
	if of, whole := c.mention(ls[2:]); whole && ls[2].kind == lexName {
		c.items[ls[0].s] = of
	}
	return &assignNode{name: ls[0].s, expr: e}, c.sets(ls[0].s, p)
}

func (c *compiler) sets(name string, p piece) error {
	if reserved(name) || strings.HasSuffix(name, "?") {
		return invalid(p.line, "%q cannot be set", clip(name))
	}
	c.set[name] = true
	return nil
}
