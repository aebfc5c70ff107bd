package bridge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"sync"

	"drawbridge/bridge/envelope"
)

// Memory keeps what a server said, to answer in its place when it cannot be asked. Its methods are called from many
// goroutines at once.
type Memory interface {
	// Owner names whom the server speaks to at present, in a word that is no secret: lists differ from person to
	// person. "" means that nobody knows; then nothing is kept or recalled. It must not wait.
	Owner() string

	// Recall returns what was kept under name for owner, or nil.
	Recall(owner, name string) []byte

	// Keep keeps raw, as the server sent it, in the place of what was kept under name. It may fail in silence.
	Keep(owner, name string, raw []byte)
}

const (
	// maxKept bounds a list that is kept, in bytes; longer ones are not.
	maxKept = 4 << 20
	// maxPages bounds how many pages of a list are fetched to compare it with what was kept.
	maxPages = 1000
)

// listMembers names the member of a list's result that holds the items.
var listMembers = map[string]string{
	"tools/list": "tools", "prompts/list": "prompts", "resources/list": "resources", "resources/templates/list": "resourceTemplates",
}

// owner names whom the server speaks to; "" if nothing is to be kept.
func (p *pump) owner() string {
	if p.cfg.Memory == nil {
		return ""
	}
	return p.cfg.Memory.Owner()
}

// recall returns what was kept under name for whom the server speaks to now.
func (p *pump) recall(name string) (owner string, raw []byte) {
	if owner = p.owner(); owner == "" || name == "" {
		return owner, nil
	}
	return owner, p.cfg.Memory.Recall(owner, name)
}

// keep keeps raw, if the server still speaks to whom it was said.
func (p *pump) keep(owner, name string, raw []byte) {
	if owner != "" && owner == p.owner() && len(raw) <= maxKept {
		p.cfg.Memory.Keep(owner, name, raw)
	}
}

// handshakeName is the name of the InitializeResult to a client that asks for init's revision, since what a server
// answers depends on that; "" if it is not kept.
func handshakeName(init envelope.Message) string {
	if v := askedVersion(init); v != "" {
		return "initialize " + v
	}
	return ""
}

// keepHandshake keeps the server's answer to initialize.
func (p *pump) keepHandshake(h *handshake) {
	if name := handshakeName(h.init); name != "" && h.answer.Result != nil {
		p.keep(h.owner, name, h.answer.Result)
	}
}

// digest tells whether two lists are the same.
type digest [sha256.Size]byte

// trail is the pages of a list that were seen, in order.
type trail struct {
	owner string
	pages [][]byte
	next  string // cursor of the page that is missing
	size  int
}

// add takes the next page. It returns the whole list once it is complete, else nil. A page alone is the list as the server
// sent it; of several, the items are one page, and what else they hold is left out.
func (t *trail) add(method string, page []byte) []byte {
	t.pages, t.size = append(t.pages, page), t.size+len(page)
	t.next = envelope.StringMember(page, "nextCursor")
	switch {
	case t.next != "":
		return nil
	case len(t.pages) == 1:
		return page
	}
	member := listMembers[method]
	items := make([][]byte, 0, len(t.pages))
	for _, p := range t.pages {
		array, _ := envelope.Member(p, member)
		if inner := bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimPrefix(array, []byte("[")), []byte("]"))); len(inner) > 0 {
			items = append(items, inner)
		}
	}
	return concat(`{"`, []byte(member), `":[`, bytes.Join(items, []byte(",")), `]}`)
}

// isPage reports whether result is a page of the list that method asks for.
func isPage(method string, result []byte) bool {
	items, ok := envelope.Member(result, listMembers[method])
	return ok && envelope.IsBatch(items)
}

// trails holds the lists that the client is reading page by page.
type trails struct {
	mu sync.Mutex
	of map[string]*trail // by method
}

