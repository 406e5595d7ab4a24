package sqlite

import (
	"database/sql/driver"
	"fmt"
	"strings"

	"github.com/footfall-engage/footfall/server/store"
)

const (
	// schemaVersion is the layout of the file: tables, columns, meaning. It
	// grows with every change that an older binary would misread.
	schemaVersion = 1
	// applicationID is "FTFL": no other program's file is written to.
	applicationID = 0x4654464c
)

// table is a collection with the SQL that serves it.
type table struct {
	store.Collection
	name string // quoted

	putAny, putNew, putIf string
	deleteAny, deleteIf   string
	evict                 []string // one per unique index
	purge                 string
	get                   string
}

func newTable(c store.Collection) *table {
	t := &table{Collection: c, name: `"doc_` + c.Name + `"`}
	body := "CAST(?4 AS TEXT)"
	if c.Opaque {
		body = "?4"
	}
	// ?1 workspace, ?2 id, ?3 expires, ?4 body, ?5 now, ?6 version. A document
	// that has expired is as good as absent, purged or not.
	upsert := "INSERT INTO " + t.name + "(ws,id,version,expires,body) VALUES(?1,?2,1,?3," + body + ") ON CONFLICT(ws,id) DO UPDATE SET "
	t.putAny = upsert + "version=CASE WHEN expires<=?5 THEN 1 ELSE version+1 END,expires=excluded.expires,body=excluded.body"
	t.putNew = upsert + "version=1,expires=excluded.expires,body=excluded.body WHERE expires<=?5"
	t.putIf = "UPDATE " + t.name + " SET version=version+1,expires=?3,body=" + body +
		" WHERE ws=?1 AND id=?2 AND version=?6 AND (expires IS NULL OR expires>?5)"
	// ?1 workspace, ?2 id, ?3 now, ?4 version.
	t.deleteAny = "DELETE FROM " + t.name + " WHERE ws=?1 AND id=?2"
	t.deleteIf = t.deleteAny + " AND version=?4 AND (expires IS NULL OR expires>?3)"
	t.purge = "DELETE FROM " + t.name + " WHERE rowid IN (SELECT rowid FROM " + t.name + " WHERE expires IS NOT NULL AND expires<=?1 LIMIT ?2)"
	t.get = "SELECT version,expires,CAST(body AS BLOB) FROM " + t.name + " WHERE ws=?1 AND id=?2 AND (expires IS NULL OR expires>?3)"
	for _, ix := range c.Indexes {
		if !ix.Unique {
			continue
		}
		// ?1 workspace, ?2 now, ?3 the new body.
		conds := []string{"ws=?1", "expires IS NOT NULL", "expires<=?2"}
		for _, p := range ix.Paths {
			conds = append(conds, extract("body", p)+"="+extract("CAST(?3 AS TEXT)", p))
		}
		t.evict = append(t.evict, "DELETE FROM "+t.name+" WHERE "+strings.Join(conds, " AND "))
	}
	return t
}

// jsonPath turns a checked path into a literal: a.b-c into '$."a"."b-c"'.
// Expression indexes are found only by the same literal, so this one part of a
// query cannot be a parameter; store.Filter.Check admits no quote.
func jsonPath(path string) string {
	return `'$."` + strings.ReplaceAll(path, ".", `"."`) + `"'`
}

func extract(body, path string) string {
	return "json_extract(" + body + "," + jsonPath(path) + ")"
}

func jsonType(path string) string {
	return "json_type(body," + jsonPath(path) + ")"
}

func (t *table) createSQL() string {
	kind := "TEXT"
	if t.Opaque {
		kind = "BLOB"
	}
	// body is last so that the other columns are read without its overflow pages.
	return "CREATE TABLE " + t.name + " (ws TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, expires INTEGER, body " + kind +
		" NOT NULL, PRIMARY KEY (ws, id)) STRICT"
}

// indexSQL returns the statements that create the table's indexes, by name.
func (t *table) indexSQL() (names []string, sql map[string]string) {
	sql = map[string]string{}
	add := func(name, create string) {
		names = append(names, name)
		sql[name] = create
	}
	expires := "ix." + t.Name
	add(expires, `CREATE INDEX "`+expires+`" ON `+t.name+" (expires) WHERE expires IS NOT NULL")
	for _, ix := range t.Indexes {
		columns, unique, where := []string{"ws"}, "", ""
		for _, p := range ix.Paths {
			columns = append(columns, extract("body", p))
		}
		if ix.Unique {
			unique = "UNIQUE "
			// true extracts as 1 and an object as its text: the class keeps them
			// from standing in the way of a number and a string.
			for _, p := range ix.Paths {
				columns = append(columns, jsonType(p)+" IN ('true','false','object','array')")
			}
		} else {
			columns = append(columns, "id") // serves a sort with its ties
		}
		if ix.Sparse { // any comparison of the path implies it, and so finds the index
			where = " WHERE " + extract("body", ix.Paths[0]) + " IS NOT NULL"
		}
		name := "ix." + t.Name + "." + ix.Name
		add(name, "CREATE "+unique+`INDEX "`+name+`" ON `+t.name+" ("+strings.Join(columns, ", ")+")"+where)
	}
	return names, sql
}

