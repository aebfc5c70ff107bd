// Package script is what clients and servers of the benchmark say to each other.
package script

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"drawbridge/bridge/envelope"
)

// A tool's name says all that the server is to do, so that it need not look at arguments: "json 100" answers 100 bytes
// as JSON, "sse 100" as an event, "sleep 50" after 50 ms, "notes 1000" after as many notifications.

// The handshake.
const (
	Initialize  = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`
	Initialized = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	ListTools   = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`
)

// Call is a tools/call with an argument of so many bytes.
func Call(id int, tool string, argument int) []byte {
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":{"text":"%s"},"_meta":{"progressToken":%d}}}`, id, tool, text(argument), id)
}

// sample is what results of tools often are: source code, escaped, with some words that are not ASCII.
const sample = `func greet(name string) error {\n\tif name == \"\" {\n\t\treturn errors.New(\"no name was given\")\n\t}\n\tfmt.Println(\"grüße,\", name)\n\treturn nil\n}\n\n// The quick brown fox jumps over the lazy dog, again and again, until the line is long enough.\n`

// text returns JSON string content of so many bytes.
func text(size int) string {
	whole := strings.Repeat(sample, size/len(sample))
	return whole + strings.Repeat("x", size-len(whole))
}

// answers are the server's answers, behind their id.
const (
	initializeResult = `"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"bench","version":"1"}}}`
	notFound         = `"error":{"code":-32601,"message":"method not found"}}`
)

// toolList is the result of tools/list: thirty tools, about 10 KB.
func toolList() string {
	var tools []string
	for i := range 30 {
		tools = append(tools, fmt.Sprintf(`{"name":"tool_%d","title":"Tool %d","description":"Does what tool number %d does, and tells how it went in a few words, or in more if it did not go well.","inputSchema":{"type":"object","properties":{"text":{"type":"string","description":"What to do it to."},"limit":{"type":"integer","minimum":1,"maximum":100}},"required":["text"]}}`, i, i, i))
	}
	return `"result":{"tools":[` + strings.Join(tools, ",") + `]}}`
}

func textResult(content string) string {
	return `"result":{"content":[{"type":"text","text":"` + content + `"}]}}`
}

// Answers are answers that were made before.
type Answers struct {
	list   string
	bySize map[int]string
}

// NewAnswers returns answers of which the long ones are made when they are first asked for.
func NewAnswers() *Answers { return &Answers{list: toolList(), bySize: map[int]string{}} }

// To returns what stands behind the id of the answer to m.
func (t *Answers) To(m envelope.Message) string {
	switch m.Method {
	case "initialize":
		return initializeResult
	case "tools/list":
		return t.list
	case "tools/call":
		kind, n := Tool(m)
		if kind == "sleep" || kind == "notes" {
			n = 100
		}
		if t.bySize[n] == "" {
			t.bySize[n] = textResult(text(n))
		}
		return t.bySize[n]
	}
	return notFound
}

// Tool takes a tool's name apart.
func Tool(m envelope.Message) (kind string, n int) {
	kind, number, _ := strings.Cut(envelope.FirstString(m.Params, "name"), " ")
	n, _ = strconv.Atoi(number) // 0 where there is none
	return kind, n
}

// Lines reads lines of any length into memory that it uses again.
type Lines struct {
	src  *bufio.Reader
	long []byte
}

// NewLines returns Lines of r.
func NewLines(r io.Reader) *Lines { return &Lines{src: bufio.NewReaderSize(r, 64<<10)} }

// Next returns the next line without its end. It is valid until the next call.
func (l *Lines) Next() ([]byte, error) {
	l.long = l.long[:0]
	for {
		part, err := l.src.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			l.long = append(l.long, part...)
		case err != nil:
			return nil, err
		case len(l.long) == 0:
			return part[:len(part)-1], nil
		default:
			l.long = append(l.long, part[:len(part)-1]...)
			return l.long, nil
		}
	}
}
