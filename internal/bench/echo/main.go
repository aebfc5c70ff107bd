// Command echo is an MCP server on standard input and output that has its answers at hand: the price of a process and two
// pipes, and the base of the benchmark.
package main

import (
	"errors"
	"io"
	"os"

	"drawbridge/bridge/envelope"
	"drawbridge/internal/bench/script"
)

func main() {
	if err := echo(os.Stdin, os.Stdout); err != nil {
		os.Exit(1)
	}
}

func echo(in io.Reader, out io.Writer) error {
	lines, answers := script.NewLines(in), script.NewAnswers()
	var answer []byte
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		m, err := envelope.Parse(line)
		if err != nil || m.ID == nil {
			continue
		}
		answer = append(append(answer[:0], `{"jsonrpc":"2.0","id":`...), m.ID...)
		answer = append(append(append(answer, ','), answers.To(m)...), '\n')
		if _, err := out.Write(answer); err != nil {
			return err
		}
	}
}