// migrate brings the file to the declarations in one transaction.
func (s *Store) migrate(c *conn) (err error) {
	version, err := c.pragma("user_version")
	if err != nil {
		return err
	}
	app, err := c.pragma("application_id")
	if err != nil {
		return err
	}
	have, err := c.schema()
	if err != nil {
		return err
	}
	switch {
	case app != applicationID && (app != 0 || version != 0 || len(have) > 0):
		return fmt.Errorf("%s is a database of another program", s.path)
	case version > schemaVersion:
		return &store.NewerSchemaError{Found: int(version), Known: schemaVersion}
	}
	if err := c.script("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = c.script("ROLLBACK") // the first error says more
		}
	}()
	if version != schemaVersion {
		if err := c.script(fmt.Sprintf("PRAGMA application_id=%d; PRAGMA user_version=%d", applicationID, schemaVersion)); err != nil {
			return err
		}
	}
	for _, t := range s.ordered {
		if err := s.migrateTable(c, t, have); err != nil {
			return err
		}
	}
	if err := s.fixStatistics(c); err != nil {
		return fmt.Errorf("fix statistics: %w", err)
	}
	return c.script("COMMIT")
}

// statistics are the figures that SQLite's planner is to believe, by index:
// rows, and rows left after each column. Those of a real ANALYZE would change
// plans from one day to the next; without any the planner takes the key's index
// rather than one that would need a sort, and reads the whole workspace.
func (t *table) statistics() map[string]string {
	const rows, perWorkspace, perValue = "1000000", " 100000", " 100"
	stats := map[string]string{
		"sqlite_autoindex_" + strings.Trim(t.name, `"`) + "_1": rows + perWorkspace + " 1",
		"ix." + t.Name: rows + " 10",
	}
	for _, ix := range t.Indexes {
		n := len(ix.Paths)
		stat := rows + perWorkspace
		if ix.Unique {
			stat += strings.Repeat(" 10", n-1) + strings.Repeat(" 1", 1+n)
		} else {
			stat += perValue + strings.Repeat(" 10", n-1) + " 1"
		}
		stats["ix."+t.Name+"."+ix.Name] = stat
	}
	return stats
}

func (s *Store) fixStatistics(c *conn) error {
	if err := c.script("ANALYZE sqlite_schema"); err != nil { // creates the table, if need be
		return err
	}
	have := map[string]string{}
	err := c.read("SELECT idx, stat FROM sqlite_stat1 WHERE idx IS NOT NULL", nil, func(v []driver.Value) bool {
		name, _ := v[0].(string)
		have[name], _ = v[1].(string)
		return true
	})
	if err != nil {
		return err
	}
	changed := false
	for _, t := range s.ordered {
		tableName := strings.Trim(t.name, `"`)
		for index, stat := range t.statistics() {
			if have[index] == stat {
				continue
			}
			changed = true
			if _, err := c.exec("DELETE FROM sqlite_stat1 WHERE tbl=? AND idx=?", tableName, index); err != nil {
				return err
			}
			if _, err := c.exec("INSERT INTO sqlite_stat1(tbl, idx, stat) VALUES(?,?,?)", tableName, index, stat); err != nil {
				return err
			}
		}
	}
	if !changed {
		return nil
	}
	return c.script("ANALYZE sqlite_schema") // loads them
}

func (s *Store) migrateTable(c *conn, t *table, have map[string]string) error {
	bad := func(msg string) error {
		return &store.ArgError{Kind: store.ErrBadCollection, Field: t.Name, Msg: msg}
	}
	switch found, ok := have[strings.Trim(t.name, `"`)]; {
	case !ok:
		if err := c.script(t.createSQL()); err != nil {
			return fmt.Errorf("create collection %s: %w", t.Name, err)
		}
	case found != t.createSQL():
		return bad("is stored with the other kind of body (opaque or JSON)")
	}
	names, want := t.indexSQL()
	for name := range have {
		mine := name == "ix."+t.Name || strings.HasPrefix(name, "ix."+t.Name+".")
		if mine && have[name] != want[name] {
			s.log.Info("index declaration changed, dropping the old index", "collection", t.Name, "index", name)
			if err := c.script(`DROP INDEX "` + name + `"`); err != nil {
				return fmt.Errorf("drop index %s: %w", name, err)
			}
		}
	}
	for _, name := range names {
		if have[name] == want[name] {
			continue
		}
		err := c.script(want[name])
		if isUnique(err) {
			return fmt.Errorf("%w: index %s: stored documents share a value", store.ErrUnique, name)
		}
		if err != nil {
			return fmt.Errorf("create index %s: %w", name, err)
		}
	}
	return nil
}

// schema returns the SQL of every table and index by name.
func (c *conn) schema() (map[string]string, error) {
	have := map[string]string{}
	err := c.read("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL", nil, func(v []driver.Value) bool {
		name, _ := v[0].(string)
		have[name], _ = v[1].(string)
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	return have, nil
}

func (c *conn) pragma(name string) (int64, error) {
	var n int64
	err := c.read("PRAGMA "+name, nil, func(v []driver.Value) bool {
		n, _ = v[0].(int64)
		return false
	})
	if err != nil {
		return 0, fmt.Errorf("pragma %s: %w", name, err)
	}
	return n, nil
}
