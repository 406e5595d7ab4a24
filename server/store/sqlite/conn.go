package sqlite

import (
	"container/list"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"

	sqlite3 "github.com/mattn/go-sqlite3"
)

// maxStatements is how many prepared statements a connection keeps. A filter's
// SQL depends on its shape only, so a running server has a few dozen.
const maxStatements = 256

// conn is one connection with its prepared statements, used by one goroutine at
// a time. It speaks to the driver without database/sql between, whose pool and
// conversions cost more than a point read.
type conn struct {
	db    *sqlite3.SQLiteConn
	stmts map[string]*list.Element // of *statement
	order *list.List               // most recently used first
}

type statement struct {
	sql  string
	stmt *sqlite3.SQLiteStmt
}

// connect opens a connection; every pragma is per connection.
func connect(path string, pragmas ...string) (*conn, error) {
	// A connection is never shared, hence no mutex inside SQLite.
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_mutex=no&_busy_timeout=10000"
	c, err := (&sqlite3.SQLiteDriver{}).Open(dsn)
	if err != nil {
		return nil, err
	}
	db, ok := c.(*sqlite3.SQLiteConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("unexpected connection type %T", c), c.Close())
	}
	out := &conn{db: db, stmts: map[string]*list.Element{}, order: list.New()}
	for _, p := range pragmas {
		if err := out.script("PRAGMA " + p); err != nil {
			return nil, errors.Join(fmt.Errorf("pragma %s: %w", p, err), out.close())
		}
	}
	return out, nil
}

func (c *conn) prepared(sql string) (*sqlite3.SQLiteStmt, error) {
	if e, ok := c.stmts[sql]; ok {
		c.order.MoveToFront(e)
		return e.Value.(*statement).stmt, nil
	}
	prepared, err := c.db.Prepare(sql)
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	stmt, ok := prepared.(*sqlite3.SQLiteStmt)
	if !ok {
		return nil, errors.Join(fmt.Errorf("unexpected statement type %T", prepared), prepared.Close())
	}
	c.stmts[sql] = c.order.PushFront(&statement{sql: sql, stmt: stmt})
	if c.order.Len() > maxStatements {
		oldest := c.order.Remove(c.order.Back()).(*statement)
		delete(c.stmts, oldest.sql)
		if err := oldest.stmt.Close(); err != nil {
			return nil, err
		}
	}
	return stmt, nil
}

// script runs SQL that is not worth keeping prepared.
func (c *conn) script(sql string) error {
	_, err := c.db.Exec(sql, nil)
	return err
}

// exec runs a statement to its end and returns the number of rows that it
// changed.
func (c *conn) exec(sql string, args ...driver.Value) (int64, error) {
	stmt, err := c.prepared(sql)
	if err != nil {
		return 0, err
	}
	res, err := stmt.Exec(args)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// read calls row for each result until it returns false; the slice is good only
// during the call. It is for what is over before anybody could cancel it.
func (c *conn) read(sql string, args []driver.Value, row func([]driver.Value) bool) error {
	stmt, err := c.prepared(sql)
	if err != nil {
		return err
	}
	rows, err := stmt.Query(args)
	if err != nil {
		return err
	}
	return drain(rows, row)
}

// query is read, ended by ctx, whose error it then returns.
func (c *conn) query(ctx context.Context, sql string, args []driver.Value, row func([]driver.Value) bool) error {
	stmt, err := c.prepared(sql)
	if err != nil {
		return err
	}
	named := make([]driver.NamedValue, len(args))
	for i, v := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	rows, err := stmt.QueryContext(ctx, named)
	if err == nil {
		err = drain(rows, row)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func drain(rows driver.Rows, row func([]driver.Value) bool) (err error) {
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
	}()
	values := make([]driver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(values); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case !row(values):
			return nil
		}
	}
}

func (c *conn) close() error {
	var errs []error
	for e := c.order.Front(); e != nil; e = e.Next() {
		errs = append(errs, e.Value.(*statement).stmt.Close())
	}
	c.stmts, c.order = nil, list.New()
	return errors.Join(append(errs, c.db.Close())...)
}
