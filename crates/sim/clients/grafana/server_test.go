// A server of the test's own: started from MILLRACE_BIN, listening on a free port, stopped at the end.

package grafana

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// patience is how long something that must happen may take on a busy machine.
const patience = 120 * time.Second

// pool is a pool of connections as Grafana's data source keeps one.
var pool *pgxpool.Pool

func TestMain(m *testing.M) {
	status, err := withServer(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func withServer(run func() int) (int, error) {
	program := os.Getenv("MILLRACE_BIN")
	if program == "" {
		return 1, fmt.Errorf("MILLRACE_BIN names the server's program")
	}
	directory, err := os.MkdirTemp("", "millrace-grafana")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(directory)
	server := exec.Command(program, "serve", "--data-dir", directory, "--listen", "127.0.0.1:0")
	log, err := server.StderrPipe()
	if err != nil {
		return 1, err
	}
	if err := server.Start(); err != nil {
		return 1, err
	}
	defer func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
	}()
	address, err := listening(log)
	if err != nil {
		return 1, err
	}
	config, err := pgxpool.ParseConfig("postgres://root@" + address + "/dev?sslmode=disable")
	if err != nil {
		return 1, err
	}
	config.MaxConns = 100
	pool, err = pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return 1, err
	}
	defer pool.Close()
	if err := schema(); err != nil {
		return 1, err
	}
	return run(), nil
}

// listening reads the log until it says where the server listens; what follows is thrown away.
func listening(log io.Reader) (string, error) {
	pattern := regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)
	lines, seen := bufio.NewScanner(log), []string{}
	for lines.Scan() {
		seen = append(seen, lines.Text())
		if found := pattern.FindStringSubmatch(lines.Text()); found != nil {
			go func() {
				for lines.Scan() {
				}
			}()
			return found[1], nil
		}
	}
	return "", fmt.Errorf("the server did not start:\n%s", strings.Join(seen, "\n"))
}

// panel asks as a panel does: the text goes by the simple protocol, all results come at once.
func panel(sql string) ([]*pgconn.Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	connection, err := pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer connection.Release()
	return connection.Conn().PgConn().Exec(ctx, sql).ReadAll()
}

// rows are the rows of those results that Grafana reads, each as its texts, `NULL` for none.
func rows(results []*pgconn.Result) []string {
	var all []string
	for _, result := range results {
		if !result.CommandTag.Select() {
			continue
		}
		for _, row := range result.Rows {
			cells := make([]string, len(row))
			for at, cell := range row {
				if cells[at] = string(cell); cell == nil {
					cells[at] = "NULL"
				}
			}
			all = append(all, strings.Join(cells, "|"))
		}
	}
	return all
}

// expect compares what a panel shows with what it should.
func expect(t *testing.T, sql string, wanted ...string) []*pgconn.Result {
	t.Helper()
	results, err := panel(sql)
	if err != nil {
		t.Fatalf("%s\n%v", sql, err)
	}
	if got := strings.Join(rows(results), "\n"); got != strings.Join(wanted, "\n") {
		t.Fatalf("%s\ngot:\n%s\nwanted:\n%s", sql, got, strings.Join(wanted, "\n"))
	}
	return results
}

// columns are the names and the numbers of the types of a result.
func columns(result *pgconn.Result) []string {
	var all []string
	for _, field := range result.FieldDescriptions {
		all = append(all, fmt.Sprintf("%s:%d", field.Name, field.DataTypeOID))
	}
	return all
}
