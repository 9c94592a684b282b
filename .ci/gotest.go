// Gotest runs go test on the packages given and fails also where a test was
// skipped: a suite that can't run proves nothing.
//
//	go run .ci/gotest.go [FLAGS OF GO TEST] ./...
//
// It prints what go test prints, a line a package and all that a failed test
// said, and at the end the tests that were skipped, with what they lack.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// maySkip are the tests that may be skipped, as "package Test", with a reason
// each. There is none.
var maySkip = map[string]string{}

// event is a line of go test -json (go doc test2json).
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of a build that failed
}

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(1)
	}

	said := map[string]string{} // by test, until it ends
	var skipped []string
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			os.Stdout.Write(line) // not test2json's: pass it on
			continue
		}
		test := e.Package + " " + e.Test
		switch {
		case e.Action == "build-output":
			fmt.Print(e.Output)
		case e.Action == "output":
			said[test] += e.Output
		case e.Action == "pass", e.Action == "fail", e.Action == "skip":
			text := said[test]
			delete(said, test)
			switch {
			case e.Test == "" && e.Action == "pass":
				fmt.Print(lastLine(text)) // ok  	gxswitch/fdb	0.1s
			case e.Action == "fail":
				fmt.Print(withoutRuns(text))
			case e.Test != "" && e.Action == "skip" && maySkip[test] == "":
				skipped = append(skipped, test+": "+reason(text))
			case e.Test == "" && e.Action == "skip":
				fmt.Print(text) // ?   	gxswitch/…	[no test files]
			}
		}
	}
	for _, text := range said { // of a package whose program died
		fmt.Print(text)
	}
	err = cmd.Wait()
	for _, s := range skipped {
		fmt.Println("SKIPPED", s)
	}
	if len(skipped) > 0 {
		fmt.Printf("FAIL: %d tests were skipped, and none may be\n", len(skipped))
	}
	if err != nil || len(skipped) > 0 {
		os.Exit(1)
	}
}

// lastLine is a package's result, without what its tests printed before.
func lastLine(text string) string {
	all := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	return strings.TrimSuffix(all[len(all)-1], "\n") + "\n"
}

// withoutRuns leaves out the lines that only -v prints, and puts the test's
// name before what it said.
func withoutRuns(text string) string {
	var name, rest strings.Builder
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "=== "):
		case strings.HasPrefix(strings.TrimSpace(line), "--- "):
			name.WriteString(line)
		default:
			rest.WriteString(line)
		}
	}
	return name.String() + rest.String()
}

// reason is what t.Skip was told.
func reason(text string) string {
	var last string
	for line := range strings.Lines(text) {
		if t := strings.TrimSpace(line); !strings.HasPrefix(t, "=== ") && !strings.HasPrefix(t, "--- SKIP") {
			last = t
		}
	}
	return last
}
