package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

// TestInterruptedQuestion: an interrupt at the question ends the command; it waited for the answer first.
func TestInterruptedQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, end := io.Pipe() // a person who does not answer
		defer end.Close()
		ctx, interrupt := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := person{bufio.NewReader(in), io.Discard}.agrees(ctx, "Change it?")
			done <- err
		}()
		synctest.Wait()
		interrupt()
		synctest.Wait()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the question ends with %v", err)
			}
		default:
			t.Error("the question still waits")
			end.Close()
			<-done
		}
	})
}

func TestAnswers(t *testing.T) {
	for typed, want := range map[string]bool{"y\n": true, "Yes \r\n": true, "y": true, "\n": false, "n\n": false, "maybe\n": false} {
		if got, err := (person{bufio.NewReader(strings.NewReader(typed)), io.Discard}).agrees(t.Context(), ""); got != want || err != nil {
			t.Errorf("%q: %v, %v, want %v", typed, got, err, want)
		}
	}
	if _, err := (person{bufio.NewReader(strings.NewReader("")), io.Discard}).agrees(t.Context(), ""); !errors.As(err, new(usageError)) {
		t.Errorf("nobody there: %v", err)
	}
}
