//go:build unix

package main_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"drawbridge/internal/demo"
	"drawbridge/internal/demo/sdk"
)

var stoppedTime = flag.Duration("stopped", time.Second, "how long TestStoppedAndRestartedServer stops the server")

// serve is the program "mcpserver" that the test binary plays: an MCP server for everybody at the address it is given,
// which it writes as a URL.
func serve() {
	server, err := demo.StartServer(context.Background(), demo.ServerConfig{Addr: os.Args[1], Open: true, Engine: sdk.New})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(server.URL())
	select {}
}

// startServer starts that program and returns its URL.
func startServer(t *testing.T, addr string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command("mcpserver", addr)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(cmd) })
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server says nothing: %v", err)
	}
	return cmd, strings.TrimSpace(url)
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Kill() // it may have ended
	_ = cmd.Wait()         // by the kill
}

// TestStoppedAndRestartedServer: a call survives that the server is stopped (SIGSTOP) in the middle of it, pings are
// answered meanwhile, and after the server was killed and started again the client goes on as if nothing had been.
func TestStoppedAndRestartedServer(t *testing.T) {
	p := newPlace(t, demo.Config{})
	server, url := startServer(t, "127.0.0.1:0")
	w := p.start(url)
	w.send(initialize, initialized, listTools)
	w.answer(`"list"`)
	w.send(`{"jsonrpc":"2.0","id":"slow","method":"tools/call","params":{"name":"slow","arguments":{"ms":300}}}`)
	if err := server.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped := time.NewTimer(*stoppedTime)
	<-stopped.C
	w.send(ping)
	w.answer(`"ping"`)
	if err := server.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if m := w.answer(`"slow"`); m.Error != nil {
		t.Errorf("after SIGCONT the call is answered with %+v", m.Error)
	}

	end(server)
	w.send(`{"jsonrpc":"2.0","id":"away","method":"tools/call","params":{"name":"echo","arguments":{"text":"a"}}}`)
	if m := w.answer(`"away"`); m.Error == nil || m.Error.Data.Kind != "unreachable" {
		t.Errorf("while there is no server the call is answered with %+v", m)
	}
	addr := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/mcp")
	startServer(t, addr)
	w.send(`{"jsonrpc":"2.0","id":"back","method":"tools/call","params":{"name":"echo","arguments":{"text":"b"}}}`)
	if m := w.answer(`"back"`); m.Error != nil {
		t.Errorf("after the restart the call is answered with %+v", m.Error)
	}
	w.hangUp()
	w.wantExit(0)
}
