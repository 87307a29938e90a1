// Package feature is what the Go clients share: where the server is, and how results are told.
package feature

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
)

// Where the server is.
var (
	Host     = os.Getenv("MILLRACE_HOST")
	Port     = os.Getenv("MILLRACE_PORT")
	User     = os.Getenv("MILLRACE_USER")
	Password = os.Getenv("MILLRACE_PASSWORD")
	CA       = os.Getenv("MILLRACE_CA")
)

// URL of the server; options begin with a question mark.
func URL(password, options string) string {
	return fmt.Sprintf("postgres://%s:%s@%s:%s/dev%s", User, password, Host, Port, options)
}

// Test is a feature and what shows it.
type Test struct {
	Feature string
	Run     func()
}

// Absent is what a test panics with whose driver has nothing of the kind.
type Absent string

var input = bufio.NewScanner(os.Stdin)

func tell(line map[string]any) {
	text, _ := json.Marshal(line)
	fmt.Println(string(text))
}

// Restart has the server killed and started again at the same address.
func Restart() {
	tell(map[string]any{"restart": true})
	input.Scan()
}

// Run runs tests; one that panics has failed.
func Run(tests []Test) {
	for _, test := range tests {
		tell(run(test))
	}
}

func run(test Test) (line map[string]any) {
	defer func() {
		switch failure := recover().(type) {
		case nil:
			line = map[string]any{"feature": test.Feature, "result": "yes"}
		case Absent:
			line = map[string]any{"feature": test.Feature, "result": "-", "note": string(failure)}
		default:
			note := strings.Split(fmt.Sprint(failure), "\n")[0]
			line = map[string]any{"feature": test.Feature, "result": "no", "note": note}
		}
	}()
	test.Run()
	return
}

// Must panics with an error.
func Must(err error) {
	if err != nil {
		panic(err)
	}
}

// Got gives a value, or panics with the error that came instead.
func Got[T any](value T, err error) T {
	Must(err)
	return value
}

// Same panics if two values differ.
func Same(got, wanted any) {
	if !reflect.DeepEqual(got, wanted) {
		panic(fmt.Errorf("got %#v, wanted %#v", got, wanted))
	}
}

// Fails gives the error of the wanted type, or panics if there is another or none.
func Fails[E error](err error, isWanted func(E) bool) E {
	var found E
	if !errors.As(err, &found) || !isWanted(found) {
		panic(fmt.Errorf("got the error %v", err))
	}
	return found
}

// Endless is a query that runs until it is cancelled.
const Endless = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 100000) c"