// follow takes the server's answer to a request for a page. It returns the whole list when that was the last one, else
// nil.
func (t *trails) follow(c *call, owner string, result []byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = map[string]*trail{}
	}
	cursor := envelope.StringMember(c.Params, "cursor")
	at := t.of[c.Method]
	switch {
	case cursor == "":
		at = &trail{owner: owner}
		t.of[c.Method] = at
	case at == nil || at.next != cursor || at.owner != owner:
		delete(t.of, c.Method)
		return nil
	}
	if at.size+len(result) > maxKept { // the list is not kept: no use in a copy
		delete(t.of, c.Method)
		return nil
	}
	list := at.add(c.Method, bytes.Clone(result))
	if list != nil {
		delete(t.of, c.Method)
	}
	return list
}

// wholeList returns the list whose last page result is, once all its pages are known; else nil.
func (p *pump) wholeList(c *call, owner string, result []byte) []byte {
	if owner == "" || !isPage(c.Method, result) {
		return nil
	}
	return p.trails.follow(c, owner, result)
}

// remember keeps a list that the server sent, and tells the client if it was given another one from memory meanwhile.
func (p *pump) remember(c *call, owner string, list []byte) {
	if list != nil {
		p.keep(owner, c.Method, list)
		p.compare(c.Method, list)
	}
}

// compare tells the client that a list has changed, if it was given another one from memory.
func (p *pump) compare(method string, list []byte) {
	if sum, ok := p.view.endCopy(method); ok && sum != sha256.Sum256(list) {
		p.announce(map[string]bool{method: true})
	}
}

// serveKept answers a list from memory; false if there is nothing. While a sign-in is pending, the tools include
// sign_in, unless the server has a tool of that name.
func (p *pump) serveKept(c *call) bool {
	_, list := p.recall(c.Method)
	if list == nil || !isPage(c.Method, list) {
		return false
	}
	if envelope.StringMember(c.Params, "cursor") != "" {
		return false // what is kept has one page
	}
	if s, pending := p.cfg.Auth.Pending(); pending && c.Method == "tools/list" && !hasTool(list, signInToolName) {
		p.view.stoodIn(c.Method)
		p.result(c, addTool(list, p.signInToolOf(s, nil)))
		return true
	}
	if p.result(c, list) { // else it was answered before, perhaps from here
		p.view.copied(c.Method, sha256.Sum256(list))
	}
	return true
}

// fetchLater compares what the client was given from memory with what the server has, as soon as it can be asked.
func (p *pump) fetchLater(tries int) {
	if p.view.beginFetching() {
		go p.fetchCopied(tries)
	}
}

func (p *pump) fetchCopied(tries int) {
	for ; ; tries++ {
		h := p.session.peek()
		if h == nil || !h.isOpen() {
			p.view.endFetching() // relist begins again when it is
			if p.session.stands() && p.view.beginFetching() {
				continue // it came between
			}
			return
		}
		if tries > 0 && p.pause(h.ctx, tries-1) == nil || tries == 0 {
			for _, method := range p.view.copies() {
				p.fetchAndCompare(h, method)
			}
		}
		if p.life.Err() != nil || p.view.endFetchingIfDone() {
			return
		}
	}
}

func (p *pump) fetchAndCompare(h *handshake, method string) {
	owner := p.owner()
	list, err := p.fetchList(h, method)
	var own *serverError
	switch {
	case err == nil:
		p.keep(owner, method, list)
		p.compare(method, list)
	case errors.As(err, &own): // the server has no such list any more: that is for the client to see
		p.compare(method, nil)
	case errors.As(err, new(sessionLost)):
		p.renewSession(h, true)
	default:
		p.cfg.Log.Debug("list not compared", "method", method, "error", err)
	}
}

// fetchList asks the server for all pages of a list.
func (p *pump) fetchList(h *handshake, method string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(h.ctx, handshakeLimit)
	defer cancel()
	var t trail
	for range maxPages {
		var params []byte
		if t.next != "" {
			params = mustJSON(map[string]string{"cursor": t.next})
		}
		m, err := p.ask(ctx, h.link, method, params)
		switch {
		case err != nil:
			return nil, err
		case m.Error != nil:
			return nil, &serverError{m}
		case !isPage(method, m.Result):
			return nil, p.syntaxFault(errors.New("the result is no list"))
		}
		if list := t.add(method, bytes.Clone(m.Result)); list != nil {
			return list, nil
		}
		if t.size > p.cfg.MaxMessage {
			break
		}
	}
	return nil, errors.New("the list has no end")
}
